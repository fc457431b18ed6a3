//! What all workers of a process share, and others look at.

use super::session::STATES;
use super::settings::Config;
use super::tls::Expiry;
use crate::guard::{Budget, Clients};
use crate::http::DiskThreads;
use crate::observe::{Hub, LogQueue, Reloads};
use crate::reactor::Gauge;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Threads that wait for the disk at once, while there is any waiting.
const DISK_THREADS: usize = 4;

/// One value a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Accepted connections.
    pub gauge: Gauge,
    /// Connections of each client.
    pub clients: Arc<Clients>,
    /// Memory held for connections.
    pub budget: Budget,
    /// What workers have counted.
    pub hub: Arc<Hub>,
    /// Where lines of the access log go.
    pub access: Option<LogQueue>,
    /// Where the diagnostics go, if that is known.
    pub diagnostics: Option<LogQueue>,
    /// Who waits for the disk in the workers' place.
    pub ahead: Arc<DiskThreads>,
    draining: Arc<AtomicBool>,
    max_connections: Arc<AtomicUsize>,
    reloads: Arc<Mutex<Reloads>>,
    certificates: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Shared {
    /// For so many workers.
    pub(super) fn new(config: &Config, workers: usize, access: Option<LogQueue>) -> Shared {
        let budget = Budget::new(config.limits.memory);
        warn_of_budget(config, &budget);
        Shared {
            gauge: Gauge::default(),
            clients: Arc::new(Clients::new(config.limits.per_client_connections)),
            budget,
            hub: Arc::new(Hub::new(workers, STATES)),
            access,
            diagnostics: None,
            ahead: Arc::new(DiskThreads::new(DISK_THREADS)),
            draining: Arc::default(),
            max_connections: Arc::new(AtomicUsize::new(config.server.max_connections)),
            reloads: Arc::default(),
            certificates: Arc::default(),
        }
    }

    /// The most connections there may be.
    pub fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    /// What all workers share of the limits, from now on.
    pub(super) fn set_limits(&self, config: &Config) {
        self.max_connections.store(config.server.max_connections, Ordering::Relaxed);
        self.clients.set_limit(config.limits.per_client_connections);
        self.budget.set_limit(config.limits.memory);
        warn_of_budget(config, &self.budget);
    }

    /// What came of reloads.
    pub fn reloads(&self) -> Reloads {
        *self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first configuration is in force from now on.
    pub(super) fn begin_living(&self, now: SystemTime) {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).applied_at = seconds(now);
    }

    pub(super) fn count_reload(&self, applied: bool, now: SystemTime) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        match applied {
            true => (reloads.applied, reloads.applied_at) = (reloads.applied + 1, seconds(now)),
            false => reloads.refused += 1,
        }
    }

    /// Certificates in use: the host they are for and when they expire, in seconds since 1970.
    pub fn certificates(&self) -> Vec<(String, u64)> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_certificates(&self, expiries: &[Expiry]) {
        let all = expiries.iter().map(|one| (one.host.clone(), seconds(one.not_after)));
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
    }

    /// Lines of logs that were lost.
    pub(super) fn log_lines_dropped(&self) -> u64 {
        [&self.access, &self.diagnostics].into_iter().flatten().map(LogQueue::dropped).sum()
    }

    /// No new clients are to be sent here.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

fn warn_of_budget(config: &Config, budget: &Budget) {
    let (asked, given) = (config.limits.memory, budget.limit());
    if given < asked {
        log::warn!(
            "limits.memory: {asked} bytes were asked for, but the control group or ulimit -v allows little more in all; {given} it is"
        );
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
