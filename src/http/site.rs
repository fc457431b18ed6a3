//! What the HTTP connections of one worker share: routes with their handlers, limits, the date, scratch space.

use super::clock::Clock;
use super::exchange::Exchange;
use super::late::{Issued, Late, Post};
use super::pages::Pages;
use super::reply::{BodyPolicy, Handler, Reply, Responder};
use super::request::Request;
use super::router::{RouteError, Router};
use crate::observe::Reason;
use crate::reactor::{App, Millis, Peer, Token};
use crate::wire::http::head::Head;
use crate::wire::http::text;
use crate::wire::limits::Limits;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Exchanges kept for the next request that needs one.
const SPARE: usize = 64;

/// What HTTP needs of the program that it runs in.
pub trait Service: App<Reason = Reason> {
    /// The worker's site.
    fn site(&mut self) -> &mut Site;

    /// An exchange is over: count it, log it. On the hot path.
    fn on_exchange(&mut self, done: &Exchanged<'_>) {
        let _ = done;
    }
}

/// An exchange that is over.
#[derive(Debug)]
pub struct Exchanged<'a> {
    /// The connection.
    pub token: Token,
    /// Who asked.
    pub peer: Peer,
    /// Which route answered: see [`Site::route_name`].
    pub route: RouteId,
    /// It came over TLS.
    pub secure: bool,
    /// The request's head; none if it was refused before it was whole.
    pub head: Option<&'a Head<'a>>,
    /// Where there is no head because it is bad: its first line as it came, 1 KiB of it at most. Else empty.
    pub line: &'a [u8],
    /// Status of the answer; 0 if none was sent.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Milliseconds from the first byte of the head to the last of the answer, as handed to the connection.
    pub duration_ms: u64,
    /// Seconds since 1970.
    pub unix_seconds: u64,
    /// Why the connection closes, if it closes with this exchange.
    pub closing: Option<Reason>,
    /// The answer was put off until the disk had what it takes.
    pub waited: bool,
}

/// The limits and times by which connections live.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sizes of heads and chunks.
    pub limits: Limits,
    /// Bytes of a request's body, where the route says nothing: over it 413.
    pub body_size: u64,
    /// No byte for this long while one is awaited: on a new connection, in a head, in a body.
    pub read_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// A whole head, from its first byte.
    pub head_timeout: Duration,
    /// A body must come at this many bytes a second, over 10 s; what came faster before counts, up to 20 s' worth. 0: off.
    pub body_rate: u64,
    /// `server: evenkeel` is sent.
    pub server_field: bool,
    /// Protocols that some routes change to ([`Handler::upgrades`]): a request that asks for one of them on another route gets 404, not
    /// that route's ordinary answer, by which nobody would see that the address is wrong. Lower case. Default none.
    pub upgrades: &'static [&'static str],
}

impl Default for Options {
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            body_size: 10 << 20,
            read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            head_timeout: Duration::from_secs(10),
            body_rate: 1024,
            server_field: true,
            upgrades: &[],
        }
    }
}

impl Options {
    /// The request asks to change to a protocol that only routes made for it speak.
    pub(super) fn wants_upgrade(&self, head: &Head<'_>) -> bool {
        let asked = head.upgrade().unwrap_or_default();
        text::list(asked)
            .any(|one| self.upgrades.iter().any(|known| one.eq_ignore_ascii_case(known.as_bytes())))
    }
}

/// The name of a route. It outlives the route: a [`replace`](Site::replace)d site's routes keep theirs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RouteId(u32);

impl RouteId {
    /// No route.
    pub const NONE: RouteId = RouteId(0);

    /// This one, or if it is none, the other.
    pub(super) fn or(self, other: RouteId) -> RouteId {
        if self == RouteId::NONE { other } else { self }
    }
}

/// A route's handler and what it allows.
pub(super) struct Entry {
    pub id: RouteId,
    pub handler: Box<dyn Handler>,
    pub body_size: Option<u64>,
    /// Its methods are named.
    pub named: bool,
}

/// What is to become of a request's body.
pub(super) struct Plan {
    /// The route that would have the request now.
    pub route: RouteId,
    pub policy: BodyPolicy,
    pub limit: u64,
    /// Whatever the body is, the answer is an error: nobody serves the path, or not by this method.
    pub refused: bool,
}

/// A closure that has bodies piece by piece.
struct Streaming<F>(F);

impl<F: FnMut(&Request<'_>, Responder<'_>) -> Reply> Handler for Streaming<F> {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        self.0(request, reply)
    }

    fn body(&self) -> BodyPolicy {
        BodyPolicy::Stream
    }
}

impl Default for Site {
    fn default() -> Site {
        Site::new(Options::default())
    }
}

/// See the module page.
pub struct Site {
    pub(super) options: Options,
    pub(super) router: Router<Entry>,
    /// Of all routes that there ever were: patterns, with their host if they have one. [`RouteId`]s count from 1.
    names: Vec<Arc<str>>,
    /// The other way round.
    ids: HashMap<Arc<str>, RouteId>,
    pub(super) clock: Clock,
    pub(super) pages: Pages,
    pub(super) path: Vec<u8>,
    pub(super) chunk: Vec<u8>,
    pub(super) post: Post,
    pub(super) issued: Issued,
    // Boxes: what is kept is handed on as it is, without being moved.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Exchange>>,
}

impl Site {
    /// A site without routes.
    pub fn new(options: Options) -> Site {
        Site {
            options,
            router: Router::new(),
            names: Vec::new(),
            ids: HashMap::new(),
            clock: Clock::default(),
            pages: Pages::default(),
            path: Vec::new(),
            chunk: Vec::new(),
            post: Arc::new(|late: Late| Err(late)),
            issued: Issued::default(),
            spare: Vec::new(),
        }
    }

    /// Adds a route; see [`Router::add`] for host, methods and pattern. `body_size`: another limit than the site's.
    pub fn route(
        &mut self,
        host: Option<&str>,
        methods: &[&str],
        pattern: &str,
        body_size: Option<u64>,
        handler: Box<dyn Handler>,
    ) -> Result<(), RouteError> {
        let id = self.name([host.unwrap_or_default(), pattern].concat().into());
        let named = !methods.is_empty();
        self.router.add(host, methods, pattern, Entry { id, handler, body_size, named }).map(|_| ())
    }

    /// Adds a route on any host, answered by a closure that gets the body whole. `methods`: `"GET"` (and HEAD with it), or several
    /// with blanks between, or none for any.
    pub fn on(
        &mut self,
        methods: &str,
        pattern: &str,
        answer: impl FnMut(&Request<'_>, Responder<'_>) -> Reply + 'static,
    ) -> Result<(), RouteError> {
        let methods: Vec<&str> = methods.split_whitespace().collect();
        self.route(None, &methods, pattern, None, Box::new(answer))
    }

    /// As [`on`](Self::on), but the closure is called before the body has come: it takes it piece by piece by
    /// [`Responder::receive`], up to `body_size` bytes.
    pub fn on_upload(
        &mut self,
        methods: &str,
        pattern: &str,
        body_size: u64,
        answer: impl FnMut(&Request<'_>, Responder<'_>) -> Reply + 'static,
    ) -> Result<(), RouteError> {
        let methods: Vec<&str> = methods.split_whitespace().collect();
        self.route(None, &methods, pattern, Some(body_size), Box::new(Streaming(answer)))
    }

    /// The number of a name, which is a new one if nobody has it yet.
    fn name(&mut self, name: Arc<str>) -> RouteId {
        if let Some(known) = self.ids.get(&name) {
            return *known;
        }
        self.names.push(name.clone());
        let id = RouteId(u32::try_from(self.names.len()).unwrap_or(0));
        self.ids.insert(name, id);
        id
    }

    /// What a route is called: its pattern, behind its host if it has one.
    pub fn route_name(&self, id: RouteId) -> Option<&str> {
        self.names.get((id.0 as usize).checked_sub(1)?).map(|name| &**name)
    }

    /// The name of the route that is called so: the way back from [`route_name`](Self::route_name).
    pub fn route_id(&self, name: &str) -> Option<RouteId> {
        self.ids.get(name).copied()
    }

    /// How late answers come back to this worker; without it tickets drop theirs.
    pub fn set_post(&mut self, post: Post) {
        self.post = post;
    }

    /// The site's own error pages.
    pub fn set_pages(&mut self, pages: Pages) {
        self.pages = pages;
    }

    /// Takes routes, limits and pages of another site: they hold from the next request on. An answer that is under way stays with
    /// the handler that began it; a request whose body is still coming goes to the new routes.
    pub fn replace(&mut self, new: Site) {
        let Site { options, mut router, pages, names, .. } = new;
        for entry in router.routes_mut() {
            let at = (entry.id.0 as usize).wrapping_sub(1);
            entry.id = names.get(at).map_or(RouteId::NONE, |name| self.name(name.clone()));
        }
        (self.options, self.router, self.pages) = (options, router, pages);
    }

    /// Lets every handler look after itself ([`Handler::idle`]): call it about once a second.
    pub fn idle(&mut self, now: Millis) {
        for entry in self.router.routes_mut() {
            let handler = &mut entry.handler;
            if catch_unwind(AssertUnwindSafe(|| handler.idle(now.0))).is_err() {
                log::error!("a handler panicked while nobody asked it");
            }
        }
    }

    /// The limits and times.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The worker's calendar.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn take_exchange(&mut self) -> Box<Exchange> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn keep_exchange(&mut self, mut exchange: Box<Exchange>) {
        if self.spare.len() < SPARE {
            exchange.reset();
            self.spare.push(exchange);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(patterns: impl Iterator<Item = String>) -> Site {
        let mut site = Site::default();
        patterns.for_each(|pattern| site.on("", &pattern, |_, reply| reply.start(204).empty()).unwrap());
        site
    }

    #[test]
    fn names_of_many_routes_stay_what_they_were_when_the_site_is_replaced() {
        const MANY: usize = 30_000;
        let all = |from| (from..MANY).map(|number| format!("/{number}"));
        let mut old = site(all(0));
        old.replace(site(all(1).chain(["/new".to_owned()])));
        let ids: Vec<u32> = old.router.routes().iter().map(|entry| entry.id.0).collect();
        let count = MANY as u32;
        assert_eq!(ids, (2..=count + 1).collect::<Vec<_>>());
        let name = |id| old.route_name(RouteId(id));
        assert_eq!([name(1), name(2), name(count + 1)], [Some("/0"), Some("/1"), Some("/new")]);
        assert_eq!((old.route_id("/1"), old.route_id("/no")), (Some(RouteId(2)), None));
    }
}
