//! What is said to many, in the simulator: bursts, members who take them at once or not at all, several workers.
#![cfg(feature = "ws")]

mod support;
mod talk;

use evenkeel::guard::Slow;
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Script, SimId, SimListener, SimNet};
use evenkeel::reactor::{Reactor, Settings, Token};
use evenkeel::wire::ws::{Code, Deflater, Header, Opcode, frame};
use evenkeel::ws::{self, Kind, Message, Options, Peer, RoomLimits};
use std::time::Duration;
use support::run_for;
use talk::{Duo, Serve, Talk, in_words, masked, messages, request, text};

type World = Reactor<Duo, SimNet>;

fn world(app: Duo) -> (World, SimListener) {
    let mut net = SimNet::new(7);
    let listener = net.listen();
    net.log_limit = 64 << 20;
    let mut reactor = Reactor::new(app, net, Settings::default());
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

fn serving(options: Options) -> (World, SimListener) {
    world(Duo::ws(options, Kind::Room))
}

fn opened(path: &str) -> Script {
    Script::new().send(request(path)).await_seen("\r\n\r\n")
}

fn deflating(path: &str) -> Script {
    let head = request(path).replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    Script::new().send(head).await_seen("\r\n\r\n")
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let (mut small, mut out) = (Vec::new(), Vec::new());
    Deflater::new(9, 15, false).unwrap().deflate(payload, &mut small).unwrap();
    let header = Header::new(Opcode::Text, true, true, Some([1, 2, 3, 4]), small.len() as u64).unwrap();
    frame::emit_frame(&header, &small, &mut out);
    out
}

/// So many messages of a kilobyte each.
fn kilobytes(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| text(&format!("{n:0>1000}"))).collect()
}

/// Three who listen and take everything at once, and four who say 240 messages each, in one turn.
fn said_in_one_turn(slow: Slow) -> (World, Vec<SimId>) {
    let (mut world, listener) = serving(Options { slow, ..Options::default() });
    let ears: Vec<SimId> = (0..3).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    let speakers: Vec<SimId> = (0..4).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    run_for(&mut world, 10);
    for id in &speakers {
        world.net_mut().go_on(*id, Script::new().send(kilobytes(240)));
    }
    run_for(&mut world, 1000);
    (world, ears)
}

#[test]
fn a_member_that_takes_everything_at_once_is_not_slow_however_much_is_said_in_one_turn() {
    for slow in [Slow::Close, Slow::DropOldest, Slow::DropNewest, Slow::Latest] {
        let (world, ears) = said_in_one_turn(slow);
        assert_eq!((world.app().reasons(), world.app().ws.counters().lost), (vec![], [0; 4]), "{slow:?}");
        for id in ears {
            assert_eq!(messages(world.net().sent(id)).len(), 4 * 240, "{slow:?}");
        }
    }
}

#[test]
fn two_kilobytes_of_one_client_do_not_end_all_others_in_a_room() {
    let (mut world, listener) = serving(Options::default());
    let ears: Vec<SimId> = (0..3).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    let speaker = world.net_mut().arrive(listener, deflating("/r"));
    run_for(&mut world, 10);
    let burst = deflated(&[b'a'; 100_000]).repeat(10);
    assert!(burst.len() < 2000);
    world.net_mut().go_on(speaker, Script::new().send(burst));
    run_for(&mut world, 1000);
    assert_eq!(world.app().reasons(), []);
    for id in ears {
        assert_eq!(messages(world.net().sent(id)).len(), 10);
    }
}

#[test]
fn members_who_speak_in_a_burst_get_all_of_it_but_what_they_said_themselves() {
    let (mut world, listener) = serving(Options::default());
    let speakers: Vec<SimId> = (0..4).map(|_| world.net_mut().arrive(listener, opened("/r"))).collect();
    run_for(&mut world, 10);
    for (n, id) in speakers.iter().enumerate() {
        let burst: Vec<u8> = (0..240).flat_map(|k| text(&format!("{n}.{k:0>998}"))).collect();
        world.net_mut().go_on(*id, Script::new().send(burst));
    }
    run_for(&mut world, 1000);
    assert_eq!(world.app().reasons(), []);
    for (n, id) in speakers.iter().enumerate() {
        let heard = messages(world.net().sent(*id));
        for m in 0..4 {
            let of = heard.iter().filter_map(|words| words.strip_prefix(&format!("{m}.")));
            let numbers: Vec<usize> = of.map(|number| number.parse().unwrap()).collect();
            let expected: Vec<usize> = if n == m { Vec::new() } else { (0..240).collect() };
            assert_eq!(numbers, expected, "what {m} said to {n}");
        }
    }
}

#[test]
fn a_burst_is_held_against_a_member_that_does_not_take_it_only_when_more_is_said() {
    for slow in [Slow::Close, Slow::DropOldest, Slow::DropNewest, Slow::Latest] {
        let (mut world, listener) = serving(Options { slow, ..Options::default() });
        let deaf = world.net_mut().arrive(listener, opened("/r").window(0));
        let speaker = world.net_mut().arrive(listener, opened("/r"));
        run_for(&mut world, 10);
        // 256 KiB begin to leave, the rest waits.
        let say = |world: &mut World, count: usize| {
            world.net_mut().go_on(speaker, Script::new().send(kilobytes(count)));
            run_for(world, 110);
        };
        say(&mut world, 250);
        say(&mut world, 250);
        assert_eq!(world.app().reasons(), [], "{slow:?}");
        say(&mut world, 250);
        assert_eq!(world.app().reasons(), [], "{slow:?}: what came later has bounds of its own");
        say(&mut world, 250);
        world.net_mut().go_on(deaf, Script::new().window(u64::MAX));
        run_for(&mut world, 1000);
        let heard = messages(world.net().sent(deaf)).len();
        let lost = world.app().ws.counters().lost[slow as usize] as usize;
        match slow {
            Slow::Close => assert_eq!(world.app().ws.counters().too_slow, 1),
            _ => assert_eq!((heard + lost, world.app().reasons()), (1000, vec![]), "{slow:?}"),
        }
        match slow {
            Slow::Close => {}
            // The burst is older than what waits behind it.
            Slow::DropOldest => assert!((500..550).contains(&heard), "{heard}"),
            Slow::DropNewest => assert!((750..770).contains(&heard), "{heard}"),
            Slow::Latest => assert!((250..270).contains(&heard), "{heard}"),
        }
    }
}

/// A room whose newest messages are dropped: a member who reads nothing, with its name, and one who speaks.
fn with_a_deaf_member() -> (World, (SimId, Token), SimId) {
    let (mut world, listener) = serving(Options { slow: Slow::DropNewest, ..Options::default() });
    let deaf = world.net_mut().arrive(listener, opened("/r").window(0));
    run_for(&mut world, 10);
    let token = world.app().ws.rooms().members("/r").next().unwrap();
    let speaker = world.net_mut().arrive(listener, opened("/r"));
    run_for(&mut world, 10);
    (world, (deaf, token), speaker)
}

#[test]
fn a_backlog_keeps_no_more_alive_than_its_bound_and_what_came_in_one_burst() {
    let (mut world, (deaf, token), speaker) = with_a_deaf_member();
    let long = text(&"x".repeat(300_000));
    for _ in 0..50 {
        world.net_mut().go_on(speaker, Script::new().send([&text("short")[..], &long].concat()));
        run_for(&mut world, 110);
    }
    let Some(Talk::Ws(connection)) = world.session(token) else { panic!("{:?}", world.app().reasons()) };
    assert!(connection.shared() <= (256 << 10) + 400_000, "{} bytes", connection.shared());
    // It gets what was kept for it.
    world.net_mut().go_on(deaf, Script::new().window(u64::MAX));
    run_for(&mut world, 100);
    let heard = messages(world.net().sent(deaf));
    assert_eq!(heard.iter().filter(|words| *words == "short").count(), 50);
}

#[test]
fn short_messages_that_wait_in_a_burst_are_weighed_with_what_belongs_to_each_and_bounded_with_it() {
    let (mut world, (deaf, token), speaker) = with_a_deaf_member();
    // 256 KiB begin to leave, the rest waits.
    world.net_mut().go_on(speaker, Script::new().send(kilobytes(300)));
    let mut said = 300;
    for _ in 0..9 {
        world.net_mut().go_on(speaker, Script::new().send(text("x").repeat(40_000)));
        said += 40_000;
        run_for(&mut world, 10);
        let Some(Talk::Ws(connection)) = world.session(token) else { panic!("it is there") };
        let lost = world.app().ws.counters().lost[Slow::DropNewest as usize] as usize;
        // Who sent each, and where it ends.
        assert!(connection.shared() >= (said - lost - 300) * 16, "{} of {said}", connection.shared());
        assert!(connection.shared() <= 6 << 20, "{}", connection.shared());
    }
    world.net_mut().go_on(deaf, Script::new().window(u64::MAX));
    run_for(&mut world, 1000);
    let lost = world.app().ws.counters().lost[Slow::DropNewest as usize] as usize;
    assert_eq!(messages(world.net().sent(deaf)).len() + lost, said);
}

#[test]
fn who_takes_a_burst_of_several_turns_soon_loses_nothing_of_it() {
    for slow in [Slow::Close, Slow::DropOldest, Slow::DropNewest, Slow::Latest] {
        for (pause, whole) in [(8, true), (30, false)] {
            let (mut world, listener) = serving(Options { slow, ..Options::default() });
            let ear = world.net_mut().arrive(listener, opened("/r").window(0));
            let speaker = world.net_mut().arrive(listener, opened("/r"));
            run_for(&mut world, 10);
            for _ in 0..10 {
                world.net_mut().go_on(speaker, Script::new().send(kilobytes(300)));
                run_for(&mut world, pause);
            }
            world.net_mut().go_on(ear, Script::new().window(u64::MAX));
            run_for(&mut world, 1000);
            let heard = messages(world.net().sent(ear)).len();
            assert_eq!(
                heard == 3000 && world.app().reasons().is_empty(),
                whole,
                "{slow:?}, {pause} ms: {heard}"
            );
        }
    }
}

/// One of two workers, with a route of rooms.
fn worker(number: u16) -> (World, SimListener) {
    let mut app = Duo::new(number, 2);
    let route = app.ws.add(Options::default(), Kind::Room);
    app.serve.push(Serve::Ws(route));
    world(app)
}

/// Carries what worker `number` has to say to the other.
fn carry(number: u16, from: &mut World, to: &mut World) {
    for (_, words) in std::mem::take(&mut from.app_mut().ws_out) {
        to.with_app(|app, cx| app.ws.on_remote(number, words, cx));
    }
}

#[test]
fn many_small_words_from_the_home_of_a_room_cost_one_note_a_member_and_turn() {
    let room = (0..).map(|n| format!("/{n}")).find(|name| ws::home(name, 2) == 0).unwrap();
    let ((mut home, at_home), (mut busy, at_busy)) = (worker(0), worker(1));
    let speaker = home.net_mut().arrive(at_home, opened(&room));
    let ears: Vec<SimId> = (0..100).map(|_| busy.net_mut().arrive(at_busy, opened(&room))).collect();
    run_for(&mut home, 50);
    run_for(&mut busy, 50);
    carry(1, &mut busy, &mut home);
    run_for(&mut home, 10);
    home.app_mut().ws_out.clear();
    // While the other worker writes to its many members, this one has many a turn.
    for n in 0..1000 {
        home.net_mut().go_on(speaker, Script::new().send(text(&n.to_string())));
        home.turn(Some(Duration::from_millis(1))).unwrap();
        home.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(home.app().ws_out.len(), 1000);
    let before = busy.counters().notes;
    carry(0, &mut home, &mut busy);
    run_for(&mut busy, 10);
    assert_eq!(busy.counters().notes - before, 100);
    let all: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert!(ears.iter().all(|id| messages(busy.net().sent(*id)) == all));
    run_for(&mut home, 10);
    for world in [&mut home, &mut busy] {
        (0..200).for_each(|_| drop(world.turn(Some(Duration::from_millis(1)))));
        assert_eq!(world.app().ws.held(), 0, "all of it has landed");
    }
}

#[test]
fn a_flood_from_another_worker_does_not_keep_those_on_the_home_of_a_room_from_speaking() {
    let room = (0..).map(|n| format!("/{n}")).find(|name| ws::home(name, 2) == 0).unwrap();
    let ((mut home, at_home), (mut away, at_away)) = (worker(0), worker(1));
    home.app_mut().ws.set_gathered(10_000);
    away.app_mut().ws.set_gathered(10_000);
    let ear = home.net_mut().arrive(at_home, opened(&room));
    let speaker = home.net_mut().arrive(at_home, opened(&room));
    let flood: Vec<SimId> = (0..2).map(|_| away.net_mut().arrive(at_away, opened(&room))).collect();
    let rounds = |home: &mut World, away: &mut World, count: usize| {
        for _ in 0..count {
            away.turn(Some(Duration::from_millis(1))).unwrap();
            carry(1, away, home);
            home.turn(Some(Duration::from_millis(1))).unwrap();
            carry(0, home, away);
        }
    };
    rounds(&mut home, &mut away, 50);
    for id in &flood {
        away.net_mut().go_on(*id, Script::new().send(kilobytes(3000)));
    }
    rounds(&mut home, &mut away, 5);
    home.net_mut().go_on(speaker, Script::new().send(text("hear me")));
    rounds(&mut home, &mut away, 20);
    let heard = messages(home.net().sent(ear));
    assert!(away.net().unread(flood[0]) > 0, "the flood still goes on");
    assert!(heard.len() > 20 && heard.iter().any(|words| words == "hear me"), "{} heard", heard.len());
}

#[test]
fn rooms_whose_names_differ_in_a_number_are_at_home_on_all_workers() {
    for workers in [2, 3, 4, 8] {
        let mut counts = vec![0; workers];
        (0..100).for_each(|n| counts[ws::home(&format!("/rooms/{n:02}"), workers)] += 1);
        let fair = 100 / workers;
        assert!(counts.iter().all(|count| (fair / 3..fair * 2).contains(count)), "{counts:?} on {workers}");
    }
}

fn limited(limits: RoomLimits) -> Duo {
    let mut app = Duo::new(0, 1);
    app.ws = ws::Hub::new(0, 1, limits);
    let route = app.ws.add(Options::default(), Kind::Room);
    app.serve.push(Serve::Ws(route));
    app
}

fn heard(world: &World, id: SimId) -> String {
    in_words(world.net().sent(id))
}

#[test]
fn who_finds_a_room_full_is_told_1013_and_hears_nothing_of_it_and_a_place_that_is_left_is_free() {
    let (mut world, listener) = world(limited(RoomLimits { members: 2, ..RoomLimits::default() }));
    let ids = [(); 3].map(|()| world.net_mut().arrive(listener, opened("/r")));
    run_for(&mut world, 10);
    world.net_mut().go_on(ids[0], Script::new().send(text("hello")));
    run_for(&mut world, 10);
    assert_eq!(ids.map(|id| heard(&world, id)), ["101", "101, hello", "101, close 1013"]);
    assert_eq!((world.app().ws.counters().refused, world.app().ws.rooms().presence("/r")), (1, 2));
    for id in &ids[1..] {
        world.net_mut().go_on(*id, Script::new().send(masked(Opcode::Close, true, &[3, 232])).fin());
    }
    run_for(&mut world, 10);
    assert_eq!(world.app().reasons(), [Reason::WsClosed, Reason::Refused]);
    let later = world.net_mut().arrive(listener, opened("/r"));
    run_for(&mut world, 10);
    world.net_mut().go_on(ids[0], Script::new().send(text("welcome")));
    run_for(&mut world, 10);
    assert_eq!(heard(&world, later), "101, welcome");
}

#[test]
fn when_there_are_as_many_rooms_as_there_may_be_those_that_are_there_can_be_entered_and_no_other() {
    let (mut world, listener) = world(limited(RoomLimits { rooms: 2, ..RoomLimits::default() }));
    let ids = ["/a", "/b", "/c", "/b"].map(|room| {
        let id = world.net_mut().arrive(listener, opened(room));
        run_for(&mut world, 10);
        id
    });
    assert_eq!(ids.map(|id| heard(&world, id)), ["101", "101", "101, close 1013", "101"]);
    world.net_mut().go_on(ids[0], Script::new().fin());
    run_for(&mut world, 10);
    let later = world.net_mut().arrive(listener, opened("/c"));
    run_for(&mut world, 10);
    assert_eq!((heard(&world, later), world.app().ws.rooms().count()), ("101".into(), 2));
}

#[test]
fn the_home_of_a_room_sends_away_who_enters_on_another_worker_when_it_is_full() {
    let limits = RoomLimits { members: 2, ..RoomLimits::default() };
    let room = (0..).map(|n| format!("/{n}")).find(|name| ws::home(name, 2) == 0).unwrap();
    let make = |worker| {
        let mut app = Duo::new(worker, 2);
        app.ws = ws::Hub::new(worker, 2, limits);
        let route = app.ws.add(Options::default(), Kind::Room);
        app.serve.push(Serve::Ws(route));
        world(app)
    };
    let ((mut home, at_home), (mut away, at_away)) = (make(0), make(1));
    let rounds = |home: &mut World, away: &mut World| {
        for _ in 0..5 {
            run_for(away, 1);
            carry(1, away, home);
            run_for(home, 1);
            carry(0, home, away);
        }
    };
    let member = home.net_mut().arrive(at_home, opened(&room));
    home.net_mut().arrive(at_home, opened(&room));
    run_for(&mut home, 10);
    // The other worker has not heard of any member yet.
    let late = away.net_mut().arrive(at_away, opened(&room).await_seen([0x88]).wait(1));
    rounds(&mut home, &mut away);
    assert_eq!(heard(&away, late), "101, close 1013");
    away.net_mut().go_on(late, Script::new().send(masked(Opcode::Close, true, &[3, 245])).fin());
    rounds(&mut home, &mut away);
    assert_eq!(away.app().reasons(), [Reason::Kicked]);
    assert_eq!([&home, &away].map(|world| world.app().ws.rooms().presence(&room)), [2, 0]);
    // A place is left, and taken by one on the other worker, who is no member too many.
    home.net_mut().go_on(member, Script::new().fin());
    rounds(&mut home, &mut away);
    let next = away.net_mut().arrive(at_away, opened(&room));
    rounds(&mut home, &mut away);
    assert_eq!((heard(&away, next), home.app().ws.rooms().presence(&room)), ("101".into(), 2));
}

#[test]
fn what_is_said_on_a_worker_where_nobody_is_in_the_room_reaches_its_members_at_home() {
    let room = (0..).map(|n| format!("/{n}")).find(|name| ws::home(name, 2) == 0).unwrap();
    let ((mut home, at_home), (mut away, _)) = (worker(0), worker(1));
    let ear = home.net_mut().arrive(at_home, opened(&room));
    run_for(&mut home, 10);
    away.with_app(|app, _| app.ws.publish(&room, Message::Text("from afar")).unwrap());
    run_for(&mut away, 10);
    carry(1, &mut away, &mut home);
    run_for(&mut home, 10);
    assert_eq!(heard(&home, ear), "101, from afar");
    assert_eq!(away.app().ws.rooms().count(), 0, "the room was there for this message only");
}

#[test]
fn who_comes_into_a_room_on_another_worker_is_told_there_how_many_were_at_home_before() {
    let room = (0..).map(|n| format!("/{n}")).find(|name| ws::home(name, 2) == 0).unwrap();
    let ((mut home, at_home), (mut away, at_away)) = (worker(0), worker(1));
    let first = home.net_mut().arrive(at_home, opened(&room));
    home.net_mut().arrive(at_home, opened(&room));
    run_for(&mut home, 10);
    let last = away.net_mut().arrive(at_away, opened(&room));
    let counts = |home: &mut World, away: &mut World| {
        run_for(away, 10);
        carry(1, away, home);
        run_for(home, 10);
        carry(0, home, away);
        [home, away].map(|world| world.app().ws.rooms().presence(&room))
    };
    assert_eq!(counts(&mut home, &mut away), [3, 3]);
    home.net_mut().go_on(first, Script::new().fin());
    assert_eq!(counts(&mut home, &mut away), [2, 2]);
    away.net_mut().go_on(last, Script::new().fin());
    assert_eq!(counts(&mut home, &mut away), [1, 0]);
}

/// Enters, leaves and says what it is told to, and answers with what came of it.
struct Porter;

impl ws::Handler for Porter {
    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) {
        let Message::Text(words) = message else { return };
        let came = match words.split_once(' ').unwrap_or((words, "")) {
            ("join", room) => format!("{:?}", peer.join(room)),
            ("leave", room) => format!("{}", peer.leave(room)),
            ("long", len) => format!("{:?}", peer.join(&"x".repeat(len.parse().unwrap()))),
            ("close", _) => {
                peer.close(Code::POLICY, "first");
                peer.close(Code::NORMAL, "second");
                "never sent".to_string()
            }
            (room, words) => format!("{:?}", peer.publish(room, Message::Text(words))),
        };
        peer.send(Message::Text(&came));
    }
}

/// A peer of a [`Porter`], who says these one after the other, and what it is answered.
fn portered(world: &mut World, id: SimId, words: &[&str]) -> Vec<String> {
    let before = messages(world.net().sent(id)).len();
    for words in words {
        world.net_mut().go_on(id, Script::new().send(text(words)));
        run_for(world, 10);
    }
    messages(world.net().sent(id)).split_off(before)
}

#[test]
fn a_handler_that_may_not_enter_a_room_is_told_why_and_stays_where_it_was() {
    let mut app = Duo::new(0, 1);
    app.ws = ws::Hub::new(0, 1, RoomLimits { members: 2, rooms: 65, ..RoomLimits::default() });
    let route = app.ws.add(Options::default(), Kind::Custom(Box::new(Porter)));
    app.serve.push(Serve::Ws(route));
    let (mut world, listener) = world(app);
    let [one, two, three] = [(); 3].map(|()| world.net_mut().arrive(listener, opened("/")));
    run_for(&mut world, 10);
    assert_eq!(
        portered(&mut world, one, &["join", "long 513", "long 512"]),
        ["Err(Name)", "Err(Name)", "Ok(())"]
    );
    assert_eq!(portered(&mut world, two, &["join a", "join a"]), ["Ok(())", "Ok(())"]);
    assert_eq!(portered(&mut world, one, &["join a", "join a"]), ["Ok(())", "Ok(())"]);
    assert_eq!(portered(&mut world, three, &["join a", "leave a"]), ["Err(Full)", "false"]);
    let rooms: Vec<String> = (0..63).map(|n| format!("join {n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let came = portered(&mut world, one, &rooms);
    assert!(came[..62].iter().all(|came| came == "Ok(())"), "{came:?}");
    assert_eq!(came[62], "Err(TooMany)", "one connection is in 64 rooms at most");
    assert_eq!(portered(&mut world, three, &["join b", "join c"]), ["Ok(())", "Err(TooMany)"], "of 65 rooms");
    // What it entered it is in, each once, and out of when it leaves.
    let before = messages(world.net().sent(one)).len();
    let came = portered(&mut world, two, &["a x", "0 y", "61 z", "leave a", "leave a"]);
    assert_eq!(came, ["Ok(())", "Ok(())", "Ok(())", "true", "false"]);
    portered(&mut world, one, &["leave 61", "leave 61"]);
    assert_eq!(messages(world.net().sent(one))[before..], ["x", "y", "z", "true", "false"]);
    assert_eq!(world.app().ws.rooms().presence("a"), 1);
    for id in [one, two, three] {
        world.net_mut().go_on(id, Script::new().fin());
    }
    run_for(&mut world, 10);
    assert_eq!((world.app().ws.rooms().count(), world.app().ws.rooms().seated()), (0, 0));
}

#[test]
fn the_first_close_of_a_handler_stands_and_nothing_is_sent_behind_it() {
    let (mut world, listener) = world(Duo::ws(Options::default(), Kind::Custom(Box::new(Porter))));
    let id = world.net_mut().arrive(listener, opened("/").send(text("close")));
    run_for(&mut world, 10);
    assert_eq!(heard(&world, id), "101, close 1008");
}
