//! The memory budget, kept: what is held for connections is weighed, and what is too much is let go.
//!
//! | pressure | rule |
//! |---|---|
//! | near (80 %) | connections idle longest are let go, at most 64 in 10 ms, or a turn when over |
//! | over (100 %) | newcomers are reset as soon as they are accepted; and whoever holds most is reset, one after another, until 10 % are free |
//!
//! Weighed are buffers (each turn), a constant for every connection, and, at least four times a second, requests that are being
//! gathered, TLS, and each one's part of what is shared. A worker answers for its own part of what is too much. A turn that
//! takes 2 MiB more is cut short ([`turn_growth`](crate::reactor::Settings::turn_growth)), so that no burst outruns this.

use super::app::Worker;
use super::session::Session;
use crate::guard::{Pressure, Share};
use crate::observe::Reason;
use crate::reactor::{AppCx, Millis, Net, Reactor, Token};
use std::time::Duration;

/// What a connection costs beside what it holds: its slots in the tables, its timer, its place in the list of clients.
const CONNECTION: u64 = 384;
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(10);
/// Let go in a round.
const EVICT: usize = 64;
/// Whoever holds less is no relief.
const LEAST: usize = 1024;

/// A worker's part in it.
#[derive(Debug)]
pub(super) struct Relief {
    share: Share,
    pressure: Pressure,
    held: u64,
    /// What a walk over all connections found beside buffers.
    beside: u64,
    next: Millis,
}

impl Relief {
    pub(super) fn new(share: Share) -> Relief {
        Relief { share, pressure: Pressure::Fine, held: 0, beside: 0, next: Millis(0) }
    }

    /// Newcomers are refused.
    pub(super) fn is_over(&self) -> bool {
        self.share.budget().pressure() == Pressure::Over
    }

    /// There is something to do between turns.
    pub(super) fn is_due(&self, now: Millis) -> bool {
        match self.pressure {
            Pressure::Fine => false,
            Pressure::Near => now >= self.next,
            Pressure::Over => true,
        }
    }

    /// At the end of each turn.
    pub(super) fn report(&mut self, cx: &AppCx<'_, Worker>) {
        self.held = cx.buffers_held() as u64 + cx.connections() as u64 * CONNECTION + self.beside;
        self.pressure = self.share.report(self.held);
    }

    /// Walks over all connections.
    pub(super) fn weigh(&mut self, cx: &AppCx<'_, Worker>) {
        let all: usize = cx.survey().map(|row| row.held + row.session.held()).sum();
        self.beside = all.saturating_sub(cx.buffers_held()) as u64;
        self.report(cx);
    }
}

impl Session {
    /// Bytes that its protocol holds outside its slot.
    fn held(&self) -> usize {
        match self {
            Session::Http(connection) => connection.held(),
            // What waits for them is in the port; the rest is in the slot.
            Session::Ws(_) | Session::Tcp(_) | Session::Tick(_) => 0,
        }
    }
}

/// A round, between two turns.
#[cold]
pub(super) fn relieve<N: Net>(reactor: &mut Reactor<Worker, N>) {
    let now = reactor.with_app(|app, cx| {
        app.relief.weigh(cx);
        if app.relief.pressure != Pressure::Over {
            app.relief.next = cx.now().after(PAUSE);
        }
        app.relief.pressure
    });
    if now == Pressure::Fine {
        return;
    }
    reactor.evict(EVICT);
    if now == Pressure::Over {
        cut_largest(reactor);
    }
    reactor.with_app(|app, cx| app.relief.weigh(cx));
}

fn cut_largest<N: Net>(reactor: &mut Reactor<Worker, N>) {
    let (mut rows, excess) = reactor.with_app(|app, cx| {
        let rows = cx.survey().map(|row| (row.held + row.session.held(), row.token));
        let rows: Vec<(usize, Token)> = rows.filter(|(held, _)| *held >= LEAST).collect();
        let budget = app.relief.share.budget();
        let all = budget.held().max(1);
        let excess = all.saturating_sub(budget.limit() / 10 * 9);
        (rows, u128::from(excess) * u128::from(app.relief.held) / u128::from(all))
    });
    rows.sort_unstable_by_key(|(held, token)| (std::cmp::Reverse(*held), token.index()));
    let mut freed = 0;
    for (held, token) in rows {
        if freed >= excess {
            return;
        }
        reactor.cut(token, Reason::MemoryBudget);
        freed += held as u128;
    }
}
