//! Simulated files: one tree in memory, below every root.

use super::super::{DirEntry, FileHandle, FileKind, FileType, Links, OpenError, RelPath, Stat};
use crate::reactor::outcome::{Fault, Io};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// A simulated file held open. What it reads follows changes made in place, as on a disk.
#[derive(Debug)]
pub struct SimFile {
    inode: usize,
    _open: Arc<()>,
}

#[derive(Debug)]
enum Kind {
    File(Vec<u8>),
    Folder,
    Other,
    Link(Vec<u8>),
}

#[derive(Debug)]
struct Inode {
    kind: Kind,
    modified_ns: i128,
    changed_ns: i128,
    open_error: Option<OpenError>,
    /// Reads at or behind this offset fail.
    read_fault: Option<(u64, Fault)>,
    /// Most bytes per read or send.
    piece: usize,
    /// Its bytes are on the disk only.
    unread: bool,
    /// When they will have been fetched, if that was begun.
    fetched_at: Option<u64>,
    open: Arc<()>,
}

/// The tree.
#[derive(Debug)]
pub struct Tree {
    inodes: Vec<Inode>,
    names: BTreeMap<Vec<u8>, usize>,
    /// Whether there is anything under these names is known to the disk only.
    cold: BTreeSet<Vec<u8>>,
    /// How long the disk takes to fetch what is not at hand, in milliseconds; `u64::MAX`: for ever.
    pub disk_ms: u64,
}

impl Default for Tree {
    fn default() -> Tree {
        let (inodes, names, cold) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        let mut tree = Tree { inodes, names, cold, disk_ms: 5 };
        tree.put(b"", Kind::Folder, 0);
        tree
    }
}

impl Tree {
    fn put(&mut self, path: &[u8], kind: Kind, modified_ns: i128) {
        let folders = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for at in folders.collect::<Vec<_>>() {
            if !self.names.contains_key(&path[..at]) {
                self.put(&path[..at], Kind::Folder, 0);
            }
        }
        let inode = Inode {
            kind,
            modified_ns,
            changed_ns: modified_ns,
            open_error: None,
            read_fault: None,
            piece: usize::MAX,
            unread: false,
            fetched_at: None,
            open: Arc::new(()),
        };
        self.names.insert(path.to_vec(), self.inodes.len());
        self.inodes.push(inode);
    }

    fn named(&mut self, path: &str) -> &mut Inode {
        let inode = *self.names.get(path.as_bytes()).unwrap_or_else(|| panic!("no simulated file {path}"));
        &mut self.inodes[inode]
    }

    /// Puts a new file there; whoever holds the old one open keeps the old one.
    pub fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>, modified_s: i64) {
        self.put(path.as_bytes(), Kind::File(bytes.into()), i128::from(modified_s) * 1_000_000_000);
    }

    /// Puts a folder there. Those on the way to a file come by themselves.
    pub fn folder(&mut self, path: &str) {
        self.put(path.as_bytes(), Kind::Folder, 0);
    }

    /// Puts a pipe, socket or device there.
    pub fn other(&mut self, path: &str) {
        self.put(path.as_bytes(), Kind::Other, 0);
    }

    /// Puts a symbolic link there, to a path below the root. A target that begins with `/` or has `..` leads out of it.
    pub fn link(&mut self, path: &str, to: &str) {
        self.put(path.as_bytes(), Kind::Link(to.as_bytes().to_vec()), 0);
    }

    /// Takes a name away; what is held open stays.
    pub fn remove(&mut self, path: &str) {
        self.names.remove(path.as_bytes());
    }

    /// Changes the content in place.
    pub fn rewrite(&mut self, path: &str, bytes: impl Into<Vec<u8>>, modified_s: i64) {
        let inode = self.named(path);
        inode.kind = Kind::File(bytes.into());
        inode.modified_ns = i128::from(modified_s) * 1_000_000_000;
        inode.changed_ns = inode.modified_ns;
    }

    /// Something about it changed at that time, in seconds since 1970, such as its permissions, or its time, which was set back.
    pub fn change(&mut self, path: &str, changed_s: i64) {
        self.named(path).changed_ns = i128::from(changed_s) * 1_000_000_000;
    }

    /// Cuts a file short in place.
    pub fn shrink(&mut self, path: &str, len: usize) {
        if let Kind::File(bytes) = &mut self.named(path).kind {
            bytes.truncate(len);
        }
    }

    /// Opening it, or asking about it, fails from now on; `None`: no longer.
    pub fn fail_open(&mut self, path: &str, error: Option<OpenError>) {
        self.named(path).open_error = error;
    }

    /// Reading or sending at this offset or behind it fails from now on.
    pub fn fail_file(&mut self, path: &str, at: u64, fault: Fault) {
        self.named(path).read_fault = Some((at, fault));
    }

    /// Reads and sends of it move at most so many bytes each.
    pub fn piece(&mut self, path: &str, most: usize) {
        self.named(path).piece = most.max(1);
    }

    /// Nothing of it is at hand any more, neither what is there (there may be nothing) nor its bytes, until somebody has waited for the
    /// disk, or had them fetched.
    pub fn chill(&mut self, path: &str) {
        self.cold.insert(path.as_bytes().to_vec());
        if let Some(inode) = self.names.get(path.as_bytes()) {
            (self.inodes[*inode].unread, self.inodes[*inode].fetched_at) = (true, None);
        }
    }

    pub(super) fn is_cold(&self, path: RelPath<'_>) -> bool {
        self.cold.contains(path.as_bytes())
    }

    pub(super) fn is_unread(&self, file: &FileHandle) -> bool {
        inode_of(file).is_some_and(|inode| self.inodes[inode].unread)
    }

    /// Begins to fetch its bytes.
    pub(super) fn fetch(&mut self, file: &FileHandle, now_ms: u64) {
        if let Some(inode) = inode_of(file) {
            self.inodes[inode].fetched_at.get_or_insert(now_ms.saturating_add(self.disk_ms));
        }
    }

    /// They are at hand, perhaps because they have been fetched.
    pub(super) fn is_fetched(&mut self, file: &FileHandle, now_ms: u64) -> bool {
        let Some(inode) = inode_of(file).map(|inode| &mut self.inodes[inode]) else { return true };
        inode.unread &= inode.fetched_at.is_none_or(|at| at > now_ms);
        !inode.unread
    }

    /// How many handles are open, over all files.
    pub fn handles(&self) -> usize {
        self.inodes.iter().map(|inode| Arc::strong_count(&inode.open) - 1).sum()
    }

    fn find(&self, path: &[u8], links: Links) -> Result<usize, OpenError> {
        let mut path = path.to_vec();
        // As many as Linux follows (path_resolution(7)).
        for _ in 0..40 {
            let on_the_way = (1..=path.len()).filter(|at| *at == path.len() || path[*at] == b'/');
            let link = on_the_way.into_iter().find_map(|at| {
                let inode = self.names.get(&path[..at])?;
                match &self.inodes[*inode].kind {
                    Kind::Link(to) => Some((at, to.clone())),
                    Kind::File(_) | Kind::Folder | Kind::Other => None,
                }
            });
            let Some((at, mut to)) = link else {
                return self.names.get(&path).copied().ok_or(OpenError::NotFound);
            };
            to.extend_from_slice(&path[at..]);
            if links == Links::Refuse || RelPath::new(&to).is_none() {
                return Err(OpenError::NotFound);
            }
            path = to;
        }
        Err(OpenError::NotFound)
    }

    fn stat_of(&self, inode: usize) -> Stat {
        let node = &self.inodes[inode];
        let (kind, len) = match &node.kind {
            Kind::File(bytes) => (FileType::File, bytes.len() as u64),
            Kind::Folder => (FileType::Folder, 0),
            Kind::Other | Kind::Link(_) => (FileType::Other, 0),
        };
        let (modified_ns, changed_ns) = (node.modified_ns, node.changed_ns);
        Stat { kind, len, modified_ns, changed_ns, inode: inode as u64 }
    }

    pub(super) fn open(&mut self, path: RelPath<'_>, links: Links) -> Result<(FileHandle, Stat), OpenError> {
        let stat = self.stat(path, links)?;
        let inode = stat.inode as usize;
        let file = SimFile { inode, _open: self.inodes[inode].open.clone() };
        Ok((FileHandle(FileKind::Sim(file)), stat))
    }

    pub(super) fn stat(&mut self, path: RelPath<'_>, links: Links) -> Result<Stat, OpenError> {
        self.cold.remove(path.as_bytes());
        let inode = self.find(path.as_bytes(), links)?;
        match self.inodes[inode].open_error {
            Some(error) => Err(error),
            None => Ok(self.stat_of(inode)),
        }
    }

    pub(super) fn list(&self, folder: &FileHandle, limit: usize) -> io::Result<Vec<DirEntry>> {
        let inode = inode_of(folder).ok_or_else(|| io::Error::other("not a simulated folder"))?;
        let name = self.names.iter().find(|(_, i)| **i == inode).map(|(name, _)| name.clone());
        let Some(mut prefix) = name else { return Ok(Vec::new()) };
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let within = |(name, inode): (&Vec<u8>, &usize)| {
            let rest = name.strip_prefix(prefix.as_slice())?;
            let direct = !rest.is_empty() && !rest.contains(&b'/');
            let stat = self.stat_of(*inode);
            direct.then(|| DirEntry { name: rest.to_vec(), kind: stat.kind, stat: Some(stat) })
        };
        Ok(self.names.iter().filter_map(within).take(limit).collect())
    }

    /// What can be had of a file at an offset: `Ok(empty)` at its end.
    pub(super) fn content(&self, file: &FileHandle, at: u64) -> Result<&[u8], Fault> {
        let node = &self.inodes[inode_of(file).ok_or(Fault::Other)?];
        let Kind::File(bytes) = &node.kind else { return Err(Fault::Other) };
        let mut end = bytes.len();
        if let Some((from, fault)) = node.read_fault {
            if at >= from {
                return Err(fault);
            }
            end = end.min(from as usize);
        }
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(end);
        Ok(&bytes[from..end.min(from.saturating_add(node.piece))])
    }

    pub(super) fn read(&mut self, file: &FileHandle, at: u64, buf: &mut [u8]) -> Io {
        if let Some(inode) = inode_of(file) {
            self.inodes[inode].unread = false;
        }
        match self.content(file, at) {
            Ok([]) => Io::Eof,
            Ok(bytes) => {
                let n = bytes.len().min(buf.len());
                buf[..n].copy_from_slice(&bytes[..n]);
                Io::Done(n)
            }
            Err(fault) => Io::Fault(fault),
        }
    }
}

fn inode_of(file: &FileHandle) -> Option<usize> {
    match &file.0 {
        FileKind::Sim(file) => Some(file.inode),
        FileKind::Os(_) => None,
    }
}
