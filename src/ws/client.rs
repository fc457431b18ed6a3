//! A client that comes back: connects, checks the handshake, and connects again when the connection is lost.
//!
//! | state | what is going on | ends by |
//! |---|---|---|
//! | waiting | no stream | the time until the next attempt ([`Retry`](crate::guard::Retry)) |
//! | connecting | a connect is under way | connected, a fault, `connect_timeout` |
//! | handshake | our request is out | a 101 that fits it, anything else, `connect_timeout` |
//! | up | the states of [`fault`](super::fault) | closed by either side, a fault, silence |
//!
//! 1. Every change is told to the [`Handler`], in order; the end for good once, last. One that panics ends the client, and hears nothing
//!    more.
//! 2. What is said while away waits in a queue with a bound; it leaves after what [`Handler::resubscribe`] says.
//! 3. Each frame is masked with a fresh key that nobody can foresee (RFC 6455, 10.3).
//! 4. What was handed to a connection that was then lost may or may not have arrived: who must know lets the other side acknowledge.
//!
//! A client is a session: the program [`spawn`](crate::reactor::Cx::spawn)s it. Other sessions speak to it with [`Note`]s.

mod link;

pub use link::{Change, Handler, Link, Options};

use super::fault::{Away, AwayVerdict, State, away_verdict};
use super::hub::{Note, Service};
use super::talk::{Flow, GOING_AWAY, Heard, Talk};
use crate::guard::{Backoff, contain};
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{Close, CloseHow, Cx, Event, Hit, Host, Input, Millis, Step, Token};
use crate::wire::http::Method;
use crate::wire::http::response::{self, ParsedResponse};
use crate::wire::ws::handshake::client::{Illegal, Opening, key_text, verify};
use crate::wire::ws::{Agreed, Code, Role};
use link::{Outgoing, Wish, let_go, with_link};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Away(Away),
    Up,
}

struct Inner {
    options: Options,
    /// None once it has panicked.
    handler: Option<Box<dyn Handler>>,
    stage: Stage,
    talk: Talk,
    outgoing: Outgoing,
    backoff: Backoff,
    key: [u8; 24],
    scanned: usize,
}

/// A client: one pointer.
pub struct Client(Box<Inner>);

impl Client {
    /// A client that begins when it is spawned.
    ///
    /// # Errors
    /// [`Illegal`]: the options could not be written as a request.
    pub fn new(options: Options, handler: Box<dyn Handler>) -> Result<Client, Illegal> {
        let inner = Inner {
            options,
            handler: Some(handler),
            stage: Stage::Away(Away::Waiting),
            talk: Talk::new(Role::Client, None, 0),
            outgoing: Outgoing::default(),
            backoff: Backoff::default(),
            key: [b'A'; 24],
            scanned: 0,
        };
        inner.request(&mut Vec::new())?;
        Ok(Client(Box::new(inner)))
    }

    /// Where it stands, if it is not connected.
    pub fn away(&self) -> Option<Away> {
        match self.0.stage {
            Stage::Away(away) => Some(away),
            Stage::Up => None,
        }
    }

    /// Where its connection stands, if it has one.
    pub fn state(&self) -> Option<State> {
        self.away().is_none().then(|| self.0.talk.state())
    }

    /// Bytes have come. See [`Session::on_data`](crate::reactor::Session::on_data).
    pub fn on_data<A: Service>(
        &mut self,
        input: &mut Input<'_>,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        let inner = &mut *self.0;
        match inner.stage {
            Stage::Away(Away::Handshake) => {
                if let Some(step) = inner.answered(input, app, cx) {
                    return step;
                }
            }
            Stage::Away(Away::Waiting | Away::Connecting) => return Step::Continue,
            Stage::Up => {}
        }
        let step = inner.read(input, app, cx);
        inner.after(step, app, cx)
    }

    /// Something else has come. See [`Session::on_event`](crate::reactor::Session::on_event).
    pub fn on_event<A: Service>(
        &mut self,
        event: Event<Note>,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        let inner = &mut *self.0;
        let hit = match event {
            Event::Open => return inner.opened(app, cx),
            Event::Drained => {
                let rules = inner.options.rules();
                inner.talk.goes_on(&rules, cx);
                return inner.flush(app, cx);
            }
            Event::Note(_, Note::Batch(_)) => return Step::Continue,
            Event::Note(_, Note::Send(message)) => {
                return match inner.tell(app, cx, |_, link| {
                    link.send(message.as_message());
                }) {
                    Step::Continue => inner.flush(app, cx),
                    end => end,
                };
            }
            Event::Note(_, Note::Close(code, text)) => {
                return inner.close((code, &text), Reason::Kicked, app, cx);
            }
            Event::Eof => Hit::Eof,
            Event::Timeout(deadline) => Hit::Timeout(deadline),
            Event::Failed(failure) => Hit::Failed(failure),
            Event::Drain => Hit::Drain,
        };
        inner.hit(hit, app, cx)
    }

    /// The client has ended; the program calls it in [`App::on_close`](crate::reactor::App::on_close).
    pub fn on_close<A: Service>(mut self, reason: Reason, token: Token, app: &mut A, host: &mut dyn Host) {
        let hub = app.ws();
        self.0.talk.abandon(&mut hub.desk);
        let Inner { handler, talk, outgoing, options, .. } = &mut *self.0;
        if let Some(handler) = handler {
            contain(&mut Cork::default(), "its client has ended", |cork| {
                let mut link = Link {
                    token,
                    open: false,
                    backlog: 0,
                    sender: talk.sender(),
                    outgoing,
                    cork,
                    host,
                    codecs: &mut hub.shared.codecs,
                    slow: options.full,
                    bounds: options.queue,
                    longest: options.longest,
                    wish: None,
                };
                handler.change(Change::Ended(reason), &mut link);
            });
        }
        let_go(handler);
    }
}

impl Inner {
    fn request(&self, out: &mut Vec<u8>) -> Result<(), Illegal> {
        let options = &self.options;
        let protocols: Vec<&str> = options.protocols.iter().map(String::as_str).collect();
        let fields: Vec<(&str, &str)> =
            options.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let opening = Opening {
            host: &options.host,
            target: &options.path,
            protocols: &protocols,
            deflate: options.deflate,
            origin: options.origin.as_deref(),
            fields: &fields,
        };
        opening.emit(&self.key, out)
    }

    fn hit<A: Service>(&mut self, hit: Hit, app: &mut A, cx: &mut Cx<'_, A>) -> Step<Reason> {
        let away = match self.stage {
            Stage::Up if hit == Hit::Drain => return self.close(GOING_AWAY, Reason::Drained, app, cx),
            Stage::Up => {
                let rules = self.options.rules();
                let step = self.talk.hit(hit, &rules, cx);
                return self.after(step, app, cx);
            }
            Stage::Away(away) => away,
        };
        match away_verdict(away, hit) {
            AwayVerdict::Ignore => Step::Continue,
            AwayVerdict::Dial => self.dial(app, cx),
            AwayVerdict::Lost(reason) => self.lost(Close::Abort, reason, app, cx),
            AwayVerdict::End(reason) => Step::Close(Close::Graceful, reason),
        }
    }

    /// It was spawned, or a connect has succeeded.
    fn opened<A: Service>(&mut self, app: &mut A, cx: &mut Cx<'_, A>) -> Step<Reason> {
        match self.stage {
            Stage::Away(Away::Waiting) => self.dial(app, cx),
            Stage::Away(Away::Connecting) => {
                let mut random = [0; 16];
                cx.host().fill_random(&mut random);
                (self.key, self.scanned) = (key_text(random), 0);
                self.stage = Stage::Away(Away::Handshake);
                cx.set_deadlines(cx.now().after(self.options.connect_timeout), Millis::NEVER);
                match cx.compose(|out| self.request(out)) {
                    Ok(()) => Step::Continue,
                    Err(Illegal) => Step::Close(Close::Abort, Reason::Internal),
                }
            }
            Stage::Away(Away::Handshake) | Stage::Up => Step::Continue,
        }
    }

    fn dial<A: Service>(&mut self, app: &mut A, cx: &mut Cx<'_, A>) -> Step<Reason> {
        self.stage = Stage::Away(Away::Connecting);
        cx.set_deadlines(cx.now().after(self.options.connect_timeout), Millis::NEVER);
        cx.attach(&self.options.target);
        self.tell(app, cx, |handler, link| handler.change(Change::Connecting, link))
    }

    /// Reads the answer to our request; `None` once the connection stands.
    fn answered<A: Service>(
        &mut self,
        input: &mut Input<'_>,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Option<Step<Reason>> {
        loop {
            let limits = crate::wire::limits::Limits::default();
            let (head, len) = match response::parse(input.bytes(), &mut self.scanned, Method::Get, &limits) {
                Ok(ParsedResponse::Complete(head, len)) => (head, len),
                Ok(ParsedResponse::Partial) => return Some(Step::Continue),
                Err(_) => return Some(self.lost(Close::Abort, Reason::WsViolation, app, cx)),
            };
            if (100..=199).contains(&head.status) && head.status != 101 {
                input.take(len);
                continue;
            }
            let protocols: Vec<&str> = self.options.protocols.iter().map(String::as_str).collect();
            let fields = head.fields.iter();
            let found = verify(head.status, fields, &self.key, &protocols, self.options.deflate.as_ref());
            let Ok(accepted) = found.map(|a| (a.protocol.map(str::to_owned), a.deflate)) else {
                return Some(self.lost(Close::Abort, Reason::Refused, app, cx));
            };
            input.take(len);
            return self.stands(accepted, app, cx);
        }
    }

    fn stands<A: Service>(
        &mut self,
        (protocol, agreed): (Option<String>, Option<Agreed>),
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Option<Step<Reason>> {
        self.stage = Stage::Up;
        self.talk = Talk::new(Role::Client, agreed, 0);
        self.outgoing.own = None;
        self.backoff.stands(cx.now());
        let rules = self.options.rules();
        self.talk.begin(&rules, cx);
        // What waits must not leave before what the server must know first.
        let mut waiting = std::mem::take(&mut self.outgoing.queue);
        let codecs = &mut app.ws().shared.codecs;
        let program = (&mut self.handler, &mut self.outgoing);
        let told = with_link(&self.talk, program, &self.options, codecs, true, cx, |handler, link| {
            handler.change(Change::Open(protocol.as_deref()), link);
            handler.resubscribe(link);
        });
        // If more was said than goes out at once, it goes first.
        while let Some(message) = waiting.pop() {
            self.outgoing.push(message, self.options.full, self.options.queue);
        }
        match self.heed(told, app, cx) {
            Step::Continue => {}
            end => return Some(end),
        }
        match self.flush(app, cx) {
            Step::Continue => None,
            end => Some(end),
        }
    }

    fn read<A: Service>(&mut self, input: &mut Input<'_>, app: &mut A, cx: &mut Cx<'_, A>) -> Step<Reason> {
        let (rules, hub) = (self.options.rules(), app.ws());
        let codecs = &mut hub.shared.codecs;
        let (outgoing, handler, options) = (&mut self.outgoing, &mut self.handler, &self.options);
        let step = self.talk.read(input, &mut hub.desk, &rules, cx, |talk, heard, cx| {
            if outgoing.done && matches!(heard, Heard::Message(_)) {
                return Flow::More;
            }
            let program = (&mut *handler, &mut *outgoing);
            let told = with_link(talk, program, options, codecs, true, cx, |handler, link| match heard {
                Heard::Message(message) => handler.message(message, link),
                Heard::Close(said) => handler.change(Change::Closing(said), link),
            });
            let Some(wish) = told else {
                outgoing.done = true;
                return Flow::Over;
            };
            if let Some((code, text)) = wish {
                outgoing.end(code, &text, Reason::WsClosed);
                outgoing.flush(talk, options, codecs, cx);
            }
            Flow::More
        });
        hub.desk.trim();
        step
    }

    /// Calls the handler, and closes if it wishes, or panics.
    fn tell<A: Service>(
        &mut self,
        app: &mut A,
        cx: &mut Cx<'_, A>,
        call: impl FnOnce(&mut dyn Handler, &mut Link<'_>),
    ) -> Step<Reason> {
        let up = self.stage == Stage::Up;
        let codecs = &mut app.ws().shared.codecs;
        let program = (&mut self.handler, &mut self.outgoing);
        let told = with_link(&self.talk, program, &self.options, codecs, up, cx, call);
        self.heed(told, app, cx)
    }

    /// Closes if the handler wishes, or has panicked (`None`).
    fn heed<A: Service>(&mut self, told: Option<Wish>, app: &mut A, cx: &mut Cx<'_, A>) -> Step<Reason> {
        let up = self.stage == Stage::Up;
        let Some(wish) = told else {
            self.outgoing.done = true;
            return match up {
                true => self.talk.fail(cx),
                false => Step::Close(Close::Graceful, Reason::HandlerFailed),
            };
        };
        match wish {
            Some((code, text)) => self.close((code, &text), Reason::WsClosed, app, cx),
            None => Step::Continue,
        }
    }

    /// Closes for good; if the connection stands, with what waits, as the server takes it, and then the closing handshake.
    fn close<A: Service>(
        &mut self,
        (code, text): (Code, &str),
        why: Reason,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        self.outgoing.end(code, text, why);
        match self.stage {
            Stage::Up => self.flush(app, cx),
            Stage::Away(_) => Step::Close(Close::Graceful, why),
        }
    }

    /// See [`Outgoing::flush`].
    fn flush<A: Service>(&mut self, app: &mut A, cx: &mut Cx<'_, A>) -> Step<Reason> {
        if self.stage == Stage::Up {
            let codecs = &mut app.ws().shared.codecs;
            self.outgoing.flush(&mut self.talk, &self.options, codecs, cx);
        }
        Step::Continue
    }

    /// What the connection wants next, as seen by a client that comes back.
    fn after<A: Service>(&mut self, step: Step<Reason>, app: &mut A, cx: &mut Cx<'_, A>) -> Step<Reason> {
        match step {
            Step::Continue => self.flush(app, cx),
            Step::Close(close, reason) => self.lost(close, reason, app, cx),
            Step::Detach(how) => Step::Detach(how),
        }
    }

    /// The connection is lost, or could not be made.
    fn lost<A: Service>(
        &mut self,
        close: Close,
        reason: Reason,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        self.talk.abandon(&mut app.ws().desk);
        self.stage = Stage::Away(Away::Waiting);
        if self.outgoing.done || cx.draining() {
            return Step::Close(close, reason);
        }
        let told = self.tell(app, cx, |handler, link| handler.change(Change::Lost(reason), link));
        if self.handler.is_none() {
            return Step::Close(close, Reason::HandlerFailed);
        }
        let wait = self.backoff.lost(&self.options.retry, cx.now(), cx.host());
        let (Step::Continue, Some(wait)) = (told, wait) else { return Step::Close(close, reason) };
        cx.set_deadlines(cx.now().after(wait), Millis::NEVER);
        match self.tell(app, cx, |handler, link| handler.change(Change::Waiting(wait), link)) {
            Step::Continue => Step::Detach(CloseHow::Normal),
            end => end,
        }
    }
}
