//! Handlers that are waited for, and will never say anything again: each client gets an answer, or sees that it gets none.

mod support;

use evenkeel::http::{Accepting, Flow, Handler, Reply, Request, Responder, Site, Ticket, Upload};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Script, SimId};
use evenkeel::reactor::{CloseHow, Settings};
use evenkeel::ws::{self, Service};
use std::time::Duration;
use support::http::{self, Serving, Streaming, responses, serving, serving_with, site, tickets};
use support::{run_for, settle};

fn with(path: &str, handler: impl FnMut(&Request<'_>, Responder<'_>) -> Reply + 'static) -> Site {
    with_handler(path, Box::new(handler))
}

fn with_handler(path: &str, handler: Box<dyn Handler>) -> Site {
    let mut site = site();
    site.route(None, &[], path, None, handler).unwrap();
    site
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")
}

fn asks(site: Site, sent: impl AsRef<[u8]>) -> (Serving, SimId) {
    let (mut reactor, listener) = serving(site);
    let id = reactor.net_mut().arrive(listener, Script::new().send(sent));
    run_for(&mut reactor, 10);
    (reactor, id)
}

fn brief(reactor: &Serving, id: SimId) -> Vec<(u16, String)> {
    let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
    let seen = responses(reactor.net().sent(id), &[]).into_iter();
    seen.map(|seen| (seen.status, if seen.whole { text(seen.body) } else { text(seen.body) + "…" })).collect()
}

fn statuses(reactor: &Serving, id: SimId) -> Vec<u16> {
    brief(reactor, id).into_iter().map(|(status, _)| status).collect()
}

fn is(status: u16, body: &str) -> (u16, String) {
    (status, body.to_string())
}

/// One answer of 500, reported; one close, for the handler's failure.
fn is_given_up(reactor: &Serving, id: SimId) {
    assert_eq!(statuses(reactor, id), [500]);
    let tape = reactor.app().tape();
    assert_eq!(tape.exchanges, [(500, true, Some(Reason::HandlerFailed))]);
    assert!(reactor.net().fin_sent(id));
}

// ---- late answers ----

#[test]
fn a_ticket_that_is_dropped_unanswered_answers_500_at_once() {
    let (mut reactor, id) = asks(site(), get("/late"));
    let ticket = tickets().pop().unwrap();
    let other = ticket.clone();
    drop(ticket);
    run_for(&mut reactor, 1000);
    assert_eq!(statuses(&reactor, id), [0; 0], "a clone is left");
    std::thread::spawn(move || drop(other)).join().unwrap();
    run_for(&mut reactor, 10);
    is_given_up(&reactor, id);
}

#[test]
fn a_handler_that_says_later_and_keeps_no_ticket_answers_500_at_once() {
    for keeps in [false, true] {
        let handler = move |_: &Request<'_>, reply: Responder<'_>| {
            keeps.then(|| drop(reply.ticket()));
            reply.later()
        };
        let (reactor, id) = asks(with("/never", handler), get("/never"));
        is_given_up(&reactor, id);
    }
}

#[test]
fn a_ticket_whose_end_cannot_be_told_answers_500_within_seconds() {
    let (mut reactor, listener) = serving(site());
    let id = reactor.net_mut().arrive(listener, Script::new().send(get("/late")));
    run_for(&mut reactor, 10);
    let ticket = tickets().pop().unwrap();
    reactor.net_mut().arrive(listener, Script::new().send(get("/late")));
    run_for(&mut reactor, 10);
    let other = tickets().pop().unwrap();
    while other.nudge() {}
    assert!(!ticket.answer(|reply| reply.start(200).body(b"lost")), "the mailbox is full");
    run_for(&mut reactor, 100);
    assert_eq!(statuses(&reactor, id), [0; 0]);
    run_for(&mut reactor, 5000);
    assert_eq!(statuses(&reactor, id), [500]);
}

#[test]
fn an_answer_that_puts_off_again_may_use_the_same_ticket() {
    let (mut reactor, id) = asks(site(), get("/late"));
    let ticket = tickets().pop().unwrap();
    let again = ticket.clone();
    ticket.answer(|reply| reply.later());
    run_for(&mut reactor, 10_000);
    again.answer(|reply| reply.start(200).body(b"at last"));
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "at last")]);
    assert_eq!(reactor.net().closed(id), None);
}

#[test]
fn an_answer_that_puts_off_again_without_a_ticket_answers_500() {
    let (mut reactor, id) = asks(site(), get("/late"));
    tickets().pop().unwrap().answer(|reply| reply.later());
    run_for(&mut reactor, 10);
    is_given_up(&reactor, id);
}

#[test]
fn a_handler_may_take_as_long_as_it_likes_while_its_ticket_lives() {
    let (mut reactor, id) = asks(site(), get("/late"));
    run_for(&mut reactor, 24 * 3600 * 1000);
    http::answer_all();
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "late")]);
}

#[test]
fn what_came_before_a_late_upgrade_is_read_by_the_other_protocol() {
    let route = ws::Hub::new(0, 1, ws::RoomLimits::default()).add(ws::Options::default(), ws::Kind::Echo);
    let site = with("/socket", move |request: &Request<'_>, reply: Responder<'_>| {
        let options = ws::Options::default();
        let terms = ws::Terms { method: b"GET", http_1_1: true, route, options: &options, room: None };
        let accepted = ws::accept(terms, request.head().fields.iter()).unwrap();
        reply
            .ticket()
            .answer(move |reply| reply.upgrade(|out| out.extend(&accepted.fields), Box::new(accepted.setup)));
        reply.later()
    });
    let ask = "GET /socket HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
               sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (mut reactor, listener) = serving(site);
    reactor.with_app(|app, _| assert_eq!(app.ws().add(ws::Options::default(), ws::Kind::Echo), route));
    let hi = b"\x81\x82\0\0\0\0hi";
    let script = Script::new().send([ask.as_bytes(), hi].concat()).wait(100).send(hi);
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 200);
    let sent = reactor.net().sent(id);
    assert!(
        sent.starts_with(b"HTTP/1.1 101 ") && sent.ends_with(b"\r\n\r\n\x81\x02hi\x81\x02hi"),
        "{sent:?}"
    );
    assert_eq!(reactor.app().tape().exchanges, [(101, true, None)]);
}

#[test]
fn a_program_that_ends_the_connection_with_a_late_answer_has_its_way() {
    let handler = |_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        reply.close().later()
    };
    let (mut reactor, id) = asks(with("/last", handler), get("/last") + &get("/"));
    http::answer_all();
    run_for(&mut reactor, 10);
    let seen = responses(reactor.net().sent(id), &[]);
    assert_eq!((seen.len(), seen[0].head.contains("connection: close")), (1, true));
    assert!(reactor.net().fin_sent(id));
}

#[test]
fn an_answer_leaves_no_word_behind() {
    let (mut reactor, id) = asks(site(), get("/late"));
    tickets().pop().unwrap().answer(|reply| reply.start(200).body(b"late"));
    run_for(&mut reactor, 100);
    assert_eq!((brief(&reactor, id), reactor.counters().notes), (vec![is(200, "late")], 1));
}

/// Counts, and tells whether the body was whole.
struct Count(usize);

impl Upload for Count {
    fn data(&mut self, bytes: &[u8]) -> Accepting {
        self.0 += bytes.len();
        Accepting::More
    }

    fn end(self: Box<Self>, whole: bool, reply: Responder<'_>) -> Reply {
        reply.start(200).body(format!("{} {whole}", self.0).as_bytes())
    }
}

#[test]
fn a_late_answer_that_receives_where_the_body_is_over_is_told_of_the_end() {
    for request in [get("/late"), post("/late", 3) + "abc"] {
        let (mut reactor, id) = asks(site(), request + &get("/"));
        tickets().pop().unwrap().answer(|reply| reply.receive(Box::new(Count(0))));
        run_for(&mut reactor, 10);
        assert_eq!(brief(&reactor, id), [is(200, "0 true"), is(200, "ok")]);
    }
}

#[test]
fn a_late_answer_that_receives_where_the_body_is_still_to_come_gets_it() {
    let later = || {
        Box::new(Streaming(|_: &Request<'_>, reply: Responder<'_>| {
            http::keep(reply.ticket());
            reply.later()
        }))
    };
    for head in ["content-length: 200000\r\n", "content-length: 200000\r\nexpect: 100-continue\r\n"] {
        let (mut reactor, listener) = serving(with_handler("/gate", later()));
        let head = format!("POST /gate HTTP/1.1\r\nhost: a\r\n{head}\r\n");
        let script = Script::new().send(head).send(vec![b'x'; 200_000]);
        let id = reactor.net_mut().arrive(listener, script);
        run_for(&mut reactor, 100);
        assert!(reactor.counters().bytes_in < 140_000, "the body waits where it is");
        tickets().pop().unwrap().answer(|reply| reply.receive(Box::new(Count(0))));
        run_for(&mut reactor, 100);
        assert_eq!(brief(&reactor, id).pop(), Some(is(200, "200000 true")));
    }
}

#[test]
fn a_late_answer_that_receives_is_measured_and_bounded_from_then_on_and_reported_with_its_route() {
    let chunked = "POST /gate HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let large = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2_000_000, "x".repeat(2_000_000));
    let trickle = |script: Script| (0..30).fold(script, |script, _| script.send("1\r\nx\r\n").wait(1000));
    for (script, status, reason, ms) in [
        (Script::new().wait(20_000).send(large), 413, Reason::TooLarge, 20_000..20_100),
        (trickle(Script::new().wait(20_000)), 408, Reason::BodyTooSlow, 30_000..30_100),
    ] {
        let (mut reactor, listener) = serving(with_handler("/gate", gate()));
        let id = reactor.net_mut().arrive(listener, Script::new().send(chunked).then(script));
        run_for(&mut reactor, 20_000);
        tickets().pop().unwrap().answer(|reply| reply.receive(Box::new(Count(0))));
        while !reactor.net().fin_sent(id) {
            run_for(&mut reactor, 10);
        }
        assert!(ms.contains(&reactor.net().elapsed_ms()), "{status}: {}", reactor.net().elapsed_ms());
        assert_eq!(statuses(&reactor, id), [status]);
        assert_eq!(reactor.app().tape().exchanges, [(status, true, Some(reason))]);
        assert_eq!(reactor.app().tape().routes, [Some("/gate".to_string())]);
    }
}

#[test]
fn an_upload_may_answer_later_by_the_ticket_that_it_was_begun_with() {
    struct Later;
    impl Upload for Later {
        fn data(&mut self, _: &[u8]) -> Accepting {
            Accepting::More
        }
        fn end(self: Box<Self>, _: bool, reply: Responder<'_>) -> Reply {
            reply.later()
        }
    }
    let handler = Streaming(|_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        reply.receive(Box::new(Later))
    });
    let (mut reactor, id) = asks(with_handler("/up", Box::new(handler)), post("/up", 3) + "abc");
    http::answer_all();
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "late")]);
}

/// Says later, and keeps its ticket, before the body has come.
fn gate() -> Box<dyn Handler> {
    Box::new(Streaming(|_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        reply.later()
    }))
}

#[test]
fn an_upload_whose_ticket_is_gone_goes_on_while_it_takes_what_comes() {
    // The ticket is used up by the answer that begins the upload.
    let (mut reactor, listener) = serving(with_handler("/gate", gate()));
    let script = Script::new().send(post("/gate", 6)).wait(100).send("abc").wait(1000).send("def");
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 50);
    tickets().pop().unwrap().answer(|reply| reply.receive(Box::new(Count(0))));
    run_for(&mut reactor, 2000);
    assert_eq!(brief(&reactor, id), [is(200, "6 true")]);
    // The handler looked at its ticket, and let it go.
    let looks = Streaming(|_: &Request<'_>, reply: Responder<'_>| {
        drop(reply.ticket());
        reply.receive(Box::new(Count(0)))
    });
    let (mut reactor, listener) = serving(with_handler("/looks", Box::new(looks)));
    let script = Script::new().send(post("/looks", 6)).wait(100).send("abc").wait(1000).send("def");
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 2000);
    assert_eq!(brief(&reactor, id), [is(200, "6 true")]);
}

#[test]
fn an_answer_that_is_put_off_again_may_still_receive_the_body() {
    let (mut reactor, listener) = serving(with_handler("/gate", gate()));
    let id = reactor.net_mut().arrive(listener, Script::new().send(post("/gate", 6)).send("abcdef"));
    run_for(&mut reactor, 10);
    let ticket = tickets().pop().unwrap();
    let again = ticket.clone();
    ticket.answer(|reply| reply.later());
    run_for(&mut reactor, 10);
    again.answer(|reply| reply.receive(Box::new(Count(0))));
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "6 true")]);
}

#[test]
fn an_upload_that_begins_when_the_client_has_said_all_ends_at_once() {
    let (mut reactor, listener) = serving(with_handler("/gate", gate()));
    let id = reactor.net_mut().arrive(listener, Script::new().send(post("/gate", 6)).fin());
    run_for(&mut reactor, 10);
    tickets().pop().unwrap().answer(|reply| reply.receive(Box::new(Count(0))));
    run_for(&mut reactor, 10);
    assert_eq!(reactor.app().tape().closes, [Reason::PeerClosedEarly]);
    assert_eq!(statuses(&reactor, id), [0; 0]);
}

#[test]
fn an_upload_that_ends_in_another_upload_answers_500() {
    struct Chain;
    impl Upload for Chain {
        fn data(&mut self, _: &[u8]) -> Accepting {
            Accepting::More
        }
        fn end(self: Box<Self>, _: bool, reply: Responder<'_>) -> Reply {
            reply.receive(Box::new(Chain))
        }
    }
    let chain = || |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Chain));
    let (reactor, id) = asks(with_handler("/chain", Box::new(Streaming(chain()))), post("/chain", 3) + "abc");
    is_given_up(&reactor, id);
    let (reactor, id) = asks(with("/chain", chain()), get("/chain"));
    is_given_up(&reactor, id);
}

/// Changes the protocol when it is told of the end: at once, or late.
struct Changes {
    early: bool,
    late: bool,
}

fn change(reply: Responder<'_>) -> Reply {
    reply.upgrade(|_| (), Box::new(()))
}

impl Upload for Changes {
    fn data(&mut self, _: &[u8]) -> Accepting {
        if self.early { Accepting::Answer } else { Accepting::More }
    }

    fn end(self: Box<Self>, _: bool, reply: Responder<'_>) -> Reply {
        if self.late { put_off(reply) } else { change(reply) }
    }
}

fn put_off(reply: Responder<'_>) -> Reply {
    http::keep(reply.ticket());
    reply.later()
}

#[test]
fn a_connection_does_not_change_its_protocol_in_the_middle_of_a_body() {
    type Answer = fn(&Request<'_>, Responder<'_>) -> Reply;
    let at_once: Answer = |_, reply| change(reply);
    let later: Answer = |_, reply| put_off(reply);
    let early: Answer = |_, reply| reply.receive(Box::new(Changes { early: true, late: false }));
    let early_and_late: Answer = |_, reply| reply.receive(Box::new(Changes { early: true, late: true }));
    for answer in [at_once, later, early, early_and_late] {
        let site = with_handler("/up", Box::new(Streaming(answer)));
        let (mut reactor, id) = asks(site, post("/up", 100) + "abc");
        // Put off once more.
        tickets().into_iter().for_each(|ticket| assert!(ticket.answer(put_off)));
        run_for(&mut reactor, 10);
        tickets().into_iter().for_each(|ticket| assert!(ticket.answer(change)));
        run_for(&mut reactor, 10);
        is_given_up(&reactor, id);
    }
    let whole: Answer = |_, reply| reply.receive(Box::new(Changes { early: false, late: false }));
    let whole_and_late: Answer = |_, reply| reply.receive(Box::new(Changes { early: false, late: true }));
    for answer in [whole, whole_and_late] {
        let site = with_handler("/up", Box::new(Streaming(answer)));
        let (mut reactor, id) = asks(site, post("/up", 3) + "abc");
        tickets().into_iter().for_each(|ticket| assert!(ticket.answer(change)));
        run_for(&mut reactor, 10);
        assert_eq!(statuses(&reactor, id), [101], "the body was over");
    }
}

#[test]
fn an_upload_that_was_answered_early_and_late_gives_no_more_to_another() {
    let early =
        |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Changes { early: true, late: true }));
    let (mut reactor, id) = asks(with_handler("/up", Box::new(Streaming(early))), post("/up", 100) + "abc");
    tickets().pop().unwrap().answer(|reply| reply.receive(Box::new(Count(0))));
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "0 false")]);
}

/// Holds the client back from the first byte on.
struct Stuck(Option<Ticket>);

impl Upload for Stuck {
    fn data(&mut self, _: &[u8]) -> Accepting {
        self.0.take().into_iter().for_each(http::keep);
        Accepting::Wait
    }

    fn end(self: Box<Self>, _: bool, reply: Responder<'_>) -> Reply {
        reply.start(200).body(b"done")
    }
}

#[test]
fn an_upload_that_waits_for_nobody_answers_500() {
    let stuck = || {
        Box::new(Streaming(|_: &Request<'_>, reply: Responder<'_>| {
            let ticket = Some(reply.ticket());
            reply.receive(Box::new(Stuck(ticket)))
        }))
    };
    let (mut reactor, id) = asks(with_handler("/stuck", stuck()), post("/stuck", 9) + "abc");
    run_for(&mut reactor, 100_000);
    assert_eq!(statuses(&reactor, id), [0; 0], "its ticket lives");
    drop(tickets());
    run_for(&mut reactor, 10);
    is_given_up(&reactor, id);
    let nobody = |_: &Request<'_>, reply: Responder<'_>| reply.receive(Box::new(Stuck(None)));
    let (reactor, id) = asks(with_handler("/stuck", Box::new(Streaming(nobody))), post("/stuck", 9) + "abc");
    is_given_up(&reactor, id);
}

#[test]
fn whoever_waits_for_a_ticket_whose_end_cannot_be_told_learns_of_it_within_seconds() {
    let mut site = site();
    let upload = Streaming(|_: &Request<'_>, reply: Responder<'_>| {
        let ticket = Some(reply.ticket());
        reply.receive(Box::new(Stuck(ticket)))
    });
    site.route(None, &[], "/stuck", None, Box::new(upload)).unwrap();
    let body = |_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        reply.start(200).stream(None, Box::new(|_: &mut Vec<u8>| Flow::Wait))
    };
    site.route(None, &[], "/made", None, Box::new(body)).unwrap();
    let (mut reactor, listener) = serving(site);
    let ids = [post("/stuck", 9) + "abc", get("/made"), get("/late")].map(|request| {
        let id = reactor.net_mut().arrive(listener, Script::new().send(request));
        run_for(&mut reactor, 10);
        id
    });
    let mut tickets = tickets();
    let other = tickets.pop().unwrap();
    while other.nudge() {}
    drop(tickets);
    run_for(&mut reactor, 100);
    assert_eq!((statuses(&reactor, ids[0]), reactor.net().closed(ids[1])), (vec![], None), "it was full");
    run_for(&mut reactor, 5000);
    assert_eq!(statuses(&reactor, ids[0]), [500]);
    assert_eq!(
        (brief(&reactor, ids[1]), reactor.net().closed(ids[1])),
        (vec![is(200, "…")], Some(CloseHow::Reset))
    );
}

#[test]
fn a_ticket_answers_an_upload_that_waits_for_it() {
    let full = |reply: Responder<'_>| reply.start(507).body(b"the disk is full");
    // One that takes what comes is answered, too: whether it waits already is not known where the ticket is.
    let holding: fn() -> Box<dyn Upload> = || Box::new(Stuck(None));
    let taking: fn() -> Box<dyn Upload> = || Box::new(Count(0));
    for (upload, late) in [(holding, false), (holding, true), (taking, false), (taking, true)] {
        let handler = move |_: &Request<'_>, reply: Responder<'_>| {
            http::keep(reply.ticket());
            reply.receive(upload())
        };
        let (mut reactor, listener) = serving(with_handler("/up", Box::new(Streaming(handler))));
        let script = Script::new().send(post("/up", 100) + "abc").wait(50).send(get("/")).await_fin().fin();
        let id = reactor.net_mut().arrive(listener, script);
        run_for(&mut reactor, 10);
        if late {
            tickets().into_iter().for_each(|ticket| assert!(ticket.answer(put_off)));
            run_for(&mut reactor, 100);
        }
        tickets().into_iter().for_each(|ticket| assert!(ticket.answer(full)));
        settle(&mut reactor);
        let seen = responses(reactor.net().sent(id), &[]);
        assert_eq!(brief(&reactor, id), [is(507, "the disk is full")]);
        assert!(seen[0].head.contains("connection: close"), "what is left of the body is no request");
        assert_eq!(reactor.app().tape().exchanges, [(507, true, Some(Reason::Done))]);
        assert_eq!(reactor.app().tape().routes, [Some("/up".to_string())]);
    }
}

// ---- bodies ----

/// An answer of a body that is made by this.
fn made(mut more: impl FnMut(&mut Vec<u8>) -> Flow + Clone + 'static) -> Site {
    let _ = &mut more;
    with("/made", move |_: &Request<'_>, reply: Responder<'_>| {
        reply.start(200).stream(None, Box::new(more.clone()))
    })
}

fn is_cut(reactor: &Serving, id: SimId, body: &str) {
    assert_eq!(brief(reactor, id), [is(200, body)]);
    assert_eq!(reactor.app().tape().closes, [Reason::HandlerFailed]);
    assert_eq!(reactor.net().closed(id), Some(CloseHow::Reset));
}

#[test]
fn a_body_that_says_more_without_a_byte_is_asked_again_and_cut_off_after_30_seconds() {
    let mut first = true;
    let site = made(move |out: &mut Vec<u8>| {
        out.extend_from_slice(if std::mem::take(&mut first) { b"a" } else { b"" });
        Flow::More
    });
    let (mut reactor, id) = asks(site, get("/made"));
    run_for(&mut reactor, 29_900);
    assert_eq!((brief(&reactor, id), reactor.net().closed(id)), (vec![is(200, "a…")], None));
    run_for(&mut reactor, 300);
    is_cut(&reactor, id, "a…");
}

#[test]
fn a_body_that_has_something_again_goes_on() {
    let mut calls = 0;
    let site = made(move |out: &mut Vec<u8>| {
        calls += 1;
        // Two dry spells of 20 s each.
        if calls % 400 == 0 {
            out.push(b'x');
        }
        if calls == 800 { Flow::End } else { Flow::More }
    });
    let (mut reactor, id) = asks(site, get("/made"));
    run_for(&mut reactor, 45_000);
    assert_eq!(brief(&reactor, id), [is(200, "xx")]);
    assert_eq!(reactor.net().closed(id), None);
}

#[test]
fn a_body_that_waits_for_nobody_is_cut_off() {
    let (reactor, id) = asks(made(|_: &mut Vec<u8>| Flow::Wait), get("/made"));
    is_cut(&reactor, id, "…");
    let site = with("/made", |_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        reply.start(200).stream(None, Box::new(|_: &mut Vec<u8>| Flow::Wait))
    });
    let (mut reactor, id) = asks(site, get("/made"));
    run_for(&mut reactor, 100_000);
    assert_eq!(reactor.net().closed(id), None);
    drop(tickets());
    run_for(&mut reactor, 10);
    is_cut(&reactor, id, "…");
}

#[test]
fn a_body_whose_last_nudge_came_while_the_client_was_slow_is_finished() {
    let site = with("/slow", |_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        let mut calls = 0;
        let body = move |out: &mut Vec<u8>| {
            calls += 1;
            out.resize(400_000, b'x');
            if calls == 1 { Flow::Wait } else { Flow::End }
        };
        reply.start(200).stream(Some(800_000), Box::new(body))
    });
    let (mut reactor, listener) = serving(site);
    let script = Script::new().window(1000).send(get("/slow")).wait(500).window(u64::MAX);
    let id = reactor.net_mut().arrive(listener, script);
    run_for(&mut reactor, 100);
    let ticket = tickets().pop().unwrap();
    assert!(ticket.nudge());
    drop(ticket);
    run_for(&mut reactor, 1000);
    let seen = responses(reactor.net().sent(id), &[]);
    assert_eq!((seen[0].body.len(), seen[0].whole, reactor.net().closed(id)), (800_000, true, None));
}

#[test]
fn a_body_that_waited_and_goes_on_because_the_client_took_more_waits_for_nobody() {
    let site = with("/slow", |_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        let mut calls = 0;
        let body = move |out: &mut Vec<u8>| {
            calls += 1;
            out.resize(400_000, b'x');
            match calls {
                1 => Flow::Wait,
                2 => Flow::More,
                _ => Flow::End,
            }
        };
        reply.start(200).stream(Some(1_200_000), Box::new(body))
    });
    let (mut reactor, listener) = serving(site);
    let script = Script::new().window(1000).send(get("/slow")).wait(500).window(400_000).wait(500);
    let id = reactor.net_mut().arrive(listener, script.window(u64::MAX));
    run_for(&mut reactor, 700);
    drop(tickets());
    run_for(&mut reactor, 1000);
    let seen = responses(reactor.net().sent(id), &[]);
    assert_eq!((seen[0].body.len(), seen[0].whole, reactor.net().closed(id)), (1_200_000, true, None));
}

#[test]
fn a_body_that_is_over_leaves_no_word_behind() {
    let (mut reactor, id) = asks(site(), get("/stream"));
    http::answer_all();
    run_for(&mut reactor, 10);
    assert_eq!(brief(&reactor, id), [is(200, "ab")]);
    let notes = reactor.counters().notes;
    run_for(&mut reactor, 100);
    assert_eq!((reactor.counters().notes, notes), (2, 2), "the nudge and the answer that came too late");
}

// ---- stopping ----

#[test]
fn a_connection_that_lingers_when_the_reactor_stops_keeps_the_reason_it_ended_for() {
    let (mut reactor, listener) = serving_with(site(), Settings::default());
    let bad = reactor.net_mut().arrive(listener, Script::new().send("BAD\r\n\r\n"));
    let busy = reactor.net_mut().arrive(listener, Script::new().send(get("/late")));
    run_for(&mut reactor, 10);
    assert!(reactor.net().fin_sent(bad) && reactor.net().closed(bad).is_none(), "it lingers");
    reactor.drain(Duration::ZERO);
    settle(&mut reactor);
    let mut closes = reactor.app().tape().closes.clone();
    closes.sort_by_key(|reason| reason.label());
    assert_eq!(closes, [Reason::BadRequest, Reason::Stopped]);
    assert_eq!(reactor.net().closed(bad), Some(CloseHow::Normal));
    assert_eq!(reactor.net().closed(busy), Some(CloseHow::Reset));
}

#[test]
fn a_ticket_that_outlives_its_server_leaves_nothing_of_it_behind() {
    use std::io::Write;
    let mut site = Site::default();
    let later = |_: &Request<'_>, reply: Responder<'_>| {
        http::keep(reply.ticket());
        reply.later()
    };
    site.on("GET", "/", later).unwrap();
    let mut server = evenkeel::http::Server::new(site).unwrap();
    let mut client = std::net::TcpStream::connect(server.bind("127.0.0.1:0").unwrap()).unwrap();
    client.write_all(get("/").as_bytes()).unwrap();
    let ticket = loop {
        server.reactor_mut().turn(None).unwrap();
        if let Some(ticket) = tickets().pop() {
            break ticket;
        }
    };
    drop(server);
    let (answer, nudge) = (std::sync::Arc::new(()), ticket.clone());
    let held = answer.clone();
    assert!(nudge.nudge());
    ticket.answer(move |reply| {
        let _ = &held;
        reply.start(204).empty()
    });
    assert_eq!(std::sync::Arc::strong_count(&answer), 1);
}
