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
    by_host: bool,
}

impl Upgrade {
    /// For a route of the worker's hub, with the options that it was added with. `by_host`: each host has rooms of its own.
    pub(super) fn new(route: ws::RouteId, options: ws::Options, by_host: bool) -> Upgrade {
        Upgrade { route, options, by_host }
    }

    /// What the room of a request is called: `/chat`, or `example.org/chat` where the route is for certain hosts. None if it is not UTF-8.
    fn room(&self, request: &Request<'_>) -> Option<String> {
        let host = if self.by_host { request.host().unwrap_or_default() } else { b"" };
        let host = host.to_ascii_lowercase();
        String::from_utf8([&host[..], b"/", request.path()].concat()).ok()
    }
}

impl Handler for Upgrade {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        let Some(room) = self.room(request) else {
            return pages::error(reply, Some(request), 400, "The path of a room is UTF-8.");
        };
        let terms = ws::Terms {
            method: request.method().as_str().as_bytes(),
            http_1_1: request.version() == Version::Http11,
            route: self.route,
            options: &self.options,
            room: Some(&room),
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
