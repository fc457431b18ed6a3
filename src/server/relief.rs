//! The memory budget, kept: what is held for connections is weighed, and what is too much is let go.
//!
//! | pressure | rule |
//! |---|---|
//! | near (80 %) | connections idle longest are let go until it is near no more, in rounds of 10 ms, in each at most 64 and no more than would bring it down to 75 %; but of what idle ones hold a quarter of the budget stays: where they hold less, it is not they who fill it, and letting them go would help nobody |
//! | over (100 %) | newcomers are reset as soon as they are accepted; whoever holds most is reset, one after another, until 10 % are free; where that is not enough within 10 ms, those idle longest are let go too |
//!
//! What is kept for messages to come, by no connection, goes before anybody does.
//!
//! Weighed are, each turn, buffers, what sessions say that they hold ([`Cx::hold`](crate::reactor::Cx::hold)) and a constant for
//! every connection, and what is on its way between connections; and, at least four times a second, TLS and each one's part of what is shared. A worker answers for its own
//! part of what is too much. A turn that takes 2 MiB more is cut short
//! ([`turn_growth`](crate::reactor::Settings::turn_growth)), so that no burst outruns this.

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
/// Let go in a round when it is near.
const EVICT: u64 = 64;
/// Let go in a round when it is over.
const EVICT_MORE: u64 = 1024;
/// Whoever holds less is no relief.
const LEAST: usize = 1024;
/// When near, so much of the budget is what is aimed at, in percent.
const AIM_NEAR: u64 = 75;
/// When over.
const AIM_OVER: u64 = 90;
/// When near, idle connections may keep so much of the budget, in percent.
const IDLE_KEEPS: u64 = 25;

/// Connections that may be let go.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Idle {
    count: u64,
    bytes: u64,
}

/// How many idle connections are let go to be rid of `excess` bytes, if those that are left may keep `keep` bytes.
fn to_evict(excess: u64, idle: Idle, keep: u64) -> u64 {
    let bytes = excess.min(idle.bytes.saturating_sub(keep));
    match idle.bytes / idle.count.max(1) {
        0 => 0,
        each => bytes.div_ceil(each).min(idle.count),
    }
}

/// A worker's part in it.
#[derive(Debug)]
pub(super) struct Relief {
    share: Share,
    pressure: Pressure,
    held: u64,
    /// What a walk over all connections found beside what is known at any time.
    beside: u64,
    /// What it found of idle ones.
    idle: Idle,
    next: Millis,
    was_over: bool,
}

impl Relief {
    pub(super) fn new(share: Share) -> Relief {
        let idle = Idle::default();
        Relief { share, pressure: Pressure::Fine, held: 0, beside: 0, idle, next: Millis(0), was_over: false }
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

    /// At the end of each turn. `passing`: bytes that are on their way between connections.
    pub(super) fn report(&mut self, passing: usize, cx: &AppCx<'_, Worker>) {
        let known = (cx.buffers_held() + cx.sessions_hold() + passing) as u64;
        self.held = known + cx.connections() as u64 * CONNECTION + self.beside;
        self.pressure = self.share.report(self.held);
    }

    /// Walks over all connections.
    pub(super) fn weigh(&mut self, passing: usize, cx: &AppCx<'_, Worker>) {
        let (mut all, mut idle) = (0, Idle::default());
        for row in cx.survey() {
            let held = row.held + row.session.held() + row.session.shared();
            all += held;
            if row.evictable {
                idle.count += 1;
                idle.bytes += CONNECTION + held as u64;
            }
        }
        self.idle = idle;
        self.share.report_idle(idle.bytes);
        self.beside = all.saturating_sub(cx.buffers_held() + cx.sessions_hold()) as u64;
        self.report(passing, cx);
    }

    /// This worker's part of what all hold over so many percent of the budget, in bytes.
    fn excess(&self, percent: u64) -> u64 {
        let budget = self.share.budget();
        let all = budget.held().max(1);
        let over = all.saturating_sub(budget.limit() / 100 * percent);
        let mine = u128::from(over) * u128::from(self.held) / u128::from(all);
        u64::try_from(mine).unwrap_or(u64::MAX)
    }

    /// This worker's part, by how much of them it has, of what idle connections may keep, in bytes.
    fn idle_keeps(&self) -> u64 {
        let budget = self.share.budget();
        let mine = u128::from(budget.limit() / 100 * IDLE_KEEPS) * u128::from(self.idle.bytes)
            / u128::from(budget.idle().max(1));
        u64::try_from(mine).unwrap_or(u64::MAX)
    }
}

impl Worker {
    /// Bytes on their way from some connections to others.
    fn passing(&self) -> usize {
        self.ws.held() + self.tcp.held()
    }

    /// See [`Relief::weigh`].
    pub(super) fn weigh(&mut self, cx: &AppCx<'_, Worker>) {
        self.relief.weigh(self.passing(), cx);
    }

    /// See [`Relief::report`].
    pub(super) fn report(&mut self, cx: &AppCx<'_, Worker>) {
        self.relief.report(self.passing(), cx);
    }
}

impl Session {
    /// Bytes that its protocol holds outside its slot.
    #[inline]
    pub(super) fn held(&self) -> usize {
        match self {
            Session::Http(connection) => connection.held(),
            Session::Ws(connection) => connection.held(),
            Session::Tcp(connection) => connection.held(),
            Session::Tick(_) => 0,
        }
    }

    /// Its part of what it shares with others, in bytes.
    fn shared(&self) -> usize {
        match self {
            Session::Ws(connection) => connection.shared(),
            Session::Tcp(connection) => connection.shared(),
            Session::Http(_) | Session::Tick(_) => 0,
        }
    }
}

/// A round, between two turns.
#[cold]
pub(super) fn relieve<N: Net>(reactor: &mut Reactor<Worker, N>) {
    let (now, waited) = reactor.with_app(|app, cx| {
        app.ws.let_go();
        app.weigh(cx);
        let relief = &mut app.relief;
        // When it is over, others may be about to let go of more than idle connections hold.
        let (is_over, waited) = (relief.pressure == Pressure::Over, cx.now() >= relief.next);
        let begins = is_over && !std::mem::replace(&mut relief.was_over, is_over);
        relief.was_over = is_over;
        if begins || waited {
            relief.next = cx.now().after(PAUSE);
        }
        (relief.pressure, waited && !begins)
    });
    let most = match now {
        Pressure::Fine => return,
        Pressure::Near => {
            let relief = &reactor.app().relief;
            to_evict(relief.excess(AIM_NEAR), relief.idle, relief.idle_keeps()).min(EVICT)
        }
        Pressure::Over => {
            let left = cut_largest(reactor);
            match waited {
                true => to_evict(left, reactor.app().relief.idle, 0).min(EVICT_MORE),
                false => 0,
            }
        }
    };
    reactor.evict(most as usize);
    reactor.with_app(|app, cx| app.weigh(cx));
}

/// Resets those who hold most. How many bytes are still too much then.
fn cut_largest<N: Net>(reactor: &mut Reactor<Worker, N>) -> u64 {
    let (mut rows, excess) = reactor.with_app(|app, cx| {
        let rows = cx.survey().filter(|row| !row.evictable);
        let rows = rows.map(|row| (row.held + row.session.held() + row.session.shared(), row.token));
        let rows: Vec<(usize, Token)> = rows.filter(|(held, _)| *held >= LEAST).collect();
        (rows, app.relief.excess(AIM_OVER))
    });
    rows.sort_unstable_by_key(|(held, token)| (std::cmp::Reverse(*held), token.index()));
    let mut left = excess;
    for (held, token) in rows {
        if left == 0 {
            break;
        }
        reactor.cut(token, Reason::MemoryBudget);
        left = left.saturating_sub(held as u64);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_many_idle_ones_go_as_help_and_none_where_it_is_not_they_who_fill_the_budget() {
        let idle = Idle { count: 100, bytes: 40_000 };
        assert_eq!(to_evict(0, idle, 0), 0);
        assert_eq!(to_evict(1, idle, 0), 1);
        assert_eq!(to_evict(4_000, idle, 0), 10);
        assert_eq!(to_evict(4_001, idle, 0), 11);
        assert_eq!(to_evict(1 << 30, idle, 0), 100, "no more than there are");
        assert_eq!(to_evict(1 << 30, idle, 39_200), 2, "down to what they may keep");
        assert_eq!(to_evict(1 << 30, idle, 40_000), 0, "they hold no more than that");
        assert_eq!(to_evict(1 << 30, Idle::default(), 0), 0);
    }

    #[test]
    fn each_worker_answers_for_as_much_of_it_as_it_holds() {
        let budget = crate::guard::Budget::new(2_000_000);
        let limit = budget.limit();
        let [one, two] = [(3, 30_000), (1, 10_000)].map(|(quarters, idle)| {
            let mut relief = Relief::new(budget.share());
            relief.held = limit / 4 * quarters + limit / 20 * quarters;
            relief.idle = Idle { count: 1, bytes: idle };
            relief.share.report(relief.held);
            relief.share.report_idle(idle);
            relief
        });
        // All hold 120 %.
        let percent = |bytes: u64| bytes * 1000 / limit;
        assert_eq!((percent(one.excess(AIM_OVER)), percent(two.excess(AIM_OVER))), (225, 75));
        assert_eq!((percent(one.idle_keeps()), percent(two.idle_keeps())), (187, 62));
    }
}
