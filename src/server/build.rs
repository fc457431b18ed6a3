//! From settings to what workers run: routes to handlers, limits to options.

use super::settings::{Action, Config, HostPattern, PathPart, PathPattern, Route};
use super::welcome;
use crate::http::{BodyPolicy, Handler, Options, Prebuilt, Reply, Request, Responder, Site};
use crate::reactor::{self, Host};
use crate::wire::limits::Limits;
use std::io;

/// The reactor's limits.
pub(super) fn reactor_settings(config: &Config) -> reactor::Settings {
    reactor::Settings {
        max_connections: config.server.max_connections,
        write_timeout: config.server.write_timeout,
        send_rate: config.limits.send_rate,
        ..reactor::Settings::default()
    }
}

fn options(config: &Config) -> Options {
    let limits = Limits {
        head_size: config.limits.head_size,
        head_fields: config.limits.head_fields,
        ..Limits::default()
    };
    Options {
        limits,
        body_size: config.limits.body_size,
        read_timeout: config.server.read_timeout,
        idle_timeout: config.server.idle_timeout,
        head_timeout: config.limits.head_timeout,
        body_rate: config.limits.body_rate,
        server_field: config.server.header_server,
    }
}

/// A worker's site.
pub(super) fn site(config: &Config, host: &mut dyn Host) -> io::Result<Site> {
    let mut site = Site::new(options(config));
    for route in config.routes.iter() {
        add(&mut site, route, config, host)?;
    }
    Ok(site)
}

fn add(site: &mut Site, route: &Route, config: &Config, _host: &mut dyn Host) -> io::Result<()> {
    let name = match &route.host {
        HostPattern::Any => None,
        HostPattern::Exact(name) => Some(name.to_string()),
        HostPattern::Below(name) => Some(format!("*.{name}")),
    };
    let methods: Vec<&str> = route.methods.iter().map(|method| &**method).collect();
    let pattern = pattern(&route.path);
    let mut put = |pattern: &str, handler| {
        let added = site.route(name.as_deref(), &methods, pattern, route.body_size, handler);
        added.map_err(|error| io::Error::other(format!("route {pattern}: {error}")))
    };
    match &route.action {
        Action::Welcome => {
            for (path, page) in welcome::PAGES {
                put(path, Box::new(welcome_page(page, config)))?;
            }
            Ok(())
        }
        Action::Respond(respond) => {
            put(&pattern, Box::new(self::respond(respond.status, &respond.headers, &respond.body, config)))
        }
        Action::Redirect(_) | Action::Files(_) => Ok(()),
        // Refused by `config` until it is built.
        Action::Websocket(_) | Action::Proxy(_) => Ok(()),
    }
}

struct Fixed(Prebuilt);

impl Handler for Fixed {
    fn handle(&mut self, _: &Request<'_>, reply: Responder<'_>) -> Reply {
        reply.prebuilt(&self.0)
    }

    fn body(&self) -> BodyPolicy {
        BodyPolicy::Discard
    }
}

fn respond(status: u16, headers: &[(Box<str>, Box<str>)], body: &[u8], config: &Config) -> Fixed {
    let mut fields = Vec::new();
    for (name, value) in headers {
        fields.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    Fixed(Prebuilt::new(status, &fields, body, config.server.header_server))
}

fn welcome_page(page: &welcome::Page, config: &Config) -> Fixed {
    let fields =
        format!("content-type: {}\r\ncontent-security-policy: {}\r\n", page.content_type, welcome::POLICY);
    Fixed(Prebuilt::new(200, fields.as_bytes(), page.body, config.server.header_server))
}

/// A pattern as the router reads it.
fn pattern(path: &PathPattern) -> String {
    let mut out = String::new();
    for part in path.parts.iter() {
        match part {
            PathPart::Literal(literal) => out.extend(["/", literal]),
            PathPart::Param(name) => out.extend(["/{", name, "}"]),
        }
    }
    match path.rest {
        true => out + "/*",
        false if out.is_empty() => "/".into(),
        false => out,
    }
}
