//! Files that change while they are being sent, in the whole server in a simulated world.

mod support;

use evenkeel::http::Service;
use evenkeel::http::files::{Files, FilesOptions};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Script, SimId, SimNet};
use evenkeel::reactor::{CloseHow, Millis, Settings};
use support::http::{Serving, responses, serving_in, site};
use support::{run_for, settle};

const LEN: usize = 1_000_000;

/// A client that takes 300,000 bytes of the answer, and the rest a second later; meanwhile this happens to the file.
fn while_it_is_sent(fields: &str, happens: impl FnOnce(&mut Serving)) -> (Serving, SimId) {
    let mut net = SimNet::new(1);
    net.files.file("big.bin", vec![b'f'; LEN], 1_000_000);
    let mut site = site();
    site.route(None, &[], "/files/*", None, Box::new(Files::new(FilesOptions::new("/")))).unwrap();
    let (mut reactor, listener) = serving_in(net, site, Settings::default());
    let get = format!("GET /files/big.bin HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let then = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let script = Script::new().window(300_000).send(get).send(then).wait(1000).window(u64::MAX);
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 500);
    happens(&mut reactor);
    settle(&mut reactor);
    (reactor, id)
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_is_cut_off_and_never_has_a_wrong_length() {
    for fields in ["", "range: bytes=10-\r\n", "range: bytes=0-9,500000-899999\r\n"] {
        let (reactor, id) =
            while_it_is_sent(fields, |reactor| reactor.net_mut().files.shrink("big.bin", 600_000));
        let seen = responses(reactor.net().sent(id), &[]);
        assert_eq!((seen.len(), seen[0].whole), (1, false), "{fields}");
        assert_eq!(reactor.app().tape().closes, [Reason::FileChanged], "{fields}");
        assert_eq!(reactor.net().closed(id), Some(CloseHow::Reset), "{fields}");
        assert_eq!(reactor.app().tape().exchanges.len(), 1, "what came behind it is not answered");
    }
}

#[test]
fn a_file_that_vanishes_or_is_replaced_while_it_is_sent_is_sent_to_its_end() {
    let vanish = |reactor: &mut Serving| reactor.net_mut().files.remove("big.bin");
    let replace = |reactor: &mut Serving| {
        reactor.net_mut().files.remove("big.bin");
        reactor.net_mut().files.file("big.bin", vec![b'n'; 10], 2_000_000);
    };
    for happens in [&vanish as &dyn Fn(&mut Serving), &replace] {
        let (reactor, id) = while_it_is_sent("", happens);
        let seen = responses(reactor.net().sent(id), &[]);
        assert!(seen[0].whole && seen[0].body == vec![b'f'; LEN]);
        assert_eq!((seen[1].status, &reactor.app().tape().closes[..]), (200, &[Reason::Done][..]));
    }
}

#[test]
fn a_file_that_is_being_sent_long_after_it_was_asked_for_is_sent_to_its_end() {
    let idle = |reactor: &mut Serving| {
        reactor.net_mut().files.remove("big.bin");
        reactor.app_mut().site().idle(Millis(60_000));
        assert_eq!(reactor.net().files.handles(), 1, "by the one who is being sent it");
    };
    let (mut reactor, id) = while_it_is_sent("", idle);
    let seen = responses(reactor.net().sent(id), &[]);
    assert!(seen[0].whole && seen[0].body == vec![b'f'; LEN]);
    assert_eq!(reactor.net_mut().files.handles(), 0);
}

#[test]
fn a_file_that_grows_while_it_is_sent_has_the_length_that_was_announced() {
    let (reactor, id) =
        while_it_is_sent("", |reactor| reactor.net_mut().files.rewrite("big.bin", vec![b'f'; 2 * LEN], 2));
    let seen = responses(reactor.net().sent(id), &[]);
    assert!(seen[0].whole && seen[0].body.len() == LEN);
    assert_eq!(seen[1].status, 200);
}

/// A client asks so many times in one read; how often it was answered when another, which asked once, was.
fn answered_before_another(fields: &str, path: impl Fn(usize) -> String) -> usize {
    const TIMES: usize = 200;
    let mut net = SimNet::new(1);
    for n in 0..TIMES {
        net.files.file(&format!("d/{n}.txt"), vec![b't'; 2000], 1_000_000);
    }
    let mut site = site();
    let options = FilesOptions { listing: true, ..FilesOptions::new("/") };
    site.route(None, &[], "/files/*", None, Box::new(Files::new(options))).unwrap();
    let (mut reactor, listener) = serving_in(net, site, Settings::default());
    let ask = |n| format!("HEAD /files/d/{} HTTP/1.1\r\nhost: a\r\n{fields}\r\n", path(n));
    let many: String = (0..TIMES).map(ask).collect();
    let busy = reactor.net_mut().arrive(listener, Script::new().send(many));
    let other = reactor.net_mut().arrive(listener, Script::new().send("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    while reactor.net().sent(other).is_empty() {
        reactor.turn(None).unwrap();
    }
    let before = reactor.app().tape().exchanges.len() - 1;
    settle(&mut reactor);
    assert_eq!(responses(reactor.net().sent(busy), &["HEAD"; TIMES]).len(), TIMES, "all are answered");
    before
}

#[test]
fn answers_that_are_much_work_do_not_keep_others_from_theirs() {
    assert_eq!(answered_before_another("", |_| String::new()), 1, "a listing");
    let compressed = answered_before_another("accept-encoding: gzip\r\n", |n| format!("{n}.txt"));
    assert_eq!(compressed, 1, "compressed for the first time");
    assert_eq!(answered_before_another("", |_| "0.txt".into()), 200, "all others are answered at once");
    assert_eq!(
        answered_before_another("", |n| format!("none-{n}")),
        64,
        "for 32 a pass the disk is looked at"
    );
}

#[test]
fn who_waits_for_its_turn_behind_what_was_much_work_is_not_let_go_as_idle() {
    waits_for_its_turn("HEAD /files/d/ HTTP/1.1\r\nhost: a\r\n\r\n", 20);
    waits_for_its_turn("HEAD /files/d/t.txt HTTP/1.1\r\nhost: a\r\n\r\n", 600);
}

fn waits_for_its_turn(ask: &str, times: usize) {
    let mut net = SimNet::new(1);
    net.files.file("d/t.txt", vec![b't'; 2000], 1_000_000);
    let mut site = site();
    let options = FilesOptions { listing: true, ..FilesOptions::new("/") };
    site.route(None, &[], "/files/*", None, Box::new(Files::new(options))).unwrap();
    let (mut reactor, listener) = serving_in(net, site, Settings::default());
    let busy = reactor.net_mut().arrive(listener, Script::new().send(ask.repeat(times)));
    while reactor.net().sent(busy).is_empty() {
        reactor.turn(None).unwrap();
    }
    // As when memory or descriptors run short.
    assert_eq!(reactor.evict(1), 0);
    assert!(reactor.with_app(|_, cx| cx.survey().all(|row| !row.evictable)), "it answers for what it holds");
    run_for(&mut reactor, 1000);
    assert_eq!(responses(reactor.net().sent(busy), &vec!["HEAD"; times]).len(), times);
    assert_eq!(reactor.evict(1), 1, "now it is idle");
}
