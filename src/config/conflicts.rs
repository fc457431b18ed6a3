//! What no value says by itself: settings that contradict each other.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::build::Building;
use super::error::{Origin, Reason};
use super::pattern::{fits_socket, shape, show_host, show_path};
use super::routes::served;
use super::suggest::nearest;
use crate::server::settings::{Action, Address, HostPattern, Route, TcpHandler};

/// Looks for all of them. Called when everything has been read.
pub(super) fn find(b: &mut Building<'_>) {
    listeners(b);
    admin_socket(b);
    tls(b);
    routes(b);
    upstreams(b);
    let misread = b.errors.iter().any(|e| e.key == "limits.burst" || e.key == "limits.requests_per_second");
    if b.config.limits.burst > 0 && b.config.limits.requests_per_second == 0 && !misread {
        let what = "a burst without requests_per_second limits nothing".to_owned();
        b.wrong(b.origin("limits.burst"), "limits.burst", Reason::Conflict(what));
    }
}

/// Two sockets that could not both be opened.
fn listeners(b: &mut Building<'_>) {
    let mut all: Vec<(Address, String, Origin)> = Vec::new();
    let tcp = |ip, port| Address::Tcp(SocketAddr::new(ip, port));
    let server = &b.config.server;
    if b.listeners.is_empty() {
        all.push((tcp(server.host, server.port), "server.port".to_owned(), b.origin("server.port")));
    }
    for (listener, origins) in &b.listeners {
        let place = origins.of("address");
        all.push((listener.address.clone(), format!("{}.address", origins.name), place));
    }
    for (tcp, origins) in &b.tcp {
        all.push((tcp.listen.clone(), format!("{}.listen", origins.name), origins.of("listen")));
    }
    let metrics = &b.config.metrics;
    if metrics.enable && metrics.port_was_set {
        let place = b.origin("metrics.port");
        all.push((tcp(metrics.host, metrics.port), "metrics.port".to_owned(), place));
    }
    if let Some(path) = &b.config.server.admin_socket {
        let place = b.origin("server.admin_socket");
        all.push((Address::Unix(path.clone()), "server.admin_socket".to_owned(), place));
    }
    let mut seen: HashMap<Slot, Vec<usize>> = HashMap::new();
    for (i, (address, key, place)) in all.iter().enumerate() {
        let same = seen.entry(slot(address)).or_default();
        let overlaps = |first: &usize| all.get(*first).filter(|(one, ..)| one.overlaps(address));
        if let Some(first) = same.iter().find_map(overlaps) {
            let what = format!("{address} is already taken by {} ({})", first.1, first.2);
            b.errors.push(super::error::Error {
                place: place.clone(),
                key: key.clone(),
                reason: Reason::Conflict(what),
            });
        } else {
            same.push(i);
        }
    }
    if !b.listeners.is_empty() {
        for key in ["server.host", "server.port"] {
            if let Some(place) = b.scalars.get(key).cloned() {
                b.warn(place, key, "not used, because there is a [[listener]]".to_owned());
            }
        }
    }
}

/// A path that no socket can have. Only here is it known what a relative one was joined to.
fn admin_socket(b: &mut Building<'_>) {
    let key = "server.admin_socket";
    let path = b.config.server.admin_socket.as_deref();
    if let Some(Err(reason)) = path.map(|path| fits_socket(&path.to_string_lossy(), path)) {
        b.wrong(b.origin(key), key, reason);
    }
}

/// Addresses in different slots never overlap.
#[derive(PartialEq, Eq, Hash)]
enum Slot {
    Port(u16),
    Path(std::path::PathBuf),
}

fn slot(address: &Address) -> Slot {
    match address {
        Address::Tcp(address) => Slot::Port(address.port()),
        Address::Unix(path) => Slot::Path(path.clone()),
    }
}

fn tls(b: &mut Building<'_>) {
    let tls = b.config.tls.clone();
    let pair = [("tls.cert", &tls.cert, "tls.key", &tls.key), ("tls.key", &tls.key, "tls.cert", &tls.cert)];
    for (there, path, lacking, other) in pair {
        if path.is_some() && other.is_none() && !b.errors.iter().any(|error| error.key == lacking) {
            let what = format!("{there} without {lacking}: a certificate needs both");
            b.wrong(b.origin(there), there, Reason::Conflict(what));
        }
    }
    // a certificate that was read wrongly has been told of already
    let misread = b.errors.iter().any(|e| ["tls.cert", "tls.key"].iter().any(|key| e.key.starts_with(key)));
    let has_certificate = misread || tls.cert.is_some() || tls.key.is_some() || !b.certificates.is_empty();
    let what = "TLS needs a certificate: set tls.cert and tls.key, or add a [[tls.certificate]]";
    let mut wanting = Vec::new();
    if b.listeners.is_empty() {
        if tls.enable && !has_certificate {
            wanting.push((b.origin("tls.enable"), "tls.enable".to_owned(), what.to_owned()));
        }
    } else if tls.enable && !b.listeners.iter().any(|(listener, _)| listener.tls) {
        let what = "no [[listener]] has tls = true; write it at those that are to speak TLS".to_owned();
        wanting.push((b.origin("tls.enable"), "tls.enable".to_owned(), what));
    }
    for (listener, origins) in &b.listeners {
        if listener.tls && !has_certificate {
            wanting.push((origins.of("tls"), format!("{}.tls", origins.name), what.to_owned()));
        }
    }
    for (place, key, what) in wanting {
        b.wrong(place, key, Reason::Conflict(what));
    }
    let mut hosts: HashMap<HostPattern, Origin> = HashMap::new();
    let mut twice = Vec::new();
    for (certificate, origins) in &b.certificates {
        if let Some(first) = hosts.insert(certificate.host.clone(), origins.of("host")) {
            twice.push((origins.of("host"), format!("{}.host", origins.name), first));
        }
    }
    for (place, key, first) in twice {
        let what = format!("this host already has a certificate ({first})");
        b.wrong(place, key, Reason::Conflict(what));
    }
}

/// Whether some method is served by both.
fn share_a_method(a: &Route, b: &Route) -> bool {
    let serves = |route: &Route, method: &str| match (&route.methods[..], served(&route.action)) {
        ([], Some(served)) => served.contains(&method),
        ([], None) => true,
        (methods, _) => methods.iter().any(|one| **one == *method),
    };
    let named = a.methods.iter().chain(b.methods.iter()).map(|method| &**method);
    let mut tried = named.chain(["GET", "POST"]);
    tried.any(|method| serves(a, method) && serves(b, method))
}

/// Two routes that no request could tell apart.
fn routes(b: &mut Building<'_>) {
    let wrong: HashSet<&str> = b.errors.iter().map(|error| error.key.as_str()).collect();
    let mut seen: HashMap<(HostPattern, String), Vec<usize>> = HashMap::new();
    let mut twice = Vec::new();
    for (i, (route, origins)) in b.routes.iter().enumerate() {
        let misread = |key: &str| wrong.contains(format!("{}.{key}", origins.name).as_str());
        if !wrong.is_empty() && ["path", "host", "methods"].into_iter().any(misread) {
            continue; // what stands in for it would only seem to be the same
        }
        let same = seen.entry((route.host.clone(), shape(&route.path))).or_default();
        let first =
            same.iter().filter_map(|at| b.routes.get(*at)).find(|(one, _)| share_a_method(one, route));
        match first {
            Some((_, first)) => {
                let host = show_host(&route.host).map(|host| format!(" of {host}")).unwrap_or_default();
                let what = format!(
                    "another route has the same path {}{host} and method ({})",
                    show_path(&route.path),
                    first.at
                );
                let place = match origins.of("path") {
                    Origin::Default => origins.at.clone(),
                    place => place,
                };
                twice.push((place, format!("{}.path", origins.name), what));
            }
            None => same.push(i),
        }
    }
    for (place, key, what) in twice {
        b.wrong(place, key, Reason::Conflict(what));
    }
}

fn upstreams(b: &mut Building<'_>) {
    let mut names: HashMap<Box<str>, Origin> = HashMap::new();
    let mut wrong = Vec::new();
    for (upstream, origins) in &b.upstreams {
        if let Some(first) = names.insert(upstream.name.clone(), origins.of("name")) {
            let what = format!("another upstream has this name ({first})");
            wrong.push((origins.of("name"), format!("{}.name", origins.name), what));
        }
    }
    let mut used = Vec::new();
    for (route, origins) in &b.routes {
        if let Action::Proxy(proxy) = &route.action {
            used.push((&proxy.upstream, origins.of("proxy"), format!("{}.proxy", origins.name)));
        }
    }
    for (tcp, origins) in &b.tcp {
        if let TcpHandler::Proxy(name) = &tcp.handler {
            used.push((name, origins.of("upstream"), format!("{}.upstream", origins.name)));
        }
    }
    for (name, place, key) in used {
        if !names.contains_key(name) && !b.is_unbuilt("upstream") {
            let near = nearest(name, b.upstreams.iter().take(100).map(|(upstream, _)| &*upstream.name));
            let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            let name = super::build::bare(name);
            wrong.push((place, key, format!("there is no [[upstream]] named \"{name}\"{hint}")));
        }
    }
    for (place, key, what) in wrong {
        b.wrong(place, key, Reason::Conflict(what));
    }
}
