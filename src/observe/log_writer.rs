//! The log thread, and the bounded queue in front of it.
//!
//! The library starts no thread on its own: [`LogWriter::start`] is the call that starts this one.
//!
//! 1. [`LogQueue::offer`] never waits for the disk: the thread writes with the queue unlocked. What does not fit is dropped, and its
//!    lines are counted.
//! 2. After a batch the thread naps for [`NAP`], so that more gathers and it is rarely woken; it is woken early when much waits. A first line is written at once.
//! 3. What was offered before [`reopen`](LogWriter::reopen) goes to the old file, what comes after to the new one; nothing is lost.
//! 4. [`close`](LogWriter::close) writes all that was offered, unless that takes longer than its bound.
//! 5. A write that failed in the middle of a line does not spoil the next line.
//! 6. One that was [started with a name](LogWriter::start_named) says in the diagnostics when it begins to fail, and when it no longer
//!    does. The diagnostics have none: what cannot be written cannot say so.

use rustix::fs::OFlags;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The stack of the log thread, in bytes.
const STACK: usize = 256 << 10;
/// How much may wait, in bytes, if nothing else is said: about 20,000 lines. It is there only while the disk is behind.
pub const LIMIT: usize = 4 << 20;
/// A napping thread is woken when so many bytes wait, or a quarter of the limit.
const PLENTY: usize = 256 << 10;
/// How long more lines are gathered after a batch.
pub const NAP: Duration = Duration::from_millis(10);
/// Buffers that grew larger than this are given back.
const KEEP: usize = 64 << 10;

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file, which is made with mode 0640 if it is not there. A FIFO must have a reader by then.
    File(PathBuf),
}

impl Sink {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        let file = match self {
            // The standard library's own handles hold a lock and look for line ends.
            Sink::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Sink::Stderr => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            Sink::File(path) => {
                // A FIFO without a reader would make opening it wait for one.
                let flags = OFlags::NONBLOCK.bits() as i32;
                let opened =
                    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path);
                opened.map_err(|e| self.blame(&unread(path, e)))?
            }
        };
        Ok(Box::new(Patient { file, at: self.clone() }))
    }

    /// The error, with where it happened.
    fn blame(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{self}: {error}"))
    }
}

/// ENXIO says of a FIFO that nobody has it open for reading (open(2)); its text would not tell.
fn unread(path: &Path, error: io::Error) -> io::Error {
    let is_fifo = || std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo());
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NXIO) if is_fifo() => {
            io::Error::other("nobody reads this FIFO; start its reader first")
        }
        _ => error,
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::Stdout => f.write_str("standard output"),
            Sink::Stderr => f.write_str("standard error"),
            Sink::File(path) => path.display().fmt(f),
        }
    }
}

/// A file whose writes wait even where the descriptor does not, as a FIFO's must not when it is opened, and others of shared
/// terminals and pipes may not.
struct Patient {
    file: File,
    at: Sink,
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [rustix::event::PollFd::new(&self.file, rustix::event::PollFlags::OUT)];
                    rustix::event::poll(&mut fds, None)?;
                }
                done => return done.map_err(|e| self.at.blame(&e)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct State {
    pending: Vec<u8>,
    lines: u64,
    /// To be written to from now on, once so many bytes of `pending` are out.
    next: Option<(usize, Box<dyn Write + Send>)>,
    /// The thread wants to be woken when so many bytes are pending: 1 while it has nothing to do, more while it naps, never while
    /// it writes.
    wake_at: usize,
    closing: bool,
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    /// To the thread.
    wake: Condvar,
    /// From the thread: it has ended.
    ended: Condvar,
    dropped: AtomicU64,
    limit: usize,
    /// What the diagnostics call it, if they are to hear of it.
    name: Option<&'static str>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is sound between any two statements: a panic elsewhere does not matter to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the log thread; cheap to clone.
#[derive(Clone)]
pub struct LogQueue(Arc<Shared>);

impl LogQueue {
    /// Hands on whole lines, `lines` of them. False if there was no room: they are dropped and counted. Never waits for a write.
    pub fn offer(&self, bytes: &[u8], lines: u64) -> bool {
        let mut state = self.0.lock();
        if state.ended || state.pending.len() + bytes.len() > self.0.limit {
            drop(state);
            self.0.dropped.fetch_add(lines, Ordering::Relaxed);
            return false;
        }
        state.pending.extend_from_slice(bytes);
        state.lines += lines;
        let wake = state.pending.len() >= state.wake_at;
        if wake {
            state.wake_at = usize::MAX;
        }
        drop(state);
        if wake {
            self.0.wake.notify_one();
        }
        true
    }

    /// Lines lost so far: there was no room, or the write failed.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogQueue").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

/// The owner of the log thread. Dropped, it lets the thread finish on its own; [`close`](Self::close) waits for it.
#[derive(Debug)]
pub struct LogWriter {
    queue: LogQueue,
    sink: Mutex<Option<Sink>>,
}

impl LogWriter {
    /// Opens the sink and starts the thread. At most `limit` bytes wait, and as many are being written.
    pub fn start(sink: Sink, limit: usize) -> io::Result<LogWriter> {
        LogWriter::spawn(sink.open()?, Some(sink), limit, None)
    }

    /// The same for a log that is not itself where diagnostics go. Through the `log` crate it says once, at level error, that lines
    /// of it are lost and why, and once, at level info, that it is written again and how many were.
    pub fn start_named(name: &'static str, sink: Sink, limit: usize) -> io::Result<LogWriter> {
        LogWriter::spawn(sink.open()?, Some(sink), limit, Some(name))
    }

    /// The same with anything that can be written to, and without a word.
    pub fn start_with(out: Box<dyn Write + Send>, limit: usize) -> io::Result<LogWriter> {
        LogWriter::spawn(out, None, limit, None)
    }

    fn spawn(
        out: Box<dyn Write + Send>,
        sink: Option<Sink>,
        limit: usize,
        name: Option<&'static str>,
    ) -> io::Result<LogWriter> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                pending: Vec::new(),
                lines: 0,
                next: None,
                wake_at: usize::MAX,
                closing: false,
                ended: false,
            }),
            wake: Condvar::new(),
            ended: Condvar::new(),
            dropped: AtomicU64::new(0),
            limit,
            name,
        });
        let theirs = shared.clone();
        thread::Builder::new()
            .name("evenkeel-log".into())
            .stack_size(STACK)
            .spawn(move || run(&theirs, out))?;
        Ok(LogWriter { queue: LogQueue(shared), sink: Mutex::new(sink) })
    }

    /// A way to it, for a worker.
    pub fn queue(&self) -> LogQueue {
        self.queue.clone()
    }

    /// Opens the file anew, after it was renamed by a log rotation. On an error lines go on to the old one. May wait for the disk.
    pub fn reopen(&self) -> io::Result<()> {
        let out = match &*self.sink() {
            Some(sink) => sink.open()?,
            None => return Ok(()),
        };
        self.switch(out);
        Ok(())
    }

    /// Writes somewhere else from now on. On an error lines go on to the old place. May wait for the disk.
    pub fn redirect(&self, sink: Sink) -> io::Result<()> {
        self.switch(sink.open()?);
        *self.sink() = Some(sink);
        Ok(())
    }

    /// Where lines go; none if it is not a [`Sink`].
    fn sink(&self) -> MutexGuard<'_, Option<Sink>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn switch(&self, out: Box<dyn Write + Send>) {
        let mut state = self.queue.0.lock();
        // What was offered before belongs to the old place, what comes to the new one, whenever the thread gets to it.
        let before = state.next.take().map_or(state.pending.len(), |(before, _)| before);
        state.next = Some((before, out));
        drop(state);
        self.queue.0.wake.notify_one();
    }

    /// Ends the thread, which first writes all that was offered. False if that takes longer than `bound`: the thread is
    /// left to itself then. Workers must have flushed before.
    pub fn close(self, bound: Duration) -> bool {
        self.end();
        let state = self.queue.0.lock();
        let waited = self.queue.0.ended.wait_timeout_while(state, bound, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    fn end(&self) {
        self.queue.0.lock().closing = true;
        self.queue.0.wake.notify_one();
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread: gathers, writes, naps.
fn run(shared: &Shared, to: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    let mut out = Out { shared, to, torn: false, failing: None };
    loop {
        let mut state = shared.lock();
        while state.pending.is_empty() && state.next.is_none() && !state.closing {
            state.wake_at = 1;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.wake_at = usize::MAX;
        std::mem::swap(&mut state.pending, &mut batch);
        let lines = std::mem::take(&mut state.lines);
        let next = state.next.take();
        if batch.is_empty() && next.is_none() {
            state.ended = true;
            drop(state);
            return shared.ended.notify_all();
        }
        drop(state);
        let mut rest = &batch[..];
        let mut left = lines;
        if let Some((before, next)) = next {
            let old = &rest[..before.min(rest.len())];
            let of_old = lines_of(old).min(left);
            out.write(old, of_old);
            (rest, left) = (&rest[old.len()..], left - of_old);
            (out.to, out.torn) = (next, false);
        }
        out.write(rest, left);
        batch.clear();
        batch.shrink_to(KEEP);
        let mut state = shared.lock();
        let plenty = PLENTY.min(shared.limit / 4);
        state.wake_at = plenty;
        let calm = |state: &mut State| state.next.is_none() && !state.closing && state.pending.len() < plenty;
        drop(shared.wake.wait_timeout_while(state, NAP, calm));
    }
}

/// The thread's view of where lines go.
struct Out<'a> {
    shared: &'a Shared,
    to: Box<dyn Write + Send>,
    /// The last write failed in the middle of a line.
    torn: bool,
    /// Lines lost since writes began to fail, while they do.
    failing: Option<u64>,
}

impl Out<'_> {
    /// Writes it, counts what is lost, and says so at the first loss and at the first batch after it that is written whole.
    fn write(&mut self, batch: &[u8], lines: u64) {
        if batch.is_empty() {
            return;
        }
        let written = write_batch(&mut *self.to, batch, lines, &mut self.torn);
        match (&written, self.failing, self.shared.name) {
            (Err((_, error)), None, Some(name)) => {
                log::error!("{name} cannot be written, its lines are lost until it can: {error}");
            }
            (Ok(()), Some(lost), Some(name)) => log::info!("{name} is written again; lines lost: {lost}"),
            (Err(_) | Ok(()), ..) => {}
        }
        self.failing = written.err().map(|(lost, _)| {
            self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
            self.failing.unwrap_or(0) + lost
        });
    }
}

/// Writes it; or says how many of its lines were lost, and why.
fn write_batch(
    out: &mut dyn Write,
    batch: &[u8],
    lines: u64,
    torn: &mut bool,
) -> Result<(), (u64, io::Error)> {
    if *torn {
        out.write_all(b"\n").map_err(|error| (lines, error))?;
    }
    *torn = false;
    let mut rest = batch;
    while !rest.is_empty() {
        let error = match out.write(rest) {
            Ok(n) if n > 0 => {
                rest = &rest[n.min(rest.len())..];
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(_) => ErrorKind::WriteZero.into(),
            Err(error) => error,
        };
        *torn = rest.len() < batch.len() && batch[batch.len() - rest.len() - 1] != b'\n';
        return Err((lines_of(rest).min(lines), error));
    }
    // It cannot matter to the reactors, and is tried again with the next batch.
    drop(out.flush());
    Ok(())
}

fn lines_of(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
pub(super) mod tests;
