//! The edge from HTTP to WebSocket: a handler that answers the opening handshake (RFC 6455, 4.2).
//!
//! HTTP and WebSocket do not know one another: what a handshake agrees on leaves HTTP as an opaque value, and
//! [`Session`](super::Session) begins the WebSocket with it.

use crate::http::{BodyPolicy, Handler, Reply, Request, Responder, pages};
use crate::wire::http::Version;
use crate::ws;

/// A route that upgrades.
pub(super) struct Upgrade {
    route: ws::RouteId,
    options: ws::Options,
}

impl Upgrade {
    /// For a route of the worker's hub, with the options that it was added with.
    pub(super) fn new(route: ws::RouteId, options: ws::Options) -> Upgrade {
        Upgrade { route, options }
    }
}

impl Handler for Upgrade {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        let Ok(path) = std::str::from_utf8(request.path()) else {
            return pages::error(reply, Some(request), 400, "The path of a room is UTF-8.");
        };
        let terms = ws::Terms {
            method: request.method().as_str().as_bytes(),
            http_1_1: request.version() == Version::Http11,
            route: self.route,
            options: &self.options,
            room: Some(path),
        };
        match ws::accept(terms, request.head().fields.iter()) {
            Ok(accepted) => reply.upgrade(|out| out.extend(&accepted.fields), Box::new(accepted.setup)),
            Err(error) => {
                let lines: String =
                    error.fields().iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
                pages::error_with(reply, Some(request), error.status(), error.reason(), lines.as_bytes())
            }
        }
    }

    fn body(&self) -> BodyPolicy {
        BodyPolicy::Discard
    }

    fn upgrades(&self) -> bool {
        true
    }
}
