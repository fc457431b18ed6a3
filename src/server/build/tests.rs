//! Settings whose effect takes longer than a test may: in a simulated world.

use super::super::app::{Role, Worker};
use super::super::record::Record;
use super::super::settings::{Action, PathPattern, Respond, Route};
use super::*;
use crate::observe::Reason;
use crate::reactor::net::sim::{Script, SimId, SimListener, SimNet};
use crate::reactor::{ListenerId, Net, Reactor};
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
    let protocols = Protocols::new(&config, &shared, 0, 1).unwrap();
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
