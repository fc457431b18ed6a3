//! A plain TCP client that comes back: connects, and connects again when the connection is lost.
//!
//! | state | what is going on | ends by |
//! |---|---|---|
//! | waiting | no stream | the time until the next attempt ([`Retry`]) |
//! | connecting | a connect is under way | connected, a fault, `connect_timeout` |
//! | up | bytes come and go | the server closes, a fault, silence for `idle_timeout` |
//!
//! 1. Every change is told to the [`Handler`], in order; the end for good once, last. One that panics ends the client, and hears nothing
//!    more.
//! 2. What is said while away waits in a queue of whole messages with a bound; it leaves after what [`Handler::resubscribe`] says.
//! 3. What was handed to a connection that was then lost may or may not have arrived.
//!
//! A client is a session: the program [`spawn`](crate::reactor::Cx::spawn)s it. Other sessions speak to it with [`Note`]s.

use super::fault::{Away, AwayVerdict, away_verdict};
use super::hub::{Note, Service};
use crate::guard::{Backoff, Bounds, LONGEST, Pushed, Queue, Retry, Slow, WATER, contain};
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{
    App, Close, CloseHow, Cx, Event, Hit, Host, Input, Millis, Pressure, Step, Target, Timer, Token,
};
use std::time::Duration;

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address.
    pub target: Target,
    /// How long connecting may take. Default 10 s.
    pub connect_timeout: Duration,
    /// No byte in either direction for this long: the connection is given up and made anew; zero: never. Default 5 min.
    pub idle_timeout: Duration,
    /// When to try again.
    pub retry: Retry,
    /// What may wait while away, or while the server takes too slowly.
    pub queue: Bounds,
    /// The longest message that is sent, in bytes. One that does not fit into the reactor's
    /// [`hard_cap`](crate::reactor::Settings::hard_cap) together with what may wait before it
    /// ([`high_water`](crate::reactor::Settings::high_water)) ends the client if the server does not take it at once: who sends longer
    /// ones raises both. Default 3.5 MiB.
    pub longest: usize,
    /// What is lost when the queue is full; [`Slow::Close`] and [`Slow::DropNewest`]: the new message, and
    /// [`Link::send`] says so. Default [`Slow::DropNewest`].
    pub full: Slow,
}

impl Options {
    /// This address, with the defaults.
    pub fn new(target: Target) -> Options {
        Options {
            target,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            retry: Retry::default(),
            queue: Bounds::default(),
            longest: LONGEST,
            full: Slow::DropNewest,
        }
    }
}

/// A change of a client's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// An attempt begins.
    Connecting,
    /// The connection stands.
    Open,
    /// The connection was lost, or could not be made.
    Lost(Reason),
    /// The next attempt begins after this long.
    Waiting(Duration),
    /// It was the last: for good.
    Ended(Reason),
}

/// The program behind a client.
///
/// A call that panics is the last: the client ends for good, with [`Reason::HandlerFailed`], without being told so, since nobody
/// knows what state the program is in. A connection that stands is reset, so that the server does not take what it got for all of it.
pub trait Handler {
    /// The state has changed. `link` takes messages at any time; after [`Change::Ended`] none is sent.
    fn change(&mut self, change: Change, link: &mut Link<'_>);
    /// The connection stands, for the first time or again: say what the server must know. It leaves before what waits.
    fn resubscribe(&mut self, link: &mut Link<'_>) {
        let _ = link;
    }
    /// Bytes have come. Says how many were used; the rest is shown again, with more, once more has come. At most 64 KiB can be
    /// left unused; what is left when the connection is lost is gone.
    fn data(&mut self, bytes: &[u8], link: &mut Link<'_>) -> usize;
}

/// A client's connection, as its handler sees it.
pub struct Link<'a> {
    token: Token,
    open: bool,
    backlog: usize,
    outgoing: &'a mut Outgoing,
    cork: &'a mut Cork,
    host: &'a mut dyn Host,
    slow: Slow,
    bounds: Bounds,
    longest: usize,
    wish: bool,
}

impl Link<'_> {
    /// The client's name, for [`Note`]s; it outlives connections.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Bytes would leave at once.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Sends these bytes, or queues them, whole. False if they were not taken: the queue is full, they are more than
    /// [`Options::longest`], or the client is closing.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        if self.outgoing.end.is_some() || bytes.len() > self.longest {
            self.outgoing.lost += 1;
            return false;
        }
        let waits = !self.outgoing.queue.is_empty() || self.backlog + self.cork.memory() >= WATER;
        if self.open && !waits {
            self.cork.bytes_mut().extend_from_slice(bytes);
            return true;
        }
        self.outgoing.push(bytes.into(), self.slow, self.bounds)
    }

    /// Messages that wait in the queue.
    pub fn queued(&self) -> usize {
        self.outgoing.queue.len()
    }

    /// Messages that were not taken, or that the queue has lost, since the client began.
    pub fn lost(&self) -> u64 {
        self.outgoing.lost
    }

    /// Closes for good; if the connection stands, when what waits in the queue was sent. While away nothing of it is sent.
    pub fn close(&mut self) {
        self.wish = true;
    }

    /// Randomness, the calendar, files.
    pub fn host(&mut self) -> &mut dyn Host {
        self.host
    }
}

/// What is to be sent.
#[derive(Default)]
struct Outgoing {
    queue: Queue<Box<[u8]>>,
    lost: u64,
    /// It ends for good, for this reason, when nothing waits any more; nothing more is taken.
    end: Option<Reason>,
}

impl Outgoing {
    fn push(&mut self, bytes: Box<[u8]>, slow: Slow, bounds: Bounds) -> bool {
        let len = bytes.len();
        match self.queue.push(bytes, len, slow, bounds) {
            Pushed::Waits(lost) => {
                self.lost += u64::from(lost);
                true
            }
            Pushed::Lost | Pushed::Full => {
                self.lost += 1;
                false
            }
        }
    }
}

struct Inner {
    options: Options,
    /// None once it has panicked.
    handler: Option<Box<dyn Handler>>,
    /// Where it stands while it is not connected.
    away: Option<Away>,
    outgoing: Outgoing,
    backoff: Backoff,
}

/// A client: one pointer.
pub struct Client(Box<Inner>);

impl Client {
    /// A client that begins when it is spawned.
    pub fn new(options: Options, handler: Box<dyn Handler>) -> Client {
        let (outgoing, backoff) = (Outgoing::default(), Backoff::default());
        let handler = Some(handler);
        Client(Box::new(Inner { options, handler, away: Some(Away::Waiting), outgoing, backoff }))
    }

    /// Where it stands, if it is not connected.
    pub fn away(&self) -> Option<Away> {
        self.0.away
    }

    /// Bytes have come. See [`Session::on_data`](crate::reactor::Session::on_data).
    pub fn on_data<A: Service>(
        &mut self,
        input: &mut Input<'_>,
        _: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        let inner = &mut *self.0;
        if inner.away.is_some() {
            return Step::Continue;
        }
        if inner.outgoing.end.is_some() {
            input.take(input.bytes().len());
            return Step::Continue;
        }
        let mut used = 0;
        let step = inner.tell(cx, |handler, link| used = handler.data(input.bytes(), link));
        input.take(used.min(input.bytes().len()));
        inner.rest(step, cx)
    }

    /// Something else has come. See [`Session::on_event`](crate::reactor::Session::on_event).
    pub fn on_event<A: Service>(
        &mut self,
        event: Event<Note>,
        _: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        let inner = &mut *self.0;
        let hit = match event {
            Event::Open => return inner.opened(cx),
            Event::Drained | Event::Note(_, Note::Batch(_)) => return inner.rest(Step::Continue, cx),
            Event::Note(_, Note::Send(bytes)) => {
                let step = inner.tell(cx, |_, link| {
                    link.send(&bytes);
                });
                return inner.rest(step, cx);
            }
            Event::Note(_, Note::Close) => {
                return inner.rest(Step::Close(Close::Graceful, Reason::Kicked), cx);
            }
            Event::Eof => Hit::Eof,
            Event::Timeout(deadline) => Hit::Timeout(deadline),
            Event::Failed(failure) => Hit::Failed(failure),
            Event::Drain => Hit::Drain,
        };
        match away_verdict(inner.away, hit) {
            AwayVerdict::Ignore => Step::Continue,
            AwayVerdict::Dial => inner.dial(cx),
            AwayVerdict::Silent if cx.backlog() > 0 => inner.rest(Step::Continue, cx),
            AwayVerdict::Silent => inner.lost(Reason::IdleTimeout, cx),
            // It may still read what waits.
            AwayVerdict::Lost(_) if hit == Hit::Eof && inner.outgoing.end.is_some() => Step::Continue,
            AwayVerdict::Lost(reason) => inner.lost(reason, cx),
            AwayVerdict::End(reason) => inner.rest(Step::Close(Close::Graceful, reason), cx),
        }
    }

    /// The client has ended; the program calls it in [`App::on_close`].
    pub fn on_close(mut self, reason: Reason, token: Token, host: &mut dyn Host) {
        let Inner { handler, outgoing, options, .. } = &mut *self.0;
        if let Some(handler) = handler {
            contain(&mut Cork::default(), "its client has ended", |cork| {
                let (slow, bounds, longest) = (options.full, options.queue, options.longest);
                let (open, backlog, wish) = (false, 0, false);
                let mut link =
                    Link { token, open, backlog, outgoing, cork, host, slow, bounds, longest, wish };
                handler.change(Change::Ended(reason), &mut link);
            });
        }
        let_go(handler);
    }
}

/// The handler is thrown away, whatever it does about that.
fn let_go(handler: &mut Option<Box<dyn Handler>>) {
    contain(&mut Cork::default(), "its client has ended", |_| drop(handler.take()));
}

impl Inner {
    /// It was spawned, or a connect has succeeded.
    fn opened<A: Service>(&mut self, cx: &mut Cx<'_, A>) -> Step<Reason> {
        match self.away {
            Some(Away::Waiting) => self.dial(cx),
            Some(Away::Connecting) => {
                self.away = None;
                self.backoff.stands(cx.now());
                cx.set_deadlines(Millis::NEVER, Millis::NEVER);
                // What waits must not leave before what the server must know first.
                let mut waiting = std::mem::take(&mut self.outgoing.queue);
                let step = self.tell(cx, |handler, link| {
                    handler.change(Change::Open, link);
                    handler.resubscribe(link);
                });
                while let Some(bytes) = waiting.pop() {
                    self.outgoing.push(bytes, self.options.full, self.options.queue);
                }
                self.rest(step, cx)
            }
            None => Step::Continue,
        }
    }

    fn dial<A: Service>(&mut self, cx: &mut Cx<'_, A>) -> Step<Reason> {
        self.away = Some(Away::Connecting);
        cx.set_deadlines(cx.now().after(self.options.connect_timeout), Millis::NEVER);
        cx.attach(&self.options.target);
        self.tell(cx, |handler, link| handler.change(Change::Connecting, link))
    }

    /// Sends what waits, as far as the server takes it, and sets the deadline. The end comes when all of it was sent.
    fn rest<A: Service>(&mut self, step: Step<Reason>, cx: &mut Cx<'_, A>) -> Step<Reason> {
        if self.away.is_some() || self.handler.is_none() {
            return step;
        }
        if let Step::Close(_, reason) = step {
            self.outgoing.end.get_or_insert(reason);
        }
        while !self.outgoing.queue.is_empty() && cx.pressure() == Pressure::Low {
            if let Some(bytes) = self.outgoing.queue.pop() {
                cx.write(&bytes);
            }
        }
        if let (Some(reason), true) = (self.outgoing.end, self.outgoing.queue.is_empty()) {
            return Step::Close(Close::Graceful, reason);
        }
        match self.options.idle_timeout {
            idle if idle.is_zero() => {}
            idle => cx.set_deadline(Timer::Phase, idle),
        }
        Step::Continue
    }

    /// The connection is lost, or could not be made.
    fn lost<A: Service>(&mut self, reason: Reason, cx: &mut Cx<'_, A>) -> Step<Reason> {
        self.away = Some(Away::Waiting);
        if self.outgoing.end.is_some() || cx.draining() {
            return Step::Close(Close::Graceful, reason);
        }
        let told = self.tell(cx, |handler, link| handler.change(Change::Lost(reason), link));
        if self.handler.is_none() {
            return told;
        }
        let wait = self.backoff.lost(&self.options.retry, cx.now(), cx.host());
        let (Step::Continue, Some(wait)) = (told, wait) else { return Step::Close(Close::Graceful, reason) };
        cx.set_deadlines(cx.now().after(wait), Millis::NEVER);
        match self.tell(cx, |handler, link| handler.change(Change::Waiting(wait), link)) {
            Step::Continue => Step::Detach(CloseHow::Normal),
            end => end,
        }
    }

    /// Calls the handler, and closes if it wishes. If it panics, it is gone, and the connection reset.
    fn tell<A: App<Reason = Reason>>(
        &mut self,
        cx: &mut Cx<'_, A>,
        call: impl FnOnce(&mut dyn Handler, &mut Link<'_>),
    ) -> Step<Reason> {
        let Inner { options, handler, away, outgoing, .. } = self;
        let (token, backlog) = (cx.me(), cx.backlog());
        let (cork, host) = cx.output();
        let backlog = backlog.saturating_sub(cork.memory());
        let told = handler.as_deref_mut().and_then(|handler| {
            contain(cork, "its client ends", |cork| {
                let (slow, bounds, longest) = (options.full, options.queue, options.longest);
                let (open, wish) = (away.is_none(), false);
                let mut link =
                    Link { token, open, backlog, outgoing, cork, host, slow, bounds, longest, wish };
                call(handler, &mut link);
                link.wish
            })
        });
        match told {
            Some(false) => Step::Continue,
            Some(true) => Step::Close(Close::Graceful, Reason::Done),
            None => {
                let_go(handler);
                Step::Close(Close::Abort, Reason::HandlerFailed)
            }
        }
    }
}
