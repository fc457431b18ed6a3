//! From settings to what workers run: routes to handlers, limits to options.

use super::settings::{self, AccessFormat, Action, Config, HostPattern, PathPart, PathPattern, Route};
use super::welcome;
use crate::http::{Files, FilesOptions, Options, Redirect, Respond, Site};
use crate::observe::Format;
use crate::reactor;
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

/// The form of the access log.
pub(super) fn format(config: &Config) -> Format {
    match config.log.access {
        AccessFormat::Off => Format::Off,
        AccessFormat::Common => Format::Common,
        AccessFormat::Combined => Format::Combined,
        AccessFormat::Json => Format::Json,
    }
}

/// A worker's site.
pub(super) fn site(config: &Config) -> io::Result<Site> {
    let mut site = Site::new(options(config));
    for route in config.routes.iter() {
        add(&mut site, route, config)?;
    }
    Ok(site)
}

fn add(site: &mut Site, route: &Route, config: &Config) -> io::Result<()> {
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
                put(path, Box::new(welcome_page(page, config)?))?;
            }
            Ok(())
        }
        Action::Respond(settings::Respond { status, headers, body }) => {
            put(&pattern, Box::new(respond(*status, headers, body, config)?))
        }
        Action::Redirect(redirect) => {
            let to = Redirect::new(&redirect.to.to_string(), redirect.status);
            put(&pattern, Box::new(to.map_err(|error| io::Error::other(format!("redirect: {error}")))?))
        }
        Action::Files(files) => {
            let options = FilesOptions {
                listing: files.listing,
                fallback: files.fallback.as_deref().map(str::to_owned),
                hidden: files.hidden,
                follow_symlinks: files.follow_symlinks,
                compress: files.compress,
                ..FilesOptions::new(files.root.clone())
            };
            put(&pattern, Box::new(Files::new(options)))
        }
        // Refused by `config` until it is built.
        Action::Websocket(_) | Action::Proxy(_) => Ok(()),
    }
}

fn respond(
    status: u16,
    headers: &[(Box<str>, Box<str>)],
    body: &[u8],
    config: &Config,
) -> io::Result<Respond> {
    let fields: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let illegal = |_| io::Error::other("a respond route has a status or a field that cannot be sent");
    Respond::new(status, &fields, body, config.server.header_server).map_err(illegal)
}

fn welcome_page(page: &welcome::Page, config: &Config) -> io::Result<Respond> {
    let fields = [
        ("content-type", page.content_type),
        ("content-security-policy", welcome::POLICY),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
    ]
    .map(|(name, value)| (name.into(), value.into()));
    respond(200, &fields, page.body, config)
}

/// A pattern as the router reads it.
pub(super) fn pattern(path: &PathPattern) -> String {
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
