//! Range requests (RFC 9110, 14).
//!
//! A Range field that is malformed, has another unit, or asks for more parts than [`MAX_RANGES`] is ignored, as the RFC
//! allows; the whole is sent then. Ranges that overlap are merged, so that a response never has more bytes of content
//! than the file (RFC 9110, 14.2 and 17.15). Of an empty representation there are no ranges: it is sent whole.

use std::ops::Range;

use super::text;

/// The most parts of a multipart response. Who brings an old file up to date (zsync) asks for 20 at a time and gives up if it gets the
/// whole instead.
pub const MAX_RANGES: usize = 32;

/// What a Range field asks of a representation of known length.
// The list is stored inline so that a range request allocates nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Answer as if there were no Range field.
    Ignore,
    /// 416: no part asked for exists.
    Unsatisfiable,
    /// 206: one part, or several in the order asked for.
    Satisfiable(RangeList),
}

/// One to [`MAX_RANGES`] ranges, none empty, none reaching beyond the length, no two overlapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeList {
    ranges: [(u64, u64); MAX_RANGES],
    len: usize,
}

impl RangeList {
    fn push(&mut self, first: u64, end: u64) -> bool {
        let Some(slot) = self.ranges.get_mut(self.len) else { return false };
        *slot = (first, end);
        self.len += 1;
        true
    }

    /// How many there are; at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The ranges, ends excluded.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges[..self.len].iter().map(|&(first, end)| first..end)
    }

    /// The only range, if it is one.
    pub fn single(&self) -> Option<Range<u64>> {
        if self.len == 1 { self.iter().next() } else { None }
    }

    /// Merges if any two overlap; the order is by position then.
    fn merge(&mut self) {
        let mut sorted = self.ranges;
        let sorted = &mut sorted[..self.len];
        sorted.sort_unstable();
        if sorted.windows(2).all(|w| w[0].1 <= w[1].0) {
            return;
        }
        self.len = 0;
        for &(first, end) in sorted.iter() {
            match self.len.checked_sub(1).map(|i| &mut self.ranges[i]) {
                Some(last) if first <= last.1 => last.1 = last.1.max(end),
                Some(_) | None => {
                    self.push(first, end);
                }
            }
        }
    }
}

/// Reads the value of a Range field against a representation of `length` bytes.
pub fn parse(value: &[u8], length: u64) -> Ranges {
    // The last bytes of nothing are satisfiable, and all that there is; who asks for the first is no worse served by it.
    if length == 0 {
        return Ranges::Ignore;
    }
    let Some(equals) = memchr::memchr(b'=', value) else { return Ranges::Ignore };
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Ranges::Ignore;
    }
    let mut list = RangeList { ranges: [(0, 0); MAX_RANGES], len: 0 };
    let mut asked = 0;
    for spec in text::list(set) {
        asked += 1;
        if asked > MAX_RANGES {
            return Ranges::Ignore;
        }
        match one(spec, length) {
            None => return Ranges::Ignore,
            Some((first, end)) if first < end => {
                // There is room: no more are pushed than were asked for.
                list.push(first, end);
            }
            Some(_) => {}
        }
    }
    match (asked, list.len) {
        (0, _) => Ranges::Ignore,
        (_, 0) => Ranges::Unsatisfiable,
        (_, _) => {
            list.merge();
            Ranges::Satisfiable(list)
        }
    }
}

/// One range-spec as a half-open range, empty if unsatisfiable; `None` if malformed.
fn one(spec: &[u8], length: u64) -> Option<(u64, u64)> {
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = digits(last)?.min(length);
        return Some((length - suffix, length));
    }
    let first = digits(first)?;
    if last.is_empty() {
        return Some((first.min(length), length));
    }
    let last = digits(last)?;
    if last < first {
        return None;
    }
    Some((first.min(length), last.saturating_add(1).min(length)))
}

/// A number; one too large for 64 bits is as good as the largest.
fn digits(bytes: &[u8]) -> Option<u64> {
    let legal = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    legal.then(|| text::decimal(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: &str, length: u64) -> Option<Vec<Range<u64>>> {
        match parse(value.as_bytes(), length) {
            Ranges::Ignore => None,
            Ranges::Unsatisfiable => Some(vec![]),
            Ranges::Satisfiable(l) => Some(l.iter().collect()),
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn ranges_are_cut_to_the_length() {
        for (value, want) in [
            ("bytes=0-4", vec![0..5]),
            ("Bytes=0-4", vec![0..5]),
            ("bytes=5-", vec![5..10]),
            ("bytes=-3", vec![7..10]),
            ("bytes=-30", vec![0..10]),
            ("bytes=8-99999999999999999999999", vec![8..10]),
            ("bytes=0-0,-1", vec![0..1, 9..10]),
            ("bytes=5-6 ,, 0-1", vec![5..7, 0..2]),
            ("bytes=0-4,2-7", vec![0..8]),
            ("bytes=0-,0-,0-", vec![0..10]),
            ("bytes=0-1,20-30", vec![0..2]),
        ] {
            assert_eq!(list(value, 10), Some(want), "{value}");
        }
    }

    #[test]
    fn what_does_not_exist_is_unsatisfiable_and_what_is_malformed_is_ignored() {
        for value in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(list(value, 10), Some(vec![]), "{value}");
        }
        for value in ["bytes=0-", "bytes=-5", "bytes=-0", "bytes=5-9", "x"] {
            assert_eq!(list(value, 0), None, "{value}");
        }
        let many = format!("bytes={}", "0-0,".repeat(MAX_RANGES + 1));
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "items=0-1",
            "bytes=a-b",
            "bytes=4-3",
            "bytes=-",
            "bytes=0-1,x",
            "bytes=1",
            "bytes =0-1",
            "bytes=+1-2",
            "bytes=0 - 1",
            &many,
        ] {
            assert_eq!(list(value, 10), None, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_byte_is_sent_twice(value in "bytes=([0-9]{0,2}-[0-9]{0,2},){1,6}", length in 0u64..60) {
            if let Ranges::Satisfiable(l) = parse(value.as_bytes(), length) {
                assert!(l.iter().all(|r| r.start < r.end && r.end <= length));
                assert!(l.iter().map(|r| r.end - r.start).sum::<u64>() <= length);
                for (i, a) in l.iter().enumerate() {
                    assert!(l.iter().skip(i + 1).all(|b| a.end <= b.start || b.end <= a.start));
                }
            }
        }
    }
}
