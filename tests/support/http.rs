//! The whole server in a simulated world: a site with a route for everything that a handler can do, and the states of HTTP.

use super::matrix::{Expect, Hit, Subject};
use super::run_for;
use evenkeel::http::fault::State;
use evenkeel::http::{
    Accepting, BodyPolicy, Flow, Handler, Options, Reply, Request, Responder, Site, Ticket, Upload,
};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Script, SimListener, SimNet, World};
use evenkeel::reactor::{CloseHow, Failure, Fault, Op, Part, Reactor, Settings, TlsFault};
use evenkeel::server::Worker;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// What handlers keep for later: tests answer or nudge.
    static TICKETS: RefCell<Vec<Ticket>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a ticket for the test.
pub fn keep(ticket: Ticket) {
    TICKETS.with_borrow_mut(|tickets| tickets.push(ticket));
}

/// The tickets that were kept since the last call.
pub fn tickets() -> Vec<Ticket> {
    TICKETS.take()
}

/// Answers all that waits for an answer; goes on with all that waits for a nudge.
pub fn answer_all() {
    for ticket in tickets() {
        ticket.nudge();
        ticket.answer(|reply| reply.start(200).body(b"late"));
    }
}

/// A handler that has bodies piece by piece.
pub struct Streaming<F>(pub F);

impl<F: FnMut(&Request<'_>, Responder<'_>) -> Reply> Handler for Streaming<F> {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        self.0(request, reply)
    }

    fn body(&self) -> BodyPolicy {
        BodyPolicy::Stream
    }
}

/// An upload that counts; it answers early from so many bytes on.
pub struct Count {
    pub n: usize,
    pub most: usize,
}

impl Upload for Count {
    fn data(&mut self, bytes: &[u8]) -> Accepting {
        self.n += bytes.len();
        if self.n > self.most { Accepting::Answer } else { Accepting::More }
    }

    fn end(self: Box<Self>, whole: bool, reply: Responder<'_>) -> Reply {
        let status = if whole { 200 } else { 413 };
        reply.start(status).body(format!("took {}", self.n).as_bytes())
    }
}

/// The most that is handed to a connection at once, whatever it takes.
pub const BIG: usize = 256 << 10;

/// Times as the tests count on them.
pub fn options() -> Options {
    Options {
        read_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        body_rate: 1024,
        body_size: 1 << 20,
        ..Options::default()
    }
}

/// | path | what it does |
/// |---|---|
/// | `/` | `ok` |
/// | `/echo` | sends the body back |
/// | `/upload` | counts the body, piece by piece |
/// | `/late` | keeps a ticket |
/// | `/stream` | `a`, waits for a nudge, `b`, in chunks |
/// | `/big` | 256 KiB, at once |
pub fn site() -> Site {
    let mut site = Site::new(options());
    let mut put = |path: &str, handler: Box<dyn Handler>| site.route(None, &[], path, None, handler).unwrap();
    put("/", Box::new(|_: &Request<'_>, reply: Responder<'_>| reply.start(200).body(b"ok")));
    put(
        "/echo",
        Box::new(|request: &Request<'_>, reply: Responder<'_>| reply.start(200).body(request.body())),
    );
    put(
        "/upload",
        Box::new(Streaming(|_: &Request<'_>, reply: Responder<'_>| {
            reply.receive(Box::new(Count { n: 0, most: 100_000 }))
        })),
    );
    put(
        "/late",
        Box::new(|_: &Request<'_>, reply: Responder<'_>| {
            keep(reply.ticket());
            reply.later()
        }),
    );
    put(
        "/stream",
        Box::new(|_: &Request<'_>, reply: Responder<'_>| {
            let (ticket, mut pieces) = (reply.ticket(), ["a", "b"].into_iter());
            let body = move |out: &mut Vec<u8>| {
                let piece = pieces.next().unwrap_or("");
                out.extend_from_slice(piece.as_bytes());
                if piece != "a" {
                    return Flow::End;
                }
                // Kept here, not before: a nudge that came earlier is spent.
                keep(ticket.clone());
                Flow::Wait
            };
            reply.start(200).stream(None, Box::new(body))
        }),
    );
    let big: Arc<[u8]> = vec![b'b'; BIG].into();
    put(
        "/big",
        Box::new(move |_: &Request<'_>, reply: Responder<'_>| {
            reply.start(200).part(Part::Shared(big.clone(), 0..BIG))
        }),
    );
    site
}

/// One answer, as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub status: u16,
    /// In lower case.
    pub head: String,
    /// Without its framing.
    pub body: Vec<u8>,
    pub whole: bool,
}

/// All that a client saw, which asked with these methods.
pub fn responses(mut sent: &[u8], methods: &[&str]) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut methods = methods.iter();
    while !sent.is_empty() {
        let Some(end) = find(sent, b"\r\n\r\n").map(|at| at + 4) else {
            let status = std::str::from_utf8(sent.get(9..12).unwrap_or_default()).unwrap_or_default();
            let (status, head) = (status.parse().unwrap_or(0), String::from_utf8_lossy(sent).into_owned());
            all.push(Seen { status, head, body: Vec::new(), whole: false });
            break;
        };
        let head = String::from_utf8_lossy(&sent[..end]).to_lowercase();
        let status: u16 = head[9..12].parse().unwrap();
        let bodiless = status < 200
            || matches!(status, 204 | 304)
            || (status != 408 && status != 400 && methods.next() == Some(&"HEAD"));
        let (body, len, whole) = if bodiless { (Vec::new(), 0, true) } else { body(&head, &sent[end..]) };
        sent = &sent[end + len..];
        all.push(Seen { status, head, body, whole });
    }
    all
}

/// A body without its framing, its length with it, and whether it is whole.
fn body(head: &str, rest: &[u8]) -> (Vec<u8>, usize, bool) {
    let field = |name: &str| head.split(name).nth(1).and_then(|rest| rest.split("\r\n").next());
    if let Some(n) = field("\r\ncontent-length: ").and_then(|n| n.parse::<usize>().ok()) {
        let got = rest.len().min(n);
        return (rest[..got].to_vec(), got, got == n);
    }
    if field("\r\ntransfer-encoding: ") != Some("chunked") {
        return (rest.to_vec(), rest.len(), true);
    }
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = find(&rest[at..], b"\r\n") else { return (out, rest.len(), false) };
        let size = std::str::from_utf8(&rest[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("a chunk of size {size:?}"));
        at += line + 2;
        let data = &rest[at..(at + size).min(rest.len())];
        out.extend_from_slice(data);
        at += size + 2;
        if at > rest.len() {
            return (out, rest.len(), false);
        }
        assert_eq!(&rest[at - 2..at], b"\r\n", "the end of a chunk");
        if size == 0 {
            return (out, at, true);
        }
    }
}

/// The statuses that a client saw in order, with `…` behind one whose body is not whole.
pub fn summary(sent: &[u8]) -> String {
    let word = |seen: Seen| format!("{}{}", seen.status, if seen.whole { "" } else { "…" });
    responses(sent, &[]).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A server in a simulated world, ready for peers.
pub type Serving = Reactor<Worker, SimNet>;

/// Serves this site.
pub fn serving(site: Site) -> (Serving, SimListener) {
    serving_with(site, Settings::default())
}

/// Serves this site under these limits.
pub fn serving_with(site: Site, settings: Settings) -> (Serving, SimListener) {
    serving_in(SimNet::new(1), site, settings)
}

/// Serves this site under these limits in that world.
pub fn serving_in(mut net: SimNet, site: Site, settings: Settings) -> (Serving, SimListener) {
    tickets();
    let listener = net.listen();
    let mut reactor = Reactor::new(Worker::for_tests(site), net, settings);
    let handle = reactor.handle();
    reactor.app_mut().post_through(handle);
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

/// HTTP/1.1, in the whole server.
pub struct Http;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Brings a connection there; then what completes the request.
fn way(state: State) -> (Script, &'static str) {
    match state {
        State::Fresh => (Script::new(), GET),
        State::Idle => (Script::new().send(GET), GET),
        State::Head => (Script::new().send("GET / HTTP/1.1\r\nhost: a\r\nx: "), "y\r\n\r\n"),
        State::Body => {
            (Script::new().send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 200\r\n\r\nabc"), REST)
        }
        State::Upload => {
            (Script::new().send("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 200\r\n\r\nabc"), REST)
        }
        State::Late => (Script::new().send("GET /late HTTP/1.1\r\nhost: a\r\n\r\n"), ""),
        State::Stream => (Script::new().send("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n"), ""),
        State::Sending => (Script::new().window(500).send("GET /big HTTP/1.1\r\nhost: a\r\n\r\n"), ""),
    }
}

/// 197 bytes.
const REST: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456\
     0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

fn ended(reason: Reason, close: CloseHow, sent: &'static str) -> Option<Expect<Reason>> {
    Some(Expect { reason, close: Some(close), sent })
}

impl Subject for Http {
    type App = Worker;
    type State = State;
    const TITLE: &'static str = "HTTP/1.1, in the whole server";

    fn states() -> &'static [State] {
        &State::ALL
    }

    fn hits() -> Vec<Hit> {
        Hit::all()
            .into_iter()
            .filter(|hit| !matches!(hit, Hit::Fails(Op::Connect, _)))
            .chain([Hit::Trickle, Hit::Drain])
            .collect()
    }

    fn about(state: State) -> &'static str {
        match state {
            State::Fresh => "nothing came yet",
            State::Idle => "one request was answered",
            State::Head => "half a head has come",
            State::Body => "3 of 200 bytes of a body have come, which is collected",
            State::Upload => "3 of 200 bytes of a body have come, which is handed on",
            State::Late => "another thread will answer in 800 ms",
            State::Stream => "half of the answer's body was made, the rest will be in 800 ms",
            State::Sending => "an answer of 1 MB was made; the peer took 500 bytes",
        }
    }

    fn app(_: &mut World, _: SimListener) -> Worker {
        Worker::for_tests(site())
    }

    fn reach<const R: bool>(
        reactor: &mut Reactor<Worker, SimNet<R>>,
        listener: SimListener,
        state: State,
        hit: Hit,
    ) {
        tickets();
        let handle = reactor.handle();
        reactor.app_mut().post_through(handle);
        let (reached, rest) = way(state);
        let mut script = reached.wait(200);
        script = match (hit, state) {
            (Hit::Trickle, State::Sending) => script.sip(10, 1000, 90),
            (Hit::Drain, State::Sending) => script.wait(50).window(u64::MAX),
            (Hit::Drain, _) => script.wait(50).send(rest),
            // A write can only fail where something is written.
            (Hit::Fails(Op::Write, _), _) => script.then(hit.script()).send(rest),
            (
                Hit::Fails(Op::Connect | Op::Handshake | Op::Read, _)
                | Hit::WouldBlock
                | Hit::Eof
                | Hit::Silence
                | Hit::Trickle,
                _,
            ) => script.then(hit.script()),
        };
        reactor.net_mut().arrive(listener, script);
        run_for(reactor, 220);
        if hit == Hit::Drain {
            reactor.drain(Duration::from_secs(100));
        }
        run_for(reactor, 780);
        answer_all();
    }

    fn expect(state: State, hit: Hit) -> Option<Expect<Reason>> {
        use CloseHow::{Normal, Reset};
        let failed = |op, fault| Reason::of_failure(Failure { op, fault });
        match (state, hit) {
            (
                State::Fresh
                | State::Idle
                | State::Head
                | State::Body
                | State::Upload
                | State::Late
                | State::Stream
                | State::Sending,
                Hit::Fails(Op::Connect | Op::Handshake, _),
            ) => None,

            // Nothing is missing: many clients say no goodbye.
            (State::Fresh, Hit::Fails(Op::Read, Fault::Tls(TlsFault::Truncated))) => {
                ended(Reason::PeerClosed, Normal, "")
            }
            (State::Fresh, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "")
            }
            (State::Fresh, Hit::Eof) => ended(Reason::PeerClosed, Normal, ""),
            (State::Fresh, Hit::WouldBlock | Hit::Silence) => ended(Reason::ReadTimeout, Normal, ""),
            (State::Fresh, Hit::Trickle) => ended(Reason::HeadTimeout, Normal, "408"),
            // What was on its way when draining began is still answered.
            (State::Fresh, Hit::Drain) => ended(Reason::Drained, Normal, "200"),

            (State::Idle, Hit::Fails(Op::Read, Fault::Tls(TlsFault::Truncated))) => {
                ended(Reason::PeerClosed, Normal, "200")
            }
            (State::Idle, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "200")
            }
            (State::Idle, Hit::Eof) => ended(Reason::PeerClosed, Normal, "200"),
            (State::Idle, Hit::WouldBlock | Hit::Silence) => ended(Reason::IdleTimeout, Normal, "200"),
            (State::Idle, Hit::Trickle) => ended(Reason::HeadTimeout, Normal, "200 408"),
            (State::Idle, Hit::Drain) => ended(Reason::Drained, Normal, "200 200"),

            (State::Head, Hit::Trickle) => ended(Reason::HeadTimeout, Normal, "408"),
            (State::Body | State::Upload, Hit::Trickle) => ended(Reason::BodyTooSlow, Normal, "408"),
            (State::Head | State::Body | State::Upload, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "")
            }
            (State::Head | State::Body | State::Upload, Hit::Eof) => {
                ended(Reason::PeerClosedEarly, Normal, "")
            }
            (State::Head | State::Body | State::Upload, Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::ReadTimeout, Normal, "408")
            }
            (State::Head | State::Body | State::Upload, Hit::Drain) => ended(Reason::Drained, Normal, "200"),

            (State::Late, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "")
            }
            (State::Stream, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "200…")
            }
            // A client may end its side and wait for its answer.
            (State::Late | State::Stream, Hit::Eof) => ended(Reason::PeerClosed, Normal, "200"),
            (State::Late | State::Stream, Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::IdleTimeout, Normal, "200")
            }
            // Bytes behind the request are the next head.
            (State::Late | State::Stream, Hit::Trickle) => ended(Reason::HeadTimeout, Normal, "200 408"),
            (State::Late | State::Stream, Hit::Drain) => ended(Reason::Drained, Normal, "200"),

            (State::Sending, Hit::Fails(Op::Write, fault)) => ended(failed(Op::Write, fault), Reset, "200…"),
            // Above high water nothing is read: only the peer's not taking anything is seen.
            (State::Sending, Hit::Fails(Op::Read, _) | Hit::WouldBlock | Hit::Eof | Hit::Silence) => {
                ended(Reason::WriteStalled, Reset, "200…")
            }
            (State::Sending, Hit::Trickle) => ended(Reason::WriteTooSlow, Reset, "200…"),
            (State::Sending, Hit::Drain) => ended(Reason::Drained, Normal, "200"),
        }
    }

    fn reasons(app: &Worker) -> Vec<Reason> {
        app.tape().closes.clone()
    }

    fn words(reason: &Reason) -> String {
        let of_faults = Fault::ALL.map(|fault| Reason::of_failure(Failure { op: Op::Read, fault }));
        if of_faults.contains(reason) { "the fault's reason".into() } else { reason.label().into() }
    }

    fn got(sent: &[u8]) -> String {
        summary(sent)
    }

    fn check(app: &Worker, state: State, hit: Hit) {
        let second = matches!(hit, Hit::Trickle | Hit::Drain | Hit::Fails(Op::Write, _));
        let begun = match state {
            State::Fresh => usize::from(second),
            State::Idle => 1 + usize::from(second),
            State::Late | State::Stream => 1 + usize::from(hit == Hit::Trickle),
            State::Head | State::Body | State::Upload | State::Sending => 1,
        };
        let exchanges = &app.tape().exchanges;
        assert_eq!(
            exchanges.len(),
            begun,
            "each request that was begun is reported once: {state:?} {hit:?} {exchanges:?}"
        );
    }
}
