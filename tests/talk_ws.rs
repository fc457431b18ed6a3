//! WebSocket in the simulator: handshakes, messages, closing, rooms, clients that come back.
#![cfg(feature = "ws")]

mod support;
mod talk;

use evenkeel::guard::{Bounds, Refused, Retry, Slow};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Chaos, Plan, Random, Script, SimId, SimListener, SimNet};
use evenkeel::reactor::{CloseHow, Reactor, Settings, Target, Token};
use evenkeel::wire::ws::handshake::accept_for;
use evenkeel::wire::ws::{Code, Deflater, Header, Limits, Opcode, frame};
use evenkeel::ws::client::{self, Change, Client, Link};
use evenkeel::ws::{self, Kind, Message, Options, Pace, Peer};
use std::time::Duration;
use support::{run_for, run_for_unchecked, settle};
use talk::{Duo, Log, Note, Serve, Talk, in_words, masked, messages, plain, request, text};

type World = Reactor<Duo, SimNet>;

fn world(app: Duo, settings: Settings) -> (World, SimListener) {
    let mut net = SimNet::new(7);
    let listener = net.listen();
    let mut reactor = Reactor::new(app, net, settings);
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

/// Every word takes its time: else numbers would go to and fro without end in no time at all.
const LATE: Chaos = Chaos { late: 100, late_by: 20, ..Chaos::NONE };

fn serving(options: Options, kind: Kind) -> (World, SimListener) {
    world(Duo::ws(options, kind), Settings::default())
}

fn opened(path: &str) -> Script {
    Script::new().send(request(path)).await_seen("\r\n\r\n")
}

fn said(world: &World, id: SimId) -> String {
    in_words(world.net().sent(id))
}

#[test]
fn a_violation_is_answered_with_its_code_and_a_close_in_order() {
    let cases: [(Vec<u8>, u16, Reason); 6] = [
        (vec![0x81, 0x00], 1002, Reason::WsViolation),
        (masked(Opcode::Continuation, true, b"x"), 1002, Reason::WsViolation),
        (masked(Opcode::Text, true, b"\xff"), 1007, Reason::WsViolation),
        (vec![0x88, 0x81, 0, 0, 0, 0, 3], 1002, Reason::WsViolation),
        (masked(Opcode::Binary, true, &[0; 1001]), 1009, Reason::WsTooLarge),
        (
            [masked(Opcode::Text, false, &[b'a'; 600]), masked(Opcode::Continuation, true, &[b'a'; 600])]
                .concat(),
            1009,
            Reason::WsTooLarge,
        ),
    ];
    for (bytes, code, reason) in cases {
        let limits = Limits { frame: 1000, message: 1000, ..Limits::default() };
        let (mut world, listener) = serving(Options { limits, ..Options::default() }, Kind::Echo);
        let id = world
            .net_mut()
            .arrive(listener, opened("/").send(text("a")).send(bytes).send("more").await_fin().fin());
        settle(&mut world);
        assert_eq!(said(&world, id), format!("101, a, close {code}"));
        assert_eq!((world.app().reasons(), world.net().closed(id)), (vec![reason], Some(CloseHow::Normal)));
    }
}

#[test]
fn what_is_no_handshake_is_answered_in_http() {
    let options = Options { origins: vec!["https://a.example".into()], ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Echo);
    let good = request("/");
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_string(), "426"),
        (good.replace("13\r\n", "12\r\n"), "426"),
        (good.replace("dGhl", "!"), "400"),
        (good.replace("Host: a\r\n", "Host: a\r\nOrigin: https://b.example\r\n"), "403"),
        (good.replace("Host: a\r\n", "Host: a\r\nOrigin: https://a.example\r\n"), "101"),
        (good.clone(), "101"),
    ];
    for (request, status) in cases {
        let id = world.net_mut().arrive(listener, Script::new().send(request).wait(10).fin());
        settle(&mut world);
        let sent = String::from_utf8_lossy(world.net().sent(id)).into_owned();
        assert_eq!(sent.split(' ').nth(1), Some(status), "{sent}");
        assert_eq!(sent.contains("Sec-WebSocket-Version: 13"), status == "426", "{sent}");
    }
}

#[test]
fn all_messages_of_one_read_are_answered_in_one_write() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let burst: Vec<u8> = (0..100).flat_map(|n| text(&format!("message {n}"))).collect();
    let id = world.net_mut().arrive(listener, opened("/"));
    run_for(&mut world, 10);
    let before = world.net().calls();
    world.net_mut().go_on(id, Script::new().send(burst));
    run_for(&mut world, 10);
    let after = world.net().calls();
    assert_eq!((after.reads - before.reads, after.writes - before.writes), (1, 1));
    let expected: Vec<String> = (0..100).map(|n| format!("message {n}")).collect();
    assert_eq!(messages(world.net().sent(id)), expected);
}

#[test]
fn a_ping_is_answered_and_silence_is_pinged_and_a_pong_buys_time() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let pong = || masked(Opcode::Pong, true, b"");
    let script = opened("/")
        .send(masked(Opcode::Ping, true, b"yo"))
        .wait(25_000)
        .send(pong())
        .wait(25_000)
        .send(pong());
    let id = world.net_mut().arrive(listener, script.wait(25_000));
    settle(&mut world);
    assert_eq!(said(&world, id), "101, pong yo, ping, ping, ping");
    assert_eq!(world.app().reasons(), [Reason::PongTimeout]);
    assert_eq!(world.net().elapsed_ms() / 1000, 80, "20 s after the last pong, and 10 s more");
}

#[test]
fn the_time_for_a_pong_does_not_run_while_the_ping_waits_behind_what_the_peer_does_not_take() {
    // Its kernel is full to the last byte when the ping is due; it wakes up just before we look again, and answers in 50 ms.
    for (wakes, given_up_by) in [(29_990, 45_000), (39_990, 55_000)] {
        let script = opened("/").window(0).wait(wakes).window(u64::MAX).await_seen([0x89, 0]);
        let (mut world, listener) = serving(Options::default(), Kind::Echo);
        let answers = script.clone().wait(50).send(masked(Opcode::Pong, true, b"")).wait(1000).fin();
        world.net_mut().arrive(listener, answers);
        settle(&mut world);
        assert_eq!(world.app().reasons(), [Reason::PeerClosed]);
        // One that does not answer is given up all the same.
        let (mut world, listener) = serving(Options::default(), Kind::Echo);
        world.net_mut().arrive(listener, script);
        settle(&mut world);
        assert_eq!(world.app().reasons(), [Reason::PongTimeout]);
        let at = world.net().elapsed_ms();
        assert!((wakes..given_up_by).contains(&at), "{at}");
    }
}

#[test]
fn a_message_that_never_ends_is_given_up_though_pings_are_answered() {
    let pace = Pace { message_timeout: Duration::from_secs(30), ..Pace::default() };
    let (mut world, listener) = serving(Options { pace, ..Options::default() }, Kind::Echo);
    let mut script = opened("/").send(masked(Opcode::Text, false, b"begun"));
    for _ in 0..20 {
        script = script.wait(5_000).send(masked(Opcode::Ping, true, b""));
    }
    let id = world.net_mut().arrive(listener, script.await_fin().fin());
    settle(&mut world);
    assert!(said(&world, id).ends_with("close 1008"), "{}", said(&world, id));
    assert_eq!(world.app().reasons(), [Reason::ReadTimeout]);
}

#[test]
fn the_time_of_a_message_begins_with_its_own_first_byte_also_when_that_comes_with_the_end_of_another() {
    let options = Options {
        pace: Pace { message_timeout: Duration::from_secs(2), ..Pace::default() },
        ..Options::default()
    };
    let (mut world, listener) = serving(options, Kind::Echo);
    let turn = [masked(Opcode::Continuation, true, b"b"), masked(Opcode::Text, false, b"a")].concat();
    let begun = opened("/").send(masked(Opcode::Text, false, b"a"));
    let script = (0..5).fold(begun, |script, _| script.wait(1500).send(&turn));
    let id = world.net_mut().arrive(listener, script);
    settle(&mut world);
    assert_eq!(said(&world, id), "101, ab, ab, ab, ab, ab, close 1008");
    assert_eq!(world.net().elapsed_ms() / 100, 95 + 20, "2 s after the last began, and 2 s for its FIN");
}

#[test]
fn closing_by_the_peer_is_answered_with_its_code() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let close = masked(Opcode::Close, true, &[0x0f, 0xa0, b'x']);
    let id = world
        .net_mut()
        .arrive(listener, opened("/").send([text("a"), close, text("b")].concat()).await_fin().fin());
    settle(&mut world);
    assert_eq!(
        (said(&world, id), world.app().reasons()),
        ("101, a, close 4000".into(), vec![Reason::WsClosed])
    );
}

#[test]
fn draining_says_going_away_and_waits_for_the_answer() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let script =
        opened("/").await_seen("going away").send(masked(Opcode::Close, true, &[3, 233])).await_fin().fin();
    let id = world.net_mut().arrive(listener, script);
    run_for(&mut world, 100);
    world.drain(Duration::from_secs(30));
    settle(&mut world);
    assert_eq!((said(&world, id), world.app().reasons()), ("101, close 1001".into(), vec![Reason::Drained]));
}

fn deflating(path: &str) -> Script {
    let offer = "Host: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    Script::new().send(request(path).replace("Host: a\r\n", offer)).await_seen("\r\n\r\n")
}

/// So many zeros as one message, deflated.
fn zeros(count: usize) -> Vec<u8> {
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    Deflater::new(9, 15, false).unwrap().deflate(&vec![0; count], &mut payload).unwrap();
    let header = Header::new(Opcode::Binary, true, true, Some([1, 2, 3, 4]), payload.len() as u64).unwrap();
    frame::emit_frame(&header, &payload, &mut out);
    out
}

#[test]
fn a_bomb_is_closed_with_1009() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let script = deflating("/").send(zeros(8 << 20));
    let id = world.net_mut().arrive(listener, script.await_fin().fin());
    settle(&mut world);
    assert_eq!(
        (said(&world, id), world.app().reasons()),
        ("101, close 1009".into(), vec![Reason::WsTooLarge])
    );
}

#[test]
fn one_turn_of_one_connection_inflates_one_long_message_and_the_rest_has_its_turn_later() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let id = world.net_mut().arrive(listener, deflating("/"));
    run_for(&mut world, 10);
    world.net_mut().go_on(id, Script::new().send([zeros(1 << 20).repeat(5), text("x")].concat()));
    let (mut most, mut before) = (0, 0);
    for _ in 0..50 {
        world.turn(Some(Duration::from_millis(1))).unwrap();
        world.check();
        let all = world.app().ws.counters().bytes_in;
        (most, before) = (most.max(all - before), all);
    }
    assert_eq!((most, before), (1 << 20, (5 << 20) + 1));
    assert_eq!(world.app().ws.counters().messages_out, 6);
}

#[test]
fn one_call_deflates_a_few_short_messages_or_one_long_one_and_the_rest_has_its_turn_later() {
    // What one call leaves, and what the next read brings.
    for (message, count, bound) in [(text(&"x".repeat(100)), 5000, 250), (zeros(100_000), 50, 2)] {
        let (mut world, listener) = serving(Options::default(), Kind::Echo);
        let id = world.net_mut().arrive(listener, deflating("/"));
        run_for(&mut world, 10);
        world.net_mut().go_on(id, Script::new().send(message.repeat(count)));
        let (mut most, mut before) = (0, 0);
        for _ in 0..500 {
            world.turn(Some(Duration::from_millis(1))).unwrap();
            world.check();
            let all = world.app().ws.counters().messages_out;
            (most, before) = (most.max(all - before), all);
        }
        assert_eq!(before, count as u64, "all are answered");
        assert!(most <= bound, "{most} in one turn");
    }
}

#[test]
fn a_long_message_in_pieces_leaves_its_room_behind_only_until_the_call_ends() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let half = vec![b'a'; 300_000];
    let whole = [masked(Opcode::Text, false, &half), masked(Opcode::Continuation, true, &half)].concat();
    let id = world.net_mut().arrive(listener, opened("/").send(whole));
    run_for(&mut world, 1000);
    assert_eq!(messages(world.net().sent(id)), ["a".repeat(600_000)]);
    assert!(world.app().ws.held() <= 64 << 10, "{}", world.app().ws.held());
}

#[test]
fn a_long_message_that_was_deflated_leaves_its_room_behind_no_longer_than_the_call_either() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo);
    let mut random = Random::new(3);
    let whole: Vec<u8> = (0..600_000).map(|_| random.next() as u8).collect();
    let id = world.net_mut().arrive(listener, deflating("/").send(masked(Opcode::Binary, true, &whole)));
    run_for(&mut world, 1000);
    assert!(world.net().sent_len(id) > 600_000);
    assert!(world.app().ws.held() <= 128 << 10, "{}", world.app().ws.held());
}

#[test]
fn who_sends_too_many_messages_is_held_back_and_loses_none() {
    let (mut world, listener) = serving(Options { message_rate: 10, ..Options::default() }, Kind::Echo);
    let burst: Vec<u8> = (0..50).flat_map(|n| text(&n.to_string())).collect();
    let id = world
        .net_mut()
        .arrive(listener, opened("/").send(burst).wait(100).send(text("after")).wait(20_000).fin());
    run_for(&mut world, 1000);
    assert_eq!(messages(world.net().sent(id)).len(), 50, "what one read brought is taken");
    run_for(&mut world, 4000);
    assert_eq!(messages(world.net().sent(id)).last().unwrap(), "after");
    assert_eq!(world.app().ws.counters().throttled, 2);
    settle(&mut world);
}

#[test]
fn one_that_sends_thousands_of_messages_at_once_is_held_back_for_10_s_and_then_found_to_have_died() {
    let (mut world, listener) = serving(Options { message_rate: 1, ..Options::default() }, Kind::Echo);
    let burst = text("x").repeat(5000);
    world.net_mut().arrive(listener, opened("/").send(burst).wait(1000).reset());
    run_for_unchecked(&mut world, 5_000);
    assert_eq!(world.app().reasons(), []);
    run_for_unchecked(&mut world, 10_000);
    assert_eq!(world.app().reasons(), [Reason::Reset]);
}

#[test]
fn a_message_that_is_begun_when_its_sender_is_held_back_keeps_its_deadline_and_the_wait_does_not_count() {
    let burst: Vec<u8> = (0..50).flat_map(|n| text(&n.to_string())).collect();
    let begun = [burst, masked(Opcode::Text, false, b"begun")].concat();
    let pace = |seconds| Pace { message_timeout: Duration::from_secs(seconds), ..Pace::default() };
    // It never ends.
    let options = Options { message_rate: 10, pace: pace(30), ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Echo);
    let pings = (0..20)
        .fold(opened("/").send(&begun), |script, _| script.wait(5_000).send(masked(Opcode::Ping, true, b"")));
    let id = world.net_mut().arrive(listener, pings.await_fin().fin());
    settle(&mut world);
    assert!(said(&world, id).ends_with("close 1008"), "{}", said(&world, id));
    // It ended long before we looked again: we look away for 4 s.
    let options = Options { message_rate: 10, pace: pace(2), ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Echo);
    let end = masked(Opcode::Continuation, true, b" and ended");
    let id = world.net_mut().arrive(listener, opened("/").send(&begun).wait(100).send(end));
    run_for(&mut world, 6_000);
    assert_eq!(messages(world.net().sent(id)).last().unwrap(), "begun and ended");
    assert_eq!(world.app().reasons(), []);
}

#[test]
fn a_message_is_not_given_up_while_its_sender_is_not_read_because_it_takes_what_is_said_slowly() {
    let pace = Pace { message_timeout: Duration::from_secs(30), ..Pace::default() };
    let mut app = Duo::new(0, 1);
    let route = app.ws.add(Options { slow: Slow::DropNewest, pace, ..Options::default() }, Kind::Room);
    app.serve.push(Serve::Ws(route));
    let settings = Settings { high_water: 64 << 10, low_water: 1 << 10, ..Settings::default() };
    let (mut world, listener) = world(app, settings);
    let slow = opened("/r").window(0).send(masked(Opcode::Text, false, b"begun")).wait(1000);
    let slow = slow.send(masked(Opcode::Continuation, true, b" and ended")).sip(1500, 1000, 80);
    let slow = world.net_mut().arrive(listener, slow);
    run_for(&mut world, 100);
    let burst: Vec<u8> = (0..70).flat_map(|n| text(&format!("{n:0>1000}"))).collect();
    let pongs = (0..8).fold(opened("/r").send(burst), |script, _| {
        script.wait(10_000).send(masked(Opcode::Pong, true, b""))
    });
    let speaker = world.net_mut().arrive(listener, pongs);
    run_for(&mut world, 60_000);
    assert_eq!(
        (world.app().reasons(), messages(world.net().sent(speaker))),
        (vec![], vec!["begun and ended".into()])
    );
    assert!(world.net().sent(slow).len() > 60_000);
}

#[test]
fn the_time_of_a_message_begins_anew_when_its_sender_is_read_again() {
    let pace = Pace { message_timeout: Duration::from_secs(30), ..Pace::default() };
    let mut app = Duo::new(0, 1);
    let route = app.ws.add(Options { slow: Slow::DropNewest, pace, ..Options::default() }, Kind::Room);
    app.serve.push(Serve::Ws(route));
    let settings = Settings { high_water: 64 << 10, low_water: 1 << 10, ..Settings::default() };
    let (mut world, listener) = world(app, settings);
    // Begins a message, takes little for 28 s and is not read, then takes everything, and ends its message 5 s later.
    let slow = opened("/r").window(0).send(masked(Opcode::Text, false, b"begun")).sip(1500, 1000, 28);
    let slow = slow.window(u64::MAX).wait(5_000).send(masked(Opcode::Continuation, true, b" and ended"));
    world.net_mut().arrive(listener, slow);
    run_for(&mut world, 100);
    let burst: Vec<u8> = (0..70).flat_map(|n| text(&format!("{n:0>1000}"))).collect();
    let pongs = (0..8).fold(opened("/r").send(burst), |script, _| {
        script.wait(10_000).send(masked(Opcode::Pong, true, b""))
    });
    let speaker = world.net_mut().arrive(listener, pongs);
    run_for(&mut world, 60_000);
    assert_eq!(messages(world.net().sent(speaker)), ["begun and ended"], "{:?}", world.app().reasons());
}

/// Sends much, and closes.
struct Farewell;

impl ws::Handler for Farewell {
    fn message(&mut self, _: Message<'_>, peer: &mut Peer<'_>) {
        peer.send(Message::Binary(&[b'x'; 200_000]));
        peer.close(Code::NORMAL, "bye");
    }
}

#[test]
fn the_time_for_the_answer_to_our_close_frame_does_not_run_while_that_waits_behind_what_the_peer_takes_slowly()
 {
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Farewell)));
    let script = opened("/").window(0).send(text("go")).sip(20_000, 1000, 11).wait(1000);
    let close = masked(Opcode::Close, true, &[3, 232]);
    let id = world.net_mut().arrive(listener, script.send(close).await_fin().fin());
    settle(&mut world);
    assert!(said(&world, id).ends_with("x, close 1000"), "{} bytes", world.net().sent(id).len());
    assert_eq!(
        (world.app().reasons(), world.net().closed(id)),
        (vec![Reason::WsClosed], Some(CloseHow::Normal))
    );
    // One that takes nothing more and says nothing is given up all the same.
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Farewell)));
    let script = opened("/").window(0).send(text("go")).sip(20_000, 1000, 5);
    world.net_mut().arrive(listener, script);
    settle(&mut world);
    assert_eq!(world.app().reasons(), [Reason::WriteTooSlow]);
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Farewell)));
    let script = opened("/").window(0).send(text("go")).sip(20_000, 1000, 11);
    world.net_mut().arrive(listener, script);
    settle(&mut world);
    assert_eq!(world.app().reasons(), [Reason::CloseTimeout]);
}

/// A room of `members` that listen, one that never reads, and one that speaks `count` times, every 10 ms.
fn crowd(slow: Slow, members: usize, count: usize) -> (World, Vec<SimId>, SimId) {
    let bounds = Bounds { messages: 10, bytes: 1 << 20 };
    let mut app = Duo::new(0, 1);
    let route = app.ws.add(Options { slow, bounds, ..Options::default() }, Kind::Room);
    app.serve.push(Serve::Ws(route));
    let settings = Settings { high_water: 4096, low_water: 1024, ..Settings::default() };
    let (mut world, listener) = world(app, settings);
    let listening: Vec<SimId> =
        (0..members).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    let deaf = world.net_mut().arrive(listener, opened("/r").window(0));
    run_for_unchecked(&mut world, 50);
    let speaker =
        (0..count).fold(opened("/r"), |script, n| script.send(text(&format!("{n:0>200}"))).wait(10));
    world.net_mut().arrive(listener, speaker);
    run_for_unchecked(&mut world, 10 * count as u64 + 100);
    (world, listening, deaf)
}

fn numbers(sent: &[u8]) -> Vec<usize> {
    messages(sent).iter().map(|words| words.parse().unwrap()).collect()
}

#[test]
fn a_room_of_a_thousand_gets_each_message_once_in_order_whatever_one_that_never_reads_does() {
    let all: Vec<usize> = (0..100).collect();
    for slow in [Slow::Close, Slow::DropOldest, Slow::DropNewest, Slow::Latest] {
        let (mut world, listening, deaf) = crowd(slow, 1000, 100);
        for id in &listening {
            assert_eq!(numbers(world.net().sent(*id)), all, "{slow:?}");
        }
        let counters = world.app().ws.counters();
        if slow == Slow::Close {
            assert_eq!((counters.too_slow, world.app().reasons()), (1, vec![Reason::SlowConsumer]));
            assert_eq!(world.app().ws.rooms().presence("/r"), 1001);
            continue;
        }
        assert_eq!((counters.too_slow, world.app().reasons()), (0, vec![]), "{slow:?}");
        world.net_mut().go_on(deaf, Script::new().window(u64::MAX));
        run_for_unchecked(&mut world, 1000);
        let got = numbers(world.net().sent(deaf));
        assert!(got.is_sorted_by(|a, b| a < b), "whole messages, in order: {got:?}");
        assert_eq!(
            got.len() as u64 + counters.lost.iter().sum::<u64>(),
            100,
            "{slow:?}: what was lost was counted"
        );
        // The outbox had taken the first; the queue holds ten, or one.
        let begun = got.iter().zip(0..).take_while(|(a, b)| **a == *b).count();
        match slow {
            Slow::DropNewest => assert_eq!((got.len(), got.len()), (begun, begun)),
            Slow::DropOldest => assert_eq!(got[begun..], all[90..]),
            Slow::Latest => assert_eq!(got[begun..], all[99..]),
            Slow::Close => unreachable!(),
        }
    }
}

#[test]
fn a_batch_costs_one_write_a_member_and_the_sender_does_not_hear_itself() {
    let mut app = Duo::new(0, 1);
    let route = app.ws.add(Options::default(), Kind::Room);
    app.serve.push(Serve::Ws(route));
    let (mut world, listener) = world(app, Settings::default());
    let members: Vec<SimId> = (0..50).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    run_for(&mut world, 10);
    let before = world.net().calls().writes;
    let burst: Vec<u8> = (0..100).flat_map(|n| text(&n.to_string())).collect();
    world.net_mut().go_on(members[0], Script::new().send(burst));
    run_for(&mut world, 10);
    assert_eq!(world.net().calls().writes - before, 49);
    assert_eq!(numbers(world.net().sent(members[0])), Vec::<usize>::new());
    assert_eq!(numbers(world.net().sent(members[49])), (0..100).collect::<Vec<_>>());
    for id in members {
        world.net_mut().go_on(id, Script::new().fin());
    }
    settle(&mut world);
    assert_eq!(world.app().ws.rooms().count(), 0, "an empty room is gone");
}

/// Carries words between workers until there are none.
fn carry(worlds: &mut [World; 2]) {
    for _ in 0..20 {
        for at in 0..2 {
            run_for(&mut worlds[at], 1);
            for (to, words) in std::mem::take(&mut worlds[at].app_mut().ws_out) {
                worlds[to as usize].with_app(|app, cx| app.ws.on_remote(at as u16, words, cx));
            }
        }
    }
}

#[test]
fn members_on_two_workers_see_one_order_and_presence_is_known_everywhere() {
    let make = |worker| {
        let mut app = Duo::new(worker, 2);
        let route = app.ws.add(Options::default(), Kind::Room);
        app.serve.push(Serve::Ws(route));
        world(app, Settings::default())
    };
    let ((a, la), (b, lb)) = (make(0), make(1));
    let (mut worlds, listeners) = ([a, b], [la, lb]);
    let members: Vec<(usize, SimId)> =
        (0..6).map(|n| (n % 2, worlds[n % 2].net_mut().arrive(listeners[n % 2], opened("/r")))).collect();
    carry(&mut worlds);
    assert_eq!([0, 1].map(|w| worlds[w].app().ws.rooms().presence("/r")), [6, 6]);
    for round in 0..10 {
        for (n, (w, id)) in members.iter().enumerate() {
            worlds[*w].net_mut().go_on(*id, Script::new().send(text(&format!("{n}.{round}"))));
        }
        carry(&mut worlds);
    }
    let heard: Vec<Vec<String>> =
        members.iter().map(|(w, id)| messages(worlds[*w].net().sent(*id))).collect();
    let without = |log: &[String], n: usize| -> Vec<String> {
        log.iter().filter(|m| (0..6).all(|k| k != n || !m.starts_with(&format!("{k}.")))).cloned().collect()
    };
    for (n, log) in heard.iter().enumerate() {
        assert_eq!(log.len(), 50, "each gets each of the others");
        for (m, other) in heard.iter().enumerate() {
            assert_eq!(without(log, m), without(other, n), "one order");
        }
    }
    for (w, id) in members {
        worlds[w].net_mut().go_on(id, Script::new().fin());
    }
    carry(&mut worlds);
    assert_eq!([0, 1].map(|w| worlds[w].app().ws.rooms().count()), [0, 0]);
}

/// A lobby: commands of an embedder's own.
struct Lobby(Log);

impl ws::Handler for Lobby {
    fn open(&mut self, peer: &mut Peer<'_>, room: Option<&str>, _: Option<&str>) {
        self.0.say(format!("open {}", room.unwrap_or("")));
        peer.send(Message::Text("welcome"));
    }

    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) {
        let Message::Text(words) = message else { return };
        match words.split_once(' ').unwrap_or((words, "")) {
            ("join", room) => {
                let _ = peer.join(room);
                peer.send(Message::Text(&format!("{} here", peer.presence(room))));
            }
            ("leave", room) => drop(peer.leave(room)),
            ("say", rest) => {
                let (room, words) = rest.split_once(' ').unwrap();
                peer.publish(room, Message::Text(words)).unwrap();
            }
            ("whisper", words) => {
                let others: Vec<Token> = peer.members("a").filter(|token| *token != peer.token()).collect();
                others.iter().for_each(|to| peer.send_to(*to, Message::Text(words)));
            }
            ("kick", _) => {
                let others: Vec<Token> = peer.members("a").filter(|token| *token != peer.token()).collect();
                others.iter().for_each(|to| peer.kick(*to, Code::POLICY, "out"));
            }
            _ => peer.close(Code::NORMAL, "what?"),
        }
    }

    fn close(&mut self, _: Token, reason: Reason) {
        self.0.say(format!("close {}", reason.label()));
    }
}

#[test]
fn a_handler_joins_leaves_publishes_whispers_kicks_and_hears_each_end_once() {
    let log = Log::default();
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Lobby(log.clone()))));
    let one = world.net_mut().arrive(listener, opened("/x"));
    let two = world.net_mut().arrive(listener, opened("/y"));
    run_for(&mut world, 10);
    let mut say = |id, words: &str| {
        world.net_mut().go_on(id, Script::new().send(text(words)));
        run_for(&mut world, 10);
    };
    for (id, words) in
        [(one, "join a"), (two, "join a"), (two, "join b"), (one, "say a hello"), (two, "say a hi")]
    {
        say(id, words);
    }
    for (id, words) in [(one, "say b anybody"), (two, "leave a"), (one, "say a nobody"), (two, "join a")] {
        say(id, words);
    }
    for (id, words) in [(one, "whisper psst"), (one, "kick"), (one, "nonsense")] {
        say(id, words);
    }
    assert_eq!(said(&world, one), "101, welcome, 1 here, hi, close 1000");
    assert_eq!(said(&world, two), "101, welcome, 2 here, 1 here, hello, anybody, 2 here, psst, close 1008");
    for id in [one, two] {
        world.net_mut().go_on(id, Script::new().send(masked(Opcode::Close, true, b"")).await_fin().fin());
    }
    settle(&mut world);
    assert_eq!(log.take(), ["open /x", "open /y", "close ws_closed", "close kicked"]);
    assert_eq!(world.app().ws.rooms().count(), 0);
}

#[test]
fn behind_our_close_frame_nothing_is_said_or_heard_and_the_end_has_the_reason_for_which_closing_began() {
    let log = Log::default();
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Lobby(log.clone()))));
    let script = |words| opened("/").send(text("join a")).send(text(words));
    let one = world.net_mut().arrive(listener, script("nonsense"));
    let other = world.net_mut().arrive(listener, script("join b"));
    run_for(&mut world, 10);
    let me = world.app().ws.rooms().members("a").next().unwrap();
    world.net_mut().go_on(other, Script::new().send(text("say a hello")));
    world.with_app(|app, _| {
        app.ws.send(me, Message::Text("you"));
        app.ws.kick(me, Code::POLICY, "again");
        app.ws.publish("b", Message::Text("to those in b")).unwrap();
    });
    let late = Script::new().send(masked(Opcode::Ping, true, b"there?")).send(text("whisper psst"));
    world.net_mut().go_on(one, late);
    run_for(&mut world, 10);
    assert_eq!(world.app().reasons(), []);
    // What breaks the protocol now is not told any more.
    world.net_mut().go_on(one, Script::new().send([0x81, 0]).await_fin().fin());
    run_for(&mut world, 10);
    assert_eq!(said(&world, one), "101, welcome, 1 here, close 1000");
    assert_eq!(said(&world, other), "101, welcome, 2 here, 1 here, to those in b");
    assert_eq!(log.take(), ["open /", "open /", "close ws_closed"]);
    let counters = world.app().ws.counters();
    assert_eq!(
        (counters.messages_out, counters.messages_in),
        (7, 5),
        "with what the other said in the room itself"
    );
}

#[test]
fn a_program_closes_a_connection_by_its_name() {
    let (mut world, listener) = serving(Options::default(), Kind::Room);
    let id = world
        .net_mut()
        .arrive(listener, opened("/r").await_seen([0x88]).send(masked(Opcode::Close, true, b"")));
    run_for(&mut world, 10);
    world.with_app(|app, _| {
        let token = app.ws.rooms().members("/r").next().unwrap();
        app.ws.kick(token, Code::POLICY, "out");
    });
    settle(&mut world);
    assert_eq!((said(&world, id).as_str(), world.app().reasons()), ("101, close 1008", vec![Reason::Kicked]));
}

#[test]
fn one_who_is_held_back_for_speaking_too_often_is_read_again_when_we_close() {
    let (mut world, listener) = serving(Options { message_rate: 1, ..Options::default() }, Kind::Echo);
    let answer = masked(Opcode::Close, true, &[3, 233]);
    world
        .net_mut()
        .arrive(listener, opened("/").send(text("x").repeat(20)).await_seen([0x88]).send(answer).fin());
    run_for(&mut world, 100);
    assert_eq!(world.app().ws.counters().throttled, 1);
    let begun = world.net().elapsed_ms();
    world.drain(Duration::from_secs(30));
    settle(&mut world);
    assert_eq!(world.app().reasons(), [Reason::Drained]);
    assert!(world.net().elapsed_ms() - begun < 100);
}

/// Acknowledges numbers, and remembers each it had not seen.
struct Register(Log);

impl ws::Handler for Register {
    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) {
        if let Message::Text(words) = message {
            self.0.say(words);
            peer.send(message);
        }
    }
}

#[test]
fn what_a_handler_sends_is_counted_in_messages_and_bytes() {
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Register(Log::default()))));
    world.net_mut().arrive(listener, opened("/").send(text("hello")));
    run_for(&mut world, 10);
    let counters = world.app().ws.counters();
    assert_eq!((counters.opened, counters.messages_out, counters.bytes_out), (1, 1, 5));
}

/// Sends the numbers, each until it is acknowledged.
struct Counting {
    next: usize,
    log: Log,
    changes: Log,
}

impl client::Handler for Counting {
    fn change(&mut self, change: Change<'_>, _: &mut Link<'_>) {
        self.changes.say(match change {
            Change::Connecting => "connecting".to_string(),
            Change::Open(_) => "open".into(),
            Change::Closing(_) => "closing".into(),
            Change::Lost(_) => "lost".into(),
            Change::Waiting(wait) => format!("waiting {}", wait.as_millis()),
            Change::Ended(reason) => format!("ended {}", reason.label()),
        });
    }

    fn resubscribe(&mut self, link: &mut Link<'_>) {
        link.send(Message::Text(&self.next.to_string()));
    }

    fn message(&mut self, message: Message<'_>, link: &mut Link<'_>) {
        if message.bytes() == self.next.to_string().as_bytes() {
            self.log.say(self.next.to_string());
            self.next += 1;
            link.send(Message::Text(&self.next.to_string()));
        }
    }
}

#[test]
fn a_client_comes_back_twenty_times_and_nothing_acknowledged_is_lost_or_doubled() {
    let (there, acknowledged, changes) = (Log::default(), Log::default(), Log::default());
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Register(there.clone()))));
    world.net_mut().chaos = LATE;
    let target = Target::Tcp(world.net().address(listener));
    let handler = Counting { next: 0, log: acknowledged.clone(), changes: changes.clone() };
    let mut options = client::Options::new(target, "a", "/");
    options.retry =
        Retry { first: Duration::from_millis(100), longest: Duration::from_secs(2), ..Retry::default() };
    let client = Client::new(options, Box::new(handler)).unwrap();
    let me = world.with_app(|_, cx| cx.spawn(Talk::WsClient(client)).ok().unwrap());
    for round in 0..20u64 {
        run_for(&mut world, 20 + round);
        let dead: Vec<Token> = world.with_app(|app, cx| {
            app.down = true;
            cx.survey().map(|one| one.token).filter(|token| *token != me).collect()
        });
        world.with_app(|_, cx| dead.iter().for_each(|token| cx.notify(*token, Note::Kill)));
        run_for(&mut world, 150);
        world.app_mut().down = false;
        run_for(&mut world, 5000);
    }
    world.with_app(|_, cx| cx.notify(me, ws::Note::Close(Code::NORMAL, "".into()).into()));
    settle(&mut world);
    let acknowledged: Vec<usize> = acknowledged.take().iter().map(|n| n.parse().unwrap()).collect();
    assert!(acknowledged.len() > 100 && acknowledged == (0..acknowledged.len()).collect::<Vec<_>>());
    let mut there: Vec<usize> = there.take().iter().map(|n| n.parse().unwrap()).collect();
    there.dedup();
    assert!(there.is_sorted() && there.len() >= acknowledged.len(), "each arrived, in order");
    let changes = changes.take();
    let count = |what: &str| changes.iter().filter(|change| change.starts_with(what)).count();
    assert_eq!((count("open"), count("closing"), count("ended")), (21, 1, 1));
    assert!(count("lost") >= 20 && count("waiting") == count("lost"));
    for change in changes.iter().filter_map(|change| change.strip_prefix("waiting ")) {
        assert!((50..=2000).contains(&change.parse::<u64>().unwrap()), "{change}");
    }
    assert_eq!(changes.last().unwrap(), "ended kicked");
}

#[test]
fn what_is_said_while_away_waits_in_a_bounded_queue_and_leaves_in_order() {
    let there = Log::default();
    let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Register(there.clone()))));
    world.net_mut().chaos = LATE;
    let target = Target::Tcp(world.net().address(listener));
    let handler = Counting { next: 1000, log: Log::default(), changes: Log::default() };
    let mut options = client::Options::new(target, "a", "/");
    (options.queue, options.full) = (Bounds { messages: 3, bytes: 1000 }, Slow::DropOldest);
    world.app_mut().down = true;
    let client = Client::new(options, Box::new(handler)).unwrap();
    let me = world.with_app(|_, cx| cx.spawn(Talk::WsClient(client)).ok().unwrap());
    run_for(&mut world, 50);
    for n in 0..5 {
        let note = ws::Note::Send(Message::Text(&n.to_string()).to_owned());
        world.with_app(|_, cx| cx.notify(me, note.into()));
    }
    world.app_mut().down = false;
    run_for(&mut world, 300);
    assert_eq!(
        there.take()[..4],
        ["1000", "2", "3", "4"],
        "first what the server must know, then what waited"
    );
}

/// Says much at once, and closes.
struct Parting {
    /// When it is open, or when it hears something.
    at_once: bool,
}

impl Parting {
    fn part(link: &mut Link<'_>) {
        for n in 0..300 {
            assert!(link.send(Message::Text(&format!("{n:0>1000}"))));
        }
        link.close(Code::NORMAL, "");
        assert!(link.queued() > 100);
    }
}

impl client::Handler for Parting {
    fn change(&mut self, change: Change<'_>, link: &mut Link<'_>) {
        match change {
            Change::Open(_) if self.at_once => Parting::part(link),
            Change::Open(_) => drop(link.send(Message::Text("9999"))),
            _ => {}
        }
    }

    fn message(&mut self, _: Message<'_>, link: &mut Link<'_>) {
        Parting::part(link);
    }
}

#[test]
fn a_client_that_closes_sends_what_waits_in_its_queue_first() {
    for at_once in [true, false] {
        let there = Log::default();
        let kind = Kind::Custom(Box::new(Register(there.clone())));
        let (mut world, listener) = serving(Options::default(), kind);
        let target = Target::Tcp(world.net().address(listener));
        let options = client::Options { deflate: None, ..client::Options::new(target, "a", "/") };
        let client = Client::new(options, Box::new(Parting { at_once })).unwrap();
        world.with_app(|_, cx| cx.spawn(Talk::WsClient(client)).ok().unwrap());
        settle(&mut world);
        let heard: Vec<usize> =
            there.take().iter().map(|n| n.parse().unwrap()).filter(|n| *n < 300).collect();
        assert_eq!(heard, (0..300).collect::<Vec<_>>(), "at once: {at_once}");
        assert_eq!(world.app().reasons(), [Reason::WsClosed; 2]);
    }
}

/// Says one word and closes, at once.
struct OneShot {
    /// Already when it is told that it is open.
    early: bool,
}

impl client::Handler for OneShot {
    fn change(&mut self, change: Change<'_>, link: &mut Link<'_>) {
        if self.early && matches!(change, Change::Open(_)) {
            link.close(Code::NORMAL, "that was all");
        }
    }

    fn resubscribe(&mut self, link: &mut Link<'_>) {
        link.send(Message::Text("1000"));
        link.close(Code::NORMAL, "that was all");
    }

    fn message(&mut self, _: Message<'_>, _: &mut Link<'_>) {}
}

#[test]
fn a_client_that_closes_as_soon_as_it_is_open_sends_what_had_waited_first() {
    for early in [true, false] {
        let there = Log::default();
        let kind = Kind::Custom(Box::new(Register(there.clone())));
        let (mut world, listener) = serving(Options::default(), kind);
        let target = Target::Tcp(world.net().address(listener));
        let client =
            Client::new(client::Options::new(target, "a", "/"), Box::new(OneShot { early })).unwrap();
        let me = world.with_app(|_, cx| cx.spawn(Talk::WsClient(client)).ok().unwrap());
        for n in 0..3 {
            let note = ws::Note::Send(Message::Text(&n.to_string()).to_owned());
            world.with_app(|_, cx| cx.notify(me, note.into()));
        }
        settle(&mut world);
        assert_eq!(there.take(), ["1000", "0", "1", "2"], "early: {early}");
    }
}

/// Says nothing of its own.
struct Quiet;

impl client::Handler for Quiet {
    fn change(&mut self, _: Change<'_>, _: &mut Link<'_>) {}
    fn message(&mut self, _: Message<'_>, _: &mut Link<'_>) {}
}

/// A client, and a server that has its request and gives this answer, which is made from the proof of the key; then the script runs.
fn answered(
    answer: impl FnOnce(&str) -> String,
    options: client::Options,
    handler: impl client::Handler + 'static,
    script: Script,
) -> (World, Token, SimId) {
    let mut net = SimNet::new(7);
    net.on_connect(options.target.clone(), Plan::Accept(1, Script::new()));
    net.log_limit = 16 << 20;
    let mut world = Reactor::new(Duo::new(0, 1), net, Settings::default());
    let client = Client::new(options, Box::new(handler)).unwrap();
    let me = world.with_app(|_, cx| cx.spawn(Talk::WsClient(client)).ok().unwrap());
    run_for(&mut world, 10);
    let stream = world.net().streams().next().unwrap();
    let asked = String::from_utf8(world.net().sent(stream).to_vec()).unwrap();
    let key = asked.split("Sec-WebSocket-Key: ").nth(1).unwrap().get(..24).unwrap();
    let accept = String::from_utf8(accept_for(key.as_bytes()).to_vec()).unwrap();
    world.net_mut().go_on(stream, Script::new().send(answer(&accept)).then(script));
    run_for(&mut world, 10);
    (world, me, stream)
}

fn elsewhere() -> client::Options {
    let target = Target::Unix("/run/elsewhere.sock".into());
    client::Options { deflate: None, ..client::Options::new(target, "a", "/") }
}

/// The answer that lets a client in.
fn welcome(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// A client whose connection stands, to a server that runs this script after its answer.
fn standing(script: Script) -> (World, Token, SimId) {
    answered(welcome, elsewhere(), Quiet, script)
}

/// Remembers what it hears, and each reason to be lost or to end.
struct Hears(Log);

impl client::Handler for Hears {
    fn change(&mut self, change: Change<'_>, _: &mut Link<'_>) {
        match change {
            Change::Open(_) => self.0.say("open"),
            Change::Lost(reason) => self.0.say(format!("lost {}", reason.label())),
            Change::Ended(reason) => self.0.say(format!("ended {}", reason.label())),
            Change::Connecting | Change::Closing(_) | Change::Waiting(_) => {}
        }
    }

    fn message(&mut self, message: Message<'_>, _: &mut Link<'_>) {
        self.0.say(String::from_utf8_lossy(message.bytes()));
    }
}

#[test]
fn a_client_reads_past_informational_answers_and_takes_only_a_101_that_proves_its_key() {
    type Answer = fn(&str) -> String;
    let cases: [(Answer, &[&str]); 5] = [
        (welcome, &["open", "hello"]),
        (
            |accept| {
                format!(
                    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 \r\n\r\n{}",
                    welcome(accept)
                )
            },
            &["open", "hello"],
        ),
        (|_| welcome("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), &["lost refused"]),
        (|_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(), &["lost refused"]),
        (|_| "220 mail.example ESMTP\r\n\r\n".into(), &["lost ws_violation"]),
    ];
    for (answer, expected) in cases {
        let log = Log::default();
        let script = Script::new().send(plain(Opcode::Text, true, b"hello"));
        answered(answer, elsewhere(), Hears(log.clone()), script);
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn a_client_that_is_closing_hears_no_messages_any_more_and_closing_again_changes_nothing() {
    let log = Log::default();
    let (mut world, me, stream) = answered(welcome, elsewhere(), Hears(log.clone()), Script::new().window(0));
    // Its close frame waits behind more than the server takes.
    let note = ws::Note::Send(Message::Text(&"x".repeat(600_000)).to_owned());
    world.with_app(|_, cx| {
        cx.notify(me, note.clone().into());
        cx.notify(me, note.into());
        cx.notify(me, ws::Note::Close(Code::POLICY, "".into()).into());
    });
    run_for(&mut world, 10);
    let late = Script::new().send(plain(Opcode::Text, true, b"late")).wait(10).window(u64::MAX).wait(10);
    world.net_mut().go_on(stream, late);
    run_for(&mut world, 10);
    world.with_app(|_, cx| cx.notify(me, ws::Note::Close(Code::NORMAL, "".into()).into()));
    run_for(&mut world, 100);
    world.net_mut().go_on(stream, Script::new().send(plain(Opcode::Close, true, &[3, 240])).fin());
    settle(&mut world);
    assert!(said(&world, stream).ends_with("x, close 1008"));
    assert_eq!(log.take(), ["open", "ended kicked"]);
}

#[test]
fn a_client_that_drains_sends_what_its_queue_had_taken() {
    let script = Script::new().window(0).wait(1000).window(u64::MAX).wait(1000);
    let (mut world, me, stream) = standing(script.send(plain(Opcode::Close, true, &[3, 233])).fin());
    for n in 0..300 {
        let note = ws::Note::Send(Message::Text(&format!("{n:0>1000}")).to_owned());
        world.with_app(|_, cx| cx.notify(me, note.into()));
    }
    run_for(&mut world, 10);
    world.drain(Duration::from_secs(30));
    settle(&mut world);
    assert_eq!(messages(world.net().sent(stream)).len(), 300);
    assert_eq!(world.app().reasons(), [Reason::Drained]);
}

#[test]
fn a_client_that_ends_sends_what_waits_though_that_is_more_than_an_outbox_holds() {
    for drains in [true, false] {
        let script = Script::new().window(0).wait(1000).window(u64::MAX).wait(1000);
        let script = script.send(plain(Opcode::Close, true, &[3, 232])).fin();
        let (mut world, me, stream) = standing(script);
        // The second waits alone.
        for _ in 0..2 {
            let note = ws::Note::Send(Message::Text(&"x".repeat(3 << 20)).to_owned());
            world.with_app(|_, cx| cx.notify(me, note.into()));
        }
        run_for(&mut world, 10);
        match drains {
            true => world.drain(Duration::from_secs(30)),
            false => world.with_app(|_, cx| {
                cx.notify(me, ws::Note::Close(Code::NORMAL, "".into()).into());
            }),
        }
        // Nothing is taken any more.
        let note = ws::Note::Send(Message::Text("late").to_owned());
        world.with_app(|_, cx| cx.notify(me, note.into()));
        settle(&mut world);
        let heard: Vec<usize> = messages(world.net().sent(stream)).iter().map(String::len).collect();
        assert_eq!(heard, [3 << 20; 2]);
        assert_eq!(world.app().reasons(), [if drains { Reason::Drained } else { Reason::Kicked }]);
    }
}

#[test]
fn a_message_too_long_for_the_hard_cap_is_refused_and_ends_neither_client_nor_connection() {
    let (mut world, me, stream) = standing(Script::new().window(0).wait(1000).window(u64::MAX));
    for words in ["x".repeat(5 << 20), "x".repeat(7 << 19), "word".into()] {
        let note = ws::Note::Send(Message::Text(&words).to_owned());
        world.with_app(|_, cx| cx.notify(me, note.into()));
    }
    run_for(&mut world, 2000);
    let heard: Vec<usize> = messages(world.net().sent(stream)).iter().map(String::len).collect();
    assert_eq!((heard, world.app().reasons()), (vec![7 << 19, 4], vec![]));
}

/// Sends random messages and checks that each comes back.
struct Mirror {
    random: Random,
    sent: std::collections::VecDeque<Vec<u8>>,
    left: usize,
    log: Log,
}

impl Mirror {
    fn more(&mut self, link: &mut Link<'_>) {
        while self.left > 0 && self.sent.len() < 4 {
            let longest = if self.random.chance(10) { 100_000 } else { 300 };
            let len = self.random.up_to(longest);
            let bytes: Vec<u8> =
                (0..len).map(|n| if n % 3 == 0 { self.random.next() as u8 } else { b'a' }).collect();
            assert!(link.send(Message::Binary(&bytes)));
            self.sent.push_back(bytes);
            self.left -= 1;
        }
        if self.sent.is_empty() {
            link.close(Code::NORMAL, "done");
        }
    }
}

impl client::Handler for Mirror {
    fn change(&mut self, change: Change<'_>, _: &mut Link<'_>) {
        if let Change::Ended(reason) = change {
            self.log.say(format!("{} {}", reason.label(), self.sent.len() + self.left));
        }
    }

    fn resubscribe(&mut self, link: &mut Link<'_>) {
        self.more(link);
    }

    fn message(&mut self, message: Message<'_>, link: &mut Link<'_>) {
        assert_eq!(Some(message.bytes()), self.sent.pop_front().as_deref());
        self.more(link);
    }
}

#[test]
fn in_chaos_with_both_ends_joined_every_message_comes_back_once_in_order() {
    for seed in 0..40 {
        let log = Log::default();
        let mut net = SimNet::<false>::with_regime(seed);
        net.chaos = Chaos::SOME;
        let listener = net.listen();
        let target = Target::Tcp(net.address(listener));
        let options = Options { deflate: (seed % 2 == 0).then(Default::default), ..Options::default() };
        let mut world = Reactor::new(Duo::ws(options, Kind::Echo), net, Settings::default());
        world.add_listener(listener).unwrap();
        let clients = 1 + seed as usize % 4;
        for n in 0..clients {
            let random = Random::new(seed * 100 + n as u64);
            let mirror = Mirror { random, sent: Default::default(), left: 12, log: log.clone() };
            let client =
                Client::new(client::Options::new(target.clone(), "a", "/"), Box::new(mirror)).unwrap();
            assert!(world.with_app(|_, cx| cx.spawn(Talk::WsClient(client)).is_ok()));
        }
        settle(&mut world);
        assert_eq!(log.take(), vec!["ws_closed 0"; clients], "seed {seed}");
        assert!(world.app().reasons().iter().all(|reason| *reason == Reason::WsClosed), "seed {seed}");
    }
}

#[test]
fn many_who_speak_at_once_are_gathered_a_few_at_a_time_and_all_are_heard() {
    let mut app = Duo::new(0, 1);
    app.ws.set_gathered(10_000);
    let route = app.ws.add(Options::default(), Kind::Room);
    app.serve.push(Serve::Ws(route));
    let (mut world, listener) = world(app, Settings::default());
    let members: Vec<SimId> = (0..50).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    run_for_unchecked(&mut world, 100);
    let long = masked(Opcode::Binary, true, &[b'x'; 10_000]);
    for id in &members {
        world.net_mut().go_on(*id, Script::new().send(&long));
    }
    let mut most = 0;
    for _ in 0..500 {
        world.turn(Some(Duration::from_millis(1))).unwrap();
        most = most.max(world.app().ws.held());
    }
    assert!((10_000..25_000).contains(&most), "{most} bytes at once");
    for id in members {
        assert!(world.net().sent(id).len() > 49 * 10_000, "each hears all others");
    }
}

#[test]
fn one_who_always_has_something_to_say_in_a_room_does_not_keep_the_others_from_it() {
    let mut app = Duo::new(0, 1);
    app.ws.set_gathered(1000);
    let route = app.ws.add(Options::default(), Kind::Room);
    app.serve.push(Serve::Ws(route));
    let (mut world, listener) = world(app, Settings::default());
    let ear = world.net_mut().arrive(listener, opened("/r"));
    let speakers: Vec<SimId> = (0..4).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    run_for(&mut world, 10);
    for (who, id) in speakers.iter().enumerate() {
        let burst: Vec<u8> = (0..200).flat_map(|_| text(&format!("{who}{:0>998}", ""))).collect();
        world.net_mut().go_on(*id, Script::new().send(burst));
    }
    for _ in 0..40 {
        world.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let heard = messages(world.net().sent(ear));
    let counts = [0, 1, 2, 3].map(|who| heard.iter().filter(|m| m.starts_with(&who.to_string())).count());
    let most = counts.into_iter().max().unwrap();
    assert!(most >= 5 && counts.iter().all(|count| count + 2 >= most), "{counts:?}");
    assert!(world.app().ws.counters().waits >= 20, "{:?}", world.app().ws.counters());
}

#[test]
fn what_a_program_publishes_over_the_bound_is_refused_and_counted_and_nothing_of_it_is_kept() {
    let mut app = Duo::new(0, 1);
    app.ws.set_gathered(10_000);
    let route = app.ws.add(Options::default(), Kind::Room);
    app.serve.push(Serve::Ws(route));
    let (mut world, listener) = world(app, Settings::default());
    let ear = world.net_mut().arrive(listener, opened("/r"));
    run_for(&mut world, 10);
    let mut taken = 0;
    for _ in 0..2 {
        let before = taken;
        for _ in 0..100 {
            match world.app_mut().ws.publish("/r", Message::Text(&"x".repeat(1000))) {
                Ok(()) => taken += 1,
                Err(Refused) => assert!(world.app().ws.held() < 20_000),
            }
        }
        assert!((5..=10).contains(&(taken - before)), "{taken}");
        run_for(&mut world, 10);
    }
    assert_eq!(world.app().ws.counters().publish_refused, 200 - taken);
    assert_eq!(messages(world.net().sent(ear)).len() as u64, taken);
}

/// Passes a message on to all in the room twice over, and says how it went.
struct Twice(Log);

impl ws::Handler for Twice {
    fn open(&mut self, peer: &mut Peer<'_>, room: Option<&str>, _: Option<&str>) {
        peer.join(room.unwrap_or("")).unwrap();
    }

    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) {
        let went = [(); 2].map(|()| peer.publish("/r", message).is_ok());
        self.0.say(format!("{went:?}"));
    }
}

#[test]
fn the_first_that_a_handler_publishes_of_each_message_is_taken_and_what_goes_over_the_bound_is_refused() {
    let log = Log::default();
    let mut app = Duo::new(0, 1);
    app.ws.set_gathered(1000);
    let route = app.ws.add(Options::default(), Kind::Custom(Box::new(Twice(log.clone()))));
    app.serve.push(Serve::Ws(route));
    let (mut world, listener) = world(app, Settings::default());
    let ear = world.net_mut().arrive(listener, opened("/r"));
    let speaker = world.net_mut().arrive(listener, opened("/r"));
    run_for(&mut world, 10);
    let burst: Vec<u8> = (0..50).flat_map(|n| text(&format!("{n:0>1000}"))).collect();
    world.net_mut().go_on(speaker, Script::new().send(burst));
    for _ in 0..200 {
        world.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(numbers(world.net().sent(ear)), (0..50).collect::<Vec<_>>());
    assert_eq!(log.take(), vec!["[true, false]"; 50]);
    assert_eq!(world.app().ws.counters().publish_refused, 50);
}

#[test]
fn while_one_worker_takes_nothing_those_who_speak_on_another_wait_though_the_home_between_them_takes_all() {
    let room = (0..).map(|n| format!("/{n}")).find(|name| ws::home(name, 3) == 1).unwrap();
    let make = |worker| {
        let mut app = Duo::new(worker, 3);
        app.ws.set_gathered(10_000);
        let route = app.ws.add(Options::default(), Kind::Room);
        app.serve.push(Serve::Ws(route));
        world(app, Settings::default())
    };
    let (mut worlds, mut ids) = (Vec::new(), Vec::new());
    for worker in 0..3 {
        let (mut world, listener) = make(worker);
        ids.push(world.net_mut().arrive(listener, opened(&room)));
        worlds.push(world);
    }
    // Words for the last worker lie in `kept` from the moment when all have met.
    let mut kept: Vec<(u16, Vec<ws::Remote>)> = Vec::new();
    let mut round = |worlds: &mut Vec<World>, stalls: bool| {
        for at in 0..3 {
            worlds[at].turn(Some(Duration::from_millis(1))).unwrap();
            for (to, words) in std::mem::take(&mut worlds[at].app_mut().ws_out) {
                match to {
                    2 => kept.push((at as u16, words)),
                    _ => worlds[to as usize].with_app(|app, cx| app.ws.on_remote(at as u16, words, cx)),
                }
            }
        }
        if !stalls {
            for (from, words) in kept.drain(..) {
                worlds[2].with_app(|app, cx| app.ws.on_remote(from, words, cx));
            }
        }
    };
    (0..50).for_each(|_| round(&mut worlds, false));
    let burst: Vec<u8> = (0..1000).flat_map(|n| text(&format!("{n:0>1000}"))).collect();
    worlds[0].net_mut().go_on(ids[0], Script::new().send(burst));
    let mut most = [0; 2];
    for _ in 0..500 {
        round(&mut worlds, true);
        (0..2).for_each(|at| most[at] = most[at].max(worlds[at].app().ws.held()));
    }
    assert!(most.iter().all(|most| *most < 60_000), "{most:?} bytes on their way");
    assert!(worlds[0].net().unread(ids[0]) > 800_000, "the speaker is not read");
    (0..1000).for_each(|_| round(&mut worlds, false));
    for at in [1, 2] {
        assert_eq!(numbers(worlds[at].net().sent(ids[at])), (0..1000).collect::<Vec<_>>(), "{at}");
    }
    // What is left is what messages are put together in.
    assert!([0, 1].iter().all(|at| worlds[*at].app().ws.held() < 5000));
}

#[test]
fn what_is_said_to_a_name_that_no_room_can_have_makes_no_room() {
    let mut hub = ws::Hub::new(0, 2, ws::RoomLimits::default());
    for n in 0..100 {
        hub.publish(&format!("{n:0>600}"), Message::Text("x")).unwrap();
    }
    assert_eq!((hub.rooms().count(), hub.held()), (0, 0));
}

#[test]
fn messages_to_single_members_count_as_gathered_so_that_a_flood_of_them_waits_too() {
    let mut hub = ws::Hub::new(0, 1, ws::RoomLimits { gathered: 10_000, ..ws::RoomLimits::default() });
    (0..10).for_each(|_| hub.send(Token::from_bits(5), Message::Text(&"x".repeat(1000))));
    assert_eq!(hub.publish("a", Message::Text("x")), Err(Refused));
}

#[test]
fn a_room_of_ten_thousand_costs_one_note_and_one_write_a_member_and_batch() {
    let mut app = Duo::new(0, 1);
    let route = app.ws.add(Options::default(), Kind::Room);
    app.serve.push(Serve::Ws(route));
    let (mut world, listener) = world(app, Settings { max_connections: 20_000, ..Settings::default() });
    let members: Vec<SimId> = (0..10_000).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    run_for_unchecked(&mut world, 100);
    let before = (*world.counters(), world.net().calls().writes);
    for (n, member) in members.iter().enumerate().take(20) {
        let burst: Vec<u8> = (0..5).flat_map(|k| text(&format!("{:0>128}", 5 * n + k))).collect();
        world.net_mut().go_on(*member, Script::new().send(burst));
        run_for_unchecked(&mut world, 10);
    }
    let after = world.counters();
    assert_eq!(after.notes - before.0.notes, 20 * 10_000);
    assert_eq!(world.net().calls().writes - before.1, 20 * 9_999);
    assert_eq!(numbers(world.net().sent(members[9_999])), (0..100).collect::<Vec<_>>());
}

/// Enters the room "a", says things, and makes a mistake in one call of those whose path is `/bad`.
struct Faulty {
    at: &'static str,
    bad: Vec<Token>,
    log: Log,
}

impl Faulty {
    fn hears(&self, what: &str, token: Token) {
        if self.bad.contains(&token) {
            self.log.say(what);
            assert!(what != self.at, "a mistake in {what}");
        }
    }
}

impl ws::Handler for Faulty {
    fn open(&mut self, peer: &mut Peer<'_>, room: Option<&str>, _: Option<&str>) {
        peer.join("a").unwrap();
        peer.join("b").unwrap();
        if room == Some("/bad") {
            self.bad.push(peer.token());
        }
        peer.send(Message::Text("welcome"));
        self.hears("open", peer.token());
    }

    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) {
        peer.send(message);
        match message {
            Message::Text("boom") => self.hears("message", peer.token()),
            Message::Text("much") => peer.send(Message::Binary(&[b'x'; 20_000])),
            Message::Text("closing") => {
                peer.send(Message::Binary(&[b'x'; 20_000]));
                peer.close(Code::NORMAL, "bye");
            }
            Message::Text("after") => peer.publish("a", message).unwrap(),
            _ => {}
        }
    }

    fn writable(&mut self, peer: &mut Peer<'_>) {
        peer.send(Message::Text("more"));
        self.hears("writable", peer.token());
    }

    fn close(&mut self, token: Token, _: Reason) {
        self.hears("close", token);
    }
}

/// One whose path is `/bad`, beside one that says a word before and after it; what the first was sent, why it ended, what its handler
/// heard.
fn beside_another(at: &'static str, options: Options, script: Script) -> (String, Reason, Vec<String>) {
    let log = Log::default();
    let mut app = Duo::new(0, 1);
    let faulty = Faulty { at, bad: Vec::new(), log: log.clone() };
    let route = app.ws.add(options, Kind::Custom(Box::new(faulty)));
    app.serve.push(Serve::Ws(route));
    let settings = Settings { high_water: 10_000, low_water: 1000, ..Settings::default() };
    let (mut world, listener) = world(app, settings);
    let other = world.net_mut().arrive(listener, opened("/good").send(text("before")));
    let bad = world.net_mut().arrive(listener, script.await_fin().fin());
    run_for(&mut world, 8_000);
    assert_eq!(world.net().closed(bad), Some(CloseHow::Normal), "{at}");
    for room in ["a", "b"] {
        let hub = &world.app().ws;
        assert_eq!((hub.rooms().members(room).count(), hub.rooms().presence(room)), (1, 1), "{at}");
    }
    world.net_mut().go_on(other, Script::new().send(text("after")));
    run_for(&mut world, 10);
    assert_eq!(messages(world.net().sent(other)), ["welcome", "before", "after"], "{at}");
    let [reason] = world.app().reasons()[..] else { panic!("one has ended: {:?}", world.app().ends) };
    (said(&world, bad), reason, log.take())
}

#[test]
fn a_handler_that_panics_costs_its_own_connection_only_which_is_told_1011() {
    let long = "a".repeat(5000);
    // What goes back uncopied, then a mistake, then more, in one read.
    let burst = [text(&long), text("boom"), text("late")].concat();
    let cases = [
        ("open", opened("/bad").send(text("late")), "101, close 1011".to_string(), vec!["open", "close"]),
        (
            "message",
            opened("/bad").wait(10).send(burst),
            format!("101, welcome, {long}, close 1011"),
            vec!["open", "message", "close"],
        ),
        (
            "writable",
            opened("/bad").window(0).send(text("much")).wait(10).window(u64::MAX),
            format!("101, welcome, much, {}, close 1011", "x".repeat(20_000)),
            vec!["open", "writable", "close"],
        ),
    ];
    for (at, script, expected, heard) in cases {
        let (sent, reason, log) = beside_another(at, Options::default(), script);
        assert_eq!((sent, reason, log), (expected, Reason::HandlerFailed, in_order(&heard)), "{at}");
    }
}

fn in_order(words: &[&str]) -> Vec<String> {
    words.iter().map(|words| words.to_string()).collect()
}

#[test]
fn a_handler_that_panics_after_its_close_frame_is_out_ends_it_without_a_second_one() {
    let script = opened("/bad").window(0).send(text("closing")).wait(10).window(u64::MAX);
    let (sent, reason, log) = beside_another("writable", Options::default(), script);
    assert!(sent.ends_with("x, close 1000"), "{}", sent.len());
    assert_eq!((reason, log), (Reason::HandlerFailed, in_order(&["open", "writable", "close"])));
}

#[test]
fn a_handler_that_panics_when_it_is_told_the_end_loses_nothing_and_is_told_once() {
    let close = masked(Opcode::Close, true, &[0x03, 0xe8]);
    let (sent, reason, log) =
        beside_another("close", Options::default(), opened("/bad").send([text("boom"), close].concat()));
    assert_eq!((sent.as_str(), reason), ("101, welcome, boom, close 1000", Reason::WsClosed));
    assert_eq!(log, ["open", "message", "close"]);
}

#[test]
fn a_message_of_which_a_part_has_come_is_thrown_away_when_the_handler_panics() {
    let (mut world, listener) = serving(
        Options::default(),
        Kind::Custom(Box::new(Faulty { at: "writable", bad: Vec::new(), log: Log::default() })),
    );
    let begun = [text("much"), masked(Opcode::Text, false, &[b'y'; 300_000])].concat();
    let script = opened("/bad").window(0).send(text(&"z".repeat(300_000))).send(begun).wait(100);
    let id = world.net_mut().arrive(listener, script.window(u64::MAX).await_fin().fin());
    settle(&mut world);
    assert!(said(&world, id).ends_with("close 1011"));
    assert_eq!(world.app().reasons(), [Reason::HandlerFailed]);
    assert!(world.app().ws.held() <= 64 << 10, "{}", world.app().ws.held());
}

/// A client's handler that makes a mistake in one call, and says at each what it was called with.
struct FaultyClient {
    at: &'static str,
    log: Log,
}

impl FaultyClient {
    fn hears(&self, what: &str, link: &mut Link<'_>) {
        self.log.say(what);
        if what == self.at {
            link.send(Message::Text("half"));
            panic!("a mistake in {what}");
        }
    }
}

impl Drop for FaultyClient {
    fn drop(&mut self) {
        self.log.say("gone");
        assert_ne!(self.at, "drop", "a mistake in drop");
    }
}

impl client::Handler for FaultyClient {
    fn change(&mut self, change: Change<'_>, link: &mut Link<'_>) {
        let what = match change {
            Change::Connecting => "connecting",
            Change::Open(_) => "open",
            Change::Closing(_) => "closing",
            Change::Lost(_) => "lost",
            Change::Waiting(_) => "waiting",
            Change::Ended(_) => "ended",
        };
        self.hears(what, link);
    }

    fn resubscribe(&mut self, link: &mut Link<'_>) {
        link.send(Message::Text("hello"));
        self.hears("resubscribe", link);
    }

    fn message(&mut self, _: Message<'_>, link: &mut Link<'_>) {
        self.hears("message", link);
    }
}

/// Welcomes, and closes with `bye` when told `hello`.
struct Brief(Log);

impl ws::Handler for Brief {
    fn open(&mut self, peer: &mut Peer<'_>, _: Option<&str>, _: Option<&str>) {
        peer.send(Message::Text("welcome"));
    }

    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) {
        self.0.say(String::from_utf8_lossy(message.bytes()));
        peer.close(Code::NORMAL, "bye");
    }
}

#[test]
fn a_client_whose_handler_panics_ends_for_good_and_takes_nothing_with_it() {
    let all = "connecting open resubscribe message closing lost waiting";
    for at in all.split(' ') {
        let (log, there) = (Log::default(), Log::default());
        let (mut world, listener) = serving(Options::default(), Kind::Custom(Box::new(Brief(there.clone()))));
        let target = Target::Tcp(world.net().address(listener));
        let client = Client::new(
            client::Options::new(target, "a", "/"),
            Box::new(FaultyClient { at, log: log.clone() }),
        );
        let me = world.with_app(|_, cx| cx.spawn(Talk::WsClient(client.unwrap())).ok().unwrap());
        settle(&mut world);
        let heard = &all[..all.find(at).unwrap() + at.len()];
        assert_eq!(log.take().join(" "), format!("{heard} gone"));
        let ends = &world.app().ends;
        let mine: Vec<Reason> = ends.iter().filter(|end| end.0 == me).map(|end| end.1).collect();
        assert_eq!(mine, [Reason::HandlerFailed], "{at}");
        // What the server was told: nothing of the call that went wrong; what was said before.
        let said = match at {
            "connecting" | "open" | "resubscribe" => "",
            _ => "hello",
        };
        assert_eq!(there.take().join(" "), said, "{at}");
        if let Some((_, stream)) = world.net().outgoing().first() {
            let sent = in_words(world.net().sent(*stream));
            let tells = matches!(at, "open" | "resubscribe" | "message" | "closing");
            assert_eq!(sent.ends_with("close 1011"), tells, "{at}: {sent}");
        }
        let id = world.net_mut().arrive(listener, opened("/").send(text("still here")));
        run_for(&mut world, 10);
        assert_eq!(self::said(&world, id), "101, welcome, close 1000", "{at}");
    }
}

#[test]
fn a_client_whose_handler_panics_when_it_is_told_the_end_or_thrown_away_takes_nothing_with_it() {
    for at in ["ended", "drop"] {
        let log = Log::default();
        let (mut world, listener) = serving(Options::default(), Kind::Echo);
        let target = Target::Tcp(world.net().address(listener));
        let handler = FaultyClient { at, log: log.clone() };
        let client = Client::new(client::Options::new(target, "a", "/"), Box::new(handler)).unwrap();
        let me = world.with_app(|_, cx| cx.spawn(Talk::WsClient(client)).ok().unwrap());
        run_for(&mut world, 100);
        world.with_app(|_, cx| cx.notify(me, ws::Note::Close(Code::NORMAL, "".into()).into()));
        settle(&mut world);
        assert_eq!(log.take().join(" "), "connecting open resubscribe message closing ended gone");
        assert_eq!(world.app().reasons(), [Reason::Kicked, Reason::WsClosed]);
    }
}
