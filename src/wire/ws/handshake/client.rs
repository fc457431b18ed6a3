//! The client's half of the opening handshake (RFC 6455, 4.1).

use super::super::extension::{self, Agreed, DeflateOffer, is_token_byte};
use super::{accept_for, encode, has_token};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// `Host`: the name, and the port if it is not the scheme's own.
    pub host: &'a str,
    /// Path and query, beginning with a slash.
    pub target: &'a str,
    /// Subprotocols, the favourite first. May be empty.
    pub protocols: &'a [&'a str],
    /// The offer of permessage-deflate, if any.
    pub deflate: Option<DeflateOffer>,
    /// `Origin`, if any.
    pub origin: Option<&'a str>,
    /// Further fields, such as `Authorization`.
    pub fields: &'a [(&'a str, &'a str)],
}

/// A part of an [`Opening`] would not be what it says on the wire: a line break, a space in the target, a protocol
/// that is no token or is there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal;

/// The text of a key: the base64 of 16 random bytes, drawn anew for each connection.
#[must_use]
pub fn key_text(random: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    encode(&random, &mut key);
    key
}

impl Opening<'_> {
    /// Appends the request's head, with `key` from [`key_text`].
    ///
    /// # Errors
    /// [`Illegal`]; `out` is as it was.
    pub fn emit(&self, key: &[u8; 24], out: &mut Vec<u8>) -> Result<(), Illegal> {
        self.check()?;
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        put(&["GET ", self.target, " HTTP/1.1\r\nHost: ", self.host]);
        put(&["\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"]);
        if let Some(origin) = self.origin {
            put(&["\r\nOrigin: ", origin]);
        }
        for (i, protocol) in self.protocols.iter().enumerate() {
            put(&[if i == 0 { "\r\nSec-WebSocket-Protocol: " } else { ", " }, protocol]);
        }
        for (name, value) in self.fields {
            put(&["\r\n", name, ": ", value]);
        }
        out.extend_from_slice(b"\r\nSec-WebSocket-Key: ");
        out.extend_from_slice(key);
        if let Some(deflate) = &self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            deflate.emit(out);
        }
        out.extend_from_slice(b"\r\n\r\n");
        Ok(())
    }

    fn check(&self) -> Result<(), Illegal> {
        let token = |s: &str| !s.is_empty() && s.bytes().all(is_token_byte);
        let graphic = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic());
        let text = |s: &str| s.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
        let once = |(i, p): (usize, &&str)| token(p) && !self.protocols[..i].contains(p);
        let legal = graphic(self.host)
            && graphic(self.target)
            && self.target.starts_with('/')
            && self.origin.is_none_or(graphic)
            && self.protocols.iter().enumerate().all(once)
            && self.fields.iter().all(|(name, value)| token(name) && text(value));
        if legal { Ok(()) } else { Err(Illegal) }
    }
}

/// What the server agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The subprotocol, one of those asked for.
    pub protocol: Option<&'a str>,
    /// The terms of permessage-deflate.
    pub deflate: Option<Agreed>,
}

/// Why an answer opens no WebSocket (4.1). The connection is closed; no close frame is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another status than 101: a redirect, a refusal, a server without WebSocket.
    Status(u16),
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` missing, doubled, or not that of our key.
    Accept,
    /// A subprotocol that was not asked for, or several.
    Protocol,
    /// An extension that was not asked for, or terms that do not fit the offer.
    Extension,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered with status {status}"),
            Self::Upgrade => f.write_str("answered without Upgrade: websocket"),
            Self::Connection => f.write_str("answered without Connection: Upgrade"),
            Self::Accept => f.write_str("answered with a wrong Sec-WebSocket-Accept"),
            Self::Protocol => f.write_str("answered with a protocol that was not asked for"),
            Self::Extension => f.write_str("answered with an extension that was not asked for"),
        }
    }
}

impl std::error::Error for Refused {}

/// Checks the answer to an [`Opening`] that was sent with `key` and asked for `protocols` and `deflate`. `fields`: name
/// and value of each, in order.
///
/// # Errors
/// [`Refused`], the first reason in the order of its variants.
pub fn verify<'a>(
    status: u16,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    key: &[u8; 24],
    protocols: &[&str],
    deflate: Option<&DeflateOffer>,
) -> Result<Accepted<'a>, Refused> {
    let (mut upgrade, mut connection) = (false, false);
    let (mut accepts, mut right) = (0, false);
    let (mut named, mut protocol, mut protocol_wrong) = (0, None, false);
    let (mut extensions, mut extensions_wrong) = (Vec::new(), false);
    for (name, value) in fields {
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade |= has_token(value, b"websocket");
        } else if name.eq_ignore_ascii_case(b"connection") {
            connection |= has_token(value, b"upgrade");
        } else if name.eq_ignore_ascii_case(b"sec-websocket-accept") {
            accepts += 1;
            right = value == accept_for(key);
        } else if name.eq_ignore_ascii_case(b"sec-websocket-protocol") {
            named += 1;
            protocol = std::str::from_utf8(value).ok().filter(|one| protocols.contains(one));
            protocol_wrong |= protocol.is_none();
        } else if name.eq_ignore_ascii_case(b"sec-websocket-extensions") {
            extensions_wrong |= extension::parse_list(value, &mut extensions).is_err();
        }
    }
    if status != 101 {
        return Err(Refused::Status(status));
    }
    if !upgrade {
        return Err(Refused::Upgrade);
    }
    if !connection {
        return Err(Refused::Connection);
    }
    if accepts != 1 || !right {
        return Err(Refused::Accept);
    }
    if named > 1 || protocol_wrong {
        return Err(Refused::Protocol);
    }
    if extensions_wrong {
        return Err(Refused::Extension);
    }
    Ok(Accepted { protocol, deflate: agreed(&extensions, deflate)? })
}

fn agreed(
    answer: &[extension::Extension<'_>],
    offer: Option<&DeflateOffer>,
) -> Result<Option<Agreed>, Refused> {
    match (answer, offer) {
        ([], _) => Ok(None),
        ([one], Some(offer)) => Agreed::from_answer(one, offer).map(Some).ok_or(Refused::Extension),
        (_, _) => Err(Refused::Extension),
    }
}
