//! The opening handshake (RFC 6455, 4): what a server reads and answers, what a client sends and checks.
//!
//! Heads are parsed elsewhere: here come method, version and fields, as pairs of bytes. The server's half never
//! decides who may enter: it hands out the origin and the protocols, and [`origin_allowed`] compares.

use super::extension::{self, Agreed, DeflateOffer, is_token_byte};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub mod client;

/// What is appended to the key before it is hashed (1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Most subprotocols that are read from one request.
const MOST_PROTOCOLS: usize = 32;

/// Why a request is no opening handshake. No WebSocket begins; the answer is plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// Not a GET (4.1, 2.)
    Method,
    /// Not HTTP/1.1 (4.1, 2.)
    HttpVersion,
    /// No `Host`, or several (4.2.1, 2.)
    Host,
    /// No `Upgrade: websocket` or no `Connection: Upgrade`: a plain request on a WebSocket path (4.2.1, 3. and 4.)
    NotAnUpgrade,
    /// No `Sec-WebSocket-Version`, several, or one that is not 13 (4.2.1, 6.)
    Version,
    /// No `Sec-WebSocket-Key`, several, or one that is not the base64 of 16 bytes (4.2.1, 5.)
    Key,
    /// `Sec-WebSocket-Protocol` that is no list of tokens, has one twice, or more than 32 (4.1, 10.)
    Protocols,
    /// `Sec-WebSocket-Extensions` against the grammar (9.1).
    Extensions,
    /// The origin may not enter (4.2.2, 2.). Never raised here: for the caller of [`origin_allowed`].
    Origin,
}

impl HandshakeError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::HttpVersion | Self::Host | Self::Key | Self::Protocols | Self::Extensions => 400,
            Self::Origin => 403,
            Self::NotAnUpgrade | Self::Version => 426,
        }
    }

    /// Fields that the answer must have (RFC 6455, 4.4; RFC 9110, 15.5.6 and 15.5.22).
    #[must_use]
    pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("Allow", "GET")],
            Self::NotAnUpgrade | Self::Version => {
                &[("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]
            }
            Self::HttpVersion
            | Self::Host
            | Self::Key
            | Self::Protocols
            | Self::Extensions
            | Self::Origin => &[],
        }
    }

    /// One line for the body and the log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Method => "a WebSocket begins with GET",
            Self::HttpVersion => "a WebSocket begins with HTTP/1.1",
            Self::Host => "exactly one Host is needed",
            Self::NotAnUpgrade => {
                "this path speaks WebSocket: Upgrade: websocket and Connection: Upgrade are needed"
            }
            Self::Version => "only Sec-WebSocket-Version 13 is spoken here",
            Self::Key => "Sec-WebSocket-Key must be the base64 of 16 bytes, once",
            Self::Protocols => "Sec-WebSocket-Protocol must list different tokens",
            Self::Extensions => "Sec-WebSocket-Extensions is malformed",
            Self::Origin => "this origin is not allowed",
        }
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HandshakeError {}

/// What a client asks for. Borrows from the request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The value of `Sec-WebSocket-Accept` for its key: 28 characters of ASCII.
    pub accept: [u8; 28],
    /// `Origin`, if it was sent: browsers always do. Several, or an empty one, are given as the empty value, which
    /// only `*` allows.
    pub origin: Option<&'a [u8]>,
    /// The subprotocols, the client's favourite first.
    pub protocols: Vec<&'a str>,
    /// The offers of permessage-deflate that [`Agreed::choose`] may take, the client's favourite first.
    pub deflate: Vec<DeflateOffer>,
}

impl<'a> Offer<'a> {
    /// The client's favourite among the subprotocols in `ours`. Case counts.
    #[must_use]
    pub fn protocol<S: AsRef<str>>(&self, ours: &[S]) -> Option<&'a str> {
        self.protocols.iter().copied().find(|theirs| ours.iter().any(|our| our.as_ref() == *theirs))
    }
}

/// Fields of a request as they come in, before they are judged.
#[derive(Default)]
struct Seen<'a> {
    hosts: usize,
    upgrade: bool,
    connection: bool,
    versions: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
    origin: Option<&'a [u8]>,
    protocols: Vec<&'a str>,
    protocols_broken: bool,
    extensions: Vec<extension::Extension<'a>>,
    extensions_broken: bool,
}

impl<'a> Seen<'a> {
    fn field(&mut self, name: &[u8], value: &'a [u8]) {
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade |= has_token(value, b"websocket");
        } else if name.eq_ignore_ascii_case(b"connection") {
            self.connection |= has_token(value, b"upgrade");
        } else if name.eq_ignore_ascii_case(b"sec-websocket-version") {
            push_up_to_two(&mut self.versions, value);
        } else if name.eq_ignore_ascii_case(b"sec-websocket-key") {
            push_up_to_two(&mut self.keys, value);
        } else if name.eq_ignore_ascii_case(b"origin") {
            self.origin = Some(if self.origin.is_none() { value } else { b"" });
        } else if name.eq_ignore_ascii_case(b"sec-websocket-protocol") {
            self.protocols_broken |= parse_protocols(value, &mut self.protocols).is_none();
        } else if name.eq_ignore_ascii_case(b"sec-websocket-extensions") {
            self.extensions_broken |= extension::parse_list(value, &mut self.extensions).is_err();
        }
    }
}

/// Two are enough to know that it is not one.
fn push_up_to_two<'a>(list: &mut Vec<&'a [u8]>, value: &'a [u8]) {
    if list.len() < 2 {
        list.push(value);
    }
}

/// Reads a request (4.2.1). `method` as on the wire; `http_1_1`: its version is HTTP/1.1; `fields`: name and value of
/// each, in order.
///
/// # Errors
/// The first reason, in the order of [`HandshakeError`]'s variants.
pub fn read<'a>(
    method: &[u8],
    http_1_1: bool,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Offer<'a>, HandshakeError> {
    let mut seen = Seen::default();
    for (name, value) in fields {
        seen.field(name, value);
    }
    if method != b"GET" {
        return Err(HandshakeError::Method);
    }
    if !http_1_1 {
        return Err(HandshakeError::HttpVersion);
    }
    if seen.hosts != 1 {
        return Err(HandshakeError::Host);
    }
    if !(seen.upgrade && seen.connection) {
        return Err(HandshakeError::NotAnUpgrade);
    }
    if seen.versions != [b"13"] {
        return Err(HandshakeError::Version);
    }
    let [key] = seen.keys[..] else { return Err(HandshakeError::Key) };
    if !is_key(key) {
        return Err(HandshakeError::Key);
    }
    if seen.protocols_broken {
        return Err(HandshakeError::Protocols);
    }
    if seen.extensions_broken {
        return Err(HandshakeError::Extensions);
    }
    Ok(Offer {
        accept: accept_for(key),
        origin: seen.origin,
        protocols: seen.protocols,
        deflate: seen.extensions.iter().filter_map(DeflateOffer::read).collect(),
    })
}

/// The value of `Sec-WebSocket-Accept` for the text of a key (4.2.2, 5.4).
#[must_use]
pub fn accept_for(key: &[u8]) -> [u8; 28] {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut accept = [0; 28];
    encode(&hash.digest().bytes(), &mut accept);
    accept
}

fn encode(bytes: &[u8], out: &mut [u8]) {
    let written = STANDARD.encode_slice(bytes, out);
    debug_assert!(written.is_ok(), "the callers' arrays fit exactly");
}

fn is_key(key: &[u8]) -> bool {
    let mut bytes = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut bytes) == Ok(16)
}

/// A list of comma-separated tokens has `token` (case does not count). A part after a slash is a version.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|b| *b == b',').any(|element| element.trim_ascii().eq_ignore_ascii_case(token))
}

/// Appends the tokens of a list; `None` if something in it is no token, is there twice, or is one too many.
fn parse_protocols<'a>(value: &'a [u8], list: &mut Vec<&'a str>) -> Option<()> {
    for element in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        if element.is_empty() {
            continue;
        }
        let token =
            element.iter().all(|b| is_token_byte(*b)).then(|| std::str::from_utf8(element).ok())??;
        if list.len() == MOST_PROTOCOLS || list.contains(&token) {
            return None;
        }
        list.push(token);
    }
    Some(())
}

/// May this origin enter? `allowed` holds origins as browsers write them (`https://example.org`, a port if it is not
/// the scheme's own), or `*` for all. Case does not count (RFC 6454, 4). No origin at all is not a browser, which an
/// origin list is no defence against: it may enter. An empty list lets no browser in.
#[must_use]
pub fn origin_allowed<S: AsRef<str>>(origin: Option<&[u8]>, allowed: &[S]) -> bool {
    let Some(origin) = origin else { return true };
    allowed
        .iter()
        .map(AsRef::as_ref)
        .any(|one| one == "*" || (!origin.is_empty() && one.as_bytes().eq_ignore_ascii_case(origin)))
}

/// Appends the fields of the 101 answer (4.2.2, 5.), each with its CRLF, without status line and end of head.
pub fn emit_fields(accept: &[u8; 28], protocol: Option<&str>, deflate: Option<Agreed>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    if let Some(agreed) = deflate {
        out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        agreed.emit(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the whole 101 answer.
pub fn emit(accept: &[u8; 28], protocol: Option<&str>, deflate: Option<Agreed>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    emit_fields(accept, protocol, deflate, out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
