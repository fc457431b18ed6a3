//! Bytes become the input of one HTTP connection of the whole server, cut anywhere, with handlers that wait, nudges, late answers,
//! time that passes, and an end. Whatever they are: no panic, the reactor's invariants hold, and each connection ends once.

use super::support::http::{answer_all, serving, site};
use super::support::{run_for, settle};
use evenkeel::reactor::Fault;
use evenkeel::reactor::net::sim::Script;
use std::time::Duration;

/// The first byte says how the connection ends; then each 0xFF is followed by something other than bytes.
pub fn run(data: &[u8]) {
    let Some((end, mut rest)) = data.split_first() else { return };
    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, Script::new());
    while !rest.is_empty() {
        let n = rest.iter().position(|b| *b == 0xFF).unwrap_or(rest.len());
        reactor.net_mut().go_on(id, Script::new().send(&rest[..n]));
        run_for(&mut reactor, 0);
        let op = rest.get(n + 1).copied().unwrap_or(0);
        rest = rest.get(n + 2..).unwrap_or(&[]);
        match op % 6 {
            0 => answer_all(),
            1 => run_for(&mut reactor, u64::from(op) * 100),
            2 => reactor.net_mut().go_on(id, Script::new().window(u64::from(op))),
            3 => reactor.net_mut().go_on(id, Script::new().window(u64::MAX)),
            4 if op > 128 => reactor.drain(Duration::from_secs(u64::from(op))),
            4 | 5 => {}
            // `% 6` leaves no other.
            6.. => unreachable!(),
        }
    }
    let fault = Fault::ALL[usize::from(*end) % Fault::ALL.len()];
    let end = match end % 5 {
        0 => Script::new().fin(),
        1 => Script::new().reset(),
        2 => Script::new().close(),
        3 => Script::new().fail_read(fault),
        _ => Script::new(),
    };
    reactor.net_mut().go_on(id, end);
    run_for(&mut reactor, 1000);
    // Whoever waits for a handler waits for as long as that takes: each answer may begin the next wait.
    for _ in 0..data.len() {
        answer_all();
        run_for(&mut reactor, 1);
    }
    settle(&mut reactor);
    let tape = reactor.app().tape();
    assert_eq!((reactor.connections(), reactor.net().open_streams()), (0, 0));
    assert_eq!(tape.closes.len() as u64, reactor.counters().accepted);
}
