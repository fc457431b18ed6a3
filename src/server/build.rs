//! From settings to what workers run: routes to handlers, limits to options.

use super::admin;
use super::settings::{
    self, AccessFormat, Action, Address, Config, HostPattern, PathPart, PathPattern, Route, SlowConsumer,
    Tcp, TcpHandler, Websocket, WebsocketKind,
};
use super::shared::Shared;
use super::upgrade::Upgrade;
use super::welcome;
use crate::guard::Slow;
use crate::http::{Files, FilesOptions, Options, Pages, Redirect, Respond, Site};
use crate::observe::Format;
use crate::reactor;
use crate::wire::limits::Limits;
use crate::wire::ws::{Limits as WsLimits, Policy};
use crate::{tcp, ws};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The reactor's limits.
pub(super) fn reactor_settings(config: &Config) -> reactor::Settings {
    reactor::Settings {
        max_connections: config.server.max_connections,
        write_timeout: config.server.write_timeout,
        send_rate: config.limits.send_rate,
        partial_size: config.server.buffer_size,
        hard_cap: largest_message(config).saturating_add(reactor::Settings::default().hard_cap),
        ..reactor::Settings::default()
    }
}

/// The longest WebSocket message, in bytes: one that is echoed waits as a whole, beside what else may wait.
fn largest_message(config: &Config) -> usize {
    let size = |route: &Route| match &route.action {
        Action::Websocket(settings) => settings.message_size,
        Action::Welcome | Action::Files(_) | Action::Respond(_) | Action::Redirect(_) | Action::Proxy(_) => 0,
    };
    config.routes.iter().map(size).max().unwrap_or(0)
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
        upgrades: &["websocket"],
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

/// The settings that ask for what this version does not do yet, by name. A configuration that was read from a file has none of them:
/// `config` refuses the same ones, with their places.
pub(super) fn unbuilt(config: &Config) -> Vec<&'static str> {
    let proxied = |route: &Route| matches!(route.action, Action::Proxy(_));
    let tunnelled = |tcp: &Tcp| matches!(tcp.handler, TcpHandler::Proxy(_));
    let asked = [
        ("[[route]] proxy", config.routes.iter().any(proxied)),
        ("[[upstream]]", !config.upstreams.is_empty()),
        ("[[tcp]] handler = \"proxy\"", config.tcp.iter().any(tunnelled)),
        ("limits.requests_per_second", config.limits.requests_per_second > 0),
        ("limits.burst", config.limits.burst > 0),
        ("[[listener]] proxy_protocol", config.listeners.iter().any(|listener| listener.proxy_protocol)),
    ];
    asked.into_iter().filter_map(|(name, asked)| asked.then_some(name)).collect()
}

/// What one worker speaks. Every worker makes the same, in the same order: so ids mean the same on all.
pub(super) struct Protocols {
    pub site: Site,
    pub ws: ws::Hub,
    pub upgrades: Upgrades,
    pub tcp: tcp::Hub,
    pub workers: usize,
}

impl Protocols {
    /// HTTP alone, on one worker.
    pub(super) fn http(site: Site) -> Protocols {
        let ws = ws::Hub::new(0, 1, ws::RoomLimits::default());
        Protocols { site, ws, upgrades: Upgrades::new(), tcp: tcp::Hub::new(0, 1), workers: 1 }
    }

    /// What the settings say, for worker `number` of `workers` (at most 1,024). `pages`: see [`error_pages`].
    pub(super) fn new(
        config: &Config,
        pages: Pages,
        shared: &Shared,
        number: usize,
        workers: usize,
    ) -> io::Result<Protocols> {
        let (me, all) = (number as u16, workers as u16);
        let mut ws = ws::Hub::new(me, all, ws::RoomLimits::default());
        let mut upgrades = Upgrades::new();
        let site = site(config, pages, shared, &mut ws, &mut upgrades)?;
        let mut protocols = Protocols { site, ws, upgrades, tcp: tcp::Hub::new(me, all), workers };
        for (_, options, kind) in tcp_services(config) {
            protocols.tcp.add(options, kind);
        }
        Ok(protocols)
    }
}

/// Settings of WebSocket routes, and what the hub calls them. Routes that are set alike are one to the hub; those of an earlier
/// configuration stay, since WebSockets outlive it.
pub(super) type Upgrades = Vec<(Websocket, ws::RouteId)>;

/// Handlers for all routes. Every worker makes the same, over all reloads: so ids mean the same on all. Nothing is read for it: what can
/// be built once can be built again.
pub(super) fn site(
    config: &Config,
    pages: Pages,
    shared: &Shared,
    hub: &mut ws::Hub,
    upgrades: &mut Upgrades,
) -> io::Result<Site> {
    let mut site = Site::new(options(config));
    site.set_pages(pages);
    for route in config.routes.iter() {
        add(&mut site, hub, upgrades, route, (config, shared))?;
    }
    admin::add_health(&mut site, shared, config)?;
    Ok(site)
}

/// The site's own error pages, if it has any. They are read once, for all workers: a folder can change from one moment to the next.
pub(super) fn error_pages(config: &Config) -> io::Result<Pages> {
    let Some(folder) = &config.server.error_pages else { return Ok(Pages::default()) };
    pages(folder).map_err(|error| io::Error::new(error.kind(), format!("error_pages: {error}")))
}

/// Most bytes of a page: it is copied into each answer.
const PAGE: u64 = 64 << 10;

/// The pages in a folder: files named by a status from 400 to 599, with `.html`. Other files are left alone.
pub(crate) fn pages(folder: &Path) -> io::Result<Pages> {
    let about =
        |path: &Path, error: &io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut pages = Pages::default();
    for entry in std::fs::read_dir(folder).map_err(|error| about(folder, &error))? {
        let path = entry.map_err(|error| about(folder, &error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".html"));
        let status = name.filter(|name| name.len() == 3).and_then(|name| name.parse().ok());
        let Some(status) = status.filter(|status| (400..600).contains(status)) else { continue };
        let mut html = Vec::new();
        // Opening anything else could wait for ever.
        if !std::fs::metadata(&path).map_err(|error| about(&path, &error))?.is_file() {
            return Err(about(&path, &io::Error::other("not a file")));
        }
        let file = File::open(&path).map_err(|error| about(&path, &error))?;
        file.take(PAGE + 1).read_to_end(&mut html).map_err(|error| about(&path, &error))?;
        if html.len() as u64 > PAGE {
            return Err(about(&path, &io::Error::other("longer than 64 KiB")));
        }
        pages.set(status, html);
    }
    Ok(pages)
}

/// The services of raw TCP, and where they listen: in the order of their ids.
pub(super) fn tcp_services(config: &Config) -> impl Iterator<Item = (&Address, tcp::Options, tcp::Kind)> {
    config.tcp.iter().filter_map(|tcp| {
        let kind = match tcp.handler {
            TcpHandler::Echo => tcp::Kind::Echo,
            TcpHandler::Lines => tcp::Kind::Lines,
            // Refused until it is built: see `unbuilt`.
            TcpHandler::Proxy(_) => return None,
        };
        let options = tcp::Options {
            idle_timeout: tcp.idle_timeout,
            line_size: tcp.line_size,
            slow: slow(tcp.slow_consumer),
            ..tcp::Options::default()
        };
        Some((&tcp.listen, options, kind))
    })
}

fn slow(policy: SlowConsumer) -> Slow {
    match policy {
        SlowConsumer::Close => Slow::Close,
        SlowConsumer::DropOldest => Slow::DropOldest,
        SlowConsumer::DropNewest => Slow::DropNewest,
        SlowConsumer::Latest => Slow::Latest,
    }
}

fn websocket(settings: &Websocket, by_host: bool, hub: &mut ws::Hub, upgrades: &mut Upgrades) -> Upgrade {
    let options = ws::Options {
        pace: ws::Pace {
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            ..ws::Pace::default()
        },
        limits: WsLimits {
            frame: settings.message_size as u64,
            message: settings.message_size,
            ..WsLimits::default()
        },
        slow: slow(settings.slow_consumer),
        deflate: settings.deflate.then(Policy::default),
        origins: settings.origins.to_vec(),
        ..ws::Options::default()
    };
    let kind = match settings.kind {
        WebsocketKind::Echo => ws::Kind::Echo,
        WebsocketKind::Room => ws::Kind::Room,
    };
    let known = upgrades.iter().find(|(one, _)| one == settings).map(|(_, id)| *id);
    let id = known.unwrap_or_else(|| {
        let id = hub.add(options.clone(), kind);
        upgrades.push((settings.clone(), id));
        id
    });
    Upgrade::new(id, options, by_host)
}

fn add(
    site: &mut Site,
    hub: &mut ws::Hub,
    upgrades: &mut Upgrades,
    route: &Route,
    (config, shared): (&Config, &Shared),
) -> io::Result<()> {
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
                ahead: Some(shared.ahead.clone()),
                ..FilesOptions::new(files.root.clone())
            };
            put(&pattern, Box::new(Files::new(options)))
        }
        Action::Websocket(settings) => {
            let by_host = route.host != HostPattern::Any;
            put(&pattern, Box::new(websocket(settings, by_host, hub, upgrades)))
        }
        // Refused until it is built: see `unbuilt`.
        Action::Proxy(_) => Ok(()),
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

#[cfg(test)]
mod tests;
