//! How the server is: healthy, degraded or unhealthy, and why.
//!
//! | path | answers | 503 when |
//! |---|---|---|
//! | `/livez` | it runs: nothing that clients do makes it fail | never |
//! | `/healthz` | the status below | unhealthy |
//! | `/readyz` | whether to send it new clients | draining, or unhealthy |
//!
//! | of | degraded | unhealthy |
//! |---|---|---|
//! | connections | over 80 % of the limit | never: a full server still serves whom it has |
//! | memory held for connections | over 80 % of the budget | from 100 % |
//! | lag of the event loops | over 100 ms | over 2 s |
//! | mean response time, lately | over 5 s | never: slow clients make it long, too |
//!
//! The worst of these is the status.

use super::counters::Tally;
use crate::reactor::Millis;
use std::fmt::Write as _;
use std::time::Duration;

/// How the server is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Health {
    /// All is well.
    Healthy,
    /// It serves, but something is near its limit.
    Degraded,
    /// It cannot be relied on.
    Unhealthy,
}

impl Health {
    /// The word for people.
    pub fn label(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
        }
    }

    /// The word of `application/health+json` (draft-inadarei-api-health-check).
    fn word(self) -> &'static str {
        match self {
            Health::Healthy => "pass",
            Health::Degraded => "warn",
            Health::Unhealthy => "fail",
        }
    }

    fn above(value: u64, degraded: u64, unhealthy: u64) -> Health {
        if value > unhealthy {
            Health::Unhealthy
        } else if value > degraded {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vitals {
    /// Connections there are.
    pub connections: u64,
    /// The most there may be.
    pub max_connections: u64,
    /// Bytes held for connections.
    pub memory_bytes: u64,
    /// Bytes that may be held.
    pub memory_budget: u64,
    /// The mean of lately: [`ResponseTime`].
    pub response_time: Duration,
    /// The worst lag of the event loops lately, in milliseconds: the greater of [`Lag`] and what
    /// [`Silence`](super::Silence) says beyond the second in which every worker speaks.
    pub lag_ms: u64,
    /// The server is draining.
    pub draining: bool,
}

/// The status, and what it was made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HealthStatus {
    /// The worst of all checks.
    pub status: Health,
    /// Connections there are.
    pub connection_count: u64,
    /// Bytes held for connections.
    pub memory_bytes: u64,
    /// Mean time of the exchanges of lately.
    pub response_time: Duration,
    checks: [(&'static str, &'static str, Health); 4],
    lag_ms: u64,
    draining: bool,
}

impl HealthStatus {
    /// Decides.
    pub fn of(vitals: &Vitals) -> HealthStatus {
        let Vitals {
            connections,
            max_connections,
            memory_bytes,
            memory_budget,
            response_time,
            lag_ms,
            draining,
        } = *vitals;
        let most = |limit: u64| (u128::from(limit) * 4 / 5) as u64;
        let response_ms = u64::try_from(response_time.as_millis()).unwrap_or(u64::MAX);
        let checks = [
            ("connections:count", "connections", Health::above(connections, most(max_connections), u64::MAX)),
            (
                "memory:held",
                "bytes",
                Health::above(memory_bytes, most(memory_budget), memory_budget.saturating_sub(1)),
            ),
            ("response:time", "s", Health::above(response_ms, 5_000, u64::MAX)),
            ("loop:lag", "s", Health::above(lag_ms, 100, 2_000)),
        ];
        let status = checks.iter().map(|check| check.2).max().unwrap_or(Health::Healthy);
        HealthStatus {
            status,
            connection_count: connections,
            memory_bytes,
            response_time,
            checks,
            lag_ms,
            draining,
        }
    }

    /// The status code of `/healthz`.
    pub fn healthz(&self) -> u16 {
        match self.status {
            Health::Healthy | Health::Degraded => 200,
            Health::Unhealthy => 503,
        }
    }

    /// The status code of `/readyz`.
    pub fn readyz(&self) -> u16 {
        if self.draining { 503 } else { self.healthz() }
    }

    /// For people: `healthy`, and what it was made of, one a line.
    pub fn text(&self) -> String {
        let mut out = String::from(self.status.label());
        out.push_str(if self.draining { ", draining\n" } else { "\n" });
        for (check, (name, unit, health)) in self.values().iter().zip(self.checks) {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name} {check} {unit} {}", health.label());
        }
        out
    }

    /// `application/health+json`.
    pub fn json(&self) -> String {
        let word = if self.draining { "fail" } else { self.status.word() };
        let label = if self.draining { "draining" } else { self.status.label() };
        let mut out = format!("{{\"status\":\"{word}\",\"output\":\"{label}\",\"checks\":{{");
        for (i, (value, (name, unit, health))) in self.values().iter().zip(self.checks).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let (word, value) = (health.word(), value);
            let _ = write!(
                out,
                "{comma}\"{name}\":[{{\"observedValue\":{value},\"observedUnit\":\"{unit}\",\"status\":\"{word}\"}}]"
            );
        }
        out.push_str("}}");
        out
    }

    /// In the order of the checks.
    fn values(&self) -> [String; 4] {
        let seconds = |ms: u128| format!("{}.{:03}", ms / 1000, ms % 1000);
        [
            self.connection_count.to_string(),
            self.memory_bytes.to_string(),
            seconds(self.response_time.as_millis()),
            seconds(self.lag_ms.into()),
        ]
    }

    /// The body and its content type for a client that sent this Accept field.
    pub fn body(&self, accept: Option<&[u8]>) -> (&'static str, String) {
        let wants = |name: &[u8]| {
            accept.is_some_and(|value| value.windows(name.len()).any(|w| w.eq_ignore_ascii_case(name)))
        };
        if wants(b"application/health+json") || wants(b"application/json") {
            ("application/health+json", self.json())
        } else {
            ("text/plain; charset=utf-8", self.text())
        }
    }
}

/// The mean response time of lately, from totals that only grow: over the last whole window of at least ten seconds and what came
/// after it.
#[derive(Clone, Copy, Default, Debug)]
pub struct ResponseTime {
    /// When the window before, and the one under way, began, with the totals then.
    before: (u64, u64),
    current: (u64, u64),
    began: Millis,
}

impl ResponseTime {
    /// How long a window is, in milliseconds.
    const WINDOW_MS: u64 = 10_000;

    /// The mean as of now; zero if nothing was answered lately. Ask as often as you like.
    pub fn observe(&mut self, now: Millis, tally: &Tally) -> Duration {
        let total = (tally.durations.count(), tally.durations.sum_ms());
        let age = now.0.saturating_sub(self.began.0);
        if age >= Self::WINDOW_MS {
            // Nobody asked for two windows: what was before is not lately any more.
            self.before = if age >= 2 * Self::WINDOW_MS { total } else { self.current };
            (self.current, self.began) = (total, now);
        }
        let (count, sum_ms) = (total.0.saturating_sub(self.before.0), total.1.saturating_sub(self.before.1));
        Duration::from_millis(sum_ms.checked_div(count).unwrap_or(0))
    }
}

/// How late a worker's timer was, at worst, lately. A worker that hangs in a handler or is starved fires late.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lag {
    window: u64,
    before_ms: u64,
    current_ms: u64,
}

impl Lag {
    const WINDOW_MS: u64 = 10_000;

    /// A timer that was due then fires now. Allow for the wheel's own coarseness in `due`.
    pub fn fired(&mut self, due: Millis, now: Millis) {
        let window = now.0 / Self::WINDOW_MS;
        if window != self.window {
            self.before_ms = if window == self.window + 1 { self.current_ms } else { 0 };
            (self.current_ms, self.window) = (0, window);
        }
        self.current_ms = self.current_ms.max(now.0.saturating_sub(due.0));
    }

    /// The worst of the last ten to twenty seconds, in milliseconds.
    pub fn worst_ms(&self) -> u64 {
        self.current_ms.max(self.before_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Vitals = Vitals {
        connections: 10,
        max_connections: 100,
        memory_bytes: 10,
        memory_budget: 1000,
        response_time: Duration::from_millis(1042),
        lag_ms: 3,
        draining: false,
    };

    fn of(vitals: Vitals) -> Health {
        HealthStatus::of(&vitals).status
    }

    #[test]
    fn each_vital_degrades_at_its_bound_and_not_before() {
        assert_eq!(of(FINE), Health::Healthy);
        assert_eq!(of(Vitals { connections: 80, ..FINE }), Health::Healthy);
        assert_eq!(of(Vitals { connections: 81, ..FINE }), Health::Degraded);
        assert_eq!(of(Vitals { connections: 100, ..FINE }), Health::Degraded);
        assert_eq!(of(Vitals { memory_bytes: 800, ..FINE }), Health::Healthy);
        assert_eq!(of(Vitals { memory_bytes: 801, ..FINE }), Health::Degraded);
        assert_eq!(of(Vitals { memory_bytes: 1000, ..FINE }), Health::Unhealthy);
        assert_eq!(of(Vitals { lag_ms: 101, ..FINE }), Health::Degraded);
        assert_eq!(of(Vitals { lag_ms: 2001, ..FINE }), Health::Unhealthy);
        assert_eq!(of(Vitals { response_time: Duration::from_secs(6), ..FINE }), Health::Degraded);
        assert_eq!(
            of(Vitals { connections: 90, memory_bytes: 2000, ..FINE }),
            Health::Unhealthy,
            "the worst counts"
        );
    }

    #[test]
    fn degraded_is_alive_and_ready_and_draining_is_not_ready() {
        let degraded = HealthStatus::of(&Vitals { connections: 100, ..FINE });
        assert_eq!((degraded.healthz(), degraded.readyz()), (200, 200));
        let draining = HealthStatus::of(&Vitals { draining: true, ..FINE });
        assert_eq!((draining.healthz(), draining.readyz()), (200, 503));
        let unhealthy = HealthStatus::of(&Vitals { memory_bytes: 1000, ..FINE });
        assert_eq!((unhealthy.healthz(), unhealthy.readyz()), (503, 503));
    }

    #[test]
    fn it_is_written_for_people_and_for_programs() {
        let status = HealthStatus::of(&Vitals { connections: 81, ..FINE });
        let (kind, text) = status.body(None);
        assert_eq!(kind, "text/plain; charset=utf-8");
        assert_eq!(
            text,
            "degraded\nconnections:count 81 connections degraded\nmemory:held 10 bytes healthy\n\
             response:time 1.042 s healthy\nloop:lag 0.003 s healthy\n"
        );
        let (kind, json) = status.body(Some(b"application/health+json"));
        assert_eq!(kind, "application/health+json");
        assert_eq!(
            json,
            "{\"status\":\"warn\",\"output\":\"degraded\",\"checks\":{\
             \"connections:count\":[{\"observedValue\":81,\"observedUnit\":\"connections\",\"status\":\"warn\"}],\
             \"memory:held\":[{\"observedValue\":10,\"observedUnit\":\"bytes\",\"status\":\"pass\"}],\
             \"response:time\":[{\"observedValue\":1.042,\"observedUnit\":\"s\",\"status\":\"pass\"}],\
             \"loop:lag\":[{\"observedValue\":0.003,\"observedUnit\":\"s\",\"status\":\"pass\"}]}}"
        );
        assert!(
            HealthStatus::of(&Vitals { draining: true, ..FINE }).json().starts_with("{\"status\":\"fail\"")
        );
    }

    #[test]
    fn hostile_limits_do_no_harm() {
        let odd = Vitals { max_connections: 0, memory_budget: 0, memory_bytes: 0, connections: 0, ..FINE };
        assert_eq!(of(odd), Health::Healthy);
        assert_eq!(
            of(Vitals { max_connections: u64::MAX, memory_budget: u64::MAX, ..FINE }),
            Health::Healthy
        );
    }

    #[test]
    fn the_mean_response_time_forgets_what_is_long_ago() {
        let (mut tally, mut mean) = (Tally::new(&[]), ResponseTime::default());
        let ms = Duration::from_millis;
        assert_eq!(mean.observe(Millis(0), &tally), ms(0));
        (0..10).for_each(|_| tally.durations.record(1000));
        assert_eq!(mean.observe(Millis(5_000), &tally), ms(1000));
        (0..10).for_each(|_| tally.durations.record(0));
        assert_eq!(mean.observe(Millis(10_000), &tally), ms(500));
        assert_eq!(mean.observe(Millis(20_000), &tally), ms(0), "nothing since the window before began");
        tally.durations.record(30);
        assert_eq!(mean.observe(Millis(20_001), &tally), ms(30));
        assert_eq!(mean.observe(Millis(1_000_000), &tally), ms(0), "long ago");
    }

    #[test]
    fn the_worst_lag_is_remembered_for_a_while() {
        let mut lag = Lag::default();
        lag.fired(Millis(1000), Millis(1500));
        lag.fired(Millis(2000), Millis(2001));
        assert_eq!(lag.worst_ms(), 500);
        lag.fired(Millis(11_000), Millis(11_001));
        assert_eq!(lag.worst_ms(), 500);
        lag.fired(Millis(21_000), Millis(21_001));
        assert_eq!(lag.worst_ms(), 1);
        lag.fired(Millis(90_000), Millis(90_000));
        assert_eq!(lag.worst_ms(), 0);
    }
}
