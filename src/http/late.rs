//! Answers that come later, and from elsewhere.
//!
//! 1. An exchange has one [`Ticket`], and its clones: whoever asks for one while one lives gets a clone of it.
//! 2. A word on its way keeps the ticket alive. So a ticket that is gone will never be heard of again, and whoever waits for it
//!    must not wait on: its end is told at once by [`What::Dropped`], and looked for now and then by [`Watch`], since a full mailbox
//!    loses words.

use super::reply::{Reply, Responder};
use crate::reactor::Token;
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Something for an exchange that is under way, or was.
pub struct Late {
    /// The connection.
    pub to: Token,
    /// Which exchange on it; a late word for another is dropped.
    pub(super) exchange: u32,
    pub(super) what: What,
}

pub(super) type Compose = Box<dyn FnOnce(Responder<'_>) -> Reply + Send>;

pub(super) enum What {
    Answer(Compose, Ticket),
    /// The ticket is only kept alive.
    Nudge {
        _by: Ticket,
    },
    /// What the request takes is at hand now: it is asked again.
    Again(Ticket),
    /// The last clone of the exchange's ticket is gone.
    Dropped,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Late({}, exchange {})", self.to, self.exchange)
    }
}

/// Carries [`Late`] words to the reactor that the connection lives on; gives one back if too many are waiting.
pub type Post = Arc<dyn Fn(Late) -> Result<(), Late> + Send + Sync>;

/// The name of one exchange, good in any thread. A word that comes too late, because the client has gone or was answered, is dropped.
/// When the last clone of it is dropped while the exchange waits for one, the client is answered 500, or its answer is cut off.
#[derive(Clone)]
pub struct Ticket(Arc<Inner>);

struct Inner {
    to: Token,
    exchange: u32,
    post: Post,
    /// Nobody waits for it.
    settled: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Relaxed) {
            // If it is given back, the watch finds out.
            let _ = (self.post)(Late { to: self.to, exchange: self.exchange, what: What::Dropped });
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}, exchange {})", self.0.to, self.0.exchange)
    }
}

impl Ticket {
    pub(super) fn new(to: Token, exchange: u32, post: &Post) -> Ticket {
        Ticket(Arc::new(Inner { to, exchange, post: post.clone(), settled: AtomicBool::new(false) }))
    }

    /// Answers. An upload that is still under way ends so, and the connection with it: what is left of its body is thrown away.
    /// `compose` runs on the reactor's thread and must not block. False if the reactor has too much waiting; then the client
    /// gets 500, a little later.
    pub fn answer(self, compose: impl FnOnce(Responder<'_>) -> Reply + Send + 'static) -> bool {
        let what = What::Answer(Box::new(compose), self.clone());
        self.post(what)
    }

    /// A [`Body`](super::Body) or an [`Upload`](super::Upload) that waits can go on.
    pub fn nudge(&self) -> bool {
        self.post(What::Nudge { _by: self.clone() })
    }

    /// Has the handler asked again for an answer to the same request, without its body.
    pub(super) fn again(self) -> bool {
        let what = What::Again(self.clone());
        self.post(what)
    }

    fn post(&self, what: What) -> bool {
        (self.0.post)(Late { to: self.0.to, exchange: self.0.exchange, what }).is_ok()
    }

    fn is_of(&self, to: Token, exchange: u32) -> bool {
        self.0.to == to && self.0.exchange == exchange
    }

    /// Nobody waits for it now, or somebody does again.
    pub(super) fn settle(&self, settled: bool) {
        self.0.settled.store(settled, Ordering::Relaxed);
    }
}

/// Sees whether an exchange's ticket still exists, without keeping it alive.
#[derive(Default)]
pub(super) struct Watch(Weak<Inner>);

impl Watch {
    /// Somebody may still have something to say.
    pub fn is_live(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Whatever becomes of the ticket, nobody waits for it.
    pub fn settle(&self) {
        if let Some(inner) = self.0.upgrade() {
            Ticket(inner).settle(true);
        }
    }
}

/// The ticket that was issued last on this worker. Where it comes from in a call, it goes to after it.
#[derive(Default)]
pub(super) struct Issued(Cell<Watch>);

impl Issued {
    /// The ticket of this exchange: the one that there is, or a new one.
    pub fn ticket(&self, to: Token, exchange: u32, post: &Post) -> Ticket {
        let last = self.0.take().0.upgrade().map(Ticket).filter(|ticket| ticket.is_of(to, exchange));
        let ticket = last.unwrap_or_else(|| Ticket::new(to, exchange, post));
        self.put(Watch(Arc::downgrade(&ticket.0)));
        ticket
    }

    /// An exchange that has a ticket is about to be asked for an answer.
    pub fn put(&self, watch: Watch) {
        self.0.set(watch);
    }

    /// This exchange waits from now on: for its ticket, if it has one.
    pub fn watch(&self, to: Token, exchange: u32) -> Watch {
        let watch = self.0.take();
        let own = watch.0.upgrade().map(Ticket).filter(|ticket| ticket.is_of(to, exchange));
        own.inspect(|ticket| ticket.settle(false)).map_or_else(Watch::default, |_| watch)
    }
}
