//! Response heads, for when we are the client: bytes in, a [`ResponseHead`] out (RFC 9112, 4).
//!
//! As strict as with requests: an upstream that frames its messages in two ways at once is not to be trusted with a
//! shared connection. Interim responses (1xx) are heads like any other; the caller reads on.

use std::mem::MaybeUninit;

use super::framing::{Facts, Framing};
use super::head::{Fields, note_all};
use super::{Method, Reject, Version, text};
use crate::wire::limits::Limits;

/// A legal response head. Borrows from the buffer it was read from.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'b> {
    /// The version of the response.
    pub version: Version,
    /// The status code, 100 to 999.
    pub status: u16,
    /// How the body ends.
    pub framing: Framing,
    /// Content-Length as stated, also where no body follows.
    pub stated_length: Option<u64>,
    /// Whether the connection may be used again once the body was read; false with [`Framing::UntilClose`].
    pub keep_alive: bool,
    /// Whether Connection lists `upgrade`, in HTTP/1.1.
    pub connection_upgrade: bool,
    /// The value of the first Upgrade field.
    pub upgrade_field: Option<&'b [u8]>,
    /// All fields.
    pub fields: Fields<'b>,
}

/// What [`parse`] found.
#[derive(Debug)]
pub enum ParsedResponse<'b> {
    /// A whole head, and how many bytes it is.
    Complete(ResponseHead<'b>, usize),
    /// Not whole yet. Show the same bytes again, longer.
    Partial,
}

/// Reads a response head from the start of `buf`; `to` is the method of its request. `scanned` is the memory between
/// calls for one head, 0 for a new one, and 0 again after `Complete`: each byte is searched for the end once.
/// Whatever is wrong is found when the head is complete, or at the limit.
pub fn parse<'b>(
    buf: &'b [u8],
    scanned: &mut usize,
    to: Method<'_>,
    limits: &Limits,
) -> Result<ParsedResponse<'b>, Reject> {
    let from = scanned.saturating_sub(3).min(buf.len());
    let Some(at) = memchr::memmem::find(&buf[from..], b"\r\n\r\n") else {
        *scanned = buf.len();
        return if buf.len() >= limits.head_size {
            Err(Reject::HeadTooLarge)
        } else {
            Ok(ParsedResponse::Partial)
        };
    };
    let len = from + at + 4;
    if len > limits.head_size {
        return Err(Reject::HeadTooLarge);
    }
    *scanned = 0;
    Ok(ParsedResponse::Complete(whole(&buf[..len], to, limits)?, len))
}

fn whole<'b>(bytes: &'b [u8], to: Method<'_>, limits: &Limits) -> Result<ResponseHead<'b>, Reject> {
    let mut storage = [const { MaybeUninit::<httparse::Header<'b>>::uninit() }; Limits::MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut storage) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Err(Reject::BadStatusLine),
        Err(error) => return Err(fault(error)),
    };
    // It must begin with the status line, and end where we found the end: else some line ended with a bare LF.
    if !bytes.starts_with(b"HTTP/") || len != bytes.len() {
        return Err(Reject::BareLf);
    }
    if response.headers.len() > limits.head_fields {
        return Err(Reject::TooManyFields);
    }
    let status = response.code.filter(|c| (100..=999).contains(c)).ok_or(Reject::BadStatusLine)?;
    let version = match response.version {
        Some(0) => Version::Http10,
        Some(_) | None => Version::Http11,
    };
    let mut facts = Facts::new(version);
    // Names the fault, which `note_all` keeps to itself.
    for field in response.headers.iter().filter(|f| !f.name.eq_ignore_ascii_case("host")) {
        facts.note(field.name.as_bytes(), text::trim(field.value))?;
    }
    let mut again = Facts::new(version);
    let seen = note_all(response.headers, bytes, &mut again).ok_or(Reject::BareLf)?;
    let framing = facts.response_framing(status, to);
    Ok(ResponseHead {
        version,
        status,
        framing,
        stated_length: facts.stated_length(),
        keep_alive: facts.keep_alive() && framing != Framing::UntilClose,
        connection_upgrade: facts.connection_upgrade(),
        upgrade_field: seen.upgrade,
        fields: seen.fields,
    })
}

fn fault(error: httparse::Error) -> Reject {
    match error {
        httparse::Error::HeaderName => Reject::BadFieldName,
        httparse::Error::HeaderValue => Reject::BadFieldValue,
        httparse::Error::NewLine => Reject::BareCr,
        httparse::Error::TooManyHeaders => Reject::TooManyFields,
        httparse::Error::Version => Reject::UnsupportedVersion,
        httparse::Error::Status | httparse::Error::Token => Reject::BadStatusLine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8], to: Method<'_>) -> Result<Option<ResponseHead<'static>>, Reject> {
        match parse(bytes, &mut 0, to, &Limits::default())? {
            ParsedResponse::Complete(head, len) => {
                assert!(len <= bytes.len());
                Ok(Some(head))
            }
            ParsedResponse::Partial => Ok(None),
        }
    }

    #[test]
    fn the_end_of_a_response_follows_the_rules_in_order() {
        let framing = |bytes, to| read(bytes, to).unwrap().unwrap().framing;
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Get), Framing::Length(5));
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Head), Framing::None);
        assert_eq!(framing(b"HTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n", Method::Get), Framing::None);
        assert_eq!(framing(b"HTTP/1.1 200\r\n\r\n", Method::Connect), Framing::None);
        assert_eq!(
            framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Get),
            Framing::Chunked
        );
        let head = read(b"HTTP/1.1 200 OK\r\n\r\nx", Method::Get).unwrap().unwrap();
        assert!(head.framing == Framing::UntilClose && !head.keep_alive);
    }

    #[test]
    fn a_faulty_response_is_refused() {
        for (bytes, want) in [
            (
                &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"[..],
                Reject::BadContentLength,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                Reject::ConflictingLength,
            ),
            (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Reject::BadTransferEncoding),
            (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", Reject::BareLf),
            (b"HTTP/1.1 200 OK\r\nX: y\n\nZ\r\n\r\n", Reject::BareLf),
            (b"HTTP/1.1 099 OK\r\n\r\n", Reject::BadStatusLine),
            (b"HTTP/2 200 OK\r\n\r\n", Reject::UnsupportedVersion),
            (b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", Reject::BadFieldName),
            (b"\r\nHTTP/1.1 200 OK\r\n\r\n", Reject::BareLf),
        ] {
            assert_eq!(read(bytes, Method::Get).map(|_| ()), Err(want), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_the_same_head() {
        let bytes = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\nrest";
        let mut scanned = 0;
        for n in 0..bytes.len() {
            match parse(&bytes[..n], &mut scanned, Method::Get, &Limits::default()).unwrap() {
                ParsedResponse::Complete(head, len) => {
                    assert_eq!((n, len), (bytes.len() - 4, bytes.len() - 4));
                    assert_eq!(head.fields.get("server"), Some(&b"x"[..]));
                    return;
                }
                ParsedResponse::Partial => {}
            }
        }
        panic!("never complete");
    }
}
