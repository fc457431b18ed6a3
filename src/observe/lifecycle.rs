//! The life of single connections in the diagnostics: accepted, each state, each fault, closed.
//!
//! Written for all connections at log level debug, or, at whatever level, for given peers: so one client can be
//! watched on a busy server. With neither, asking costs one load and two comparisons.

use super::peers::Peers;
use crate::reactor::{Peer, Token};
use std::fmt;
use std::sync::Arc;

/// The target of these lines.
pub const TARGET: &str = "evenkeel::connection";

/// Whose lives are written. One a worker; cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Lifecycle {
    peers: Arc<[Peers]>,
}

impl Lifecycle {
    /// Beside what the level says, these peers.
    pub fn new(peers: Arc<[Peers]>) -> Lifecycle {
        Lifecycle { peers }
    }

    /// Anybody's life is written: ask before anything else.
    #[inline]
    pub fn wants_any(&self) -> bool {
        log::log_enabled!(target: TARGET, log::Level::Debug) || !self.peers.is_empty()
    }

    /// This one's life is written: ask before gathering anything.
    #[inline]
    pub fn wants(&self, peer: &Peer) -> bool {
        log::log_enabled!(target: TARGET, log::Level::Debug)
            || !self.peers.is_empty() && self.is_watched(peer)
    }

    fn is_watched(&self, peer: &Peer) -> bool {
        self.peers.iter().any(|peers| peers.contains(peer))
    }

    /// Writes a line, if this one's life is written: `lifecycle.note(token, &peer, format_args!("state head"))`. The lines of a
    /// watched peer have level info, or a graver one if only that passes the filter.
    #[inline]
    pub fn note(&self, token: Token, peer: &Peer, what: fmt::Arguments<'_>) {
        if self.wants(peer) {
            self.write(token, peer, what);
        }
    }

    #[cold]
    fn write(&self, token: Token, peer: &Peer, what: fmt::Arguments<'_>) {
        let level = if self.is_watched(peer) { info_or_graver() } else { log::Level::Debug };
        log::log!(target: TARGET, level, "{token} {peer}: {what}");
    }
}

/// The level of what somebody has asked for: info, or a graver one if only that passes the filter.
pub fn info_or_graver() -> log::Level {
    log::max_level().to_level().unwrap_or(log::Level::Error).min(log::Level::Info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn only_the_given_peers_are_watched() {
        let nets = ["192.0.2.0/24", "2001:db8::/32"].map(|net| net.parse().unwrap());
        let lifecycle = Lifecycle::new(nets.into());
        let peer = |addr: &str| Peer::from(addr.parse::<SocketAddr>().unwrap());
        assert!(lifecycle.is_watched(&peer("192.0.2.9:1")) && lifecycle.is_watched(&peer("[2001:db8::1]:1")));
        assert!(lifecycle.is_watched(&peer("[::ffff:192.0.2.9]:1")), "a mapped address is the IPv4 one");
        assert!(!lifecycle.is_watched(&peer("192.0.3.9:1")) && !lifecycle.is_watched(&Peer::UNIX));
        assert!(Lifecycle::new([Peers::Unix].into()).is_watched(&Peer::UNIX));
        assert!(!Lifecycle::default().is_watched(&peer("192.0.2.9:1")));
    }
}
