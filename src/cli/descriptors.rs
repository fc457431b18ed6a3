//! How many descriptors the process may have open: a connection takes one, a worker several.
//!
//! Shells and service managers start programs with a low limit, for the sake of those that still use select(2); each may raise it
//! itself, up to a second one that is far higher.

use crate::server::settings::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside connections and workers: logs, the metrics port with its connections, files that are sent.
const OTHERS: u64 = 64;
/// What a worker waits with: epoll, what wakes it, and its alarm. It has a clone of each listening socket, too.
const WAITING: u64 = 3;

/// Raises the limit as far as it goes, if it is too low for all connections. What is to be said if that is not far enough.
pub(super) fn provide(config: &Config) -> Option<String> {
    let connections = config.server.max_connections as u64;
    let workers = config.server.worker_count();
    let listeners = (config.http_listeners().len() + config.tcp.len()) as u64;
    let wanted = connections + OTHERS + workers as u64 * (WAITING + listeners);
    let too_low = || getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted);
    too_low()?;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If it cannot be raised, what there is is looked at next.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum.or(Some(wanted)), maximum });
    let limit = too_low()?;
    Some(format!(
        "server.max_connections: {connections} with {workers} workers take {wanted} descriptors, but only {limit} may be open: raise \
         `ulimit -n` (in systemd LimitNOFILE), or ask for less"
    ))
}
