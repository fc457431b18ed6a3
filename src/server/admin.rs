//! The metrics port: `/metrics`, `/healthz`, `/livez`, `/readyz`. A reactor of its own, so that it answers when the others are
//! full, and can tell when one of them hangs. It serves the admin socket too, where there is `/reload` beside them.

use super::build::pattern;
use super::settings::{Config, HostPattern};
use super::shared::Shared;
use crate::http::pages::RETRY_AFTER;
use crate::http::{Handler, Options, Reply, Request, Responder, RouteId, Site, Ticket};
use crate::observe::{
    Exposition, HealthStatus, MetricsSnapshot, Process, ResponseTime, Silence, Vitals, render,
};
use crate::reactor::Millis;
use crate::wire::http::emit::{FieldName, FieldValue};
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

const TEXT: &str = "text/plain; charset=utf-8";

/// What somebody asks for through the admin socket. Answer each one.
#[derive(Debug)]
pub enum AdminRequest {
    /// `POST /reload`: read the configuration again.
    Reload {
        /// To be answered with.
        ticket: Ticket,
        /// The file that is meant to be read, if that was said: [`CONFIG_FIELD`]. A server that lives by another refuses.
        config: Option<PathBuf>,
    },
}

/// The field of a request in which the path of the configuration is, absolute and percent-encoded.
pub const CONFIG_FIELD: &str = "evenkeel-config";

impl AdminRequest {
    /// What came of it: 200, or 409 if it was refused and nothing was changed.
    pub fn answer(self, outcome: Result<String, String>) {
        let AdminRequest::Reload { ticket, .. } = self;
        let (status, text) = match outcome {
            Ok(text) => (200, text),
            Err(text) => (409, text),
        };
        // Whoever asked may have gone.
        let _ = ticket.answer(move |reply| send(reply, status, TEXT, &text));
    }
}

/// A worker publishes at least once a second; what is beyond that is lag.
const SILENCE_MS: u64 = 1_000;

/// What is looked at, and how it was when it was last looked at.
struct Watch {
    shared: Shared,
    before: Mutex<(Silence, ResponseTime)>,
}

impl Watch {
    fn health(&self, now: Millis) -> HealthStatus {
        let tally = self.shared.hub.total();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let draining = self.shared.is_draining();
        // Workers that drain end one by one: their silence is no sign.
        let silence = match draining {
            true => 0,
            false => before.0.observe(now, &self.shared.hub).saturating_sub(SILENCE_MS),
        };
        HealthStatus::of(&Vitals {
            connections: self.shared.gauge.get() as u64,
            max_connections: self.shared.max_connections() as u64,
            memory_bytes: self.shared.budget.held(),
            memory_budget: self.shared.budget.limit(),
            response_time: before.1.observe(now, &tally),
            lag_ms: tally.lag_ms.max(silence),
            draining,
        })
    }

    fn metrics(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            tally: self.shared.hub.total(),
            process: Process::read(),
            max_connections: self.shared.max_connections() as u64,
            memory_held_bytes: self.shared.budget.held(),
            memory_budget_bytes: self.shared.budget.limit(),
            log_lines_dropped: self.shared.log_lines_dropped(),
            reloads: self.shared.reloads(),
            certificates: self.shared.certificates(),
            draining: self.shared.is_draining(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The site of the metrics port. Whatever `server.header_server` is, it sends no `server` field: it takes over no reload.
pub(super) fn site(shared: &Shared, orders: Option<Sender<AdminRequest>>) -> io::Result<Site> {
    let watch = Arc::new(Watch { shared: shared.clone(), before: Mutex::default() });
    let mut site = Site::new(Options { server_field: false, ..Options::default() });
    let metrics = watch.clone();
    add(&mut site, "/metrics", move |request, reply| {
        let form = Exposition::for_accept(request.field("accept"));
        send(reply, 200, form.content_type(), &render(&metrics.metrics(), form))
    })?;
    for (path, code) in HEALTH {
        health(&mut site, path, &watch, code)?;
    }
    if let Some(orders) = orders {
        reload(&mut site, orders)?;
    }
    Ok(site)
}

/// The status that an answer has.
type Code = fn(&HealthStatus) -> u16;

/// The paths of health, and what status they answer with.
const HEALTH: [(&str, Code); 3] =
    [("/livez", |_| 200), ("/healthz", HealthStatus::healthz), ("/readyz", HealthStatus::readyz)];

/// What of health a server's own site answers by these settings: where there is no route of one's own.
fn answered(config: &Config) -> impl Iterator<Item = (&'static str, Code)> {
    let own = move |path: &str| {
        config.routes.iter().any(|route| route.host == HostPattern::Any && pattern(&route.path) == path)
    };
    HEALTH.into_iter().filter(move |(path, _)| config.server.health && !own(path))
}

/// Adds that.
pub(super) fn add_health(site: &mut Site, shared: &Shared, config: &Config) -> io::Result<()> {
    let watch = Arc::new(Watch { shared: shared.clone(), before: Mutex::default() });
    for (path, code) in answered(config) {
        health(site, path, &watch, code)?;
    }
    Ok(())
}

/// The routes that [`add_health`] made.
pub(super) fn health_routes(site: &Site, config: &Config) -> Vec<RouteId> {
    answered(config).filter_map(|(path, _)| site.route_id(path)).collect()
}

/// Only who may open the admin socket may order anything: over TCP it is as if there were no such path.
fn reload(site: &mut Site, orders: Sender<AdminRequest>) -> io::Result<()> {
    let handler = move |request: &Request<'_>, reply: Responder<'_>| {
        if request.peer().ip().is_some() {
            return send(reply, 404, TEXT, "404 Not Found\n");
        }
        let config = request.field(CONFIG_FIELD).map(|path| Cow::from(percent_decode(path)).into_owned());
        let config = config.map(|path| PathBuf::from(OsString::from_vec(path)));
        match orders.send(AdminRequest::Reload { ticket: reply.ticket(), config }) {
            Ok(()) => reply.later(),
            Err(_) => send(reply, 503, TEXT, "the server is ending\n"),
        }
    };
    site.route(None, &["POST"], "/reload", Some(0), Box::new(handler)).map_err(io::Error::other)
}

fn health(site: &mut Site, path: &str, watch: &Arc<Watch>, code: Code) -> io::Result<()> {
    let watch = watch.clone();
    add(site, path, move |request, reply| {
        let status = watch.health(Millis(reply.now_ms()));
        let (content_type, body) = status.body(request.field("accept"));
        send(reply, code(&status), content_type, &body)
    })
}

fn add(
    site: &mut Site,
    path: &str,
    handler: impl FnMut(&Request<'_>, Responder<'_>) -> Reply + 'static,
) -> io::Result<()> {
    let handler: Box<dyn Handler> = Box::new(handler);
    site.route(None, &["GET"], path, Some(0), handler).map_err(io::Error::other)
}

fn send(reply: Responder<'_>, status: u16, content_type: &'static str, body: &str) -> Reply {
    reply
        .start(status)
        .field(FieldName::from_static("content-type"), FieldValue::from_static(content_type))
        .text("cache-control", "no-store")
        .raw(|out| out.extend_from_slice(if status == 503 { RETRY_AFTER } else { b"" }))
        .body(body.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_silent_is_a_bad_sign_but_while_all_drain_and_end_one_by_one() {
        let shared = Shared::new(&Config::default(), 2, None);
        let watch = Watch { shared: shared.clone(), before: Mutex::default() };
        assert_eq!(watch.health(Millis(0)).healthz(), 200);
        assert_eq!(watch.health(Millis(10_000)).healthz(), 503);
        shared.begin_draining();
        let draining = watch.health(Millis(20_000));
        assert_eq!((draining.healthz(), draining.readyz()), (200, 503));
    }
}
