//! The codecs of permessage-deflate (RFC 7692, 7.2): a message to its DEFLATE payload and back.
//!
//! Without context takeover a codec is reset at each message, so that one inflater and one deflater per window size
//! serve every connection of a worker ([`Compressors`], [`Desk`](super::Desk)). With takeover a connection owns its
//! codecs: some 40 KiB to inflate and up to 260 KiB to deflate, which is why it is off unless asked for.
//!
//! A bomb (1 MiB that inflates to 1 GiB) stops at the message limit or the ratio limit, whichever is first; never
//! more than the limit plus one byte is reserved for the output.

use super::{Limits, Violation};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What a sender leaves off at the end of a message (7.2.1) and the receiver appends (7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty last block: the inflater ends here only if the data before it ended at a block's edge.
const LAST: [u8; 5] = [1, 0, 0, 0xff, 0xff];
/// Final blocks (7.2.3.4) taken in one message: each costs a reset, so a message made of them would be cheap to send
/// and dear to read.
const MAX_FINAL_BLOCKS: usize = 64;
/// The first reservation for inflated output, in bytes, and the floor below which no ratio is checked.
const FIRST: usize = 4096;
/// Output below this many bytes is never refused for its ratio.
const RATIO_FLOOR: usize = 64 * 1024;

/// Inflates messages.
pub struct Inflater {
    inner: Decompress,
    takeover: bool,
}

enum Fed<'a> {
    /// All was read, and the stream goes on.
    All,
    /// A block with BFINAL ended the stream; this much of the input follows it.
    Ended(&'a [u8]),
}

impl Inflater {
    /// Bytes that one holds, about: its window, and its tables.
    pub const HELD: usize = 42 << 10;

    /// An inflater for messages made with a window of up to `2^bits` bytes; `bits` is brought into 9..=15 (a window
    /// of 8 bits is read with 9). With `takeover`, each message may refer to those before it.
    #[must_use]
    pub fn new(bits: u8, takeover: bool) -> Self {
        Self { inner: Decompress::new_with_window_bits(false, bits.clamp(9, 15)), takeover }
    }

    /// Replaces what is in `out` by the message whose compressed payload is `input` (all fragments, no tail). An empty
    /// payload is an empty message. After an error the connection must fail; a shared inflater stays usable.
    ///
    /// # Errors
    /// [`Violation::Deflate`] for broken or (without takeover) truncated data, [`Violation::MessageTooBig`] above
    /// `limits.message`, [`Violation::RatioTooBig`] above `limits.ratio`.
    pub fn inflate(&mut self, input: &[u8], out: &mut Vec<u8>, limits: &Limits) -> Result<(), Violation> {
        out.clear();
        if input.is_empty() {
            return Ok(());
        }
        if !self.takeover {
            self.inner.reset(false);
        }
        let most = Most::new(input.len(), limits);
        let mut rest = input;
        let mut finals = 0;
        while let Fed::Ended(left) = self.feed(rest, out, &most)? {
            self.inner.reset(false);
            finals += 1;
            if left.is_empty() {
                return Ok(());
            }
            if finals > MAX_FINAL_BLOCKS {
                return Err(Violation::Deflate);
            }
            rest = left;
        }
        if let Fed::Ended(_) = self.feed(&TAIL, out, &most)? {
            return Err(Violation::Deflate);
        }
        if self.takeover {
            return Ok(());
        }
        match self.feed(&LAST, out, &most)? {
            Fed::Ended([]) => Ok(()),
            Fed::Ended(_) | Fed::All => Err(Violation::Deflate),
        }
    }

    fn feed<'a>(
        &mut self,
        mut input: &'a [u8],
        out: &mut Vec<u8>,
        most: &Most,
    ) -> Result<Fed<'a>, Violation> {
        loop {
            most.grow(out);
            let (read, written) = (self.inner.total_in(), out.len());
            let status = self
                .inner
                .decompress_vec(input, out, FlushDecompress::Sync)
                .map_err(|_| Violation::Deflate)?;
            most.check(out.len())?;
            let used = (self.inner.total_in() - read) as usize;
            input = input.get(used..).unwrap_or_default();
            let has_room = out.len() < out.capacity();
            match status {
                Status::StreamEnd => return Ok(Fed::Ended(input)),
                Status::Ok | Status::BufError if input.is_empty() && has_room => return Ok(Fed::All),
                Status::Ok | Status::BufError if used == 0 && out.len() == written && has_room => {
                    return Err(Violation::Deflate);
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

/// How much one message may inflate to.
struct Most {
    received: usize,
    message: usize,
    by_ratio: usize,
}

impl Most {
    fn new(received: usize, limits: &Limits) -> Self {
        let by_ratio = received.saturating_mul(limits.ratio as usize).max(RATIO_FLOOR);
        Self { received, message: limits.message, by_ratio }
    }

    fn check(&self, len: usize) -> Result<(), Violation> {
        if len > self.message {
            Err(Violation::MessageTooBig)
        } else if len > self.by_ratio {
            Err(Violation::RatioTooBig)
        } else {
            Ok(())
        }
    }

    /// Makes room if there is none: at first for twice the input, then twice what is there, one byte over the limit
    /// at most.
    fn grow(&self, out: &mut Vec<u8>) {
        if out.len() == out.capacity() {
            let limit = self.message.min(self.by_ratio).saturating_add(1);
            let wanted = out.len().max(self.received).saturating_mul(2).max(FIRST).min(limit);
            out.reserve_exact(wanted.saturating_sub(out.len()).max(1));
        }
    }
}

/// Deflates messages.
pub struct Deflater {
    inner: Compress,
    takeover: bool,
    bits: u8,
}

impl Deflater {
    /// Bytes that it holds, about: its window twice, and two tables of 64 KiB.
    #[must_use]
    pub fn held(&self) -> usize {
        (2 << self.bits) + (2 << self.bits.max(15)) + (128 << 10)
    }

    /// A deflater of `level` (0 to 9; more is taken as 9) with a window of `2^bits` bytes. `None` unless `bits` is in
    /// 9..=15: zlib makes no raw stream with 8.
    #[must_use]
    pub fn new(level: u32, bits: u8, takeover: bool) -> Option<Self> {
        let level = Compression::new(level.min(9));
        (9..=15).contains(&bits).then(|| Self {
            inner: Compress::new_with_window_bits(level, false, bits),
            takeover,
            bits,
        })
    }

    /// Appends the compressed payload of `message` to `out`, without the tail (7.2.1). Never empty.
    ///
    /// With takeover a payload that was made must be sent: the peer's window follows it.
    ///
    /// # Errors
    /// [`Broken`] if the codec fails, which no input makes it do; `out` is as it was.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        if message.is_empty() {
            out.push(0);
            return Ok(());
        }
        if !self.takeover {
            self.inner.reset();
        }
        let start = out.len();
        let result = self.run(message, out);
        if result.is_ok() && out[start..].ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
            return Ok(());
        }
        out.truncate(start);
        self.inner.reset();
        Err(Broken)
    }

    fn run(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        out.reserve(input.len() / 2 + 64);
        loop {
            if out.len() == out.capacity() {
                out.reserve(input.len() / 2 + 256);
            }
            let (read, written) = (self.inner.total_in(), out.len());
            self.inner.compress_vec(input, out, FlushCompress::Sync).map_err(|_| Broken)?;
            let used = (self.inner.total_in() - read) as usize;
            input = input.get(used..).ok_or(Broken)?;
            let has_room = out.len() < out.capacity();
            if input.is_empty() && has_room {
                return Ok(());
            }
            if has_room && used == 0 && out.len() == written {
                return Err(Broken);
            }
        }
    }
}

/// The compressor failed. The message can still be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Longest message that is stored (RFC 7692, 7.2.3.3), where it could be no shorter by much: to reset a deflater for it is a hundred
/// times the work of all else.
const STORED: usize = 64;
/// What a message costs beside its bytes, in bytes that could be deflated meanwhile: a reset clears tables of 128 KiB.
const PER_MESSAGE: usize = 512;

/// A worker's deflaters, one for each window size that was asked for, made when first needed.
pub struct Compressors {
    level: u32,
    threshold: usize,
    /// See [`Compressors::deflated`].
    deflated: usize,
    by_bits: [Option<Box<Deflater>>; 7],
}

impl Compressors {
    /// Compressors of `level` (0 to 9). Messages below `threshold` bytes are left as they are: the reset alone costs
    /// more than they could save. 0: every message is compressed, also one that does not shrink (by at most five
    /// bytes in 16 KiB, and six more), for peers that cannot take one that is not.
    #[must_use]
    pub fn new(level: u32, threshold: usize) -> Self {
        Self { level, threshold, deflated: 0, by_bits: [const { None }; 7] }
    }

    /// Bytes of all messages that a deflater was run for so far, each counted as 512 more than it has; beyond `usize::MAX` it begins at 0 again.
    #[inline]
    #[must_use]
    pub fn deflated(&self) -> usize {
        self.deflated
    }

    /// Appends the compressed payload of `message` to `out` and returns true (the frame has RSV1), or leaves `out` as
    /// it was and returns false: the message is to be sent as it is. False for short messages and for those that do not
    /// shrink, unless the threshold is 0, and for a window of 8 bits, which zlib cannot make.
    ///
    /// `bits` and `takeover` are [`Agreed::sending`](super::Agreed::sending); `own` is the connection's deflater,
    /// made here when it is first needed and only with takeover.
    pub fn deflate(
        &mut self,
        (bits, takeover): (u8, bool),
        own: &mut Option<Box<Deflater>>,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        if message.len() < self.threshold || !(9..=15).contains(&bits) {
            return false;
        }
        if !takeover && self.threshold == 0 && (1..=STORED).contains(&message.len()) {
            store(message, out);
            return true;
        }
        let level = self.level;
        let slot = if takeover { own } else { &mut self.by_bits[usize::from(bits - 9)] };
        if slot.is_none() {
            *slot = Deflater::new(level, bits, takeover).map(Box::new);
        }
        let Some(deflater) = slot else { return false };
        self.deflated = self.deflated.wrapping_add(PER_MESSAGE + message.len());
        let start = out.len();
        if deflater.deflate(message, out).is_err() {
            return false;
        }
        if !takeover && self.threshold > 0 && out.len() - start >= message.len() {
            out.truncate(start);
            return false;
        }
        true
    }
}

/// Appends a block that holds the message as it is, and the first byte of the empty one at its end; at most [`STORED`] bytes.
fn store(message: &[u8], out: &mut Vec<u8>) {
    let len = message.len() as u8;
    out.extend_from_slice(&[0, len, 0, !len, 0xff]);
    out.extend_from_slice(message);
    out.push(0);
}

#[cfg(test)]
mod tests;
