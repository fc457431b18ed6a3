//! Looking at the disk ahead of a worker, so that nobody else waits for it.
//!
//! A worker that finds that a request would have to wait for the disk ([`Host::try_open`] and the like) gives an [`Errand`] to whoever
//! looks ahead. That does all that the answer may take, waiting as long as it lasts, and throws away what it found: it is at hand now, in
//! the caches of the operating system. Then the request is asked again, and that time it waits for what is gone again.
//!
//! [`Host::try_open`]: crate::reactor::Host::try_open

use super::super::late::{Ticket, Waited};
use super::FilesOptions;
use super::load::{Found, Now, Shelf};
use super::representation::{Coding, Content, Representation};
use crate::reactor::net::os::OsHost;
use crate::reactor::{FileHandle, Host, Io, OpenError, Root};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of a file that is not kept in memory so many bytes are read: the system reads on from there by itself.
const BEGINNING: usize = 256 << 10;
/// What takes less is hardly the disk.
pub(super) const BRIEFLY: Duration = Duration::from_micros(200);
/// Errands that wait; one more is refused.
const QUEUE: usize = 1024;
/// A thread with nothing to do ends after so long.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes of a thread's stack.
const STACK: usize = 256 << 10;

/// What one request is going to ask of the disk.
pub struct Errand {
    options: FilesOptions,
    root: Option<Root>,
    path: Vec<u8>,
    ticket: Ticket,
}

impl Errand {
    /// `root`: the folder, if it is open.
    pub(super) fn new(options: &FilesOptions, root: Option<Root>, path: &[u8], ticket: Ticket) -> Errand {
        Errand { options: options.clone(), root, path: path.to_vec(), ticket }
    }

    /// Waits for all of it, then has the request asked again.
    pub fn run(self, host: &mut dyn Host) {
        let Errand { options, root, path, ticket } = self;
        let mut now = Now::patient(host);
        let mut shelf = Shelf::below(root, &options);
        let mut found = shelf.find(&options, &path, &mut now);
        if let Ok(Found::Folder(folder)) = &found
            && options.listing
        {
            let _ = shelf.listing(&options, folder, (&path, &path), false, &mut now);
        } else if let (Ok(Found::Folder(_)) | Err(OpenError::NotFound), Some(fallback)) =
            (&found, &options.fallback)
        {
            found = shelf.find(&options, fallback.as_bytes(), &mut now);
        }
        if let Ok(Found::File(file)) = found {
            read_beginning(&file, &mut now);
            let codings = [Coding::Brotli, Coding::Zstd, Coding::Gzip];
            for coding in codings.into_iter().filter(|_| file.kind.compressible) {
                shelf.sibling(&options, &file, coding, &mut now).inspect(|it| read_beginning(it, &mut now));
            }
        }
        ticket.again(if now.took() < BRIEFLY { Waited::Briefly } else { Waited::Long });
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

fn read_beginning(file: &Representation, now: &mut Now<'_>) {
    let Content::Open(handle) = &file.content else { return };
    let handle: &FileHandle = handle;
    let (mut scratch, mut at) = (vec![0; 64 << 10], 0);
    while at < BEGINNING {
        match now.read_file(handle, at as u64, &mut scratch) {
            Io::Done(n) => at += n,
            Io::Eof | Io::WouldBlock | Io::Fault(_) => return,
        }
    }
}

/// Whoever runs errands.
pub trait LookAhead: Send + Sync + fmt::Debug {
    /// Takes one, to [`run`](Errand::run) it soon in another thread. False if there are too many: the client is asked to come again (503).
    fn look(&self, errand: Errand) -> bool;
}

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
    use super::super::super::late::{Late, Post, What};
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
        let again = from.iter().filter(|late| matches!(late.what, What::Again(..)));
        let mut seen: Vec<u32> = again.take(taken).map(|late| late.exchange).collect();
        seen.sort_unstable();
        assert_eq!((taken, seen), (100, (0..100).collect()));
        let none = DiskThreads { most: 0, queue: Arc::default() };
        let taken = (0..2000).filter(|n| none.look(errand(*n))).count();
        assert_eq!(taken, QUEUE);
    }
}
