//! Files below a root, the calendar, randomness.
//!
//! The kernel itself keeps a path below its root (`openat2` with `RESOLVE_BENEATH`, Linux 5.6). Where it cannot (older, or forbidden
//! by a sandbox), `walk.rs` does, one component at a time; which of the two is found out once, when the root is opened.
//!
//! What would wait for the disk is known from the kernel, too: paths by `RESOLVE_CACHED` (Linux 5.12), bytes by `RWF_NOWAIT`, which most
//! local file systems know. Where they are not known, `try_open` and the like wait as the others do.

use super::walk;
use super::{OsNet, calendar, failed, fault};
use crate::reactor::net::{
    DirEntry, FileHandle, FileKind, FileType, Host, Links, OpenError, RelPath, Root, RootKind, Stat,
};
use crate::reactor::outcome::{Fault, Io};
use rustix::fs::{self, Advice, AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Reading, and neither waiting for a pipe's writer nor becoming a terminal's owner.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Only a name for it: opens nothing, not even a device.
const NAME: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// No path leads out of the root.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// A rename anywhere while a `..` is being resolved makes `openat2` give up (`EAGAIN`): so often it is asked again.
const TRIES: usize = 4;

/// Whether the disk is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Some,
    None,
}

/// Files of the operating system, its calendar and its randomness, without sockets: for threads beside a reactor.
#[derive(Clone, Copy, Default, Debug)]
pub struct OsHost;

/// A folder held open.
#[derive(Debug)]
pub struct OsRoot {
    fd: OwnedFd,
    /// The kernel cannot confine a path.
    walk: bool,
}

impl OsRoot {
    pub(super) fn open(path: &Path, patience: Patience) -> io::Result<OsRoot> {
        let flags = NAME | OFlags::DIRECTORY;
        let open = || match patience {
            Patience::Some => fs::open(path, flags, Mode::empty()),
            Patience::None => match fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED) {
                Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => fs::open(path, flags, Mode::empty()),
                answer => answer,
            },
        };
        let mut root = OsRoot { fd: retry_on_intr(open)?, walk: false };
        root.walk = match ask_kernel(root.fd.as_fd(), b"", NAME, BENEATH) {
            // A sandbox that forbids an unknown call answers one or the other.
            Err(Errno::NOSYS | Errno::PERM) => true,
            Ok(_) | Err(_) => false,
        };
        Ok(root)
    }

    /// Resolves paths itself from now on, whatever the kernel can do.
    #[cfg(test)]
    pub(super) fn walking(mut self) -> OsRoot {
        self.walk = true;
        self
    }

    #[cfg(test)]
    pub(super) fn walks(&self) -> bool {
        self.walk
    }

    /// `Err(AGAIN)` only without patience.
    fn find(
        &self,
        path: RelPath<'_>,
        links: Links,
        flags: OFlags,
        patience: Patience,
    ) -> Result<OwnedFd, Errno> {
        let (fd, path) = (self.fd.as_fd(), path.as_bytes());
        let resolve = match links {
            Links::Refuse => BENEATH | ResolveFlags::NO_SYMLINKS,
            Links::Beneath => BENEATH,
        };
        if !self.walk && patience == Patience::None {
            match retry_on_intr(|| ask_kernel(fd, path, flags, resolve | ResolveFlags::CACHED)) {
                // Before Linux 5.12.
                Err(Errno::INVAL) => {}
                answer => return answer,
            }
        }
        if !self.walk {
            for _ in 0..TRIES {
                match ask_kernel(fd, path, flags, resolve) {
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    answer => return answer,
                }
            }
        }
        walk::find(fd, path, links, flags)
    }
}

fn ask_kernel(
    below: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    fs::openat2(below, path, flags, Mode::empty(), resolve)
}

fn open(
    root: &Root,
    path: RelPath<'_>,
    links: Links,
    patience: Patience,
) -> Result<(FileHandle, Stat), OpenError> {
    let file = os_root(root)?.find(path, links, READ, patience).map_err(open_error)?;
    let stat = fs::fstat(&file).map_err(open_error)?;
    Ok((FileHandle(FileKind::Os(file.into())), to_stat(&stat)))
}

fn stat(root: &Root, path: RelPath<'_>, links: Links, patience: Patience) -> Result<Stat, OpenError> {
    let name = os_root(root)?.find(path, links, NAME, patience).map_err(open_error)?;
    fs::fstat(&name).map(|stat| to_stat(&stat)).map_err(open_error)
}

fn read(file: &FileHandle, at: u64, buf: &mut [u8], patience: Patience) -> Io {
    let file = match &file.0 {
        FileKind::Os(file) => file,
        FileKind::Sim(_) => return Io::Fault(Fault::Other),
    };
    let read = || match patience {
        Patience::Some => rustix::io::pread(file, &mut *buf, at),
        Patience::None => {
            let into = &mut [IoSliceMut::new(&mut *buf)];
            match rustix::io::preadv2(file, into, at, ReadWriteFlags::NOWAIT) {
                // A file system that does not know it, a kernel that does not know the call, or a sandbox that forbids it.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => rustix::io::pread(file, &mut *buf, at),
                answer => answer,
            }
        }
    };
    match retry_on_intr(read) {
        Ok(0) => Io::Eof,
        Ok(n) => Io::Done(n),
        Err(Errno::AGAIN) => Io::WouldBlock,
        Err(errno) => failed("read_file", errno),
    }
}

/// Bytes from one look to the next: the kernel reads in order.
const STRIDE: u64 = 512 << 10;
/// The least that devices are set up to read at once. Of a longer advice the kernel takes no more than they are set up for.
const PART: u64 = 128 << 10;

fn at_hand(file: &FileHandle, range: Range<u64>) -> u64 {
    let len = range.end.saturating_sub(range.start);
    let FileKind::Os(file) = &file.0 else { return len };
    let is_there = |at| {
        let (mut byte, now) = ([0], ReadWriteFlags::NOWAIT);
        let read = || rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, now);
        retry_on_intr(read) != Err(Errno::AGAIN)
    };
    if len == 0 || !is_there(range.start) {
        return 0;
    }
    let mut known = 0;
    while known < len && is_there(range.start + (known + STRIDE).min(len) - 1) {
        known = (known + STRIDE).min(len);
    }
    known
}

impl Host for OsHost {
    fn open_root(&mut self, path: &Path) -> io::Result<Root> {
        Ok(Root(RootKind::Os(Arc::new(OsRoot::open(path, Patience::Some)?))))
    }

    fn open(
        &mut self,
        root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError> {
        open(root, path, links, Patience::Some)
    }

    fn stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        stat(root, path, links, Patience::Some)
    }

    fn try_open_root(&mut self, path: &Path) -> io::Result<Root> {
        Ok(Root(RootKind::Os(Arc::new(OsRoot::open(path, Patience::None)?))))
    }

    fn try_open(
        &mut self,
        root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError> {
        open(root, path, links, Patience::None)
    }

    fn try_stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        stat(root, path, links, Patience::None)
    }

    fn list(&mut self, folder: &FileHandle, limit: usize) -> io::Result<Vec<DirEntry>> {
        let folder = match &folder.0 {
            FileKind::Os(file) => file,
            FileKind::Sim(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let mut entries = Vec::new();
        let mut names = Dir::read_from(folder)?;
        while entries.len() < limit
            && let Some(entry) = names.read()
        {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let name = name.to_vec();
            // It may be gone again: then its kind is what the folder said.
            let stat = fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok();
            let stat = stat.map(|stat| to_stat(&stat)).filter(|stat| stat.kind != FileType::Other);
            let kind = stat.map_or_else(|| to_kind(entry.file_type()), |stat| stat.kind);
            entries.push(DirEntry { name, kind, stat });
        }
        Ok(entries)
    }

    fn read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io {
        read(file, at, buf, Patience::Some)
    }

    fn try_read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io {
        read(file, at, buf, Patience::None)
    }

    fn at_hand(&mut self, file: &FileHandle, range: Range<u64>) -> u64 {
        at_hand(file, range)
    }

    fn fetch(&mut self, file: &FileHandle, range: Range<u64>) {
        let FileKind::Os(file) = &file.0 else { return };
        let mut at = range.start;
        // Each time all of the rest: most devices take the whole at once, and what is on its way costs nothing more.
        while let Some(len) = NonZeroU64::new(range.end.saturating_sub(at)) {
            // Where advice cannot be taken, it is read when it must be.
            let _ = fs::fadvise(file, at, Some(len), Advice::WillNeed);
            at += PART;
        }
    }

    fn unix_time(&self) -> SystemTime {
        calendar()
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        let mut filled = 0;
        while filled < out.len() {
            match rustix::rand::getrandom(&mut out[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    log::error!("getrandom: {errno}");
                    return fill_by_std(&mut out[filled..]);
                }
            }
        }
    }
}

/// The files of a reactor are those of the system.
impl Host for OsNet {
    fn open_root(&mut self, path: &Path) -> io::Result<Root> {
        OsHost.open_root(path)
    }

    fn open(
        &mut self,
        root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError> {
        OsHost.open(root, path, links)
    }

    fn stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        OsHost.stat(root, path, links)
    }

    fn try_open_root(&mut self, path: &Path) -> io::Result<Root> {
        OsHost.try_open_root(path)
    }

    fn try_open(
        &mut self,
        root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError> {
        OsHost.try_open(root, path, links)
    }

    fn try_stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        OsHost.try_stat(root, path, links)
    }

    fn list(&mut self, folder: &FileHandle, limit: usize) -> io::Result<Vec<DirEntry>> {
        OsHost.list(folder, limit)
    }

    fn read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io {
        OsHost.read_file(file, at, buf)
    }

    fn try_read_file(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io {
        OsHost.try_read_file(file, at, buf)
    }

    fn at_hand(&mut self, file: &FileHandle, range: Range<u64>) -> u64 {
        OsHost.at_hand(file, range)
    }

    fn fetch(&mut self, file: &FileHandle, range: Range<u64>) {
        OsHost.fetch(file, range);
    }

    fn unix_time(&self) -> SystemTime {
        OsHost.unix_time()
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        OsHost.fill_random(out);
    }
}

/// Where the call is missing or forbidden: the standard library keys its hashers from the operating system by every means it knows,
/// and panics if there is none.
fn fill_by_std(out: &mut [u8]) {
    let keyed = std::hash::RandomState::new();
    for (n, chunk) in out.chunks_mut(8).enumerate() {
        let mut hasher = keyed.build_hasher();
        hasher.write_usize(n);
        chunk.copy_from_slice(&hasher.finish().to_ne_bytes()[..chunk.len()]);
    }
}

fn os_root(root: &Root) -> Result<&OsRoot, OpenError> {
    match &root.0 {
        RootKind::Os(root) => Ok(root),
        RootKind::Sim => Err(OpenError::Failed),
    }
}

fn open_error(errno: Errno) -> OpenError {
    match errno {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::LOOP
        | Errno::NAMETOOLONG
        // It leads out of the root.
        | Errno::XDEV
        // A socket, or a device without a driver.
        | Errno::NXIO
        | Errno::NODEV => OpenError::NotFound,
        Errno::ACCESS | Errno::PERM => OpenError::Denied,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS => OpenError::Exhausted,
        Errno::AGAIN => OpenError::WouldBlock,
        other => {
            let _ = fault("open", &other.into());
            OpenError::Failed
        }
    }
}

fn to_kind(kind: fs::FileType) -> FileType {
    match kind {
        fs::FileType::RegularFile => FileType::File,
        fs::FileType::Directory => FileType::Folder,
        _ => FileType::Other,
    }
}

fn to_stat(stat: &fs::Stat) -> Stat {
    Stat {
        kind: to_kind(fs::FileType::from_raw_mode(stat.st_mode)),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
        inode: stat.st_ino,
    }
}
