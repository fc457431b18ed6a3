//! One frame header (RFC 6455, 5.2), strictly read and emitted.
//!
//! A [`Header`] can only be legal in itself: its fields are private, and both ways to make one check the same
//! rules. What depends on the frames before it (continuation of what?) is `assemble`'s business, and what depends
//! on the side is an argument.

use super::{Role, Violation};

/// Longest header on the wire: two bytes, a 64-bit length, a mask.
pub const MAX_HEADER: usize = 14;

/// Longest payload of a control frame (5.5).
pub const MAX_CONTROL: usize = 125;

/// What a frame carries (RFC 6455, 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// 0: more of the message that was begun.
    Continuation = 0,
    /// 1: a text message, or the beginning of one.
    Text = 1,
    /// 2: a binary message, or the beginning of one.
    Binary = 2,
    /// 8: the close handshake.
    Close = 8,
    /// 9: wants a pong with the same payload.
    Ping = 9,
    /// 10: the answer, or an unasked sign of life.
    Pong = 10,
}

impl Opcode {
    #[inline]
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Close, ping or pong: never fragmented, at most 125 bytes, may come between the fragments of a message.
    #[inline]
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }

    /// Text or binary: begins a message.
    #[inline]
    #[must_use]
    pub const fn begins(self) -> bool {
        matches!(self, Self::Text | Self::Binary)
    }
}

/// A frame header that is legal in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    len: u64,
}

impl Header {
    /// A header of these parts. `rsv1` marks the first frame of a compressed message (RFC 7692, 6); `len` is the
    /// payload's length in bytes.
    ///
    /// # Errors
    /// RSV1 on anything but the first frame of a message, a fragmented or too long control frame, a close frame
    /// of one byte, a length of 2^63 or more.
    #[inline]
    pub const fn new(
        opcode: Opcode,
        fin: bool,
        rsv1: bool,
        mask: Option<[u8; 4]>,
        len: u64,
    ) -> Result<Self, Violation> {
        if rsv1 && !opcode.begins() {
            return Err(Violation::ReservedBits);
        }
        if opcode.is_control() {
            if !fin {
                return Err(Violation::ControlFragmented);
            }
            if len > MAX_CONTROL as u64 {
                return Err(Violation::ControlTooLong);
            }
            if matches!(opcode, Opcode::Close) && len == 1 {
                return Err(Violation::CloseTruncated);
            }
        }
        if len >> 63 != 0 {
            return Err(Violation::LengthTopBit);
        }
        Ok(Self { fin, rsv1, opcode, mask, len })
    }

    /// The header of a whole, unmasked and uncompressed text message of `len` bytes.
    #[must_use]
    pub const fn text(len: usize) -> Self {
        Self { fin: true, rsv1: false, opcode: Opcode::Text, mask: None, len: capped(len) }
    }

    /// The header of a whole, unmasked and uncompressed binary message of `len` bytes.
    #[must_use]
    pub const fn binary(len: usize) -> Self {
        Self { fin: true, rsv1: false, opcode: Opcode::Binary, mask: None, len: capped(len) }
    }

    /// The same with a mask: what a client sends.
    #[must_use]
    pub const fn masked(mut self, mask: [u8; 4]) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Last frame of its message.
    #[inline]
    #[must_use]
    pub const fn fin(&self) -> bool {
        self.fin
    }

    /// Begins a compressed message.
    #[inline]
    #[must_use]
    pub const fn rsv1(&self) -> bool {
        self.rsv1
    }

    /// What the frame carries.
    #[inline]
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The masking key, if the payload is masked.
    #[inline]
    #[must_use]
    pub const fn mask(&self) -> Option<[u8; 4]> {
        self.mask
    }

    /// The payload's length in bytes, below 2^63.
    #[inline]
    #[must_use]
    pub const fn payload_len(&self) -> u64 {
        self.len
    }
}

/// No object is longer than `isize::MAX` bytes, so nothing real is cut here.
const fn capped(len: usize) -> u64 {
    len as u64 & (u64::MAX >> 1)
}

/// Reads the header at the start of `bytes`: the header and its length (2 to 14 bytes), or `None` if more bytes are
/// needed. `rsv1` says whether permessage-deflate was agreed on. A violation is reported as soon as its byte is
/// there, so a longer input never changes the answer.
///
/// # Errors
/// Whatever [`Header::new`] refuses; reserved opcodes and bits; a length in a longer form than needed; a mask
/// missing from a client or present from a server.
#[inline]
pub fn parse(bytes: &[u8], role: Role, rsv1: bool) -> Result<Option<(Header, usize)>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(Violation::ReservedOpcode)?;
    let compressed = first & 0x40 != 0;
    if first & 0x30 != 0 || (compressed && !rsv1) {
        return Err(Violation::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    Header::new(opcode, fin, compressed, None, 0)?;
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let masked = second & 0x80 != 0;
    match role {
        Role::Server if !masked => return Err(Violation::MaskMissing),
        Role::Client if masked => return Err(Violation::MaskForbidden),
        Role::Server | Role::Client => {}
    }
    let short = second & 0x7f;
    if opcode.is_control() && short > 125 {
        return Err(Violation::ControlTooLong);
    }
    let Some((len, at)) = parse_length(bytes, short)? else { return Ok(None) };
    let mut header = Header::new(opcode, fin, compressed, None, len)?;
    if !masked {
        return Ok(Some((header, at)));
    }
    let Some(&mask) = bytes[at..].first_chunk::<4>() else { return Ok(None) };
    header.mask = Some(mask);
    Ok(Some((header, at + 4)))
}

/// The payload length and where the header goes on. `short`: the seven bits of the second byte.
#[inline]
fn parse_length(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        126 => {
            let Some(&[a, b]) = bytes[2..].first_chunk::<2>() else { return Ok(None) };
            let len = u16::from_be_bytes([a, b]);
            if len < 126 {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((u64::from(len), 4)))
        }
        127 => {
            let Some(&eight) = bytes[2..].first_chunk::<8>() else { return Ok(None) };
            let len = u64::from_be_bytes(eight);
            if len <= u64::from(u16::MAX) {
                return Err(Violation::LengthNotMinimal);
            }
            Ok(Some((len, 10)))
        }
        short => Ok(Some((u64::from(short), 2))),
    }
}

/// Writes the header to the start of `out` and returns its length, 2 to 14 bytes.
#[inline]
pub fn emit_into(header: &Header, out: &mut [u8; MAX_HEADER]) -> usize {
    out[0] = u8::from(header.fin) << 7 | u8::from(header.rsv1) << 6 | header.opcode as u8;
    let mask_bit = u8::from(header.mask.is_some()) << 7;
    let at = if header.len < 126 {
        out[1] = mask_bit | header.len as u8;
        2
    } else if let Ok(len) = u16::try_from(header.len) {
        out[1] = mask_bit | 126;
        out[2..4].copy_from_slice(&len.to_be_bytes());
        4
    } else {
        out[1] = mask_bit | 127;
        out[2..10].copy_from_slice(&header.len.to_be_bytes());
        10
    };
    match header.mask {
        Some(mask) => {
            out[at..at + 4].copy_from_slice(&mask);
            at + 4
        }
        None => at,
    }
}

/// Appends the header to `out`.
#[inline]
pub fn emit(header: &Header, out: &mut Vec<u8>) {
    let mut bytes = [0; MAX_HEADER];
    let n = emit_into(header, &mut bytes);
    out.extend_from_slice(&bytes[..n]);
}

/// Appends a whole frame: the header, then the payload, masked if the header says so. The header's length must be
/// the payload's; a debug build asserts it.
pub fn emit_frame(header: &Header, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert_eq!(header.len, payload.len() as u64);
    emit(header, out);
    match header.mask {
        Some(mask) => super::mask::append(payload, out, mask, 0),
        None => out.extend_from_slice(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPCODES: [Opcode; 6] =
        [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];

    #[test]
    fn what_is_emitted_is_read_back_and_every_prefix_wants_more() {
        let lens = [0, 2, 125, 126, 127, 65_535, 65_536, 1 << 40, u64::MAX >> 1];
        for opcode in OPCODES {
            for (fin, rsv1) in [(true, false), (false, false), (true, true), (false, true)] {
                for mask in [None, Some([1, 2, 3, 4])] {
                    for len in lens {
                        let Ok(header) = Header::new(opcode, fin, rsv1, mask, len) else { continue };
                        let role = if mask.is_some() { Role::Server } else { Role::Client };
                        let mut out = Vec::new();
                        emit(&header, &mut out);
                        for cut in 0..out.len() {
                            assert_eq!(parse(&out[..cut], role, true), Ok(None));
                        }
                        let n = out.len();
                        out.extend_from_slice(b"payload");
                        assert_eq!(parse(&out, role, true), Ok(Some((header, n))));
                    }
                }
            }
        }
    }

    #[test]
    fn every_first_two_bytes_are_read_or_refused_and_a_reading_emits_the_same_bytes() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let mut bytes = [0x11; 14];
                (bytes[0], bytes[1]) = (first, second);
                for role in [Role::Server, Role::Client] {
                    if let Ok(Some((header, n))) = parse(&bytes, role, true) {
                        let mut out = Vec::new();
                        emit(&header, &mut out);
                        assert_eq!(out, bytes[..n]);
                        assert_eq!(header.mask().is_some(), role == Role::Server);
                    }
                }
            }
        }
    }

    #[test]
    fn each_rule_of_section_5_has_its_violation() {
        let server = |b: &[u8]| parse(b, Role::Server, false).unwrap_err();
        assert_eq!(server(b"\xc1"), Violation::ReservedBits);
        assert_eq!(server(b"\xa1"), Violation::ReservedBits);
        assert_eq!(server(b"\x91"), Violation::ReservedBits);
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(server(&[0x80 | opcode]), Violation::ReservedOpcode);
        }
        assert_eq!(server(b"\x09"), Violation::ControlFragmented);
        assert_eq!(server(b"\x81\x05"), Violation::MaskMissing);
        assert_eq!(server(b"\x89\xfe"), Violation::ControlTooLong);
        assert_eq!(server(b"\x88\xff"), Violation::ControlTooLong);
        assert_eq!(server(b"\x88\x81"), Violation::CloseTruncated);
        assert_eq!(server(b"\x82\xfe\x00\x7d"), Violation::LengthNotMinimal);
        assert_eq!(server(b"\x82\xff\0\0\0\0\0\0\xff\xff"), Violation::LengthNotMinimal);
        assert_eq!(server(b"\x82\xff\x80\0\0\0\0\x01\0\0"), Violation::LengthTopBit);
        assert_eq!(parse(b"\x81\x85", Role::Client, false), Err(Violation::MaskForbidden));
    }

    #[test]
    fn rsv1_is_legal_only_when_agreed_and_on_the_first_frame_of_a_message() {
        assert!(parse(b"\xc1\x80\0\0\0\0", Role::Server, true).unwrap().unwrap().0.rsv1());
        assert!(parse(b"\x42\x80\0\0\0\0", Role::Server, true).unwrap().unwrap().0.rsv1());
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca] {
            assert_eq!(parse(&[first], Role::Server, true), Err(Violation::ReservedBits), "{first:x}");
        }
    }

    #[test]
    fn the_examples_of_rfc_6455_5_7_are_read() {
        let (header, n) = parse(b"\x81\x05Hello", Role::Client, false).unwrap().unwrap();
        assert_eq!((header, n), (Header::text(5), 2));
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let (header, n) = parse(masked, Role::Server, false).unwrap().unwrap();
        let mut out = Vec::new();
        emit_frame(&header, b"Hello", &mut out);
        assert_eq!((n, &out[..]), (6, &masked[..]));
        assert_eq!(Header::text(5).masked([0x37, 0xfa, 0x21, 0x3d]), header);
    }
}
