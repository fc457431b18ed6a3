//! Many idle connections cost memory, and nothing else.

mod support;

use evenkeel::reactor::net::sim::{Script, SimId, SimNet};
use evenkeel::reactor::{Reactor, Settings};
use std::time::Duration;
use support::echo::EchoApp;

#[test]
fn twenty_thousand_idle_connections_hold_no_buffer_and_cause_no_work() {
    const MANY: usize = 20_000;
    let mut net = SimNet::new(1);
    let listener = net.listen();
    let settings = Settings { max_connections: MANY + 1, ..Settings::default() };
    let mut reactor = Reactor::new(EchoApp::default(), net, settings);
    reactor.add_listener(listener).unwrap();
    let ids: Vec<SimId> = (0..MANY).map(|_| reactor.net_mut().arrive(listener, Script::new())).collect();
    while reactor.connections() < MANY {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(reactor.with_app(|_, cx| cx.buffers_held()), 0);
    let before = (reactor.net().calls(), *reactor.counters());
    for n in 0..100 {
        reactor.net_mut().go_on(ids[n * 199], Script::new().send("x\n"));
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let after = (reactor.net().calls(), *reactor.counters());
    assert_eq!(after.0.reads - before.0.reads, 100, "only who is ready is read");
    assert_eq!(after.0.writes - before.0.writes, 100);
    assert_eq!(after.1.events - before.1.events, 100);
    assert_eq!(reactor.with_app(|_, cx| cx.buffers_held()), 0);
    reactor.check();
    // All of them idle out, and the tables shrink.
    support::run_for_unchecked(&mut reactor, 70_000);
    assert_eq!(reactor.connections(), 0);
    assert_eq!(reactor.app().ends.len(), MANY);
    reactor.check();
}
