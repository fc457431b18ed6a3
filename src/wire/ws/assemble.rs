//! Frames to messages (RFC 6455, 5.4 to 5.6), over any split of the input.
//!
//! The usual message, one frame that lies whole in the input, is unmasked where it lies and lent out: no copy, no
//! allocation. Only a message in pieces owns a buffer, taken from the worker's [`Desk`] and given back when the
//! message is done. A finished or inflated message is lent from the desk, never from the connection.
//!
//! Invariants:
//! 1. Between messages an [`Assembler`] owns nothing but, with context takeover, its inflater.
//! 2. Bytes not reported as consumed are untouched: at most a header (13 bytes) or an unfinished control frame (130).
//! 3. A buffer grows with what was received, at most doubling, never by an announced length.
//! 4. Text is checked as it comes: a byte that makes the message hopeless is a violation at once, in the middle of a
//!    frame too (Autobahn 6.4). Compressed text is checked when it was inflated.
//! 5. After a close frame or a violation everything is swallowed: what has failed stays failed.

use super::extension::Agreed;
use super::frame::{self, Header, Opcode};
use super::{Code, Inflater, Role, Violation, close, mask};
use std::ops::Range;

/// What a peer may send. Exceeding one is answered with 1009.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest payload of one frame, in bytes as on the wire.
    pub frame: u64,
    /// Longest message, in bytes, both as on the wire and inflated.
    pub message: usize,
    /// A compressed message may inflate to this many times its size, or to 64 KiB if that is more. DEFLATE itself
    /// ends at about 1032.
    pub ratio: u32,
}

impl Default for Limits {
    /// 16 MiB for frame and message, and a ratio that only the message limit bounds.
    fn default() -> Self {
        Self { frame: 16 << 20, message: 16 << 20, ratio: u32::MAX }
    }
}

/// One thing that the peer said. Lent from the input or from the desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping; the pong carries the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The close frame, with code and reason unless it was empty. Nothing comes after it.
    Close(Option<(Code, &'a str)>),
}

/// A worker's working space for messages that are not whole in one read, shared by all its connections: one inflater,
/// the last finished message, and spare buffers (at most 16, of at most 64 KiB).
#[derive(Default)]
pub struct Desk {
    inflater: Option<Box<Inflater>>,
    /// Bytes that were inflated so far, beyond `usize::MAX` from 0 again.
    inflated: usize,
    out: Vec<u8>,
    // Boxed as in the connections: a spare one moves there and back as a pointer.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Partial>>,
}

impl Desk {
    const SPARES: usize = 16;
    const KEEP: usize = 64 * 1024;

    /// An empty desk. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Frees everything that is not in use: for a worker that has become idle.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.out.capacity() + self.spare.iter().map(|p| p.buf.capacity()).sum::<usize>()
    }

    /// Bytes that messages inflated to, all of them since the desk was made; beyond `usize::MAX` it begins at 0 again. What they were on
    /// the wire bounds it badly: DEFLATE makes a thousand of one.
    #[inline]
    #[must_use]
    pub fn inflated(&self) -> usize {
        self.inflated
    }

    /// Gives back what the last message needed beyond the usual: for the end of a call in which messages were read.
    #[inline]
    pub fn trim(&mut self) {
        if self.out.capacity() > Self::KEEP {
            self.out = Vec::new();
        }
    }

    fn take(&mut self) -> Box<Partial> {
        self.spare.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut partial: Box<Partial>) {
        if self.spare.len() < Self::SPARES && partial.buf.capacity() <= Self::KEEP {
            partial.buf.clear();
            self.spare.push(partial);
        }
    }
}

/// A message of which a part is there.
#[derive(Default)]
struct Partial {
    buf: Vec<u8>,
    /// Bytes still to come of the current frame; 0 between two frames.
    left: u64,
    /// How much of `buf` is known to be UTF-8: all but an unfinished character.
    checked: usize,
    mask: Option<[u8; 4]>,
    /// How much of the current frame has come; only its two lowest bits count.
    phase: usize,
    /// The current frame is the last.
    fin: bool,
    text: bool,
    compressed: bool,
}

impl Partial {
    fn begin_frame(&mut self, header: &Header) {
        (self.left, self.mask, self.fin, self.phase) = (header.payload_len(), header.mask(), header.fin(), 0);
    }

    /// Takes what is there of the current frame and returns how much that was.
    fn take(&mut self, input: &mut [u8], limits: &Limits) -> Result<usize, Violation> {
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        self.make_room(n, limits.message);
        let piece = &mut input[..n];
        if let Some(mask) = self.mask {
            mask::apply(piece, mask, self.phase);
        }
        self.buf.extend_from_slice(piece);
        self.phase = self.phase.wrapping_add(n);
        self.left -= n as u64;
        if self.text && !self.compressed {
            self.check_utf8()?;
        }
        Ok(n)
    }

    fn make_room(&mut self, n: usize, limit: usize) {
        let (len, capacity) = (self.buf.len(), self.buf.capacity());
        if capacity - len >= n {
            return;
        }
        let announced = usize::try_from(self.left).map_or(usize::MAX, |left| len.saturating_add(left));
        let most = if self.fin { announced } else { limit };
        let wanted = (len + n).max(capacity.saturating_mul(2).min(most));
        self.buf.reserve_exact(wanted - len);
    }

    fn check_utf8(&mut self) -> Result<(), Violation> {
        match simdutf8::compat::from_utf8(&self.buf[self.checked..]) {
            Ok(_) => self.checked = self.buf.len(),
            Err(e) if e.error_len().is_none() => self.checked += e.valid_up_to(),
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }
}

/// What was found, by place: borrows nothing.
enum Found {
    Nothing,
    Control(Opcode, Range<usize>),
    Whole { text: bool, at: Range<usize> },
    OnDesk { text: bool },
}

/// The receiving half of a connection: 24 bytes, and nothing behind them between messages.
pub struct Assembler {
    partial: Option<Box<Partial>>,
    inflater: Option<Box<Inflater>>,
    role: Role,
    deflate: bool,
    takeover: bool,
    window_bits: u8,
    finished: bool,
}

const _: () = assert!(size_of::<usize>() != 8 || size_of::<Assembler>() == 24);

impl Assembler {
    /// An assembler for our `role`, with what the handshake agreed on.
    #[must_use]
    pub fn new(role: Role, agreed: Option<Agreed>) -> Self {
        let (window_bits, takeover) = agreed.map_or((15, false), |a| a.receiving(role));
        let deflate = agreed.is_some();
        Self { partial: None, inflater: None, role, deflate, takeover, window_bits, finished: false }
    }

    /// Reads on: how many bytes of `input` were consumed, and the event found, if any.
    ///
    /// Call it again with the rest until it gives no event; then show what was not consumed again, together with the
    /// bytes that come after it. Text and binary payloads are unmasked in place, so `input` changes where it was
    /// consumed. The desk's content is overwritten by the next message in pieces.
    ///
    /// # Errors
    /// The first violation. After it, and after a close frame, everything is consumed and nothing is found.
    #[inline]
    pub fn next<'a>(
        &mut self,
        input: &'a mut [u8],
        desk: &'a mut Desk,
        limits: &Limits,
    ) -> Result<(usize, Option<Event<'a>>), Violation> {
        if let Some((text, at)) = self.quick(input, limits) {
            let event = data(text, &input[at.clone()]);
            self.finished = event.is_err();
            return Ok((at.end, Some(event?)));
        }
        self.next_in_full(input, desk, limits)
    }

    /// The commonest of all inputs, recognised by its two first bytes: a whole short message of a client, unmasked
    /// where it lies. Takes 20 bytes from 27 ns to 6; whatever it passes over, [`Self::find`] judges.
    #[inline]
    fn quick(&self, input: &mut [u8], limits: &Limits) -> Option<(bool, Range<usize>)> {
        let [first @ (0x81 | 0x82), second @ 0x80..0xfe, a, b, c, d, rest @ ..] = input else { return None };
        let len = usize::from(*second & 0x7f);
        let fits = len as u64 <= limits.frame && len <= limits.message;
        if self.finished || self.partial.is_some() || self.role != Role::Server || !fits {
            return None;
        }
        mask::apply(rest.get_mut(..len)?, [*a, *b, *c, *d], 0);
        Some((*first == 0x81, 6..6 + len))
    }

    fn next_in_full<'a>(
        &mut self,
        input: &'a mut [u8],
        desk: &'a mut Desk,
        limits: &Limits,
    ) -> Result<(usize, Option<Event<'a>>), Violation> {
        if self.finished {
            return Ok((input.len(), None));
        }
        let (consumed, found) = match self.find(input, desk, limits) {
            Ok(done) => done,
            Err(violation) => {
                self.stop(desk);
                return Err(violation);
            }
        };
        let event = match found {
            Found::Nothing => return Ok((consumed, None)),
            Found::Whole { text, at } => data(text, &input[at]),
            Found::OnDesk { text } => data(text, &desk.out),
            Found::Control(opcode, at) => {
                if opcode == Opcode::Close {
                    self.stop(desk);
                }
                control(opcode, &input[at])
            }
        };
        self.finished |= event.is_err();
        Ok((consumed, Some(event?)))
    }

    #[cold]
    fn stop(&mut self, desk: &mut Desk) {
        self.finished = true;
        self.abandon(desk);
    }

    /// A message is unfinished: its deadline, if there is one, should run.
    #[must_use]
    pub fn in_message(&self) -> bool {
        self.partial.is_some()
    }

    /// Bytes held: for an unfinished message, and by an inflater of its own.
    #[must_use]
    pub fn held(&self) -> usize {
        let partial = self.partial.as_ref().map_or(0, |p| p.buf.capacity());
        partial + self.inflater.as_ref().map_or(0, |_| Inflater::HELD)
    }

    /// Gives the buffer of an unfinished message back: the connection ends. Dropping the assembler frees it instead.
    pub fn abandon(&mut self, desk: &mut Desk) {
        if let Some(partial) = self.partial.take() {
            desk.give_back(partial);
        }
        self.inflater = None;
    }

    #[inline]
    fn find(
        &mut self,
        input: &mut [u8],
        desk: &mut Desk,
        limits: &Limits,
    ) -> Result<(usize, Found), Violation> {
        desk.trim();
        let mut pos = 0;
        loop {
            if let Some(partial) = &mut self.partial
                && partial.left > 0
            {
                pos += partial.take(&mut input[pos..], limits)?;
                if partial.left > 0 {
                    return Ok((pos, Found::Nothing));
                }
                if partial.fin {
                    return Ok((pos, self.finish(desk, limits)?));
                }
            }
            let Some((header, head_len)) = frame::parse(&input[pos..], self.role, self.deflate)? else {
                return Ok((pos, Found::Nothing));
            };
            let begin = pos + head_len;
            let at = self.whole(&header, begin, input.len());
            if header.opcode().is_control() {
                let Some(at) = at else { return Ok((pos, Found::Nothing)) };
                unmask(&header, &mut input[at.clone()]);
                return Ok((at.end, Found::Control(header.opcode(), at)));
            }
            self.admit(&header, limits)?;
            if let (None, true, Some(at)) = (&self.partial, header.fin(), at) {
                unmask(&header, &mut input[at.clone()]);
                let text = header.opcode() == Opcode::Text;
                if !header.rsv1() {
                    return Ok((at.end, Found::Whole { text, at }));
                }
                let (consumed, payload) = (at.end, &input[at]);
                self.inflate(payload, desk, limits)?;
                return Ok((consumed, Found::OnDesk { text }));
            }
            pos = begin;
            self.begin(&header, desk);
            if header.payload_len() == 0 && header.fin() {
                return Ok((pos, self.finish(desk, limits)?));
            }
        }
    }

    /// Where the payload lies, if all of it is there.
    #[inline]
    fn whole(&self, header: &Header, begin: usize, end: usize) -> Option<Range<usize>> {
        let len = usize::try_from(header.payload_len()).ok()?;
        (len <= end - begin).then(|| begin..begin + len)
    }

    /// May this data frame come now, and is there room for what it announces?
    #[inline]
    fn admit(&self, header: &Header, limits: &Limits) -> Result<(), Violation> {
        let held = match (&self.partial, header.opcode().begins()) {
            (None, true) => 0,
            (Some(partial), false) => partial.buf.len(),
            (None, false) => return Err(Violation::NothingToContinue),
            (Some(_), true) => return Err(Violation::MessageInterrupted),
        };
        if header.payload_len() > limits.frame {
            return Err(Violation::FrameTooBig);
        }
        if header.payload_len() > limits.message.saturating_sub(held) as u64 {
            return Err(Violation::MessageTooBig);
        }
        Ok(())
    }

    fn begin(&mut self, header: &Header, desk: &mut Desk) {
        let partial = self.partial.get_or_insert_with(|| {
            let mut partial = desk.take();
            partial.checked = 0;
            partial.text = header.opcode() == Opcode::Text;
            partial.compressed = header.rsv1();
            partial
        });
        partial.begin_frame(header);
    }

    /// The message in pieces is whole: it goes to the desk, its buffer to the spares.
    fn finish(&mut self, desk: &mut Desk, limits: &Limits) -> Result<Found, Violation> {
        let Some(mut partial) = self.partial.take() else { return Ok(Found::Nothing) };
        let text = partial.text;
        if partial.compressed {
            let result = self.inflate(&partial.buf, desk, limits);
            desk.give_back(partial);
            result?;
        } else {
            std::mem::swap(&mut desk.out, &mut partial.buf);
            desk.give_back(partial);
        }
        Ok(Found::OnDesk { text })
    }

    fn inflate(&mut self, payload: &[u8], desk: &mut Desk, limits: &Limits) -> Result<(), Violation> {
        let slot = if self.takeover { &mut self.inflater } else { &mut desk.inflater };
        let bits = if self.takeover { self.window_bits } else { 15 };
        slot.get_or_insert_with(|| Box::new(Inflater::new(bits, self.takeover))).inflate(
            payload,
            &mut desk.out,
            limits,
        )?;
        desk.inflated = desk.inflated.wrapping_add(desk.out.len());
        Ok(())
    }
}

#[inline]
fn unmask(header: &Header, payload: &mut [u8]) {
    if let Some(mask) = header.mask() {
        mask::apply(payload, mask, 0);
    }
}

#[inline]
fn data(text: bool, payload: &[u8]) -> Result<Event<'_>, Violation> {
    // Below 64 bytes simdutf8 does what the standard library does, behind an indirect call.
    if text && payload.len() < 64 {
        std::str::from_utf8(payload).map(Event::Text).map_err(|_| Violation::Utf8)
    } else if text {
        simdutf8::basic::from_utf8(payload).map(Event::Text).map_err(|_| Violation::Utf8)
    } else {
        Ok(Event::Binary(payload))
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        Opcode::Close => close::parse(payload).map(Event::Close),
        // Never given here: `find` sends data frames another way.
        Opcode::Continuation | Opcode::Text | Opcode::Binary => Err(Violation::ReservedOpcode),
    }
}

#[cfg(test)]
mod tests;
