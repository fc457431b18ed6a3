//! A word from another thread: a bounded mailbox and a wake-up.

use super::net::Waker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most messages that wait for one reactor.
pub const MAILBOX: usize = 65_536;

/// Something for a reactor to do.
#[derive(Debug)]
pub(super) enum Command<M> {
    Message(M),
    Drain(Duration),
    Stop,
}

#[derive(Debug)]
struct Mailbox<M> {
    queue: Mutex<Vec<Command<M>>>,
    /// Something is in the queue. Read without the lock once a turn.
    waiting: AtomicBool,
    waker: Waker,
}

/// Speaks to a reactor from any thread. Cheap to clone; outlives the reactor harmlessly.
#[derive(Debug)]
pub struct Handle<M> {
    mailbox: Arc<Mailbox<M>>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Handle<M> {
        Handle { mailbox: self.mailbox.clone() }
    }
}

impl<M> Handle<M> {
    /// Hands a message to [`App::on_message`](super::App::on_message). Gives it back if 65,536 are waiting already.
    pub fn post(&self, message: M) -> Result<(), M> {
        let mut queue = self.mailbox.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= MAILBOX {
            return Err(message);
        }
        queue.push(Command::Message(message));
        drop(queue);
        self.rouse();
        Ok(())
    }

    /// Finish what is under way, for at most this long, and end. See [`Reactor::drain`](super::Reactor::drain).
    pub fn drain(&self, deadline: Duration) {
        self.command(Command::Drain(deadline));
    }

    /// End now; connections are reset.
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    fn command(&self, command: Command<M>) {
        self.mailbox.queue.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        self.rouse();
    }

    fn rouse(&self) {
        if !self.mailbox.waiting.swap(true, Ordering::AcqRel) {
            self.mailbox.waker.wake();
        }
    }
}

/// The reactor's end of the mailbox.
#[derive(Debug)]
pub(super) struct HandleSlot<M> {
    mailbox: Arc<Mailbox<M>>,
}

impl<M> HandleSlot<M> {
    pub fn new(waker: Waker) -> HandleSlot<M> {
        let queue = Mutex::new(Vec::new());
        HandleSlot { mailbox: Arc::new(Mailbox { queue, waiting: AtomicBool::new(false), waker }) }
    }

    pub fn handle(&self) -> Handle<M> {
        Handle { mailbox: self.mailbox.clone() }
    }

    /// Something waits.
    pub fn waiting(&self) -> bool {
        self.mailbox.waiting.load(Ordering::Acquire)
    }

    /// All that waits, in order. Costs one atomic load when nothing does.
    pub fn take(&self) -> Vec<Command<M>> {
        if !self.waiting() {
            return Vec::new();
        }
        // Cleared before the queue is emptied: whoever posts after that wakes us again.
        self.mailbox.waiting.store(false, Ordering::Release);
        std::mem::take(&mut *self.mailbox.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
