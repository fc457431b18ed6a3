//! What rooms hold in which nobody speaks any more. Alone in its process, since it looks at the memory of all of it.
#![cfg(all(feature = "ws", target_os = "linux"))]

mod support;
mod talk;

use evenkeel::reactor::net::sim::{Script, SimId, SimNet};
use evenkeel::reactor::{Reactor, Settings};
use evenkeel::ws::{Kind, Options};
use support::run_for_unchecked;
use talk::{Duo, request, text};

/// Bytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Bytes held more than before for each connection that has said much once, each in a room of its own, if it is in rooms.
fn after_speaking(kind: Kind) -> usize {
    const MANY: usize = 300;
    let mut net = SimNet::new(7);
    let listener = net.listen();
    net.log_limit = 0;
    let options = Options { deflate: None, ..Options::default() };
    let mut world = Reactor::new(Duo::ws(options, kind), net, Settings::default());
    world.add_listener(listener).unwrap();
    let opened = |n: usize| Script::new().send(request(&format!("/{n}"))).await_sent(100);
    let ids: Vec<SimId> = (0..MANY).map(|n| world.net_mut().arrive(listener, opened(n))).collect();
    run_for_unchecked(&mut world, 100);
    let quiet = resident();
    for id in ids {
        world.net_mut().go_on(id, Script::new().send(text("x").repeat(4000)));
        run_for_unchecked(&mut world, 3);
    }
    run_for_unchecked(&mut world, 1000);
    assert_eq!(world.connections(), MANY);
    resident().saturating_sub(quiet) / MANY
}

#[test]
fn a_room_in_which_nobody_speaks_any_more_holds_next_to_nothing() {
    let (echo, room) = (after_speaking(Kind::Echo), after_speaking(Kind::Room));
    assert!(room < echo + 8192, "{echo} bytes for each that had its echo, {room} for each in a room");
}
