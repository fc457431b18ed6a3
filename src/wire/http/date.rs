//! HTTP dates (RFC 9110, 5.6.7) as seconds since 1970-01-01 00:00:00 UTC.
//!
//! All three formats are read, only IMF-fixdate is written. Years are 1970 to 9999. The day of the week is not
//! checked against the date: it carries nothing.

use super::text::decimal;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The last second that can be written: 9999-12-31 23:59:59.
pub const MAX: u64 = 253_402_300_799;

/// Days from 1970-01-01 to this date of the Gregorian calendar (Hinnant, `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month, day of a day number.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = era * 400 + yoe + u64::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

/// Writes a time as IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`. Times after [`MAX`] are written as that.
pub fn format(seconds: u64) -> [u8; 29] {
    let seconds = seconds.min(MAX);
    let (day, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, date) = civil(day);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    out[..3].copy_from_slice(DAYS[(day % 7) as usize]);
    two(&mut out, 5, date);
    out[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    two(&mut out, 12, year / 100);
    two(&mut out, 14, year % 100);
    two(&mut out, 17, of_day / 3600);
    two(&mut out, 20, of_day / 60 % 60);
    two(&mut out, 23, of_day % 60);
    out
}

fn two(out: &mut [u8; 29], at: usize, n: u64) {
    out[at] = b'0' + (n / 10 % 10) as u8;
    out[at + 1] = b'0' + (n % 10) as u8;
}

/// Reads a date in any of the three formats; `None` if it is in none, or before 1970. A two-digit year is taken to
/// be the nearest that is not more than 50 years after `now`, in seconds since 1970.
pub fn parse(value: &[u8], now: u64) -> Option<u64> {
    match value.get(3)? {
        b',' => imf_fixdate(value),
        b' ' => asctime(value),
        _ => rfc850(value, now),
    }
}

fn imf_fixdate(v: &[u8]) -> Option<u64> {
    let shape = v.len() == 29
        && &v[3..5] == b", "
        && v[7] == b' '
        && v[11] == b' '
        && v[16] == b' '
        && &v[25..] == b" GMT";
    if !shape || !DAYS.iter().any(|d| d[..] == v[..3]) {
        return None;
    }
    seconds(decimal(&v[12..16])?, month(&v[8..11])?, decimal(&v[5..7])?, &v[17..25])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(v: &[u8], now: u64) -> Option<u64> {
    const NAMES: [&[u8]; 7] =
        [b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"];
    let comma = memchr::memchr(b',', v)?;
    let (name, v) = (&v[..comma], &v[comma..]);
    let shape =
        v.len() == 24 && v[1] == b' ' && v[4] == b'-' && v[8] == b'-' && v[11] == b' ' && &v[20..] == b" GMT";
    if !shape || !NAMES.contains(&name) {
        return None;
    }
    let (this_year, _, _) = civil(now.min(MAX) / 86_400);
    let two = decimal(&v[9..11])?;
    let mut year = this_year / 100 * 100 + two;
    if year > this_year + 50 {
        year -= 100;
    } else if year + 50 <= this_year {
        year += 100;
    }
    seconds(year, month(&v[5..8])?, decimal(&v[2..4])?, &v[12..20])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(v: &[u8]) -> Option<u64> {
    let shape = v.len() == 24 && v[7] == b' ' && v[10] == b' ' && v[19] == b' ';
    if !shape || !DAYS.iter().any(|d| d[..] == v[..3]) {
        return None;
    }
    let day = if v[8] == b' ' { &v[9..10] } else { &v[8..10] };
    seconds(decimal(&v[20..24])?, month(&v[4..7])?, decimal(day)?, &v[11..19])
}

fn month(name: &[u8]) -> Option<u64> {
    MONTHS.iter().position(|m| m[..] == *name).map(|i| i as u64 + 1)
}

fn seconds(year: u64, month: u64, day: u64, time: &[u8]) -> Option<u64> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = time else { return None };
    let (hour, minute, second) = (decimal(&[h1, h2])?, decimal(&[m1, m2])?, decimal(&[s1, s2])?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // A leap second is legal to write; it is the same as the next second.
    if !(1970..=9999).contains(&year) || !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_750_000_000;

    #[test]
    fn known_dates_are_read_and_written() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(format(seconds), text.as_bytes(), "{text}");
            assert_eq!(parse(text.as_bytes(), NOW), Some(seconds), "{text}");
        }
        assert_eq!(format(u64::MAX), format(MAX));
    }

    #[test]
    fn the_obsolete_formats_are_read() {
        assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT", NOW), Some(784_111_777));
        assert_eq!(parse(b"Sun Nov  6 08:49:37 1994", NOW), Some(784_111_777));
        assert_eq!(
            parse(b"Thursday, 01-Jan-70 00:00:00 GMT", NOW),
            parse(b"Wed, 01 Jan 2070 00:00:00 GMT", NOW)
        );
    }

    #[test]
    fn what_is_no_date_is_none() {
        for bad in [
            "",
            "Sun",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov 06 08:49:37 199x",
            "Sunday, 06-Nov-94 08:49:37 UTC",
        ] {
            assert_eq!(parse(bad.as_bytes(), NOW), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_second_is_read_back(seconds in 0..=MAX) {
            assert_eq!(parse(&format(seconds), NOW), Some(seconds));
        }

        #[test]
        fn no_text_makes_it_panic(value in proptest::collection::vec(0u8.., 0..40), now in 0u64..) {
            parse(&value, now);
        }
    }
}
