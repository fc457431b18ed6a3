//! What the tests of the reactor share.
#![allow(dead_code)] // each test binary uses its part

pub mod echo;
pub mod http;
pub mod matrix;
pub mod scenarios;
#[cfg(feature = "tls")]
pub mod tls;
pub mod transport;

use evenkeel::reactor::net::sim::SimNet;
use evenkeel::reactor::{App, Reactor, Turn};
use std::io::ErrorKind;

/// Most turns of one simulated run: a run that needs more goes round in circles.
const TURNS: usize = 2_000_000;

/// Runs turns, and checks the reactor's invariants after each, until nothing will ever happen any more.
pub fn settle<A: App, const S: bool>(reactor: &mut Reactor<A, SimNet<S>>) {
    settle_with(reactor, |_| {});
}

/// The same, with a look at the reactor after each turn.
pub fn settle_with<A: App, const S: bool>(
    reactor: &mut Reactor<A, SimNet<S>>,
    mut look: impl FnMut(&Reactor<A, SimNet<S>>),
) {
    for _ in 0..TURNS {
        match reactor.turn(None) {
            Ok(Turn::Finished) => return reactor.check(),
            Ok(Turn::Now | Turn::After(_) | Turn::Idle) => {}
            Err(error) if error.kind() == ErrorKind::Deadlock => return reactor.check(),
            Err(error) => panic!("a turn failed: {error}"),
        }
        reactor.check();
        look(reactor);
    }
    panic!("{TURNS} turns and no end");
}

/// Turns for so many virtual milliseconds.
pub fn run_for<A: App, const S: bool>(reactor: &mut Reactor<A, SimNet<S>>, ms: u64) {
    let end = reactor.net().elapsed_ms() + ms;
    for _ in 0..TURNS {
        let left = end.saturating_sub(reactor.net().elapsed_ms());
        if left == 0 && reactor.next() != Turn::Now {
            return;
        }
        let turned = reactor.turn(Some(std::time::Duration::from_millis(left)));
        reactor.check();
        match turned {
            Ok(Turn::Finished) => return,
            Ok(_) => {}
            Err(error) => panic!("a turn failed: {error}"),
        }
    }
    panic!("{TURNS} turns and no end");
}

/// Turns for so many virtual milliseconds, without a check after each: that costs as much as there are connections.
pub fn run_for_unchecked<A: App, const S: bool>(reactor: &mut Reactor<A, SimNet<S>>, ms: u64) {
    let end = reactor.net().elapsed_ms() + ms;
    while reactor.net().elapsed_ms() < end {
        let left = end - reactor.net().elapsed_ms();
        reactor.turn(Some(std::time::Duration::from_millis(left))).unwrap();
    }
}
