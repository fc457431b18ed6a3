//! Threads that look ahead ([`LookAhead`]) at the disk of the operating system.

use super::ahead::{Errand, LookAhead};
use crate::reactor::net::os::OsHost;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Errands that wait; one more is refused.
const QUEUE: usize = 1024;
/// A thread with nothing to do ends after so long.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes of a thread's stack.
const STACK: usize = 256 << 10;

/// Threads that run errands. They begin when there are some, up to a number, and end when there have been none for 10 s. At most 1,024
/// errands wait.
#[derive(Debug)]
pub struct DiskThreads {
    most: usize,
    queue: Arc<Queue>,
}

#[derive(Default, Debug)]
struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default, Debug)]
struct State {
    waiting: VecDeque<Errand>,
    threads: usize,
    idle: usize,
}

impl DiskThreads {
    /// Up to so many at once.
    pub fn new(most: usize) -> DiskThreads {
        DiskThreads { most, queue: Arc::default() }
    }
}

impl LookAhead for DiskThreads {
    fn look(&self, errand: Errand) -> bool {
        let mut state = self.queue.lock();
        if state.waiting.len() >= QUEUE {
            return false;
        }
        if state.waiting.len() >= state.idle && state.threads < self.most {
            let queue = self.queue.clone();
            let thread = std::thread::Builder::new().name("disk".into()).stack_size(STACK);
            match thread.spawn(move || queue.work()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    log::error!("no thread can be had to look at the disk: {error}");
                    return false;
                }
                Err(_) => {}
            }
        }
        state.waiting.push_back(errand);
        self.queue.more.notify_one();
        true
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(errand) = self.next() {
            if catch_unwind(AssertUnwindSafe(|| errand.run(&mut OsHost))).is_err() {
                log::error!("looking at the disk panicked; its request gets 500");
            }
        }
    }

    /// The next errand; none when there has been none for a while: then the thread is not counted any more.
    fn next(&self) -> Option<Errand> {
        let mut state = self.lock();
        loop {
            if let Some(errand) = state.waiting.pop_front() {
                return Some(errand);
            }
            state.idle += 1;
            let waited = self.more.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            state.idle -= 1;
            if waited.1.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::late::{Late, Post, Ticket, What};
    use super::super::FilesOptions;
    use super::*;
    use crate::reactor::Token;
    use std::sync::mpsc;

    #[test]
    fn every_errand_is_run_by_no_more_threads_than_there_may_be_and_those_over_the_limit_are_refused() {
        let (to, from) = mpsc::channel();
        let post: Post = Arc::new(move |late: Late| to.send(late).map_err(|mpsc::SendError(late)| late));
        let threads = DiskThreads::new(2);
        let options = FilesOptions::new(std::env::temp_dir());
        let errand =
            |n: u32| Errand::new(&options, None, b"not/there", Ticket::new(Token::from_bits(0), n, &post));
        let taken = (0..100).filter(|n| threads.look(errand(*n))).count();
        assert!(threads.queue.lock().threads <= 2);
        let again = from.iter().filter(|late| matches!(late.what, What::Again(_)));
        let mut seen: Vec<u32> = again.take(taken).map(|late| late.exchange).collect();
        seen.sort_unstable();
        assert_eq!((taken, seen), (100, (0..100).collect()));
        let none = DiskThreads { most: 0, queue: Arc::default() };
        let taken = (0..2000).filter(|n| none.look(errand(*n))).count();
        assert_eq!(taken, QUEUE);
    }
}
