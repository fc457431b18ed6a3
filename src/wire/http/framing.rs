//! How long the body of a message is, and whether the connection outlives it (RFC 9112, 6 and 9.3).
//!
//! The only place where that is decided. [`Facts`] collects, field line by field line, what a head says about its
//! message; the fast parser of whole heads and the incremental [`Scan`](super::Scan) feed the same `Facts`,
//! so they cannot disagree. Where the RFC lets a recipient choose between repair and refusal, it refuses:
//!
//! - Content-Length is digits only, at most 2^63-1, at most once, even if the copies are equal.
//! - Transfer-Encoding is exactly one `chunked`, in one field line, in HTTP/1.1.
//! - Never both.

use super::{Reject, Version, target, text};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body follows the head.
    None,
    /// So many bytes follow; 0 is possible and means that the message said so.
    Length(u64),
    /// Chunks follow (RFC 9112, 7.1).
    Chunked,
    /// The body ends when the connection does. Responses only; a request never has this.
    UntilClose,
}

/// The largest length that is accepted, so that sums of two lengths cannot overflow.
pub const MAX_LENGTH: u64 = i64::MAX as u64;

const HOST: u16 = 1;
const LENGTH: u16 = 1 << 1;
const CHUNKED: u16 = 1 << 2;
const CLOSE: u16 = 1 << 3;
const KEEP_ALIVE: u16 = 1 << 4;
const UPGRADE_TOKEN: u16 = 1 << 5;
const EXPECT: u16 = 1 << 6;
const OTHER_EXPECTATION: u16 = 1 << 7;
const VERSION_1_1: u16 = 1 << 8;

/// What the field lines of a head said so far about host, framing and connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    length: u64,
    flags: u16,
}

/// Which field a line was, where the caller wants to keep its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The Host field; its value is valid.
    Host,
    /// An Upgrade field.
    Upgrade,
    /// Any other.
    Other,
}

impl Facts {
    /// Nothing seen yet of a message of this version.
    pub fn new(version: Version) -> Self {
        let flags = match version {
            Version::Http10 => 0,
            Version::Http11 => VERSION_1_1,
        };
        Facts { length: 0, flags }
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Takes one field line in: `name` a token, `value` trimmed and free of control characters.
    #[inline(always)]
    pub fn note(&mut self, name: &[u8], value: &[u8]) -> Result<Noted, Reject> {
        // The one field that every request has. Only the two cases of a letter become that letter.
        if let [a, b, c, d] = *name
            && u32::from_le_bytes([a, b, c, d]) | 0x2020_2020 == u32::from_le_bytes(*b"host")
        {
            return self.host(value);
        }
        self.note_other(name, value)
    }

    #[inline(always)]
    fn host(&mut self, value: &[u8]) -> Result<Noted, Reject> {
        if self.has(HOST) {
            return Err(Reject::DuplicateHost);
        }
        if !target::is_authority(value) {
            return Err(Reject::BadHost);
        }
        self.flags |= HOST;
        Ok(Noted::Host)
    }

    /// Takes a Host field in whose value is a valid authority. False if there was one already.
    #[inline(always)]
    pub(super) fn note_host(&mut self) -> bool {
        let first = !self.has(HOST);
        self.flags |= HOST;
        first
    }

    fn note_other(&mut self, name: &[u8], value: &[u8]) -> Result<Noted, Reject> {
        // By length first: most names are none of these, and that is then known from one jump.
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"expect") => self.expectation(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => return Ok(Noted::Upgrade),
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value)?,
            _ => {}
        }
        Ok(Noted::Other)
    }

    fn expectation(&mut self, value: &[u8]) {
        for expectation in text::list(value) {
            let known = expectation.eq_ignore_ascii_case(b"100-continue");
            self.flags |= if known { EXPECT } else { OTHER_EXPECTATION };
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in text::list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.flags |= CLOSE;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.flags |= KEEP_ALIVE;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.flags |= UPGRADE_TOKEN;
            }
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.has(CHUNKED) {
            return Err(Reject::ConflictingLength);
        }
        if self.has(LENGTH) {
            return Err(Reject::BadContentLength);
        }
        self.length = text::decimal(value).filter(|&n| n <= MAX_LENGTH).ok_or(Reject::BadContentLength)?;
        self.flags |= LENGTH;
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.has(LENGTH) {
            return Err(Reject::ConflictingLength);
        }
        // An HTTP/1.0 sender cannot know it; its framing is faulty (RFC 9112, 6.1).
        if self.has(CHUNKED) || !self.has(VERSION_1_1) {
            return Err(Reject::BadTransferEncoding);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.flags |= CHUNKED;
            return Ok(());
        }
        Err(other_coding(value))
    }

    /// Whether a request's head said nothing but its host, in HTTP/1.1: no body, and the connection stays.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        self.flags == HOST | VERSION_1_1
    }

    /// The framing of a request with these fields, once the head is complete (RFC 9112, 6.3), and the last checks.
    #[inline]
    pub fn request_framing(&self) -> Result<Framing, Reject> {
        if self.flags & (HOST | VERSION_1_1) == VERSION_1_1 {
            return Err(Reject::MissingHost);
        }
        if self.has(OTHER_EXPECTATION) && self.has(VERSION_1_1) {
            return Err(Reject::UnknownExpectation);
        }
        Ok(self.body())
    }

    /// The framing of a response with these fields to a request that was HEAD or CONNECT, or neither
    /// (RFC 9112, 6.3, rules 1, 2 and 8).
    pub fn response_framing(&self, status: u16, to: super::Method<'_>) -> Framing {
        let bodiless = matches!(status, 100..=199 | 204 | 304) || to == super::Method::Head;
        if bodiless || (to == super::Method::Connect && matches!(status, 200..=299)) {
            return Framing::None;
        }
        match self.body() {
            Framing::None => Framing::UntilClose,
            framing @ (Framing::Length(_) | Framing::Chunked | Framing::UntilClose) => framing,
        }
    }

    fn body(&self) -> Framing {
        if self.has(CHUNKED) {
            Framing::Chunked
        } else if self.has(LENGTH) {
            Framing::Length(self.length)
        } else {
            Framing::None
        }
    }

    /// The value of Content-Length, also where no body follows, as in a response to HEAD.
    pub fn stated_length(&self) -> Option<u64> {
        self.has(LENGTH).then_some(self.length)
    }

    /// Whether the connection may be used again after this message (RFC 9112, 9.3): `close` wins; HTTP/1.1
    /// persists; HTTP/1.0 only if it says `keep-alive`.
    pub fn keep_alive(&self) -> bool {
        !self.has(CLOSE) && (self.has(VERSION_1_1) || self.has(KEEP_ALIVE))
    }

    /// Whether the client waits for 100 (RFC 9110, 10.1.1). Never in HTTP/1.0.
    pub fn expects_continue(&self) -> bool {
        self.has(EXPECT) && self.has(VERSION_1_1)
    }

    /// Whether Connection lists `upgrade`. Never in HTTP/1.0 (RFC 9110, 7.8).
    pub fn connection_upgrade(&self) -> bool {
        self.has(UPGRADE_TOKEN) && self.has(VERSION_1_1)
    }
}

/// What is wrong with a Transfer-Encoding that is not just `chunked`.
#[cold]
fn other_coding(value: &[u8]) -> Reject {
    let mut codings = text::list(value).peekable();
    while let Some(coding) = codings.next() {
        let chunked = coding.eq_ignore_ascii_case(b"chunked");
        match codings.peek() {
            Some(_) if chunked || !text::is_token_text(coding) => return Reject::BadTransferEncoding,
            Some(_) => {}
            None if chunked
                && value.contains(&b',')
                && !value.ends_with(b",")
                && !value.starts_with(b",") =>
            {
                return Reject::UnknownTransferEncoding;
            }
            None => {}
        }
    }
    Reject::BadTransferEncoding
}
