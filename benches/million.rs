//! A million idle connections in a simulated world: bytes each, and the time of a turn in which one is ready.
//!
//! `cargo bench --bench million`; a smaller number can be given: `-- 100000`.

#[path = "../tests/support/mod.rs"]
mod support;

use evenkeel::reactor::net::sim::{Script, SimId, SimListener, SimNet};
use evenkeel::reactor::{Net, Reactor, Settings, Token};
use std::time::{Duration, Instant};
use support::echo::EchoApp;

/// Resident memory of this process, in bytes; 0 where it cannot be told.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn crowd(many: usize) -> (SimNet, SimListener, Vec<SimId>) {
    let mut net = SimNet::new(1);
    let mut listener = net.listen();
    let ids: Vec<SimId> = (0..many).map(|_| net.arrive(listener, Script::new())).collect();
    // All arrive before anybody accepts, so that the world's own memory has been paid when the reactor begins.
    let _ = net.watch_listener(&mut listener, Token::from_bits(0));
    let _ = net.wait(Some(Duration::ZERO), &mut Vec::new());
    (net, listener, ids)
}

fn main() {
    let most = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000);
    println!("{:>9} {:>12} {:>14}", "idle", "bytes each", "one ready, ns");
    for many in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|many| *many <= most) {
        let (net, listener, ids) = crowd(many);
        let before = resident();
        let settings = Settings { max_connections: many + 1, ..Settings::default() };
        let mut reactor = Reactor::new(EchoApp::default(), net, settings);
        reactor.add_listener(listener).expect("a simulated listener can be watched");
        while reactor.connections() < many {
            reactor.turn(Some(Duration::ZERO)).expect("a simulated turn");
        }
        let each = resident().saturating_sub(before) / many;
        let rounds = 20_000;
        let began = Instant::now();
        for round in 0..rounds {
            let id = ids[round * 7919 % many];
            reactor.net_mut().go_on(id, Script::new().send("x\n"));
            reactor.turn(Some(Duration::ZERO)).expect("a simulated turn");
        }
        let ns = began.elapsed().as_nanos() / rounds as u128;
        println!("{many:>9} {each:>12} {ns:>14}");
    }
}
