//! Conditional requests (RFC 9110, 13): entity tags, and what the preconditions of a request come to.
//!
//! Dates are seconds since 1970 (see [`date`]). A precondition that cannot be read never makes more happen than
//! without it: a malformed If-Match fails, a malformed If-None-Match matches nothing, a date that is none is ignored.

use super::head::Fields;
use super::{Method, date};

/// An entity tag (RFC 9110, 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Whether it is marked `W/`.
    pub weak: bool,
    /// What is between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one tag, with its quotes, from the start of `value`; also gives what follows it.
    fn take(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, rest) = match value.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let rest = rest.strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', rest)?;
        let opaque = &rest[..end];
        let legal = opaque.iter().all(|&b| b > 0x20 && b != 0x7f);
        legal.then_some((EntityTag { weak, opaque }, &rest[end + 1..]))
    }

    /// Reads a value that is one tag and nothing else.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        match Self::take(value) {
            Some((tag, [])) => Some(tag),
            Some(_) | None => None,
        }
    }

    /// Equal, and neither is weak (RFC 9110, 8.8.3.2): the same bytes.
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Equal, weak or not: as good as the same.
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// What a list of entity tags says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Yes,
    No,
    Malformed,
}

/// Looks in `*` or a list of tags for one that is `wanted`.
fn search<'v>(
    values: impl Iterator<Item = &'v [u8]>,
    exists: bool,
    wanted: impl Fn(&EntityTag<'_>) -> bool,
) -> Found {
    let mut found = Found::No;
    for value in values {
        if value == b"*" {
            if exists {
                found = Found::Yes;
            }
            continue;
        }
        let mut rest = value;
        loop {
            while let [b' ' | b'\t' | b',', after @ ..] = rest {
                rest = after;
            }
            if rest.is_empty() {
                break;
            }
            let Some((tag, after)) = EntityTag::take(rest) else { return Found::Malformed };
            if !matches!(after, [] | [b' ' | b'\t' | b',', ..]) {
                return Found::Malformed;
            }
            if wanted(&tag) {
                found = Found::Yes;
            }
            rest = after;
        }
    }
    found
}

/// What is known of the selected representation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// Whether there is one at all, for `*`.
    pub exists: bool,
    /// Its entity tag.
    pub tag: Option<EntityTag<'a>>,
    /// When it was last changed, in seconds since 1970.
    pub modified: Option<u64>,
}

/// What the preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Do what the method says.
    Proceed,
    /// 304, for GET and HEAD.
    NotModified,
    /// 412.
    Failed,
}

/// Weighs the preconditions of a request in the order of RFC 9110, 13.2.2. `now`, in seconds since 1970, serves
/// dates with two-digit years only.
pub fn evaluate(method: Method<'_>, fields: &Fields<'_>, have: &Validators<'_>, now: u64) -> Outcome {
    if fields.get("if-match").is_some() {
        let same = |tag: &EntityTag<'_>| have.tag.is_some_and(|own| own.strong_eq(tag));
        if search(fields.all("if-match"), have.exists, same) != Found::Yes {
            return Outcome::Failed;
        }
    } else if let (Some(value), Some(modified)) = (fields.get("if-unmodified-since"), have.modified)
        && date::parse(value, now).is_some_and(|since| modified > since)
    {
        return Outcome::Failed;
    }
    let reading = matches!(method, Method::Get | Method::Head);
    if fields.get("if-none-match").is_some() {
        let same = |tag: &EntityTag<'_>| have.tag.is_some_and(|own| own.weak_eq(tag));
        if search(fields.all("if-none-match"), have.exists, same) == Found::Yes {
            return if reading { Outcome::NotModified } else { Outcome::Failed };
        }
    } else if let (true, Some(value), Some(modified)) =
        (reading, fields.get("if-modified-since"), have.modified)
        && date::parse(value, now).is_some_and(|since| modified <= since)
    {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether a Range field counts, given the value of If-Range: the strong tag, or the exact date
/// (RFC 9110, 13.1.5). Call it if [`evaluate`] said to proceed. A date counts only if the representation did not
/// change in the second before `now`, since then it would be a weak validator (RFC 9110, 8.8.2.2).
pub fn if_range(value: &[u8], have: &Validators<'_>, now: u64) -> bool {
    if let Some(tag) = EntityTag::parse(value) {
        return have.tag.is_some_and(|own| own.strong_eq(&tag));
    }
    match (date::parse(value, now), have.modified) {
        (Some(date), Some(modified)) => date == modified && modified.saturating_add(1) < now,
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{Parsed, Scan, head};
    use crate::wire::limits::Limits;

    const NOW: u64 = 1_750_000_000;
    const DATE: u64 = 784_111_777;

    fn outcome(method: &str, lines: &str, have: &Validators<'_>) -> Outcome {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        match head::parse(bytes.as_bytes(), &mut Scan::default(), &Limits::default()) {
            Ok(Parsed::Complete(head, _)) => evaluate(head.method, &head.fields, have, NOW),
            other => panic!("{other:?}"),
        }
    }

    fn have() -> Validators<'static> {
        Validators { exists: true, tag: EntityTag::parse(b"\"a,b\""), modified: Some(DATE) }
    }

    #[test]
    fn preconditions_are_weighed_in_order() {
        for (method, lines, want) in [
            ("GET", "X: y", Outcome::Proceed),
            ("GET", "If-None-Match: \"a,b\"", Outcome::NotModified),
            ("GET", "If-None-Match: W/\"a,b\"", Outcome::NotModified),
            ("GET", "If-None-Match: \"x\" , \"a,b\"", Outcome::NotModified),
            ("GET", "If-None-Match: \"x\"\r\nIf-None-Match: \"a,b\"", Outcome::NotModified),
            ("GET", "If-None-Match: *", Outcome::NotModified),
            ("PUT", "If-None-Match: *", Outcome::Failed),
            ("GET", "If-None-Match: \"x\"", Outcome::Proceed),
            ("GET", "If-None-Match: a,b", Outcome::Proceed),
            (
                "GET",
                "If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
                Outcome::Proceed,
            ),
            ("GET", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", Outcome::NotModified),
            ("HEAD", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", Outcome::Proceed),
            ("POST", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", Outcome::Proceed),
            ("GET", "If-Modified-Since: never", Outcome::Proceed),
            ("PUT", "If-Match: \"a,b\"", Outcome::Proceed),
            ("PUT", "If-Match: W/\"a,b\"", Outcome::Failed),
            ("PUT", "If-Match: \"x\"", Outcome::Failed),
            ("PUT", "If-Match: *", Outcome::Proceed),
            ("PUT", "If-Match: \"a,b\"x", Outcome::Failed),
            ("PUT", "If-Match: \"x\"\"a,b\"", Outcome::Failed),
            ("PUT", "If-Match: \"a,b\", \"x y\"", Outcome::Failed),
            ("PUT", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", Outcome::Failed),
            ("PUT", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", Outcome::Proceed),
            ("GET", "If-Match: \"a,b\"\r\nIf-None-Match: \"a,b\"", Outcome::NotModified),
        ] {
            assert_eq!(outcome(method, lines, &have()), want, "{method} {lines}");
        }
        let nothing = Validators::default();
        assert_eq!(outcome("PUT", "If-Match: *", &nothing), Outcome::Failed);
        assert_eq!(outcome("PUT", "If-None-Match: *", &nothing), Outcome::Proceed);
    }

    #[test]
    fn if_range_is_strong() {
        assert!(if_range(b"\"a,b\"", &have(), NOW));
        assert!(!if_range(b"W/\"a,b\"", &have(), NOW));
        assert!(!if_range(b"\"x\"", &have(), NOW));
        assert!(if_range(b"Sun, 06 Nov 1994 08:49:37 GMT", &have(), NOW));
        assert!(!if_range(b"Sun, 06 Nov 1994 08:49:38 GMT", &have(), NOW));
        assert!(!if_range(b"Sun, 06 Nov 1994 08:49:37 GMT", &have(), DATE));
        assert!(!if_range(b"x", &have(), NOW));
    }
}
