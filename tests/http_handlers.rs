//! What handlers can do, in the whole server in a simulated world.

mod support;

use evenkeel::http::{
    Accepting, Body, BodyPolicy, Connection, Exchanged, Flow, Handler, Late, Outcome, Reply, Request,
    Responder, Server, Service, Site, Ticket, Upload,
};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Script, SimId, SimNet};
use evenkeel::reactor::{
    Admit, App, AppCx, Close, CloseHow, Cx, End, EventOf, Handle, Input, ListenerId, Part, Peer, Reactor,
    Session, Settings, Step, StepOf, Turn,
};
use evenkeel::wire::limits::Limits;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;
use support::http::{
    self, Count, Seen, Serving, Streaming, options, responses, serving, serving_with, site, tickets,
};
use support::{run_for, settle};

fn with(path: &str, handler: impl Handler + 'static) -> Site {
    let mut site = site();
    site.route(None, &[], path, None, Box::new(handler)).unwrap();
    site
}

/// A closure as a handler.
fn f(f: impl FnMut(&Request<'_>, Responder<'_>) -> Reply + 'static) -> impl Handler + 'static {
    struct F<T>(T);
    impl<T: FnMut(&Request<'_>, Responder<'_>) -> Reply> Handler for F<T> {
        fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
            (self.0)(request, reply)
        }
    }
    F(f)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

fn post(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

/// One peer, to the end; tickets are answered after 100 ms.
fn one(site: Site, script: Script) -> (Serving, SimId) {
    let (mut reactor, listener) = serving(site);
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 100);
    http::answer_all();
    settle(&mut reactor);
    (reactor, id)
}

fn seen(reactor: &Serving, id: SimId) -> Vec<Seen> {
    responses(reactor.net().sent(id), &[])
}

fn brief(reactor: &Serving, id: SimId) -> Vec<(u16, String)> {
    seen(reactor, id)
        .into_iter()
        .map(|seen| {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            (seen.status, if seen.whole { body } else { format!("{body}…") })
        })
        .collect()
}

fn is(status: u16, body: &str) -> (u16, String) {
    (status, body.to_string())
}

fn closes(reactor: &Serving) -> &[Reason] {
    &reactor.app().tape().closes
}

fn reported(reactor: &Serving) -> Vec<u16> {
    reactor.app().tape().exchanges.iter().map(|(status, ..)| *status).collect()
}

// ---- answers ----

#[test]
fn an_answer_of_8_mib_reaches_a_client_that_takes_it_slowly() {
    const LEN: usize = 8 << 20;
    static STATIC: [u8; LEN] = [b'x'; LEN];
    let shared: Arc<[u8]> = vec![b'x'; LEN].into();
    let other = shared.clone();
    let mut site = with("/body", f(|_, reply| reply.start(200).body(&STATIC)));
    site.on("GET", "/shared", move |_, reply| reply.start(200).shared(&shared, 0..LEN)).unwrap();
    site.on("GET", "/static", |_, reply| reply.start(200).part(Part::Static(&STATIC))).unwrap();
    site.on("GET", "/parts", move |_, reply| {
        let half = Part::Shared(other.clone(), 7..7 + LEN / 2);
        reply.start(200).parts([Part::Static(b""), half, Part::Static(&STATIC[..LEN / 2])])
    })
    .unwrap();
    let (mut reactor, listener) = serving(site);
    let ids = ["/body", "/shared", "/static", "/parts"].map(|path| {
        let asked = [format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n"), get(path), get("/")];
        let script = Script::new().window(64 << 10).send(asked.concat()).wait(100).window(u64::MAX);
        reactor.net_mut().arrive(listener, script)
    });
    run_for(&mut reactor, 1000);
    assert_eq!(closes(&reactor), []);
    for id in ids {
        let seen = responses(reactor.net().sent(id), &["HEAD"]);
        assert_eq!(seen.len(), 3);
        assert!(seen[0].head.contains("content-length: 8388608\r\n") && seen[0].head == seen[1].head);
        assert!(seen[1].whole && seen[1].body == STATIC, "{} bytes", seen[1].body.len());
        assert_eq!(seen[2].body, b"ok");
    }
    assert_eq!(reported(&reactor), [200; 12]);
}

#[test]
fn what_a_large_answer_holds_ends_with_it_whoever_else_has_its_bytes_meanwhile() {
    const LEN: usize = 8 << 20;
    let shared: Arc<[u8]> = vec![b'x'; LEN].into();
    let own = shared.clone();
    let large = f(move |_, reply| reply.start(200).shared(&own, 0..LEN));
    let (mut reactor, listener) = serving(with("/large", large));
    let script = Script::new().window(64 << 10).send(get("/large")).wait(100).window(u64::MAX);
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 50);
    assert!(reactor.with_app(|_, cx| cx.sessions_hold()) > LEN / 4);
    // As other workers do that send the same.
    let others = vec![shared; 8];
    run_for(&mut reactor, 1000);
    assert!(seen(&reactor, id)[0].whole);
    assert_eq!(reactor.with_app(|_, cx| cx.sessions_hold()), 0);
    drop(others);
}

#[test]
fn what_has_come_of_a_request_counts_as_held_until_it_is_answered() {
    let head = post("/echo", "content-length: 100000\r\n");
    let long = post("/upload", &format!("x: {}\r\ncontent-length: 10\r\n", "y".repeat(9_000)));
    for (first, rest, least) in [(head.clone() + &"x".repeat(60_000), 40_000, 60_000), (long, 10, 9_000)] {
        let (mut reactor, listener) = serving(site());
        let script = Script::new().send(first).wait(100).send("x".repeat(rest));
        let id = reactor.net_mut().arrive(listener, script);
        run_for(&mut reactor, 50);
        assert!(reactor.with_app(|_, cx| cx.sessions_hold()) >= least);
        run_for(&mut reactor, 100);
        assert_eq!((reported(&reactor), seen(&reactor, id)[0].whole), (vec![200], true));
        assert_eq!(reactor.with_app(|_, cx| cx.sessions_hold()), 0);
    }
}

/// Says that it holds so much each time it is asked, or panics; waits once.
struct Holds(Vec<usize>);

impl Body for Holds {
    fn more(&mut self, out: &mut Vec<u8>) -> Flow {
        out.push(b'x');
        match self.0.pop() {
            Some(_) if !self.0.is_empty() => Flow::Wait,
            _ => Flow::End,
        }
    }

    fn held(&self) -> usize {
        *self.0.last().expect("on purpose")
    }
}

#[test]
fn what_a_body_holds_is_asked_after_each_piece_and_nothing_is_lost_where_it_cannot_say() {
    let holds = f(|_, reply| {
        http::keep(reply.ticket());
        reply.start(200).stream(None, Box::new(Holds(vec![30_000, 2_000_000, 1_000_000])))
    });
    let (mut reactor, listener) = serving(with("/holds", holds));
    let id = reactor.net_mut().arrive(listener, Script::new().send(get("/holds")));
    let ticket = || tickets().pop().unwrap();
    run_for(&mut reactor, 10);
    let ticket = ticket();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(reactor.with_app(|_, cx| cx.sessions_hold()) / 10_000);
        ticket.nudge();
        run_for(&mut reactor, 10);
    }
    assert_eq!((held, brief(&reactor, id)), (vec![200, 3, 0], vec![is(200, "xxx")]));
}

#[test]
fn a_closure_answers_and_sees_the_request() {
    let site = with(
        "/hello/{name}",
        f(|request, reply| {
            let name = request.param("name").unwrap().to_vec();
            reply.start(200).text("content-type", "text/plain").body(&name)
        }),
    );
    let (reactor, id) = one(site, Script::new().send(get("/hello/you")).fin());
    assert_eq!(brief(&reactor, id), [is(200, "you")]);
    assert!(seen(&reactor, id)[0].head.contains("\r\ncontent-type: text/plain\r\n"));
}

#[test]
fn pipelined_requests_are_answered_in_order_even_if_one_is_late() {
    let all = [get("/"), get("/late"), get("/stream"), get("/"), get("/nothing")].concat();
    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, Script::new().send(all).fin());
    run_for(&mut reactor, 50);
    assert_eq!(brief(&reactor, id), [is(200, "ok")]);
    http::answer_all();
    run_for(&mut reactor, 50);
    assert_eq!(brief(&reactor, id), [is(200, "ok"), is(200, "late"), is(200, "a…")]);
    http::answer_all();
    settle(&mut reactor);
    let bodies: Vec<_> = brief(&reactor, id).into_iter().take(4).collect();
    assert_eq!(bodies, [is(200, "ok"), is(200, "late"), is(200, "ab"), is(200, "ok")]);
    assert_eq!(seen(&reactor, id)[4].status, 404);
    assert_eq!(
        (reported(&reactor), closes(&reactor)),
        (vec![200, 200, 200, 200, 404], &[Reason::PeerClosed][..])
    );
}

#[test]
fn one_who_asks_a_thousand_things_at_once_does_not_keep_others_waiting_for_all_of_it() {
    let (mut reactor, listener) = serving(site());
    let many = reactor.net_mut().arrive(listener, Script::new().send(get("/nothing").repeat(1000)).fin());
    let one = reactor.net_mut().arrive(listener, Script::new().send(get("/")).await_fin().fin());
    while reactor.net().sent(one).is_empty() {
        assert_ne!(reactor.turn(None).unwrap(), Turn::Finished);
    }
    assert!(seen(&reactor, many).len() <= 512, "{}", seen(&reactor, many).len());
    settle(&mut reactor);
    assert!(seen(&reactor, many).iter().all(|seen| seen.status == 404));
    assert_eq!((seen(&reactor, many).len(), brief(&reactor, one)), (1000, vec![is(200, "ok")]));
}

#[test]
fn an_exchange_is_reported_with_its_route_however_it_was_answered() {
    let panics = f(|_: &Request<'_>, _: Responder<'_>| panic!("on purpose"));
    let (mut reactor, listener) = serving(with("/bad", panics));
    let asked: Vec<String> = vec![
        get("/"),
        get("/late"),
        get("/stream"),
        post("/echo", "content-length: 3\r\n") + "abc",
        post("/upload", "content-length: 3\r\n") + "abc",
        get("/none"),
        get("/bad"),
    ];
    reactor.net_mut().arrive(listener, Script::new().send(asked.concat()));
    for _ in 0..9 {
        run_for(&mut reactor, 50);
        http::answer_all();
    }
    let gone = Script::new().send(get("/late")).wait(10).reset();
    reactor.net_mut().arrive(listener, gone);
    run_for(&mut reactor, 100);
    let slow = Script::new().send(post("/upload", "content-length: 30\r\n") + "abc");
    reactor.net_mut().arrive(listener, slow);
    run_for(&mut reactor, 100_000);
    assert_eq!(
        routes(&reactor),
        ["/", "/late", "/stream", "/echo", "/upload", "-", "/bad", "/late", "/upload"]
    );
}

fn routes(reactor: &Serving) -> Vec<&str> {
    reactor.app().tape().routes.iter().map(|name| name.as_deref().unwrap_or("-")).collect()
}

#[test]
fn an_upload_without_a_body_is_reported_with_its_route() {
    for fields in ["content-length: 0\r\n", ""] {
        let (reactor, _) = one(site(), Script::new().send(post("/upload", fields)).fin());
        assert_eq!((reported(&reactor), routes(&reactor)), (vec![200], vec!["/upload"]), "{fields:?}");
    }
}

#[test]
fn an_upload_that_is_answered_with_much_is_reported_with_its_route() {
    struct Much;
    impl Upload for Much {
        fn data(&mut self, _: &[u8]) -> Accepting {
            Accepting::More
        }
        fn end(self: Box<Self>, _: bool, reply: Responder<'_>) -> Reply {
            reply.start(200).body(&[b'x'; http::BIG])
        }
    }
    let much = Streaming(|_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Much)));
    let script = Script::new().window(1000).send(post("/much", "content-length: 3\r\n")).send("abc");
    let (reactor, _) = one(with("/much", much), script.wait(500).window(u64::MAX).fin());
    assert_eq!((reported(&reactor), routes(&reactor)), (vec![200], vec!["/much"]));
}

#[test]
fn a_body_that_is_refused_is_reported_with_its_route() {
    let megabytes = format!("200000\r\n{}", "x".repeat(0x20_0000));
    for (fields, body, status) in [
        ("content-length: 9999999\r\n", "", 413),
        ("transfer-encoding: chunked\r\n", &megabytes, 413),
        ("transfer-encoding: chunked\r\n", "z\r\n", 400),
        ("content-length: 9\r\n", "abc", 408),
    ] {
        let script = Script::new().send(post("/echo", fields)).send(body);
        let (reactor, _) = one(site(), script);
        assert_eq!((reported(&reactor), routes(&reactor)), (vec![status], vec!["/echo"]), "{fields:?}");
    }
    for script in [Script::new().fin(), Script::new().reset()] {
        let script = Script::new().send(post("/echo", "content-length: 9\r\n")).wait(10).then(script);
        let (reactor, _) = one(site(), script);
        assert_eq!((reported(&reactor), routes(&reactor)), (vec![0], vec!["/echo"]));
    }
}

#[test]
fn all_answers_to_one_read_leave_in_one_write() {
    let all = get("/").repeat(50);
    let (reactor, id) = one(site(), Script::new().send(all).await_sent(50 * 100).fin());
    assert_eq!(seen(&reactor, id).len(), 50);
    assert_eq!((reactor.net().calls().writes, reactor.counters().reads), (1, 1));
}

#[test]
fn head_204_and_304_have_no_body_whatever_the_handler_says() {
    let mut site = site();
    for (path, status) in [("/none", 204), ("/same", 304)] {
        let stream = format!("{path}/stream");
        let body = || {
            |out: &mut Vec<u8>| {
                out.extend_from_slice(b"xyz");
                Flow::End
            }
        };
        let add = |site: &mut Site, path: &str, handler| site.route(None, &[], path, None, handler).unwrap();
        add(
            &mut site,
            path,
            Box::new(move |_: &Request<'_>, reply: Responder<'_>| reply.start(status).body(b"xyz")),
        );
        add(
            &mut site,
            &stream,
            Box::new(move |_: &Request<'_>, reply: Responder<'_>| {
                reply.start(status).stream(None, Box::new(body()))
            }),
        );
    }
    let paths = ["/none", "/same", "/none/stream", "/same/stream"];
    let mut all: String = paths.iter().map(|path| get(path)).collect();
    let head = |path: &str| format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    all += &[head("/"), head("/stream"), head("/big"), get("/")].concat();
    let (reactor, id) = one(site, Script::new().send(all).fin());
    let methods = ["HEAD", "HEAD", "HEAD", "GET"];
    let seen = responses(reactor.net().sent(id), &methods);
    let statuses: Vec<u16> = seen.iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [204, 304, 204, 304, 200, 200, 200, 200]);
    for none in [&seen[0], &seen[2]] {
        // RFC 9110, section 8.6; RFC 9112, section 6.1.
        assert!(
            !none.head.contains("content-length") && !none.head.contains("transfer-encoding"),
            "{}",
            none.head
        );
    }
    assert!(!seen[3].head.contains("transfer-encoding"), "{}", seen[3].head);
    assert!(
        seen[4].head.contains("content-length: 2\r\n") && seen[6].head.contains("content-length: 262144\r\n")
    );
    assert_eq!(seen[7].body, b"ok");
    tickets();
}

#[test]
fn head_has_no_body_also_where_it_is_refused() {
    let head = |path: &str, fields: &str| format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let forgets = f(|_, reply| reply.later());
    let cases = [
        (head("/forgets", ""), 500),
        (head("/echo", "content-length: 2000000\r\n"), 413),
        (head("/echo", "transfer-encoding: chunked\r\n") + "x", 400),
        (head("/\"", ""), 400),
        (head("/", "host: b\r\n"), 400),
        (head("/", "").replace("1.1", "3.0"), 505),
        (head("/", &format!("x: {}\r\n", "y".repeat(20_000))), 431),
    ];
    let (mut reactor, listener) = serving(with("/forgets", forgets));
    for ((request, status), first) in cases.iter().flat_map(|case| [(case, 0), (case, 6)]) {
        let script = Script::new().send(&request[..first]).wait(10).send(&request[first..]).await_fin().fin();
        let id = reactor.net_mut().arrive(listener, script);
        settle(&mut reactor);
        let sent = String::from_utf8_lossy(reactor.net().sent(id)).into_owned();
        assert!(sent.starts_with(&format!("HTTP/1.1 {status} ")), "{sent}");
        assert!(sent.ends_with("\r\n\r\n"), "{sent}");
    }
}

/// A route that names no methods takes those that are registered; one that names some takes them, whatever they are; and what
/// serves few says which. To CONNECT no 2xx is said by a route that did not ask for it: that would be a tunnel.
#[test]
fn an_unusual_method_is_served_where_it_is_named_and_refused_elsewhere() {
    use evenkeel::http::{Files, FilesOptions, Respond};
    let make = || {
        let hello = || Box::new(Respond::new(200, &[], b"hello", true).unwrap());
        let mut site = Site::default();
        site.route(None, &[], "/any/*", None, hello()).unwrap();
        site.route(None, &["BREW", "TRACE"], "/named", None, hello()).unwrap();
        let files = Files::new(FilesOptions::new("/nonexistent"));
        site.route(None, &[], "/files/*", None, Box::new(files)).unwrap();
        site
    };
    for (method, any, named, files, nowhere) in [
        ("GET", 200, 405, 404, 404),
        ("PROPFIND", 200, 405, 405, 404),
        ("BREW", 501, 200, 405, 501),
        ("TRACE", 501, 200, 405, 501),
        ("brew", 501, 405, 405, 501),
    ] {
        let ask = |path: &str| format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let all: String = ["/any/x", "/named", "/files/x", "/x"].map(ask).concat();
        let (reactor, id) = one(make(), Script::new().send(all).fin());
        let seen = seen(&reactor, id);
        let statuses: Vec<u16> = seen.iter().map(|seen| seen.status).collect();
        assert_eq!(statuses, [any, named, files, nowhere], "{method}");
        for seen in seen {
            assert_eq!(seen.status == 405, seen.head.contains("\r\nallow: "), "{method} {}", seen.head);
        }
    }
    let connect = "CONNECT other.example:443 HTTP/1.1\r\nhost: other.example:443\r\n\r\n";
    let everything = with("/*", Respond::new(200, &[], b"hello", true).unwrap());
    let (reactor, id) = one(everything, Script::new().send(connect).fin());
    assert_eq!(reported(&reactor), [501]);
    assert_eq!(seen(&reactor, id)[0].status, 501);
}

#[test]
fn http_1_0_keeps_alive_if_asked_and_closes_if_not() {
    let ask = |fields: &str| format!("GET / HTTP/1.0\r\n{fields}\r\n");
    let all = [ask("connection: keep-alive\r\n"), ask(""), ask("")].concat();
    let (reactor, id) = one(site(), Script::new().send(all).await_fin().fin());
    let seen = seen(&reactor, id);
    assert_eq!(seen.len(), 2);
    assert!(seen[0].head.contains("connection: keep-alive\r\n"));
    assert!(seen[1].head.contains("connection: close\r\n"));
    assert_eq!(closes(&reactor), [Reason::Done]);
}

#[test]
fn connection_close_is_heard_and_nothing_after_it_is_answered() {
    let all = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n{}", get("/"));
    let (reactor, id) = one(site(), Script::new().send(all).await_fin().fin());
    assert_eq!((brief(&reactor, id), reported(&reactor)), (vec![is(200, "ok")], vec![200]));
    assert!(seen(&reactor, id)[0].head.contains("connection: close\r\n"));
}

// ---- bodies made piece by piece ----

/// So many pieces of the same text.
fn pieces(n: usize, piece: &'static [u8]) -> Box<dyn Body> {
    let mut left = n;
    Box::new(move |out: &mut Vec<u8>| {
        left -= 1;
        out.extend_from_slice(piece);
        if left == 0 { Flow::End } else { Flow::More }
    })
}

fn streamed(length: Option<u64>, n: usize, piece: &'static [u8]) -> Site {
    with("/s", f(move |_, reply| reply.start(200).stream(length, pieces(n, piece))))
}

#[test]
fn a_body_of_known_length_and_one_of_unknown_come_whole() {
    static PIECE: [u8; 50_000] = [b'p'; 50_000];
    for length in [Some(2_000_000), None] {
        let script = Script::new().send([get("/s"), get("/")].concat()).await_sent(2_000_100).fin();
        let (reactor, id) = one(streamed(length, 40, &PIECE), script);
        let seen = seen(&reactor, id);
        assert_eq!((seen[0].body.len(), seen[0].whole, &seen[1].body[..]), (2_000_000, true, &b"ok"[..]));
        assert_eq!(seen[0].head.contains("transfer-encoding: chunked"), length.is_none());
        assert_eq!(reported(&reactor), [200, 200]);
    }
}

#[test]
fn to_http_1_0_a_body_of_unknown_length_ends_with_the_connection() {
    let ask = "GET /s HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    let (reactor, id) = one(streamed(None, 3, b"abc"), Script::new().send(ask).await_fin().fin());
    let seen = seen(&reactor, id);
    assert_eq!(seen[0].body, b"abcabcabc");
    assert!(seen[0].head.contains("connection: close") && !seen[0].head.contains("chunked"));
    assert_eq!(closes(&reactor), [Reason::Done]);
}

#[test]
fn a_body_that_is_not_as_long_as_announced_is_cut() {
    for (announced, n) in [(10, 3), (8, 3)] {
        let (reactor, id) = one(streamed(Some(announced), n, b"abc"), Script::new().send(get("/s")).fin());
        assert_eq!(closes(&reactor), [Reason::HandlerFailed], "{announced}");
        assert_eq!(reactor.net().closed(id), Some(CloseHow::Reset));
        assert!(seen(&reactor, id).iter().all(|seen| !seen.whole));
        assert_eq!(reported(&reactor), [200]);
    }
}

#[test]
fn a_body_that_aborts_is_cut_in_the_middle() {
    let mut n = 0;
    let site = with(
        "/s",
        f(move |_, reply| {
            http::keep(reply.ticket());
            let body = move |out: &mut Vec<u8>| {
                n += 1;
                out.extend_from_slice(b"part");
                if n == 1 { Flow::Wait } else { Flow::Abort }
            };
            reply.start(200).stream(None, Box::new(body))
        }),
    );
    let (reactor, id) = one(site, Script::new().send(get("/s")).wait(500).fin());
    assert!(!seen(&reactor, id)[0].whole);
    assert_eq!((closes(&reactor), reported(&reactor)), (&[Reason::HandlerFailed][..], vec![200]));
}

#[test]
fn a_body_is_made_no_faster_than_it_is_taken() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let site = with(
        "/s",
        f(move |_, reply| {
            let count = count.clone();
            let body = move |out: &mut Vec<u8>| {
                out.resize(out.len() + 10_000, b'x');
                count.fetch_add(10_000, Ordering::Relaxed);
                Flow::More
            };
            reply.start(200).stream(None, Box::new(body))
        }),
    );
    let (mut reactor, listener) = serving(site);
    reactor.net_mut().arrive(listener, Script::new().window(1000).send(get("/s")));
    run_for(&mut reactor, 100);
    assert!(made.load(Ordering::Relaxed) <= Settings::default().high_water + 20_000);
    settle(&mut reactor);
    assert_eq!(closes(&reactor), [Reason::WriteStalled]);
}

// ---- late answers ----

#[test]
fn another_thread_answers() {
    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, Script::new().send([get("/late"), get("/")].concat()));
    run_for(&mut reactor, 10);
    let ticket = tickets().pop().unwrap();
    std::thread::spawn(move || assert!(ticket.answer(|reply| reply.start(201).body(b"made"))))
        .join()
        .unwrap();
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(201, "made"), is(200, "ok")]);
}

#[test]
fn a_late_answer_to_a_client_that_is_gone_is_dropped() {
    let (mut reactor, listener) = serving(site());
    reactor.net_mut().arrive(listener, Script::new().send(get("/late")).wait(10).reset());
    run_for(&mut reactor, 20);
    let next = reactor.net_mut().arrive(listener, Script::new().send(get("/late")).wait(50).fin());
    run_for(&mut reactor, 20);
    let [gone, here] = &tickets()[..] else { panic!() };
    gone.clone().answer(|_| panic!("not called"));
    here.clone().answer(|reply| reply.start(200).body(b"first"));
    here.clone().answer(|_| panic!("a second answer is dropped"));
    settle(&mut reactor);
    assert_eq!(brief(&reactor, next), [is(200, "first")]);
    assert_eq!(
        (closes(&reactor), reported(&reactor)),
        (&[Reason::Reset, Reason::PeerClosed][..], vec![0, 200])
    );
}

#[test]
fn a_late_answer_for_one_request_is_never_given_to_the_next() {
    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, Script::new().send(get("/late").repeat(2)));
    run_for(&mut reactor, 10);
    let first = tickets().pop().unwrap();
    first.clone().answer(|reply| reply.start(200).body(b"1"));
    first.clone().answer(|reply| reply.start(200).body(b"wrong"));
    run_for(&mut reactor, 10);
    first.answer(|reply| reply.start(200).body(b"wrong"));
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "1")]);
    http::answer_all();
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "1"), is(200, "late")]);
}

#[test]
fn a_late_answer_may_be_a_stream_or_be_put_off_again() {
    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, Script::new().send([get("/late"), get("/")].concat()));
    run_for(&mut reactor, 10);
    tickets().pop().unwrap().answer(|reply| {
        http::keep(reply.ticket());
        reply.later()
    });
    run_for(&mut reactor, 10);
    tickets().pop().unwrap().answer(|reply| reply.start(200).stream(Some(6), pieces(2, b"abc")));
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "abcabc"), is(200, "ok")]);
}

// ---- uploads ----

#[test]
fn an_upload_gets_its_body_piece_by_piece_whole() {
    for (fields, body) in [
        ("content-length: 11\r\n", "hello world"),
        ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
    ] {
        let all = [post("/upload", fields), body.to_string(), get("/")].concat();
        for script in [Script::new().send(&all).fin(), Script::new().dribble(&all, 1).fin()] {
            let (reactor, id) = one(site(), script);
            assert_eq!(brief(&reactor, id), [is(200, "took 11"), is(200, "ok")]);
        }
    }
}

#[test]
fn a_client_that_does_not_wait_for_100_gets_none() {
    for (path, sent) in [("/echo", "he"), ("/echo", "hello")] {
        let head = post(path, "content-length: 5\r\nexpect: 100-continue\r\n");
        let script = Script::new().send(head + sent).wait(10).send(&"hello"[sent.len()..]).fin();
        let (reactor, id) = one(site(), script);
        assert_eq!(brief(&reactor, id), [is(200, "hello")], "{sent}");
    }
}

#[test]
fn a_client_that_expects_it_is_told_to_continue_once() {
    for path in ["/upload", "/echo"] {
        let head = post(path, "content-length: 5\r\nexpect: 100-continue\r\n");
        let (reactor, id) =
            one(site(), Script::new().send(head).await_seen("100 Continue\r\n\r\n").send("hello").fin());
        let statuses: Vec<u16> = seen(&reactor, id).iter().map(|seen| seen.status).collect();
        assert_eq!(statuses, [100, 200], "{path}");
    }
}

#[test]
fn who_waits_for_100_learns_of_a_405_404_or_501_before_it_sends_anything() {
    let make = || {
        let mut site = Site::new(evenkeel::http::Options { upgrades: &["websocket"], ..options() });
        site.on("GET", "/get", |_, reply| reply.start(200).body(b"ok")).unwrap();
        site.on("", "/any", |request, reply| reply.start(200).body(request.body())).unwrap();
        let files = evenkeel::http::Files::new(evenkeel::http::FilesOptions::new("/nonexistent"));
        site.route(None, &[], "/files/*", None, Box::new(files)).unwrap();
        site
    };
    let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\n";
    for (line, more, status) in [
        ("POST /get", "", 405),
        ("POST /nowhere", "", 404),
        ("POST /%00", "", 400),
        ("BREW /any", "", 501),
        ("POST /files/a", "", 405),
        ("BREW /files/a", "", 405),
        ("POST /any", upgrade, 404),
    ] {
        let head = |fields: &str| format!("{line} HTTP/1.1\r\nhost: a\r\n{more}{fields}\r\n");
        let expect = "expect: 100-continue\r\n";
        for fields in [
            format!("{expect}content-length: 1000\r\n"),
            format!("{expect}transfer-encoding: chunked\r\n"),
            format!("{expect}content-length: 2000000\r\n"),
            "content-length: 2000000\r\n".to_string(),
        ] {
            let script = Script::new().send(head(&fields)).wait(10).send(get("/get")).await_fin().fin();
            let (reactor, id) = one(make(), script);
            assert_eq!(
                (summary(&reactor, id), reported(&reactor)),
                (status.to_string(), vec![status]),
                "{line}"
            );
            assert!(seen(&reactor, id)[0].head.contains("connection: close"), "{line}");
        }
        // Where a body is on its way, it is read, and the connection stays.
        let script = Script::new().send(head("content-length: 3\r\n")).wait(10).send("abc").send(get("/get"));
        let (reactor, id) = one(make(), script.fin());
        assert_eq!(summary(&reactor, id), format!("{status} 200"), "{line}");
    }
}

/// Takes so much, then waits for a nudge.
struct Careful {
    ticket: Ticket,
    got: usize,
}

impl Upload for Careful {
    fn data(&mut self, bytes: &[u8]) -> Accepting {
        self.got += bytes.len();
        http::keep(self.ticket.clone());
        Accepting::Wait
    }

    fn end(self: Box<Self>, whole: bool, reply: Responder<'_>) -> Reply {
        reply.start(200).body(format!("{} {whole}", self.got).as_bytes())
    }
}

fn careful() -> Site {
    with(
        "/careful",
        Streaming(|_: &Request<'_>, reply: Responder<'_>| {
            let ticket = reply.ticket();
            reply.receive(Box::new(Careful { ticket, got: 0 }))
        }),
    )
}

#[test]
fn an_upload_that_waits_holds_the_client_back_until_it_is_nudged() {
    let (mut reactor, listener) = serving(careful());
    let script =
        Script::new().send(post("/careful", "content-length: 1000000\r\n")).send(vec![b'x'; 1_000_000]);
    let id = reactor.net_mut().arrive(listener, script.await_sent(1).fin());
    let mut nudges = 0;
    while reactor.net().sent_len(id) == 0 {
        run_for(&mut reactor, 10);
        assert!(reactor.counters().bytes_in < 70_000 + 140_000 * (nudges + 1), "read ahead");
        tickets().iter().for_each(|ticket| assert!(ticket.nudge()));
        nudges += 1;
        assert!(nudges < 100);
    }
    settle(&mut reactor);
    assert_eq!(brief(&reactor, id), [is(200, "1000000 true")]);
}

#[test]
fn an_upload_that_was_held_back_is_measured_again_when_it_goes_on() {
    let (mut reactor, listener) = serving(careful());
    let slow = Script::new().send(post("/careful", "content-length: 1000000\r\n")).send("x").wait(100);
    let id = reactor.net_mut().arrive(listener, (0..100).fold(slow, |script, _| script.send("x").wait(1000)));
    for _ in 0..60 {
        run_for(&mut reactor, 500);
        tickets().iter().for_each(|ticket| assert!(ticket.nudge()));
    }
    assert_eq!((summary(&reactor, id), closes(&reactor)), ("408".into(), &[Reason::BodyTooSlow][..]));
}

#[test]
fn the_time_for_which_an_upload_was_held_back_does_not_count_for_its_rate() {
    // A slow head, a first byte that is held back for long, a pause; then all of it.
    let head = post("/careful", "content-length: 20000\r\n");
    let script = Script::new().send(&head[..9]).wait(4_000).send(&head[9..20]).wait(4_000).send(&head[20..]);
    let script = script.send("x").wait(24_000).send(vec![b'x'; 19_999]);
    let (mut reactor, listener) = serving(careful());
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 28_000);
    tickets().iter().for_each(|ticket| assert!(ticket.nudge()));
    run_for(&mut reactor, 5_000);
    assert_eq!(brief(&reactor, id), [is(200, "20000 true")]);
}

#[test]
fn a_body_that_comes_fast_and_then_too_slowly_is_given_up_when_two_windows_more_are_used_up() {
    let begin = Script::new().send(post("/echo", "content-length: 900000\r\n")).send(vec![b'x'; 100_000]);
    let id = |script: Script, reactor: &mut Serving, listener| reactor.net_mut().arrive(listener, script);
    let (mut reactor, listener) = serving(site());
    let trickle = (0..100).fold(begin, |script, _| script.wait(1000).send("x"));
    let id = id(trickle, &mut reactor, listener);
    run_for(&mut reactor, 39_900);
    assert!(!reactor.net().fin_sent(id));
    run_for(&mut reactor, 200);
    assert!(reactor.net().fin_sent(id));
    assert_eq!(summary(&reactor, id), "408");
}

fn summary(reactor: &Serving, id: SimId) -> String {
    http::summary(reactor.net().sent(id))
}

#[test]
fn an_early_answer_reaches_the_client_that_still_sends() {
    let body = vec![b'x'; 3_000_000];
    let script = Script::new().send(post("/upload", "transfer-encoding: chunked\r\n"));
    let script = body.chunks(100_000).fold(script, |script, chunk| {
        script.send(format!("{:x}\r\n", chunk.len())).send(chunk).send("\r\n").wait(1)
    });
    let (reactor, id) = one(site(), script.send("0\r\n\r\n").await_fin().fin());
    assert_eq!(seen(&reactor, id)[0].status, 413);
    assert!(seen(&reactor, id)[0].head.contains("connection: close"));
    assert!(!reactor.net().was_reset(id));
    assert_eq!(reactor.net().closed(id), Some(CloseHow::Normal));
}

#[test]
fn an_answer_before_the_body_ends_the_connection_also_if_it_is_late() {
    let smuggled = get("/echo");
    let head = |path: &str| post(path, &format!("content-length: {}\r\n", smuggled.len()));
    type Answer = fn(&Request<'_>, Responder<'_>) -> Reply;
    let at_once: Answer = |_, reply| reply.start(200).body(b"early");
    let later: Answer = |_, reply| {
        http::keep(reply.ticket());
        reply.later()
    };
    for answer in [at_once, later] {
        for pause in [0, 500] {
            let site = with("/early", Streaming(answer));
            let script = Script::new().send(head("/early")).wait(pause).send(&smuggled).await_fin().fin();
            let (reactor, id) = one(site, script);
            assert_eq!(reported(&reactor), [200], "what is left of the body is no request");
            assert!(
                seen(&reactor, id)[0].head.contains("connection: close"),
                "{}",
                seen(&reactor, id)[0].head
            );
            assert_eq!(closes(&reactor), [Reason::Done]);
        }
    }
}

/// Wants no more after the first piece, and answers late.
struct EarlyAndLate;

impl Upload for EarlyAndLate {
    fn data(&mut self, _: &[u8]) -> Accepting {
        Accepting::Answer
    }

    fn end(self: Box<Self>, _: bool, reply: Responder<'_>) -> Reply {
        http::keep(reply.ticket());
        reply.later()
    }
}

#[test]
fn an_upload_that_ends_early_and_answers_late_ends_the_connection() {
    let upload = |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(EarlyAndLate));
    let smuggled = get("/echo");
    let head = post("/early", &format!("content-length: {}\r\n", 1 + smuggled.len()));
    let script = Script::new().send(head).send("x").wait(50).send(&smuggled).await_fin().fin();
    let (reactor, id) = one(with("/early", Streaming(upload)), script);
    assert_eq!((brief(&reactor, id), reported(&reactor)), (vec![is(200, "late")], vec![200]));
}

#[test]
fn a_body_over_its_limit_is_refused_announced_or_not() {
    for fields in ["content-length: 2000000\r\n", "transfer-encoding: chunked\r\n"] {
        let script = Script::new().send(post("/echo", fields)).send("1e8480\r\n").send(vec![b'x'; 2_000_000]);
        let (reactor, id) = one(site(), script.await_fin().fin());
        assert_eq!((summary(&reactor, id), closes(&reactor)), ("413".into(), &[Reason::TooLarge][..]));
        assert!(!reactor.net().was_reset(id));
    }
}

#[test]
fn a_route_may_take_more_or_less_than_its_site_and_of_either_just_the_limit() {
    let echo = || Box::new(f(|request, reply| reply.start(200).body(request.body())));
    for (limit, path) in [(10, "/less"), (2 << 20, "/more"), (1 << 20, "/echo")] {
        for (len, status) in [(limit, 200), (limit + 1, 413)] {
            let body = "x".repeat(len);
            let chunked = format!("{len:x}\r\n{body}\r\n0\r\n\r\n");
            let length = format!("content-length: {len}\r\n");
            for (fields, body) in [("transfer-encoding: chunked\r\n", &chunked), (&length, &body)] {
                let mut site = site();
                site.route(None, &[], "/less", Some(10), echo()).unwrap();
                site.route(None, &[], "/more", Some(2 << 20), echo()).unwrap();
                let script = Script::new().send(post(path, fields)).wait(10).send(body).await_sent(1);
                let (reactor, _) = one(site, script.fin());
                assert_eq!(reported(&reactor), [status], "{path} {len} {fields}");
            }
        }
    }
    let upload = |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Count { n: 0, most: 100 }));
    let mut site = site();
    site.on_upload("POST", "/up", 10, upload).unwrap();
    let just = "a\r\n0123456789\r\n0\r\n\r\n";
    let script = Script::new().send(post("/up", "transfer-encoding: chunked\r\n")).send(just).fin();
    let (reactor, id) = one(site, script);
    assert_eq!(brief(&reactor, id), [is(200, "took 10")]);
}

#[test]
fn an_upload_that_is_begun_where_the_body_was_collected_gets_all_of_it() {
    let upload = |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Count { n: 0, most: 100 }));
    let mut site = site();
    site.on("POST GET", "/up", upload).unwrap();
    let fixed = post("/up", "content-length: 10\r\n") + "0123456789";
    let chunked = post("/up", "transfer-encoding: chunked\r\n") + "3\r\nabc\r\n0\r\n\r\n";
    let script = Script::new().send(fixed + &chunked + "GET /up HTTP/1.1\r\nhost: a\r\n\r\n").fin();
    let (reactor, id) = one(site, script);
    assert_eq!(brief(&reactor, id), [is(200, "took 10"), is(200, "took 3"), is(200, "took 0")]);
}

#[test]
fn a_request_may_have_all_that_its_site_allows_in_its_head_also_where_its_body_comes_later() {
    let limits = Limits { head_fields: 128, target_size: 12_000, ..Limits::default() };
    let many = (0..120).map(|n| format!("x{n}: y\r\n")).collect::<String>();
    for (target, fields) in [(format!("/echo?{}", "q".repeat(10_000)), String::new()), ("/echo".into(), many)]
    {
        let mut site = Site::new(evenkeel::http::Options { limits: limits.clone(), ..options() });
        site.on("POST", "/echo", |request, reply| reply.start(200).body(request.body())).unwrap();
        let head = post(&target, &(fields + "content-length: 3\r\n"));
        let (reactor, id) = one(site, Script::new().send(head).wait(10).send("abc").fin());
        assert_eq!(brief(&reactor, id), [is(200, "abc")]);
        assert_eq!(reactor.app().tape().exchanges, [(200, true, None)]);
    }
}

#[test]
fn a_request_whose_body_is_coming_lives_by_the_limits_that_its_head_came_under() {
    for path in ["/echo", "/upload", "/late"] {
        let (mut reactor, listener) = serving(site());
        let head = post(path, &format!("x: {}\r\ncontent-length: 6\r\n", "y".repeat(500)));
        let script = Script::new().send(head).send("abc").wait(100).send("def").wait(100);
        let id = reactor.net_mut().arrive(listener, script);
        run_for(&mut reactor, if path == "/late" { 150 } else { 50 });
        let limits = Limits { head_size: 100, target_size: 3, head_fields: 1, ..Limits::default() };
        let smaller = Site::new(evenkeel::http::Options { limits, ..options() });
        reactor.with_app(|app, _| app.site().replace(smaller));
        run_for(&mut reactor, 100);
        http::answer_all();
        run_for(&mut reactor, 100);
        // The routes are gone, too; what was begun under the old ones stays with them.
        let (status, route) = if path == "/echo" { (404, "-") } else { (200, path) };
        assert_eq!(reactor.app().tape().exchanges, [(status, true, None)], "{path}");
        assert_eq!(routes(&reactor), [route]);
        assert_eq!(seen(&reactor, id).len(), 1, "{path}");
    }
}

/// Collects bodies, and serves GET where its route names no methods.
struct OnlyGet;

impl Handler for OnlyGet {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        match request.head().method.as_str() {
            "GET" => reply.start(200).body(request.body()),
            _ => reply.start(405).text("Allow", "GET").empty(),
        }
    }

    fn allow(&self) -> &'static str {
        "GET"
    }
}

#[test]
fn a_body_that_was_thrown_away_is_not_handed_to_a_new_route_as_an_empty_one() {
    let nothing = || Site::new(options());
    let collects = || {
        let mut site = nothing();
        site.on("POST", "/x", |request, reply| reply.start(200).body(request.body())).unwrap();
        site
    };
    let streams = || {
        let mut site = nothing();
        let upload =
            |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Count { n: 0, most: 100 }));
        site.on_upload("POST", "/x", 100, upload).unwrap();
        site
    };
    let refuses = || {
        let mut site = nothing();
        site.on("GET", "/x", |_, reply| reply.start(200).body(b"")).unwrap();
        site
    };
    type Make<'a> = &'a dyn Fn() -> Site;
    let says_so = || {
        let mut site = nothing();
        site.route(None, &[], "/x", None, Box::new(OnlyGet)).unwrap();
        site
    };
    let cases: [(Make, Make, u16, &str); 7] = [
        (&nothing, &collects, 503, "/x"),
        (&nothing, &streams, 503, "/x"),
        (&collects, &streams, 503, "/x"),
        (&collects, &collects, 200, "/x"),
        (&collects, &nothing, 404, "-"),
        (&collects, &refuses, 405, "-"),
        (&nothing, &says_so, 405, "/x"),
    ];
    for (before, after, status, route) in cases {
        for (first, last, empty) in [("6\r\nabc", "def\r\n0\r\n\r\n", false), ("0\r\n", "\r\n", true)] {
            let (mut reactor, listener) = serving(before());
            let script = Script::new().send(post("/x", "transfer-encoding: chunked\r\n") + first).wait(100);
            let id = reactor.net_mut().arrive(listener, script.send(last).await_fin().fin());
            run_for(&mut reactor, 50);
            reactor.with_app(|app, _| app.site().replace(after()));
            run_for(&mut reactor, 1000);
            // Of one that was empty nothing is lost.
            let status = if empty && status == 503 { 200 } else { status };
            assert_eq!((reported(&reactor), routes(&reactor)), (vec![status], vec![route]));
            let seen = &seen(&reactor, id)[0];
            assert_eq!(seen.head.contains("connection: close"), status == 503, "{}", seen.head);
            assert_eq!(seen.head.contains("retry-after: "), status == 503, "{}", seen.head);
        }
    }
}

#[test]
fn a_head_that_fills_the_largest_buffer_and_does_not_end_is_answered() {
    let limits = Limits { head_size: 64 << 10, ..Limits::default() };
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(70_000));
    let site = Site::new(evenkeel::http::Options { limits, ..options() });
    let (reactor, id) =
        one(site, Script::new().send(&head[..10]).wait(10).send(&head[10..]).await_fin().fin());
    assert_eq!((summary(&reactor, id), closes(&reactor)), ("431".into(), &[Reason::TooLarge][..]));
}

// ---- panics ----

#[test]
fn a_handler_that_panics_costs_its_own_connection_only() {
    let site = with(
        "/panic",
        f(|_, reply| {
            let _begun = reply.start(200);
            panic!("a handler's mistake")
        }),
    );
    let (mut reactor, listener) = serving(site);
    let other =
        reactor.net_mut().arrive(listener, Script::new().send(get("/")).wait(50).send(get("/")).fin());
    let id = reactor
        .net_mut()
        .arrive(listener, Script::new().wait(10).send(get("/panic")).send(get("/")).await_fin().fin());
    settle(&mut reactor);
    assert_eq!(seen(&reactor, id).iter().map(|seen| seen.status).collect::<Vec<_>>(), [500]);
    assert_eq!(brief(&reactor, other), [is(200, "ok"), is(200, "ok")]);
    assert!(closes(&reactor).contains(&Reason::HandlerFailed));
}

struct Panics {
    in_data: bool,
}

impl Upload for Panics {
    fn data(&mut self, _: &[u8]) -> Accepting {
        assert!(!self.in_data, "a mistake in data");
        Accepting::More
    }

    fn end(self: Box<Self>, _: bool, _: Responder<'_>) -> Reply {
        panic!("a mistake in end")
    }
}

#[test]
fn an_upload_that_panics_is_answered_500() {
    for in_data in [true, false] {
        let upload = move |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Panics { in_data }));
        let script =
            Script::new().send(post("/p", "content-length: 3\r\n")).wait(10).send("abc").await_fin().fin();
        let (reactor, id) = one(with("/p", Streaming(upload)), script);
        assert_eq!((summary(&reactor, id), closes(&reactor)), ("500".into(), &[Reason::HandlerFailed][..]));
        assert_eq!(reported(&reactor), [500]);
    }
}

#[test]
fn a_body_or_a_late_answer_that_panics_costs_its_own_connection_only() {
    let stream = |_: &Request<'_>, reply: Responder<'_>| {
        reply.start(200).stream(None, Box::new(|_: &mut Vec<u8>| -> Flow { panic!("a mistake in a body") }))
    };
    let (reactor, id) = one(with("/p", f(stream)), Script::new().send(get("/p")).fin());
    assert_eq!(
        (closes(&reactor), reactor.net().closed(id)),
        (&[Reason::HandlerFailed][..], Some(CloseHow::Reset))
    );

    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, Script::new().send(get("/late")).await_fin().fin());
    run_for(&mut reactor, 10);
    tickets().pop().unwrap().answer(|_| panic!("a mistake in a late answer"));
    settle(&mut reactor);
    assert_eq!((summary(&reactor, id), closes(&reactor)), ("500".into(), &[Reason::HandlerFailed][..]));
}

// ---- time ----

#[test]
fn a_silent_body_is_given_up_by_the_read_timeout_also_without_a_rate() {
    let mut site = Site::new(evenkeel::http::Options {
        body_rate: 0,
        read_timeout: Duration::from_secs(30),
        ..options()
    });
    site.route(None, &[], "/echo", None, Box::new(f(|_, reply| reply.start(200).body(b"")))).unwrap();
    let (reactor, id) = one(site, Script::new().send(post("/echo", "content-length: 9\r\n")));
    assert_eq!((summary(&reactor, id), closes(&reactor)), ("408".into(), &[Reason::ReadTimeout][..]));
}

#[test]
fn a_head_byte_by_byte_is_shown_once_a_byte_and_looked_at_once_a_byte() {
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(12_000));
    let mut site =
        Site::new(evenkeel::http::Options { head_timeout: Duration::from_secs(1000), ..options() });
    site.route(None, &[], "/", None, Box::new(f(|_, reply| reply.start(200).body(b"ok")))).unwrap();
    let (mut reactor, listener) = serving(site);
    let id = reactor.net_mut().arrive(listener, Script::new().dribble(&head, 1).fin());
    settle(&mut reactor);
    assert_eq!(brief(&reactor, id), [is(200, "ok")]);
    assert!(reactor.counters().reads <= head.len() as u64 + 1);
    assert_eq!(reactor.counters().shown, 0, "kept bytes are shown with new ones only");
}

#[test]
fn empty_lines_between_requests_are_no_request() {
    for script in [Script::new().send("\r\n").fin(), Script::new().send(get("/")).wait(1).send("\r\n").fin()]
    {
        let (reactor, id) = one(site(), script);
        assert_eq!(reported(&reactor).len(), seen(&reactor, id).len());
        assert_eq!(closes(&reactor), [Reason::PeerClosed]);
    }
}

#[test]
fn empty_lines_do_not_put_off_the_read_timeout_for_ever() {
    // A CR and its LF may come apart.
    for pieces in [&["\r\n"][..], &["\r", "\n"], &["\r\n\r", "\n"]] {
        let piece = |script: Script, n: usize| script.send(pieces[n % pieces.len()]).wait(2_000);
        let (mut reactor, listener) = serving(site());
        let id = reactor.net_mut().arrive(listener, (0..100).fold(Script::new(), piece));
        run_for(&mut reactor, 4_900);
        assert!(!reactor.net().fin_sent(id), "{pieces:?}");
        run_for(&mut reactor, 200);
        assert!(reactor.net().fin_sent(id), "{pieces:?}");
        run_for(&mut reactor, 20_000);
        assert_eq!(closes(&reactor), [Reason::ReadTimeout], "{pieces:?}");
    }
}

#[test]
fn empty_lines_do_not_put_off_the_idle_timeout_and_are_not_kept() {
    let script = Script::new().send(get("/") + "\r\n").wait(1_000);
    let script = (0..100).fold(script, |script, _| script.send("\r\n").wait(2_000));
    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, script);
    for _ in 0..59 {
        run_for(&mut reactor, 1_000);
        assert_eq!(reactor.with_app(|_, cx| cx.buffers_held()), 0);
    }
    assert!(!reactor.net().fin_sent(id), "the answer began the time anew");
    run_for(&mut reactor, 1_100);
    assert!(reactor.net().fin_sent(id));
    run_for(&mut reactor, 20_000);
    assert_eq!((brief(&reactor, id), closes(&reactor)), (vec![is(200, "ok")], &[Reason::IdleTimeout][..]));
}

#[test]
fn empty_lines_come_before_a_request_however_many_and_the_limit_on_heads_holds_behind_them() {
    let lines = "\r\n".repeat(10_000);
    for pieces in [1, 3, 30_000] {
        let send = |all: &str| {
            all.as_bytes().chunks(pieces).fold(Script::new(), |script, piece| script.send(piece).wait(0))
        };
        let (reactor, id) = one(site(), send(&(lines.clone() + &get("/"))).fin());
        assert_eq!(brief(&reactor, id), [is(200, "ok")], "{pieces}");
    }
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(20_000));
    let (reactor, id) = one(site(), Script::new().send(lines + &long).await_fin().fin());
    assert_eq!((summary(&reactor, id), closes(&reactor)), ("431".into(), &[Reason::TooLarge][..]));
}

#[test]
fn a_connection_is_kept_as_long_whatever_came_over_it_last() {
    let head = post("/echo", "content-length: 3\r\n");
    let upload = post("/upload", "content-length: 3\r\n");
    for (first, rest) in
        [(&head[..], "abc"), (&head[..9], &(head[9..].to_string() + "abc")), (&upload, "abc")]
    {
        let script = Script::new().send(first).wait(10).send(rest).wait(50_000).send(get("/")).fin();
        let (reactor, id) = one(site(), script);
        assert_eq!((summary(&reactor, id), closes(&reactor)), ("200 200".into(), &[Reason::PeerClosed][..]));
    }
}

#[test]
fn who_asks_nothing_may_be_let_go_and_who_waits_for_an_answer_may_not() {
    let (mut reactor, listener) = serving(site());
    for sent in ["", &get("/"), &get("/late"), "GET / HT", &post("/echo", "content-length: 3\r\n")] {
        reactor.net_mut().arrive(listener, Script::new().send(sent));
    }
    run_for(&mut reactor, 10);
    assert_eq!(reactor.evict(5), 2);
    assert_eq!(closes(&reactor), [Reason::Evicted; 2]);
}

// ---- leaving ----

#[test]
fn draining_closes_who_asks_nothing_and_says_so() {
    for before in [String::new(), get("/")] {
        let (mut reactor, listener) = serving(site());
        let id = reactor.net_mut().arrive(listener, Script::new().send(before).await_fin().fin());
        run_for(&mut reactor, 10);
        reactor.drain(Duration::from_secs(10));
        settle(&mut reactor);
        assert_eq!(closes(&reactor), [Reason::Drained]);
        assert_eq!(reactor.net().closed(id), Some(CloseHow::Normal));
        assert!(reactor.net().elapsed_ms() < 1000);
    }
}

#[test]
fn draining_finishes_what_is_being_answered_and_says_that_it_closes() {
    let (mut reactor, listener) = serving(site());
    let late = reactor.net_mut().arrive(listener, Script::new().send(get("/late")).await_fin().fin());
    let stream = reactor.net_mut().arrive(listener, Script::new().send(get("/stream")).await_fin().fin());
    let big = reactor.net_mut().arrive(
        listener,
        Script::new().window(1000).send(get("/big")).wait(500).window(u64::MAX).await_fin().fin(),
    );
    run_for(&mut reactor, 100);
    reactor.drain(Duration::from_secs(10));
    run_for(&mut reactor, 1000);
    assert_eq!(closes(&reactor), [Reason::Drained]);
    http::answer_all();
    settle(&mut reactor);
    assert_eq!(reactor.turn(None).unwrap(), Turn::Finished);
    assert!(seen(&reactor, late)[0].head.contains("connection: close"));
    assert_eq!([late, stream, big].map(|id| summary(&reactor, id)), ["200", "200", "200"]);
    assert_eq!(closes(&reactor), [Reason::Drained; 3]);
}

#[test]
fn an_answer_that_ends_while_draining_is_told_to_be_the_last_and_ends_the_connection_at_once() {
    let slow = || Script::new().window(1000).send(get("/big")).wait(500).window(u64::MAX);
    for script in [Script::new().send(get("/stream")), slow()] {
        let (mut reactor, listener) = serving(site());
        let id = reactor.net_mut().arrive(listener, script);
        run_for(&mut reactor, 490);
        reactor.drain(Duration::from_secs(10));
        http::answer_all();
        run_for(&mut reactor, 20);
        assert!(reactor.net().fin_sent(id));
        assert_eq!(reactor.app().tape().exchanges, [(200, true, Some(Reason::Drained))]);
    }
}

#[test]
fn an_upload_that_is_answered_while_draining_says_that_it_closes() {
    let (mut reactor, listener) = serving(site());
    let script =
        Script::new().send(post("/upload", "content-length: 6\r\n")).send("abc").wait(100).send("def");
    let id = reactor.net_mut().arrive(listener, script.await_fin().fin());
    run_for(&mut reactor, 50);
    reactor.drain(Duration::from_secs(10));
    settle(&mut reactor);
    assert_eq!((brief(&reactor, id), closes(&reactor)), (vec![is(200, "took 6")], &[Reason::Drained][..]));
    assert!(seen(&reactor, id)[0].head.contains("connection: close"), "{}", seen(&reactor, id)[0].head);
}

#[test]
fn what_is_cut_when_the_server_stops_is_reported_too() {
    let (mut reactor, listener) = serving_with(site(), Settings::default());
    for path in ["/late", "/stream"] {
        reactor.net_mut().arrive(listener, Script::new().send(get(path)));
    }
    reactor.net_mut().arrive(listener, Script::new().send("GET / HT"));
    reactor.net_mut().arrive(listener, Script::new());
    run_for(&mut reactor, 100);
    reactor.drain(Duration::from_secs(5));
    settle(&mut reactor);
    assert_eq!(reported(&reactor).len(), 3);
    let count = |reason| closes(&reactor).iter().filter(|one| **one == reason).count();
    // Half a head was answered 408 before the time was up, and lingers.
    assert_eq!((count(Reason::Stopped), count(Reason::ReadTimeout), closes(&reactor).len()), (2, 1, 4));
}

#[test]
fn a_handler_that_wants_its_body_thrown_away_is_called_after_it_and_shown_nothing_of_it() {
    struct Fixed;
    impl Handler for Fixed {
        fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
            reply.start(200).body(format!("{}", request.body().len()).as_bytes())
        }

        fn body(&self) -> BodyPolicy {
            BodyPolicy::Discard
        }
    }
    for (fields, body) in
        [("content-length: 5\r\n", "hello"), ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")]
    {
        let (head, rest) = (post("/d", fields), body.to_string() + &get("/"));
        // It comes later, or with its head.
        for script in [
            Script::new().send(&head).wait(5).send(&rest).fin(),
            Script::new().send([head.as_str(), &rest].concat()).fin(),
        ] {
            let (reactor, id) = one(with("/d", Fixed), script);
            assert_eq!(brief(&reactor, id), [is(200, "0"), is(200, "ok")], "{fields:?}");
        }
    }
}

#[test]
fn a_partial_head_first_gets_the_buffer_that_the_settings_say() {
    for (partial_size, held) in [(1 << 10, 1 << 10), (4 << 10, 4 << 10), (1 << 20, 64 << 10)] {
        let settings = Settings { partial_size, ..Settings::default() };
        let (mut reactor, listener) = serving_with(site(), settings);
        reactor.net_mut().arrive(listener, Script::new().send(b"GET / HT"));
        run_for(&mut reactor, 10);
        assert_eq!(reactor.with_app(|_, cx| cx.buffers_held()), held);
    }
}

// ---- what a program is told of an exchange ----

/// A program of its own, which writes down what it is told.
struct Counting {
    site: Site,
    told: Vec<Exchange>,
}

/// Bytes of body that came and went, how long it took in milliseconds, and why the connection closed with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Exchange {
    bytes: (u64, u64),
    ms: u64,
    closing: Option<Reason>,
}

struct Talk(Connection);

impl App for Counting {
    type Session = Talk;
    type Note = Late;
    type Message = Late;
    type Reason = Reason;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Talk> {
        Admit::Serve(Talk(Connection::new(false)))
    }

    fn on_message(&mut self, late: Late, cx: &mut AppCx<'_, Self>) {
        cx.notify(late.to, late);
    }

    fn on_close(&mut self, session: Talk, end: End<Reason>, cx: &mut AppCx<'_, Self>) {
        session.0.ended(&end, cx.now(), self);
    }
}

impl Service for Counting {
    fn site(&mut self) -> &mut Site {
        &mut self.site
    }

    fn on_exchange(&mut self, done: &Exchanged<'_>) {
        let bytes = (done.bytes_in, done.bytes_out);
        self.told.push(Exchange { bytes, ms: done.duration_ms, closing: done.closing });
    }
}

fn step(outcome: Outcome) -> Step<Reason> {
    match outcome {
        Outcome::Step(step) => step,
        Outcome::Upgrade(_) => Step::Close(Close::Abort, Reason::Internal),
    }
}

impl Session for Talk {
    type App = Counting;

    fn on_data(
        &mut self,
        input: &mut Input<'_>,
        app: &mut Counting,
        cx: &mut Cx<'_, Counting>,
    ) -> StepOf<Counting> {
        step(self.0.on_data(input, app, cx))
    }

    fn on_event(
        &mut self,
        event: EventOf<Counting>,
        app: &mut Counting,
        cx: &mut Cx<'_, Counting>,
    ) -> StepOf<Counting> {
        step(self.0.on_event(event, app, cx))
    }
}

/// What is told of the exchanges of one peer.
fn told(site: Site, script: Script) -> Vec<Exchange> {
    let mut net = SimNet::new(1);
    let listener = net.listen();
    let mut reactor = Reactor::new(Counting { site, told: Vec::new() }, net, Settings::default());
    reactor.add_listener(listener).unwrap();
    reactor.net_mut().arrive(listener, script);
    settle(&mut reactor);
    reactor.app().told.clone()
}

#[test]
fn a_stream_of_a_known_length_that_is_cut_before_its_first_byte_is_reported_as_no_bytes() {
    for (first, bytes) in [(&b""[..], 0), (b"abc", 3)] {
        let stream = f(move |_, reply| {
            let body = move |out: &mut Vec<u8>| {
                out.extend_from_slice(first);
                Flow::Abort
            };
            reply.start(200).stream(Some(1000), Box::new(body))
        });
        let script = Script::new().send([get("/"), get("/s")].concat());
        let bytes_told: Vec<_> = told(with("/s", stream), script).iter().map(|one| one.bytes).collect();
        assert_eq!(bytes_told, [(0, 2), (0, bytes)]);
    }
}

#[test]
fn what_came_and_what_went_is_told_whichever_way_a_request_is_answered() {
    /// Answers piece by piece when its body is over.
    struct Streams;
    impl Upload for Streams {
        fn data(&mut self, _: &[u8]) -> Accepting {
            Accepting::More
        }
        fn end(self: Box<Self>, _: bool, reply: Responder<'_>) -> Reply {
            reply.start(200).stream(None, pieces(2, b"abc"))
        }
    }
    let up =
        || with("/up", Streaming(|_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Streams))));
    let big = http::BIG as u64;
    let body = |path: &str| post(path, "content-length: 5\r\n") + "hello";
    let head = get("/");
    for (script, bytes, ms) in [
        (Script::new().send(body("/echo")), (5, 5), 0),
        (Script::new().send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n"), (0, 0), 0),
        (Script::new().send(body("/up")), (5, 6), 0),
        (Script::new().send(&head[..9]).wait(500).send(&head[9..]), (0, 2), 500),
        (Script::new().window(1000).send(body("/big")).wait(500).window(u64::MAX), (5, big), 500),
    ] {
        let all = told(up(), script);
        assert_eq!((all.len(), all[0].bytes, all[0].closing), (1, bytes, None));
        assert!((ms..ms + 50).contains(&all[0].ms), "{all:?}");
    }
}

#[test]
fn what_a_peer_had_not_taken_when_the_server_stopped_is_not_told_to_have_gone() {
    let mut net = SimNet::new(1);
    let listener = net.listen();
    let mut reactor = Reactor::new(Counting { site: site(), told: Vec::new() }, net, Settings::default());
    reactor.add_listener(listener).unwrap();
    reactor.net_mut().arrive(listener, Script::new().window(1000).send(get("/big")));
    run_for(&mut reactor, 10);
    reactor.handle().stop();
    settle(&mut reactor);
    let told = &reactor.app().told;
    assert_eq!((told.len(), told[0].closing), (1, Some(Reason::Stopped)));
    assert!((800..1000).contains(&told[0].bytes.1), "{told:?}");
}

#[test]
fn of_an_answer_that_waits_for_its_peer_it_is_told_when_that_took_it_and_how_much() {
    const LEN: u64 = 1 << 20;
    let large = || with("/l", f(|_, reply| reply.start(200).body(&vec![b'x'; LEN as usize])));
    let made = || {
        let stream = |_: &Request<'_>, reply: Responder<'_>| {
            let mut chunks = LEN >> 14;
            let body = move |out: &mut Vec<u8>| {
                out.resize(1 << 14, b'x');
                chunks -= 1;
                if chunks > 0 { Flow::More } else { Flow::End }
            };
            reply.start(200).stream(Some(LEN), Box::new(body))
        };
        with("/l", f(stream))
    };
    let kept = || get("/l");
    let last = || "GET /l HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned();
    for site in [&large as &dyn Fn() -> Site, &made] {
        for (request, ends) in [(kept(), None), (last(), Some(Reason::Done))] {
            let slow = |then: Script| Script::new().window(100_000).send(&request).wait(500).then(then);
            // Whoever takes all of it, slowly.
            let all = told(site(), slow(Script::new().window(u64::MAX).wait(100).fin()));
            assert_eq!((all[0].bytes, all[0].closing, all.len()), ((0, LEN), ends, 1));
            assert!((500..600).contains(&all[0].ms), "{all:?}");
            // Whoever takes a part, and is gone.
            let part = told(site(), slow(Script::new().reset()));
            assert_eq!((part[0].closing, part.len()), (Some(Reason::Reset), 1));
            assert!((99_000..100_000).contains(&part[0].bytes.1), "{part:?}");
            // Whoever takes a part, and then nothing.
            let part = told(site(), slow(Script::new()));
            assert_eq!((part[0].closing, part.len()), (Some(Reason::WriteStalled), 1));
            assert!((99_000..100_000).contains(&part[0].bytes.1), "{part:?}");
        }
    }
}

#[test]
fn handlers_look_after_themselves_and_one_that_panics_does_not_keep_the_others_from_it() {
    struct Tidy(Arc<AtomicUsize>);
    impl Handler for Tidy {
        fn handle(&mut self, _: &Request<'_>, reply: Responder<'_>) -> Reply {
            reply.start(200).body(b"ok")
        }

        fn idle(&mut self, _: u64) {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "on purpose");
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let mut site = with("/a", Tidy(count.clone()));
    site.route(None, &[], "/b", None, Box::new(Tidy(count.clone()))).unwrap();
    let mut server = Server::new(site).unwrap();
    for _ in 0..3 {
        server.reactor_mut().turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(count.load(Ordering::Relaxed), 2, "not in each turn");
}

#[test]
fn handlers_look_after_themselves_also_while_nobody_is_connected() {
    struct Tidy(Arc<OnceLock<Handle<Late>>>, mpsc::Sender<()>);
    impl Handler for Tidy {
        fn handle(&mut self, _: &Request<'_>, reply: Responder<'_>) -> Reply {
            reply.start(200).body(b"ok")
        }

        fn idle(&mut self, _: u64) {
            if self.1.send(()).is_err() {
                self.0.get().unwrap().stop();
            }
        }
    }
    let (send, looked) = mpsc::channel();
    let serving = thread::spawn(move || {
        let handle = Arc::new(OnceLock::new());
        let server = Server::new(with("/a", Tidy(handle.clone(), send))).unwrap();
        assert!(handle.set(server.handle()).is_ok());
        server.run()
    });
    for _ in 0..2 {
        looked.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    drop(looked);
    serving.join().unwrap().unwrap();
}

#[test]
fn who_still_takes_its_answer_is_not_let_go_as_idle() {
    const LEN: usize = 200_000;
    let answer = f(|_, reply| reply.start(200).body(&vec![b'x'; LEN]));
    let (mut reactor, listener) = serving(with("/a", answer));
    let script = Script::new().window(64 << 10).send(get("/a")).wait(100).window(u64::MAX);
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 50);
    // As when memory or descriptors run short.
    assert_eq!(reactor.evict(1), 0);
    assert!(reactor.with_app(|_, cx| cx.survey().all(|row| !row.evictable)), "it answers for what it holds");
    run_for(&mut reactor, 1000);
    assert!(seen(&reactor, id)[0].whole);
    assert_eq!(reactor.evict(1), 1, "now it is idle");
}
