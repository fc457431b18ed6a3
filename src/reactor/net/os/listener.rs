//! Making sockets: listening ones, with the options that their connections inherit, and connecting ones.

use super::Target;
use rustix::net::{AddressFamily, sockopt};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Asked of the kernel, which clamps it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Above this many bytes not yet sent a socket counts as not writable: what waits longer is better kept by us, where it can be
/// counted, than in the kernel.
const NOTSENT_LOWAT: u32 = 128 << 10;
/// A peer that was silent for so long is asked whether it is still there; the system would wait two hours, in which whoever left an
/// answer that never ends keeps its connection.
const QUIET: Duration = Duration::from_secs(60);
/// How long an answer to that is waited for, and how often it is asked before the connection has failed.
const PROBE: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
/// What was sent may go unanswered for as long. Nobody is asked anything while it is on its way, and the system would send it again for
/// a quarter of an hour, in which one that has gone, and is spoken to, is not missed.
const UNANSWERED: Duration = Duration::from_secs(QUIET.as_secs() + PROBES as u64 * PROBE.as_secs());

/// A listening socket, TCP or Unix. Clones share one queue of connections.
#[derive(Debug)]
pub struct OsListener {
    fd: OwnedFd,
    unix: bool,
    /// A fault nobody knows was logged already.
    faulted: bool,
    file: Option<Arc<SocketFile>>,
}

impl OsListener {
    /// Listens at an address; port 0 lets the kernel choose. `[::]` takes IPv4, too. An address that an earlier process has left
    /// in `TIME_WAIT` is taken; one that is listened at is `AddrInUse`.
    pub fn tcp(addr: SocketAddr) -> io::Result<OsListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        set_options(SockRef::from(&socket));
        ease_loopback(SockRef::from(&socket), addr.ip());
        socket.listen(BACKLOG)?;
        Ok(OsListener { fd: socket.into(), unix: false, faulted: false, file: None })
    }

    /// Listens at a path, whose file gets this mode (`0o660`, say) before anybody can connect. A socket file that nobody answers at is
    /// removed first. One that somebody answers at is `AddrInUse`, one that may not be asked or removed `PermissionDenied`, and
    /// anything else there `AlreadyExists`. The file goes when the last clone is dropped.
    pub fn unix(path: &Path, mode: u32) -> io::Result<OsListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        let addr = SockAddr::unix(path)?;
        if let Err(error) = socket.bind(&addr) {
            if error.kind() != io::ErrorKind::AddrInUse {
                return Err(error);
            }
            remove_stale(path, &addr, error)?;
            socket.bind(&addr)?;
        }
        let file = Arc::new(SocketFile::made(path)?);
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        Ok(OsListener { fd: socket.into(), unix: true, faulted: false, file: Some(file) })
    }

    /// Takes over a socket that listens already, from a supervisor such as systemd. Its file, if it is a Unix socket, is left alone.
    /// `InvalidInput` if it does not listen, or for neither TCP nor Unix.
    pub fn from_std(socket: impl Into<OwnedFd>) -> io::Result<OsListener> {
        let fd = socket.into();
        let unix = match sockopt::socket_domain(&fd)? {
            AddressFamily::UNIX => true,
            AddressFamily::INET | AddressFamily::INET6 => false,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a TCP nor a Unix socket")),
        };
        let stream = SockRef::from(&fd).r#type()? == Type::STREAM;
        if !stream || !sockopt::socket_acceptconn(&fd)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen"));
        }
        let socket = SockRef::from(&fd);
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        if !unix {
            set_options(socket);
        }
        Ok(OsListener { fd, unix, faulted: false, file: None })
    }

    /// The same socket for another reactor: whoever accepts first gets the connection.
    pub fn try_clone(&self) -> io::Result<OsListener> {
        let fd = self.fd.try_clone()?;
        Ok(OsListener { fd, unix: self.unix, faulted: false, file: self.file.clone() })
    }

    /// Where it listens, with the port that the kernel chose. A Unix socket without a path has an empty one.
    pub fn local_addr(&self) -> io::Result<Target> {
        let addr = SockRef::from(&self.fd).local_addr()?;
        Ok(match addr.as_socket() {
            Some(addr) => Target::Tcp(addr),
            None => Target::Unix(addr.as_pathname().map(PathBuf::from).unwrap_or_default()),
        })
    }

    /// Where it listens, if that is at a TCP address.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        match self.local_addr() {
            Ok(Target::Tcp(addr)) => Some(addr),
            Ok(Target::Unix(_)) | Err(_) => None,
        }
    }

    pub(super) fn is_unix(&self) -> bool {
        self.unix
    }

    /// True the first time.
    pub(super) fn first_fault(&mut self) -> bool {
        !std::mem::replace(&mut self.faulted, true)
    }
}

impl AsFd for OsListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Options that a listener hands down to its connections (Linux copies them at accept), or those of a connection we make.
fn set_options(socket: SockRef<'_>) {
    note("TCP_NODELAY", socket.set_tcp_nodelay(true));
    note("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(NOTSENT_LOWAT));
    let probes = TcpKeepalive::new().with_time(QUIET).with_interval(PROBE).with_retries(PROBES);
    note("SO_KEEPALIVE", socket.set_tcp_keepalive(&probes));
    note("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(UNANSWERED)));
}

/// On the loopback there is nothing to congest, but an algorithm that paces what it sends, such as BBR, arms a timer with each segment:
/// 1.3 % of a small answer. reno does not; every kernel has it, and any process may choose it. Only for sockets that we make: a
/// supervisor may have chosen for those that it hands over. `ip`: where it listens, or connects to.
fn ease_loopback(socket: SockRef<'_>, ip: IpAddr) {
    if ip.to_canonical().is_loopback() {
        note("TCP_CONGESTION", socket.set_tcp_congestion(b"reno"));
    }
}

fn note(what: &str, done: io::Result<()>) {
    if let Err(error) = done {
        log::debug!("{what} cannot be set: {error}");
    }
}

/// Begins to connect, without waiting.
pub(super) fn connect(to: &Target) -> io::Result<OwnedFd> {
    let (domain, addr) = match to {
        Target::Tcp(addr) => (Domain::for_address(*addr), SockAddr::from(*addr)),
        Target::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)?;
    if let Target::Tcp(addr) = to {
        set_options(SockRef::from(&socket));
        ease_loopback(SockRef::from(&socket), addr.ip());
    }
    match socket.connect(&addr) {
        Ok(()) => Ok(socket.into()),
        Err(error) => match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            // Interrupted, it goes on all the same (connect(2)).
            Some(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => Ok(socket.into()),
            // A Unix listener whose queue is full: no event would tell when it no longer is.
            Some(rustix::io::Errno::AGAIN) => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Err(error),
        },
    }
}

/// Removes a socket file at which nobody listens. `taken`: the error if somebody does.
fn remove_stale(path: &Path, addr: &SockAddr, taken: io::Error) -> io::Result<()> {
    use io::ErrorKind as K;
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let what = "what is there is not a socket; remove it, or name another path";
        return Err(io::Error::new(K::AlreadyExists, what));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    match probe.connect(addr).map_err(|error| error.kind()) {
        Err(K::ConnectionRefused) => fs::remove_file(path).map_err(|error| {
            let what =
                format!("the socket that is there, at which nobody listens, cannot be removed: {error}");
            io::Error::new(error.kind(), what)
        }),
        Err(K::PermissionDenied) => {
            let what =
                "the socket that is there may not be asked whether anybody listens; remove it if nobody does";
            Err(io::Error::new(K::PermissionDenied, what))
        }
        Ok(()) | Err(_) => Err(taken),
    }
}

/// A socket file of ours, removed at the end unless somebody has put another in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn made(path: &Path) -> io::Result<SocketFile> {
        // The working directory may change; the file will not move with it.
        let path = std::path::absolute(path)?;
        Ok(SocketFile { identity: identity(&path)?, path })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::debug!("{}: not removed: {error}", self.path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.st_dev(), meta.st_ino()))
}
