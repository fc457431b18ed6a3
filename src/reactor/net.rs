//! The contract with the world: every thing that can fail, take time or surprise comes in through [`Net`] and [`Host`].
//!
//! Production plugs in [`os::OsNet`]; tests plug in [`sim::SimNet`]. What an implementation owes:
//!
//! 1. **Edges.** An event says that something changed, once. It may be spurious, late, or for a stream closed meanwhile.
//!    Whoever gets it remembers it; only [`Io::WouldBlock`] (and, where [`Net::SHORT_READ_DRAINS`], a short read) ends it.
//! 2. **No event is lost between `watch` and the next `wait`**: what is ready when watching begins is reported.
//! 3. **Nothing blocks** but [`Net::wait`]; file operations may take a disk's time, but for [`Host::at_hand`], [`Host::fetch`]
//!    and those whose names begin with `try`.
//! 4. `EINTR` never comes out: it is retried, or reported as a spurious wake.
//! 5. A token given at `watch` comes back with each event of that stream until `close`.

use super::outcome::{CloseHow, Fault, Io};
use super::token::{Millis, Token};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[cfg(target_os = "linux")]
pub mod os;
pub mod sim;

/// Sockets, readiness and the monotonic clock. See the module page for what is owed.
pub trait Net: Host {
    /// A connected, or connecting, stream.
    type Stream;
    /// A listening socket.
    type Listener;
    /// A read that fills less than the buffer leaves nothing behind, unless a hang-up was hinted (true on epoll).
    const SHORT_READ_DRAINS: bool;

    /// The monotonic clock, as it was when the last [`wait`](Self::wait) returned.
    fn now(&self) -> Millis;
    /// The monotonic clock, read anew.
    fn clock(&self) -> Millis;
    /// Waits until something is ready or the time is up (`None`: until something is ready), appends what is ready, and reads
    /// the clock. The time counts from [`now`](Self::now). Returns early, with nothing, when woken.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<(Token, Ready)>) -> io::Result<()>;
    /// What another thread uses to end a [`wait`](Self::wait).
    fn waker(&self) -> Waker;

    /// Begins to report connections waiting at `listener`.
    fn watch_listener(&mut self, listener: &mut Self::Listener, token: Token) -> io::Result<()>;
    /// Takes one waiting connection.
    fn accept(&mut self, listener: &mut Self::Listener) -> Accept<Self::Stream>;
    /// Stops listening. Connections still in the queue are reset: accept until [`Accept::WouldBlock`] first.
    fn close_listener(&mut self, listener: Self::Listener);

    /// Begins to connect; watched for reading and writing from the start. The outcome is told by [`finish_connect`](Self::finish_connect)
    /// after an event.
    fn connect(&mut self, to: &Target, token: Token) -> Result<Self::Stream, Fault>;
    /// `Done(0)` when connected, `WouldBlock` while it is still under way.
    fn finish_connect(&mut self, stream: &mut Self::Stream) -> Io;

    /// Begins to report when `stream` is readable. Once, at accept.
    fn watch(&mut self, stream: &mut Self::Stream, token: Token) -> io::Result<()>;
    /// Begins to report when it is writable, too. Once, at the first `WouldBlock` of a write.
    fn watch_writes(&mut self, stream: &mut Self::Stream, token: Token) -> io::Result<()>;
    /// Receives into `buf`, which is not empty.
    fn read(&mut self, stream: &mut Self::Stream, buf: &mut [u8]) -> Io;
    /// Sends from `bufs`, which are not all empty; `more` says that more follows at once, so that a small packet may wait for it.
    fn write(&mut self, stream: &mut Self::Stream, bufs: &[io::IoSlice<'_>], more: bool) -> Io;
    /// Sends up to `len` bytes of a file from `at`. A file that has no byte there any more is [`Fault::Truncated`]. Waits for the disk if it
    /// is not [at hand](Host::at_hand).
    fn send_file(&mut self, stream: &mut Self::Stream, file: &FileHandle, at: u64, len: u64) -> Io;
    /// Sends FIN: nothing more will be written. `Done(0)` or a fault.
    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> Io;
    /// Lets go of it.
    fn close(&mut self, stream: Self::Stream, how: CloseHow);
}

/// Files, the calendar and randomness: the part of the world that sessions may reach, through [`Cx::host`](super::context::Cx::host).
pub trait Host {
    /// Opens a folder below which files will be served.
    fn open_root(&mut self, path: &Path) -> io::Result<Root>;
    /// Opens a file or folder below `root`; never leaves it, whatever symbolic links say.
    fn open(&mut self, root: &Root, path: RelPath<'_>, links: Links)
    -> Result<(FileHandle, Stat), OpenError>;
    /// What [`open`](Self::open) would find, without opening it.
    fn stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError>;
    /// [`open_root`](Self::open_root), if the system has all that it takes at hand; else [`io::ErrorKind::WouldBlock`].
    fn try_open_root(&mut self, path: &Path) -> io::Result<Root>;
    /// [`open`](Self::open), if the system has all that it takes at hand; else [`OpenError::WouldBlock`].
    fn try_open(
        &mut self,
        root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError>;
    /// [`stat`](Self::stat), if the system has all that it takes at hand; else [`OpenError::WouldBlock`].
    fn try_stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError>;
    /// Names and kinds in a folder, unsorted, at most `limit` of them.
    fn list(&mut self, folder: &FileHandle, limit: usize) -> io::Result<Vec<DirEntry>>;
    /// Reads at `at`. `Eof` at the end. May block for as long as the disk takes.
    fn read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io;
    /// [`read_file`](Self::read_file), of what the system has at hand, which may be less; [`Io::WouldBlock`] if that is nothing.
    fn try_read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io;
    /// How many of these bytes, from the first on, are at hand; all, if the system does not tell.
    fn at_hand(&mut self, file: &FileHandle, range: Range<u64>) -> u64;
    /// Begins to read these bytes, so that they will be at hand.
    fn fetch(&mut self, file: &FileHandle, range: Range<u64>);
    /// The calendar.
    fn unix_time(&self) -> SystemTime;
    /// Unpredictable bytes, from the operating system (in the simulator: from the seed).
    fn fill_random(&mut self, out: &mut [u8]);
}

/// What is ready, as a set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ready(pub u8);

impl Ready {
    /// Bytes, or an end of file, or a fault can be read.
    pub const READABLE: Ready = Ready(1);
    /// A write may move something.
    pub const WRITABLE: Ready = Ready(2);
    /// A hint: the peer has closed at least its writing side, or sent urgent data. A short read proves nothing then.
    pub const HANGUP: Ready = Ready(4);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }

    /// All of `other` is in it.
    pub const fn has(self, other: Ready) -> bool {
        self.0 & other.0 == other.0
    }

    /// Takes `other` out.
    pub(crate) fn clear(&mut self, other: Ready) {
        self.0 &= !other.0;
    }
}

/// What came of [`Net::accept`].
#[derive(Debug)]
pub enum Accept<S> {
    /// A connection, and who it is from.
    Conn(S, Peer),
    /// Nobody waits.
    WouldBlock,
    /// Descriptors or memory ran out (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`): the connection stays in the queue, and no second
    /// edge will come for it.
    Exhausted,
    /// The system does not give it to us (`EPERM` by a policy, or an error that nobody knows): it stays in the queue, too, and letting go
    /// of others would not help.
    Denied,
    /// This one was gone already (`ECONNABORTED` and the like): take the next.
    Skip,
}

/// Who is at the other end; 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    ip: [u8; 16],
    port: u16,
    kind: PeerKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum PeerKind {
    V4,
    V6,
    Unix,
}

impl Peer {
    /// Somebody at a Unix socket.
    pub const UNIX: Peer = Peer { ip: [0; 16], port: 0, kind: PeerKind::Unix };

    /// The internet address; none for a Unix socket. A scope id is not kept.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip()?, self.port))
    }

    /// The internet address without its port.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.kind {
            PeerKind::V4 => Some(IpAddr::from([self.ip[0], self.ip[1], self.ip[2], self.ip[3]])),
            PeerKind::V6 => Some(IpAddr::V6(Ipv6Addr::from(self.ip))),
            PeerKind::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    /// An IPv4 address mapped into IPv6 becomes the IPv4 address.
    fn from(addr: SocketAddr) -> Peer {
        let mut ip = [0; 16];
        match addr.ip().to_canonical() {
            IpAddr::V4(v4) => {
                ip[..4].copy_from_slice(&v4.octets());
                Peer { ip, port: addr.port(), kind: PeerKind::V4 }
            }
            IpAddr::V6(v6) => Peer { ip: v6.octets(), port: addr.port(), kind: PeerKind::V6 },
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket_addr() {
            Some(addr) => addr.fmt(f),
            None => f.write_str("unix:"),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where to connect to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(addr) => addr.fmt(f),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A folder held open, below which [`Host::open`] works.
#[derive(Clone, Debug)]
pub struct Root(pub(crate) RootKind);

#[derive(Clone, Debug)]
pub(crate) enum RootKind {
    #[cfg(target_os = "linux")]
    Os(Arc<os::OsRoot>),
    Sim,
}

/// A file held open; share it by `Arc`: a download costs no descriptor of its own.
#[derive(Debug)]
pub struct FileHandle(pub(crate) FileKind);

#[derive(Debug)]
pub(crate) enum FileKind {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
    Os(std::fs::File),
    Sim(sim::SimFile),
}

/// A relative path, as bytes, that has no empty, `.` or `..` part and no NUL. The empty path is the root itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RelPath<'a>(&'a [u8]);

impl<'a> RelPath<'a> {
    /// The root itself.
    pub const ROOT: RelPath<'static> = RelPath(b"");

    /// Checks it; `None` if it is not such a path. A slash at the end is not allowed.
    pub fn new(path: &'a [u8]) -> Option<RelPath<'a>> {
        let sound = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && memchr::memchr(0, part).is_none();
        (path.is_empty() || path.split(|b| *b == b'/').all(sound)).then_some(RelPath(path))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// What to do with symbolic links on the way. None ever leads out of the root.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Links {
    /// A link anywhere on the way is [`OpenError::NotFound`].
    Refuse,
    /// Links are followed where they stay below the root.
    Beneath,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// File, folder, or something that is not served.
    pub kind: FileType,
    /// Length in bytes.
    pub len: u64,
    /// Last change of the content, in nanoseconds since 1970 (negative before).
    pub modified_ns: i128,
    /// Last change of anything about it, its permissions and times included, in nanoseconds since 1970. Nobody can set it.
    pub changed_ns: i128,
    /// Together with the device, tells one file from another.
    pub inode: u64,
}

/// A file's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileType {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A socket, pipe or device: never served.
    Other,
}

/// One name in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The name, as bytes; the file system need not keep to UTF-8.
    pub name: Vec<u8>,
    /// What it is. A symbolic link is [`FileType::Other`] until it is opened.
    pub kind: FileType,
    /// Its length and time, where they could be had.
    pub stat: Option<Stat>,
}

/// Why a file was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OpenError {
    /// It is not there, or not below the root.
    NotFound,
    /// The operating system does not let us read it.
    Denied,
    /// Descriptors ran out: try later.
    Exhausted,
    /// The disk or the file system failed.
    Failed,
    /// The disk would have to be waited for, and was not.
    WouldBlock,
}

/// Ends a [`Net::wait`] from another thread. Cheap to clone.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// From whatever ends the wait. It must be safe to call at any time from any thread.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Waker {
        Waker(Arc::new(wake))
    }

    /// Ends the current wait, or the next.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_has_no_empty_dot_or_nul_part() {
        for good in ["", "a", "a/b.c", "...", ".well-known/x"] {
            assert!(RelPath::new(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["/", "a/", "/a", "a//b", ".", "..", "a/..", "a/./b", "a\0b"] {
            assert!(RelPath::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_peer_keeps_its_address_and_undoes_the_ipv6_mapping() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(Peer::from(mapped).to_string(), "192.0.2.1:80");
        let v6: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(Peer::from(v6).socket_addr(), Some(v6));
        assert_eq!(Peer::UNIX.ip(), None);
        assert_eq!(size_of::<Peer>(), 20);
    }
}
