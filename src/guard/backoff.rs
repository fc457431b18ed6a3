//! When to try again: waits that double up to a bound, with jitter, and begin anew after a stable time.
//!
//! The wait before attempt `n` (from 0) lies evenly between half of `d` and `d`, where `d` is `first * 2^n`, at most `longest`.
//! Half of it is random, so that a thousand clients that were cut off together do not come back together.

use crate::reactor::{Host, Millis};
use std::time::Duration;

/// The bounds of a [`Backoff`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// The longest wait before the first attempt. Default 250 ms.
    pub first: Duration,
    /// The longest wait of all. Default 30 s.
    pub longest: Duration,
    /// A connection that stood for this long was a good one: the waits begin anew. Default 10 s.
    pub stable: Duration,
    /// Attempts in a row, after which no more are made; 0: no end. Default 0.
    pub attempts: u32,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            stable: Duration::from_secs(10),
            attempts: 0,
        }
    }
}

/// How often it was tried, and since when it stands.
#[derive(Clone, Copy, Default, Debug)]
pub struct Backoff {
    tried: u32,
    stands_since: Option<Millis>,
}

impl Backoff {
    /// Attempts since the last stable connection.
    pub fn tried(&self) -> u32 {
        self.tried
    }

    /// The connection stands.
    pub fn stands(&mut self, now: Millis) {
        self.stands_since = Some(now);
    }

    /// The connection was lost, or could not be made: how long to wait, or `None` if it is not to be tried again.
    pub fn lost(&mut self, retry: &Retry, now: Millis, host: &mut dyn Host) -> Option<Duration> {
        if self.stands_since.take().is_some_and(|since| now.since(since) >= retry.stable) {
            self.tried = 0;
        }
        if retry.attempts > 0 && self.tried >= retry.attempts {
            return None;
        }
        let doubled = retry.first.saturating_mul(1 << self.tried.min(24));
        self.tried = self.tried.saturating_add(1);
        let most = u64::try_from(doubled.min(retry.longest).as_millis()).unwrap_or(u64::MAX).max(1);
        let mut random = [0; 8];
        host.fill_random(&mut random);
        let jitter = u64::from_le_bytes(random) % (most / 2 + 1);
        Some(Duration::from_millis(most - most / 2 + jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::net::sim::SimNet;

    #[test]
    fn waits_double_up_to_a_bound_with_jitter_and_begin_anew_after_a_stable_time() {
        let (mut world, mut backoff) = (SimNet::new(3), Backoff::default());
        let retry = Retry::default();
        let mut seen = Vec::new();
        for n in 0..12u32 {
            let most = Duration::from_millis(250).saturating_mul(1 << n).min(retry.longest);
            let wait = backoff.lost(&retry, Millis(0), &mut world).unwrap();
            assert!(wait >= most / 2 && wait <= most, "{n}: {wait:?}");
            seen.push(wait);
        }
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "jitter");
        backoff.stands(Millis(0));
        assert!(
            backoff.lost(&retry, Millis(9_999), &mut world).unwrap() >= retry.longest / 2,
            "not stable yet"
        );
        backoff.stands(Millis(20_000));
        assert!(backoff.lost(&retry, Millis(30_000), &mut world).unwrap() <= retry.first);
    }

    #[test]
    fn a_bound_on_attempts_ends_it() {
        let (mut world, mut backoff) = (SimNet::new(3), Backoff::default());
        let retry = Retry { attempts: 2, ..Retry::default() };
        let mut lost = || backoff.lost(&retry, Millis(0), &mut world).is_some();
        assert_eq!([lost(), lost(), lost()], [true, true, false]);
    }
}
