//! The request-target and the path in it (RFC 9112, 3.2; RFC 3986).
//!
//! [`Target::parse`] says which of the four forms it is; [`normalise`] turns its path into a relative path of plain
//! bytes, once decoded, without dot segments or empty segments, that can neither climb nor name a root. What cannot
//! be said in such a path is refused:
//!
//! - a raw `\`, a NUL (`%00`), a `%` without two hexadecimal digits: 400;
//! - an encoded `/` or `\` (`%2F`, `%5C`): 404. Decoding it would make a separator out of data, keeping it encoded
//!   would make two names out of one, and no file here can have that name.

use super::{Method, Reject, text};

/// A request-target in one of its forms. Bytes are as received: not decoded, only checked for what a URI can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`
    Origin {
        /// The path, beginning with `/`.
        path: &'b [u8],
        /// What follows the first `?`.
        query: Option<&'b [u8]>,
    },
    /// `http://authority/path?query`
    Absolute {
        /// The scheme: `http` or `https` in some case, or another.
        scheme: &'b [u8],
        /// Host and port; it stands in for the Host field (RFC 9112, 3.2.2). Not empty.
        authority: &'b [u8],
        /// The path, beginning with `/`, also where the target had none.
        path: &'b [u8],
        /// What follows the first `?`.
        query: Option<&'b [u8]>,
    },
    /// `host:port`, of CONNECT only.
    Authority(&'b [u8]),
    /// `*`, of OPTIONS only: the server as a whole.
    Asterisk,
}

impl<'b> Target<'b> {
    /// Reads a request-target of this method. Errors: [`Reject::BadTarget`].
    #[inline]
    pub fn parse(method: Method<'_>, target: &'b [u8]) -> Result<Self, Reject> {
        if target.first() == Some(&b'/') && method != Method::Connect {
            let (path, query) = split_path(target)?;
            return Ok(Target::Origin { path, query });
        }
        Self::parse_rare(method, target)
    }

    /// Reads the request-target that `line` begins with and a space ends, and what comes from that space on. `None` if it is not whole
    /// or not legal.
    #[inline(always)]
    pub(super) fn read(method: Method<'_>, line: &'b [u8]) -> Option<(Self, &'b [u8], &'b [u8])> {
        let (path, rest) = line.split_at(text::path_len(line));
        if let ([b'/', ..], [b' ', ..]) = (path, rest)
            && !matches!(method, Method::Connect)
        {
            return Some((Target::Origin { path, query: None }, path, rest));
        }
        Self::read_any(method, line)
    }

    fn read_any(method: Method<'_>, line: &'b [u8]) -> Option<(Self, &'b [u8], &'b [u8])> {
        let (target, rest) = line.split_at(memchr::memchr(b' ', line)?);
        Some((Self::parse(method, target).ok()?, target, rest))
    }

    fn parse_rare(method: Method<'_>, target: &'b [u8]) -> Result<Self, Reject> {
        if method == Method::Connect {
            let colon = memchr::memrchr(b':', target).ok_or(Reject::BadTarget)?;
            let (host, port) = (&target[..colon], &target[colon + 1..]);
            let good = !host.is_empty() && !port.is_empty() && is_authority(target);
            return if good { Ok(Target::Authority(target)) } else { Err(Reject::BadTarget) };
        }
        if target == b"*" && method == Method::Options {
            return Ok(Target::Asterisk);
        }
        let colon = memchr::memchr(b':', target).ok_or(Reject::BadTarget)?;
        let scheme = &target[..colon];
        let rest = target[colon..].strip_prefix(b"://").ok_or(Reject::BadTarget)?;
        let legal = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
        if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(legal) {
            return Err(Reject::BadTarget);
        }
        let end = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.is_empty() || authority[0] == b':' || !is_authority(authority) {
            return Err(Reject::BadTarget);
        }
        let (path, query) = split_path(rest)?;
        let path = if path.is_empty() { b"/" } else { path };
        Ok(Target::Absolute { scheme, authority, path, query })
    }

    /// The path, not decoded: `/…` of the first two forms, else empty.
    pub fn path(&self) -> &'b [u8] {
        match *self {
            Target::Origin { path, .. } | Target::Absolute { path, .. } => path,
            Target::Authority(_) | Target::Asterisk => b"",
        }
    }

    /// The query, not decoded, without its `?`.
    pub fn query(&self) -> Option<&'b [u8]> {
        match *self {
            Target::Origin { query, .. } | Target::Absolute { query, .. } => query,
            Target::Authority(_) | Target::Asterisk => None,
        }
    }
}

/// Checks every byte and parts the path from the query.
#[inline]
fn split_path(target: &[u8]) -> Result<(&[u8], Option<&[u8]>), Reject> {
    match target.split_at(text::path_len(target)) {
        (_, []) => Ok((target, None)),
        (path, [b'?', query @ ..]) if text::target_len(query) == query.len() => Ok((path, Some(query))),
        (_, _) => Err(Reject::BadTarget),
    }
}

/// Whether `value` is `uri-host [":" port]` (RFC 9110, 7.2): a name, an IPv4 address or a bracketed IP literal, and
/// a port of at most 65535. Empty is allowed: a client whose target has no authority must send that.
#[inline]
pub fn is_authority(value: &[u8]) -> bool {
    match value.split_at(text::reg_name_len(value)) {
        (_, []) => true,
        // `host:` with an empty port is legal (RFC 3986, 3.2.3); a port without a host is not.
        (host, [b':', port @ ..]) => !host.is_empty() && is_port(port),
        (_, _) => is_rare_authority(value),
    }
}

/// The authority that `line` begins with and CRLF ends, after one space or none, and what follows. A name or an IPv4 address without
/// escapes only; `None` for any other, legal or not.
#[inline(always)]
pub(super) fn read_authority(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = match line {
        [b' ', rest @ ..] => rest,
        _ => line,
    };
    let name = text::reg_name_len(line);
    let mut end = name;
    if let [b':', port @ ..] = &line[name..]
        && name > 0
    {
        let digits = text::digits_len(port);
        if !is_in_range(&port[..digits]) {
            return None;
        }
        end += 1 + digits;
    }
    match line.split_at(end) {
        (authority, [b'\r', b'\n', after @ ..]) => Some((authority, after)),
        (_, _) => None,
    }
}

/// Digits, none too, of a number up to 65535.
#[inline(always)]
fn is_port(port: &[u8]) -> bool {
    port.iter().all(u8::is_ascii_digit) && is_in_range(port)
}

/// Of digits: whether they are at most five, and say no more than 65535.
#[inline(always)]
fn is_in_range(digits: &[u8]) -> bool {
    match digits {
        // As many as the greatest has: the order of the text is that of the numbers.
        [a, b, c, d, e] => (u32::from_be_bytes([*a, *b, *c, *d]), *e) <= (u32::from_be_bytes(*b"6553"), b'5'),
        _ => digits.len() < 5,
    }
}

/// An authority with an IP literal or with escapes.
#[cold]
fn is_rare_authority(value: &[u8]) -> bool {
    let end = if value.first() == Some(&b'[') {
        match memchr::memchr(b']', value) {
            Some(end) if is_ip_literal(&value[1..end]) => end + 1,
            Some(_) | None => return false,
        }
    } else {
        let mut at = text::reg_name_len(value);
        while is_escape(&value[at..]) {
            at += 3;
            at += text::reg_name_len(&value[at..]);
        }
        at
    };
    match &value[end..] {
        [] => true,
        [b':', port @ ..] => end > 0 && is_port(port),
        _ => false,
    }
}

#[cold]
fn is_ip_literal(inner: &[u8]) -> bool {
    match std::str::from_utf8(inner) {
        Ok(s) if s.parse::<std::net::Ipv6Addr>().is_ok() => true,
        // IPvFuture (RFC 3986, 3.2.2).
        Ok(s) => s.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')).is_some_and(
            |(version, address)| {
                let hex = !version.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit());
                let legal = |b: u8| b == b':' || text::is_reg_name(b);
                hex && !address.is_empty() && address.bytes().all(legal)
            },
        ),
        Err(_) => false,
    }
}

fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

/// Whether the path is already as [`normalise`] would make it, but for its leading `/`.
#[inline]
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &b in path {
        if b == b'%' || b == b'\\' || b == 0 || (after_slash && (b == b'/' || b == b'.')) {
            return false;
        }
        after_slash = b == b'/';
    }
    true
}

/// The path of a target as a relative path: decoded once, dot segments removed (RFC 3986, 5.2.4), empty segments
/// dropped, no leading `/`. A trailing `/` stays, the root is empty. Never has a `.` or `..` segment, a NUL, nor two
/// slashes in a row; other bytes are free, also such that are not UTF-8. Most paths need nothing and are borrowed;
/// else `scratch` is cleared and used.
///
/// Errors: [`Reject::BadTarget`], [`Reject::EncodedSeparator`].
#[inline]
pub fn normalise<'x>(path: &'x [u8], scratch: &'x mut Vec<u8>) -> Result<&'x [u8], Reject> {
    if path == b"/" {
        return Ok(b"");
    }
    normalise_any(path, scratch)
}

fn normalise_any<'x>(path: &'x [u8], scratch: &'x mut Vec<u8>) -> Result<&'x [u8], Reject> {
    let Some(relative) = path.strip_prefix(b"/") else { return Err(Reject::BadTarget) };
    if is_plain(path) {
        return Ok(relative);
    }
    scratch.clear();
    let mut segments = relative.split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = scratch.len();
        decode(segment, scratch)?;
        let last = segments.peek().is_none();
        match &scratch[start..] {
            b"" | b"." => scratch.truncate(start),
            b".." => {
                // Back over the slash before this segment, then to behind the one before that.
                let parent = start.saturating_sub(1);
                scratch.truncate(parent);
                scratch.truncate(memchr::memrchr(b'/', scratch).map_or(0, |slash| slash + 1));
            }
            _ if last => {}
            _ => scratch.push(b'/'),
        }
    }
    Ok(scratch)
}

/// Appends the bytes of one segment, decoded.
fn decode(segment: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    let mut rest = segment;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        let byte = match (b, tail) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let high = text::hex(*high).ok_or(Reject::BadTarget)?;
                high << 4 | text::hex(*low).ok_or(Reject::BadTarget)?
            }
            (b'%' | b'\\' | 0, _) => return Err(Reject::BadTarget),
            (b, _) => {
                out.push(b);
                continue;
            }
        };
        match byte {
            b'/' | b'\\' => return Err(Reject::EncodedSeparator),
            0 => return Err(Reject::BadTarget),
            _ => out.push(byte),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_refused_however_it_is_written() {
        for path in [&b"/a\0b"[..], b"/a\0b/../c", b"/%00", b"/x%2e\0"] {
            assert_eq!(normalise(path, &mut Vec::new()), Err(Reject::BadTarget));
        }
    }

    fn norm(path: &str) -> Result<String, Reject> {
        let mut scratch = Vec::new();
        normalise(path.as_bytes(), &mut scratch).map(|p| String::from_utf8_lossy(p).into_owned())
    }

    #[test]
    fn a_normalised_path_never_climbs() {
        for (path, want) in [
            ("/", ""),
            ("/a", "a"),
            ("/a/", "a/"),
            ("/a/b/c/./../../g", "a/g"),
            ("/..", ""),
            ("/../..", ""),
            ("/a/..", ""),
            ("/a/.", "a/"),
            ("/a/b/..", "a/"),
            ("/a/b/../", "a/"),
            ("/../../etc/passwd", "etc/passwd"),
            ("/%2e%2e/%2E./x", "x"),
            ("/a//b", "a/b"),
            ("///////", ""),
            ("//@", "@"),
            ("/...", "..."),
            ("/a/...", "a/..."),
            ("/.git", ".git"),
            ("/a%20b", "a b"),
            ("/%41%7a", "Az"),
            ("/%252e", "%2e"),
            ("/a/b/%2e%2e/%2e%2e/%2e%2e/c", "c"),
        ] {
            assert_eq!(norm(path).as_deref(), Ok(want), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_a_relative_path_is_refused() {
        for path in ["", "a", "/%", "/%2", "/%zz", "/a%00", "/a\\b", "/%2z/.."] {
            assert_eq!(norm(path), Err(Reject::BadTarget), "{path}");
        }
        for path in ["/a%2fb", "/..%2Fb", "/a%5cb"] {
            assert_eq!(norm(path), Err(Reject::EncodedSeparator), "{path}");
        }
    }

    #[test]
    fn each_form_belongs_to_its_methods() {
        let parse = |m, t: &'static str| Target::parse(m, t.as_bytes());
        assert_eq!(parse(Method::Get, "/a?b?c"), Ok(Target::Origin { path: b"/a", query: Some(b"b?c") }));
        assert_eq!(
            parse(Method::Get, "http://h:1?q"),
            Ok(Target::Absolute { scheme: b"http", authority: b"h:1", path: b"/", query: Some(b"q") })
        );
        assert_eq!(parse(Method::Connect, "h:443"), Ok(Target::Authority(b"h:443")));
        assert_eq!(parse(Method::Connect, "[::1]:443"), Ok(Target::Authority(b"[::1]:443")));
        assert_eq!(parse(Method::Options, "*"), Ok(Target::Asterisk));
        for (m, t) in [
            (Method::Get, "*"),
            (Method::Get, "h:443"),
            (Method::Connect, "/"),
            (Method::Connect, "h"),
            (Method::Connect, "h:"),
            (Method::Get, "x"),
            (Method::Get, "http:///x"),
            (Method::Get, "http://u@h/"),
            (Method::Get, "1http://h/"),
            (Method::Get, "/a#b"),
            (Method::Get, "/a\\b"),
            (Method::Get, "/\u{e9}"),
        ] {
            assert_eq!(parse(m, t), Err(Reject::BadTarget), "{t}");
        }
    }

    #[test]
    fn host_is_a_name_or_an_address_and_a_port() {
        for good in
            ["", "a", "a:1", "a:", "0.0.0.0=5000", "%C3%B1", "[::1]", "[::1]:80", "[v1.x:y]", "a_b:65535"]
        {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a,b:c", "u@h", "a:b", "a:65536", "a:000080", ":80", "[::1", "[::g]", "[::1]x", "%zz",
            "a/b", "a:1:2",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_as_an_authority_is_one(value in " ?[a-z0-9.:%\\[\\] \t]{0,4}(:[0-9]{0,7})?", name: bool) {
            let value = if name { value.replace(['%', '[', ']', ' ', '\t'], "") } else { value };
            let line = format!("{value}\r\nnext");
            let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b".:".contains(&b));
            match read_authority(line.as_bytes()) {
                Some((authority, rest)) => {
                    assert_eq!((authority, rest), (text::trim(value.as_bytes()), &b"next"[..]));
                    assert!(is_authority(authority), "{value}");
                }
                None => assert!(!plain || !is_authority(value.as_bytes()), "{value}"),
            }
        }

        #[test]
        fn a_normalised_path_is_its_own_normal_form(path in "/[a-c./%2eEfF0]{0,24}") {
            let mut scratch = Vec::new();
            if let Ok(once) = normalise(path.as_bytes(), &mut scratch) {
                let mut segments = once.split(|&b| b == b'/').peekable();
                while let Some(s) = segments.next() {
                    assert!(s != b"." && s != b"..");
                    assert!(!s.is_empty() || segments.peek().is_none());
                }
                assert!(!once.starts_with(b"/") && !once.contains(&0));
            }
        }
    }
}
