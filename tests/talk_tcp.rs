//! Raw TCP in the simulator: echo, lines, handlers, and a client that comes back.
#![cfg(feature = "tcp")]

mod support;
mod talk;

use evenkeel::guard::{Bounds, Refused, Slow};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Chaos, Plan, Random, Script, SimId, SimListener, SimNet};
use evenkeel::reactor::{CloseHow, Reactor, Settings, Target, Token, Turn};
use evenkeel::tcp::client::{self, Change, Client, Link};
use evenkeel::tcp::{self, Kind, Options};
use std::time::Duration;
use support::{run_for, run_for_unchecked, settle};
use talk::{Duo, Log, Note, Serve, Talk};

type World = Reactor<Duo, SimNet>;

fn serving(options: Options, kind: Kind, settings: Settings) -> (World, SimListener) {
    let mut net = SimNet::new(7);
    let listener = net.listen();
    let mut reactor = Reactor::new(Duo::tcp(options, kind), net, settings);
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

fn sent(world: &World, id: SimId) -> String {
    String::from_utf8_lossy(world.net().sent(id)).into_owned()
}

#[test]
fn echo_costs_one_read_and_one_write() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo, Settings::default());
    let id = world.net_mut().arrive(listener, Script::new());
    run_for(&mut world, 10);
    for size in [20, 16 << 10] {
        let before = world.net().calls();
        world.net_mut().go_on(id, Script::new().send(vec![b'x'; size]));
        run_for(&mut world, 10);
        let after = world.net().calls();
        assert_eq!((after.reads - before.reads, after.writes - before.writes), (1, 1));
    }
    assert_eq!(world.net().sent_len(id), 20 + (16 << 10));
}

#[test]
fn a_peer_that_shuts_down_its_writing_side_still_gets_its_answer() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo, Settings::default());
    let much: Vec<u8> = (0..2_000_000u32).map(|n| n as u8).collect();
    let script = Script::new().window(1000).send(&much).fin().wait(5000).window(u64::MAX);
    let id = world.net_mut().arrive(listener, script);
    settle(&mut world);
    assert!(world.net().sent(id) == much);
    assert_eq!(
        (world.app().reasons(), world.net().closed(id)),
        (vec![Reason::PeerClosed], Some(CloseHow::Normal))
    );
}

#[test]
fn a_peer_that_does_not_take_its_echo_is_not_read_and_then_closed() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo, Settings::default());
    let id = world.net_mut().arrive(listener, Script::new().window(0).send(vec![0; 8 << 20]));
    run_for(&mut world, 1000);
    assert!(world.net().unread(id) > 7 << 20, "held back");
    settle(&mut world);
    assert_eq!(world.app().reasons(), [Reason::WriteStalled]);
}

#[test]
fn a_line_goes_to_all_others_and_half_a_line_to_nobody() {
    let (mut world, listener) = serving(Options::default(), Kind::Lines, Settings::default());
    let peers: Vec<SimId> = (0..3).map(|_| world.net_mut().arrive(listener, Script::new())).collect();
    run_for(&mut world, 10);
    let mut say = |n: usize, words: &str| {
        world.net_mut().go_on(peers[n], Script::new().send(words));
        run_for(&mut world, 10);
    };
    say(0, "a\nb\nhal");
    say(1, "c\r\n");
    say(0, "f\nlost");
    say(2, "\n");
    assert_eq!(
        peers.iter().map(|id| sent(&world, *id)).collect::<Vec<_>>(),
        ["c\r\n\n", "a\nb\nhalf\n\n", "a\nb\nc\r\nhalf\n"]
    );
    for id in peers {
        world.net_mut().go_on(id, Script::new().fin());
    }
    settle(&mut world);
    assert_eq!(world.app().reasons(), [Reason::PeerClosed; 3]);
}

#[test]
fn a_line_over_the_limit_ends_the_connection_and_is_counted() {
    for (bytes, ends) in
        [("123456789\n", false), ("1234567890\n", true), ("1234567890", true), ("123456789", false)]
    {
        let options = Options { line_size: 10, ..Options::default() };
        let (mut world, listener) = serving(options, Kind::Lines, Settings::default());
        let id = world.net_mut().arrive(listener, Script::new().send(format!("ok\n{bytes}")));
        run_for(&mut world, 100);
        assert_eq!(world.net().fin_sent(id), ends, "{bytes:?}");
        if ends {
            world.net_mut().go_on(id, Script::new().fin());
            settle(&mut world);
            assert_eq!(
                (world.app().reasons(), world.app().tcp.counters().long_lines),
                (vec![Reason::LineTooLong], 1)
            );
        }
    }
}

#[test]
fn one_that_never_reads_is_handled_by_each_policy_and_delays_nobody() {
    for slow in [Slow::Close, Slow::DropOldest, Slow::DropNewest, Slow::Latest] {
        let options = Options { slow, bounds: Bounds { messages: 5, bytes: 1 << 20 }, ..Options::default() };
        let settings = Settings { high_water: 4096, low_water: 1024, ..Settings::default() };
        let (mut world, listener) = serving(options, Kind::Lines, settings);
        let listening: Vec<SimId> =
            (0..20).map(|_| world.net_mut().arrive(listener, Script::new())).collect();
        let deaf = world.net_mut().arrive(listener, Script::new().window(0));
        let line = |n: usize| format!("{n:0>200}\n");
        let speaker = (0..60).fold(Script::new().wait(10), |script, n| script.send(line(n)).wait(10));
        world.net_mut().arrive(listener, speaker);
        run_for_unchecked(&mut world, 1000);
        let all: String = (0..60).map(line).collect();
        assert!(listening.iter().all(|id| sent(&world, *id) == all), "{slow:?}");
        world.net_mut().go_on(deaf, Script::new().window(u64::MAX));
        run_for(&mut world, 1000);
        let got: Vec<usize> = sent(&world, deaf).lines().map(|line| line.parse().unwrap()).collect();
        let begun = got.iter().zip(0..).take_while(|(a, b)| **a == *b).count();
        let counters = world.app().tcp.counters();
        match slow {
            Slow::Close => {
                assert_eq!((counters.too_slow, world.app().reasons()), (1, vec![Reason::SlowConsumer]))
            }
            Slow::DropOldest => assert_eq!(got[begun..], [55, 56, 57, 58, 59]),
            Slow::DropNewest => assert_eq!(got.len(), begun),
            Slow::Latest => assert_eq!(got[begun..], [59]),
        }
        assert!(slow == Slow::Close || got.len() as u64 + counters.lost.iter().sum::<u64>() == 60);
    }
}

#[test]
fn lines_said_in_one_turn_do_not_end_those_who_take_them_at_once() {
    let (mut world, listener) = serving(Options::default(), Kind::Lines, Settings::default());
    let ear = world.net_mut().arrive(listener, Script::new());
    let speakers: Vec<SimId> = (0..12).map(|_| world.net_mut().arrive(listener, Script::new())).collect();
    run_for(&mut world, 10);
    for id in &speakers {
        let burst: Vec<u8> = (0..60).flat_map(|n| format!("{n:0>1000}\n").into_bytes()).collect();
        world.net_mut().go_on(*id, Script::new().send(burst));
    }
    run_for(&mut world, 1000);
    assert_eq!(world.app().reasons(), []);
    assert_eq!(world.net().sent_len(ear), 12 * 60 * 1001);
}

/// One of two workers, with a service of lines.
fn worker(number: u16) -> (World, SimListener) {
    let mut app = Duo::new(number, 2);
    let service = app.tcp.add(Options::default(), Kind::Lines);
    app.serve.push(Serve::Tcp(service));
    let mut net = SimNet::new(7);
    let listener = net.listen();
    let mut reactor = Reactor::new(app, net, Settings::default());
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

#[test]
fn many_lines_from_another_worker_cost_one_note_a_member_and_turn() {
    let ((mut one, at_one), (mut busy, at_busy)) = (worker(0), worker(1));
    let speaker = one.net_mut().arrive(at_one, Script::new());
    let ears: Vec<SimId> = (0..100).map(|_| busy.net_mut().arrive(at_busy, Script::new())).collect();
    run_for(&mut one, 10);
    run_for(&mut busy, 10);
    for n in 0..1000 {
        one.net_mut().go_on(speaker, Script::new().send(format!("{n}\n")));
        one.turn(Some(Duration::from_millis(1))).unwrap();
        one.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(one.app().tcp_out.len(), 1000);
    let before = busy.counters().notes;
    for remote in std::mem::take(&mut one.app_mut().tcp_out) {
        busy.app_mut().tcp.on_remote(&remote);
    }
    // What is said here meanwhile goes with it.
    busy.net_mut().go_on(ears[0], Script::new().send("here\n"));
    run_for(&mut busy, 10);
    assert_eq!(busy.counters().notes - before, 100);
    let all: String = (0..1000).map(|n| format!("{n}\n")).collect();
    assert_eq!(sent(&busy, ears[0]), all);
    assert!(ears[1..].iter().all(|id| sent(&busy, *id) == format!("{all}here\n")));
    busy.app_mut().tcp_out.clear();
    assert_eq!((one.app().tcp.held(), busy.app().tcp.held()), (0, 0), "all of it has landed");
}

#[test]
fn what_was_said_on_another_worker_is_heard_here() {
    let ((mut a, la), (mut b, lb)) = (worker(0), worker(1));
    let here = b.net_mut().arrive(lb, Script::new());
    a.net_mut().arrive(la, Script::new().send("over there\n"));
    run_for(&mut a, 10);
    run_for(&mut b, 10);
    for remote in std::mem::take(&mut a.app_mut().tcp_out) {
        b.app_mut().tcp.on_remote(&remote);
    }
    run_for(&mut b, 10);
    assert_eq!((sent(&b, here), b.app().tcp_out.len()), ("over there\n".into(), 0));
}

/// What is gathered in a turn in the tests of that bound, in bytes.
const GATHERED: usize = 10_000;

/// Turns of at most a millisecond, and the most that was on its way between two of them.
fn turns(world: &mut World, count: usize) -> usize {
    let mut most = 0;
    for _ in 0..count {
        world.turn(Some(Duration::from_millis(1))).unwrap();
        most = most.max(world.app().tcp.held());
    }
    most
}

#[test]
fn many_who_speak_at_once_are_gathered_a_few_at_a_time_and_all_is_heard_in_order_even_from_those_who_left() {
    let options = Options { gathered: GATHERED, ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Lines, Settings::default());
    let ear = world.net_mut().arrive(listener, Script::new());
    let mut speakers: Vec<SimId> = Vec::new();
    for _ in 0..50 {
        speakers.push(world.net_mut().arrive(listener, Script::new()));
    }
    run_for_unchecked(&mut world, 10);
    for (who, id) in speakers.iter().enumerate() {
        let lines: String = (0..20).map(|n| format!("{who:02} {n:0>996}\n")).collect();
        world.net_mut().go_on(*id, Script::new().send(lines).fin());
    }
    let most = turns(&mut world, 500);
    assert!((GATHERED..4 * GATHERED).contains(&most), "{most} bytes at once");
    let heard = sent(&world, ear);
    assert_eq!(heard.lines().count(), 50 * 20);
    for who in 0..50 {
        let of = |line: &&str| line.starts_with(&format!("{who:02} "));
        let numbers: Vec<usize> = heard.lines().filter(of).map(|line| line[3..].parse().unwrap()).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "all from {who}, in order");
    }
    assert!(world.app().tcp.counters().waits >= 49, "{:?}", world.app().tcp.counters());
}

#[test]
fn that_a_speaker_has_to_wait_is_counted_once_each_time() {
    let options = Options { gathered: GATHERED, ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Lines, Settings::default());
    let ear = world.net_mut().arrive(listener, Script::new());
    run_for(&mut world, 10);
    let lines = format!("{:0>1$}\n", 7, GATHERED).repeat(10);
    for _ in 0..2 {
        world.net_mut().arrive(listener, Script::new().send(&lines));
    }
    turns(&mut world, 100);
    assert_eq!(sent(&world, ear).len(), 2 * lines.len());
    // Each behind each of its lines but the last, and one before its first.
    assert_eq!(world.app().tcp.counters().waits, 19);
}

#[test]
fn one_who_always_has_something_to_say_does_not_keep_the_others_from_it() {
    let options = Options { gathered: 1000, ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Lines, Settings::default());
    let ear = world.net_mut().arrive(listener, Script::new());
    for who in 0..4 {
        let lines: String = (0..200).map(|_| format!("{who}{:0>998}\n", "")).collect();
        world.net_mut().arrive(listener, Script::new().send(lines));
    }
    turns(&mut world, 40);
    let heard = sent(&world, ear);
    let count = |who: usize| heard.lines().filter(|line| line.starts_with(&who.to_string())).count();
    let counts: Vec<usize> = (0..4).map(count).collect();
    let most = counts.iter().max().unwrap();
    assert!(*most >= 5 && counts.iter().all(|count| count + 2 >= *most), "{counts:?}");
}

#[test]
fn while_another_worker_takes_nothing_speakers_wait_and_go_on_when_it_does() {
    let mut app = Duo::new(0, 2);
    let service = app.tcp.add(Options { gathered: GATHERED, ..Options::default() }, Kind::Lines);
    app.serve.push(Serve::Tcp(service));
    let mut net = SimNet::new(7);
    let listener = net.listen();
    let mut world = Reactor::new(app, net, Settings::default());
    world.add_listener(listener).unwrap();
    let line = format!("{:0>999}\n", "");
    let id = world.net_mut().arrive(listener, Script::new().send(line.repeat(1000)));
    let most = turns(&mut world, 300);
    assert!((4 * GATHERED..6 * GATHERED).contains(&most), "{most} bytes on their way");
    assert!(world.net().unread(id) > 900 * 1000 - (64 << 10), "it is not read");
    assert_eq!(world.app_mut().tcp.publish(service, b"x"), Err(Refused), "nor is a program heard");
    assert!(matches!(world.next(), Turn::After(wait) if !wait.is_zero()), "and nothing spins meanwhile");
    for _ in 0..100 {
        world.app_mut().tcp_out.clear();
        turns(&mut world, 5);
    }
    assert_eq!((world.app().tcp.counters().published, world.net().unread(id)), (1000, 0));
}

#[test]
fn what_a_program_publishes_over_the_bound_is_refused_and_counted_and_nothing_of_it_is_kept() {
    let options = Options { gathered: GATHERED, ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Lines, Settings::default());
    let ear = world.net_mut().arrive(listener, Script::new());
    run_for(&mut world, 10);
    let line = format!("{:0>999}\n", "");
    let mut taken = 0;
    for _ in 0..2 {
        let before = taken;
        for _ in 0..100 {
            match world.app_mut().tcp.publish(tcp::ServiceId(0), line.as_bytes()) {
                Ok(()) => taken += 1,
                Err(Refused) => assert!(world.app().tcp.held() < 2 * GATHERED),
            }
        }
        assert!((5..=10).contains(&(taken - before)), "{taken}");
        run_for(&mut world, 10);
    }
    let counters = world.app().tcp.counters();
    assert_eq!((counters.published, counters.publish_refused), (taken, 200 - taken));
    assert_eq!(sent(&world, ear).lines().count() as u64, taken);
}

#[test]
fn the_bound_of_all_services_is_shared_by_them_and_never_above_their_own() {
    let mut hub = tcp::Hub::new(0, 1);
    let ids =
        [GATHERED, 100].map(|gathered| hub.add(Options { gathered, ..Options::default() }, Kind::Lines));
    hub.set_gathered(2000);
    let taken = ids.map(|id| (0..100).take_while(|_| hub.publish(id, &[b'x'; 500]).is_ok()).count());
    assert_eq!(taken, [2, 1]);
}

/// Passes every line on, as long as it is taken.
#[test]
fn a_line_that_came_in_pieces_does_not_hide_a_shorter_one_behind_it() {
    let (mut world, listener) = serving(Options::default(), Kind::Lines, Settings::default());
    let ear = world.net_mut().arrive(listener, Script::new());
    let mouth = world.net_mut().arrive(listener, Script::new());
    run_for(&mut world, 10);
    for (said, heard) in [("abcdef", ""), ("\nx\ny", "abcdef\nx\n"), ("\n", "abcdef\nx\ny\n")] {
        world.net_mut().go_on(mouth, Script::new().send(said));
        run_for(&mut world, 10);
        assert_eq!(sent(&world, ear), heard);
    }
}

#[test]
fn whoever_was_behind_and_has_caught_up_hears_the_next_line_at_once() {
    let bounds = Bounds { messages: 1000, bytes: 1 << 20 };
    let options = Options { bounds, ..Options::default() };
    let settings = Settings { high_water: 4096, low_water: 1024, ..Settings::default() };
    let (mut world, listener) = serving(options, Kind::Lines, settings);
    let slow = world.net_mut().arrive(listener, Script::new().window(0));
    let line = format!("{:0>200}\n", 7);
    let speaker = (0..60).fold(Script::new().wait(10), |script, _| script.send(&line).wait(10));
    let speaker = world.net_mut().arrive(listener, speaker);
    run_for(&mut world, 1000);
    world.net_mut().go_on(slow, Script::new().window(u64::MAX));
    run_for(&mut world, 1000);
    assert!(sent(&world, slow) == line.repeat(60));
    world.net_mut().go_on(speaker, Script::new().send("next\n"));
    run_for(&mut world, 10);
    assert!(sent(&world, slow).ends_with("7\nnext\n"));
}

struct Relay;

impl tcp::Handler for Relay {
    fn data(&mut self, bytes: &[u8], peer: &mut tcp::Peer<'_>) -> usize {
        let mut used = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if peer.publish(line).is_err() {
                break;
            }
            used += line.len();
        }
        used
    }
}

#[test]
fn what_a_handler_leaves_unused_because_it_was_refused_is_shown_again_though_nothing_more_comes() {
    let options = Options { gathered: GATHERED, ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Custom(Box::new(Relay)), Settings::default());
    let ear = world.net_mut().arrive(listener, Script::new());
    run_for(&mut world, 10);
    let lines: String = (0..60).map(|n| format!("{n:0>999}\n")).collect();
    world.net_mut().arrive(listener, Script::new().send(&lines));
    turns(&mut world, 50);
    assert!(sent(&world, ear) == lines);
    assert!(world.app().tcp.counters().publish_refused > 0);
}

/// Does what it is told.
struct Obeys;

impl tcp::Handler for Obeys {
    fn data(&mut self, bytes: &[u8], peer: &mut tcp::Peer<'_>) -> usize {
        peer.send(bytes);
        match bytes {
            b"enough" => peer.set_reading(false),
            b"both" => {
                peer.abort();
                peer.close();
            }
            _ => {}
        }
        bytes.len()
    }
}

#[test]
fn a_handler_that_hears_enough_is_shown_no_more_and_one_that_aborts_resets() {
    let (mut world, listener) =
        serving(Options::default(), Kind::Custom(Box::new(Obeys)), Settings::default());
    let deaf = world.net_mut().arrive(listener, Script::new().send("enough").wait(10).send("more"));
    let ends = world.net_mut().arrive(listener, Script::new().send("both"));
    run_for(&mut world, 100);
    assert_eq!((sent(&world, deaf), world.net().unread(deaf)), ("enough".into(), 4));
    assert_eq!(
        (world.net().closed(ends), world.app().reasons()),
        (Some(CloseHow::Reset), vec![Reason::Done])
    );
}

#[test]
fn a_raw_connection_is_never_idle_in_the_sense_that_it_may_be_let_go_and_a_program_can_end_it() {
    let (mut world, listener) = serving(Options::default(), Kind::Echo, Settings::default());
    world.net_mut().arrive(listener, Script::new().send("hello"));
    run_for(&mut world, 10);
    assert_eq!(world.evict(1), 0);
    world.with_app(|_, cx| {
        let token = cx.survey().next().unwrap().token;
        cx.notify(token, tcp::Note::Close.into());
    });
    settle(&mut world);
    assert_eq!(world.app().reasons(), [Reason::Kicked]);
}

/// Says back whole words, and how it went.
struct Words(Log);

impl tcp::Handler for Words {
    fn open(&mut self, peer: &mut tcp::Peer<'_>) {
        peer.send(b"hello ");
    }

    fn data(&mut self, bytes: &[u8], peer: &mut tcp::Peer<'_>) -> usize {
        let whole = bytes.iter().rposition(|byte| *byte == b' ').map_or(0, |at| at + 1);
        peer.send(&bytes[..whole]);
        if bytes.starts_with(b"bye ") {
            peer.close();
        }
        whole
    }

    fn close(&mut self, _: Token, reason: Reason) {
        self.0.say(reason.label());
    }
}

#[test]
fn a_handler_leaves_what_it_cannot_use_yet_and_hears_the_end_once() {
    let log = Log::default();
    let (mut world, listener) =
        serving(Options::default(), Kind::Custom(Box::new(Words(log.clone()))), Settings::default());
    let one = world.net_mut().arrive(listener, Script::new().dribble("one two thr", 5).fin());
    let two = world.net_mut().arrive(listener, Script::new().send("bye now").await_fin().fin());
    settle(&mut world);
    assert_eq!((sent(&world, one), sent(&world, two)), ("hello one two ".into(), "hello bye ".into()));
    let mut ends = log.take();
    ends.sort();
    assert_eq!(ends, ["done", "peer_closed"]);
}

/// Sends numbers in lines, each until it comes back.
struct Counting {
    next: usize,
    log: Log,
    changes: Log,
}

impl client::Handler for Counting {
    fn change(&mut self, change: Change, _: &mut Link<'_>) {
        self.changes.say(match change {
            Change::Connecting => "connecting".to_string(),
            Change::Open => "open".into(),
            Change::Lost(_) => "lost".into(),
            Change::Waiting(wait) => format!("waiting {}", wait.as_millis()),
            Change::Ended(reason) => format!("ended {}", reason.label()),
        });
    }

    fn resubscribe(&mut self, link: &mut Link<'_>) {
        link.send(format!("{}\n", self.next).as_bytes());
    }

    fn data(&mut self, bytes: &[u8], link: &mut Link<'_>) -> usize {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return 0 };
        if bytes[..end] == *self.next.to_string().as_bytes() {
            self.log.say(self.next.to_string());
            self.next += 1;
            link.send(format!("{}\n", self.next).as_bytes());
        }
        end + 1
    }
}

#[test]
fn a_client_comes_back_twenty_times_and_each_number_comes_back_once() {
    let (log, changes) = (Log::default(), Log::default());
    let (mut world, listener) = serving(Options::default(), Kind::Echo, Settings::default());
    // Every word takes its time: else numbers would go to and fro without end in no time at all.
    world.net_mut().chaos = Chaos { late: 100, late_by: 20, ..Chaos::NONE };
    let target = Target::Tcp(world.net().address(listener));
    let handler = Counting { next: 0, log: log.clone(), changes: changes.clone() };
    let client = Client::new(client::Options::new(target), Box::new(handler));
    let me = world.with_app(|_, cx| cx.spawn(Talk::TcpClient(client)).ok().unwrap());
    for round in 0..20u64 {
        run_for(&mut world, 20 + round);
        let dead: Vec<Token> = world.with_app(|app, cx| {
            app.down = true;
            cx.survey().map(|one| one.token).filter(|token| *token != me).collect()
        });
        world.with_app(|_, cx| dead.iter().for_each(|token| cx.notify(*token, Note::Kill)));
        run_for(&mut world, 150);
        world.app_mut().down = false;
        run_for(&mut world, 12_000);
    }
    world.with_app(|_, cx| cx.notify(me, tcp::Note::Close.into()));
    settle(&mut world);
    let got: Vec<usize> = log.take().iter().map(|n| n.parse().unwrap()).collect();
    assert!(got.len() > 100 && got == (0..got.len()).collect::<Vec<_>>());
    let changes = changes.take();
    // One that was let in and reset at once was open, too.
    assert!(changes.iter().filter(|change| *change == "open").count() >= 21);
    assert_eq!(changes.last().unwrap(), "ended kicked");
    assert!(changes.iter().filter(|change| change.starts_with("waiting")).count() >= 20);
}

/// Sends much at once, and closes.
struct Farewell {
    closes: bool,
}

impl client::Handler for Farewell {
    fn change(&mut self, change: Change, link: &mut Link<'_>) {
        if change != Change::Open {
            return;
        }
        for _ in 0..300 {
            assert!(link.send(&[b'x'; 1000]));
        }
        if self.closes {
            link.close();
        }
    }

    fn data(&mut self, bytes: &[u8], _: &mut Link<'_>) -> usize {
        bytes.len()
    }
}

#[test]
fn a_client_that_closes_sends_what_waits_in_its_queue_first() {
    for how in ["by itself", "told to", "in a drain"] {
        let target = Target::Unix("/run/elsewhere.sock".into());
        let (mut world, _) = serving(Options::default(), Kind::Echo, Settings::default());
        let script = Script::new().window(0).wait(1000).window(u64::MAX).await_fin().fin();
        world.net_mut().on_connect(target.clone(), Plan::Accept(1, script));
        let handler = Farewell { closes: how == "by itself" };
        let client = Client::new(client::Options::new(target), Box::new(handler));
        let me = world.with_app(|_, cx| cx.spawn(Talk::TcpClient(client)).ok().unwrap());
        world.with_app(|_, cx| cx.notify(me, tcp::Note::Send([b'y'; 1000].as_slice().into()).into()));
        run_for(&mut world, 100);
        match how {
            "in a drain" => world.drain(Duration::from_secs(30)),
            _ => world.with_app(|_, cx| cx.notify(me, tcp::Note::Close.into())),
        }
        settle(&mut world);
        let stream = world.net().streams().next().unwrap();
        assert_eq!(world.net().sent_len(stream), 301_000, "it closes {how}");
    }
}

/// Says so many bytes once it is open, and then a word.
struct Long(usize, Log);

impl client::Handler for Long {
    fn change(&mut self, change: Change, link: &mut Link<'_>) {
        if change == Change::Open {
            self.1.say(format!("{} {} {}", link.send(&vec![b'x'; self.0]), link.send(b"word"), link.lost()));
        }
    }

    fn data(&mut self, bytes: &[u8], _: &mut Link<'_>) -> usize {
        bytes.len()
    }
}

#[test]
fn a_message_too_long_for_the_hard_cap_is_refused_and_ends_neither_client_nor_connection() {
    for (len, told) in [(5 << 20, "false true 1"), (7 << 19, "true true 0")] {
        let (mut net, log) = (SimNet::new(7), Log::default());
        let target = Target::Unix("/run/elsewhere.sock".into());
        net.on_connect(target.clone(), Plan::Accept(1, Script::new().window(0)));
        let mut world = Reactor::new(Duo::new(0, 1), net, Settings::default());
        let client = Client::new(client::Options::new(target), Box::new(Long(len, log.clone())));
        let me = world.with_app(|_, cx| cx.spawn(Talk::TcpClient(client)).ok().unwrap());
        run_for(&mut world, 10);
        assert_eq!(log.take(), [told]);
        world.with_app(|_, cx| cx.notify(me, tcp::Note::Send(vec![b'x'; 5 << 20].into()).into()));
        run_for(&mut world, 1000);
        assert_eq!(world.app().reasons(), []);
    }
}

#[test]
fn a_client_that_ends_sends_what_waits_though_that_is_more_than_an_outbox_holds() {
    for drains in [true, false] {
        let target = Target::Unix("/run/elsewhere.sock".into());
        let (mut world, _) = serving(Options::default(), Kind::Echo, Settings::default());
        let script = Script::new().window(0).wait(1000).window(u64::MAX).await_fin().fin();
        world.net_mut().on_connect(target.clone(), Plan::Accept(1, script));
        let client = Client::new(client::Options::new(target), Box::new(Long(1, Log::default())));
        let me = world.with_app(|_, cx| cx.spawn(Talk::TcpClient(client)).ok().unwrap());
        run_for(&mut world, 10);
        for _ in 0..2 {
            let note = tcp::Note::Send(vec![b'x'; 3 << 20].into());
            world.with_app(|_, cx| cx.notify(me, note.into()));
        }
        run_for(&mut world, 10);
        match drains {
            true => world.drain(Duration::from_secs(30)),
            false => world.with_app(|_, cx| cx.notify(me, tcp::Note::Close.into())),
        }
        settle(&mut world);
        let stream = world.net().streams().next().unwrap();
        assert_eq!(world.app().reasons(), [if drains { Reason::Drained } else { Reason::Kicked }]);
        assert_eq!(world.net().sent_len(stream), 5 + (6 << 20));
    }
}

#[test]
fn in_chaos_echo_gives_every_byte_back_once() {
    for seed in 0..60 {
        let mut net = SimNet::<false>::with_regime(seed);
        net.chaos = Chaos::SOME;
        let listener = net.listen();
        let mut random = Random::new(seed);
        let input: Vec<u8> = (0..random.up_to(400_000)).map(|n| (n as u8) ^ (n >> 8) as u8).collect();
        let script = Script::new()
            .window(1 + random.below(100_000))
            .send(&input)
            .wait(100)
            .fin()
            .wait(200)
            .window(u64::MAX);
        let mut world = Reactor::new(Duo::tcp(Options::default(), Kind::Echo), net, Settings::default());
        world.add_listener(listener).unwrap();
        let id = world.net_mut().arrive(listener, script);
        settle(&mut world);
        assert!(world.net().sent(id) == input, "seed {seed}");
    }
}

#[test]
fn silence_does_not_end_who_has_not_taken_all_and_ends_whoever_then_has() {
    // Less waits than holds its input back, or more.
    for size in [1000, 1_000_000] {
        let options = Options { idle_timeout: Duration::from_secs(10), ..Options::default() };
        let (mut world, listener) = serving(options, Kind::Echo, Settings::default());
        let script =
            Script::new().window(10).send(vec![b'x'; size]).wait(15_000).window(u64::MAX).send("more");
        let id = world.net_mut().arrive(listener, script);
        run_for(&mut world, 24_900);
        assert_eq!((world.net().sent_len(id), world.net().fin_sent(id)), (size as u64 + 4, false), "{size}");
        run_for(&mut world, 200);
        assert!(world.net().fin_sent(id), "{size}");
        settle(&mut world);
        assert_eq!(world.app().reasons(), [Reason::IdleTimeout]);
    }
}

#[test]
fn an_idle_timeout_of_zero_ends_nobody() {
    let options = Options { idle_timeout: Duration::ZERO, ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Echo, Settings::default());
    world.net_mut().arrive(listener, Script::new().send("x"));
    run_for(&mut world, 24 * 3600 * 1000);
    assert_eq!((world.app().reasons(), world.connections()), (vec![], 1));
}

#[test]
fn silence_in_both_directions_ends_it_and_a_byte_buys_time() {
    let options = Options { idle_timeout: Duration::from_secs(10), ..Options::default() };
    let (mut world, listener) = serving(options, Kind::Echo, Settings::default());
    world.net_mut().arrive(listener, Script::new().wait(9_000).send("x").wait(9_000).send("y"));
    settle(&mut world);
    assert_eq!((world.app().reasons(), world.net().elapsed_ms() / 1000), (vec![Reason::IdleTimeout], 30));
}

/// Says back what it is told, and makes a mistake in one call of the first connection.
struct Faulty {
    at: &'static str,
    bad: Option<Token>,
    log: Log,
}

impl Faulty {
    fn hears(&self, what: &str, token: Token) {
        if self.bad == Some(token) {
            self.log.say(what);
            assert!(what != self.at, "a mistake in {what}");
        }
    }
}

impl tcp::Handler for Faulty {
    fn open(&mut self, peer: &mut tcp::Peer<'_>) {
        self.bad.get_or_insert(peer.token());
        peer.send(b"welcome ");
        self.hears("open", peer.token());
    }

    fn data(&mut self, bytes: &[u8], peer: &mut tcp::Peer<'_>) -> usize {
        peer.send(bytes);
        if bytes == b"boom" {
            self.hears("data", peer.token());
        }
        if bytes == b"much" {
            peer.send(&[b'x'; 20_000]);
        }
        bytes.len()
    }

    fn writable(&mut self, peer: &mut tcp::Peer<'_>) {
        peer.send(b"half");
        self.hears("writable", peer.token());
    }

    fn eof(&mut self, peer: &mut tcp::Peer<'_>) {
        peer.send(b"half");
        peer.close();
        self.hears("eof", peer.token());
    }

    fn close(&mut self, token: Token, _: Reason) {
        self.hears("close", token);
    }
}

#[test]
fn a_handler_that_panics_costs_its_own_connection_only_which_is_reset() {
    use CloseHow::{Normal, Reset};
    let failed = (Reason::HandlerFailed, Reset);
    let much = || Script::new().window(0).send("much").wait(10).window(u64::MAX);
    let cases = [
        ("open", Script::new().send("late"), "", failed, "open close"),
        (
            "data",
            Script::new().wait(1).send("boom").wait(1).send("late"),
            "welcome ",
            failed,
            "open data close",
        ),
        ("eof", Script::new().wait(1).send("a").fin(), "welcome a", failed, "open eof close"),
        ("writable", much(), "welcome much", failed, "open writable close"),
        ("close", Script::new().fin(), "welcome half", (Reason::PeerClosed, Normal), "open eof close"),
    ];
    for (at, script, expected, end, heard) in cases {
        let log = Log::default();
        let kind = Kind::Custom(Box::new(Faulty { at, bad: None, log: log.clone() }));
        let settings = Settings { high_water: 10_000, low_water: 1000, ..Settings::default() };
        let (mut world, listener) = serving(Options::default(), kind, settings);
        let bad = world.net_mut().arrive(listener, script);
        let other = world.net_mut().arrive_in(listener, 1, Script::new().send("before "));
        run_for(&mut world, 1000);
        let closed = world.net().closed(bad).unwrap();
        assert_eq!((world.app().reasons(), closed), (vec![end.0], end.1), "{at}");
        assert_eq!(sent(&world, bad).trim_end_matches('x'), expected, "{at}");
        assert_eq!(log.take().join(" "), heard);
        assert_eq!(world.app().tcp.members(tcp::ServiceId(0)).count(), 1, "{at}");
        world.net_mut().go_on(other, Script::new().send("after"));
        run_for(&mut world, 10);
        assert_eq!(sent(&world, other), "welcome before after", "{at}");
    }
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
            link.send(b"half");
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
    fn change(&mut self, change: Change, link: &mut Link<'_>) {
        let what = match change {
            Change::Connecting => "connecting",
            Change::Open => "open",
            Change::Lost(_) => "lost",
            Change::Waiting(_) => "waiting",
            Change::Ended(_) => "ended",
        };
        self.hears(what, link);
    }

    fn resubscribe(&mut self, link: &mut Link<'_>) {
        link.send(b"hello ");
        self.hears("resubscribe", link);
    }

    fn data(&mut self, bytes: &[u8], link: &mut Link<'_>) -> usize {
        self.hears("data", link);
        bytes.len()
    }
}

#[test]
fn a_client_whose_handler_panics_ends_for_good_is_reset_and_takes_nothing_with_it() {
    let all = "connecting open resubscribe data lost waiting";
    for at in all.split(' ') {
        let log = Log::default();
        let target = Target::Unix("/run/elsewhere.sock".into());
        let (mut world, listener) = serving(Options::default(), Kind::Echo, Settings::default());
        let script = Script::new().wait(10).send("welcome").wait(10).fin();
        world.net_mut().on_every_connect(target.clone(), Plan::Accept(1, script));
        let handler = Box::new(FaultyClient { at, log: log.clone() });
        let client = Client::new(client::Options::new(target), handler);
        let me = world.with_app(|_, cx| cx.spawn(Talk::TcpClient(client)).ok().unwrap());
        world.with_app(|_, cx| cx.notify(me, tcp::Note::Send(b"queued".as_slice().into()).into()));
        settle(&mut world);
        let heard = &all[..all.find(at).unwrap() + at.len()];
        assert_eq!(log.take().join(" "), format!("{heard} gone"));
        assert_eq!(world.app().ends, [(me, Reason::HandlerFailed)], "{at}");
        // What was said before the call that went wrong, and no half of what was said in it.
        let expected = match at {
            "connecting" | "open" | "resubscribe" => "",
            _ => "hello queued",
        };
        if let Some((_, stream)) = world.net().outgoing().first() {
            let end = (sent(&world, *stream), world.net().closed(*stream));
            assert_eq!(end, (expected.into(), Some(CloseHow::Reset)), "{at}");
        }
        assert!(world.net().outgoing().len() <= 1, "{at}: it does not come back");
        let id = world.net_mut().arrive(listener, Script::new().send("still here"));
        run_for(&mut world, 10);
        assert_eq!(sent(&world, id), "still here", "{at}");
    }
}

#[test]
fn a_client_whose_handler_panics_when_it_is_told_the_end_or_thrown_away_takes_nothing_with_it() {
    for at in ["ended", "drop"] {
        let log = Log::default();
        let (mut world, listener) = serving(Options::default(), Kind::Echo, Settings::default());
        let target = Target::Tcp(world.net().address(listener));
        let client =
            Client::new(client::Options::new(target), Box::new(FaultyClient { at, log: log.clone() }));
        let me = world.with_app(|_, cx| cx.spawn(Talk::TcpClient(client)).ok().unwrap());
        run_for(&mut world, 100);
        world.with_app(|_, cx| cx.notify(me, tcp::Note::Close.into()));
        settle(&mut world);
        assert_eq!(log.take().join(" "), "connecting open resubscribe data ended gone");
        assert_eq!(world.app().ends.iter().filter(|end| **end == (me, Reason::Kicked)).count(), 1);
    }
}
