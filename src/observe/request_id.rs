//! Names of requests: the client's if it is sound, else one of our own.
//!
//! Ours are 128 bits from a fast generator that is seeded by the operating system: unique, not secret.

/// The longest name that is taken from a client, in bytes.
pub const MAX_LEN: usize = 64;

/// The name that a client gave, if it may be used as it is: 1 to 64 of `A-Z a-z 0-9 . _ -`. So it can stand in any log or field.
pub fn accept(value: &[u8]) -> Option<&str> {
    let sound = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let whole = (1..=MAX_LEN).contains(&value.len()) && value.iter().all(sound);
    if whole { std::str::from_utf8(value).ok() } else { None }
}

/// A name of ours: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        // Digits are ASCII: the default is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One worker's source of names: xoshiro256++ (Blackman and Vigna, 2019).
#[derive(Clone, Debug)]
pub struct RequestIds {
    state: [u64; 4],
}

impl RequestIds {
    /// From 32 unpredictable bytes (`Host::fill_random`), other ones for each worker.
    pub fn new(seed: [u8; 32]) -> RequestIds {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, b| word << 8 | u64::from(*b));
        }
        // The generator stands still at zero.
        state[0] |= u64::from(state == [0; 4]);
        RequestIds { state }
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A new name.
    pub fn make(&mut self) -> RequestId {
        let mut id = [0; 32];
        for half in id.chunks_exact_mut(16) {
            let mut word = self.next();
            for digit in half {
                *digit = b"0123456789abcdef"[(word >> 60) as usize];
                word <<= 4;
            }
        }
        RequestId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_sound_name_is_taken_and_any_other_is_not() {
        let long = [b'a'; MAX_LEN + 1];
        for good in [&b"a"[..], b"A-b_c.9", &long[1..]] {
            assert_eq!(accept(good).map(str::as_bytes), Some(good));
        }
        for bad in [&b""[..], b"a b", b"a\"", b"a\r\n", b"\xc3\xa4", b"a/b", b"{}", &long] {
            assert_eq!(accept(bad), None);
        }
    }

    #[test]
    fn names_differ_between_requests_and_between_workers() {
        let (mut one, mut two) = (RequestIds::new([1; 32]), RequestIds::new([2; 32]));
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(one.make()) && seen.insert(two.make()));
        }
        let id = RequestIds::new([0; 32]).make();
        assert_eq!(accept(id.as_str().as_bytes()).map(str::len), Some(32));
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut ids = RequestIds { state: [1, 2, 3, 4] };
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        assert_eq!(expected.map(|_| ids.next()), expected);
    }
}
