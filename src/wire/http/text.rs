//! Small lexical helpers that the other files share: character classes, lists, trimming, numbers.

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;
const PATH: u8 = 16;

/// One byte of classes for each byte there is.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let alnum = b.is_ascii_alphanumeric();
        let mut class = 0;
        if alnum || contains(b"!#$%&'*+-.^_`|~", b) {
            class |= TOKEN;
        }
        if b == b'\t' || (b >= 0x20 && b != 0x7f) {
            class |= VALUE;
        }
        // RFC 3986 and, because browsers send them raw (WHATWG URL), [ ] \ ^ ` { | }; never " # < >.
        if b > 0x20 && b < 0x7f && !contains(b"\"#<>", b) {
            class |= TARGET;
            if b != b'?' && b != b'\\' {
                class |= PATH;
            }
        }
        if alnum || contains(b"-._~!$&'()*+,;=", b) {
            class |= HOST;
        }
        table[i] = class;
        i += 1;
    }
    table
}

const fn contains(set: &[u8], b: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == b {
            return true;
        }
        i += 1;
    }
    false
}

/// A `tchar` (RFC 9110, 5.6.2).
#[inline]
pub fn is_token(b: u8) -> bool {
    CLASS[b as usize] & TOKEN != 0
}

/// A byte of a field value: visible, SP, HTAB or obs-text (RFC 9110, 5.5).
#[inline]
pub fn is_value(b: u8) -> bool {
    CLASS[b as usize] & VALUE != 0
}

/// A byte a request-target may have: visible ASCII but `"`, `#`, `<` and `>`.
#[inline]
pub fn is_target(b: u8) -> bool {
    CLASS[b as usize] & TARGET != 0
}

/// A byte that stands for itself in a registered name: unreserved, sub-delims (RFC 3986, 3.2.2). `%` is not one.
#[inline]
pub fn is_reg_name(b: u8) -> bool {
    CLASS[b as usize] & HOST != 0
}

/// How many bytes at the start have this class. The plain loop: names, paths and hosts are short.
#[inline(always)]
fn class_len(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&b| CLASS[b as usize] & class == 0).unwrap_or(bytes.len())
}

/// How many bytes at the start are decimal digits; 8 if there are more. Looks at eight at once where there are so many.
#[inline(always)]
pub fn digits_len(bytes: &[u8]) -> usize {
    let Some(word) = bytes.first_chunk::<8>() else {
        return bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
    };
    // Of a digit nothing is left but 0 to 9, which 0x76 does not carry into the highest bit.
    let word = u64::from_le_bytes(*word) ^ u64::from_le_bytes([b'0'; 8]);
    let carried = (word & u64::from_le_bytes([0x7f; 8])) + u64::from_le_bytes([0x76; 8]);
    let others = (word | carried) & u64::from_le_bytes([0x80; 8]);
    (others.trailing_zeros() / 8) as usize
}

/// How many bytes at the start are token bytes ([`is_token`]).
#[inline]
pub fn token_len(bytes: &[u8]) -> usize {
    class_len(bytes, TOKEN)
}

/// How many bytes at the start may be in the path of a request-target: those of a target but `?` and `\`.
#[inline]
pub fn path_len(bytes: &[u8]) -> usize {
    class_len(bytes, PATH)
}

/// How many bytes at the start may be in a request-target ([`is_target`]).
#[inline]
pub fn target_len(bytes: &[u8]) -> usize {
    class_len(bytes, TARGET)
}

/// How many bytes at the start stand for themselves in a registered name ([`is_reg_name`]).
#[inline]
pub fn reg_name_len(bytes: &[u8]) -> usize {
    class_len(bytes, HOST)
}

/// How many bytes at the start are field value bytes ([`is_value`]). Looks at eight at a time.
#[inline]
pub fn value_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        // The lowest high bit that is set marks the first byte under 0x20, or that is 0x7f; those above it may be false.
        let low = word.wrapping_sub(ONES * 0x20) & !word;
        let del = word ^ (ONES * 0x7f);
        let del = del.wrapping_sub(ONES) & !del;
        let marks = (low | del) & (ONES * 0x80);
        if marks == 0 {
            at += 8;
            continue;
        }
        at += marks.trailing_zeros() as usize / 8;
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            Some(_) | None => return at,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&b| !is_value(b)).unwrap_or(rest.len())
}

/// Whether `bytes` is a non-empty token.
pub fn is_token_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token(b))
}

/// `bytes` without the SP and HTAB at both ends (OWS, RFC 9110, 5.6.3).
#[inline]
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// [`trim`] for a value that most often begins with one space and has no other at its ends.
#[inline(always)]
pub fn trim_value(bytes: &[u8]) -> &[u8] {
    let bytes = match bytes {
        [b' ', rest @ ..] => rest,
        _ => bytes,
    };
    match bytes {
        [first, .., last] if *first > b' ' && *last > b' ' => bytes,
        _ => trim(bytes),
    }
}

/// The elements of a comma separated list without quoted strings, trimmed, empty ones left out (RFC 9110, 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|e| !e.is_empty())
}

/// A decimal number of 1 or more digits; `None` if there is anything else or if it is more than `u64::MAX`.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// The value of a hexadecimal digit.
#[inline]
pub fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_counted_as_one_at_a_time_counts_them() {
        for len in 0..12 {
            for at in 0..=len {
                for other in 0..=255u8 {
                    let mut text = b"908172635415"[..len].to_vec();
                    if let Some(b) = text.get_mut(at) {
                        *b = other;
                    }
                    let naive = text.iter().take_while(|b| b.is_ascii_digit()).count();
                    let seen = if len < 8 { naive } else { naive.min(8) };
                    assert_eq!(digits_len(&text), seen, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn eight_at_a_time_sees_what_one_at_a_time_sees() {
        let naive = |bytes: &[u8]| bytes.iter().position(|&b| !is_value(b)).unwrap_or(bytes.len());
        for len in 0..20 {
            for at in 0..len {
                for b in 0..=255 {
                    for then in [b'x', b'\t', 0x1f, 0x20, 0x7f, 0x80, 0xff, b'\r'] {
                        let mut bytes = vec![b' '; len];
                        bytes[at] = b;
                        if let Some(next) = bytes.get_mut(at + 1) {
                            *next = then;
                        }
                        assert_eq!(value_len(&bytes), naive(&bytes), "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn both_ways_to_trim_agree() {
        for value in
            ["", " ", "\t", "a", " a", "  a", " a ", "\ta\t", "a b", " a b", " a\t", "  ", " \t a", "ab "]
        {
            assert_eq!(trim_value(value.as_bytes()), trim(value.as_bytes()), "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn eight_at_a_time_sees_what_one_at_a_time_sees_in_any_bytes(bytes: Vec<u8>) {
            let naive = bytes.iter().position(|&b| !is_value(b)).unwrap_or(bytes.len());
            assert_eq!(value_len(&bytes), naive);
        }
    }
}
