//! Threads that look ahead ([`LookAhead`]) at the disk of the operating system.

use super::ahead::{Errand, LookAhead};
use crate::reactor::net::os::{OsHost, Stopwatch};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Errands that wait; one more is refused.
const QUEUE: usize = 1024;
/// A thread with nothing to do ends after so long.
const IDLE: Duration = Duration::from_secs(10);
/// Who has not taken another errand for so long is held up by the disk.
const HELD_UP: Duration = Duration::from_millis(1);
/// Bytes of a thread's stack.
const STACK: usize = 256 << 10;

/// Threads that run errands. They begin when there are some, up to a number, and end when there have been none for 10 s. At most 1,024
/// errands wait.
///
/// One thread does them all as long as they are brief: to wake another for each would cost several times what it takes to find that
/// something is not there. When the disk holds it up, others are woken.
#[derive(Debug)]
pub struct DiskThreads {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    most: usize,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Errand>,
    threads: usize,
    /// Of them so many sleep, and of those so many are being woken.
    asleep: usize,
    woken: usize,
    /// Since one was taken last.
    since: Stopwatch,
}

impl DiskThreads {
    /// Up to so many at once.
    pub fn new(most: usize) -> DiskThreads {
        let (waiting, since) = (VecDeque::new(), Stopwatch::start());
        let state = Mutex::new(State { waiting, threads: 0, asleep: 0, woken: 0, since });
        DiskThreads { queue: Arc::new(Queue { most, state, more: Condvar::new() }) }
    }
}

impl LookAhead for DiskThreads {
    fn look(&self, errand: Errand) -> bool {
        let mut state = self.queue.lock();
        if state.waiting.len() >= QUEUE {
            return false;
        }
        state.waiting.push_back(errand);
        let awake = state.threads - state.asleep + state.woken;
        if awake == 0 || state.since.elapsed() >= HELD_UP {
            self.queue.wake(&mut state);
        }
        if state.threads == 0 {
            // Dropped where nobody waits for the queue.
            let lost = state.waiting.pop_back();
            drop(state);
            return lost.is_none();
        }
        true
    }

    fn idle(&self) {
        let mut state = self.queue.lock();
        if !state.waiting.is_empty() && state.since.elapsed() >= HELD_UP {
            self.queue.wake(&mut state);
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread more, if there may be.
    fn wake(self: &Arc<Queue>, state: &mut State) {
        if state.asleep > state.woken {
            state.woken += 1;
            self.more.notify_one();
        } else if state.threads < self.most {
            let queue = self.clone();
            let thread = std::thread::Builder::new().name("disk".into()).stack_size(STACK);
            match thread.spawn(move || queue.work()) {
                Ok(_) => state.threads += 1,
                Err(error) => log::error!("no thread can be had to look at the disk: {error}"),
            }
        }
    }

    fn work(self: Arc<Queue>) {
        let mut held_up = false;
        while let Some(errand) = self.next(held_up) {
            let watch = Stopwatch::start();
            if catch_unwind(AssertUnwindSafe(|| errand.run(&mut OsHost))).is_err() {
                log::error!("looking at the disk panicked; its request gets 500");
            }
            held_up = watch.elapsed() >= HELD_UP;
        }
    }

    /// The next errand; none when there has been none for a while: then the thread is not counted any more. One that the disk has just
    /// held up does not leave those behind it waiting for the disk once more.
    fn next(self: &Arc<Queue>, held_up: bool) -> Option<Errand> {
        let mut state = self.lock();
        loop {
            if let Some(errand) = state.waiting.pop_front() {
                state.since = Stopwatch::start();
                if held_up && !state.waiting.is_empty() {
                    self.wake(&mut state);
                }
                return Some(errand);
            }
            state.asleep += 1;
            let slept = Stopwatch::start();
            while state.woken == 0 && slept.elapsed() < IDLE {
                let left = IDLE.saturating_sub(slept.elapsed());
                state = self.more.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            state.asleep -= 1;
            if state.woken > 0 {
                state.woken -= 1;
            } else if state.waiting.is_empty() {
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
        let none = DiskThreads::new(0);
        assert!(!none.look(errand(0)) && none.queue.lock().waiting.is_empty(), "nobody would run it");
        none.queue.lock().threads = 1;
        let taken = (0..2000).filter(|n| none.look(errand(*n))).count();
        assert_eq!(taken, QUEUE);
    }

    #[test]
    fn who_waits_behind_one_that_the_disk_holds_up_gets_a_thread_of_its_own_when_somebody_looks() {
        let (to, from) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let post: Post = Arc::new(move |late: Late| {
            if late.exchange == 0 {
                // As if the disk did not answer, until the test is over.
                let _ = held.lock().unwrap().recv();
            }
            to.send(late).map_err(|mpsc::SendError(late)| late)
        });
        let threads = DiskThreads::new(2);
        let options = FilesOptions::new(std::env::temp_dir());
        for n in [0, 1] {
            assert!(threads.look(Errand::new(
                &options,
                None,
                b"not/there",
                Ticket::new(Token::from_bits(0), n, &post)
            )));
        }
        let watch = Stopwatch::start();
        let first = loop {
            threads.idle();
            match from.try_recv() {
                Ok(late) => break late.exchange,
                Err(_) => assert!(watch.elapsed() < Duration::from_secs(60), "nobody takes it"),
            }
            std::thread::yield_now();
        };
        assert_eq!((first, threads.queue.lock().threads), (1, 2));
        drop(release);
        assert!(from.iter().any(|late| late.exchange == 0), "it, too, in the end");
    }
}
