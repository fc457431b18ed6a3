//! The name of a connection.
//!
//! A [`Token`] is a slot's index and a generation. Generations are drawn from one counter per reactor, never per slot, so a
//! table that shrank and grew again does not repeat a token. A stale token matches nothing: an event or a note for it vanishes.

use std::fmt;

/// Bits of a token that hold the slot's index: 16.7 million slots a reactor.
const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
/// Indexes from here up name listeners, not slots.
const LISTENERS: u64 = INDEX_MASK - 0xFFFF;

/// The only name of a connection: slot index (24 bits) and generation (40 bits: three years at 10,000 connections a second).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// Most slots that a table may have.
    pub const MAX_SLOTS: usize = LISTENERS as usize;

    pub(crate) fn new(index: usize, generation: u64) -> Token {
        debug_assert!((index as u64) < LISTENERS);
        Token(index as u64 & INDEX_MASK | generation << INDEX_BITS)
    }

    pub(crate) fn of_listener(id: ListenerId) -> Token {
        Token(LISTENERS + id.0 as u64)
    }

    /// The listener that this token names, if it names one.
    pub fn listener(self) -> Option<ListenerId> {
        let index = self.0 & INDEX_MASK;
        (index >= LISTENERS).then(|| ListenerId((index - LISTENERS) as u16))
    }

    /// The slot's index.
    pub fn index(self) -> usize {
        (self.0 & INDEX_MASK) as usize
    }

    /// As a number, for an operating system that carries 64 bits with an event.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Back from [`to_bits`](Self::to_bits).
    pub fn from_bits(bits: u64) -> Token {
        Token(bits)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.0 >> INDEX_BITS)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which listener of a reactor a connection came in through: the order of [`add_listener`](super::Reactor::add_listener).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId(pub u16);

/// A point on the reactor's monotonic clock, in milliseconds since an arbitrary start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Millis(pub u64);

impl Millis {
    /// Later than every deadline.
    pub const NEVER: Millis = Millis(u64::MAX);

    /// This much later; saturates. Parts of a millisecond count as one, so that a deadline is never early.
    #[must_use]
    pub fn after(self, wait: std::time::Duration) -> Millis {
        let ms = wait.as_secs().saturating_mul(1000);
        let parts = u64::from(wait.subsec_nanos().div_ceil(1_000_000));
        Millis(self.0.saturating_add(ms).saturating_add(parts))
    }

    /// How long from `earlier` to here; zero if it is later than this.
    pub fn since(self, earlier: Millis) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_gives_back_its_index_and_differs_by_generation() {
        let (a, b) = (Token::new(7, 1), Token::new(7, 2));
        assert_eq!((a.index(), b.index()), (7, 7));
        assert_ne!(a, b);
        assert_eq!(Token::from_bits(a.to_bits()), a);
        assert_eq!(a.listener(), None);
    }

    #[test]
    fn a_listener_token_names_its_listener() {
        assert_eq!(Token::of_listener(ListenerId(3)).listener(), Some(ListenerId(3)));
    }

    #[test]
    fn a_deadline_rounds_up_and_saturates() {
        assert_eq!(Millis(5).after(Duration::from_micros(1)), Millis(6));
        assert_eq!(Millis(5).after(Duration::MAX), Millis::NEVER);
    }
}
