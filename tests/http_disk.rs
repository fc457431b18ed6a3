//! Requests for files that are not at hand: they wait for the disk, and nobody else does.

mod support;

use evenkeel::http::files::{Errand, Files, FilesOptions, LookAhead};
use evenkeel::observe::Reason;
use evenkeel::reactor::Settings;
use evenkeel::reactor::net::sim::{Script, SimId, SimNet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::http::{Serving, responses, serving_in, site};
use support::run_for;

/// Errands that wait until the test runs them.
#[derive(Debug, Default)]
struct Kept {
    errands: Mutex<Vec<Errand>>,
    /// It takes no more.
    full: bool,
}

impl LookAhead for Kept {
    fn look(&self, errand: Errand) -> bool {
        if !self.full {
            self.errands.lock().unwrap().push(errand);
        }
        !self.full
    }
}

struct World {
    reactor: Serving,
    listener: evenkeel::reactor::net::sim::SimListener,
    kept: Arc<Kept>,
}

const FILES: [(&str, &[u8]); 7] = [
    ("a.txt", b"letters"),
    ("b.js", &[b'x'; 2000]),
    ("b.js.br", b"BROTLI"),
    ("d/index.html", b"<p>index"),
    ("big.bin", &[b'b'; 300_000]),
    ("list/one", b"1"),
    ("app.html", b"<p>app"),
];

impl World {
    fn new(full: bool) -> World {
        let mut net = SimNet::new(1);
        FILES.iter().for_each(|(path, bytes)| net.files.file(path, *bytes, 1_000_000));
        let kept = Arc::new(Kept { full, ..Kept::default() });
        let fallback = Some("app.html".into());
        let ahead: Option<Arc<dyn LookAhead>> = Some(kept.clone());
        let options = FilesOptions { listing: true, fallback, ahead, ..FilesOptions::new("/") };
        let mut site = site();
        site.route(None, &[], "/files/*", None, Box::new(Files::new(options))).unwrap();
        let (reactor, listener) = serving_in(net, site, Settings::default());
        World { reactor, listener, kept }
    }

    fn chill(&mut self, paths: &[&str]) {
        paths.iter().for_each(|path| self.reactor.net_mut().files.chill(path));
    }

    fn send(&mut self, sent: &str) -> SimId {
        let id = self.reactor.net_mut().arrive(self.listener, Script::new().send(sent));
        run_for(&mut self.reactor, 10);
        id
    }

    /// Runs what waits; how many that were.
    fn run(&mut self) -> usize {
        let errands = std::mem::take(&mut *self.kept.errands.lock().unwrap());
        let count = errands.len();
        errands.into_iter().for_each(|errand| errand.run(self.reactor.net_mut()));
        run_for(&mut self.reactor, 10);
        count
    }

    fn sent(&self, id: SimId) -> String {
        String::from_utf8_lossy(self.reactor.net().sent(id)).into_owned()
    }

    fn statuses(&self, id: SimId) -> Vec<u16> {
        responses(self.reactor.net().sent(id), &[]).iter().map(|seen| seen.status).collect()
    }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET /files/{path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

const BROTLI: &str = "accept-encoding: br\r\n";
const HTML: &str = "accept: text/html\r\n";

#[test]
fn whatever_is_not_at_hand_is_waited_for_once_and_then_answered_as_if_it_had_been() {
    for (request, cold) in [
        (get("a.txt", ""), &["a.txt"][..]),
        (get("a.txt", "range: bytes=2-4\r\n"), &["a.txt"]),
        (get("a.txt", "if-none-match: \"no\"\r\n"), &["a.txt"]),
        (get("a.txt", "").replace("GET", "HEAD"), &["a.txt"]),
        (get("b.js", BROTLI), &["b.js"]),
        (get("b.js", BROTLI), &["b.js.br"]),
        (get("b.js", BROTLI), &["b.js", "b.js.br"]),
        (get("b.js", "accept-encoding: gzip\r\n"), &["b.js.gz"]),
        (get("d/", ""), &["d/index.html"]),
        (get("d", ""), &["d"]),
        (get("big.bin", ""), &["big.bin"]),
        (get("big.bin", "range: bytes=100000-100009\r\n"), &["big.bin"]),
        (get("list/", ""), &[]),
        (get("list/", "accept: application/json\r\n"), &["list/index.html", "list"]),
        (get("none", ""), &["none"]),
        (get("none", HTML), &["none", "app.html"]),
        (get("none", HTML), &["app.html"]),
    ] {
        let mut warm = World::new(false);
        let expected = warm.send(&request);
        // A listing is never known to be at hand.
        let listed = warm.run() > 0;
        let mut world = World::new(false);
        world.chill(cold);
        let id = world.send(&request);
        assert_eq!(world.sent(id), "", "{cold:?} {request}");
        let other = world.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(world.statuses(other), [200], "{request}");
        assert_eq!(world.run(), 1, "{cold:?} {request}");
        assert!(listed || !cold.is_empty());
        assert_eq!(world.sent(id), warm.sent(expected), "{cold:?} {request}");
        assert!(!world.sent(id).is_empty() && world.run() == 0);
        // It is remembered: nothing is waited for again.
        let again = world.send(&request);
        if request.contains("none") {
            continue;
        }
        assert_eq!(world.sent(again), warm.sent(expected), "{cold:?} {request}");
    }
}

#[test]
fn answers_keep_their_order_behind_one_that_waits() {
    let mut world = World::new(false);
    world.chill(&["a.txt"]);
    let requests = [get("b.js", ""), get("a.txt", ""), get("d/", "connection: close\r\n")].concat();
    let id = world.send(&requests);
    assert_eq!(world.statuses(id), [200]);
    assert_eq!(world.run(), 1);
    let bodies: Vec<Vec<u8>> =
        responses(world.reactor.net().sent(id), &[]).into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [FILES[1].1, FILES[0].1, FILES[3].1]);
    let done = (200, true, Some(Reason::Done));
    assert_eq!(world.reactor.app().tape().exchanges, [(200, true, None), (200, true, None), done]);
}

#[test]
fn what_is_remembered_and_cannot_be_compared_with_the_disk_waits_and_is_still_remembered() {
    let mut world = World::new(false);
    let first = world.send(&get("a.txt", ""));
    run_for(&mut world.reactor, 1500);
    world.chill(&["a.txt"]);
    let second = world.send(&get("a.txt", ""));
    assert_eq!(world.sent(second), "");
    assert_eq!(world.run(), 1);
    let reads = world.reactor.net().calls().file_reads;
    assert_eq!(world.statuses(second), [200]);
    assert_eq!(reads, 2, "the first request read it, and the errand; the second did not");
    assert_eq!(world.statuses(first), [200]);
}

#[test]
fn what_goes_away_again_before_it_is_asked_for_is_waited_for_after_all() {
    let mut world = World::new(false);
    world.chill(&["a.txt"]);
    let id = world.send(&get("a.txt", ""));
    let errands = std::mem::take(&mut *world.kept.errands.lock().unwrap());
    errands.into_iter().for_each(|errand| errand.run(world.reactor.net_mut()));
    world.chill(&["a.txt"]);
    run_for(&mut world.reactor, 10);
    assert_eq!((world.statuses(id), world.run()), (vec![200], 0));
}

#[test]
fn where_nobody_can_look_ahead_any_more_the_client_is_asked_to_come_again() {
    let mut world = World::new(true);
    world.chill(&["a.txt"]);
    let id = world.send(&[get("a.txt", ""), get("b.js", "")].concat());
    assert_eq!(world.statuses(id), [503, 200]);
    assert!(world.sent(id).contains("Retry-After: 1\r\n"), "{}", world.sent(id));
    run_for(&mut world.reactor, 10);
    assert_eq!(world.reactor.app().tape().closes, []);
}

#[test]
fn an_errand_that_is_lost_costs_its_request_only() {
    let mut world = World::new(false);
    world.chill(&["a.txt"]);
    let id = world.send(&get("a.txt", ""));
    world.kept.errands.lock().unwrap().clear();
    run_for(&mut world.reactor, 10);
    assert_eq!(world.statuses(id), [500]);
    assert_eq!(world.reactor.app().tape().exchanges, [(500, true, Some(Reason::HandlerFailed))]);
}

#[test]
fn who_leaves_while_the_disk_is_waited_for_is_let_go_and_the_errand_does_no_harm() {
    let mut world = World::new(false);
    world.chill(&["a.txt", "big.bin"]);
    let gone = world.reactor.net_mut().arrive(world.listener, Script::new().send(get("a.txt", "")).reset());
    let stays = world.send(&get("big.bin", ""));
    assert!(world.reactor.net().closed(gone).is_some());
    assert_eq!(world.run(), 2);
    assert_eq!(world.statuses(stays), [200]);
}

#[test]
fn a_drain_waits_for_who_waits_for_the_disk() {
    let mut world = World::new(false);
    world.chill(&["a.txt"]);
    let id = world.send(&get("a.txt", ""));
    world.reactor.drain(Duration::from_secs(30));
    run_for(&mut world.reactor, 1000);
    assert_eq!(world.sent(id), "");
    assert_eq!(world.run(), 1);
    assert!(world.sent(id).contains("connection: close") && world.statuses(id) == [200]);
    assert_eq!(world.reactor.app().tape().exchanges, [(200, true, Some(Reason::Drained))]);
}
