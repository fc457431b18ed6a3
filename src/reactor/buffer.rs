//! Buffers of four sizes, lent to connections that hold something and taken back at once.
//!
//! 1. An idle connection holds none.
//! 2. A buffer is given back to the pool it came from, so [`BufferPool::held`] is what connections hold right now.
//! 3. The pool keeps a bounded number of free buffers; the rest goes back to the allocator.

use std::fmt;

/// The sizes, in bytes.
pub const CLASSES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// The largest buffer.
pub const LARGEST: usize = CLASSES[CLASSES.len() - 1];

/// Free bytes kept per class.
const KEPT_PER_CLASS: usize = 256 << 10;

/// A pooled buffer: bytes `start..end` of it are in use.
pub struct Buffer {
    data: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Buffer {
    /// The bytes in use.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start as usize..self.end as usize]
    }

    /// The bytes in use, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start as usize..self.end as usize]
    }

    /// The room behind them.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.end as usize..]
    }

    /// Says that the first `n` bytes of the room are now in use.
    pub fn filled(&mut self, n: usize) {
        debug_assert!(self.end as usize + n <= self.data.len());
        self.end = (self.end + n as u32).min(self.data.len() as u32);
    }

    /// Forgets the first `n` bytes in use.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start = (self.start + n as u32).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves what is in use to the front, so that all the room is behind it.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.data.copy_within(self.start as usize..self.end as usize, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Copies as much of `bytes` as there is room for; says how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let spare = self.spare_mut();
        let n = spare.len().min(bytes.len());
        spare[..n].copy_from_slice(&bytes[..n]);
        self.filled(n);
        n
    }

    /// How many bytes are in use.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// No byte is in use.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes it could hold.
    pub fn capacity(&self) -> usize {
        self.data.len()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {})", self.len(), self.capacity())
    }
}

/// Lends [`Buffer`]s of the four [`CLASSES`].
#[derive(Debug, Default)]
pub struct BufferPool {
    free: [Vec<Box<[u8]>>; CLASSES.len()],
    held: usize,
    lent: usize,
}

impl BufferPool {
    /// The smallest buffer with room for `len` bytes, or the largest there is.
    pub fn take(&mut self, len: usize) -> Buffer {
        let class = CLASSES.iter().position(|size| *size >= len).unwrap_or(CLASSES.len() - 1);
        let data = self.free[class].pop().unwrap_or_else(|| vec![0; CLASSES[class]].into_boxed_slice());
        self.held += data.len();
        self.lent += 1;
        Buffer { data, start: 0, end: 0 }
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Buffer) {
        let size = buffer.data.len();
        self.held -= size;
        self.lent -= 1;
        if let Some(class) = CLASSES.iter().position(|c| *c == size)
            && (self.free[class].len() + 1) * size <= KEPT_PER_CLASS
        {
            self.free[class].push(buffer.data);
        }
    }

    /// A buffer of the next class with the same bytes in use; `None`, and the old one back, if there is no larger class.
    pub fn grow(&mut self, buffer: Buffer) -> Result<Buffer, Buffer> {
        if buffer.capacity() >= LARGEST {
            return Err(buffer);
        }
        let mut larger = self.take(buffer.capacity() + 1);
        larger.append(buffer.bytes());
        self.give(buffer);
        Ok(larger)
    }

    /// The buffer, or a far smaller one with the same bytes and room for `least`, if that would do: what is left of much must not hold
    /// much. One that is not far smaller is not worth the copy, nor the next one back.
    pub fn fit(&mut self, buffer: Buffer, least: usize) -> Buffer {
        if buffer.len().max(least) > buffer.capacity() / 16 {
            return buffer;
        }
        let mut smaller = self.take(buffer.len().max(least));
        smaller.append(buffer.bytes());
        self.give(buffer);
        smaller
    }

    /// Bytes of all buffers that are out.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many buffers are out.
    pub fn lent(&self) -> usize {
        self.lent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_class_that_fits_is_lent() {
        let mut pool = BufferPool::default();
        for (want, got) in [(0, 1024), (1024, 1024), (1025, 4096), (16385, 65536), (1 << 20, 65536)] {
            let buffer = pool.take(want);
            assert_eq!(buffer.capacity(), got);
            pool.give(buffer);
        }
        assert_eq!((pool.held(), pool.lent()), (0, 0));
    }

    #[test]
    fn growing_keeps_the_bytes_and_the_books() {
        let mut pool = BufferPool::default();
        let mut buffer = pool.take(1);
        buffer.append(b"xxhello");
        buffer.consume(2);
        let mut buffer = pool.grow(buffer).unwrap();
        assert_eq!((buffer.bytes(), buffer.capacity(), pool.held()), (&b"hello"[..], 4096, 4096));
        buffer.consume(5);
        assert!(buffer.is_empty());
        pool.give(buffer);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn free_buffers_are_kept_within_a_bound() {
        let mut pool = BufferPool::default();
        let all: Vec<_> = (0..100).map(|_| pool.take(LARGEST)).collect();
        for buffer in all {
            pool.give(buffer);
        }
        assert_eq!(pool.free[3].len(), KEPT_PER_CLASS / LARGEST);
    }
}
