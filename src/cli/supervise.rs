//! A server that runs: signals, reloads, the drain, and words for the service manager.

use super::logs::Logs;
use super::pinch::Pinch;
use super::systemd::{self, Watchdog};
use super::{admin, descriptors};
use crate::config::Loaded;
use crate::config::units::show_duration;
use crate::observe::Reason;
use crate::observe::lifecycle::info_or_graver;
use crate::reactor::net::os::Stopwatch;
use crate::server::settings::{Address, Config};
use crate::server::{AdminRequest, Server};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use std::fmt;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// When a drain first says what it waits for, and how often then.
const FIRST_REPORT: Duration = Duration::from_secs(1);
const DRAIN_REPORT: Duration = Duration::from_secs(5);
/// An order to end so soon after the first is the same one: `timeout` and the like signal their child and then its group.
const ECHO: Duration = Duration::from_millis(500);
/// How long workers may take to tell what they hold.
const SURVEY_PATIENCE: Duration = Duration::from_millis(200);

/// The stack of a thread that only passes words on, in bytes.
const STACK: usize = 128 << 10;

/// What a signal, or somebody at the admin socket, asks for.
pub(super) enum Asked {
    /// To finish what is under way, and end.
    End,
    /// To begin new log files.
    Reopen,
    /// To say what there is.
    Summary,
    /// To read the configuration again.
    Reload(Option<AdminRequest>),
}

/// A running server and what it takes to look after it.
pub(super) struct Supervisor<'a> {
    pub server: &'a mut Server,
    pub wakes: &'a mpsc::Receiver<Asked>,
    pub logs: &'a Logs,
    pub config: Config,
    /// The file that it was told to live by.
    pub file: Option<&'a Path>,
    /// Reads all layers again: all that is wrong, or the new configuration.
    pub reread: &'a mut dyn FnMut() -> Result<Loaded, Vec<String>>,
}

impl Supervisor<'_> {
    /// Drains on the first signal, stops on the second; says what it waits for. Returns when every worker has ended.
    pub(super) fn run(&mut self) {
        let (mut watchdog, mut pinch, watch) = (Watchdog::new(), Pinch::default(), Stopwatch::start());
        systemd::ready("serving");
        loop {
            watchdog.look(Some(&self.server.shared().hub));
            pinch.look(watch.elapsed(), self.server, &self.config);
            match self.wakes.recv_timeout(watchdog.interval()) {
                Ok(Asked::End) => break,
                Ok(Asked::Reopen) => self.logs.reopen(),
                Ok(Asked::Summary) => self.summary(),
                Ok(Asked::Reload(from)) => self.reload(from),
                Err(_) if self.server.is_finished() => return,
                Err(_) => {}
            }
        }
        self.drain(&mut watchdog);
    }

    fn reload(&mut self, from: Option<AdminRequest>) {
        if let Some(AdminRequest::Reload { config: Some(meant), .. }) = &from
            && let Some(mistake) = admin::mistaken(self.file, meant)
        {
            return from.into_iter().for_each(|from| from.answer(Err(mistake.clone() + "\n")));
        }
        systemd::reloading();
        let outcome = self.reload_all();
        self.server.count_reload(outcome.is_ok());
        match &outcome {
            Ok(what) => what.lines().for_each(|line| log::info!("reload: {line}")),
            Err(what) => {
                what.lines()
                    .for_each(|line| log::error!("reload refused, the old configuration stays: {line}"));
            }
        }
        let status =
            if outcome.is_ok() { "serving; reloaded" } else { "serving; the last reload was refused" };
        systemd::ready(status);
        if let Some(from) = from {
            from.answer(outcome);
        }
    }

    /// All of it or nothing. Lines that say what changed, or why not.
    fn reload_all(&mut self) -> Result<String, String> {
        let lines = |all: Vec<String>| all.into_iter().map(|line| line + "\n").collect::<String>();
        let loaded = (self.reread)().map_err(lines)?;
        let warning = |what: &dyn fmt::Display| format!("warning: {what}\n");
        let mut warnings: String = loaded.warnings.iter().map(|what| warning(what)).collect();
        let config = loaded.config;
        // Before sockets are made for the workers.
        warnings.extend(descriptors::provide(&config).map(|what| warning(&what)));
        let reload = self.server.prepare(&config).map_err(|error| format!("{error}\n"))?;
        warnings.extend(reload.warnings().iter().map(|what| warning(what)));
        let mut changes = reload.difference().live.clone();
        // The only other thing that can fail, and the last: a log file that cannot be opened.
        let log = self.logs.reload(&self.config.log, &config.log);
        log.map_err(|error| format!("the access log cannot be opened: {error}\n"))?;
        let before = self.server.addresses();
        let applied = self.server.apply(reload);
        self.config = config;
        let new = self.server.addresses().into_iter().filter(|at| !before.contains(at));
        changes.extend(new.flat_map(|at| listening(&at)));
        if let Err(error) = applied {
            changes.push(format!("not whole: {error}"));
        }
        if changes.is_empty() {
            changes.push("nothing is different; certificates and files were read again".into());
        }
        Ok(warnings + &lines(changes))
    }

    fn drain(&mut self, watchdog: &mut Watchdog) {
        let (lag, limit) = (self.config.server.drain_lag, self.config.server.drain_timeout);
        let server = &*self.server;
        let begin = drains(server.connections(), lag + limit);
        log::info!("{begin}");
        systemd::stopping(&begin);
        server.turn_unready();
        let since = Stopwatch::start();
        let is_second = || since.elapsed() >= ECHO;
        let cut = || {
            log::warn!("a second signal: {} connections are cut", server.connections());
            server.stop();
        };
        if self.lag(lag, &is_second, watchdog) {
            return cut();
        }
        server.drain(limit);
        let watch = Stopwatch::start();
        let mut report_at = FIRST_REPORT;
        while !server.is_finished() {
            watchdog.look(None);
            match self.wakes.recv_timeout(Duration::from_millis(20)) {
                Ok(Asked::End) if is_second() => return cut(),
                Ok(asked) => self.too_late(asked),
                Err(_) => {}
            }
            if watch.elapsed() >= report_at {
                report_at += DRAIN_REPORT;
                let waits = server.survey(SURVEY_PATIENCE).to_string();
                log::info!("draining for {} s, waiting for {waits}", watch.elapsed().as_secs());
                systemd::status(&format!("draining, waiting for {waits}"));
            }
        }
        let ends = server.shared().hub.total();
        let cut: u64 = ends.closes().filter(|end| end.1 == Reason::Stopped).map(|end| end.2).sum();
        if cut > 0 {
            log::warn!("server.drain_timeout is up: {cut} connections are cut");
        }
        log::info!("drained in {} ms", watch.elapsed().as_millis());
    }

    /// Listeners stay open for so long. True if somebody cannot wait.
    fn lag(&self, lag: Duration, is_second: &dyn Fn() -> bool, watchdog: &mut Watchdog) -> bool {
        let watch = Stopwatch::start();
        while let Some(left) = lag.checked_sub(watch.elapsed()).filter(|left| !left.is_zero()) {
            watchdog.look(None);
            match self.wakes.recv_timeout(left.min(watchdog.interval())) {
                Ok(Asked::End) if is_second() => return true,
                Ok(asked) => self.too_late(asked),
                Err(_) => {}
            }
        }
        false
    }

    /// At any level: somebody has asked for it.
    fn summary(&self) {
        let (survey, level) = (self.server.survey(SURVEY_PATIENCE), info_or_graver());
        log::log!(level, "{survey}");
        survey.summaries.iter().flat_map(|text| text.lines()).for_each(|line| log::log!(level, "{line}"));
    }

    /// What can still be asked for while it drains.
    fn too_late(&self, asked: Asked) {
        match asked {
            Asked::Reopen => self.logs.reopen(),
            Asked::Summary => self.summary(),
            Asked::Reload(Some(from)) => from.answer(Err("the server is draining\n".into())),
            Asked::Reload(None) => log::error!("reload refused: the server is draining"),
            Asked::End => {}
        }
    }
}

/// How a drain begins. `most`: with the time that listeners stay open.
fn drains(connections: usize, most: Duration) -> String {
    format!("draining: {connections} connections, at most {}", show_duration(most))
}

/// What there is to say of an address that is listened at: with the port that the system chose, and whether the world can reach it.
pub(super) fn listening(at: &Address) -> Vec<String> {
    let mut lines = vec![format!("listening on {at}")];
    if let Address::Tcp(at) = at
        && at.ip().is_unspecified()
    {
        lines.push(format!("{at} is open to the world: every network that this machine is in can reach it"));
    }
    lines
}

/// Ctrl-C by `ctrlc`; what a service manager sends by `signal-hook`. SIGPIPE is ignored by Rust's runtime.
pub(super) fn signals(to: mpsc::Sender<Asked>) -> Result<(), Box<dyn std::error::Error>> {
    let interrupt = to.clone();
    ctrlc::set_handler(move || {
        let _ = interrupt.send(Asked::End);
    })?;
    // A log that has grown to `ulimit -f` is an error of its writing, which is told, and not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let (mut woken, wakes) = UnixStream::pair()?;
    let mut flags = Vec::new();
    for signal in [SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2] {
        let flag = Arc::new(AtomicBool::new(false));
        // The flag first: whoever is woken finds it raised.
        signal_hook::flag::register(signal, flag.clone())?;
        signal_hook::low_level::pipe::register(signal, wakes.try_clone()?)?;
        flags.push((signal, flag));
    }
    std::thread::Builder::new().name("signals".into()).stack_size(STACK).spawn(move || {
        // A read that fails (a signal came between, the kernel was short of something) must not be the end of listening.
        while woken.read(&mut [0; 16]).is_ok_and(|n| n > 0) || wait_a_little() {
            for (signal, flag) in &flags {
                if flag.swap(false, Ordering::AcqRel) {
                    let _ = to.send(match *signal {
                        SIGUSR1 => Asked::Reopen,
                        SIGUSR2 => Asked::Summary,
                        SIGHUP => Asked::Reload(None),
                        _ => Asked::End,
                    });
                }
            }
        }
    })?;
    Ok(())
}

/// After a read that failed, so that one that fails for ever costs nothing.
fn wait_a_little() -> bool {
    std::thread::sleep(Duration::from_millis(50));
    true
}

/// What is asked for at the admin socket comes in among the signals.
pub(super) fn requests(to: mpsc::Sender<Asked>) -> std::io::Result<mpsc::Sender<AdminRequest>> {
    let (requests, from) = mpsc::channel();
    std::thread::Builder::new().name("admin".into()).stack_size(STACK).spawn(move || {
        for request in from {
            if to.send(Asked::Reload(Some(request))).is_err() {
                return;
            }
        }
    })?;
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_says_how_long_it_may_take_to_the_millisecond() {
        let said = |ms| drains(3, Duration::from_millis(ms));
        assert_eq!(said(30_000), "draining: 3 connections, at most 30s");
        assert_eq!(said(5_500), "draining: 3 connections, at most 5500ms");
        assert_eq!(said(0), "draining: 3 connections, at most 0s");
    }
}
