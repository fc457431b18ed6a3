//! Looking at the disk ahead of a worker, so that nobody else waits for it.
//!
//! A worker that finds that a request would have to wait for the disk ([`Host::try_open`] and the like) gives an [`Errand`] to whoever
//! looks ahead. That does all that the answer may take, waiting as long as it lasts, and throws away what it found: it is at hand now, in
//! the caches of the operating system. Then the request is asked again, and that time it waits for what is gone again.
//!
//! [`Host::try_open`]: crate::reactor::Host::try_open

use super::super::late::Ticket;
use super::FilesOptions;
use super::load::{Found, Now, Shelf};
use super::representation::{Coding, Content, Representation};
use crate::reactor::{FileHandle, Host, Io, OpenError, Root};
use std::fmt;

/// Of a file that is not kept in memory so many bytes are read: the system reads on from there by itself.
const BEGINNING: usize = 256 << 10;

/// What one request is going to ask of the disk.
pub struct Errand {
    options: FilesOptions,
    root: Option<Root>,
    path: Vec<u8>,
    ticket: Ticket,
}

impl Errand {
    /// `root`: the folder, if it is open.
    pub(super) fn new(options: &FilesOptions, root: Option<Root>, path: &[u8], ticket: Ticket) -> Errand {
        Errand { options: options.clone(), root, path: path.to_vec(), ticket }
    }

    /// Waits for all of it, then has the request asked again.
    pub fn run(self, host: &mut dyn Host) {
        let Errand { options, root, path, ticket } = self;
        let mut now = Now::patient(host);
        let mut shelf = Shelf::below(root, &options);
        let mut found = shelf.find(&options, &path, &mut now);
        if let Ok(Found::Folder(folder)) = &found
            && options.listing
        {
            let _ = shelf.listing(&options, folder, (&path, &path), false, &mut now);
        } else if let (Ok(Found::Folder(_)) | Err(OpenError::NotFound), Some(fallback)) =
            (&found, &options.fallback)
        {
            found = shelf.find(&options, fallback.as_bytes(), &mut now);
        }
        if let Ok(Found::File(file)) = found {
            read_beginning(&file, &mut now);
            let codings = [Coding::Brotli, Coding::Zstd, Coding::Gzip];
            for coding in codings.into_iter().filter(|_| file.kind.compressible) {
                shelf.sibling(&options, &file, coding, &mut now).inspect(|it| read_beginning(it, &mut now));
            }
        }
        ticket.again();
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

fn read_beginning(file: &Representation, now: &mut Now<'_>) {
    let Content::Open(handle) = &file.content else { return };
    let handle: &FileHandle = handle;
    let (mut scratch, mut at) = (vec![0; 64 << 10], 0);
    while at < BEGINNING {
        match now.read_file(handle, at as u64, &mut scratch) {
            Io::Done(n) => at += n,
            Io::Eof | Io::WouldBlock | Io::Fault(_) => return,
        }
    }
}

/// Whoever runs errands.
pub trait LookAhead: Send + Sync + fmt::Debug {
    /// Takes one, to [`run`](Errand::run) it soon in another thread. False if there are too many: the client is asked to come again (503).
    fn look(&self, errand: Errand) -> bool;

    /// Called about once a second, whether there are errands or not.
    fn idle(&self) {}
}
