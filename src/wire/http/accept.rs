//! What the client would rather have: Accept-Encoding and Accept (RFC 9110, 12.5).
//!
//! Weights are thousandths, 0 to 1000; 0 means "not acceptable". A member that is malformed is skipped: these fields
//! are wishes, and a bad wish is no reason to refuse a request.

use super::text;

/// A member of a list of wishes and its weight.
fn members(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    text::list(value).filter_map(|member| {
        let mut parts = member.split(|&b| b == b';').map(text::trim);
        let name = parts.next()?;
        let mut weight = 1000;
        for parameter in parts {
            if let [b'q' | b'Q', b'=', digits @ ..] = parameter {
                weight = qvalue(digits)?;
            }
        }
        Some((name, weight))
    })
}

/// `0` to `1` with at most three decimals (RFC 9110, 12.4.2), in thousandths.
fn qvalue(digits: &[u8]) -> Option<u16> {
    let (whole, decimals): (&u8, &[u8]) = match digits {
        [whole] => (whole, &[]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut value = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (b, unit) in decimals.iter().zip([100, 10, 1]) {
        if !b.is_ascii_digit() {
            return None;
        }
        value += u16::from(b - b'0') * unit;
    }
    (value <= 1000).then_some(value)
}

/// The weight of a content coding such as `gzip`, in the Accept-Encoding field lines given; 0 if it is not wanted.
/// Its own name goes before `*`; of several equal ones the first counts. `identity` is wanted unless excluded.
pub fn coding_weight<'v>(values: impl Iterator<Item = &'v [u8]>, coding: &str) -> u16 {
    let [weight] = coding_weights(values, [coding]);
    weight
}

/// [`coding_weight`] of several codings, in one pass over the field lines.
pub fn coding_weights<'v, const N: usize>(
    values: impl Iterator<Item = &'v [u8]>,
    codings: [&str; N],
) -> [u16; N] {
    let (mut own, mut any) = ([None; N], None);
    for value in values {
        for (name, weight) in members(value) {
            if name == b"*" {
                any = any.or(Some(weight));
            }
            for (own, coding) in own.iter_mut().zip(codings) {
                if own.is_none() && name.eq_ignore_ascii_case(coding.as_bytes()) {
                    *own = Some(weight);
                }
            }
        }
    }
    let mut weights = [0; N];
    for ((weight, own), coding) in weights.iter_mut().zip(own).zip(codings) {
        let default = u16::from(coding.eq_ignore_ascii_case("identity"));
        *weight = own.or(any).unwrap_or(default);
    }
    weights
}

/// The weight of a media type such as `text/html`, without parameters, in the Accept field lines given: of the most
/// specific range that matches it (RFC 9110, 12.5.1). 1000 if there is no member at all; 0 if it is not wanted.
pub fn media_weight<'v>(values: impl Iterator<Item = &'v [u8]>, media_type: &str) -> u16 {
    let media_type = media_type.as_bytes();
    let slash = memchr::memchr(b'/', media_type).unwrap_or(media_type.len());
    let (mut best, mut found, mut seen) = (0, 0, false);
    for (range, weight) in values.flat_map(members) {
        seen = true;
        let specific = if range.eq_ignore_ascii_case(media_type) {
            3
        } else if range == b"*/*" {
            1
        } else if range
            .strip_suffix(b"/*")
            .is_some_and(|main| main.eq_ignore_ascii_case(&media_type[..slash]))
        {
            2
        } else {
            0
        };
        if specific > best {
            (best, found) = (specific, weight);
        }
    }
    if seen { found } else { 1000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(value: &str) -> u16 {
        coding_weight(std::iter::once(value.as_bytes()), "gzip")
    }

    #[test]
    fn a_coding_is_wanted_as_much_as_it_says() {
        assert_eq!(gzip("gzip"), 1000);
        assert_eq!(gzip("br, GZIP;q=0.5"), 500);
        assert_eq!(gzip("br, *;q=0.25"), 250);
        assert_eq!(gzip("*, gzip;q=0"), 0);
        assert_eq!(gzip("gzip ; Q=0.001"), 1);
        for none in ["", "br", "gzipx", "gzip;q=2", "gzip;q=x", "gzip;q=0.1234", "gzip;q=", "gzip;q=1.001"] {
            assert_eq!(gzip(none), 0, "{none}");
        }
        let identity = |v: &str| coding_weight(std::iter::once(v.as_bytes()), "identity");
        assert_eq!(
            (identity(""), identity("gzip"), identity("identity;q=0"), identity("*;q=0")),
            (1, 1, 0, 0)
        );
    }

    #[test]
    fn several_codings_at_once_weigh_what_each_does_alone() {
        for value in ["", "gzip", "br;q=0.5, *;q=0.25", "*;q=0", "gzip, gzip;q=0, identity;q=0.1"] {
            let values = || std::iter::once(value.as_bytes());
            let all = ["br", "gzip", "identity"];
            assert_eq!(coding_weights(values(), all), all.map(|one| coding_weight(values(), one)), "{value}");
        }
    }

    #[test]
    fn the_most_specific_media_range_counts() {
        let html = |v: &str| media_weight(std::iter::once(v.as_bytes()), "text/html");
        assert_eq!(html("text/*;q=0.3, */*;q=0.1, text/html;q=0.7"), 700);
        assert_eq!(html("text/*;q=0.3, */*;q=0.1"), 300);
        assert_eq!(html("application/json"), 0);
        assert_eq!(html(""), 1000);
    }
}
