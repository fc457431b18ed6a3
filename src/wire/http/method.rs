//! Request methods (RFC 9110, 9).

use super::text;

/// A request method. Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'b> {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// Any other token of at most [`Method::MAX_LEN`] bytes.
    Other(&'b str),
}

/// The registered methods beside the nine, and three that are in wide use: PURGE, M-SEARCH and SOURCE.
const REGISTERED: [&str; 35] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "M-SEARCH",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "NOTIFY",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
    "UPDATE",
    "VERSION-CONTROL",
];

impl<'b> Method<'b> {
    /// The longest method there is room for, in bytes. A longer one is refused with 501 (RFC 9112, 3).
    pub const MAX_LEN: usize = 32;

    /// The method of these bytes, which must be a token.
    #[inline]
    pub fn new(token: &'b str) -> Self {
        match token.as_bytes() {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Other(token),
        }
    }

    /// Reads the method that `line` begins with and a space ends, and what is behind that space. `None` if it is not whole, no token,
    /// or longer than [`MAX_LEN`](Self::MAX_LEN).
    #[inline(always)]
    pub(super) fn read(line: &'b [u8]) -> Option<(Self, &'b [u8])> {
        // As one number: an array would be compared byte by byte.
        if let Some((first, rest)) = line.split_first_chunk()
            && u32::from_le_bytes(*first) == u32::from_le_bytes(*b"GET ")
        {
            return Some((Method::Get, rest));
        }
        Self::read_any(line)
    }

    fn read_any(line: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let (token, rest) = line.split_at(text::token_len(line));
        let rest = rest.strip_prefix(b" ")?;
        let small = (1..=Self::MAX_LEN).contains(&token.len());
        let token = std::str::from_utf8(token).ok().filter(|_| small)?;
        Some((Self::new(token), rest))
    }

    /// The method as it is written.
    pub fn as_str(self) -> &'b str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(token) => token,
        }
    }

    /// Whether the method is registered or in wide use. A server answers any other with 501 (RFC 9110, 9.1).
    pub fn is_known(self) -> bool {
        match self {
            Method::Other(token) => REGISTERED.binary_search(&token).is_ok(),
            Method::Get
            | Method::Head
            | Method::Post
            | Method::Put
            | Method::Delete
            | Method::Connect
            | Method::Options
            | Method::Trace
            | Method::Patch => true,
        }
    }

    /// Whether the method asks for no change (RFC 9110, 9.2.1). Unknown ones are taken to be unsafe.
    pub fn is_safe(self) -> bool {
        matches!(
            self,
            Method::Get
                | Method::Head
                | Method::Options
                | Method::Trace
                | Method::Other("QUERY" | "SEARCH" | "PROPFIND" | "REPORT")
        )
    }

    /// Whether doing it twice is as doing it once (RFC 9110, 9.2.2): a request that may be sent again.
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Method::Put | Method::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_methods_is_sorted() {
        assert!(REGISTERED.is_sorted());
        assert!(REGISTERED.iter().all(|m| m.len() <= Method::MAX_LEN));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for m in
            ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "MKCOL", "get"]
        {
            assert_eq!(Method::new(m).as_str(), m);
        }
        assert!(Method::new("MKCOL").is_known());
        assert!(!Method::new("MKCOLA").is_known());
        assert!(!Method::new("get").is_known());
    }
}
