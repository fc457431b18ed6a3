//! From when until when a certificate is valid: as much of DER (X.690) and of X.509 (RFC 5280, section 4.1) as that takes.

use std::time::{Duration, SystemTime};

/// The two ends, both inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Validity {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

impl Validity {
    /// Of a certificate in DER; `None` if it is none.
    pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
        let (whole, _) = element(certificate, SEQUENCE)?;
        let (to_be_signed, _) = element(whole, SEQUENCE)?;
        let rest = match to_be_signed.first()? {
            &VERSION => any(to_be_signed)?.2,
            _ => to_be_signed,
        };
        // Serial number, algorithm, issuer; then it.
        let rest = any(any(any(rest)?.2)?.2)?.2;
        let (validity, _) = element(rest, SEQUENCE)?;
        let (tag, not_before, rest) = any(validity)?;
        let not_before = time(tag, not_before)?;
        let (tag, not_after, _) = any(rest)?;
        Some(Validity { not_before, not_after: time(tag, not_after)? })
    }
}

/// Tag, content and what follows of the element at the front.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // At most four bytes of length: a certificate is smaller.
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        0x80 | 0x85..=0xff => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

fn element(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    any(bytes).and_then(|(tag, content, rest)| (tag == wanted).then_some((content, rest)))
}

/// `YYMMDDHHMMSSZ` (50 and above are of the last century) or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| -> Option<u64> {
        digits.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u64::from(digit - b'0')))
    };
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2])?;
            (if year >= 50 { 1900 + year } else { 2000 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let mut parts = [0; 5];
    for (part, digits) in parts.iter_mut().zip(rest.chunks(2)) {
        *part = number(digits)?;
    }
    let [month, day, hour, minute, second] = parts;
    let sound =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !sound {
        return None;
    }
    // Before 1970 is long over, whatever the day.
    let days = u64::try_from(days(year as i64, month as i64, day as i64)).unwrap_or(0);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

/// Days since 1970-01-01, by the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // A year that begins in March puts the leap day at its end.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `2026-11-23 04:05 UTC`
pub(super) fn date(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (today, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    let shifted = today + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(at: SystemTime) -> u64 {
        at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn times_of_both_forms_are_read_and_nonsense_is_not() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "260101000000Z", 1_767_225_600),
            (UTC_TIME, "240229235959Z", 1_709_251_199),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (UTC_TIME, "500101000000Z", 0),
            (GENERALIZED_TIME, "20260101000000Z", 1_767_225_600),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(time(tag, text.as_bytes()).map(seconds), Some(expected), "{text}");
        }
        for (tag, text) in [
            (UTC_TIME, "260101000000"),
            (UTC_TIME, "2601010000Z"),
            (UTC_TIME, "261301000000Z"),
            (UTC_TIME, "2601010x0000Z"),
            (UTC_TIME, "20260101000000Z"),
            (GENERALIZED_TIME, "260101000000Z"),
            (2, "260101000000Z"),
        ] {
            assert_eq!(time(tag, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_date_is_written_as_it_was_read() {
        for text in ["20000229120000Z", "20260101000000Z", "20991231235900Z", "21000301000000Z"] {
            let at = time(GENERALIZED_TIME, text.as_bytes()).unwrap();
            let written = date(at);
            let digits: String = written.chars().filter(char::is_ascii_digit).collect();
            assert_eq!(digits, text[..12], "{written}");
        }
    }

    #[test]
    fn the_validity_of_a_made_certificate_is_found_and_any_cut_of_it_is_refused_or_the_same() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 3, 1);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let validity = Validity::of(&der).unwrap();
        assert_eq!(date(validity.not_before), "2024-02-29 00:00 UTC");
        assert_eq!(date(validity.not_after), "2051-03-01 00:00 UTC");
        for len in 0..der.len() {
            assert_eq!(Validity::of(&der[..len]), None, "cut at {len}");
        }
        for at in 0..der.len() {
            let mut broken = der.clone();
            broken[at] ^= 0x81;
            let _ = Validity::of(&broken);
        }
    }
}
