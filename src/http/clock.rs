//! The calendar as answers need it: read at most once a second, kept as the finished `date` line.

use crate::reactor::{Host, Millis};
use crate::wire::http::date;
use std::time::{SystemTime, UNIX_EPOCH};

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const DATE: usize = 29;
/// `date: Sun, 06 Nov 1994 08:49:37 GMT\r\n`
const LINE: usize = 6 + DATE + 2;

/// A cached date.
#[derive(Clone, Debug)]
pub struct Clock {
    now: Millis,
    /// Nothing changes before this.
    fresh_until: Millis,
    unix_seconds: u64,
    date: [u8; DATE],
    line: [u8; LINE],
}

impl Default for Clock {
    fn default() -> Clock {
        let mut clock = Clock {
            now: Millis(0),
            fresh_until: Millis(0),
            unix_seconds: 0,
            date: [0; DATE],
            line: [0; LINE],
        };
        clock.write();
        clock
    }
}

impl Clock {
    /// Tells the monotonic time; the calendar is read if a new second may have begun.
    #[inline]
    pub fn tick(&mut self, now: Millis, host: &dyn Host) {
        self.now = now;
        if now >= self.fresh_until {
            self.read(now, host);
        }
    }

    #[cold]
    fn read(&mut self, now: Millis, host: &dyn Host) {
        let since = host.unix_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.unix_seconds = since.as_secs();
        self.fresh_until = Millis(now.0 + 1000 - u64::from(since.subsec_millis()));
        self.write();
    }

    fn write(&mut self) {
        self.date = date::format(self.unix_seconds);
        self.line[..6].copy_from_slice(b"date: ");
        self.line[6..35].copy_from_slice(&self.date);
        self.line[35..].copy_from_slice(b"\r\n");
    }

    /// The date alone.
    #[inline]
    pub fn date(&self) -> &[u8; DATE] {
        &self.date
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
