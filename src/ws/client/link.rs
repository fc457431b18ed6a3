//! What a client is told, and what its program says and hears.

use super::super::handler::{Message, Owned};
use super::super::pace::{Pace, Rules};
use super::super::talk::{Codecs, Sender, Talk};
use crate::guard::{Bounds, LONGEST, Pushed, Queue, Retry, Slow, WATER, contain};
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{App, Cx, Host, Pressure, Target, Token};
use crate::wire::ws::extension::DeflateOffer;
use crate::wire::ws::{Code, Deflater, Limits};
use std::time::Duration;

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address.
    pub target: Target,
    /// `Host`: the name, and the port if it is not 80.
    pub host: String,
    /// Path and query, beginning with a slash.
    pub path: String,
    /// `Origin`, if any.
    pub origin: Option<String>,
    /// Subprotocols, the favourite first.
    pub protocols: Vec<String>,
    /// Further fields, such as `Authorization`.
    pub fields: Vec<(String, String)>,
    /// The offer of permessage-deflate, if any. Default: no takeover either way.
    pub deflate: Option<DeflateOffer>,
    /// Times while the connection stands.
    pub pace: Pace,
    /// Sizes of frames and messages.
    pub limits: Limits,
    /// How long connecting may take, and then the handshake. Default 10 s.
    pub connect_timeout: Duration,
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
    /// These places, with the defaults.
    pub fn new(target: Target, host: &str, path: &str) -> Options {
        let deflate =
            DeflateOffer { server_no_takeover: true, client_no_takeover: true, ..DeflateOffer::default() };
        Options {
            target,
            host: host.into(),
            path: path.into(),
            origin: None,
            protocols: Vec::new(),
            fields: Vec::new(),
            deflate: Some(deflate),
            pace: Pace::default(),
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(10),
            retry: Retry::default(),
            queue: Bounds::default(),
            longest: LONGEST,
            full: Slow::DropNewest,
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules { pace: self.pace, limits: self.limits }
    }
}

/// A change of a client's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// An attempt begins.
    Connecting,
    /// The handshake is done, with this subprotocol.
    Open(Option<&'a str>),
    /// The server closes, or answers our close frame, with this code and reason, if it gave one.
    Closing(Option<(Code, &'a str)>),
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
/// knows what state the program is in. What the call had sent is taken back, and a connection that stands is closed with 1011.
pub trait Handler {
    /// The state has changed. `link` takes messages at any time; after [`Change::Ended`] none is sent.
    fn change(&mut self, change: Change<'_>, link: &mut Link<'_>);
    /// The connection stands, for the first time or again: say what the server must know. It leaves before what waits.
    fn resubscribe(&mut self, link: &mut Link<'_>) {
        let _ = link;
    }
    /// A message has come.
    fn message(&mut self, message: Message<'_>, link: &mut Link<'_>);
}

/// A client's connection, as its handler sees it.
pub struct Link<'a> {
    pub(super) token: Token,
    pub(super) open: bool,
    pub(super) backlog: usize,
    pub(super) sender: Sender,
    pub(super) outgoing: &'a mut Outgoing,
    pub(super) cork: &'a mut Cork,
    pub(super) host: &'a mut dyn Host,
    pub(super) codecs: &'a mut Codecs,
    pub(super) slow: Slow,
    pub(super) bounds: Bounds,
    pub(super) longest: usize,
    pub(super) wish: Option<(Code, Box<str>)>,
}

impl Link<'_> {
    /// The client's name, for [`Note`](crate::reactor::App::Note)s; it outlives connections.
    pub fn token(&self) -> Token {
        self.token
    }

    /// A message would leave at once.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Sends a message, or queues it. False if it was not taken: the queue is full, it is longer than [`Options::longest`], or the
    /// client is closing.
    pub fn send(&mut self, message: Message<'_>) -> bool {
        if self.outgoing.done || message.bytes().len() > self.longest {
            self.outgoing.lost += 1;
            return false;
        }
        let waits = !self.outgoing.queue.is_empty() || self.backlog + self.cork.memory() >= WATER;
        if self.open && !waits {
            self.emit(message);
            return true;
        }
        self.outgoing.push(message.to_owned(), self.slow, self.bounds)
    }

    /// Messages that wait in the queue.
    pub fn queued(&self) -> usize {
        self.outgoing.queue.len()
    }

    /// Messages that were not taken, or that the queue has lost, since the client began.
    pub fn lost(&self) -> u64 {
        self.outgoing.lost
    }

    /// Closes for good; if the connection stands, with what waits in the queue and then the closing handshake.
    pub fn close(&mut self, code: Code, reason: &str) {
        if self.wish.is_none() {
            self.wish = Some((code, reason.into()));
        }
    }

    fn emit(&mut self, message: Message<'_>) {
        let own = &mut self.outgoing.own;
        self.sender.message(message, own, self.codecs, self.host, self.cork);
    }
}

/// What is to be sent.
#[derive(Default)]
pub(super) struct Outgoing {
    pub queue: Queue<Owned>,
    pub own: Option<Box<Deflater>>,
    pub lost: u64,
    /// It ends for good: nothing more is taken, and no further attempt made.
    pub done: bool,
    /// The close frame that leaves when nothing waits any more.
    last: Option<(Code, Box<str>, Reason)>,
}

impl Outgoing {
    /// Queues a message; false if it was not taken.
    pub fn push(&mut self, message: Owned, slow: Slow, bounds: Bounds) -> bool {
        let len = message.as_message().bytes().len();
        match self.queue.push(message, len, slow, bounds) {
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

    /// What waits is the last that is sent.
    pub fn end(&mut self, code: Code, text: &str, why: Reason) {
        self.done = true;
        self.last.get_or_insert_with(|| (code, text.into(), why));
    }

    /// Sends what waits, as far as the server takes it, and behind the last of it our close frame.
    pub fn flush<A: App<Reason = Reason>>(
        &mut self,
        talk: &mut Talk,
        options: &Options,
        codecs: &mut Codecs,
        cx: &mut Cx<'_, A>,
    ) {
        if !talk.state().is_open() {
            return;
        }
        let sender = talk.sender();
        while !self.queue.is_empty() && cx.pressure() == Pressure::Low {
            let Some(message) = self.queue.pop() else { break };
            let (cork, host) = cx.output();
            sender.message(message.as_message(), &mut self.own, codecs, host, cork);
        }
        if self.queue.is_empty()
            && let Some((code, text, why)) = self.last.take()
        {
            talk.close(code, &text, why, &options.rules(), cx);
        }
    }
}

/// How a handler wishes to close, if it does.
pub(super) type Wish = Option<(Code, Box<str>)>;

/// Lends the connection to the handler; gives back what it wishes. `None`: it panicked, and is gone.
pub(super) fn with_link<A: App>(
    talk: &Talk,
    (handler, outgoing): (&mut Option<Box<dyn Handler>>, &mut Outgoing),
    options: &Options,
    codecs: &mut Codecs,
    up: bool,
    cx: &mut Cx<'_, A>,
    call: impl FnOnce(&mut dyn Handler, &mut Link<'_>),
) -> Option<Wish> {
    let program = handler.as_deref_mut()?;
    let (token, backlog) = (cx.me(), cx.backlog());
    let (cork, host) = cx.output();
    let backlog = backlog.saturating_sub(cork.memory());
    let told = contain(cork, "its client ends", |cork| {
        let mut link = Link {
            token,
            open: up && talk.state().is_open(),
            backlog,
            sender: talk.sender(),
            outgoing,
            cork,
            host,
            codecs,
            slow: options.full,
            bounds: options.queue,
            longest: options.longest,
            wish: None,
        };
        call(program, &mut link);
        link.wish
    });
    if told.is_none() {
        let_go(handler);
    }
    told
}

/// The handler is thrown away, whatever it does about that.
pub(super) fn let_go(handler: &mut Option<Box<dyn Handler>>) {
    contain(&mut Cork::default(), "its client has ended", |_| drop(handler.take()));
}
