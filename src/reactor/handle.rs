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
    /// None once the reactor has gone: what would wait there might hold a handle, and with it the mailbox, for ever.
    queue: Mutex<Option<Vec<Command<M>>>>,
    /// Something is in the queue. Read without the lock once a turn.
    waiting: AtomicBool,
    waker: Waker,
}

/// Speaks to a reactor from any thread. Cheap to clone; outlives the reactor harmlessly: what is said to one that has gone vanishes.
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
        match &mut *queue {
            Some(waiting) if waiting.len() >= MAILBOX => return Err(message),
            Some(waiting) => waiting.push(Command::Message(message)),
            // A parameter is dropped last, so not under the lock: what it does about that may be to post.
            None => return Ok(()),
        }
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
        let mut queue = self.mailbox.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = &mut *queue {
            waiting.push(command);
        }
        drop(queue);
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
        let queue = Mutex::new(Some(Vec::new()));
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
        let mut queue = self.mailbox.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// What nobody will take any more goes with the reactor.
impl<M> Drop for HandleSlot<M> {
    fn drop(&mut self) {
        let left = self.mailbox.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Unlocked by now: as above.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word that can be answered, and that says so when nobody hears it.
    struct Word {
        back: Handle<Word>,
        _heard: Arc<()>,
        last: bool,
    }

    impl Drop for Word {
        fn drop(&mut self) {
            if !self.last {
                let (back, _heard) = (self.back.clone(), self._heard.clone());
                assert!(self.back.post(Word { back, _heard, last: true }).is_ok());
            }
        }
    }

    #[test]
    fn what_is_said_to_a_reactor_that_has_gone_vanishes_and_what_waited_goes_with_it() {
        let awake = Arc::new(());
        let held = awake.clone();
        let slot = HandleSlot::new(Waker::new(move || drop(held.clone())));
        let (handle, heard) = (slot.handle(), Arc::new(()));
        let word = || Word { back: handle.clone(), _heard: heard.clone(), last: false };
        assert!(handle.post(word()).is_ok());
        drop(slot);
        assert_eq!(Arc::strong_count(&heard), 1, "what waited");
        assert!(handle.post(word()).is_ok());
        handle.stop();
        assert_eq!(Arc::strong_count(&heard), 1, "what came after");
        drop(handle);
        assert_eq!(Arc::strong_count(&awake), 1, "the waker is let go, and its descriptor");
    }
}
