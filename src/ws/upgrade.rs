//! The server's half of the opening handshake (RFC 6455, 4.2): a request's fields to an answer, and to what the connection begins with.
//!
//! HTTP is somebody else's: here come method, version and fields as pairs of bytes, and out go the fields of a 101, or what to
//! refuse with.

use super::hub::{Options, RouteId};
use crate::wire::ws::Agreed;
use crate::wire::ws::handshake::{self, HandshakeError};

/// What a connection begins with; the value that an upgrade carries from HTTP to [`Connection::begin`](super::Connection::begin).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Its route.
    pub route: RouteId,
    /// The terms of permessage-deflate.
    pub agreed: Option<Agreed>,
    /// The room that the path names, for [`Kind::Room`](super::Kind::Room) and for handlers.
    pub room: Option<Box<str>>,
    /// The subprotocol.
    pub protocol: Option<Box<str>>,
}

/// A handshake that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The fields of the 101, each with its CRLF, without status line and end of head.
    pub fields: Vec<u8>,
    /// What the connection begins with.
    pub setup: Setup,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The request's method.
    pub method: &'a [u8],
    /// The request is HTTP/1.1.
    pub http_1_1: bool,
    /// The route that it matched.
    pub route: RouteId,
    /// That route's options.
    pub options: &'a Options,
    /// The room that the path names, if the route is one of rooms.
    pub room: Option<&'a str>,
}

/// Judges a request. `fields`: name and value of each, in order.
///
/// # Errors
/// Why it is none, or may not enter. [`HandshakeError`] tells the answer: `status()` (400, 403, 405 or 426), `fields()` and `reason()`.
pub fn accept<'a>(
    terms: Terms<'_>,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Accepted, HandshakeError> {
    let offer = handshake::read(terms.method, terms.http_1_1, fields)?;
    let options = terms.options;
    if !options.origins.is_empty() && !handshake::origin_allowed(offer.origin, &options.origins) {
        return Err(HandshakeError::Origin);
    }
    let agreed = options.deflate.and_then(|policy| Agreed::choose(&offer.deflate, &policy));
    let protocol = offer.protocol(&options.protocols);
    let mut out = Vec::with_capacity(160);
    handshake::emit_fields(&offer.accept, protocol, agreed, &mut out);
    let setup = Setup {
        route: terms.route,
        agreed,
        room: terms.room.map(Into::into),
        protocol: protocol.map(Into::into),
    };
    Ok(Accepted { fields: out, setup })
}
