//! TLS as a filter: the echo protocol over it, in the simulated world.
#![cfg(feature = "tls")]

mod support;

use evenkeel::reactor::net::sim::{Chaos, Random, Script, SimListener, SimNet};
use evenkeel::reactor::{Deadline, Failure, Fault, Op, Reactor, Settings, Target, TlsFault, TlsSide};
use std::sync::Arc;
use support::echo::{self, Echo, EchoApp, Reason};
use support::tls::{
    BOTH, Client, client_config, echoing, make_pair, name, reasons, server_config, server_side,
};

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

fn failed(op: Op, fault: TlsFault) -> Reason {
    Reason::Failed(Failure { op, fault: Fault::Tls(fault) })
}

fn arrive(
    reactor: &mut Reactor<EchoApp, SimNet>,
    listener: SimListener,
    version: &'static rustls::SupportedProtocolVersion,
) -> Client {
    Client::arrive(reactor, listener, Script::new(), client_config(&[version]))
}

fn held(reactor: &mut Reactor<EchoApp, SimNet>) -> usize {
    reactor.with_app(|_, cx| cx.buffers_held())
}

// ---- what goes well

#[test]
fn lines_are_echoed_and_both_sides_part_with_close_notify() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, version);
        client.say(b"hello\nworld\n");
        client.talk(&mut reactor, 50);
        assert_eq!((client.got.as_slice(), &client.error), (&b"hello\nworld\n"[..], &None));
        client.say(b"quit\n");
        client.talk(&mut reactor, 50);
        assert!(client.got.ends_with(b"bye\n") && client.closed);
        client.conn.send_close_notify();
        client.talk(&mut reactor, 50);
        reactor.net_mut().go_on(client.id, Script::new().fin());
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [Reason::Quit]);
        assert_eq!(reactor.counters().handshakes, 1);
        assert!(!reactor.net().was_reset(client.id));
    }
}

#[test]
fn a_request_costs_one_read_and_one_write_and_an_idle_connection_holds_no_buffer() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, version);
        client.say(b"first\n");
        client.talk(&mut reactor, 5);
        let before = reactor.net().calls();
        for n in 0..20 {
            client.say(format!("line {n}\n").as_bytes());
            client.talk(&mut reactor, 5);
            assert_eq!(held(&mut reactor), 0);
        }
        let after = reactor.net().calls();
        assert_eq!((after.reads - before.reads, after.writes - before.writes), (20, 20));
        assert_eq!(after.watch_writes, 0);
    }
}

#[test]
fn many_records_in_one_read_are_shown_and_records_that_come_byte_by_byte_are_put_together() {
    for version in VERSIONS {
        for piece in [1, 7, 1000, usize::MAX] {
            let (mut reactor, listener) = echoing(BOTH);
            let mut client = arrive(&mut reactor, listener, version);
            client.piece = piece;
            let mut expected = Vec::new();
            for n in 0..30 {
                let line = format!("line {n} {}\n", "x".repeat(n * 7));
                client.say(line.as_bytes());
                // A record of its own each.
                client.conn.writer();
                expected.extend_from_slice(line.as_bytes());
            }
            client.talk(&mut reactor, 50);
            assert!(client.got == expected, "{piece}");
            assert_eq!(held(&mut reactor), 0);
        }
    }
}

#[test]
fn a_hello_in_many_small_records_is_put_together() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut config = (*client_config(&[version])).clone();
        config.max_fragment_size = Some(32);
        let mut client = Client::arrive(&mut reactor, listener, Script::new(), Arc::new(config));
        client.piece = 5;
        client.say(b"a line that is longer than thirty-two bytes, to be sure\n");
        client.talk(&mut reactor, 50);
        assert_eq!(client.got, b"a line that is longer than thirty-two bytes, to be sure\n");
    }
}

#[test]
fn keys_are_changed_while_both_sides_send() {
    let (mut reactor, listener) = echoing(BOTH);
    let mut client = arrive(&mut reactor, listener, VERSIONS[1]);
    client.piece = 3;
    for n in 0..5 {
        client.say(format!("produce {}\n", 10_000 + n).as_bytes());
        client.conn.refresh_traffic_keys().ok();
        client.talk(&mut reactor, 50);
        client.say(b"x\n");
        client.talk(&mut reactor, 50);
    }
    assert_eq!(client.got.len(), 50_010 + 10);
    assert_eq!(client.error, None);
}

#[test]
fn a_large_file_arrives_whole_and_is_read_as_the_socket_drains() {
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    for (version, window) in [(VERSIONS[0], 20_000), (VERSIONS[1], 20_000), (VERSIONS[1], 1_000_000)] {
        let (mut reactor, listener) = echoing(BOTH);
        reactor.net_mut().files.file("big", content.clone(), 7);
        let script = Script::new().window(u64::MAX);
        let mut client = Client::arrive(&mut reactor, listener, script, client_config(&[version]));
        client.say(b"hello\n");
        client.talk(&mut reactor, 5);
        reactor.net_mut().go_on(client.id, Script::new().window(0));
        client.say(b"file big\nquit\n");
        client.talk(&mut reactor, 5);
        for _ in 0..3_200_000 / window + 10 {
            reactor.net_mut().go_on(client.id, Script::new().window(window));
            client.talk(&mut reactor, 3);
            assert!(held(&mut reactor) <= 160 << 10, "{}", held(&mut reactor));
        }
        assert!(client.got.starts_with(b"hello\nfile:\n") && client.got.ends_with(b"bye\n"));
        assert!(client.got[12..client.got.len() - 4] == content && client.closed);
        assert_eq!(reasons(&reactor), []);
    }
}

#[test]
fn a_file_that_is_not_at_hand_is_waited_for_unless_it_is_the_peer_that_is() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let content: Vec<u8> = (0..400_000u32).map(|n| (n / 7) as u8).collect();
        let files = &mut reactor.net_mut().files;
        files.file("big", content.clone(), 7);
        files.chill("big");
        files.disk_ms = 200;
        let mut client = arrive(&mut reactor, listener, version);
        client.say(b"hello\n");
        client.talk(&mut reactor, 5);
        reactor.net_mut().go_on(client.id, Script::new().window(0));
        client.say(b"file big\n");
        let writes = reactor.net().calls().writes;
        client.talk(&mut reactor, 900);
        assert_eq!(reactor.net().calls().writes - writes, 1, "nothing is tried in vain");
        assert_eq!(client.got, b"hello\n");
        reactor.net_mut().files.chill("big");
        reactor.net_mut().go_on(client.id, Script::new().window(u64::MAX));
        client.talk(&mut reactor, 100);
        assert_eq!(client.got, b"hello\nfile:\n");
        client.talk(&mut reactor, 300);
        assert!(client.got[12..] == content, "{}", client.got.len());
        assert_eq!((reactor.net().calls().disk_waits, reactor.counters().disk_waits), (0, 1));
    }
}

#[test]
fn a_file_that_became_shorter_ends_without_close_notify() {
    let (mut reactor, listener) = echoing(BOTH);
    reactor.net_mut().files.file("big", vec![7; 400_000], 7);
    let mut client = arrive(&mut reactor, listener, VERSIONS[1]);
    client.say(b"hello\n");
    client.talk(&mut reactor, 5);
    reactor.net_mut().go_on(client.id, Script::new().window(100_000));
    client.say(b"file big\n");
    client.talk(&mut reactor, 5);
    reactor.net_mut().files.shrink("big", 150_000);
    reactor.net_mut().go_on(client.id, Script::new().window(u64::MAX));
    client.talk(&mut reactor, 2000);
    support::settle(&mut reactor);
    let gone = Failure { op: Op::Write, fault: Fault::Truncated };
    assert_eq!((reasons(&reactor), client.closed), (vec![Reason::Failed(gone)], false));
}

#[test]
fn a_reader_that_is_slow_bounds_what_is_made_and_sealed() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, version);
        client.say(b"hello\n");
        client.talk(&mut reactor, 5);
        reactor.net_mut().go_on(client.id, Script::new().window(0));
        client.say(b"produce 2000000\nquit\n");
        client.talk(&mut reactor, 5);
        assert!(held(&mut reactor) <= 450 << 10, "{}", held(&mut reactor));
        for _ in 0..60 {
            reactor.net_mut().go_on(client.id, Script::new().window(50_000));
            client.talk(&mut reactor, 3);
            assert!(held(&mut reactor) <= 450 << 10, "{}", held(&mut reactor));
        }
        let expected = echo::model(b"hello\nproduce 2000000\nquit\n");
        assert!(client.got == expected && client.closed, "{}", client.got.len());
    }
}

#[test]
fn a_reader_that_takes_nothing_is_given_up() {
    let (mut reactor, listener) = echoing(BOTH);
    let mut client = arrive(&mut reactor, listener, VERSIONS[1]);
    client.say(b"hello\n");
    client.talk(&mut reactor, 5);
    reactor.net_mut().go_on(client.id, Script::new().window(0));
    client.say(b"produce 2000000\n");
    client.talk(&mut reactor, 5);
    support::settle(&mut reactor);
    assert_eq!(reasons(&reactor), [Reason::Slow(Deadline::Progress)]);
}

#[test]
fn what_comes_while_paused_waits_and_so_does_the_goodbye() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, version);
        client.talk(&mut reactor, 5);
        client.say(b"pause 500\nnote\npause 300\nlast\n");
        client.conn.send_close_notify();
        client.talk(&mut reactor, 2000);
        assert_eq!(client.got, b"noted\nlast\n");
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [Reason::Eof]);
    }
}

#[test]
fn both_ends_in_one_world_speak_tls_after_plaintext() {
    for version in VERSIONS {
        let mut net = SimNet::<true>::new(1);
        let listener = net.listen();
        let client = TlsSide::Client { config: client_config(&[version]), name: name() };
        let app = EchoApp { tls: Some(server_side(BOTH)), dial_tls: Some(client), ..EchoApp::default() };
        let to = Target::Tcp(net.address(listener));
        let mut reactor = Reactor::new(app, net, Settings::default());
        reactor.add_listener(listener).unwrap();
        assert!(reactor.with_app(|_, cx| cx.spawn(Echo::errand(None, to, b"hi\nquit\n"))).is_ok());
        support::settle(&mut reactor);
        let mut reasons = reasons(&reactor);
        reasons.sort_by_key(|reason| format!("{reason:?}"));
        assert_eq!(reasons, [Reason::Eof, Reason::Quit]);
        assert_eq!(reactor.counters().handshakes, 2);
    }
}

// ---- what goes wrong

#[test]
fn a_peer_that_says_goodbye_is_told_as_eof_and_one_that_does_not_as_cut_off() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, version);
        client.say(b"hello\n");
        client.talk(&mut reactor, 50);
        client.conn.send_close_notify();
        client.talk(&mut reactor, 50);
        assert_eq!((reasons(&reactor), client.closed), (vec![Reason::Eof], true));

        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, version);
        client.say(b"hello\n");
        client.talk(&mut reactor, 50);
        reactor.net_mut().go_on(client.id, Script::new().fin());
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [failed(Op::Read, TlsFault::Truncated)]);
    }
}

/// Says `hello` and a goodbye, up to so many bytes of ciphertext; then this.
fn cut(version: &'static rustls::SupportedProtocolVersion, at: usize, then: Script) -> (Vec<Reason>, Client) {
    let (mut reactor, listener) = echoing(BOTH);
    let mut client = arrive(&mut reactor, listener, version);
    client.cut_after = at;
    client.say(b"hello\n");
    client.talk(&mut reactor, 5);
    client.conn.send_close_notify();
    client.talk(&mut reactor, 5);
    if client.said == at {
        reactor.net_mut().go_on(client.id, then);
    }
    support::settle(&mut reactor);
    (reasons(&reactor), client)
}

#[test]
fn a_stream_cut_at_any_byte_is_never_taken_for_a_whole_one() {
    for version in VERSIONS {
        let (whole, client) = cut(version, usize::MAX, Script::new());
        assert_eq!(whole, [Reason::Eof]);
        for at in 0..client.said {
            let (reasons, client) = cut(version, at, Script::new().fin());
            let expected = match client.conn.is_handshaking() {
                true => vec![failed(Op::Handshake, TlsFault::Truncated)],
                false => reasons.clone(),
            };
            let allowed = [failed(Op::Handshake, TlsFault::Truncated), failed(Op::Read, TlsFault::Truncated)];
            assert!(
                reasons == expected && reasons.len() == 1 && allowed.contains(&reasons[0]),
                "{at}: {reasons:?}"
            );
            assert!(b"hello\n".starts_with(&client.got), "{at}");
        }
    }
}

#[test]
fn a_reset_at_any_byte_is_told_as_one() {
    for version in VERSIONS {
        let (_, client) = cut(version, usize::MAX, Script::new());
        for at in (0..client.said).step_by(5) {
            let (reasons, _) = cut(version, at, Script::new().reset());
            let [Reason::Failed(failure)] = reasons[..] else { panic!("{at}: {reasons:?}") };
            assert!(failure.fault == Fault::Reset && matches!(failure.op, Op::Handshake | Op::Read), "{at}");
        }
    }
}

#[test]
fn a_stalled_handshake_is_ended_at_any_byte_by_its_deadline() {
    for version in VERSIONS {
        for at in [0, 1, 5, 6, 50, 200] {
            let (reasons, _) = cut(version, at, Script::new());
            let late = Failure { op: Op::Handshake, fault: Fault::TimedOut };
            assert_eq!(reasons, [Reason::Failed(late)], "{at}");
        }
    }
}

#[test]
fn plaintext_to_a_tls_port_is_told_so_in_plaintext() {
    for (answer, sent) in [(Some("speak TLS\n"), "speak TLS\n"), (None, "")] {
        for request in ["GET / HTTP/1.1\r\n\r\n", "\0\0\0", "\u{7f}x"] {
            let (mut reactor, listener) = echoing(BOTH);
            reactor.app_mut().plain_answer = answer;
            let script = Script::new().send(request).await_fin().fin();
            let id = reactor.net_mut().arrive(listener, script);
            support::settle(&mut reactor);
            assert_eq!(reactor.net().sent(id), sent.as_bytes());
            assert_eq!(reasons(&reactor), [failed(Op::Handshake, TlsFault::NotTls)]);
            assert!(!reactor.net().was_reset(id));
        }
    }
}

#[test]
fn a_write_that_fails_once_tls_is_agreed_is_no_failed_handshake() {
    let (mut reactor, listener) = echoing(BOTH);
    let mut client = arrive(&mut reactor, listener, &rustls::version::TLS13);
    while client.conn.is_handshaking() {
        client.step(&mut reactor);
        support::run_for(&mut reactor, 1);
        // The tickets, which follow the client's last word, do not reach it.
        if reactor.net().sent_len(client.id) > 0 {
            reactor.net_mut().go_on(client.id, Script::new().fail_write(Fault::Reset));
            support::run_for(&mut reactor, 1);
        }
    }
    client.talk(&mut reactor, 2000);
    assert_eq!(reactor.counters().handshakes, 1);
    assert_eq!(reasons(&reactor), [Reason::Failed(Failure { op: Op::Write, fault: Fault::Reset })]);
}

#[test]
fn a_client_that_does_not_trust_us_is_told_as_an_alert() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(make_pair(&["localhost"]).cert).unwrap();
        let mut config = (*client_config(&[version])).clone();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            support::tls::provider(),
        );
        config.dangerous().set_certificate_verifier(verifier.build().unwrap());
        let mut client = Client::arrive(&mut reactor, listener, Script::new(), Arc::new(config));
        client.talk(&mut reactor, 50);
        assert!(matches!(client.error, Some(rustls::Error::InvalidCertificate(_))));
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [failed(Op::Handshake, TlsFault::Alert)]);
    }
}

#[test]
fn a_client_without_a_version_in_common_gets_our_alert_and_a_graceful_end() {
    let (mut reactor, listener) = echoing(&[&rustls::version::TLS13]);
    let mut client = arrive(&mut reactor, listener, VERSIONS[0]);
    client.talk(&mut reactor, 50);
    let protocol_version = rustls::AlertDescription::ProtocolVersion;
    assert_eq!(client.error, Some(rustls::Error::AlertReceived(protocol_version)));
    reactor.net_mut().go_on(client.id, Script::new().fin());
    support::settle(&mut reactor);
    assert_eq!(reasons(&reactor), [failed(Op::Handshake, TlsFault::Protocol)]);
    assert!(!reactor.net().was_reset(client.id));
}

#[test]
fn a_client_that_owes_a_certificate_and_has_none_is_refused_for_that() {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(support::tls::pair().cert.clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        support::tls::provider(),
    );
    let pair = support::tls::pair();
    let config = rustls::ServerConfig::builder_with_provider(support::tls::provider())
        .with_protocol_versions(BOTH)
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![pair.cert.clone()], pair.key.clone_key())
        .unwrap();
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        reactor.app_mut().tls = Some(TlsSide::Server(Arc::new(config.clone())));
        let mut client = arrive(&mut reactor, listener, version);
        client.talk(&mut reactor, 50);
        assert!(client.error.is_some());
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [failed(Op::Handshake, TlsFault::Certificate)]);
    }
}

#[test]
fn a_record_that_was_tampered_with_ends_the_connection_with_our_alert() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, version);
        client.say(b"hello\n");
        client.talk(&mut reactor, 5);
        let mut record = vec![23, 3, 3, 0, 40];
        record.extend([0xaa; 40]);
        reactor.net_mut().go_on(client.id, Script::new().send(record));
        client.talk(&mut reactor, 50);
        assert_eq!(client.got, b"hello\n");
        let bad = rustls::AlertDescription::BadRecordMac;
        assert_eq!(client.error, Some(rustls::Error::AlertReceived(bad)));
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [failed(Op::Read, TlsFault::Protocol)]);
    }
}

#[test]
fn lines_in_front_of_a_broken_record_are_shown_but_nothing_is_said_behind_the_alert() {
    for (line, reason) in [("x\n", failed(Op::Read, TlsFault::Protocol)), ("hush\n", Reason::Hushed)] {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, VERSIONS[1]);
        client.say(b"hello\n");
        client.talk(&mut reactor, 5);
        client.say(line.as_bytes());
        let mut bytes = Vec::new();
        client.conn.write_tls(&mut bytes).unwrap();
        bytes.extend([23, 3, 3, 0, 40]);
        bytes.extend([0xaa; 40]);
        reactor.net_mut().go_on(client.id, Script::new().send(bytes));
        client.talk(&mut reactor, 50);
        let bad = rustls::AlertDescription::BadRecordMac;
        assert_eq!(client.error, Some(rustls::Error::AlertReceived(bad)));
        assert_eq!((client.got.as_slice(), client.left), (&b"hello\n"[..], 0));
        reactor.net_mut().go_on(client.id, Script::new().fin());
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [reason]);
    }
}

#[test]
fn more_unread_than_the_largest_buffer_ends_the_connection_and_as_much_as_that_does_not() {
    for (len, ends) in [(60_000, false), (65_535, false), (70_000, true)] {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, VERSIONS[1]);
        client.say(b"hello\n");
        client.talk(&mut reactor, 5);
        client.say(&vec![b'x'; len]);
        client.talk(&mut reactor, 5);
        client.say(b"\n");
        client.talk(&mut reactor, 5);
        assert_eq!(reasons(&reactor).is_empty(), !ends, "{len}");
        assert_eq!(client.got.len() > 6, !ends, "{len}");
    }
}

// ---- many, and at random

#[test]
fn a_storm_of_handshakes_does_not_starve_who_is_connected() {
    let (mut reactor, listener) = echoing(BOTH);
    let mut old = arrive(&mut reactor, listener, VERSIONS[1]);
    old.say(b"hello\n");
    old.talk(&mut reactor, 5);
    let mut storm: Vec<Client> = (0..100).map(|_| arrive(&mut reactor, listener, VERSIONS[1])).collect();
    for client in &mut storm {
        client.step(&mut reactor);
    }
    old.say(b"in the storm\n");
    old.step(&mut reactor);
    let turns = reactor.counters().turns;
    while !old.got.ends_with(b"in the storm\n") {
        reactor.turn(Some(std::time::Duration::from_millis(1))).unwrap();
        reactor.check();
        old.step(&mut reactor);
        assert!(reactor.counters().turns < turns + 8);
        assert!(reactor.counters().handshakes < 40);
    }
    for _ in 0..400 {
        for client in &mut storm {
            client.step(&mut reactor);
        }
        reactor.turn(Some(std::time::Duration::from_millis(1))).unwrap();
        reactor.check();
    }
    assert_eq!(reactor.counters().handshakes, 101);
    assert!(reactor.counters().handshakes_deferred > 50);
    assert_eq!(reactor.counters().no_progress, 0);
}

fn chaotic<const R: bool>(seed: u64) {
    let mut random = Random::new(seed);
    let mut net = SimNet::<R>::with_regime(seed);
    net.chaos = Chaos::SOME;
    let listener = net.listen();
    let app = EchoApp { tls: Some(server_side(BOTH)), ..EchoApp::default() };
    let mut reactor = Reactor::new(app, net, Settings::default());
    reactor.add_listener(listener).unwrap();
    let version = VERSIONS[random.below(2) as usize];
    let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(&[version]));
    client.piece = [1, 3, 100, 4000, usize::MAX][random.below(5) as usize];
    let mut said = Vec::new();
    for _ in 0..random.below(8) {
        let line = match random.below(6) {
            0 => format!("pause {}\n", random.below(30)),
            1 => format!("produce {}\n", random.below(200_000)),
            2 => "note\n".to_string(),
            3 => format!("{}\n", "long".repeat(random.below(10_000) as usize)),
            _ => format!("line {}\n", random.next()),
        };
        client.say(line.as_bytes());
        said.extend_from_slice(line.as_bytes());
        if random.chance(50) {
            client.talk(&mut reactor, 20);
        }
    }
    client.say(b"quit\n");
    said.extend_from_slice(b"quit\n");
    client.talk(&mut reactor, 3000);
    assert!(client.got == echo::model(&said), "seed {seed}: {} bytes", client.got.len());
    assert!(client.closed, "seed {seed}");
    reactor.net_mut().go_on(client.id, Script::new().fin());
    support::settle(&mut reactor);
    let reasons: Vec<Reason> = reactor.app().ends.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(reasons, [Reason::Quit], "seed {seed}");
}

#[test]
fn in_chaos_every_byte_arrives_once_and_in_order() {
    let seeds = std::env::var("EVENKEEL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        chaotic::<true>(seed);
        chaotic::<false>(seed);
    }
}

#[test]
fn no_broken_byte_anywhere_does_more_than_end_the_connection() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = arrive(&mut reactor, listener, VERSIONS[random.below(2) as usize]);
        client.break_at = Some((random.below(700) as usize, random.next() as u8 | 1));
        client.piece = [2, 50, usize::MAX][random.below(3) as usize];
        client.say(b"hello\nproduce 3000\n");
        client.talk(&mut reactor, 5);
        client.conn.send_close_notify();
        client.talk(&mut reactor, 5);
        reactor.net_mut().go_on(client.id, Script::new().fin());
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor).len(), 1, "{seed}");
    }
}

#[test]
fn a_session_is_resumed_by_ticket() {
    let mut config = (*server_config(BOTH)).clone();
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    let config = Arc::new(config);
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        reactor.app_mut().tls = Some(TlsSide::Server(config.clone()));
        let rules = client_config(&[version]);
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let mut client = Client::arrive(&mut reactor, listener, Script::new(), rules.clone());
            client.say(b"hello\n");
            client.talk(&mut reactor, 20);
            assert_eq!((client.got.as_slice(), client.conn.handshake_kind()), (&b"hello\n"[..], Some(kind)));
        }
    }
}
