//! The calendar as answers need it: read at most once a second, kept as the finished `date` line.

use crate::reactor::{Host, Millis};
use crate::wire::http::date;
use std::time::{SystemTime, UNIX_EPOCH};

/// `date: Sun, 06 Nov 1994 08:49:37 GMT\r\n`
const LINE: usize = 6 + 29 + 2;

/// A cached date.
#[derive(Clone, Debug)]
pub struct Clock {
    now: Millis,
    /// Nothing changes before this.
    fresh_until: Millis,
    unix_seconds: u64,
    line: [u8; LINE],
}

impl Default for Clock {
    fn default() -> Clock {
        let mut clock = Clock { now: Millis(0), fresh_until: Millis(0), unix_seconds: 0, line: [0; LINE] };
        clock.write();
        clock
    }
}

impl Clock {
    /// Tells the monotonic time; the calendar is read if a new second may have begun.
    pub fn tick(&mut self, now: Millis, host: &dyn Host) {
        self.now = now;
        if now < self.fresh_until {
            return;
        }
        let since = host.unix_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.unix_seconds = since.as_secs();
        self.fresh_until = Millis(now.0 + 1000 - u64::from(since.subsec_millis()));
        self.write();
    }

    fn write(&mut self) {
        self.line[..6].copy_from_slice(b"date: ");
        self.line[6..35].copy_from_slice(&date::format(self.unix_seconds));
        self.line[35..].copy_from_slice(b"\r\n");
    }

    /// The whole field line.
    pub fn date_line(&self) -> &[u8] {
        &self.line
    }

    /// Seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        let left = self.fresh_until.0.saturating_sub(self.now.0).min(1000);
        self.unix_seconds * 1000 + (1000 - left)
    }

    /// The same, as the standard library has it.
    pub fn system_time(&self) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_secs(self.unix_seconds)
    }

    /// Milliseconds on the reactor's clock.
    pub fn now_ms(&self) -> u64 {
        self.now.0
    }
}
