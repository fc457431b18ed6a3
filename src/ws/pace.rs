//! The times and sizes that a WebSocket connection lives by.

use crate::reactor::Millis;
use crate::wire::ws::Limits;
use std::time::Duration;

/// The times of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Silence after which a ping is sent; zero: never. Default 20 s.
    pub ping_interval: Duration,
    /// How long its pong, or any other byte, may take. Default 10 s.
    pub ping_timeout: Duration,
    /// How long the peer may take to answer our close frame. Default 5 s.
    pub close_timeout: Duration,
    /// How long a message may take from its first byte to its last. Default 2 min.
    pub message_timeout: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(120),
        }
    }
}

/// The limits and times that a call runs under.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Times.
    pub pace: Pace,
    /// Sizes of frames and messages.
    pub limits: Limits,
}

/// When silence has lasted long enough for a ping.
pub(super) fn silence(rules: &Rules, now: Millis) -> Millis {
    match rules.pace.ping_interval {
        interval if interval.is_zero() => Millis::NEVER,
        interval => now.after(interval),
    }
}
