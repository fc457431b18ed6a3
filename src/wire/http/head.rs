//! Request heads: bytes in, a [`Head`] that can only be legal out (RFC 9112, 2 to 5).
//!
//! [`parse`] costs one pass for a head that came whole, which nearly all do, and the same visit of each field line decides
//! framing, host and connection: 230 instructions for the smallest request, where `httparse` and a walk over what it
//! found took 750. That pass only ever says yes. For a no it asks the [`Scan`], which is the norm. A head that comes in pieces is read once by the
//! incremental [`Scan`], however small the pieces are, and once more when it is whole: O(n) in total.
//!
//! A `Head` keeps no table of its fields. They are walked again when asked for, from bytes known to be well formed;
//! a 64-bit filter of the names that are there answers most questions for absent ones without looking.
//!
//! The method may be one nobody has heard of: refusing it (501, [`Method::is_known`]) is up to the server.

use super::framing::{Facts, Framing, Noted};
use super::target::{self, Target};
use super::{Method, Reject, Scan, text};
use crate::wire::limits::Limits;

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// What [`parse`] found.
#[derive(Debug)]
pub enum Parsed<'b> {
    /// A whole head, and how many bytes it is: the body or the next request begins there.
    Complete(Head<'b>, usize),
    /// Not whole yet and not wrong so far. Show the same bytes again, longer, with the same [`Scan`].
    Partial,
}

/// A legal request head. Borrows from the buffer it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Head<'b> {
    /// The method; [`Method::is_known`] is not checked.
    pub method: Method<'b>,
    /// The request-target in its form; it fits the method.
    pub target: Target<'b>,
    /// The request-target as received, for logs.
    pub raw_target: &'b [u8],
    /// The version of the request.
    pub version: Version,
    /// The value of the one Host field; always there in HTTP/1.1. May be empty.
    pub host: Option<&'b [u8]>,
    /// How the body ends. Never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the connection may stay after the response.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expect_continue: bool,
    /// Whether Connection lists `upgrade`, in HTTP/1.1.
    pub connection_upgrade: bool,
    /// The value of the first Upgrade field. Means nothing unless `connection_upgrade`; see [`Head::upgrade`].
    pub upgrade_field: Option<&'b [u8]>,
    /// All fields.
    pub fields: Fields<'b>,
}

impl<'b> Head<'b> {
    /// The value of the first field of this name, any case.
    #[inline]
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.get(name)
    }

    /// The protocols the client would like to change to, if it asks properly (RFC 9110, 7.8): an Upgrade field, and
    /// Connection says so.
    pub fn upgrade(&self) -> Option<&'b [u8]> {
        if self.connection_upgrade { self.upgrade_field } else { None }
    }

    /// The authority that is asked for: of the absolute target if there is one, else of Host (RFC 9112, 3.3).
    pub fn authority(&self) -> Option<&'b [u8]> {
        match self.target {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin { .. } | Target::Asterisk => self.host,
        }
    }
}

/// The field lines of a head: names are tokens, values trimmed and free of control characters.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'b> {
    /// The lines, each with its CRLF, without the empty line.
    lines: &'b [u8],
    /// One bit for each name that is there, by length and first letter.
    names: u64,
}

#[inline]
fn name_bit(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |b| b | 0x20);
    1 << ((name.len() ^ (first as usize) << 1) & 63)
}

impl<'b> Fields<'b> {
    /// The value of the first field of this name, any case.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        if self.names & name_bit(name.as_bytes()) == 0 {
            return None;
        }
        self.all(name).next()
    }

    /// The values of all fields of this name, any case, in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'b, 'n> {
        let lines = if self.names & name_bit(name.as_bytes()) == 0 { &[] } else { self.lines };
        let fields = Fields { lines, names: 0 };
        fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    /// Names as received and values, in order.
    pub fn iter(&self) -> FieldIter<'b> {
        FieldIter { rest: self.lines }
    }
}

/// Walks the fields of a head.
#[derive(Clone, Debug)]
pub struct FieldIter<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for FieldIter<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Names are short: a plain search for the colon is quicker than one that has to set itself up.
        let colon = self.rest.iter().position(|&b| b == b':')?;
        let (name, after) = self.rest.split_at(colon);
        let end = memchr::memchr(b'\n', after)?;
        self.rest = &after[end + 1..];
        Some((name, text::trim(&after[1..end - 1])))
    }
}

/// Reads a request head from the start of `buf`, which may hold more behind it. Leading empty lines are skipped
/// and counted in (RFC 9112, 2.2).
///
/// `scan` is the memory between calls for one head: fresh for a new head, and put back to fresh by `Complete`. After an
/// error it is of no more use.
#[inline]
pub fn parse<'b>(buf: &'b [u8], scan: &mut Scan, limits: &Limits) -> Result<Parsed<'b>, Reject> {
    if scan.is_fresh()
        && let Some((head, len)) = parse_whole(buf, limits)
    {
        return Ok(Parsed::Complete(head, len));
    }
    parse_slowly(buf, scan, limits)
}

/// The path of heads that come in pieces, and of bad ones.
#[cold]
fn parse_slowly<'b>(buf: &'b [u8], scan: &mut Scan, limits: &Limits) -> Result<Parsed<'b>, Reject> {
    let Some(len) = scan.advance(buf, limits)? else { return Ok(Parsed::Partial) };
    *scan = Scan::default();
    match parse_whole(&buf[..len], limits) {
        Some((head, whole)) if whole == len => Ok(Parsed::Complete(head, len)),
        // The two readers disagree. No input is known to do that (a fuzz target looks for one); refuse it.
        Some(_) | None => Err(Reject::BadRequestLine),
    }
}

/// Reads a head that is whole and legal, and says how long it is; `None` for any other, about which [`parse`] has to be asked. Inlined
/// so that a `Head` is built where it is wanted.
#[inline(always)]
pub fn parse_whole<'b>(buf: &'b [u8], limits: &Limits) -> Option<(Head<'b>, usize)> {
    let window = &buf[..buf.len().min(limits.head_size)];
    let mut line = window;
    while let [b'\r', b'\n', after @ ..] = line {
        line = after;
    }
    let (method, line) = Method::read(line)?;
    let (target, raw_target, line) = Target::read(method, line)?;
    let (end, line) = line.split_first_chunk::<8>()?;
    // As one number: an array would be compared piece by piece.
    if u64::from_le_bytes(*end) != u64::from_le_bytes(*b" HTTP/1.") || raw_target.len() > limits.target_size {
        return None;
    }
    let (version, lines) = match line {
        [b'1', b'\r', b'\n', lines @ ..] => (Version::Http11, lines),
        [b'0', b'\r', b'\n', lines @ ..] => (Version::Http10, lines),
        _ => return None,
    };
    let mut facts = Facts::new(version);
    let (seen, rest) = read_fields(lines, limits, &mut facts)?;
    let plain = facts.is_plain();
    let framing = if plain { Framing::None } else { facts.request_framing().ok()? };
    let len = window.len() - rest.len();
    // Made where it is returned: each move of it is 200 bytes.
    Some((
        Head {
            method,
            target,
            raw_target,
            version,
            host: seen.host,
            framing,
            keep_alive: plain || facts.keep_alive(),
            expect_continue: !plain && facts.expects_continue(),
            connection_upgrade: !plain && facts.connection_upgrade(),
            upgrade_field: seen.upgrade,
            fields: seen.fields,
        },
        len,
    ))
}

/// Reads and notes the field lines and the empty line behind them; says what comes then.
#[inline(always)]
fn read_fields<'b>(lines: &'b [u8], limits: &Limits, facts: &mut Facts) -> Option<(Seen<'b>, &'b [u8])> {
    let (mut host, mut upgrade, mut names) = (None, None, 0);
    let mut room = limits.head_fields.min(Limits::MAX_FIELDS);
    let mut rest = lines;
    loop {
        // The one field that every request has is read as what it is.
        if let Some((&[a, b, c, d, b':'], after)) = rest.split_first_chunk()
            && u32::from_le_bytes([a, b, c, d]) | 0x2020_2020 == u32::from_le_bytes(*b"host")
            && let Some((authority, after)) = target::read_authority(after)
        {
            if room == 0 || !facts.note_host() {
                return None;
            }
            room -= 1;
            rest = after;
            names |= name_bit(b"host");
            host = Some(authority);
            continue;
        }
        if let [b'\r', b'\n', after @ ..] = rest {
            let fields = Fields { lines: &lines[..lines.len() - rest.len()], names };
            return Some((Seen { host, upgrade, fields }, after));
        }
        let (name, after) = rest.split_at(text::token_len(rest));
        let [b':', after @ ..] = after else { return None };
        let (value, after) = after.split_at(text::value_len(after));
        let [b'\r', b'\n', after @ ..] = after else { return None };
        if name.is_empty() || room == 0 {
            return None;
        }
        room -= 1;
        rest = after;
        names |= name_bit(name);
        let value = text::trim_value(value);
        match facts.note(name, value).ok()? {
            Noted::Host => host = Some(value),
            Noted::Upgrade => upgrade = upgrade.or(Some(value)),
            Noted::Other => {}
        }
    }
}

/// What a walk over the field lines of a head found beside the [`Facts`].
pub(super) struct Seen<'b> {
    host: Option<&'b [u8]>,
    pub(super) upgrade: Option<&'b [u8]>,
    pub(super) fields: Fields<'b>,
}

/// Notes every field of the head that is `bytes`, and sees to it that each line ends with CRLF: httparse takes a
/// bare LF for a line end, we do not. `None` if anything is wrong.
pub(super) fn note_all<'b>(
    found: &[httparse::Header<'b>],
    bytes: &'b [u8],
    facts: &mut Facts,
) -> Option<Seen<'b>> {
    // Offsets of what httparse found, so that what is before it can be looked at.
    let base = bytes.as_ptr() as usize;
    let end = bytes.len() - 2;
    let (mut host, mut upgrade, mut names, mut first) = (None, None, 0, end);
    for field in found {
        let start = field.name.as_ptr() as usize - base;
        if bytes.get(start.wrapping_sub(2)) != Some(&b'\r') {
            return None;
        }
        first = first.min(start);
        let name = field.name.as_bytes();
        let value = text::trim(field.value);
        names |= name_bit(name);
        match facts.note(name, value).ok()? {
            Noted::Host => host = Some(value),
            Noted::Upgrade => upgrade = upgrade.or(Some(value)),
            Noted::Other => {}
        }
    }
    Some(Seen { host, upgrade, fields: Fields { lines: bytes.get(first..end)?, names } })
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
