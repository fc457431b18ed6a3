//! Settings whose effect takes longer than a test may: in a simulated world.

use super::super::app::{Role, Worker};
use super::super::attend::set_limits;
use super::super::record::Record;
use super::super::relief;
use super::super::settings::{Action, PathPattern, Respond, Route, Websocket, WebsocketKind};
use super::*;
use crate::observe::Reason;
use crate::reactor::net::sim::{Script, SimId, SimListener, SimNet};
use crate::reactor::{ListenerId, Net, Reactor, Token};
use crate::wire::ws::{Header, Opcode, frame};
use std::sync::Arc;
use std::time::Duration;

type World = (Reactor<Worker, SimNet<true>>, SimListener);

/// A server by these settings, which answers everything with 1 MB.
fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut config = Config::default();
    let big = Respond { body: vec![b'x'; 1_000_000].into(), status: 200, headers: Arc::default() };
    config.routes = [Route::new(PathPattern { parts: [].into(), rest: true }, Action::Respond(big))].into();
    change(&mut config);
    let shared = Shared::new(&config, 1, None);
    let mut net = SimNet::new(1);
    let listener = net.listen();
    let protocols = Protocols::new(&config, Pages::default(), &shared, 0, 1).unwrap();
    let worker = Worker::new(protocols, &shared, 0, Record::new(None, None, [0; 32])).recording();
    let mut reactor = Reactor::new(worker, net, reactor_settings(&config));
    let id: ListenerId = reactor.add_listener(listener).unwrap();
    reactor.app_mut().roles.push((id, Role::Http));
    (reactor, listener)
}

/// What came of a peer that does this, after so many seconds.
fn play((mut reactor, listener): World, script: Script, seconds: u64) -> (Vec<Reason>, Vec<u8>) {
    let id: SimId = reactor.net_mut().arrive(listener, script);
    let end = reactor.net().elapsed_ms() + seconds * 1000;
    while reactor.net().elapsed_ms() < end {
        let left = end - reactor.net().elapsed_ms();
        reactor.turn(Some(Duration::from_millis(left))).unwrap();
    }
    (reactor.app().tape().closes.clone(), reactor.net().sent(id).to_vec())
}

#[test]
fn body_rate_is_the_least_that_a_body_may_come_at() {
    // 100 bytes a second.
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let script = || (0..40).fold(Script::new().send(post), |script, _| script.send([b'x'; 100]).wait(1000));
    for (rate, expected) in [(0, vec![]), (90, vec![]), (110, vec![Reason::BodyTooSlow])] {
        let (closes, sent) = play(world(|config| config.limits.body_rate = rate), script(), 38);
        assert_eq!(closes, expected, "{rate}");
        assert_eq!(sent.starts_with(b"HTTP/1.1 408 "), rate == 110);
    }
}

#[test]
fn a_body_that_came_faster_than_it_must_may_stand_still_while_a_link_is_down() {
    let post = || Script::new().send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 120000\r\n\r\n");
    let fast = |script: Script| (0..12).fold(script, |script, _| script.send([b'x'; 5000]).wait(1000));
    let (closes, sent) = play(world(|_| {}), fast(fast(post()).wait(25_000)), 60);
    assert!(closes.is_empty() && sent.starts_with(b"HTTP/1.1 200 "), "{closes:?}");
}

#[test]
fn send_rate_is_the_least_that_a_peer_must_take() {
    // 100 bytes a second.
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let script = || Script::new().window(1).send(get).sip(100, 1000, 90);
    for (rate, expected) in [(0, vec![]), (90, vec![]), (110, vec![Reason::WriteTooSlow])] {
        let (closes, _) = play(world(|config| config.limits.send_rate = rate), script(), 80);
        assert_eq!(closes, expected, "{rate}");
    }
}

#[test]
fn a_listener_that_goes_still_serves_those_who_wait_at_it_though_no_event_has_told_of_them() {
    let (mut reactor, listener) = world(|config| config.limits.body_rate = 0);
    let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for _ in 0..3 {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let late = reactor.net_mut().arrive(listener, Script::new().send(get));
    // The event is lost on the way.
    reactor.net_mut().wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    reactor.remove_listener(ListenerId(0));
    for _ in 0..20 {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert!(reactor.net().sent(late).starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_websocket_of_an_earlier_configuration_still_gets_the_long_messages_that_it_allowed() {
    let path = || PathPattern { parts: [].into(), rest: true };
    let (mut reactor, listener) = world(|config| {
        let websocket = Websocket { message_size: 16 << 20, ..Websocket::new(WebsocketKind::Echo) };
        config.routes = [Route::new(path(), Action::Websocket(websocket))].into();
    });
    let run = |reactor: &mut Reactor<Worker, SimNet<true>>, ms: u64| {
        let end = reactor.net().elapsed_ms() + ms;
        while reactor.net().elapsed_ms() < end {
            reactor.turn(Some(Duration::from_millis(end - reactor.net().elapsed_ms()))).unwrap();
        }
    };
    let opening = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let id = reactor.net_mut().arrive(listener, Script::new().send(opening));
    run(&mut reactor, 100);
    // The route is gone.
    let config = Config::default();
    reactor.app_mut().live_by(&config, Pages::default()).unwrap();
    set_limits(&mut reactor, &config);
    let payload = vec![b'x'; 8 << 20];
    let header = Header::binary(payload.len()).masked([1, 2, 3, 4]);
    let mut message = Vec::new();
    frame::emit_frame(&header, &payload, &mut message);
    let before = reactor.net().sent_len(id);
    reactor.net_mut().go_on(id, Script::new().window(0).send(message).wait(1000).window(u64::MAX));
    run(&mut reactor, 5000);
    assert_eq!(reactor.app().tape().closes, []);
    assert_eq!(reactor.net().sent_len(id) - before, 10 + (8 << 20));
}

#[test]
fn another_memory_budget_is_another_bound_for_what_is_said_at_once() {
    let (mut reactor, _) = world(|config| config.limits.memory = 1 << 20);
    let message = vec![b'x'; 100_000];
    let takes_more = |reactor: &mut Reactor<Worker, SimNet<true>>| {
        reactor.with_app(|app, _| {
            app.ws.send(Token::from_bits(1), ws::Message::Binary(&message));
            app.ws.publish("room", ws::Message::Binary(&message)).is_ok()
        })
    };
    assert!(!takes_more(&mut reactor));
    let mut config = Config::default();
    config.limits.memory = 1 << 30;
    reactor.app().shared.set_limits(&config);
    reactor.app_mut().live_by(&config, Pages::default()).unwrap();
    assert!(takes_more(&mut reactor));
}

/// As a worker does it, for so many milliseconds: what is too much is let go between turns.
fn within_the_budget(reactor: &mut Reactor<Worker, SimNet<true>>, ms: u64) {
    let end = reactor.net().elapsed_ms() + ms;
    while reactor.net().elapsed_ms() < end {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
        if reactor.app().relief.is_due(reactor.now()) {
            relief::relieve(reactor);
        }
    }
}

#[test]
fn what_is_kept_for_messages_in_pieces_costs_nobody_a_place_when_memory_runs_short() {
    let (mut reactor, listener) = world(|config| {
        config.limits.memory = 1 << 20;
        let all = PathPattern { parts: [].into(), rest: true };
        config.routes = [Route::new(all, Action::Websocket(Websocket::new(WebsocketKind::Echo)))].into();
    });
    let open = Script::new().send(
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let frame = |opcode, fin, payload: &[u8]| {
        let header = Header::new(opcode, fin, false, Some([0; 4]), payload.len() as u64).unwrap();
        let mut out = Vec::new();
        frame::emit_frame(&header, payload, &mut out);
        out
    };
    let open = open.await_seen("\r\n\r\n");
    let part = open.clone().send(frame(Opcode::Binary, false, &[b'x'; 63_000]));
    let speakers: Vec<SimId> = (0..16).map(|_| reactor.net_mut().arrive(listener, part.clone())).collect();
    within_the_budget(&mut reactor, 100);
    for id in &speakers {
        let rest = frame(Opcode::Continuation, true, b"");
        reactor.net_mut().go_on(*id, Script::new().send(rest).wait(10).fin());
    }
    within_the_budget(&mut reactor, 100);
    let echoed = speakers.iter().all(|id| reactor.net().sent_len(*id) > 63_000);
    assert!(echoed && reactor.connections() == 0);
    let others: Vec<SimId> = (0..200).map(|_| reactor.net_mut().arrive(listener, open.clone())).collect();
    within_the_budget(&mut reactor, 100);
    let in_time = others.iter().filter(|id| reactor.net().sent(**id).starts_with(b"HTTP/1.1 101 ")).count();
    assert_eq!((in_time, reactor.connections()), (200, 200));
}

const OPEN: &str = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A server that may hold 1 MiB, and speaks WebSocket.
fn narrow() -> World {
    world(|config| {
        (config.limits.memory, config.limits.per_client_connections) = (1 << 20, 0);
        let all = PathPattern { parts: [].into(), rest: true };
        config.routes = [Route::new(all, Action::Websocket(Websocket::new(WebsocketKind::Echo)))].into();
    })
}

/// One who sends so much of a message, and not its end.
fn part(len: usize) -> Script {
    let header = Header::new(Opcode::Binary, false, false, Some([0; 4]), len as u64).unwrap();
    let mut out = Vec::new();
    frame::emit_frame(&header, &vec![b'x'; len], &mut out);
    Script::new().send(OPEN).await_seen("\r\n\r\n").send(out)
}

fn count(reactor: &Reactor<Worker, SimNet<true>>, reason: Reason) -> usize {
    reactor.app().tape().closes.iter().filter(|one| **one == reason).count()
}

#[test]
fn over_the_budget_who_holds_most_is_reset_and_no_more_than_need_be() {
    let (mut reactor, listener) = narrow();
    for len in [30_000, 500_000, 60_000, 60_000, 120_000] {
        reactor.net_mut().arrive(listener, part(len));
    }
    let idle: Vec<SimId> = (0..20).map(|_| reactor.net_mut().arrive(listener, Script::new())).collect();
    within_the_budget(&mut reactor, 500);
    assert_eq!((reactor.connections(), reactor.app().tape().closes.len()), (25, 0), "all of it fits");
    let last = reactor.net_mut().arrive(listener, part(250_000));
    within_the_budget(&mut reactor, 500);
    assert_eq!(reactor.app().tape().closes, [Reason::MemoryBudget]);
    assert_eq!(reactor.net().closed(last), None, "another held more");
    assert!(idle.iter().all(|id| reactor.net().closed(*id).is_none()));
}

#[test]
fn near_the_budget_idle_ones_go_a_few_at_a_time_until_enough_have_gone() {
    let (mut reactor, listener) = narrow();
    for _ in 0..2400 {
        reactor.net_mut().arrive(listener, Script::new().send("\r\n"));
    }
    let begun = |reactor: &Reactor<Worker, SimNet<true>>| count(reactor, Reason::Evicted);
    let mut rounds = Vec::new();
    for _ in 0..300 {
        let before = begun(&reactor);
        within_the_budget(&mut reactor, 1);
        rounds.push(begun(&reactor) - before);
    }
    assert!(rounds.iter().all(|gone| *gone <= 64), "{rounds:?}");
    // 384 bytes each: no more than four fifths of the budget, and no fewer than the three quarters that are aimed at.
    assert!((2048..2185).contains(&reactor.connections()), "{}", reactor.connections());
    assert_eq!(begun(&reactor), reactor.app().tape().closes.len());
}

#[test]
fn over_the_budget_idle_ones_go_where_nobody_else_holds_anything() {
    let (mut reactor, listener) = narrow();
    for _ in 0..2000 {
        reactor.net_mut().arrive(listener, Script::new().send("\r\n"));
    }
    within_the_budget(&mut reactor, 200);
    assert_eq!(reactor.connections(), 2000);
    reactor.app().shared.budget.set_limit(700_000);
    within_the_budget(&mut reactor, 9);
    assert_eq!(reactor.connections(), 2000, "others may be about to let go of more");
    let refused = reactor.net_mut().arrive(listener, Script::new());
    within_the_budget(&mut reactor, 1);
    assert!(reactor.net().was_reset(refused) || reactor.net().closed(refused).is_some());
    within_the_budget(&mut reactor, 500);
    assert!(reactor.connections() as u64 * 384 <= 700_000 / 100 * 90, "{}", reactor.connections());
}

#[test]
fn near_the_budget_idle_ones_stay_where_it_is_others_who_fill_it() {
    let (mut reactor, listener) = narrow();
    for len in [500_000, 120_000, 120_000, 60_000] {
        reactor.net_mut().arrive(listener, part(len));
    }
    for _ in 0..50 {
        reactor.net_mut().arrive(listener, Script::new());
    }
    within_the_budget(&mut reactor, 500);
    assert_eq!(reactor.app().shared.budget.pressure(), crate::guard::Pressure::Near);
    assert_eq!((reactor.connections(), reactor.app().tape().closes.len()), (54, 0));
}

#[test]
fn what_waits_for_those_who_do_not_take_it_counts_against_the_budget() {
    let (mut reactor, _) = narrow();
    let options = tcp::Options { slow: crate::guard::Slow::DropNewest, ..tcp::Options::default() };
    let service = reactor.app_mut().tcp.add(options, tcp::Kind::Lines);
    let listener = reactor.net_mut().listen();
    let id = reactor.add_listener(listener).unwrap();
    reactor.app_mut().roles.push((id, Role::Tcp(service)));
    let deaf = reactor.net_mut().arrive(listener, Script::new().window(0));
    let lines = [vec![b'x'; 9_999], b"\n".to_vec()].concat();
    let speaker = reactor.net_mut().arrive(listener, Script::new().wait(10).send(lines.repeat(200)));
    within_the_budget(&mut reactor, 500);
    assert_eq!(reactor.app().tape().closes, [Reason::MemoryBudget]);
    assert!(reactor.net().was_reset(deaf) && reactor.net().closed(speaker).is_none());
}
