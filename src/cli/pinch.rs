//! What the log says of limits that turned somebody away: at once, and then no more than once a minute for each.

use crate::observe::{Refusal, Tally};
use crate::server::Server;
use crate::server::settings::Config;
use std::net::IpAddr;
use std::time::Duration;

/// How long the same is not said again.
const QUIET: Duration = Duration::from_secs(60);

/// What pinched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    ClientConnections,
    Memory,
    MaxConnections,
    Descriptors,
    Evicted,
}

impl Cause {
    const ALL: [Cause; 5] =
        [Cause::ClientConnections, Cause::Memory, Cause::MaxConnections, Cause::Descriptors, Cause::Evicted];

    /// How often it did so far.
    fn count(self, tally: &Tally) -> u64 {
        let reactor = &tally.reactor;
        match self {
            Cause::ClientConnections => tally.refusals[Refusal::ClientConnections as usize],
            Cause::Memory => tally.refusals[Refusal::Memory as usize],
            Cause::MaxConnections => reactor.accept_full,
            Cause::Descriptors => reactor.accept_exhausted,
            Cause::Evicted => reactor.evicted,
        }
    }

    fn line(self, times: u64, config: &Config, last: Option<IpAddr>) -> String {
        match self {
            Cause::ClientConnections => {
                let last = last.map_or_else(String::new, |ip| format!(", the last of {ip}"));
                format!(
                    "connections refused: {times}{last}; limits.per_client_connections is {}. Of a proxy it has to be more, or 0",
                    config.limits.per_client_connections
                )
            }
            Cause::Memory => {
                format!(
                    "connections refused: {times}; what is held for those there are is over limits.memory"
                )
            }
            Cause::MaxConnections => format!(
                "accepting paused: {times} times; max_connections is {}, and who comes waits until one of them ends",
                config.server.max_connections
            ),
            Cause::Descriptors => {
                format!(
                    "accepting paused: {times} times; the system has no descriptors, or no memory, for more"
                )
            }
            Cause::Evicted => {
                format!("idle connections let go: {times}; descriptors, or memory, had run short")
            }
        }
    }
}

/// What was said so far.
#[derive(Default)]
pub(super) struct Pinch {
    said: [(u64, Option<Duration>); Cause::ALL.len()],
}

impl Pinch {
    /// Looks what happened, and says it. `now`: the time since any one beginning.
    pub(super) fn look(&mut self, now: Duration, server: &Server, config: &Config) {
        let shared = server.shared();
        for (cause, times) in self.news(now, &shared.hub.total()) {
            log::warn!("{}", cause.line(times, config, shared.clients.last_refused()));
        }
    }

    /// What is to be said now, and how often it happened since it was last said.
    fn news(&mut self, now: Duration, tally: &Tally) -> Vec<(Cause, u64)> {
        let news = Cause::ALL.into_iter().zip(&mut self.said).filter_map(|(cause, (told, at))| {
            let times = cause.count(tally).saturating_sub(*told);
            let is_quiet = at.is_some_and(|at| now < at + QUIET);
            if times == 0 || is_quiet {
                return None;
            }
            (*told, *at) = (*told + times, Some(now));
            Some((cause, times))
        });
        news.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pinches_is_said_at_once_and_what_came_meanwhile_a_minute_later() {
        let (mut pinch, mut tally) = (Pinch::default(), Tally::new(&[]));
        let mut at = |second: u64, change: &dyn Fn(&mut Tally)| {
            change(&mut tally);
            pinch.news(Duration::from_secs(second), &tally)
        };
        assert_eq!(at(0, &|_| {}), []);
        assert_eq!(at(5, &|tally| tally.reactor.accept_full = 3), [(Cause::MaxConnections, 3)]);
        assert_eq!(at(6, &|tally| tally.reactor.accept_full = 40), []);
        assert_eq!(at(7, &|tally| tally.refused(Refusal::Memory)), [(Cause::Memory, 1)]);
        assert_eq!(at(64, &|_| {}), []);
        assert_eq!(at(65, &|_| {}), [(Cause::MaxConnections, 37)]);
        assert_eq!(at(1000, &|_| {}), []);
    }

    #[test]
    fn each_line_tells_the_setting_or_what_ran_short() {
        let config = Config::default();
        for (cause, words) in [
            (Cause::ClientConnections, "7, the last of 192.0.2.1; limits.per_client_connections is 256."),
            (Cause::Memory, "limits.memory"),
            (Cause::MaxConnections, "max_connections is 10000"),
            (Cause::Descriptors, "descriptors"),
            (Cause::Evicted, "let go: 7"),
        ] {
            let line = cause.line(7, &config, Some([192, 0, 2, 1].into()));
            assert!(line.contains(words), "{line}");
        }
    }
}
