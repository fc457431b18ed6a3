//! The payload of a close frame (RFC 6455, 5.5.1 and 7.4): a code and a reason.

use super::Violation;

/// Longest reason, in bytes: a control frame's 125 less the code.
pub const MAX_REASON: usize = 123;

/// A close code that may be on the wire: 1000 to 1003, 1007 to 1014, 3000 to 4999 (RFC 6455, 7.4; the registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(u16);

impl Code {
    /// 1000: done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server stops, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that is not taken here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: the data do not match the kind of the message.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a policy forbids it.
    pub const POLICY: Self = Self(1008);
    /// 1009: too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: an error on our side.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts.
    pub const RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_LATER: Self = Self(1013);

    /// The code `code`, or `None` if it must not be on the wire.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Reads the unmasked payload of a close frame. An empty one has no code.
///
/// # Errors
/// One byte alone, a code that must not be on the wire, a reason that is not UTF-8.
pub fn parse(payload: &[u8]) -> Result<Option<(Code, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::CloseTruncated),
        [a, b, reason @ ..] => {
            let code = Code::new(u16::from_be_bytes([*a, *b])).ok_or(Violation::CloseCode)?;
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Appends the unmasked payload: at most 125 bytes, the reason cut at a character's edge.
pub fn emit(code: Code, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&code.get().to_be_bytes());
    out.extend_from_slice(truncated(reason).as_bytes());
}

/// The longest prefix of `reason` that fits a close frame and ends at a character's edge.
#[must_use]
pub fn truncated(reason: &str) -> &str {
    if reason.len() <= MAX_REASON {
        return reason;
    }
    let mut end = MAX_REASON;
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_registered_codes_may_be_on_the_wire() {
        let legal = (0..=u16::MAX).filter(|c| Code::new(*c).is_some()).count();
        assert_eq!(legal, 4 + 8 + 2000);
        for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(parse(&u16::to_be_bytes(bad)), Err(Violation::CloseCode), "{bad}");
        }
        for good in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(parse(&u16::to_be_bytes(good)).unwrap().unwrap().0.get(), good);
        }
    }

    #[test]
    fn a_payload_is_empty_or_a_code_and_a_utf8_reason() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03"), Err(Violation::CloseTruncated));
        assert_eq!(parse(b"\x03\xe8bye"), Ok(Some((Code::NORMAL, "bye"))));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::CloseReason));
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character_and_read_back() {
        for pad in 0..5 {
            let reason = "a".repeat(pad) + &"ü€😀".repeat(40);
            let mut out = Vec::new();
            emit(Code::POLICY, &reason, &mut out);
            assert!(out.len() <= 125 && out.len() > 120);
            let (code, read) = parse(&out).unwrap().unwrap();
            assert_eq!(code, Code::POLICY);
            assert!(reason.starts_with(read));
        }
        assert_eq!(truncated("short"), "short");
    }
}
