//! The simulated world: the same program, no operating system, no real time, every run the same.
//!
//! 1. **The clock is virtual**: a wait jumps to the next thing that happens, or to its end. A day takes microseconds. A wait without
//!    end in a world where nothing will ever happen is an error of the kind [`Deadlock`](io::ErrorKind::Deadlock).
//! 2. **Edges, as strict as epoll's**: bytes that arrive make an edge, bytes that lie there do not; a writable edge comes only after
//!    the server found no room and there is some again; watching reports what is so at that moment. An edge tells only what
//!    changed. Nothing is reported for a stream that is closed, unless nonsense is asked for.
//! 3. **Peers follow a [`Script`]**; a connect follows a [`Plan`], or is joined with an accept if it goes to a listener of this world.
//! 4. **One seed decides everything** that is random: [`Chaos`] says how much of that there is.
//! 5. It asserts what a server owes: one close a stream, one FIN, nothing written after it, no empty read or write.
//!
//! ```
//! use evenkeel::reactor::net::sim::{Script, SimNet};
//! let mut world = SimNet::new(1);
//! let listener = world.listen();
//! let peer = world.arrive(listener, Script::new().send("hello").await_sent(5).fin());
//! // Hand `world` to a `Reactor`, run its turns, and look at what the peer got:
//! assert_eq!(world.sent(peer), b"");
//! ```

mod calls;
mod conn;
mod files;
mod look;
mod random;
mod script;
mod world;

pub use files::{SimFile, Tree};
pub use random::{Chaos, Random};
pub use script::{AcceptFault, Act, Plan, Script};
pub use world::World;

use super::{
    Accept, DirEntry, FileHandle, Host, Links, Net, OpenError, Ready, RelPath, Root, RootKind, Stat, Target,
    Waker,
};
use crate::reactor::outcome::{CloseHow, Fault, Io};
use crate::reactor::token::{Millis, Token};
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Seconds since 1970 when a simulated world begins: 2026-01-01 00:00:00 UTC.
pub const BEGINNING: u64 = 1_767_225_600;

/// The name of a simulated stream, for tests. It stays good after the stream is closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SimId(pub(crate) u32);

/// A simulated stream, as the reactor holds it.
#[derive(Debug)]
pub struct SimStream(SimId);

impl SimStream {
    /// Its name.
    pub fn id(&self) -> SimId {
        self.0
    }
}

/// A simulated listening socket. Keep a copy to let peers arrive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SimListener(usize);

/// How often each operation was called.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)] // the names are those of the operations
pub struct Calls {
    pub waits: u64,
    pub accepts: u64,
    pub connects: u64,
    pub finish_connects: u64,
    pub watches: u64,
    pub watch_writes: u64,
    pub reads: u64,
    pub writes: u64,
    pub send_files: u64,
    pub shutdowns: u64,
    pub closes: u64,
    pub opens: u64,
    pub stats: u64,
    pub file_reads: u64,
    pub at_hands: u64,
    pub fetches: u64,
    /// Reads and sends of files that waited for the disk.
    pub disk_waits: u64,
}

/// A simulated world; all that a test sets up and looks at is in [`World`], to which it dereferences.
///
/// `SHORT_READ_DRAINS` chooses between the two regimes that [`Net::SHORT_READ_DRAINS`] allows.
#[derive(Debug)]
pub struct SimNet<const SHORT_READ_DRAINS: bool = true> {
    world: World,
}

impl SimNet {
    /// A quiet world, in which a short read drains.
    pub fn new(seed: u64) -> SimNet {
        SimNet::with_regime(seed)
    }
}

impl<const SHORT_READ_DRAINS: bool> SimNet<SHORT_READ_DRAINS> {
    /// A quiet world in either regime.
    pub fn with_regime(seed: u64) -> Self {
        SimNet { world: World::new(seed, SHORT_READ_DRAINS) }
    }
}

impl<const S: bool> Deref for SimNet<S> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl<const S: bool> DerefMut for SimNet<S> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl<const S: bool> Net for SimNet<S> {
    type Stream = SimStream;
    type Listener = SimListener;
    const SHORT_READ_DRAINS: bool = S;

    fn now(&self) -> Millis {
        Millis(self.world.now)
    }

    fn clock(&self) -> Millis {
        Millis(self.world.now + self.world.passed)
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<(Token, Ready)>) -> io::Result<()> {
        self.world.wait(timeout.map(|wait| Millis(0).after(wait).0), out)
    }

    fn waker(&self) -> Waker {
        let woken = self.world.woken.clone();
        Waker::new(move || woken.store(true, Ordering::Release))
    }

    fn watch_listener(&mut self, listener: &mut SimListener, token: Token) -> io::Result<()> {
        let listening = &mut self.world.listeners[listener.0];
        listening.token = Some(token);
        listening.edge = !listening.queue.is_empty();
        Ok(())
    }

    fn accept(&mut self, listener: &mut SimListener) -> Accept<SimStream> {
        self.world.accept(listener.0)
    }

    fn close_listener(&mut self, listener: SimListener) {
        self.world.close_listener(listener.0);
    }

    fn connect(&mut self, to: &Target, token: Token) -> Result<SimStream, Fault> {
        self.world.connect(to, token)
    }

    fn finish_connect(&mut self, stream: &mut SimStream) -> Io {
        self.world.finish_connect(stream.0)
    }

    fn watch(&mut self, stream: &mut SimStream, token: Token) -> io::Result<()> {
        self.world.calls.watches += 1;
        self.world.watch(stream.0, token, Ready::READABLE.with(Ready::HANGUP));
        Ok(())
    }

    fn watch_writes(&mut self, stream: &mut SimStream, token: Token) -> io::Result<()> {
        self.world.calls.watch_writes += 1;
        self.world.watch(stream.0, token, Ready::READABLE.with(Ready::WRITABLE).with(Ready::HANGUP));
        Ok(())
    }

    fn read(&mut self, stream: &mut SimStream, buf: &mut [u8]) -> Io {
        self.world.read(stream.0, buf)
    }

    fn write(&mut self, stream: &mut SimStream, bufs: &[io::IoSlice<'_>], _more: bool) -> Io {
        self.world.write(stream.0, bufs)
    }

    fn send_file(&mut self, stream: &mut SimStream, file: &FileHandle, at: u64, len: u64) -> Io {
        self.world.send_file(stream.0, file, at, len)
    }

    fn shutdown_write(&mut self, stream: &mut SimStream) -> Io {
        self.world.shutdown_write(stream.0)
    }

    fn close(&mut self, stream: SimStream, how: CloseHow) {
        self.world.close(stream.0, how);
    }
}

/// There is one tree of files: every root is its top.
impl<const S: bool> Host for SimNet<S> {
    fn open_root(&mut self, _path: &Path) -> io::Result<Root> {
        Ok(Root(RootKind::Sim))
    }

    fn open(
        &mut self,
        _root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError> {
        self.world.calls.opens += 1;
        self.world.files.open(path, links)
    }

    fn stat(&mut self, _root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        self.world.calls.stats += 1;
        self.world.files.stat(path, links)
    }

    fn try_open_root(&mut self, path: &Path) -> io::Result<Root> {
        self.open_root(path)
    }

    fn try_open(
        &mut self,
        root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError> {
        if self.world.files.is_cold(path) { Err(OpenError::WouldBlock) } else { self.open(root, path, links) }
    }

    fn try_stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        if self.world.files.is_cold(path) { Err(OpenError::WouldBlock) } else { self.stat(root, path, links) }
    }

    fn list(&mut self, folder: &FileHandle, limit: usize) -> io::Result<Vec<DirEntry>> {
        self.world.files.list(folder, limit)
    }

    fn read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io {
        self.world.calls.file_reads += 1;
        self.world.calls.disk_waits += u64::from(self.world.files.is_unread(file));
        self.world.files.read(file, at, buf)
    }

    fn try_read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io {
        if self.world.files.is_unread(file) { Io::WouldBlock } else { self.read_file(file, at, buf) }
    }

    fn at_hand(&mut self, file: &FileHandle, range: Range<u64>) -> u64 {
        if self.world.at_hand(file) { range.end.saturating_sub(range.start) } else { 0 }
    }

    fn fetch(&mut self, file: &FileHandle, _: Range<u64>) {
        self.world.fetch(file);
    }

    fn unix_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            + Duration::from_secs(BEGINNING)
            + Duration::from_millis(self.world.elapsed_ms())
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.world.fill_random(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::token::ListenerId;
    use std::io::IoSlice;

    const READ: Ready = Ready(5);

    fn events(world: &mut SimNet) -> Vec<Ready> {
        let mut out = Vec::new();
        world.wait(Some(Duration::ZERO), &mut out).unwrap();
        out.into_iter().map(|(_, ready)| ready).collect()
    }

    fn accepted(world: &mut SimNet, script: Script) -> (SimStream, SimId) {
        let mut listener = world.listen();
        world.watch_listener(&mut listener, Token::of_listener(ListenerId(0))).unwrap();
        let id = world.arrive(listener, script);
        assert_eq!(events(world), [Ready::READABLE]);
        let Accept::Conn(mut stream, _) = world.accept(&mut listener) else { panic!() };
        world.watch(&mut stream, Token::new(0, 1)).unwrap();
        (stream, id)
    }

    #[test]
    fn bytes_that_lie_there_make_no_second_edge_and_bytes_that_come_do() {
        let mut world = SimNet::new(1);
        let (mut stream, _) = accepted(&mut world, Script::new().send("ab").wait(5).send("c").fin());
        assert_eq!(events(&mut world), [Ready::READABLE]);
        assert_eq!(world.read(&mut stream, &mut [0]), Io::Done(1));
        assert_eq!(events(&mut world), []);
        let mut out = Vec::new();
        world.wait(None, &mut out).unwrap();
        assert_eq!((out, world.elapsed_ms()), (vec![(Token::new(0, 1), READ)], 5));
        let mut buf = [0; 9];
        assert_eq!(world.read(&mut stream, &mut buf), Io::Done(2));
        assert_eq!(world.read(&mut stream, &mut buf), Io::Eof);
        let quiet = world.wait(None, &mut Vec::new());
        assert_eq!(quiet.unwrap_err().kind(), io::ErrorKind::Deadlock);
    }

    #[test]
    fn room_makes_an_edge_only_after_there_was_none() {
        let mut world = SimNet::new(1);
        let script = Script::new().window(3).wait(1).window(1).wait(1).window(2);
        let (mut stream, id) = accepted(&mut world, script);
        assert_eq!(world.write(&mut stream, &[IoSlice::new(b"ab")], false), Io::Done(2));
        world.watch_writes(&mut stream, Token::new(0, 1)).unwrap();
        assert_eq!(events(&mut world), [Ready::WRITABLE]);
        assert_eq!(world.write(&mut stream, &[IoSlice::new(b"c")], false), Io::Done(1));
        let mut out = Vec::new();
        world.wait(Some(Duration::from_millis(1)), &mut out).unwrap();
        assert_eq!(out, [], "it did not ask for more");
        assert_eq!(world.write(&mut stream, &[IoSlice::new(b"de")], false), Io::Done(1));
        world.wait(None, &mut out).unwrap();
        assert_eq!(out, [(Token::new(0, 1), Ready::WRITABLE)]);
        assert_eq!((world.sent(id), world.sent_len(id)), (&b"abcd"[..], 4));
    }

    #[test]
    fn a_connect_to_a_listener_of_the_same_world_is_joined() {
        let mut world = SimNet::new(1);
        let mut listener = world.listen();
        world.watch_listener(&mut listener, Token::of_listener(ListenerId(0))).unwrap();
        let mut near = world.connect(&Target::Tcp(world.address(listener)), Token::new(0, 1)).unwrap();
        assert_eq!(world.finish_connect(&mut near), Io::WouldBlock);
        world.wait(None, &mut Vec::new()).unwrap();
        assert_eq!(world.finish_connect(&mut near), Io::Done(0));
        let Accept::Conn(mut far, _) = world.accept(&mut listener) else { panic!() };
        world.watch(&mut far, Token::new(1, 2)).unwrap();
        assert_eq!(world.write(&mut near, &[IoSlice::new(b"hello")], false), Io::Done(5));
        let _ = events(&mut world);
        let mut buf = [0; 9];
        assert_eq!(world.read(&mut far, &mut buf), Io::Done(5));
        world.close(near, CloseHow::Normal);
        assert_eq!(world.read(&mut far, &mut buf), Io::Eof);
        world.close(far, CloseHow::Normal);
    }

    #[test]
    fn files_are_found_through_links_and_never_outside() {
        let mut world = SimNet::new(1);
        world.files.file("a/b.txt", "hello", 7);
        world.files.link("l", "a");
        world.files.link("up", "../etc");
        world.files.link("loop", "loop");
        let root = world.open_root(Path::new("/")).unwrap();
        let path = |path: &'static str| RelPath::new(path.as_bytes()).unwrap();
        let (file, stat) = world.open(&root, path("l/b.txt"), Links::Beneath).unwrap();
        assert_eq!((stat.len, stat.modified_ns, world.files.handles()), (5, 7_000_000_000, 1));
        let mut buf = [0; 9];
        assert_eq!(world.read_file(&file, 3, &mut buf), Io::Done(2));
        world.files.shrink("a/b.txt", 3);
        assert_eq!(world.read_file(&file, 3, &mut buf), Io::Eof);
        for outside in ["up", "up/passwd", "loop", "none", "a/b.txt/c"] {
            assert_eq!(world.stat(&root, path(outside), Links::Beneath), Err(OpenError::NotFound));
        }
        assert_eq!(world.stat(&root, path("l/b.txt"), Links::Refuse), Err(OpenError::NotFound));
        let (folder, _) = world.open(&root, path("a"), Links::Refuse).unwrap();
        assert_eq!(world.list(&folder, 9).unwrap()[0].name, b"b.txt");
    }
}
