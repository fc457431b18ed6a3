//! From names to representations: the disk, and the caches before it.
//!
//! An entry is compared with the disk (one `stat`) when it is asked for and a second has gone by since that was last done. It is
//! good if kind, length, inode and both times are the same: whoever rewrites a file may set the one back, but not the other, which
//! permissions that are taken away change, too.

use super::super::{Responder, Work, mime};
use super::FilesOptions;
use super::cache::{Cache, Known};
use super::listing::Listing;
use super::representation::{Coding, Content, Representation, Source};
use crate::reactor::{DirEntry, FileHandle, FileType, Host, Io, Links, OpenError, RelPath, Root, Stat};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// How long an entry is good without a look at the disk.
const FRESH_MS: u64 = 1000;
/// How long a file that nobody asks for stays open.
const OPEN_MS: u64 = 10_000;

/// What a path leads to.
pub(super) enum Found {
    File(Arc<Representation>),
    /// A folder that was named without its slash.
    Bare,
    /// A folder without an index.
    Folder(FileHandle),
}

/// The disk and the times of one request.
pub(super) struct Now<'h> {
    host: &'h mut dyn Host,
    pub ms: u64,
    pub unix: u64,
    pub work: Work,
    /// Whoever waits for the disk holds up others.
    hurried: bool,
    /// Something could not be had without waiting for the disk: whatever was found, it is not the answer.
    pub blocked: bool,
}

impl<'h> Now<'h> {
    /// Of a request, which waits for the disk or does not.
    pub fn of(reply: &'h mut Responder<'_>, hurried: bool) -> Now<'h> {
        let (ms, unix) = (reply.now_ms(), reply.unix_seconds());
        Now { host: reply.host(), ms, unix, work: Work::Little, hurried, blocked: false }
    }

    /// Of somebody who waits, at no particular time.
    pub fn patient(host: &'h mut dyn Host) -> Now<'h> {
        Now { host, ms: 0, unix: 0, work: Work::Little, hurried: false, blocked: false }
    }

    /// The host, to look at the disk.
    fn disk(&mut self) -> &mut dyn Host {
        self.work = self.work.max(Work::Disk);
        self.host
    }

    fn open_root(&mut self, path: &Path) -> io::Result<Root> {
        let hurried = self.hurried;
        let opened = if hurried { self.disk().try_open_root(path) } else { self.disk().open_root(path) };
        self.blocked |= opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        opened
    }

    fn open(
        &mut self,
        root: &Root,
        path: RelPath<'_>,
        links: Links,
    ) -> Result<(FileHandle, Stat), OpenError> {
        let (hurried, host) = (self.hurried, self.disk());
        let opened = if hurried { host.try_open(root, path, links) } else { host.open(root, path, links) };
        self.blocked |= matches!(opened, Err(OpenError::WouldBlock));
        opened
    }

    pub fn stat(&mut self, root: &Root, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        let (hurried, host) = (self.hurried, self.disk());
        let stat = if hurried { host.try_stat(root, path, links) } else { host.stat(root, path, links) };
        self.blocked |= stat == Err(OpenError::WouldBlock);
        stat
    }

    /// There is no telling whether it waits.
    pub fn list(&mut self, folder: &FileHandle, limit: usize) -> io::Result<Vec<DirEntry>> {
        if self.hurried {
            self.blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.disk().list(folder, limit)
    }

    pub fn read_file(&mut self, file: &FileHandle, at: u64, into: &mut [u8]) -> Io {
        let (hurried, host) = (self.hurried, self.disk());
        let read = if hurried { host.try_read_file(file, at, into) } else { host.read_file(file, at, into) };
        self.blocked |= read == Io::WouldBlock;
        read
    }
}

/// The disk below a root, and what is remembered of it.
#[derive(Debug)]
pub(super) struct Shelf {
    root: Option<Root>,
    /// The root could be opened when that was last tried.
    root_opens: bool,
    root_checked_ms: Option<u64>,
    memory: Cache,
    open: Cache,
    key: Vec<u8>,
    path: Vec<u8>,
}

/// Opens, and if descriptors ran out, lets go of those that are only remembered, and tries once more.
fn open(
    now: &mut Now<'_>,
    root: &Root,
    cache: &mut Cache,
    path: RelPath<'_>,
    links: Links,
) -> Result<(FileHandle, Stat), OpenError> {
    match now.open(root, path, links) {
        Err(OpenError::Exhausted) => {
            cache.clear();
            now.open(root, path, links)
        }
        answer => answer,
    }
}

impl Shelf {
    pub fn new(options: &FilesOptions) -> Shelf {
        Shelf::below(None, options)
    }

    /// With a root that was opened at time 0.
    pub fn below(root: Option<Root>, options: &FilesOptions) -> Shelf {
        Shelf {
            root_opens: root.is_some(),
            root_checked_ms: root.is_some().then_some(0),
            root,
            memory: Cache::new(options.cache_entries, options.cache_bytes),
            open: Cache::new(options.open_files, usize::MAX),
            key: Vec::new(),
            path: Vec::new(),
        }
    }

    /// The root. It is opened again once a second, so that a folder that was exchanged for another is noticed; if that fails, the
    /// old one stays.
    pub fn root(&mut self, options: &FilesOptions, now: &mut Now<'_>) -> Result<Root, OpenError> {
        let fresh = self.root_checked_ms.is_some_and(|then| now.ms.saturating_sub(then) < FRESH_MS);
        if !fresh {
            let opened = now.open_root(&options.root);
            if now.blocked {
                return Err(OpenError::WouldBlock);
            }
            self.root_checked_ms = Some(now.ms);
            self.root_opens = opened.is_ok();
            match opened {
                Ok(root) => self.root = Some(root),
                Err(error) if self.root.is_none() => {
                    log::error!("cannot open {}: {error}", options.root.display());
                }
                Err(_) => {}
            }
        }
        self.root.clone().ok_or(OpenError::Failed)
    }

    /// Lets go of what nobody has asked for in a while, so that no descriptor keeps alive what was deleted. A root that could not be opened
    /// again stays.
    pub fn idle(&mut self, now_ms: u64) {
        let Some(then) = now_ms.checked_sub(OPEN_MS) else { return };
        self.open.forget_until(then);
        if self.root_opens && self.root_checked_ms.is_some_and(|checked| checked <= then) {
            (self.root, self.root_checked_ms) = (None, None);
        }
    }

    /// What is at a path: relative, without dot segments, with a slash at its end if a folder is meant.
    pub fn find(
        &mut self,
        options: &FilesOptions,
        path: &[u8],
        now: &mut Now<'_>,
    ) -> Result<Found, OpenError> {
        let root = self.root(options, now)?;
        self.key.clear();
        self.key.push(Coding::Identity.mark());
        self.key.extend_from_slice(path);
        if let Some(Known::Here(found)) = self.remembered(&root, options.links(), now) {
            return Ok(Found::File(found));
        }
        let (links, bare) = (options.links(), path.strip_suffix(b"/").unwrap_or(path));
        let meant_folder = path.is_empty() || bare.len() < path.len();
        if meant_folder {
            self.path.clear();
            self.path.extend_from_slice(path);
            self.path.extend_from_slice(options.index.as_bytes());
        }
        let file = if meant_folder { &self.path } else { bare };
        let rel = RelPath::new(file).ok_or(OpenError::NotFound)?;
        match open(now, &root, &mut self.open, rel, links) {
            Ok((handle, stat)) => match stat.kind {
                FileType::File => {
                    let file: Box<[u8]> = file.into();
                    let found = self.load(&root, options, (handle, stat), file, Coding::Identity, now);
                    return Ok(Found::File(found));
                }
                FileType::Folder if !meant_folder => return Ok(Found::Bare),
                FileType::Folder => {}
                FileType::Other => return Err(OpenError::NotFound),
            },
            Err(OpenError::NotFound) if meant_folder => {}
            Err(error) => return Err(error),
        }
        let rel = RelPath::new(bare).ok_or(OpenError::NotFound)?;
        match open(now, &root, &mut self.open, rel, links)? {
            (handle, Stat { kind: FileType::Folder, .. }) => Ok(Found::Folder(handle)),
            (_, _) => Err(OpenError::NotFound),
        }
    }

    /// What the caches have under the key, if it is still so.
    fn remembered(&mut self, root: &Root, links: Links, now: &mut Now<'_>) -> Option<Known> {
        for cache in [&mut self.memory, &mut self.open] {
            let Some((known, checked_ms)) = cache.get(&self.key) else { continue };
            if now.ms.saturating_sub(*checked_ms) < FRESH_MS {
                return Some(known.clone());
            }
            if let (Known::Here(here), Some(path)) = (known, path_of(known)) {
                match now.stat(root, path, links) {
                    Ok(stat) if stat == here.stat && !here.young => {
                        *checked_ms = now.ms;
                        return Some(known.clone());
                    }
                    Err(OpenError::WouldBlock) => return None,
                    // What is in memory needs no descriptor.
                    Err(OpenError::Exhausted) => return Some(known.clone()),
                    Ok(_) | Err(OpenError::NotFound | OpenError::Denied | OpenError::Failed) => {}
                }
            }
            cache.remove(&self.key);
        }
        None
    }

    /// Makes a representation of an open file and remembers it under the key.
    fn load(
        &mut self,
        root: &Root,
        options: &FilesOptions,
        (handle, stat): (FileHandle, Stat),
        path: Box<[u8]>,
        coding: Coding,
        now: &mut Now<'_>,
    ) -> Arc<Representation> {
        let small = stat.len <= options.small_max;
        let bytes = if small { read_whole(now, &handle, stat.len) } else { None };
        // What changed while it was read is not remembered, and sent from the file, whose length is that of the handle.
        let unchanged = !small
            || bytes.is_some()
                && RelPath::new(&path).is_some_and(|path| now.stat(root, path, options.links()) == Ok(stat));
        let content = match bytes {
            Some(bytes) if unchanged => Content::Memory(bytes),
            Some(_) | None => Content::Open(Arc::new(handle)),
        };
        let in_memory = matches!(content, Content::Memory(_));
        // A sibling is what the file is whose name it bears.
        let kind = mime::kind(path.strip_suffix(suffix(coding)).unwrap_or(&path));
        let made = Arc::new(Representation::new(Source { path, stat, content, kind, coding, now: now.unix }));
        if unchanged {
            let cache = if in_memory { &mut self.memory } else { &mut self.open };
            cache.put(&self.key, Known::Here(made.clone()), now.ms);
        }
        made
    }

    /// The file as it lies beside another under `name.br` and the like. It is served even if it is older than the other: whoever puts
    /// it there keeps it up to date.
    pub fn sibling(
        &mut self,
        options: &FilesOptions,
        of: &Representation,
        coding: Coding,
        now: &mut Now<'_>,
    ) -> Option<Arc<Representation>> {
        let root = self.root(options, now).ok()?;
        self.key.clear();
        self.key.push(coding.mark());
        self.key.extend_from_slice(&of.path);
        match self.remembered(&root, options.links(), now) {
            Some(Known::Here(found)) => return Some(found),
            Some(Known::Absent | Known::Useless(_) | Known::Listed(_)) => return None,
            None => {}
        }
        let mut path = of.path.to_vec();
        path.extend_from_slice(suffix(coding));
        match open(now, &root, &mut self.open, RelPath::new(&path)?, options.links()) {
            Ok((handle, stat)) if stat.kind == FileType::File => {
                Some(self.load(&root, options, (handle, stat), path.into(), coding, now))
            }
            Ok(_) | Err(OpenError::NotFound | OpenError::Denied) => {
                self.memory.put(&self.key, Known::Absent, now.ms);
                None
            }
            Err(OpenError::Exhausted | OpenError::Failed | OpenError::WouldBlock) => None,
        }
    }

    /// The file compressed with gzip: made once, and remembered as long as the file is the same. `None` if that is not worth it.
    pub fn gzipped(
        &mut self,
        options: &FilesOptions,
        of: &Representation,
        now: &mut Now<'_>,
    ) -> Option<Arc<Representation>> {
        if of.len < options.compress_min || of.len > options.compress_max {
            return None;
        }
        self.key.clear();
        self.key.push(Coding::MadeGzip.mark());
        self.key.extend_from_slice(&of.path);
        match self.memory.get(&self.key) {
            Some((Known::Here(made), _)) if made.stat == of.stat => return Some(made.clone()),
            Some((Known::Useless(stat), _)) if *stat == of.stat => return None,
            Some(_) | None => {}
        }
        let plain = match &of.content {
            Content::Memory(bytes) => bytes.clone(),
            Content::Open(file) => read_whole(now, file, of.len)?,
        };
        now.work = Work::Much;
        let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 2), Compression::new(6));
        let packed = encoder.write_all(&plain).and_then(|()| encoder.finish()).ok()?;
        if packed.len() >= plain.len() {
            self.memory.put(&self.key, Known::Useless(of.stat), now.ms);
            return None;
        }
        let content = Content::Memory(packed.into());
        let (path, stat, kind) = (of.path.clone(), of.stat, of.kind);
        let made = Source { path, stat, content, kind, coding: Coding::MadeGzip, now: now.unix };
        let made = Arc::new(Representation::new(made));
        // A file that changed a moment ago may change again without showing it.
        if !of.young {
            self.memory.put(&self.key, Known::Here(made.clone()), now.ms);
        }
        Some(made)
    }

    /// What is in a folder, as a page or JSON that says it lies at `shown`: made at most once a second, since that takes as many calls
    /// as there are names.
    pub fn listing(
        &mut self,
        options: &FilesOptions,
        folder: &FileHandle,
        (path, shown): (&[u8], &[u8]),
        json: bool,
        now: &mut Now<'_>,
    ) -> Result<Arc<[u8]>, OpenError> {
        let root = self.root(options, now)?;
        self.key.clear();
        // No coding has these marks.
        self.key.push(if json { b'J' } else { b'L' });
        self.key.extend_from_slice(shown);
        if let Some((Known::Listed(body), made_ms)) = self.memory.get(&self.key)
            && now.ms.saturating_sub(*made_ms) < FRESH_MS
        {
            return Ok(body.clone());
        }
        now.work = Work::Much;
        let listing = Listing::read(options, &root, folder, path, now).map_err(|_| OpenError::Failed)?;
        let body: Arc<[u8]> = listing.body(shown, json).into();
        self.memory.put(&self.key, Known::Listed(body.clone()), now.ms);
        Ok(body)
    }

    /// The root, if it is held open.
    pub fn held_root(&self) -> Option<Root> {
        self.root.clone()
    }

    /// Bytes and entries in memory, and files held open.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize, usize) {
        let (entries, bytes) = self.memory.size();
        (entries, bytes, self.open.size().0)
    }
}

fn path_of(known: &Known) -> Option<RelPath<'_>> {
    match known {
        Known::Here(here) => RelPath::new(&here.path),
        Known::Absent | Known::Useless(_) | Known::Listed(_) => None,
    }
}

fn suffix(coding: Coding) -> &'static [u8] {
    match coding {
        Coding::Brotli => b".br",
        Coding::Zstd => b".zst",
        Coding::Gzip => b".gz",
        Coding::Identity | Coding::MadeGzip => b"",
    }
}

/// The first `len` bytes of a file; `None` if it has fewer, or cannot be read.
fn read_whole(now: &mut Now<'_>, file: &FileHandle, len: u64) -> Option<Arc<[u8]>> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    let mut filled = 0;
    while filled < bytes.len() {
        match now.read_file(file, filled as u64, &mut bytes[filled..]) {
            Io::Done(n) => filled += n,
            Io::Eof | Io::WouldBlock | Io::Fault(_) => return None,
        }
    }
    Some(bytes.into())
}
