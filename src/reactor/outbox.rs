//! What is to be sent: the [`Cork`] collects one turn's output of one connection; an [`Outbox`] keeps what the kernel refused.
//!
//! 1. Bytes leave in the order in which they were put in, each once.
//! 2. [`Outbox::memory`] counts what a peer that does not read makes us hold; files are not memory.
//! 3. An empty outbox holds no buffer.

mod cork;

pub use cork::{Cork, Mark};

use super::buffer::{Buffer, BufferPool};
use super::fetch::Fetch;
use super::net::FileHandle;
use super::token::Millis;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Most pieces handed to the kernel in one call.
pub const MAX_SLICES: usize = 64;

/// A piece of output that is not copied.
#[derive(Clone, Debug)]
pub enum Part {
    /// Stored once for all who send it: a cached file, a message to a room.
    Shared(Arc<[u8]>, Range<usize>),
    /// Part of the program.
    Static(&'static [u8]),
    /// A file, read late.
    File(Arc<FileHandle>, Range<u64>),
}

impl Part {
    /// How many bytes it is. A range that ends before it begins has none.
    pub fn len(&self) -> u64 {
        match self {
            Part::Shared(_, range) => range.len() as u64,
            Part::Static(bytes) => bytes.len() as u64,
            Part::File(_, range) => range.end.saturating_sub(range.start),
        }
    }

    /// It has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes; none for a file.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Part::Shared(bytes, range) => Some(&bytes[range.clone()]),
            Part::Static(bytes) => Some(bytes),
            Part::File(..) => None,
        }
    }

    fn skip(&mut self, n: u64) {
        match self {
            Part::Shared(_, range) => range.start += n as usize,
            Part::Static(bytes) => *bytes = &bytes[n as usize..],
            Part::File(_, range) => range.start += n,
        }
    }
}

/// A file, and the range of it that remains.
pub type FilePart = (Arc<FileHandle>, Range<u64>);

#[derive(Debug)]
enum Segment {
    Bytes(Buffer),
    Part(Part),
}

impl Segment {
    /// Its bytes; none for a file.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Segment::Bytes(buffer) => Some(buffer.bytes()),
            Segment::Part(part) => part.bytes(),
        }
    }
}

/// What waits to be sent on one connection, oldest first, and how well the peer takes it.
#[derive(Debug, Default)]
pub struct Outbox {
    segments: VecDeque<Segment>,
    memory: usize,
    file_bytes: u64,
    /// How many segments at the front are to be sent as they are, where what follows must be sealed first.
    sealed: usize,
    /// When the peer last took a byte, or when there was first something to take.
    pub(super) progress_at: Millis,
    /// Since when the peer's rate is measured, and what it took since. It begins anew with each allotment that was taken, so that
    /// a peer that becomes slow is found one window later, however much it took before.
    pub(super) window: (Millis, u64),
    kernel: Kernel,
    /// Of the file at the front.
    pub(super) fetch: Fetch,
}

/// Whether what the kernel takes is a sign that the peer takes anything.
#[derive(Clone, Copy, Default, Debug)]
enum Kernel {
    /// It fills its own buffer.
    #[default]
    Filling,
    /// It has refused bytes, then. From its buffer the peer's is being filled now.
    Full(Millis),
    /// Both are full: whatever is taken was made room for.
    Settled,
}

/// How long after the first refusal the peer's kernel has been given what it buffers.
const SETTLING: Duration = Duration::from_secs(1);

impl Outbox {
    /// Begins to measure how the peer takes what waits from now on. `refused`: the kernel is known to be full.
    pub(super) fn begin_measure(&mut self, now: Millis, refused: bool) {
        self.excuse(now);
        self.kernel = if refused { Kernel::Full(now) } else { Kernel::Filling };
    }

    /// The peer, or the kernel for it, took so many bytes. `allotment`: what it must take in a window.
    pub(super) fn note_taken(&mut self, n: u64, allotment: u64, now: Millis) {
        self.progress_at = now;
        self.window.1 += n;
        if self.window.1 >= allotment {
            self.window = (now, 0);
        }
    }

    /// It had to wait for us: the measure begins anew.
    pub(super) fn excuse(&mut self, now: Millis) {
        (self.progress_at, self.window) = (now, (now, 0));
    }

    /// The kernel is full.
    pub(super) fn note_refused(&mut self, now: Millis) {
        if let Kernel::Filling = self.kernel {
            self.begin_measure(now, true);
        }
    }

    /// When the kernel is to be asked once, to fill what buffers there are before the peer is measured.
    pub(super) fn settles_at(&self) -> Millis {
        match self.kernel {
            Kernel::Full(since) => since.after(SETTLING),
            Kernel::Filling | Kernel::Settled => Millis::NEVER,
        }
    }

    /// It was asked: what was taken so far says nothing.
    pub(super) fn settle(&mut self, now: Millis) {
        if let Kernel::Full(since) = self.kernel
            && since.after(SETTLING) <= now
        {
            self.begin_measure(since, true);
            self.kernel = Kernel::Settled;
        }
    }

    /// Copies bytes to the end.
    pub fn push_bytes(&mut self, mut bytes: &[u8], pool: &mut BufferPool) {
        self.memory += bytes.len();
        if self.segments.len() > self.sealed
            && let Some(Segment::Bytes(buffer)) = self.segments.back_mut()
        {
            bytes = &bytes[buffer.append(bytes)..];
        }
        while !bytes.is_empty() {
            let mut buffer = pool.take(bytes.len());
            bytes = &bytes[buffer.append(bytes)..];
            self.segments.push_back(Segment::Bytes(buffer));
        }
    }

    /// Appends a piece. An empty one is dropped.
    ///
    /// # Panics
    /// If it is a range of shared bytes that are not there.
    pub fn push(&mut self, part: Part) {
        match part.len() {
            0 => return,
            len if part.bytes().is_some() => self.memory += len as usize,
            len => self.file_bytes += len,
        }
        self.segments.push_back(Segment::Part(part));
    }

    /// Gives back the room for pieces, if there were many: the next connection is not to be charged for it.
    pub(super) fn trim(&mut self) {
        self.segments.shrink_to(MAX_SLICES);
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes that wait in memory, ours or shared.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes of memory that are held for what waits: buffers, itself, and its part of what others send, too.
    pub fn held(&self) -> usize {
        let held = |segment: &Segment| match segment {
            Segment::Bytes(buffer) => buffer.capacity(),
            Segment::Part(Part::Shared(bytes, _)) => bytes.len() / Arc::strong_count(bytes).max(1),
            Segment::Part(Part::Static(_) | Part::File(..)) => 0,
        };
        let own = size_of::<Outbox>() + self.segments.capacity() * size_of::<Segment>();
        own + self.segments.iter().map(held).sum::<usize>()
    }

    /// A file waits.
    pub fn has_file(&self) -> bool {
        self.file_bytes > 0
    }

    /// Bytes that wait, files included.
    pub fn len(&self) -> u64 {
        self.memory as u64 + self.file_bytes
    }

    /// The pieces in memory up to the first file, or as many as fit; says whether more follows.
    pub fn gather<'a>(&'a self, out: &mut [IoSlice<'a>; MAX_SLICES]) -> (usize, bool) {
        // What is sealed already goes alone: what follows it is not fit to be sent yet.
        let end = if self.sealed > 0 { self.sealed } else { self.segments.len() };
        for (n, segment) in self.segments.iter().take(end).enumerate() {
            match segment.bytes() {
                Some(bytes) if n < MAX_SLICES => out[n] = IoSlice::new(bytes),
                _ => return (n, true),
            }
        }
        (end, end < self.segments.len())
    }

    /// The file at the front, if it is one, and the range of it that remains.
    pub fn front_file(&self) -> Option<FilePart> {
        match self.segments.front()? {
            Segment::Part(Part::File(file, range)) => Some((file.clone(), range.clone())),
            Segment::Part(Part::Shared(..) | Part::Static(_)) | Segment::Bytes(_) => None,
        }
    }

    /// Forgets the first `n` bytes: they were taken.
    pub fn advance(&mut self, mut n: u64, pool: &mut BufferPool) {
        debug_assert!(n <= self.len());
        while n > 0 {
            let Some(front) = self.segments.front_mut() else { return };
            let (len, in_memory) = match front {
                Segment::Bytes(buffer) => (buffer.len() as u64, true),
                Segment::Part(part) => (part.len(), part.bytes().is_some()),
            };
            let taken = n.min(len);
            match in_memory {
                true => self.memory -= taken as usize,
                false => self.file_bytes -= taken,
            }
            n -= taken;
            if taken == len {
                self.sealed = self.sealed.saturating_sub(1);
                match self.segments.pop_front() {
                    Some(Segment::Bytes(buffer)) => pool.give(buffer),
                    Some(Segment::Part(_)) | None => self.fetch = Fetch::default(),
                }
            } else {
                match front {
                    Segment::Bytes(buffer) => buffer.consume(taken as usize),
                    Segment::Part(part) => part.skip(taken),
                }
            }
        }
    }

    /// Throws everything away and gives the buffers back.
    pub fn clear(&mut self, pool: &mut BufferPool) {
        for segment in self.segments.drain(..) {
            if let Segment::Bytes(buffer) = segment {
                pool.give(buffer);
            }
        }
        (self.memory, self.file_bytes, self.sealed, self.fetch) = (0, 0, 0, Fetch::default());
    }
}

/// For a port that speaks TLS: plaintext waits here and is sealed late, a chunk at a time, in front.
impl Outbox {
    /// Something is to be sent as it is.
    pub(super) fn has_sealed(&self) -> bool {
        self.sealed > 0
    }

    /// Something waits that is not sealed.
    pub(super) fn has_plain(&self) -> bool {
        self.segments.len() > self.sealed
    }

    /// All that waits now is to be sent as it is.
    pub(super) fn seal_as_it_is(&mut self) {
        self.sealed = self.segments.len();
    }

    /// Puts ciphertext behind that which is there, before all plaintext.
    pub(super) fn push_sealed(&mut self, buffer: Buffer) {
        self.memory += buffer.len();
        self.segments.insert(self.sealed, Segment::Bytes(buffer));
        self.sealed += 1;
    }

    /// Throws away what is not sealed.
    pub(super) fn drop_plain(&mut self, pool: &mut BufferPool) {
        self.fetch = Fetch::default();
        for segment in self.segments.drain(self.sealed..) {
            match segment {
                Segment::Bytes(buffer) => {
                    self.memory -= buffer.len();
                    pool.give(buffer);
                }
                Segment::Part(part) => match part.bytes() {
                    Some(bytes) => self.memory -= bytes.len(),
                    None => self.file_bytes -= part.len(),
                },
            }
        }
    }

    /// What comes next, where nothing is sealed: the bytes at the front, if they are in one piece and enough to be sealed by
    /// themselves.
    pub(super) fn front_bytes(&self, enough: usize) -> Option<&[u8]> {
        let bytes = self.segments.front()?.bytes()?;
        (self.segments.len() == 1 || bytes.len() >= enough).then(|| &bytes[..bytes.len().min(enough)])
    }

    /// Copies from the front, up to a file or the end of `out`; says how much, and the file, if there is room for some of it.
    pub(super) fn copy_front(&self, out: &mut [u8]) -> (usize, Option<FilePart>) {
        let mut n = 0;
        for segment in &self.segments {
            if n == out.len() {
                break;
            }
            match (segment, segment.bytes()) {
                (_, Some(bytes)) => {
                    let len = bytes.len().min(out.len() - n);
                    out[n..n + len].copy_from_slice(&bytes[..len]);
                    n += len;
                }
                (Segment::Part(Part::File(file, range)), None) => {
                    return (n, Some((file.clone(), range.clone())));
                }
                (Segment::Part(Part::Shared(..) | Part::Static(_)) | Segment::Bytes(_), None) => break,
            }
        }
        (n, None)
    }
}

#[cfg(test)]
mod tests {
    use super::cork::LENT;
    use super::*;

    fn memory_of(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (n, _) = outbox.gather(&mut slices);
        slices[..n].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_cork_spilled_after_any_number_of_bytes_leaves_exactly_the_rest() {
        let shared: Arc<[u8]> = Arc::from(&b"..shared.."[..]);
        let whole = b"onesharedtwostaticthree";
        for sent in 0..=whole.len() {
            let (mut cork, mut outbox, mut pool) =
                (Cork::default(), Outbox::default(), BufferPool::default());
            cork.bytes_mut().extend_from_slice(b"one");
            cork.push(Part::Shared(shared.clone(), 2..8));
            cork.bytes_mut().extend_from_slice(b"two");
            cork.push(Part::Static(b"static"));
            cork.push(Part::Static(b""));
            cork.bytes_mut().extend_from_slice(b"three");
            assert_eq!(cork.memory(), whole.len());
            cork.spill(sent, &[], &mut outbox, &mut pool);
            assert!(cork.is_empty() && cork.memory() == 0);
            assert_eq!(
                (memory_of(&outbox).as_slice(), outbox.memory()),
                (&whole[sent..], whole.len() - sent)
            );
            outbox.clear(&mut pool);
            assert_eq!(pool.lent(), 0);
        }
    }

    #[test]
    fn what_goes_back_as_it_came_leaves_from_where_it_lies_with_its_head_before_all_else() {
        let mut shown: Vec<u8> = (0..3 * LENT).map(|n| n as u8).collect();
        let mut whole = b"head".to_vec();
        whole.extend_from_slice(&shown[8..8 + LENT]);
        whole.extend_from_slice(b"andmoreshared");
        for sent in (0..20).chain(LENT - 1..=whole.len()) {
            let (mut cork, mut outbox, mut pool) =
                (Cork::default(), Outbox::default(), BufferPool::default());
            cork.shows(&shown);
            cork.send_back(b"head", &shown[8..8 + LENT]);
            assert_eq!((cork.memory(), cork.bytes_mut().len()), (4 + LENT, 0));
            cork.has_shown(&mut shown);
            assert_eq!(cork.plain(&shown), Some(&whole[..4 + LENT]));
            cork.bytes_mut().extend_from_slice(b"and");
            cork.send_back(b"more", b"shared");
            assert_eq!((cork.plain(&shown), cork.memory()), (None, whole.len()));
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let (n, more) = cork.gather(&shown, &mut slices);
            let gathered: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(gathered == whole && !more);
            cork.spill(sent, &shown, &mut outbox, &mut pool);
            assert!(cork.is_empty() && cork.memory() == 0);
            assert!(memory_of(&outbox) == whole[sent..]);
            outbox.clear(&mut pool);
        }
    }

    #[test]
    fn what_was_lent_is_taken_back_to_the_mark_and_no_head_is_written() {
        let (mut shown, before) = (vec![7; 2 * LENT], vec![7; 2 * LENT]);
        let mut cork = Cork::default();
        cork.shows(&shown);
        let mark = cork.mark();
        cork.send_back(b"head", &shown[8..8 + LENT]);
        cork.rewind(mark);
        cork.has_shown(&mut shown);
        assert!(cork.is_empty() && shown == before);
    }

    #[test]
    fn what_was_lent_before_the_mark_leaves_as_it_was_to_with_its_head() {
        let mut shown = vec![7; 2 * LENT];
        let mut cork = Cork::default();
        cork.shows(&shown);
        cork.send_back(b"head", &shown[8..8 + LENT]);
        let mark = cork.mark();
        cork.send_back(b"head", &shown[8..8 + LENT]);
        cork.push(Part::Static(b"more"));
        cork.rewind(mark);
        cork.has_shown(&mut shown);
        assert_eq!(cork.memory(), 4 + LENT);
        assert_eq!(cork.plain(&shown), Some(&[b"head".as_slice(), &[7; LENT]].concat()[..]));
    }

    #[test]
    fn what_is_not_shown_or_short_or_comes_second_is_copied() {
        let (mut shown, other) = (vec![7; 4 * LENT], vec![7; 4 * LENT]);
        for bytes in [&other[8..8 + LENT], &shown[8..7 + LENT], &shown[3..3 + LENT]] {
            let mut cork = Cork::default();
            cork.shows(&shown);
            cork.send_back(b"head", bytes);
            assert_eq!((cork.bytes_mut().len(), cork.memory()), (4 + bytes.len(), 4 + bytes.len()));
        }
        let mut cork = Cork::default();
        cork.shows(&shown[..2 * LENT]);
        cork.send_back(b"head", &shown[LENT + 1..2 * LENT + 1]);
        cork.send_back(b"head", &shown[LENT..2 * LENT]);
        assert_eq!(
            cork.bytes_mut().len(),
            2 * (4 + LENT),
            "the first lay partly outside, the second came second"
        );
        cork.has_shown(&mut shown);
        assert!(shown == other, "no head was written anywhere");
    }

    #[test]
    fn advancing_by_any_steps_gives_every_byte_once_and_every_buffer_back() {
        let whole: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        for step in [1000, 65_535, 65_536, 65_537, 200_000] {
            let (mut outbox, mut pool) = (Outbox::default(), BufferPool::default());
            for chunk in whole.chunks(7777) {
                outbox.push_bytes(chunk, &mut pool);
            }
            let mut seen = Vec::new();
            while !outbox.is_empty() {
                let bytes = memory_of(&outbox);
                let n = bytes.len().min(step);
                seen.extend_from_slice(&bytes[..n]);
                outbox.advance(n as u64, &mut pool);
            }
            assert_eq!(seen, whole);
            assert_eq!((outbox.len(), pool.lent()), (0, 0));
        }
    }
}
