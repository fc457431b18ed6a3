//! From a whole request to a handler's reply.

use super::clock::Clock;
use super::late::Ticket;
use super::pages::{self, Pages};
use super::reply::{BodyPolicy, Kind, Reply, Responder, Sent, Terms};
use super::request::{Params, Request};
use super::router::{Found, Lookup, Miss};
use super::site::{Entry, Options, Plan, RouteId, Site};
use crate::reactor::outbox::Mark;
use crate::reactor::{App, Cx, Peer, Token};
use crate::wire::http::head::Head;
use crate::wire::http::target::{self, Target};
use crate::wire::http::{Method, Version, text};
use std::panic::{AssertUnwindSafe, catch_unwind};

const NOT_SPOKEN: &str = "The protocol that is asked for is not spoken here.";
const NOT_KNOWN: &str = "This server does not serve the method.";
pub(super) const FAILED: &str = "The program that answers this failed.";

/// What a handler's call came to.
pub(super) struct Served {
    pub kind: Kind,
    /// The handler panicked; a 500 was sent.
    pub failed: bool,
}

/// Who asks, and how.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub token: Token,
    pub peer: Peer,
    pub secure: bool,
    /// Number of the exchange on its connection.
    pub exchange: u32,
}

impl Site {
    /// What is to become of a request's body.
    pub(super) fn plan(&mut self, head: &Head<'_>) -> Plan {
        let limit = self.options.body_size;
        let refused = Plan { route: RouteId::NONE, policy: BodyPolicy::Discard, limit, refused: true };
        let Ok(path) = target::normalise(routed_path(head), &mut self.path) else { return refused };
        match self.router.lookup(head.authority(), path, head.method) {
            Lookup::Found(Found { route, .. }) => Plan {
                route: route.id,
                policy: route.handler.body(),
                limit: route.body_size.unwrap_or(limit),
                refused: !is_asked(route, head, &self.options) || !allows(route, head.method),
            },
            Lookup::MethodNotAllowed { .. } | Lookup::NotFound => refused,
        }
    }

    /// What an answer to this request depends on.
    #[inline]
    pub(super) fn terms(&self, head: &Head<'_>, last: bool) -> Terms {
        Terms {
            version: head.version,
            head_only: head.method == Method::Head,
            keep_alive: head.keep_alive && !last,
            server_field: self.options.server_field,
        }
    }

    /// Finds the route and calls its handler.
    #[inline]
    pub(super) fn serve<A: App>(
        &mut self,
        head: &Head<'_>,
        body: &[u8],
        terms: Terms,
        asker: Asker,
        sent: &mut Sent,
        cx: &mut Cx<'_, A>,
    ) -> Served {
        let Site { options, router, clock, pages, path: scratch, post, issued, .. } = self;
        let ticket = || issued.ticket(asker.token, asker.exchange, post);
        respond(cx, (clock, pages), terms, &ticket, sent, |reply| {
            let Asker { peer, secure, .. } = asker;
            let path = match target::normalise(routed_path(head), scratch) {
                Ok(path) => path,
                Err(reject) => return pages::error(reply, None, reject.status(), reject.reason()),
            };
            let mut params = Params::of(path);
            let found = router.lookup_mut(|| head.authority(), path, head.method, &mut params);
            let request = Request { head, path, params: &params, body, peer, secure };
            match found {
                Ok(route) => {
                    reply.sent.route = route.id;
                    if !is_asked(route, head, options) {
                        return refuse(route, &request, reply);
                    }
                    route.handler.handle(&request, reply)
                }
                Err(Miss::MethodNotAllowed { allow }) => pages::not_allowed(reply, &request, allow),
                Err(Miss::NotFound) if !is_for_any(head.method) => {
                    pages::error(reply, Some(&request), 501, NOT_KNOWN)
                }
                Err(Miss::NotFound) => pages::error(reply, Some(&request), 404, "Nothing is served here."),
            }
        })
    }
}

/// The route's handler answers this request, not the site in its place.
#[inline]
fn is_asked(route: &Entry, head: &Head<'_>, options: &Options) -> bool {
    (route.named || is_for_any(head.method))
        && !(head.connection_upgrade && !route.handler.upgrades() && options.wants_upgrade(head))
}

/// Answers a request that the route's handler is not asked about.
#[cold]
fn refuse(route: &Entry, request: &Request<'_>, reply: Responder<'_>) -> Reply {
    if route.named || is_for_any(request.head().method) {
        return pages::error(reply, Some(request), 404, NOT_SPOKEN);
    }
    match route.handler.allow() {
        "" => pages::error(reply, Some(request), 501, NOT_KNOWN),
        allow => pages::not_allowed(reply, request, allow),
    }
}

/// What the handler says of its methods does not leave this one out.
fn allows(route: &Entry, method: Method<'_>) -> bool {
    let allow = route.handler.allow();
    route.named
        || allow.is_empty()
        || text::list(allow.as_bytes()).any(|one| one == method.as_str().as_bytes())
}

/// A route that names no methods is asked with this one: not with CONNECT, since whatever it answered with 2xx would say that there is
/// a tunnel now (RFC 9110, 9.3.6), nor with TRACE, which only those serve who mean it (9.3.8), nor with what nobody knows (9.1).
#[inline]
fn is_for_any(method: Method<'_>) -> bool {
    match method {
        Method::Connect | Method::Trace => false,
        other => other.is_known(),
    }
}

/// `*` is routed like the root; an authority (CONNECT) too.
#[inline]
fn routed_path<'b>(head: &Head<'b>) -> &'b [u8] {
    match head.target {
        Target::Origin { path, .. } | Target::Absolute { path, .. } => path,
        Target::Asterisk | Target::Authority(_) => b"/",
    }
}

/// Gives `answer` the one chance to answer; `sent` is fresh but for its `close`, and filled in. A panic in it costs this connection
/// only: what it wrote is taken back, 500 is sent.
#[inline]
pub(super) fn respond<A: App>(
    cx: &mut Cx<'_, A>,
    (clock, pages): (&Clock, &Pages),
    terms: Terms,
    ticket: &dyn Fn() -> Ticket,
    sent: &mut Sent,
    answer: impl FnOnce(Responder<'_>) -> Reply,
) -> Served {
    let mark = cx.output().0.mark();
    // The responder is made inside, where it is used: what crosses over is a few references.
    let reply = catch_unwind(AssertUnwindSafe(|| {
        let (cork, host) = cx.output();
        answer(Responder { cork, host, clock, pages, terms, sent, ticket })
    }));
    match reply {
        Ok(reply) => Served { kind: reply.0, failed: false },
        Err(_) => failed(cx, (clock, pages), terms, ticket, sent, mark),
    }
}

/// A handler panicked.
#[cold]
fn failed<A: App>(
    cx: &mut Cx<'_, A>,
    (clock, pages): (&Clock, &Pages),
    terms: Terms,
    ticket: &dyn Fn() -> Ticket,
    sent: &mut Sent,
    mark: Mark,
) -> Served {
    log::error!("a handler panicked; its connection gets 500 and is closed");
    *sent = Sent { route: sent.route, waited: sent.waited, ..Sent::default() };
    let (cork, host) = cx.output();
    cork.rewind(mark);
    let terms = Terms { keep_alive: false, ..terms };
    let reply = Responder { cork, host, clock, pages, terms, sent, ticket };
    let kind = super::pages::error(reply, None, 500, FAILED).0;
    Served { kind, failed: true }
}

/// The terms of an answer to a request that could not be read.
pub(super) fn refusal_terms(site: &Site) -> Terms {
    Terms {
        version: Version::Http11,
        head_only: false,
        keep_alive: false,
        server_field: site.options.server_field,
    }
}
