//! What all workers of a process share, and others look at.

use super::session::STATES;
use super::settings::Config;
use crate::guard::{Budget, Clients};
use crate::observe::{Hub, LogQueue};
use crate::reactor::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    draining: Arc<AtomicBool>,
}

impl Shared {
    /// For so many workers.
    pub(super) fn new(config: &Config, workers: usize, access: Option<LogQueue>) -> Shared {
        Shared {
            gauge: Gauge::default(),
            clients: Arc::new(Clients::new(config.limits.per_client_connections)),
            budget: Budget::new(config.limits.memory),
            hub: Arc::new(Hub::new(workers, STATES)),
            access,
            draining: Arc::default(),
        }
    }

    /// No new clients are to be sent here.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
}
