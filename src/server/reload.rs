//! Another configuration for a running server.
//!
//! 1. [`Server::prepare`] compares, and makes everything that could fail: sockets are bound, certificates and keys read and judged,
//!    the routes built once. What cannot change while running is refused by name. Nothing has changed until then.
//! 2. [`Server::apply`] hands it out. Each worker takes it over between two turns: connections and exchanges under way go on,
//!    WebSockets above all. A listener that is gone is accepted until nobody waits, then closed; its connections live on.

use super::app::{Message, Role};
use super::attend::{Place, Spot, places};
use super::bind::{address, bind, said_by};
use super::build::{self, Protocols};
use super::run::{Certificates, RunError, Server, not_yet};
use super::settings::{Address, Config, HostPattern, Listener, PathPattern, Route};
use super::tls::{self, Loaded, Store, TlsError};
use crate::http::Pages;
use crate::reactor::net::os::{OsListener, Stopwatch, calendar};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::Duration;

/// How long workers may take to carry out an order, in all. One that takes longer does it later all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one worker is told to live by.
#[derive(Debug)]
pub struct Order {
    pub(super) config: Config,
    pub(super) pages: Pages,
    pub(super) listeners: Vec<(Spot, OsListener)>,
    /// Where certificates are, if any listener has spoken TLS.
    pub(super) tls: Option<Arc<Store>>,
    pub(super) done: mpsc::Sender<Result<(), String>>,
}

/// What is different between two configurations, a line each.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What is applied while running.
    pub live: Vec<String>,
    /// What needs a restart.
    pub frozen: Vec<String>,
}

/// Why a configuration was not taken over. The old one is in force, whole.
#[derive(Debug)]
pub enum ReloadError {
    /// These settings ask for what this version does not do yet.
    Unbuilt(Vec<&'static str>),
    /// These changes need a restart.
    Frozen(Vec<String>),
    /// Certificates or keys cannot be used.
    Tls(Vec<TlsError>),
    /// A new address cannot be listened on.
    Listen(RunError),
    /// A route cannot be built, or sockets cannot be shared.
    Build(io::Error),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Unbuilt(settings) => not_yet(settings, f),
            ReloadError::Frozen(changes) => {
                write!(f, "this cannot change while running; restart to apply it: {}", changes.join("; "))
            }
            ReloadError::Tls(errors) => {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("; "))
            }
            ReloadError::Listen(error) => error.fmt(f),
            ReloadError::Build(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReloadError {}

/// A configuration that can be taken over: everything that may fail has been done.
#[derive(Debug)]
pub struct Reload {
    config: Config,
    pages: Pages,
    difference: Difference,
    /// Clones of the new sockets, for each worker.
    listeners: Vec<Vec<(Spot, OsListener)>>,
    addresses: Vec<(Spot, Address)>,
    tls: Option<NewTls>,
}

#[derive(Debug)]
enum NewTls {
    /// For the store that is there.
    Replace(Loaded),
    /// There was none.
    First(Certificates, Loaded),
}

impl Reload {
    /// What is different.
    pub fn difference(&self) -> &Difference {
        &self.difference
    }

    /// What it does that somebody may not want: certificates that clients may not have.
    pub fn warnings(&self) -> &[TlsError] {
        match &self.tls {
            Some(NewTls::Replace(loaded) | NewTls::First(_, loaded)) => &loaded.doubtful,
            None => &[],
        }
    }
}

impl Server {
    /// Reads and makes all that another configuration needs; see the module page.
    ///
    /// # Errors
    /// All that was found; then nothing has changed.
    pub fn prepare(&self, config: &Config) -> Result<Reload, ReloadError> {
        let unbuilt = build::unbuilt(config);
        if !unbuilt.is_empty() {
            return Err(ReloadError::Unbuilt(unbuilt));
        }
        let difference = difference(&self.config, config);
        if !difference.frozen.is_empty() {
            return Err(ReloadError::Frozen(difference.frozen));
        }
        let pages = build::error_pages(config).map_err(ReloadError::Build)?;
        Protocols::new(config, pages.clone(), &self.shared, 0, 1).map_err(ReloadError::Build)?;
        let wanted = Spot::all(config);
        let tls = match (wanted.iter().any(|spot| spot.role == Role::Https), &self.tls) {
            (false, _) => None,
            (true, Some(old)) => {
                let loaded = tls::load(&config.tls, calendar(), &old.tickets).map_err(ReloadError::Tls)?;
                Some(NewTls::Replace(loaded))
            }
            (true, None) => {
                let (new, loaded) = Certificates::load(&config.tls).map_err(ReloadError::Tls)?;
                Some(NewTls::First(new, loaded))
            }
        };
        let there = Spot::all(&self.config);
        let mut listeners: Vec<Vec<_>> = self.handles.iter().map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        let handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        for spot in wanted.into_iter().filter(|spot| !spot.stays(&there)) {
            let socket = bind(&handed, &spot.place.address, said_by(config)).map_err(ReloadError::Listen)?;
            for worker in &mut listeners {
                let clone = socket.try_clone().map_err(ReloadError::Build)?;
                worker.push((spot.clone(), clone));
            }
            addresses.push((spot, address(&socket).map_err(ReloadError::Build)?));
        }
        Ok(Reload { config: config.clone(), pages, difference, listeners, addresses, tls })
    }

    /// Takes it over, and waits until every worker has. `Err` names what went wrong after all: the rest is in force.
    pub fn apply(&mut self, reload: Reload) -> Result<(), String> {
        let Reload { config, pages, listeners, addresses, tls, .. } = reload;
        match tls {
            Some(NewTls::Replace(loaded)) => {
                self.shared.set_certificates(&loaded.expiries);
                if let Some(old) = &self.tls {
                    old.store.replace(loaded.config);
                }
            }
            Some(NewTls::First(new, loaded)) => {
                self.shared.set_certificates(&loaded.expiries);
                self.tls = Some(new);
            }
            // Whoever watches when they end is not to be woken by what nobody is shown any more.
            None => self.shared.set_certificates(&[]),
        }
        self.shared.set_limits(&config);
        let (done, outcomes) = mpsc::channel();
        let mut waiting = 0;
        for (handle, listeners) in self.handles.iter().zip(listeners) {
            // Each time: one that missed an earlier order must not be left without.
            let tls = self.tls.as_ref().map(|certificates| certificates.store.clone());
            let (config, pages, done) = (config.clone(), pages.clone(), done.clone());
            let order = Order { config, pages, listeners, tls, done };
            // A full mailbox is one of a worker that hangs; it is told below.
            waiting += usize::from(handle.post(Message::Reload(Box::new(order))).is_ok());
        }
        drop(done);
        let missed = self.handles.len() - waiting;
        let mut wrong: Vec<String> = Vec::new();
        let watch = Stopwatch::start();
        for _ in 0..waiting {
            match outcomes.recv_timeout(PATIENCE.saturating_sub(watch.elapsed())) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => wrong.push(error),
                Err(_) => wrong.push("a worker has not answered yet".into()),
            }
        }
        wrong.extend((0..missed).map(|_| "a worker has too much waiting".to_owned()));
        self.take_over_addresses(&config, addresses);
        self.config = config;
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Where it listens by these settings: these are new, and what they do not name is gone.
    fn take_over_addresses(&mut self, config: &Config, new: Vec<(Spot, Address)>) {
        let wanted = Spot::all(config);
        let handed = self.handed.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, at) in self.addresses.extract_if(.., |(spot, _)| !spot.stays(&wanted)) {
            if handed.set_served(&at, false) {
                log::warn!(
                    "{at} was handed over, and whoever did so still holds it: clients will wait there until it is configured again, \
                     or let go (with systemd: until its socket unit is stopped)"
                );
            }
        }
        for (_, at) in &new {
            handed.set_served(at, true);
        }
        self.addresses.extend(new);
    }

    /// Tells metrics what came of a reload.
    pub fn count_reload(&self, applied: bool) {
        self.shared.count_reload(applied, calendar());
    }
}

macro_rules! fields {
    ($out:expr, $old:ident, $new:ident: $($section:ident.$field:ident)+) => {$(
        if $old.$section.$field != $new.$section.$field {
            let name = concat!(stringify!($section), ".", stringify!($field));
            changed(&mut $out, name, &$old.$section.$field, &$new.$section.$field);
        }
    )+};
}

fn changed(out: &mut Vec<String>, name: &str, old: &dyn fmt::Debug, new: &dyn fmt::Debug) {
    out.push(format!("{name}: {old:?} -> {new:?}"));
}

/// What is different.
pub fn difference(old: &Config, new: &Config) -> Difference {
    let mut out = Difference::default();
    fields!(out.live, old, new:
        server.max_connections server.read_timeout server.write_timeout server.idle_timeout
        server.drain_timeout server.drain_lag server.header_server server.health server.trusted_proxies
        server.error_pages
        limits.head_size limits.head_fields limits.head_timeout limits.body_size limits.body_rate
        limits.send_rate limits.memory limits.per_client_connections limits.requests_per_second limits.burst
        tls.enable tls.cert tls.key tls.min_version tls.certificates tls.client_ca
        log.level log.access log.access_path log.debug_peers
    );
    fields!(out.frozen, old, new:
        server.workers server.buffer_size server.admin_socket metrics.enable metrics.host metrics.port
    );
    if old.tcp != new.tcp {
        out.frozen.push("[[tcp]]: changed".into());
    }
    if old.upstreams != new.upstreams {
        out.frozen.push("[[upstream]]: changed".into());
    }
    listeners(&mut out, &old.http_listeners(), &new.http_listeners());
    routes(&mut out.live, &old.routes, &new.routes);
    out
}

fn listeners(out: &mut Difference, old: &[Listener], new: &[Listener]) {
    let (old, new) = (places(old), places(new));
    let (before, after) = (by_place(&old), by_place(&new));
    for (place, one) in &new {
        match before.get(place) {
            None => out.live.push(format!("listener {}: added", one.address)),
            Some(was) if was.proxy_protocol != one.proxy_protocol => {
                out.frozen.push(format!("listener {}: proxy_protocol", one.address));
            }
            Some(was) if was.tls != one.tls => {
                let now = if one.tls { "on" } else { "off" };
                out.live.push(format!("listener {}: TLS {now}", one.address));
            }
            Some(_) => {}
        }
    }
    for (_, one) in old.iter().filter(|(place, _)| !after.contains_key(place)) {
        out.live.push(format!("listener {}: removed", one.address));
        for (_, other) in new.iter().filter(|(_, other)| one.address.overlaps(&other.address)) {
            out.frozen.push(format!(
                "listener {} -> {}: the system gives both to nobody at once",
                one.address, other.address
            ));
        }
    }
}

fn by_place<'a>(all: &'a [(Place, &'a Listener)]) -> HashMap<&'a Place, &'a Listener> {
    all.iter().map(|(place, one)| (place, *one)).collect()
}

/// Routes are the same where host, path and methods are.
fn routes(out: &mut Vec<String>, old: &[Route], new: &[Route]) {
    let (before, after) = (by_key(old), by_key(new));
    for one in new {
        match before.get(&key(one)) {
            None => out.push(format!("route {}: added", build::pattern(&one.path))),
            Some(was) if *was != one => out.push(format!("route {}: changed", build::pattern(&one.path))),
            Some(_) => {}
        }
    }
    for was in old.iter().filter(|was| !after.contains_key(&key(was))) {
        out.push(format!("route {}: removed", build::pattern(&was.path)));
    }
}

type Key<'a> = (&'a HostPattern, &'a PathPattern, &'a [Box<str>]);

fn key(route: &Route) -> Key<'_> {
    (&route.host, &route.path, &route.methods)
}

fn by_key(all: &[Route]) -> HashMap<Key<'_>, &Route> {
    all.iter().map(|route| (key(route), route)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::settings::{Action, PathPart, Respond};

    /// A route at `/number` that answers with this.
    fn route(number: usize, body: &str) -> Route {
        let parts = [PathPart::Literal(number.to_string().into())].into();
        let body = body.as_bytes().into();
        let respond = Respond { body, status: 200, headers: Arc::default() };
        Route::new(PathPattern { parts, rest: false }, Action::Respond(respond))
    }

    #[test]
    fn an_address_of_the_other_family_does_not_stand_in_the_way_of_a_new_one() {
        let at = |text: &str| {
            let address = Address::Tcp(text.parse().unwrap());
            let listener = Listener { address, tls: false, proxy_protocol: false };
            Config { listeners: [listener].into(), ..Config::default() }
        };
        let frozen = |old, new| difference(&at(old), &at(new)).frozen.len();
        assert_eq!(frozen("0.0.0.0:8080", "[::1]:8080"), 0, "both can be had at once");
        assert_eq!((frozen("0.0.0.0:8080", "[::]:8080"), frozen("[::]:8080", "127.0.0.1:8080")), (1, 1));
    }

    #[test]
    fn many_routes_are_compared_whatever_their_order() {
        const MANY: usize = 30_000;
        let old: Vec<Route> = (0..MANY).map(|number| route(number, "x")).collect();
        let mut new: Vec<Route> = old.iter().rev().cloned().collect();
        new[0] = route(MANY - 1, "y");
        new[1] = route(MANY, "x");
        let mut out = Vec::new();
        routes(&mut out, &old, &new);
        assert_eq!(out, ["route /29999: changed", "route /30000: added", "route /29998: removed"]);
    }
}
