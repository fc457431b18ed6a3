//! The other workers, and what is on its way to them.
//!
//! Invariant: words to one worker arrive in the order in which they were said, and none is lost while both live. Words that a full
//! mailbox gave back wait here, and go before all later ones; they are tried again once a turn, and there is a turn at least once a
//! second.

use super::app::Message;
use crate::reactor::Handle;
use std::collections::VecDeque;

/// See the module page.
#[derive(Default)]
pub(super) struct Peers {
    me: usize,
    /// One a worker, in the order of their numbers; none before all have started.
    handles: Vec<Handle<Message>>,
    /// By worker.
    waiting: Vec<VecDeque<Message>>,
}

impl Peers {
    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.waiting.len()
    }

    /// Those of worker `me` of `workers`.
    pub(super) fn new(me: usize, workers: usize) -> Peers {
        Peers { me, handles: Vec::new(), waiting: (0..workers).map(|_| VecDeque::new()).collect() }
    }

    /// All have started; these are their mailboxes, our own included.
    pub(super) fn meet(&mut self, handles: Vec<Handle<Message>>) {
        self.handles = handles;
    }

    /// Something for one worker.
    pub(super) fn tell(&mut self, worker: usize, message: Message) {
        if let Some(waiting) = self.waiting.get_mut(worker) {
            waiting.push_back(message);
        }
    }

    /// Something for each of the others.
    pub(super) fn tell_others(&mut self, mut message: impl FnMut() -> Message) {
        for (number, waiting) in self.waiting.iter_mut().enumerate() {
            if number != self.me {
                waiting.push_back(message());
            }
        }
    }

    /// Posts what waits, as far as it is taken.
    pub(super) fn post(&mut self) {
        for (waiting, handle) in self.waiting.iter_mut().zip(&self.handles) {
            while let Some(message) = waiting.pop_front() {
                if let Err(message) = handle.post(message) {
                    waiting.push_front(message);
                    break;
                }
            }
        }
    }
}
