//! Corners of the reactor that few sessions reach, each with a session of its own: what is told when TLS begins beside a failure, when a
//! connect fails at once, when a program takes its time between turns, and what memory is held meanwhile.
#![cfg(feature = "tls")]

mod support;

use evenkeel::reactor::net::sim::{Plan, Script, SimListener, SimNet};
use evenkeel::reactor::net::{Links, RelPath};
use evenkeel::reactor::{
    Admit, App, AppCx, Close, CloseHow, Cx, End, Event, Failure, Fault, Gauge, Input, ListenerId, Net, Op,
    OsListener, OsNet, Part, Peer, PortReason, Pressure, Reactor, Session, Settings, Step, Target, Timer,
    TlsFault, TlsSide, Token, Turn,
};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::tls::{BOTH, Client, client_config, server_side};
use support::{run_for, settle};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Port(PortReason),
    Done,
}

impl From<PortReason> for Why {
    fn from(reason: PortReason) -> Why {
        Why::Port(reason)
    }
}

/// What is told to a session.
enum Told<'a, 'b> {
    Data(&'a mut Input<'b>),
    Event(Event<()>),
}

type Acts = dyn FnMut(Told<'_, '_>, &mut Cx<'_, Stage>) -> Step<Why>;

/// A session that is one closure.
struct Act(Box<Acts>);

fn act(f: impl FnMut(Told<'_, '_>, &mut Cx<'_, Stage>) -> Step<Why> + 'static) -> Act {
    Act(Box::new(f))
}

struct Stage {
    guest: Box<dyn FnMut() -> Act>,
    tls: Option<TlsSide>,
    ends: Vec<Why>,
    tokens: Vec<Token>,
}

impl App for Stage {
    type Session = Act;
    type Note = ();
    type Message = ();
    type Reason = Why;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Act> {
        match self.tls.clone() {
            Some(side) => Admit::ServeTls((self.guest)(), side),
            None => Admit::Serve((self.guest)()),
        }
    }

    fn on_message(&mut self, (): (), _: &mut AppCx<'_, Self>) {}

    fn on_close(&mut self, _: Act, end: End<Why>, _: &mut AppCx<'_, Self>) {
        self.ends.push(end.reason);
        self.tokens.push(end.token);
    }
}

impl Session for Act {
    type App = Stage;

    fn on_data(&mut self, input: &mut Input<'_>, _: &mut Stage, cx: &mut Cx<'_, Stage>) -> Step<Why> {
        (self.0)(Told::Data(input), cx)
    }

    fn on_event(&mut self, event: Event<()>, _: &mut Stage, cx: &mut Cx<'_, Stage>) -> Step<Why> {
        (self.0)(Told::Event(event), cx)
    }
}

fn app(guest: impl FnMut() -> Act + 'static) -> Stage {
    Stage { guest: Box::new(guest), tls: None, ends: Vec::new(), tokens: Vec::new() }
}

fn simulated(app: Stage, settings: Settings) -> (Reactor<Stage, SimNet>, SimListener) {
    let mut net = SimNet::new(1);
    let listener = net.listen();
    let mut reactor = Reactor::new(app, net, settings);
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

fn real(app: Stage) -> (Reactor<Stage, OsNet>, std::net::SocketAddr) {
    let mut reactor = Reactor::new(app, OsNet::new().unwrap(), Settings::default());
    let listener = OsListener::tcp(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = listener.tcp_addr().unwrap();
    reactor.add_listener(listener).unwrap();
    (reactor, addr)
}

#[test]
fn a_peer_that_is_gone_as_tls_is_to_begin_is_heard_of() {
    let guest = || {
        act(|told, cx| match told {
            Told::Data(input) => {
                input.take(input.bytes().len());
                cx.write(b"220 go ahead\r\n");
                cx.start_tls(server_side(BOTH));
                Step::Continue
            }
            Told::Event(Event::Eof) => Step::Close(Close::Graceful, Why::Done),
            // "After Continue on a failed write, reading goes on."
            Told::Event(_) => Step::Continue,
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    let script = Script::new().fail_write(Fault::BrokenPipe).send("STARTTLS\r\n").fin();
    reactor.net_mut().arrive(listener, script);
    settle(&mut reactor);
    assert_eq!((reactor.app().ends.as_slice(), reactor.connections()), (&[Why::Done][..], 0));
}

fn speaks_early(part: fn(&mut Cx<'_, Stage>)) {
    let guest = move || {
        act(move |told, cx| {
            match told {
                Told::Data(input) => input.take(input.bytes().len()),
                Told::Event(Event::Drain) => part(cx),
                Told::Event(Event::Failed(_)) => return Step::Close(Close::Graceful, Why::Done),
                Told::Event(_) => {}
            }
            Step::Continue
        })
    };
    let stage = Stage { tls: Some(server_side(BOTH)), ..app(guest) };
    let (mut reactor, listener) = simulated(stage, Settings::default());
    reactor.net_mut().files.file("small", "0123456789", 0);
    let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(BOTH));
    run_for(&mut reactor, 1);
    // Any event would do that a session gets before TLS is agreed: a note, or a deadline of its own.
    reactor.drain(Duration::from_secs(60));
    client.talk(&mut reactor, 50);
    assert_eq!(reactor.counters().handshakes, 1, "the handshake ends");
    assert!(!client.got.is_empty());
}

#[test]
fn a_session_that_has_much_to_say_before_tls_is_agreed_does_not_stop_the_handshake() {
    speaks_early(|cx| {
        while cx.pressure() == Pressure::Low {
            cx.write(&[b'x'; 1000]);
        }
    });
}

#[test]
fn a_session_that_sends_a_file_before_tls_is_agreed_does_not_stop_the_handshake() {
    speaks_early(|cx| {
        let root = cx.host().open_root(Path::new("/")).unwrap();
        let (file, stat) = cx.host().open(&root, RelPath::new(b"small").unwrap(), Links::Refuse).unwrap();
        cx.write_part(Part::File(Arc::new(file), 0..stat.len));
    });
}

#[test]
fn a_program_that_was_idle_long_drains_for_as_long_as_it_says() {
    let guest = || {
        act(|told, cx| {
            match told {
                Told::Data(input) => input.take(input.bytes().len()),
                Told::Event(Event::Drain) => {
                    cx.set_deadline(Timer::Phase, Duration::from_millis(20));
                }
                Told::Event(Event::Timeout(_)) => {
                    cx.write(b"bye");
                    return Step::Close(Close::Graceful, Why::Done);
                }
                Told::Event(_) => {}
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    let peer = reactor.net_mut().arrive(listener, Script::new().send(b"x").await_sent(3).fin());
    run_for(&mut reactor, 5);
    // The program waits in a poll of its own, as in examples/nested_poll.rs, and is then asked to quit.
    reactor.net_mut().pass(400);
    reactor.drain(Duration::from_millis(300));
    settle(&mut reactor);
    assert_eq!((reactor.app().ends.as_slice(), reactor.net().sent(peer)), (&[Why::Done][..], &b"bye"[..]));
}

/// When a session of its own hears that its time is up, which it sets between turns, with a program that turns the reactor so.
fn fires_after(ms: u64, program: impl Fn(&mut Reactor<Stage, SimNet>)) -> u64 {
    let (mut reactor, _) = simulated(app(|| unreachable!()), Settings::default());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.net_mut().pass(1000);
    let timed = act(move |told, cx| match told {
        Told::Event(Event::Open) => {
            cx.set_deadline(Timer::Phase, Duration::from_millis(ms));
            Step::Continue
        }
        _ => Step::Close(Close::Graceful, Why::Done),
    });
    reactor.with_app(|_, cx| assert!(cx.spawn(timed).is_ok()));
    for _ in 0..1000 {
        if reactor.connections() == 0 {
            return reactor.net().elapsed_ms() - 1000;
        }
        program(&mut reactor);
    }
    panic!("its time never comes");
}

#[test]
fn a_timer_is_not_late_by_the_time_that_the_program_took_for_itself() {
    let fired = fires_after(300, |reactor| {
        reactor.net_mut().pass(25);
        reactor.turn(None).unwrap();
    });
    assert!((300..330).contains(&fired), "after {fired} ms");
}

#[test]
fn a_program_that_asks_next_how_long_to_leave_it_alone_meets_its_timers() {
    // Its own poll wakes every 50 ms for its own work; the reactor is turned when its time is up.
    let fired = fires_after(310, |reactor| match reactor.next() {
        Turn::After(due) => reactor.net_mut().pass(50.min(due.as_millis() as u64)),
        Turn::Now | Turn::Idle | Turn::Finished => {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    });
    assert!((310..320).contains(&fired), "after {fired} ms");
}

#[test]
fn a_deadline_that_is_set_between_turns_is_not_early() {
    let fired = fires_after(200, |reactor| {
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    });
    assert!((200..210).contains(&fired), "after {fired} ms");
}

#[test]
fn a_deadline_counts_as_passed_only_for_a_connection() {
    let waits = || {
        let mut left = 3;
        act(move |_, cx| {
            left -= 1;
            cx.set_deadline(Timer::Phase, Duration::from_millis(100));
            if left == 0 { Step::Close(Close::Abort, Why::Done) } else { Step::Continue }
        })
    };
    let (mut reactor, listener) = simulated(app(waits), Settings::default());
    reactor.with_app(|_, cx| assert!(cx.spawn(waits()).is_ok()));
    run_for(&mut reactor, 1000);
    assert_eq!((reactor.app().ends.len(), reactor.counters().timeouts), (1, 0), "it only looks after itself");
    reactor.net_mut().arrive(listener, Script::new().wait(10_000));
    run_for(&mut reactor, 1000);
    assert_eq!((reactor.app().ends.len(), reactor.counters().timeouts), (2, 2));
}

#[test]
fn a_reset_that_a_write_has_found_is_not_told_as_the_end_of_what_the_peer_sends() {
    let (tell, told_us) = std::sync::mpsc::channel();
    let guest = move || {
        let tell = tell.clone();
        act(move |told, cx| {
            match told {
                Told::Data(input) => {
                    tell.send(format!("data {}", input.bytes().len())).unwrap();
                    input.take(input.bytes().len());
                }
                // An upload that the peer does not read.
                Told::Event(Event::Open) => cx.write(&vec![b'x'; 4 << 20]),
                Told::Event(event) => {
                    tell.send(format!("{event:?}")).unwrap();
                    if event == Event::Eof {
                        return Step::Close(Close::Graceful, Why::Done);
                    }
                }
            }
            Step::Continue
        })
    };
    let (mut reactor, addr) = real(app(guest));
    reactor.settings_mut().hard_cap = 64 << 20;
    // More is read than what waits.
    reactor.settings_mut().high_water = 64 << 20;
    let mut peer = std::net::TcpStream::connect(addr).unwrap();
    for _ in 0..20 {
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
    }
    peer.write_all(b"HTTP/1.0 200 OK\r\n\r\nthe first half").unwrap();
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let began = Instant::now();
    while reactor.connections() > 0 && began.elapsed() < Duration::from_secs(3) {
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
    let told: Vec<String> = told_us.try_iter().collect();
    assert!(!told.contains(&"Eof".to_owned()), "no FIN was sent, and yet: {told:?}");
}

#[test]
fn a_session_that_connects_again_and_again_does_not_hold_up_the_turn() {
    use std::cell::Cell;
    thread_local!(static TRIED: Cell<u32> = const { Cell::new(0) });
    let to = Target::Unix("/run/nobody.sock".into());
    let again = to.clone();
    let dialer = act(move |told, cx| match told {
        Told::Event(Event::Failed(Failure { op: Op::Connect, .. })) if TRIED.get() < 100_000 => {
            TRIED.set(TRIED.get() + 1);
            cx.attach(&again);
            Step::Detach(CloseHow::Normal)
        }
        _ => Step::Close(Close::Abort, Why::Done),
    });
    let (mut reactor, _) = simulated(app(|| unreachable!()), Settings::default());
    reactor.with_app(|_, cx| assert!(cx.connect(&to, dialer).is_ok()));
    assert!(TRIED.get() < 1000, "{} tries between two turns", TRIED.get());
}

#[test]
fn a_failed_handshake_ends_the_connection_even_if_the_answer_to_it_cannot_be_sent() {
    let guest = || {
        act(|told, cx| match told {
            Told::Event(Event::Failed(Failure { op: Op::Handshake, fault })) => {
                assert_eq!(fault, Fault::Tls(TlsFault::NotTls));
                cx.write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                // "After Continue on any other failure the port is closed with PortReason::Failed."
                Step::Continue
            }
            _ => Step::Continue,
        })
    };
    let stage = Stage { tls: Some(server_side(BOTH)), ..app(guest) };
    let (mut reactor, listener) = simulated(stage, Settings::default());
    reactor
        .net_mut()
        .arrive(listener, Script::new().fail_write(Fault::BrokenPipe).send("GET / HTTP/1.1\r\n\r\n").fin());
    settle(&mut reactor);
    let failure = Failure { op: Op::Handshake, fault: Fault::Tls(TlsFault::NotTls) };
    assert_eq!(reactor.app().ends, [Why::Port(PortReason::Failed(failure))]);
}

#[test]
fn a_reactor_that_is_dropped_gives_its_places_back() {
    let gauge = Gauge::default();
    let settings = Settings { max_connections: 1, ..Settings::default() };
    let build = || {
        let mut net = SimNet::new(1);
        let listener = net.listen();
        let guest = || act(|_, _| Step::Continue);
        let mut reactor = Reactor::with_gauge(app(guest), net, settings.clone(), gauge.clone());
        reactor.add_listener(listener).unwrap();
        reactor.net_mut().arrive(listener, Script::new());
        run_for(&mut reactor, 1);
        reactor
    };
    let first = build();
    assert_eq!((first.connections(), gauge.get()), (1, 1));
    drop(first);
    assert_eq!(gauge.get(), 0);
    assert_eq!(build().connections(), 1);
}

#[test]
fn what_waits_in_small_pieces_takes_no_more_memory_than_is_counted() {
    let guest = || {
        act(|told, cx| {
            match told {
                Told::Data(input) => input.take(input.bytes().len()),
                Told::Event(Event::Open) => {
                    while cx.pressure() == Pressure::Low {
                        cx.write(b"<");
                        cx.write_part(Part::Static(b"a word>"));
                    }
                }
                Told::Event(_) => {}
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    reactor.net_mut().arrive(listener, Script::new().window(0));
    run_for(&mut reactor, 10);
    let (backlog, held) = reactor.with_app(|_, cx| {
        let all: Vec<_> = cx.survey().map(|s| (s.backlog, s.held)).collect();
        all[0]
    });
    assert!(held < 4 * backlog, "{backlog} bytes wait, and {held} are held for them");
}

#[test]
fn an_outbox_that_grew_large_is_not_handed_on() {
    use std::cell::Cell;
    thread_local!(static MANY: Cell<bool> = const { Cell::new(true) });
    let guest = || {
        act(|told, cx| {
            match told {
                Told::Data(input) => input.take(input.bytes().len()),
                Told::Event(Event::Open) if MANY.get() => {
                    while cx.pressure() == Pressure::Low {
                        cx.write_part(Part::Static(b"a word>"));
                    }
                }
                Told::Event(Event::Open) => cx.write(b"a word>"),
                Told::Event(_) => {}
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    reactor.net_mut().arrive(listener, Script::new().window(0).wait(5).reset());
    settle(&mut reactor);
    assert_eq!(reactor.connections(), 0);
    MANY.set(false);
    reactor.net_mut().arrive(listener, Script::new().window(0));
    run_for(&mut reactor, 10);
    let held = reactor.with_app(|_, cx| cx.survey().map(|s| s.held).sum::<usize>());
    assert!(held < 8192, "7 bytes wait, and {held} are held for them");
}

#[test]
fn a_byte_that_is_left_of_much_does_not_keep_a_large_buffer() {
    let guest = || {
        act(|told, _| {
            if let Told::Data(input) = told
                && let Some(end) = input.bytes().iter().position(|b| *b == b'\n')
            {
                input.take(end + 1);
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    let line = [vec![b'x'; 60_000], b"\ny".to_vec()].concat();
    reactor.net_mut().arrive(listener, Script::new().send(&line[..50_000]).wait(1).send(&line[50_000..]));
    run_for(&mut reactor, 10);
    let held = reactor.with_app(|_, cx| cx.buffers_held());
    assert!(held <= 1024, "{held} bytes are held for one");
}

#[test]
fn reading_is_on_from_the_beginning_of_tls_also_if_it_is_asked_for() {
    let guest = || {
        act(|told, cx| {
            match told {
                Told::Data(input) => {
                    assert_ne!(input.bytes().first(), Some(&22), "a record of TLS was shown");
                    let plain = cx.tls().is_none();
                    let end = input.bytes().iter().position(|b| *b == b'\n').unwrap() + 1;
                    cx.write(&input.bytes()[..end]);
                    input.take(end);
                    if plain {
                        cx.start_tls(server_side(BOTH));
                        // Reading is on already, and will be: this changes nothing.
                        cx.set_reading(true);
                    }
                }
                Told::Event(Event::Failed(_)) => return Step::Close(Close::Abort, Why::Done),
                Told::Event(_) => {}
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    // As with the PROXY protocol: the hello follows the line at once.
    let mut hello = Vec::new();
    let mut conn = rustls::ClientConnection::new(client_config(BOTH), support::tls::name()).unwrap();
    conn.write_tls(&mut hello).unwrap();
    let whole = [b"PROXY\n".to_vec(), hello].concat();
    reactor.net_mut().arrive(listener, Script::new().send(whole));
    run_for(&mut reactor, 20);
}

#[test]
fn whoever_writes_to_a_joined_stream_that_was_closed_gets_a_reset() {
    use evenkeel::reactor::net::Accept;
    let mut world = SimNet::new(1);
    let mut listener = world.listen();
    let token = |n: u64| Token::from_bits(n << 24 | n);
    world.watch_listener(&mut listener, token(9)).unwrap();
    let to = Target::Tcp(world.address(listener));
    let mut near = world.connect(&to, token(1)).unwrap();
    world.wait(None, &mut Vec::new()).unwrap();
    assert!(matches!(world.finish_connect(&mut near), evenkeel::reactor::Io::Done(0)));
    let Accept::Conn(mut far, _) = world.accept(&mut listener) else { panic!() };
    world.watch(&mut far, token(2)).unwrap();
    world.close(near, CloseHow::Normal);
    let bufs = [std::io::IoSlice::new(b"into the void")];
    let _ = world.write(&mut far, &bufs, false);
    let _ = world.wait(Some(Duration::from_secs(1)), &mut Vec::new());
    let second = world.write(&mut far, &bufs, false);
    assert!(matches!(second, evenkeel::reactor::Io::Fault(_)), "{second:?}");
}

#[test]
fn a_session_may_leave_as_much_unread_under_tls_as_without() {
    // A head of 62,000 bytes, and some of a body.
    let guest = || {
        act(|told, cx| {
            match told {
                Told::Data(input) if input.bytes().len() >= 62_000 => {
                    cx.write(b"whole");
                    input.take(input.bytes().len());
                }
                _ => {}
            }
            Step::Continue
        })
    };
    for tls in [false, true] {
        let stage = Stage { tls: tls.then(|| server_side(BOTH)), ..app(guest) };
        let (mut reactor, listener) = simulated(stage, Settings::default());
        if tls {
            let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(BOTH));
            client.say(&[b'x'; 100]);
            client.talk(&mut reactor, 5);
            client.say(&[b'x'; 70_000]);
            client.talk(&mut reactor, 5);
        } else {
            reactor.net_mut().arrive(listener, Script::new().send([b'x'; 100]).wait(5).send([b'x'; 70_000]));
            run_for(&mut reactor, 10);
        }
        assert_eq!(reactor.app().ends, [], "tls: {tls}");
    }
}

#[test]
fn who_is_dialed_by_a_path_is_not_who_was_dialed_before() {
    let (tell, told_us) = std::sync::mpsc::channel();
    let first = Target::Tcp(([192, 0, 2, 1], 80).into());
    let second = Target::Unix("/run/there.sock".into());
    let next = second.clone();
    let dialer = act(move |told, cx| match told {
        Told::Event(Event::Failed(_)) => {
            cx.attach(&next);
            Step::Detach(CloseHow::Normal)
        }
        Told::Event(Event::Open) => {
            tell.send(cx.peer()).unwrap();
            Step::Close(Close::Abort, Why::Done)
        }
        _ => Step::Continue,
    });
    let (mut reactor, _) = simulated(app(|| unreachable!()), Settings::default());
    reactor.net_mut().on_connect(first.clone(), Plan::Fail(1, Fault::Refused));
    reactor.net_mut().on_connect(second, Plan::from(Script::new()));
    reactor.with_app(|_, cx| assert!(cx.connect(&first, dialer).is_ok()));
    settle(&mut reactor);
    assert_eq!(told_us.try_iter().collect::<Vec<_>>(), [Peer::UNIX]);
}

#[test]
fn answers_of_any_length_leave_in_records_as_small_as_the_rules_want_them() {
    for len in [1000, 15_000, 15_872, 40_000] {
        let guest = move || {
            act(move |told, cx| match told {
                Told::Data(input) => {
                    input.take(input.bytes().len());
                    cx.write(&vec![b'x'; len]);
                    Step::Continue
                }
                Told::Event(Event::Failed(failure)) => panic!("{len} bytes: {failure:?}"),
                Told::Event(_) => Step::Continue,
            })
        };
        let mut config = (*support::tls::server_config(BOTH)).clone();
        config.max_fragment_size = Some(512);
        let stage = Stage { tls: Some(TlsSide::Server(Arc::new(config))), ..app(guest) };
        let (mut reactor, listener) = simulated(stage, Settings::default());
        let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(BOTH));
        client.say(b"x");
        client.talk(&mut reactor, 50);
        assert_eq!(client.got.len(), len);
    }
}

#[test]
fn a_session_that_let_its_stream_go_is_no_accepted_connection_any_more() {
    let guest = || {
        act(|told, _| match told {
            Told::Event(Event::Open) => Step::Detach(CloseHow::Normal),
            _ => Step::Continue,
        })
    };
    let settings = Settings { max_connections: 1, ..Settings::default() };
    let (mut reactor, listener) = simulated(app(guest), settings);
    reactor.net_mut().arrive(listener, Script::new());
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 500);
    assert_eq!(reactor.counters().accepted, 2);
}

#[test]
fn a_session_that_let_its_stream_go_is_not_let_go_in_place_of_one_that_has_a_stream() {
    let guest = || {
        act(|told, cx| match told {
            Told::Event(Event::Open) => {
                cx.set_evictable(true);
                cx.set_deadline(Timer::Phase, Duration::from_millis(50));
                Step::Detach(CloseHow::Normal)
            }
            Told::Event(Event::Timeout(_)) => Step::Close(Close::Abort, Why::Done),
            _ => Step::Continue,
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 10);
    assert_eq!((reactor.connections(), reactor.evict(16)), (1, 0), "it holds nothing that would be gained");
    run_for(&mut reactor, 100);
    assert_eq!(reactor.app().ends, [Why::Done], "its own time was up");
}

#[test]
fn who_was_spared_once_because_something_seemed_to_come_can_still_be_let_go() {
    use evenkeel::reactor::net::{Ready, sim::AcceptFault};
    let guest = || {
        act(|told, cx| {
            if let Told::Event(Event::Open) = told {
                cx.set_evictable(true);
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    let idle = reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 10);
    // Descriptors run out in the turn in which an event comes for it that means nothing (or half a TLS record).
    reactor.net_mut().fail_accept(listener, [AcceptFault::Exhausted, AcceptFault::Exhausted]);
    reactor.net_mut().spurious(idle, Ready::READABLE);
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 150);
    assert_eq!(reactor.counters().evicted, 1, "the second time nothing speaks for it");
}

#[test]
fn who_left_as_much_unread_as_the_largest_buffer_still_hears_of_the_end() {
    let guest = || {
        act(|told, _| match told {
            Told::Event(Event::Eof) => Step::Close(Close::Graceful, Why::Done),
            _ => Step::Continue,
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    reactor.net_mut().arrive(listener, Script::new().send([b'x'; 64 << 10]).wait(5).fin());
    settle(&mut reactor);
    assert_eq!(reactor.app().ends, [Why::Done]);
}

#[test]
#[should_panic(expected = "out of range")]
fn a_piece_of_shared_bytes_that_are_not_there_is_a_mistake_that_is_told_at_once() {
    let guest = || {
        act(|told, cx| {
            if let Told::Event(Event::Open) = told {
                cx.write_part(Part::Shared(Arc::from(&b"ten bytes."[..]), 0..11));
            }
            Step::Continue
        })
    };
    let (mut reactor, addr) = real(app(guest));
    let _peer = std::net::TcpStream::connect(addr).unwrap();
    for _ in 0..20 {
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
    }
}

#[test]
fn what_was_said_before_tls_begins_leaves_in_plaintext_though_it_had_to_wait() {
    let guest = || {
        act(|told, cx| {
            if let Told::Data(input) = told {
                input.take(input.bytes().len());
                cx.write(b"220 go ahead\r\n");
                cx.start_tls(server_side(BOTH));
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    let script = Script::new().window(4).send("STARTTLS\r\n").wait(10).window(u64::MAX);
    let peer = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 20);
    assert_eq!(reactor.net().sent(peer), b"220 go ahead\r\n");
}

#[test]
fn a_connect_that_was_given_up_before_its_failure_was_told_says_nothing_of_the_next() {
    let (first, second) = (Target::Unix("/run/nobody.sock".into()), Target::Unix("/run/there.sock".into()));
    let next = second.clone();
    let dialer = act(move |told, cx| match told {
        Told::Event(Event::Drain) => {
            cx.attach(&next);
            Step::Detach(CloseHow::Normal)
        }
        Told::Event(Event::Open) => Step::Close(Close::Graceful, Why::Done),
        _ => Step::Continue,
    });
    let (mut reactor, _) = simulated(app(|| unreachable!()), Settings::default());
    reactor.net_mut().on_connect(second, Plan::from(Script::new().fin()));
    reactor.with_app(|_, cx| assert!(cx.connect(&first, dialer).is_ok()));
    reactor.drain(Duration::from_secs(60));
    settle(&mut reactor);
    assert_eq!(reactor.app().ends, [Why::Done]);
}

#[test]
fn what_became_of_a_stream_that_was_let_go_does_not_touch_the_next() {
    let (tell, told_us) = std::sync::mpsc::channel();
    let to = Target::Unix("/run/there.sock".into());
    let next = to.clone();
    let guest = move || {
        let (tell, next, mut opened) = (tell.clone(), next.clone(), false);
        act(move |told, cx| {
            match told {
                Told::Data(input) => {
                    tell.send(String::from_utf8_lossy(input.bytes()).into_owned()).unwrap();
                    input.take(input.bytes().len());
                }
                Told::Event(Event::Open) if !opened => {
                    opened = true;
                    cx.set_reading(false);
                    cx.write(b"x");
                }
                Told::Event(Event::Failed(Failure { op: Op::Write, fault: Fault::Reset })) => {
                    cx.attach(&next);
                    return Step::Detach(CloseHow::Normal);
                }
                Told::Event(event) => {
                    tell.send(format!("{event:?}")).unwrap();
                    if event == Event::Eof {
                        return Step::Close(Close::Graceful, Why::Done);
                    }
                }
            }
            Step::Continue
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    reactor.net_mut().on_connect(to, Plan::from(Script::new().send("hello").fin()));
    reactor.net_mut().arrive(listener, Script::new().fail_write(Fault::Reset));
    run_for(&mut reactor, 50);
    assert_eq!(told_us.try_iter().collect::<Vec<_>>(), ["Open", "hello", "Eof"]);
}

#[test]
fn who_waits_while_descriptors_ran_out_is_let_in_before_the_listener_closes() {
    use evenkeel::reactor::net::sim::AcceptFault;
    let (mut reactor, listener) = simulated(app(|| act(|_, _| Step::Continue)), Settings::default());
    reactor.net_mut().fail_accept(listener, [AcceptFault::Exhausted]);
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 1);
    assert_eq!(reactor.counters().accept_exhausted, 1);
    reactor.drain(Duration::from_secs(60));
    assert_eq!(reactor.counters().accepted, 1);
}

#[test]
fn a_shorter_limit_holds_for_who_waits_already() {
    let guest = || {
        act(|told, cx| match told {
            Told::Event(Event::Open) => {
                cx.write(b"not taken");
                Step::Continue
            }
            Told::Event(Event::Timeout(_)) => Step::Close(Close::Abort, Why::Done),
            _ => Step::Continue,
        })
    };
    let (mut reactor, listener) = simulated(app(guest), Settings::default());
    reactor.net_mut().arrive(listener, Script::new().window(0));
    run_for(&mut reactor, 3000);
    reactor.set_settings(Settings { write_timeout: Duration::from_secs(5), ..Settings::default() });
    settle(&mut reactor);
    assert!(reactor.net().elapsed_ms() < 6000, "after {} ms", reactor.net().elapsed_ms());
}

#[test]
fn who_waits_at_the_limit_is_let_in_at_once_when_it_is_raised() {
    let settings = Settings { max_connections: 1, ..Settings::default() };
    let (mut reactor, listener) = simulated(app(|| act(|_, _| Step::Continue)), settings);
    reactor.net_mut().arrive(listener, Script::new());
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 10);
    assert_eq!(reactor.counters().accepted, 1);
    reactor.set_settings(Settings { max_connections: 2, ..Settings::default() });
    run_for(&mut reactor, 10);
    assert_eq!(reactor.counters().accepted, 2);
}
