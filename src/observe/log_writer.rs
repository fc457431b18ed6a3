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

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

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
    /// Appended to this file, which is made with mode 0640 if it is not there.
    File(PathBuf),
}

impl Sink {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        let file = match self {
            // The standard library's own handles hold a lock and look for line ends.
            Sink::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Sink::Stderr => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            Sink::File(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path)?,
        };
        Ok(Box::new(Patient(file)))
    }
}

/// A file whose writes wait even if somebody made the descriptor non-blocking, as shared terminals and pipes may be.
struct Patient(File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::OUT)];
                    rustix::event::poll(&mut fds, None)?;
                }
                done => return done,
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
    /// To be written to from now on, once `pending` is out.
    next: Option<Box<dyn Write + Send>>,
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
        let writer = LogWriter::start_with(sink.open()?, limit)?;
        *writer.sink() = Some(sink);
        Ok(writer)
    }

    /// The same with anything that can be written to.
    pub fn start_with(out: Box<dyn Write + Send>, limit: usize) -> io::Result<LogWriter> {
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
        });
        let theirs = shared.clone();
        thread::Builder::new().name("evenkeel-log".into()).spawn(move || run(&theirs, out))?;
        Ok(LogWriter { queue: LogQueue(shared), sink: Mutex::new(None) })
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
        self.queue.0.lock().next = Some(out);
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
fn run(shared: &Shared, mut out: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    let mut torn = false;
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
        shared.dropped.fetch_add(write_batch(&mut *out, &batch, lines, &mut torn), Ordering::Relaxed);
        batch.clear();
        batch.shrink_to(KEEP);
        if let Some(next) = next {
            (out, torn) = (next, false);
        }
        let mut state = shared.lock();
        let plenty = PLENTY.min(shared.limit / 4);
        state.wake_at = plenty;
        let calm = |state: &mut State| state.next.is_none() && !state.closing && state.pending.len() < plenty;
        drop(shared.wake.wait_timeout_while(state, NAP, calm));
    }
}

/// Writes it; returns how many of its lines were lost.
fn write_batch(out: &mut dyn Write, batch: &[u8], lines: u64, torn: &mut bool) -> u64 {
    if *torn && out.write_all(b"\n").is_err() {
        return lines;
    }
    *torn = false;
    let mut rest = batch;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(n) if n > 0 => rest = &rest[n.min(rest.len())..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => {
                *torn = rest.len() < batch.len() && batch[batch.len() - rest.len() - 1] != b'\n';
                return lines_of(rest).min(lines);
            }
        }
    }
    // It cannot matter to the reactors, and is tried again with the next batch.
    drop(out.flush());
    0
}

fn lines_of(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(10);

    /// What was written, kept.
    #[derive(Clone, Default)]
    pub struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        pub fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Says that it was asked to write, then waits to be allowed to.
    struct Stalled {
        asked: mpsc::Sender<()>,
        allowed: mpsc::Receiver<()>,
        out: Memory,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked.send(()).ok();
            self.allowed.recv().ok();
            self.out.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalled() -> (Stalled, mpsc::Receiver<()>, mpsc::Sender<()>, Memory) {
        let ((asked, was_asked), (allow, allowed)) = (mpsc::channel(), mpsc::channel());
        let out = Memory::default();
        (Stalled { asked, allowed, out: out.clone() }, was_asked, allow, out)
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("evenkeel-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_never_a_reactor() {
        let (out, was_asked, allow, memory) = stalled();
        let writer = LogWriter::start_with(Box::new(out), 8).unwrap();
        let queue = writer.queue();
        assert!(queue.offer(b"first\n", 1));
        was_asked.recv().unwrap();
        assert!(queue.offer(b"second\n", 1), "the queue is empty: the thread holds the first line");
        for _ in 0..1000 {
            assert!(!queue.offer(b"more\nand more\n", 2), "no room, and no waiting");
        }
        assert_eq!(queue.dropped(), 2000);
        drop(allow);
        assert!(writer.close(LONG));
        assert_eq!(memory.bytes(), b"first\nsecond\n");
        assert!(!queue.offer(b"late\n", 1), "after the end lines are counted, not kept");
        assert_eq!(queue.dropped(), 2001);
    }

    #[test]
    fn closing_gives_up_at_its_bound() {
        let (out, was_asked, allow, _) = stalled();
        let writer = LogWriter::start_with(Box::new(out), 100).unwrap();
        writer.queue().offer(b"line\n", 1);
        was_asked.recv().unwrap();
        assert!(!writer.close(Duration::ZERO));
        drop(allow);
    }

    #[test]
    fn a_rotated_file_gets_the_old_lines_and_the_new_file_the_new_ones() {
        let folder = folder("rotate");
        let (path, old) = (folder.join("access.log"), folder.join("access.log.1"));
        let writer = LogWriter::start(Sink::File(path.clone()), LIMIT).unwrap();
        let queue = writer.queue();
        let mut sent = 0;
        for round in 0..3 {
            for _ in 0..1000 {
                assert!(queue.offer(format!("round {round} line {sent}\n").as_bytes(), 1));
                sent += 1;
            }
            if round == 0 {
                std::fs::rename(&path, &old).unwrap();
            }
            writer.reopen().unwrap();
        }
        assert!(writer.close(LONG));
        let both = std::fs::read_to_string(&old).unwrap() + &std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(queue.dropped(), 0);
        let lines: Vec<&str> = both.lines().collect();
        assert_eq!(lines.len(), sent, "none lost, none twice");
        assert!(
            lines.iter().enumerate().all(|(i, line)| line.ends_with(&format!(" line {i}"))),
            "and in order"
        );
        assert!(lines[999].starts_with("round 0"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_said_and_the_old_one_goes_on() {
        let folder = folder("missing");
        let (path, bad) = (folder.join("access.log"), folder.join("no/such/folder"));
        assert!(LogWriter::start(Sink::File(bad.clone()), LIMIT).is_err());
        let writer = LogWriter::start(Sink::File(path.clone()), LIMIT).unwrap();
        assert!(writer.redirect(Sink::File(bad)).is_err());
        writer.queue().offer(b"line\n", 1);
        assert!(writer.close(LONG));
        assert_eq!(std::fs::read(&path).unwrap(), b"line\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Takes `takes[i]` bytes at the i-th write, or fails.
    struct Faulty(Vec<Option<usize>>, Memory);

    impl Write for Faulty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.pop() {
                Some(Some(n)) => self.1.write(&bytes[..n.min(bytes.len())]),
                Some(None) => Err(ErrorKind::StorageFull.into()),
                None => self.1.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_by_count_and_tears_only_one() {
        let memory = Memory::default();
        let mut out = Faulty(vec![None, None, Some(6)], memory.clone());
        let mut torn = false;
        assert_eq!(write_batch(&mut out, b"one\ntwo\nthree\n", 3, &mut torn), 2);
        assert_eq!(write_batch(&mut out, b"four\n", 1, &mut torn), 1, "still full");
        assert_eq!(write_batch(&mut out, b"five\n", 1, &mut torn), 0);
        assert_eq!(memory.bytes(), b"one\ntw\nfive\n");
    }

    #[test]
    fn lines_of_many_workers_are_never_mixed() {
        let memory = Memory::default();
        let writer = LogWriter::start_with(Box::new(memory.clone()), LIMIT).unwrap();
        thread::scope(|scope| {
            for worker in 0..4u8 {
                let queue = writer.queue();
                scope.spawn(move || {
                    let mut line = [b'a' + worker; 100];
                    line[99] = b'\n';
                    (0..500).for_each(|_| assert!(queue.offer(&line, 1)));
                });
            }
        });
        assert!(writer.close(LONG));
        let bytes = memory.bytes();
        assert_eq!(bytes.len(), 200_000);
        assert!(bytes.chunks(100).all(|line| line[99] == b'\n' && line[..99].iter().all(|b| *b == line[0])));
    }
}
