//! Writing heads, fields and chunks. What cannot be read back as what was meant cannot be written: a
//! [`FieldName`] is a token, a [`FieldValue`] has no CR, LF or NUL, a status is three digits.
//!
//! Everything is appended to a `Vec<u8>` that the caller reuses; nothing else is allocated.

use super::{Method, Version, text};

/// A field name: a token (RFC 9110, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldName<'a>(&'a [u8]);

/// A field value: no control characters but HTAB, no whitespace at its ends (RFC 9110, 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldValue<'a>(&'a [u8]);

/// The bytes are no legal field name or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal;

impl<'a> FieldName<'a> {
    /// Checks a name.
    pub fn new(name: &'a [u8]) -> Result<Self, Illegal> {
        if text::is_token_text(name) { Ok(FieldName(name)) } else { Err(Illegal) }
    }

    /// A name known when compiling; bad ones do not compile in a `const`.
    pub const fn from_static(name: &'static str) -> FieldName<'static> {
        let bytes = name.as_bytes();
        let mut i = 0;
        assert!(!bytes.is_empty());
        while i < bytes.len() {
            assert!(
                bytes[i].is_ascii_alphanumeric() || bytes[i] == b'-' || bytes[i] == b'_',
                "illegal field name"
            );
            i += 1;
        }
        FieldName(bytes)
    }

    /// The bytes of the name.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> FieldValue<'a> {
    /// Checks a value. Whitespace at its ends is cut off, since a reader would.
    pub fn new(value: &'a [u8]) -> Result<Self, Illegal> {
        if value.iter().all(|&b| text::is_value(b)) {
            Ok(FieldValue(text::trim(value)))
        } else {
            Err(Illegal)
        }
    }

    /// A value known when compiling; bad ones do not compile in a `const`.
    pub const fn from_static(value: &'static str) -> FieldValue<'static> {
        let bytes = value.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            assert!(bytes[i] >= 0x20 && bytes[i] != 0x7f, "illegal field value");
            i += 1;
        }
        FieldValue(bytes)
    }

    /// The bytes of the value.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// The reason phrase of a status code (RFC 9110, 15 and others); empty for codes without one.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// `HTTP/1.1 100 Continue` and its empty line.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The status line, CRLF included. Always HTTP/1.1 (RFC 9110, 2.5). A code outside 100 to 999 becomes 500.
#[inline]
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    let known: &[u8] = match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        _ => return rare_status_line(out, status),
    };
    out.extend_from_slice(known);
}

fn rare_status_line(out: &mut Vec<u8>, status: u16) {
    let status = if (100..=999).contains(&status) { status } else { 500 };
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A request line, CRLF included. `false`, and nothing written, if the method is no token or the target is empty or
/// has a byte that no target has.
pub fn request_line(out: &mut Vec<u8>, method: Method<'_>, target: &[u8], version: Version) -> bool {
    let legal = !target.is_empty() && target.iter().all(|&b| text::is_target(b));
    if !legal || !text::is_token_text(method.as_str().as_bytes()) {
        return false;
    }
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(match version {
        Version::Http10 => b" HTTP/1.0\r\n",
        Version::Http11 => b" HTTP/1.1\r\n",
    });
    true
}

/// One field line, CRLF included.
#[inline]
pub fn field(out: &mut Vec<u8>, name: FieldName<'_>, value: FieldValue<'_>) {
    out.extend_from_slice(name.0);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.0);
    out.extend_from_slice(b"\r\n");
}

/// One field line whose value is whatever it is: each byte that a value cannot have is written as a space.
pub fn field_cleaned(out: &mut Vec<u8>, name: FieldName<'_>, value: &[u8]) {
    out.extend_from_slice(name.0);
    out.extend_from_slice(b": ");
    out.extend(value.iter().map(|&b| if text::is_value(b) { b } else { b' ' }));
    out.extend_from_slice(b"\r\n");
}

/// One field line with a number.
#[inline]
pub fn field_number(out: &mut Vec<u8>, name: FieldName<'_>, value: u64) {
    out.extend_from_slice(name.0);
    out.extend_from_slice(b": ");
    number(out, value);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length: n`.
#[inline]
pub fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Range: bytes first-last/length`, of a range that is not empty.
pub fn content_range(out: &mut Vec<u8>, range: &std::ops::Range<u64>, length: u64) {
    out.extend_from_slice(b"Content-Range: bytes ");
    number(out, range.start);
    out.push(b'-');
    number(out, range.end.saturating_sub(1));
    out.push(b'/');
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Range: bytes */length`, for 416.
pub fn content_range_unsatisfied(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Range: bytes */");
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// The empty line that ends a head.
#[inline]
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Decimal digits.
#[inline]
pub fn number(out: &mut Vec<u8>, mut n: u64) {
    if n < 10 {
        out.push(b'0' + n as u8);
        return;
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while n > 0 {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The most bytes [`chunk_start`] writes: 16 digits and CRLF.
pub const CHUNK_START_MAX: usize = 18;

/// The line before the data of a chunk. `len` must not be 0, which would end the body: then nothing is written.
pub fn chunk_start(out: &mut Vec<u8>, len: u64) {
    if len == 0 {
        return;
    }
    let digits = (64 - len.leading_zeros()).div_ceil(4);
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(len >> (i * 4) & 15) as usize]);
    }
    out.extend_from_slice(b"\r\n");
}

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// What ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// One whole chunk. Nothing at all for empty data.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        chunk_start(out, data.len() as u64);
        out.extend_from_slice(data);
        out.extend_from_slice(CHUNK_END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_would() {
        for n in [0, 1, 9, 10, 99, 100, 12345, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
            out.clear();
            chunk_start(&mut out, n);
            let want = if n == 0 { String::new() } else { format!("{n:x}\r\n") };
            assert_eq!(out, want.as_bytes());
            assert!(out.len() <= CHUNK_START_MAX);
        }
    }

    #[test]
    fn a_line_break_cannot_be_written_into_a_field() {
        assert_eq!(FieldValue::new(b"a\r\nSet-Cookie: x"), Err(Illegal));
        assert_eq!(FieldValue::new(b"a\0"), Err(Illegal));
        assert_eq!(FieldName::new(b"a:b"), Err(Illegal));
        assert_eq!(FieldName::new(b""), Err(Illegal));
        let mut out = Vec::new();
        field_cleaned(&mut out, FieldName::from_static("X"), b"a\r\n\0b");
        assert_eq!(out, b"X: a   b\r\n");
    }

    #[test]
    fn a_value_is_written_without_blanks_at_its_ends() {
        assert_eq!(FieldValue::new(b" \ta b\t ").map(FieldValue::as_bytes), Ok(&b"a b"[..]));
    }

    #[test]
    fn a_request_line_that_could_not_be_read_back_is_not_written() {
        let written = |method: &str, target: &str| {
            let mut out = Vec::new();
            let done = request_line(&mut out, Method::new(method), target.as_bytes(), Version::Http11);
            (done, String::from_utf8(out).unwrap())
        };
        assert_eq!(written("GET", "/a?b"), (true, "GET /a?b HTTP/1.1\r\n".into()));
        for (method, target) in [("GET", ""), ("GET", "/a b"), ("GET", "/\r\nx"), ("G T", "/"), ("", "/")] {
            assert_eq!(written(method, target), (false, String::new()), "{method} {target:?}");
        }
    }

    #[test]
    fn every_status_gives_a_status_line_that_can_be_read() {
        for status in [0, 99, 100, 200, 299, 304, 404, 599, 999, 1000, u16::MAX] {
            let mut out = Vec::new();
            status_line(&mut out, status);
            let mut fields = [httparse::EMPTY_HEADER; 1];
            let mut response = httparse::Response::new(&mut fields);
            out.extend_from_slice(b"\r\n");
            assert!(response.parse(&out).unwrap().is_complete());
            let want = if (100..=999).contains(&status) { status } else { 500 };
            assert_eq!(response.code, Some(want));
        }
    }
}
