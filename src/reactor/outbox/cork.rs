//! What one turn of one connection wants to send, before it is known what the kernel takes.

use super::super::buffer::{BufferPool, LARGEST};
use super::{MAX_SLICES, Outbox, Part};
use std::io::IoSlice;
use std::ops::Range;

/// From this length on, what goes back as it came is not copied.
pub(super) const LENT: usize = 4096;
/// Up to this length a piece that must wait is copied: each that is not needs a place of its own, and a buffer for what follows it.
const COPIED: usize = 1024;
/// The longest head of what goes back as it came.
const HEAD: usize = 16;

/// One turn's output of the connection that is being run: there is one cork per reactor.
#[derive(Debug, Default)]
pub struct Cork {
    /// Where in memory what is being shown lies, and how long it is: told from anything else by its address.
    shown: (usize, usize),
    /// The part of it that goes back as it came, before all else; empty if there is none.
    lent: Range<usize>,
    /// What is to be written over the beginning of `lent`.
    head: ([u8; HEAD], usize),
    bytes: Vec<u8>,
    /// Each part comes behind the bytes up to its offset.
    parts: Vec<(usize, Part)>,
    part_memory: usize,
    files: usize,
}

/// A point of a cork to go back to: [`Cork::mark`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    parts: usize,
    lent: bool,
}

impl Cork {
    /// Bytes to be copied.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a piece. An empty one is dropped.
    ///
    /// # Panics
    /// If it is a range of shared bytes that are not there.
    pub fn push(&mut self, part: Part) {
        match part.len() {
            0 => return,
            len if part.bytes().is_some() => self.part_memory += len as usize,
            _ => self.files += 1,
        }
        self.parts.push((self.bytes.len(), part));
    }

    /// Appends `head`, which is short, and `bytes`. If they are part of what is being shown, and nothing else is in the cork, they
    /// are not copied but leave from where they lie, and the head is written over what stands before them: both must have been read
    /// for the last time, and be taken from the input before the call ends.
    pub fn send_back(&mut self, head: &[u8], bytes: &[u8]) {
        let at = (bytes.as_ptr() as usize).wrapping_sub(self.shown.0);
        let within = at < self.shown.1 && bytes.len() <= self.shown.1 - at;
        if bytes.len() < LENT || !within || head.len() > HEAD.min(at) || !self.is_empty() {
            self.bytes.extend_from_slice(head);
            return self.bytes.extend_from_slice(bytes);
        }
        self.lent = at - head.len()..at + bytes.len();
        self.head.0[..head.len()].copy_from_slice(head);
        self.head.1 = head.len();
    }

    /// These bytes are about to be shown to the session.
    pub(in super::super) fn shows(&mut self, bytes: &[u8]) {
        self.shown = (bytes.as_ptr() as usize, bytes.len());
    }

    /// The session has seen them: what leaves from there gets its head.
    #[inline(always)]
    pub(in super::super) fn has_shown(&mut self, buffer: &mut [u8]) {
        self.shown = (0, 0);
        if !self.lent.is_empty() {
            let (head, len) = self.head;
            buffer[self.lent.clone()][..len].copy_from_slice(&head[..len]);
        }
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.parts.is_empty() && self.lent.is_empty()
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.lent.len() + self.bytes.len() + self.part_memory
    }

    /// A file is in it.
    pub fn has_file(&self) -> bool {
        self.files > 0
    }

    /// All of it, if it is plain bytes in one place: the common case. `shown` is the buffer that was shown.
    #[inline(always)]
    pub fn plain<'a>(&'a self, shown: &'a [u8]) -> Option<&'a [u8]> {
        match (self.parts.is_empty(), self.lent.is_empty()) {
            (true, true) => Some(&self.bytes),
            (true, false) if self.bytes.is_empty() => shown.get(self.lent.clone()),
            (true | false, true | false) => None,
        }
    }

    /// Runs of bytes, each with the part behind it.
    #[cfg(test)]
    pub(crate) fn pieces(&self) -> Vec<(&[u8], Option<&Part>)> {
        let (mut from, mut out) = (0, Vec::new());
        for (at, part) in &self.parts {
            out.push((&self.bytes[from..*at], Some(part)));
            from = *at;
        }
        out.push((&self.bytes[from..], None));
        out
    }

    /// The pieces up to the first file, or as many as fit; says whether more follows. `shown` is the buffer that was shown.
    pub fn gather<'a>(&'a self, shown: &'a [u8], out: &mut [IoSlice<'a>; MAX_SLICES]) -> (usize, bool) {
        let (mut n, mut from) = (0, 0);
        if !self.lent.is_empty() {
            out[0] = IoSlice::new(&shown[self.lent.clone()]);
            n = 1;
        }
        for (at, part) in &self.parts {
            if *at > from {
                out[n] = IoSlice::new(&self.bytes[from..*at]);
                (n, from) = (n + 1, *at);
            }
            match part.bytes() {
                Some(bytes) if n < MAX_SLICES => out[n] = IoSlice::new(bytes),
                _ => return (n, true),
            }
            n += 1;
            if n + 1 >= MAX_SLICES {
                return (n, true);
            }
        }
        if from < self.bytes.len() {
            out[n] = IoSlice::new(&self.bytes[from..]);
            n += 1;
        }
        (n, false)
    }

    /// Moves what is behind the first `sent` bytes to an outbox, and empties the cork. `shown` is the buffer that was shown.
    pub fn spill(&mut self, mut sent: usize, shown: &[u8], outbox: &mut Outbox, pool: &mut BufferPool) {
        let lent = &shown[self.lent.clone()];
        let skip = sent.min(lent.len());
        outbox.push_bytes(&lent[skip..], pool);
        sent -= skip;
        let mut from = 0;
        for (at, mut part) in self.parts.drain(..) {
            let run = &self.bytes[from..at];
            let skip = sent.min(run.len());
            outbox.push_bytes(&run[skip..], pool);
            (sent, from) = (sent - skip, at);
            let skip = (sent as u64).min(part.len());
            part.skip(skip);
            sent -= skip as usize;
            match part.bytes() {
                Some(bytes) if bytes.len() <= COPIED => outbox.push_bytes(bytes, pool),
                Some(_) | None => outbox.push(part),
            }
        }
        let run = &self.bytes[from..];
        outbox.push_bytes(&run[sent.min(run.len())..], pool);
        self.clear();
    }

    /// A point to go back to with [`rewind`](Self::rewind).
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), parts: self.parts.len(), lent: !self.lent.is_empty() }
    }

    /// Throws away what was put in since the mark.
    pub fn rewind(&mut self, Mark { bytes, parts, lent }: Mark) {
        // Something is lent at most once, before all else: if it was there at the mark, it is older.
        if !lent {
            self.lent = 0..0;
        }
        self.bytes.truncate(bytes);
        for (_, part) in self.parts.drain(parts..) {
            match part.bytes() {
                Some(bytes) => self.part_memory -= bytes.len(),
                None => self.files -= 1,
            }
        }
    }

    /// Throws everything away. A cork that grew large gives its memory back.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > 4 * LARGEST {
            self.bytes.shrink_to(4 * LARGEST);
        }
        self.parts.clear();
        self.lent = 0..0;
        (self.part_memory, self.files) = (0, 0);
    }
}
