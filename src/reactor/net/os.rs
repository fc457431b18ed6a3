//! The real world: Linux sockets behind epoll (by mio), files, clocks. One system call an operation.
//!
//! - A stream is a bare descriptor. Registering it costs one `epoll_ctl`, closing it none: the kernel forgets a closed descriptor.
//!   A listener shared by [`OsListener::try_clone`] is another matter (the socket lives on in its clones), so it is deregistered.
//! - Accepting is one `accept4`: options are set once, on the listener, and Linux hands them down.
//! - Sending says `MSG_NOSIGNAL`. `sendfile` has no such flag: a host program must ignore `SIGPIPE`, as Rust's runtime does unless
//!   told otherwise.
//! - `EINTR` is retried everywhere but in the wait, where it is a wake-up with nothing to report.
//!
//! `files.rs` is the [`Host`](super::Host) half, `listener.rs` makes listening sockets.

mod alarm;
mod files;
mod listener;
mod names;
mod walk;

use super::{Accept, FileHandle, FileKind, Net, Peer, Ready, Target, Waker};
use crate::reactor::context::App;
use crate::reactor::outcome::{CloseHow, Fault, Io};
use crate::reactor::token::{Millis, Token};
use crate::reactor::turn::Reactor;
use alarm::Alarm;
pub use files::{OsHost, OsRoot};
pub use listener::OsListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use names::Names;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Events fetched by one `epoll_wait`.
const EVENTS: usize = 1024;
/// How often a wait that filled its room fetches more. What is left then comes with the next wait.
const REFILLS: usize = 64;
/// Most bytes that one `sendfile` is asked for: a large file on a fast peer must not starve the rest.
const SENDFILE_MAX: u64 = 1 << 20;
/// What is watched for of what comes. A read ends at urgent data (tcp(7)), however much lies behind it: that has to be known.
const COMES: Interest = Interest::READABLE.add(Interest::PRIORITY);
/// The waker's own name. Its index would be a listener's and its generation is never drawn for one: no connection bears it.
const WAKER: mio::Token = mio::Token(usize::MAX);
/// The alarm's, likewise.
const ALARM: mio::Token = mio::Token(usize::MAX - 1);
/// Waits up to this long have a timeout of their own; longer ones are left to the alarm.
const SHORT: Duration = Duration::from_millis(10);

/// Sockets, files, clocks and randomness of the operating system. One per reactor.
pub struct OsNet {
    poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    alarm: Alarm,
    names: Names,
    start: Instant,
    now: Millis,
}

/// A connected, or connecting, TCP or Unix stream: a descriptor and nothing else.
#[derive(Debug)]
pub struct OsStream(OwnedFd);

impl AsFd for OsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Measures how long something takes, for programs around a reactor.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// The time since.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl OsNet {
    /// Takes three descriptors: epoll, the waker and the alarm. Fails if there are none.
    pub fn new() -> io::Result<OsNet> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        let events = Events::with_capacity(EVENTS);
        let start = Instant::now();
        let alarm = Alarm::new()?;
        poll.registry().register(&mut SourceFd(&alarm.fd.as_raw_fd()), ALARM, Interest::READABLE)?;
        Ok(OsNet { poll, events, waker, alarm, names: Names::default(), start, now: Millis(0) })
    }

    fn register(&mut self, fd: BorrowedFd<'_>, token: Token, interest: Interest) -> io::Result<()> {
        let given = self.names.give(token);
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), given, interest)
    }
}

impl fmt::Debug for OsNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OsNet").field("now", &self.now).finish_non_exhaustive()
    }
}

/// The epoll descriptor: readable when a turn has something to do. Watch it in a loop of your own, for reading; never write to it.
impl AsFd for OsNet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

/// Readable when a turn has something to do: the whole reactor nests in another loop as one descriptor. Ask
/// [`next`](Reactor::next) how long it may be left alone besides.
impl<A: App> AsFd for Reactor<A, OsNet> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net().as_fd()
    }
}

impl Net for OsNet {
    type Stream = OsStream;
    type Listener = OsListener;
    const SHORT_READ_DRAINS: bool = true;

    fn now(&self) -> Millis {
        self.now
    }

    fn clock(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<(Token, Ready)>) -> io::Result<()> {
        let mut timeout = match timeout {
            Some(wait) if wait > SHORT => {
                self.alarm.set(self.now.after(wait))?;
                None
            }
            // Part of it may be over: the program around us took time for itself.
            Some(wait) if !wait.is_zero() => Some(wait.saturating_sub(self.clock().since(self.now))),
            other => other,
        };
        let mut outcome = Ok(());
        for _ in 0..REFILLS {
            // mio rounds a timeout up to epoll's milliseconds, so that we never wake before a deadline and spin.
            match self.poll.poll(&mut self.events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            let mut count = 0;
            for event in &self.events {
                count += 1;
                match event.token() {
                    WAKER => {}
                    ALARM => self.alarm.fired(),
                    given => out.push((self.names.back(given), ready(event))),
                }
            }
            // A loop around us may see edges only: leave none behind.
            if count < EVENTS {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        self.now = self.clock();
        outcome
    }

    fn waker(&self) -> Waker {
        let waker = self.waker.clone();
        Waker::new(move || {
            if let Err(error) = waker.wake() {
                log::error!("a reactor cannot be woken: {error}");
            }
        })
    }

    fn watch_listener(&mut self, listener: &mut OsListener, token: Token) -> io::Result<()> {
        self.register(listener.as_fd(), token, Interest::READABLE)
    }

    fn accept(&mut self, listener: &mut OsListener) -> Accept<OsStream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = retry_on_intr(|| match listener.is_unix() {
            true => rustix::net::accept_with(&*listener, flags).map(|fd| (fd, Peer::UNIX)),
            false => rustix::net::acceptfrom_with(&*listener, flags).map(|(fd, addr)| {
                let addr = addr.and_then(|addr| std::net::SocketAddr::try_from(addr).ok());
                (fd, addr.map_or(Peer::UNIX, Peer::from))
            }),
        });
        match accepted {
            Ok((fd, peer)) => Accept::Conn(OsStream(fd), peer),
            Err(errno) => refused(errno, listener),
        }
    }

    fn close_listener(&mut self, listener: OsListener) {
        // Its clones keep the socket, and with it our registration, alive: that one has to be taken away.
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&listener.as_fd().as_raw_fd())) {
            log::debug!("{listener:?} was not watched: {error}");
        }
    }

    fn connect(&mut self, to: &Target, token: Token) -> Result<OsStream, Fault> {
        let stream = listener::connect(to).map_err(|error| fault("connect", &error))?;
        let interest = COMES | Interest::WRITABLE;
        self.register(stream.as_fd(), token, interest).map_err(|error| fault("watch", &error))?;
        Ok(OsStream(stream))
    }

    fn finish_connect(&mut self, stream: &mut OsStream) -> Io {
        match sockopt::socket_error(&*stream) {
            Ok(Ok(())) => {}
            Ok(Err(errno)) | Err(errno) => return failed("connect", errno),
        }
        match rustix::net::getpeername(&*stream) {
            Ok(_) => Io::Done(0),
            Err(Errno::NOTCONN | Errno::INPROGRESS) => Io::WouldBlock,
            Err(errno) => failed("connect", errno),
        }
    }

    fn watch(&mut self, stream: &mut OsStream, token: Token) -> io::Result<()> {
        self.register(stream.as_fd(), token, COMES)
    }

    fn watch_writes(&mut self, stream: &mut OsStream, token: Token) -> io::Result<()> {
        // Registering anew arms the edge anew: a socket that became writable meanwhile is reported.
        let interest = COMES | Interest::WRITABLE;
        let given = self.names.give(token);
        self.poll.registry().reregister(&mut SourceFd(&stream.0.as_raw_fd()), given, interest)
    }

    // Part of the pump's loop: see there.
    #[inline(always)]
    fn read(&mut self, stream: &mut OsStream, buf: &mut [u8]) -> Io {
        loop {
            match rustix::net::recv(&*stream, &mut *buf, RecvFlags::empty()) {
                Ok((0, _)) => return Io::Eof,
                Ok((n, _)) => return Io::Done(n),
                Err(Errno::INTR) => {}
                Err(errno) => return failed("read", errno),
            }
        }
    }

    #[inline(always)]
    fn write(&mut self, stream: &mut OsStream, bufs: &[IoSlice<'_>], more: bool) -> Io {
        let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        loop {
            let sent = match bufs {
                [only] => rustix::net::send(&*stream, only, flags),
                several => send_several(stream, several, flags),
            };
            match sent {
                Ok(n) => return Io::Done(n),
                Err(Errno::INTR) => {}
                Err(errno) => return failed("write", errno),
            }
        }
    }

    fn send_file(&mut self, stream: &mut OsStream, file: &FileHandle, at: u64, len: u64) -> Io {
        let file = match &file.0 {
            FileKind::Os(file) => file,
            // A file of another world.
            FileKind::Sim(_) => return Io::Fault(Fault::Other),
        };
        let count = len.min(SENDFILE_MAX) as usize;
        let sent = retry_on_intr(|| {
            let mut offset = at;
            rustix::fs::sendfile(&*stream, file, Some(&mut offset), count)
        });
        match sent {
            Ok(0) if count > 0 => Io::Fault(Fault::Truncated),
            Ok(n) => Io::Done(n),
            Err(errno) => failed("sendfile", errno),
        }
    }

    fn shutdown_write(&mut self, stream: &mut OsStream) -> Io {
        match rustix::net::shutdown(&*stream, Shutdown::Write) {
            Ok(()) => Io::Done(0),
            Err(errno) => failed("shutdown", errno),
        }
    }

    fn close(&mut self, stream: OsStream, how: CloseHow) {
        match how {
            CloseHow::Normal => {}
            CloseHow::Reset => {
                if let Err(errno) = sockopt::set_socket_linger(&stream, Some(Duration::ZERO)) {
                    log::debug!("a connection is closed without a reset: {errno}");
                }
            }
        }
        drop(stream);
    }
}

#[inline(never)]
fn send_several(stream: &OsStream, bufs: &[IoSlice<'_>], flags: SendFlags) -> rustix::io::Result<usize> {
    rustix::net::sendmsg(stream, bufs, &mut SendAncillaryBuffer::default(), flags)
}

/// The one place where the calendar is read.
pub fn calendar() -> SystemTime {
    SystemTime::now()
}

/// What an event tells. After a fault everything is worth a try: the operation will fetch the fault.
fn ready(event: &mio::event::Event) -> Ready {
    if event.is_error() || event.is_write_closed() {
        return Ready::READABLE.with(Ready::WRITABLE).with(Ready::HANGUP);
    }
    let mut ready = Ready::default();
    if event.is_readable() {
        ready = ready.with(Ready::READABLE);
    }
    if event.is_writable() {
        ready = ready.with(Ready::WRITABLE);
    }
    if event.is_read_closed() || event.is_priority() {
        ready = ready.with(Ready::READABLE).with(Ready::HANGUP);
    }
    ready
}

/// An accept that gave no connection (accept(2), section ERRORS).
fn refused(errno: Errno, listener: &mut OsListener) -> Accept<OsStream> {
    match errno {
        Errno::WOULDBLOCK => Accept::WouldBlock,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Accept::Exhausted,
        // Faults of the one connection, handed out before it is: the next may do.
        Errno::CONNABORTED
        | Errno::CONNRESET
        | Errno::PROTO
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::NOPROTOOPT
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::NONET
        | Errno::TIMEDOUT => Accept::Skip,
        // A policy refuses before the connection is taken out of the queue (EPERM); of others nobody knows whether they will pass.
        // Trying again at once would spin.
        unknown => {
            if listener.first_fault() {
                log::warn!("{listener:?}: accept failed: {unknown}; trying again ten times a second");
            }
            Accept::Denied
        }
    }
}

#[inline(never)]
fn failed(what: &str, errno: Errno) -> Io {
    match errno {
        Errno::WOULDBLOCK => Io::WouldBlock,
        errno => Io::Fault(fault(what, &errno.into())),
    }
}

fn fault(what: &str, error: &io::Error) -> Fault {
    let fault = Fault::from(error);
    if fault == Fault::Other {
        log::debug!("{what}: {error}");
    }
    fault
}

#[cfg(test)]
mod tests;
