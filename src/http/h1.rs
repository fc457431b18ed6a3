//! The machine of one HTTP/1.1 or 1.0 connection (RFC 9112).
//!
//! States and what ends them are in [`fault`](super::fault); reading bodies is in `h1/body.rs`, answering in `h1/answer.rs`.
//!
//! 1. Answers leave in the order of the requests. While one is late, being made, or waiting to be taken, no later request is read.
//! 2. After an error in framing nothing more is read: the connection has no known position in its input.
//! 3. An idle connection owns nothing but this value: 16 bytes.
//! 4. Every request that was begun is reported to [`Service::on_exchange`] once.

mod answer;
mod body;
mod waiting;

use super::exchange::{Exchange, Incoming, Sink};
use super::fault::{State, Verdict, verdict};
use super::late::Late;
use super::reply::BodyPolicy;
use super::site::{RouteId, Service};
use crate::observe::Reason;
use crate::reactor::{Close, Cx, Event, Hit, Input, Millis, Peer, Step, Timer};
use crate::wire::http::framing::Framing;
use crate::wire::http::head::{self, Head, Parsed};
use crate::wire::http::{Scan, emit};
use crate::wire::limits::Limits;
use std::any::Any;
use std::time::Duration;

/// How long a connection that was idle when draining began may still bring a request that was on its way.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// Over how long the rate of a body is measured.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// What one call answers from memory before others have their turn: see [`Work`](super::Work).
const EXCHANGES: u32 = 256;
/// As much work as so many of these is an answer for which the disk was looked at.
const DISK: u32 = 8;

const TOO_LONG: &str = "The request took too long.";

/// What the connection wants next.
#[must_use]
pub enum Outcome {
    /// A step of the reactor.
    Step(Step<Reason>),
    /// 101 was answered: another protocol takes over, told by this value. What is left of the input is its: in a call of `on_data` show it
    /// there, in any other call [`Cx::show_again`]. If [`Cx::draining`], it has yet to be told [`Event::Drain`].
    Upgrade(Box<dyn Any>),
}

/// What the loop over the input does next. Small, so that it comes back in a register: read from memory in one piece where it was
/// written in two, it cost a twentieth of a pipelined request.
enum Next {
    /// Look at the input again.
    Again,
    /// The same, when others had their turn.
    Yield,
    /// More has to come first: the deadlines of the state begin anew.
    Wait,
    /// Nothing has changed: the deadlines stand.
    Stay,
    /// That was it.
    End(Step<Reason>),
    /// Another protocol takes over: [`On::heir`].
    Upgrade,
}

impl Next {
    fn close(close: Close, reason: Reason) -> Next {
        Next::End(Step::Close(close, reason))
    }
}

/// The world that a call runs in.
struct On<'a, 'b, A: Service> {
    app: &'a mut A,
    cx: &'a mut Cx<'b, A>,
    /// [`Cx::room`] when the call began.
    room: usize,
    /// What the call may still answer before others have their turn.
    left: u32,
    peer: Peer,
    /// Tells the protocol that takes over: [`Next::Upgrade`].
    heir: Option<Box<dyn Any>>,
}

impl<'a, 'b, A: Service> On<'a, 'b, A> {
    fn new(app: &'a mut A, cx: &'a mut Cx<'b, A>) -> On<'a, 'b, A> {
        On { room: cx.room(), left: EXCHANGES, peer: cx.peer(), app, cx, heir: None }
    }

    fn hand_over(self) -> Outcome {
        match self.heir {
            Some(heir) => Outcome::Upgrade(heir),
            None => Outcome::Step(Step::Close(Close::Abort, Reason::Internal)),
        }
    }
}

/// What is known of the request that is being answered.
#[derive(Clone, Copy)]
struct Asked<'h> {
    head: Option<&'h Head<'h>>,
    /// The head as it came; of a bad one its first line.
    raw: &'h [u8],
    /// Bytes of its body so far.
    bytes_in: u64,
    began: Millis,
    /// The route that was asked for an answer before, or that waits for the body.
    route: RouteId,
    /// It was put off until the disk had what it takes.
    waited: bool,
}

/// One connection.
pub struct Connection {
    exchange: Option<Box<Exchange>>,
    /// Exchanges that are over.
    number: u32,
    state: State,
    /// The peer has sent its FIN.
    eof: bool,
    /// No further request is wanted: the server drains, or the peer has sent its FIN.
    last: bool,
    secure: bool,
}

impl Connection {
    /// A new connection; `secure` says that it came over TLS.
    pub fn new(secure: bool) -> Connection {
        Connection { exchange: None, number: 0, state: State::Fresh, eof: false, last: false, secure }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes of memory that it holds for a request or an answer under way.
    pub fn held(&self) -> usize {
        let held = |exchange: &Exchange| exchange.head.capacity() + exchange.body.capacity() + exchange.made;
        self.exchange.as_deref().map_or(0, |exchange| size_of::<Exchange>() + held(exchange))
    }

    /// Bytes have come. See [`Session::on_data`](crate::reactor::Session::on_data).
    pub fn on_data<A: Service>(&mut self, input: &mut Input<'_>, app: &mut A, cx: &mut Cx<'_, A>) -> Outcome {
        let mut on = On::new(app, cx);
        on.tick();
        loop {
            let next = match self.state {
                State::Fresh | State::Idle | State::Head => self.read_head(input, &mut on),
                State::Body | State::Upload => self.read_body(input, &mut on),
                State::Late | State::Stream | State::Sending => Next::Wait,
            };
            match next {
                Next::Again if on.left == 0 && !input.is_empty() => {
                    on.cx.show_again();
                    return self.rest(&mut on);
                }
                Next::Again => {}
                Next::Yield => {
                    if !input.is_empty() {
                        on.cx.show_later();
                    }
                    return self.rest(&mut on);
                }
                Next::Wait => {
                    // Invariant 1. Without input, reading goes on, so that a reset or an EOF is seen.
                    let busy = matches!(self.state, State::Late | State::Stream | State::Sending);
                    if busy && !input.is_empty() {
                        on.cx.set_reading(false);
                    }
                    return self.rest(&mut on);
                }
                Next::Stay => return Outcome::Step(Step::Continue),
                Next::End(step) => return Outcome::Step(step),
                Next::Upgrade => return on.hand_over(),
            }
        }
    }

    /// Something else has come. See [`Session::on_event`](crate::reactor::Session::on_event).
    pub fn on_event<A: Service>(&mut self, event: Event<Late>, app: &mut A, cx: &mut Cx<'_, A>) -> Outcome {
        let mut on = On::new(app, cx);
        on.tick();
        let next = match event {
            Event::Open => Next::Wait,
            Event::Drained => self.drained(&mut on),
            Event::Note(_, late) => self.late(late, &mut on),
            Event::Eof => self.hit(Hit::Eof, &mut on),
            Event::Timeout(deadline) => self.hit(Hit::Timeout(deadline), &mut on),
            Event::Failed(failure) => self.hit(Hit::Failed(failure), &mut on),
            Event::Drain => self.hit(Hit::Drain, &mut on),
        };
        match next {
            Next::End(step) => return Outcome::Step(step),
            Next::Upgrade => {
                // What came before the answer was held back.
                on.cx.set_reading(true);
                return on.hand_over();
            }
            Next::Again | Next::Yield => {
                // The input was held back, or may be: look at it again.
                on.cx.set_reading(true);
                on.cx.show_again();
            }
            Next::Stay => return Outcome::Step(Step::Continue),
            Next::Wait => {}
        }
        self.rest(&mut on)
    }

    fn hit<A: Service>(&mut self, hit: Hit, on: &mut On<'_, '_, A>) -> Next {
        self.eof |= hit == Hit::Eof;
        match verdict(self.state, hit) {
            Verdict::Ignore => Next::Stay,
            Verdict::Last => {
                self.last = true;
                Next::Stay
            }
            Verdict::LastLook => {
                self.last = true;
                Next::Wait
            }
            Verdict::CheckRate => self.check_rate(on),
            Verdict::CheckHandler => self.check_handler(on),
            Verdict::Answer(status, reason) => self.refuse(status, TOO_LONG, reason, on),
            Verdict::Close(close, reason) => {
                // The last look is over.
                let looked =
                    self.last && matches!((self.state, hit), (State::Fresh | State::Idle, Hit::Timeout(_)));
                let reason = if looked { Reason::Drained } else { reason };
                self.report_cut(reason, on);
                Next::close(close, reason)
            }
        }
    }

    /// Nothing is to be done now: sets the deadlines of the state.
    fn rest<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Outcome {
        let options = &on.app.site().options;
        let now = on.cx.now();
        match self.state {
            State::Idle if self.eof => {
                return Outcome::Step(Step::Close(Close::Graceful, Reason::PeerClosed));
            }
            State::Idle | State::Fresh if self.last => {
                on.cx.set_deadlines(now.after(LAST_LOOK), Millis::NEVER)
            }
            State::Fresh => on.cx.set_deadlines(now.after(options.read_timeout), Millis::NEVER),
            State::Idle => on.cx.set_deadlines(now.after(options.idle_timeout), Millis::NEVER),
            State::Head | State::Body => on.cx.set_deadline(Timer::Phase, options.read_timeout),
            State::Upload if self.is_held() => on.cx.set_deadlines(self.check_at(now), Millis::NEVER),
            State::Upload => on.cx.set_deadline(Timer::Phase, options.read_timeout),
            State::Late | State::Stream => on.cx.set_deadlines(self.check_at(now), Millis::NEVER),
            State::Sending => on.cx.set_deadlines(Millis::NEVER, Millis::NEVER),
        }
        on.cx.set_evictable(matches!(self.state, State::Idle | State::Fresh));
        Outcome::Step(Step::Continue)
    }

    fn read_head<A: Service>(&mut self, input: &mut Input<'_>, on: &mut On<'_, '_, A>) -> Next {
        if input.is_empty() {
            return Next::Wait;
        }
        if self.exchange.is_none()
            && let Some((head, len)) = &head::parse_whole(input.bytes(), &on.app.site().options.limits)
        {
            let (next, taken) = self.begin(head, *len, input.bytes(), on);
            input.take(taken);
            return next;
        }
        self.read_head_slowly(input, on)
    }

    /// A head that comes in pieces, or behind empty lines, or that is bad.
    #[cold]
    fn read_head_slowly<A: Service>(&mut self, input: &mut Input<'_>, on: &mut On<'_, '_, A>) -> Next {
        if self.exchange.is_none() {
            // Empty lines before a request are not one (RFC 9112, section 2.2): they are not kept, and put no deadline off.
            let answered = input.taken() > 0;
            let pairs = input.bytes().chunks_exact(2).take_while(|pair| *pair == b"\r\n").count();
            input.take(2 * pairs);
            if matches!(input.bytes(), b"" | b"\r") {
                return if answered { Next::Wait } else { Next::Stay };
            }
        }
        let mut fresh = Scan::default();
        let scan = self.exchange.as_mut().map_or(&mut fresh, |exchange| &mut exchange.scan);
        match head::parse(input.bytes(), scan, &on.app.site().options.limits) {
            Ok(Parsed::Complete(head, len)) => {
                let (next, taken) = self.begin(&head, len, input.bytes(), on);
                input.take(taken);
                next
            }
            Ok(Parsed::Partial) => {
                if self.state == State::Head {
                    return Next::Wait;
                }
                self.state = State::Head;
                on.cx.set_deadline(Timer::Total, on.app.site().options.head_timeout);
                let mut exchange = on.app.site().take_exchange();
                (exchange.scan, exchange.began) = (fresh, on.cx.now());
                self.exchange = Some(exchange);
                Next::Wait
            }
            Err(reject) => self.reject(reject, input.bytes(), on),
        }
    }

    /// A head is whole. Answers at once if the body is at hand, else prepares for it. Says how much of the input was taken.
    #[inline(always)]
    fn begin<A: Service>(
        &mut self,
        head: &Head<'_>,
        len: usize,
        bytes: &[u8],
        on: &mut On<'_, '_, A>,
    ) -> (Next, usize) {
        let began = self.exchange.as_ref().map_or(on.cx.now(), |exchange| exchange.began);
        let (raw, route) = (&bytes[..len], RouteId::NONE);
        let asked = Asked { head: Some(head), raw, bytes_in: 0, began, route, waited: false };
        match head.framing {
            Framing::None | Framing::Length(0) | Framing::UntilClose => {
                (self.serve(&asked, b"", false, on), len)
            }
            Framing::Length(n) => self.begin_body(asked, head, Some(n), &bytes[len..], on),
            Framing::Chunked => self.begin_body(asked, head, None, &bytes[len..], on),
        }
    }

    /// A head is whole, and a body follows; `left`: bytes of it, if that is known; `rest`: what came behind the head.
    #[inline(never)]
    fn begin_body<A: Service>(
        &mut self,
        mut asked: Asked<'_>,
        head: &Head<'_>,
        left: Option<u64>,
        rest: &[u8],
        on: &mut On<'_, '_, A>,
    ) -> (Next, usize) {
        let (len, began) = (asked.raw.len(), asked.began);
        let plan = on.app.site().plan(head);
        asked.route = plan.route;
        let over = left.is_some_and(|n| n > plan.limit);
        if over && !plan.refused {
            return (self.refuse_asked(&asked, 413, body::TOO_LARGE, Reason::TooLarge, on), len);
        }
        // Who waits for a word, or has too much, learns of a certain error before it sends anything (RFC 9110, 10.1.1).
        let awaited = head.expect_continue && rest.is_empty();
        let at_once = plan.policy == BodyPolicy::Stream || plan.refused && (awaited || over);
        let whole = left.and_then(|n| rest.get(..usize::try_from(n).ok()?));
        if let (Some(body), false) = (whole, at_once) {
            asked.bytes_in = body.len() as u64;
            let shown = if plan.policy == BodyPolicy::Discard { b"" } else { body };
            return (self.serve(&asked, shown, false, on), len + body.len());
        }
        let mut exchange = self.exchange.take().unwrap_or_else(|| on.app.site().take_exchange());
        exchange.head.extend_from_slice(asked.raw);
        exchange.incoming = left.map_or(Incoming::Chunked(Default::default()), Incoming::Length);
        (exchange.began, exchange.limit, exchange.window) = (began, plan.limit, (on.cx.now(), 0));
        exchange.terms = on.app.site().terms(head, self.last || on.cx.draining());
        exchange.sent.route = plan.route;
        exchange.sink = match plan.policy {
            BodyPolicy::Collect => Sink::Collect,
            BodyPolicy::Discard | BodyPolicy::Stream => Sink::Discard,
        };
        self.exchange = Some(exchange);
        on.cx.set_deadline(Timer::Total, RATE_WINDOW);
        if at_once {
            return (self.serve(&asked, b"", true, on), len);
        }
        self.state = State::Body;
        if awaited {
            on.cx.write(emit::CONTINUE);
        }
        (Next::Again, len)
    }
}

/// The head of a request that was begun, kept as it came. It was legal then: limits that have changed since are none of it.
fn kept_head(raw: &[u8]) -> Option<Head<'_>> {
    let limits = Limits {
        head_size: raw.len(),
        target_size: raw.len(),
        head_fields: Limits::MAX_FIELDS,
        ..Limits::default()
    };
    head::parse_whole(raw, &limits).map(|(head, _)| head)
}

impl<A: Service> On<'_, '_, A> {
    fn tick(&mut self) {
        let (now, host) = (self.cx.now(), self.cx.host());
        self.app.site().clock.tick(now, host);
    }
}
