//! What a worker is doing, as text: written to the diagnostics on SIGUSR2.
//!
//! One pass over all connections, a few kept: memory and time are bounded by the number of connections, the text by a constant.

use crate::reactor::{Peer, Token};
use std::fmt::Write as _;

/// So many are named of each kind.
const NAMED: usize = 5;

/// A connection, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub token: Token,
    /// Who it is.
    pub peer: Peer,
    /// The name of its state.
    pub state: &'static str,
    /// How long it has been there, in milliseconds, where that is known.
    pub age_ms: Option<u64>,
    /// Bytes that wait for the peer.
    pub backlog: usize,
}

/// What is known beside the rows.
#[derive(Clone, Copy, Default, Debug)]
pub struct Totals {
    /// Which worker this is.
    pub worker: usize,
    /// Timers that are armed.
    pub timers: usize,
    /// Bytes in buffers of this worker's connections.
    pub buffer_bytes: u64,
    /// Bytes in buffers of all connections of the process.
    pub memory_held: u64,
    /// Bytes that may be held.
    pub memory_budget: u64,
    /// Connections of the process, and the most there may be.
    pub connections: u64,
    /// See `connections`.
    pub max_connections: u64,
    /// It is draining.
    pub draining: bool,
}

/// The text: several lines, the last without a line end.
pub fn summary(rows: impl Iterator<Item = Row>, totals: &Totals) -> String {
    let mut states: Vec<(&'static str, usize)> = Vec::new();
    let (mut oldest, mut largest) = (Top::default(), Top::default());
    let (mut count, mut backlog) = (0, 0usize);
    for row in rows {
        count += 1;
        backlog = backlog.saturating_add(row.backlog);
        match states.iter_mut().find(|(state, _)| *state == row.state) {
            Some((_, n)) => *n += 1,
            None => states.push((row.state, 1)),
        }
        oldest.offer(row.age_ms.unwrap_or(0), row);
        largest.offer(row.backlog as u64, row);
    }
    states.sort_unstable_by_key(|(state, n)| (std::cmp::Reverse(*n), *state));
    let t = totals;
    let draining = if t.draining { ", draining" } else { "" };
    let mut out = format!(
        "worker {}{draining}: {count} connections here, {} of {} in all; {} timers; {} bytes in buffers here, \
         {} of {} in all; {backlog} bytes wait for peers",
        t.worker, t.connections, t.max_connections, t.timers, t.buffer_bytes, t.memory_held, t.memory_budget
    );
    let list: Vec<String> = states.iter().map(|(state, n)| format!("{state} {n}")).collect();
    // Writing to a string cannot fail.
    if !list.is_empty() {
        let _ = write!(out, "\n  states: {}", list.join(", "));
    }
    oldest.write(&mut out, "oldest");
    largest.write(&mut out, "largest backlog");
    out
}

/// The rows with the largest values that are not zero, largest first.
#[derive(Default)]
struct Top(Vec<(u64, Row)>);

impl Top {
    fn offer(&mut self, value: u64, row: Row) {
        let full = self.0.len() == NAMED;
        if value == 0 || full && self.0.last().is_some_and(|(least, _)| value <= *least) {
            return;
        }
        if full {
            self.0.pop();
        }
        let at = self.0.partition_point(|(other, _)| *other >= value);
        self.0.insert(at, (value, row));
    }

    fn write(&self, out: &mut String, what: &str) {
        for (_, Row { token, peer, state, age_ms, backlog }) in &self.0 {
            let age = age_ms.map_or("?".into(), |ms| format!("{}.{:03}", ms / 1000, ms % 1000));
            let _ = write!(out, "\n  {what}: {token} {peer} {state}, {age} s old, {backlog} bytes wait");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::ListenerId;
    use std::net::SocketAddr;

    fn row(n: u16, state: &'static str, age_ms: u64, backlog: usize) -> Row {
        let peer = SocketAddr::from(([192, 0, 2, 1], n)).into();
        Row { token: Token::of_listener(ListenerId(n)), peer, state, age_ms: Some(age_ms), backlog }
    }

    #[test]
    fn it_counts_states_and_names_the_oldest_and_the_largest() {
        let rows = (0..1000)
            .map(|n| row(n, if n % 4 == 0 { "idle" } else { "head" }, n.into(), usize::from(n == 7)));
        let totals = Totals { timers: 9, connections: 1000, max_connections: 10_000, ..Totals::default() };
        let text = summary(rows, &totals);
        assert!(
            text.starts_with("worker 0: 1000 connections here, 1000 of 10000 in all; 9 timers;"),
            "{text}"
        );
        assert!(text.contains("states: head 750, idle 250"), "{text}");
        let oldest: Vec<&str> = text.lines().filter(|line| line.contains("  oldest: ")).collect();
        assert_eq!(oldest.len(), NAMED);
        assert!(
            oldest[0].contains("192.0.2.1:999 head, 0.999 s old") && oldest[4].contains(":995 "),
            "{text}"
        );
        let largest: Vec<&str> = text.lines().filter(|line| line.contains("  largest backlog: ")).collect();
        assert!(largest.len() == 1 && largest[0].ends_with("1 bytes wait"), "{text}");
    }

    #[test]
    fn a_worker_without_connections_has_one_line() {
        let text = summary(std::iter::empty(), &Totals { draining: true, ..Totals::default() });
        assert!(text.starts_with("worker 0, draining: 0 connections here") && text.lines().count() == 1);
    }

    #[test]
    fn a_million_connections_make_a_short_text() {
        let rows = (0..1_000_000).map(|n| row(n as u16, "idle", 1_000_000 - n, n as usize));
        assert!(summary(rows, &Totals::default()).len() < 2000);
    }
}
