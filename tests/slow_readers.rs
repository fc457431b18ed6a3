//! Readers that are slow, honest or not, in the whole server in a simulated world. A peer's first window stands for the kernel's
//! send buffer: it takes so much before the server is ever refused.

mod support;

use evenkeel::http::files::{Files, FilesOptions};
use evenkeel::http::{Flow, Site};
use evenkeel::observe::Reason;
use evenkeel::reactor::Settings;
use evenkeel::reactor::net::sim::{Script, SimId, SimNet};
use support::http::{Serving, responses, serving_in, site};
use support::run_for;

/// What the kernel takes for a peer that reads nothing.
const KERNEL: u64 = 200_000;
const WHOLE: usize = 10 << 20;
const GET_FILE: &str = "GET /files/big.bin HTTP/1.1\r\nhost: a\r\n\r\n";
const GET_STREAM: &str = "GET /made HTTP/1.1\r\nhost: a\r\n\r\n";

/// A file of 10 MiB, and as much made piece by piece.
fn big() -> Site {
    let mut site = site();
    let files = Files::new(FilesOptions::new("/"));
    site.route(None, &[], "/files/*", None, Box::new(files)).unwrap();
    let made = |_: &evenkeel::http::Request<'_>, reply: evenkeel::http::Responder<'_>| {
        let mut left = WHOLE;
        let body = move |out: &mut Vec<u8>| {
            out.resize(left.min(32 << 10), b's');
            left -= out.len();
            if left > 0 { Flow::More } else { Flow::End }
        };
        reply.start(200).stream(None, Box::new(body))
    };
    site.route(None, &[], "/made", None, Box::new(made)).unwrap();
    site
}

/// One peer, to the end of its connection: also the most memory that waited for it, and when it ended.
fn one(script: Script) -> (Serving, SimId, usize, u64) {
    let mut net = SimNet::new(1);
    net.files.file("big.bin", vec![b'f'; WHOLE], 1_000_000);
    let (mut reactor, listener) = serving_in(net, big(), Settings::default());
    let id = reactor.net_mut().arrive(listener, script);
    reactor.net_mut().log_limit = 2 * WHOLE;
    let mut most = 0;
    while closes(&reactor).is_empty() {
        run_for(&mut reactor, 20);
        most = most.max(reactor.with_app(|_, cx| cx.buffers_held()));
    }
    let ended = reactor.net().elapsed_ms();
    (reactor, id, most, ended)
}

fn closes(reactor: &Serving) -> &[Reason] {
    &reactor.app().tape().closes
}

#[test]
fn what_the_kernel_buffers_is_no_sign_that_a_trickling_peer_takes_anything() {
    for get in [GET_FILE, GET_STREAM] {
        let (reactor, _, _, ended) = one(Script::new().window(KERNEL).send(get).wait(5).sip(32, 5000, 40));
        assert_eq!(closes(&reactor), [Reason::WriteTooSlow], "{get}");
        assert!((30_000..30_200).contains(&ended), "{get}: {ended} ms");
    }
}

#[test]
fn a_peer_that_never_reads_is_given_up_after_the_write_timeout() {
    for get in [GET_FILE, GET_STREAM] {
        let (reactor, _, most, ended) = one(Script::new().window(KERNEL).send(get));
        assert_eq!(closes(&reactor), [Reason::WriteStalled], "{get}");
        assert!((30_000..30_200).contains(&ended), "{get}: {ended} ms");
        assert!(most <= 5 * (64 << 10), "{get}: {most} bytes waited");
    }
}

#[test]
fn a_peer_that_takes_much_and_then_trickles_is_given_up_a_window_later() {
    for get in [GET_FILE, GET_STREAM] {
        let (reactor, _, _, ended) =
            one(Script::new().window(KERNEL).send(get).wait(5).window(2 << 20).wait(1000).sip(32, 5000, 40));
        assert_eq!(closes(&reactor), [Reason::WriteTooSlow], "{get}");
        assert!((30_000..31_200).contains(&ended), "{get}: {ended} ms");
    }
}

#[test]
fn a_peer_that_reads_32_kb_a_second_gets_the_whole_of_it() {
    for get in [GET_FILE, GET_STREAM] {
        // 128 KiB at a time is how the kernel tells of a reader as slow as that.
        let (reactor, id, _, ended) =
            one(Script::new().window(KERNEL).send(get).wait(5).sip(128 << 10, 4096, 85).fin());
        let seen = responses(reactor.net().sent(id), &[]);
        assert!(seen[0].whole && seen[0].body.len() == WHOLE, "{get}");
        assert_eq!(closes(&reactor), [Reason::PeerClosed], "{get}");
        assert!(ended > 300_000, "{get}: {ended} ms");
    }
}

#[test]
fn a_peer_that_pauses_for_20_seconds_gets_the_whole_of_it() {
    for get in [GET_FILE, GET_STREAM] {
        for before in [0, 1 << 20] {
            let script = Script::new().window(KERNEL).send(get).wait(5).window(before);
            let (reactor, id, ..) = one(script.wait(20_000).window(u64::MAX).wait(100).fin());
            let seen = responses(reactor.net().sent(id), &[]);
            assert!(seen[0].whole && seen[0].body.len() == WHOLE, "{get} {before}");
            assert_eq!(closes(&reactor), [Reason::PeerClosed], "{get} {before}");
        }
    }
}

#[test]
fn a_peer_that_reads_just_above_the_rate_stays_and_just_below_it_goes() {
    // What is taken in the first second does not count.
    for (bytes, stays) in [(6_200, true), (5_000, false)] {
        let mut net = SimNet::new(1);
        net.files.file("big.bin", vec![b'f'; WHOLE], 1_000_000);
        let (mut reactor, listener) = serving_in(net, big(), Settings::default());
        reactor
            .net_mut()
            .arrive(listener, Script::new().window(KERNEL).send(GET_FILE).wait(5).sip(bytes, 5000, 100));
        run_for(&mut reactor, 200_000);
        assert_eq!(closes(&reactor).is_empty(), stays, "{bytes} bytes in 5 s");
    }
}

#[test]
fn a_peer_is_not_given_up_before_the_kernel_was_asked_once_more() {
    for get in [GET_FILE, GET_STREAM] {
        // 60,000 bytes in 29 s are more than the rate wants, but too few for an edge.
        let sip = |script: Script| script.wait(29_000).quiet_window(60_000).wait(1000);
        let script = (0..4).fold(Script::new().window(KERNEL).send(get).wait(5), |script, _| sip(script));
        let (reactor, id, _, ended) = one(script.window(u64::MAX).wait(5000).fin());
        let seen = responses(reactor.net().sent(id), &[]);
        assert!(seen[0].whole && seen[0].body.len() == WHOLE, "{get}: {ended} ms {:?}", closes(&reactor));
        assert_eq!(closes(&reactor), [Reason::PeerClosed], "{get}");
        // And with fewer it is too slow.
        let script = Script::new().window(KERNEL).send(get).wait(29_000).quiet_window(20_000);
        let (reactor, _, _, ended) = one(script);
        assert_eq!(closes(&reactor), [Reason::WriteTooSlow], "{get}");
        assert!((30_000..30_200).contains(&ended), "{get}: {ended} ms");
    }
}

#[test]
fn last_bytes_that_are_taken_without_a_word_are_sent_before_the_deadline_is_judged() {
    let get = "GET /files/big.bin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let script = Script::new().window(KERNEL).send(get).wait(29_000).quiet_window(u64::MAX).await_fin().fin();
    let (reactor, id, ..) = one(script);
    let seen = responses(reactor.net().sent(id), &[]);
    assert!(seen[0].whole && seen[0].body.len() == WHOLE);
    assert_eq!(closes(&reactor), [Reason::Done]);
}

#[test]
fn what_the_peer_s_kernel_buffers_is_no_sign_either() {
    for get in [GET_FILE, GET_STREAM] {
        let asks = Script::new().window(KERNEL).send(get).wait(100);
        for script in [asks.clone().window(64 << 10), asks.quiet_window(64 << 10)] {
            let (reactor, _, _, ended) = one(script);
            assert_eq!(closes(&reactor), [Reason::WriteStalled], "{get}");
            assert!((30_000..30_200).contains(&ended), "{get}: {ended} ms");
        }
    }
}
