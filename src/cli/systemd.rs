//! Words for a service manager (`sd_notify(3)`), and the sockets that it hands over (`sd_listen_fds(3)`). Without one: nothing.

use crate::observe::{Hub, Silence};
use crate::reactor::Millis;
use crate::reactor::OsListener;
use crate::reactor::net::os::Stopwatch;
use sd_notify::NotifyState;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What listens already. What is no listening stream socket is said and left alone.
pub(super) fn inherited() -> Vec<OsListener> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut all = Vec::new();
    for index in 0..handed.len() {
        let fd: Option<OwnedFd> = match (handed.take_tcp_listener(index), handed.take_unix_listener(index)) {
            (Ok(Some(tcp)), _) => Some(tcp.into()),
            (_, Ok(Some(unix))) => Some(unix.into()),
            _ => None,
        };
        match fd.map(OsListener::from_std) {
            Some(Ok(listener)) => all.push(listener),
            Some(Err(error)) => log::warn!("socket {index} of those handed over: {error}"),
            None => log::warn!("socket {index} of those handed over listens for neither TCP nor Unix"),
        }
    }
    all
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        log::debug!("the service manager cannot be told: {error}");
    }
}

/// It serves.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It reads its configuration again. Both words have to come in one message.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => log::debug!("the service manager cannot be told: {error}"),
    }
}

/// It drains.
pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// What it is busy with.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Tells the service manager that every worker turns; when one hangs it is told nothing, and acts.
pub(super) struct Watchdog {
    /// Half of what the service manager waits for; none if it does not wait.
    every: Option<Duration>,
    clock: Stopwatch,
    fed: Duration,
    silence: Silence,
}

impl Watchdog {
    pub(super) fn new() -> Watchdog {
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Watchdog { every, clock: Stopwatch::start(), fed: Duration::ZERO, silence: Silence::default() }
    }

    /// How often to look.
    pub(super) fn interval(&self) -> Duration {
        self.every.map_or(Duration::from_secs(1), |every| {
            every.clamp(Duration::from_millis(10), Duration::from_secs(1))
        })
    }

    /// Looks; `hub` is none while workers are ending one by one, and silence is no sign.
    pub(super) fn look(&mut self, hub: Option<&Hub>) {
        let Some(every) = self.every else { return };
        let now = self.clock.elapsed();
        let silent = hub.map_or(0, |hub| self.silence.observe(Millis(now.as_millis() as u64), hub));
        // A worker publishes once a second at least.
        let patience = every.max(Duration::from_millis(1_500)).as_millis() as u64;
        if silent > patience {
            log::error!("a worker has not turned for {silent} ms: the watchdog is not fed");
        } else if now.saturating_sub(self.fed) >= every.min(Duration::from_secs(1)) || self.fed.is_zero() {
            self.fed = now;
            tell(&[NotifyState::Watchdog]);
        }
    }
}
