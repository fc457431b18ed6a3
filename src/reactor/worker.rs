//! Threads with one reactor each. The library starts none on its own: this is the call that does.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Running worker threads.
#[derive(Debug, Default)]
pub struct Workers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    stack: Option<usize>,
}

impl Workers {
    /// Threads with stacks of so many bytes, instead of the 2 MiB that are usual: where the address space is limited, all of a
    /// stack counts, used or not.
    pub fn with_stack(bytes: usize) -> Workers {
        Workers { threads: Vec::new(), stack: Some(bytes) }
    }

    /// Starts a thread that runs `work`, most often a closure that builds a [`Reactor`](super::Reactor) and calls `run`.
    pub fn start(
        &mut self,
        name: String,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let mut builder = Builder::new().name(name);
        if let Some(bytes) = self.stack {
            builder = builder.stack_size(bytes);
        }
        self.threads.push(builder.spawn(work)?);
        Ok(())
    }

    /// All have ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// The thread that was started as number `n`, from 0, has ended; so has one that was never started.
    pub fn has_ended(&self, n: usize) -> bool {
        self.threads.get(n).is_none_or(JoinHandle::is_finished)
    }

    /// Waits until all have ended; the first error, if there was one. A thread that panicked is an error too.
    pub fn join(self) -> io::Result<()> {
        let mut outcome = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker thread panicked")));
            outcome = outcome.and(ended);
        }
        outcome
    }
}
