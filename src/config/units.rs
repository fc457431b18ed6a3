//! Durations, sizes and rates as people write them.
//!
//! Reading and showing are inverse: what [`show_duration`] and [`show_size`] write reads back as the same value.
//! Nothing overflows: a number that does not fit is no number.

use std::time::Duration;

/// Units of time with their milliseconds, largest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size with their bytes: the binary ones first, since they are the ones that are shown.
const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("kB", 1000),
];

/// A plain whole number, with `_` allowed between digits.
pub fn whole(text: &str) -> Option<u64> {
    let fine = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && !text.contains("__");
    if fine { text.replace('_', "").parse().ok() } else { None }
}

/// A duration: `500ms`, `30s`, `2m`, `1h`, `1d`, also `1m30s`, in any one order; `0` alone needs no unit.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, scale) = TIMES.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*scale)?)?;
        rest = after;
    }
    if text.is_empty() { None } else { Some(Duration::from_millis(total)) }
}

/// A size in bytes: `4KiB`, `10 MiB`, `1GB`, `512B`, `4096`.
pub fn size(text: &str) -> Option<u64> {
    if let Some(bytes) = whole(text) {
        return Some(bytes);
    }
    let (number, unit) = split_number(text)?;
    let unit = unit.trim_start_matches(' ');
    let (_, scale) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*scale)
}

/// A rate in bytes a second: a size with `/s`; `0` alone is off.
pub fn rate(text: &str) -> Option<u64> {
    match text.strip_suffix("/s") {
        Some(bytes) => size(bytes.trim_end_matches(' ')),
        None => whole(text),
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((whole(number)?, rest))
}

/// The shortest way to write it with one unit; below a millisecond nothing is kept.
pub fn show_duration(value: Duration) -> String {
    let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    match TIMES.iter().find(|(_, scale)| millis != 0 && millis.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", millis / scale),
        None => "0s".to_owned(),
    }
}

/// The shortest way to write it with one binary unit.
pub fn show_size(bytes: u64) -> String {
    match SIZES[..4].iter().find(|(_, scale)| bytes != 0 && bytes.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", bytes / scale),
        None => bytes.to_string(),
    }
}

/// The same, a second.
pub fn show_rate(bytes: u64) -> String {
    match show_size(bytes) {
        plain if plain.ends_with('B') => format!("{plain}/s"),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read() {
        let ms = |n| Some(Duration::from_millis(n));
        for (text, is) in [
            ("500ms", ms(500)),
            ("30s", ms(30_000)),
            ("2m", ms(120_000)),
            ("1h", ms(3_600_000)),
            ("1d", ms(86_400_000)),
            ("1m30s", ms(90_000)),
            ("1_000ms", ms(1000)),
            ("0", ms(0)),
            ("0s", ms(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("30 s", None),
            ("-1s", None),
            ("1.5s", None),
            ("30S", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
            ("1é", None),
        ] {
            assert_eq!(duration(text), is, "{text}");
        }
    }

    #[test]
    fn sizes_and_rates_are_read() {
        for (text, is) in [
            ("64KiB", Some(65_536)),
            ("4 MiB", Some(4_194_304)),
            ("4096", Some(4096)),
            ("10_000", Some(10_000)),
            ("0", Some(0)),
            ("512B", Some(512)),
            ("1kB", Some(1000)),
            ("1GB", Some(1_000_000_000)),
            ("4kib", Some(4096)),
            ("4K", None),
            ("", None),
            ("_1", None),
            ("1__0", None),
            ("-1", None),
            ("16777217TiB", None),
        ] {
            assert_eq!(size(text), is, "{text}");
        }
        assert_eq!(rate("1KiB/s"), Some(1024));
        assert_eq!(rate("0"), Some(0));
        assert_eq!(rate("100"), Some(100));
        assert_eq!(rate("1KiB"), None);
        assert_eq!(rate("1KiB/m"), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(n in 0..u64::MAX / 1000) {
            prop_assert_eq!(size(&show_size(n)), Some(n));
            prop_assert_eq!(rate(&show_rate(n)), Some(n));
            prop_assert_eq!(duration(&show_duration(Duration::from_millis(n))), Some(Duration::from_millis(n)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (duration(&text), size(&text), rate(&text));
        }
    }
}
