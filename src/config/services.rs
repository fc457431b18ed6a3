//! `[[listener]]`, `[[tls.certificate]]`, `[[tcp]]` and `[[upstream]]`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::build::{Building, Section};
use super::error::{Reason, shown};
use super::pattern;
use super::routes::slow_consumer;
use super::schema::{WAIT, Words};
use super::value::{Kind, Value};
use crate::server::settings::{
    Address, Balance, Certificate, HealthCheck, HostPattern, Listener, Tcp, TcpHandler, Upstream,
    UpstreamServer,
};

/// Keys of a `[[listener]]`.
pub(super) const LISTENER: [&str; 3] = ["address", "tls", "proxy_protocol"];
/// Keys of a `[[tls.certificate]]`.
pub(super) const CERTIFICATE: [&str; 3] = ["host", "cert", "key"];
/// Keys of a `[[tcp]]`.
pub(super) const TCP: [&str; 6] =
    ["listen", "handler", "upstream", "idle_timeout", "line_size", "slow_consumer"];
/// Keys of an `[[upstream]]`.
pub(super) const UPSTREAM: [&str; 5] = ["name", "servers", "balance", "health", "keepalive"];
/// Keys of an upstream's `health`.
const HEALTH: [&str; 5] = ["path", "interval", "timeout", "rise", "fall"];
/// Keys of one of an upstream's `servers`.
const SERVER: [&str; 2] = ["address", "weight"];

/// Reads one `[[listener]]`.
pub(super) fn listener(b: &mut Building<'_>, mut section: Section<'_>) {
    let address = address(b, &mut section, "address");
    let tls = section.flag(b, "tls", false);
    let proxy_protocol = section.flag(b, "proxy_protocol", false);
    section.missing(b, "address", "a listener needs an address such as \"0.0.0.0:443\"");
    let origins = section.finish(b, &LISTENER);
    if let Some(address) = address {
        b.listeners.push((Listener { address, tls, proxy_protocol }, origins));
    }
}

fn address(b: &mut Building<'_>, section: &mut Section<'_>, key: &'static str) -> Option<Address> {
    let source = b.source;
    let join = |path: &Path| source.map_or_else(|| path.to_path_buf(), |source| source.join(path));
    section.text(b, key, |text| pattern::address(text, join))
}

/// Reads one `[[tls.certificate]]`.
pub(super) fn certificate(b: &mut Building<'_>, mut section: Section<'_>) {
    let host = section.text(b, "host", |text| match pattern::host(text)? {
        HostPattern::Any => {
            Err(Reason::Conflict("a certificate for any host is the one of [tls] cert and key".to_owned()))
        }
        HostPattern::Exact(host) if is_address(&host) => Err(Reason::Conflict(
            "clients name no host when they connect to an address (RFC 6066, section 3): make this the default certificate, by \
             tls.cert and tls.key"
                .to_owned(),
        )),
        host => Ok(host),
    });
    let cert = file(b, &mut section, "cert");
    let key = file(b, &mut section, "key");
    section.missing(b, "host", "a certificate needs the host that it is for");
    section.missing(b, "cert", "a certificate needs its PEM file");
    section.missing(b, "key", "a certificate needs the PEM file of its private key");
    let origins = section.finish(b, &CERTIFICATE);
    if let (Some(host), Some(cert), Some(key)) = (host, cert, key) {
        b.certificates.push((Certificate { host, cert, key }, origins));
    }
}

/// An IP address, in brackets too.
fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn file(b: &mut Building<'_>, section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = section.text(b, key, |text| match text.is_empty() || text.contains('\0') {
        true => Err(Reason::BadValue { found: shown(text), expected: "the path of a PEM file".to_owned() }),
        false => Ok(PathBuf::from(text)),
    });
    path.map(|path| b.join(&path))
}

/// Reads one `[[tcp]]`.
pub(super) fn tcp(b: &mut Building<'_>, mut section: Section<'_>) {
    let listen = address(b, &mut section, "listen");
    let word = match section.value(b, "handler", Kind::Choice(&["echo", "lines", "proxy"])) {
        Some(Value::Choice(word)) => Some(word),
        _ => None,
    };
    let upstream: Option<Box<str>> = section.text(b, "upstream", |text| Ok(text.into()));
    let idle_timeout = match section.value(b, "idle_timeout", WAIT) {
        Some(Value::Time(time)) => time,
        _ => Duration::from_secs(300),
    };
    let line_size = match section.value(b, "line_size", Kind::Size(1, 64 << 10)) {
        Some(Value::Size(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
        _ => 16 * 1024,
    };
    let slow_consumer = slow_consumer(b, &mut section);
    section.missing(b, "listen", "a TCP listener needs an address such as \"127.0.0.1:7000\"");
    section.missing(b, "handler", "a TCP listener needs a handler: \"echo\", \"lines\" or \"proxy\"");
    if let Some(word) = word {
        for (key, with) in [("upstream", "proxy"), ("line_size", "lines"), ("slow_consumer", "lines")] {
            if word != with && section.at(key).is_some() {
                let what = format!("this goes with handler \"{with}\", and this one is \"{word}\"");
                b.wrong(section.place_of(b, key), section.key(key), Reason::Conflict(what));
            }
        }
        if word == "proxy" {
            section.missing(b, "upstream", "the handler \"proxy\" needs an upstream");
        }
    }
    let handler = match word {
        Some("echo") => Some(TcpHandler::Echo),
        Some("lines") => Some(TcpHandler::Lines),
        Some(_) => upstream.map(TcpHandler::Proxy),
        None => None,
    };
    let origins = section.finish(b, &TCP);
    if let (Some(listen), Some(handler)) = (listen, handler) {
        b.tcp.push((Tcp { listen, handler, idle_timeout, line_size, slow_consumer }, origins));
    }
}

/// Reads one `[[upstream]]`.
pub(super) fn upstream(b: &mut Building<'_>, mut section: Section<'_>) {
    b.check_built(&section.place(), "upstream", section.path(), "", true);
    let name = section.text(b, "name", |text| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        match !text.is_empty() && text.len() <= 64 && text.bytes().all(fine) {
            true => Ok(text.into()),
            false => Err(Reason::BadValue {
                found: shown(text),
                expected: "a name of at most 64 letters, digits, \"-\", \"_\" and \".\"".to_owned(),
            }),
        }
    });
    let servers = servers(b, &mut section);
    let balance = match section.value(b, "balance", Kind::Choice(Balance::WORDS)) {
        Some(Value::Choice(word)) => Balance::of(word).unwrap_or_default(),
        _ => Balance::default(),
    };
    let key = section.key("health");
    let health = section.field(b, "health");
    let health = health.and_then(|value| Section::new(b, key, "upstream.health", value));
    let health = health.map(|section| read_health(b, section));
    let keepalive = section.number(b, "keepalive", (0, 10_000), 64);
    section.missing(b, "name", "an upstream needs a name");
    section.missing(b, "servers", "an upstream needs servers such as [{ address = \"127.0.0.1:3000\" }]");
    let origins = section.finish(b, &UPSTREAM);
    if let (Some(name), Some(servers)) = (name, servers) {
        b.upstreams.push((Upstream { name, servers: servers.into(), balance, health, keepalive }, origins));
    }
}

fn servers(b: &mut Building<'_>, section: &mut Section<'_>) -> Option<Vec<UpstreamServer>> {
    let value = section.field(b, "servers")?;
    let sections = Section::list(b, &section.key("servers"), "upstream.servers", value);
    if value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
        let what = "an upstream needs at least one server".to_owned();
        b.wrong(b.place(value.span().start), section.key("servers"), Reason::Missing(what));
    }
    let mut servers = Vec::new();
    for mut section in sections {
        let source = b.source;
        let join = |path: &Path| source.map_or_else(|| path.to_path_buf(), |source| source.join(path));
        let address = section.text(b, "address", |text| pattern::upstream_address(text, join));
        let weight = section.number(b, "weight", (1, 1000), 1);
        section.missing(b, "address", "a server needs an address such as \"127.0.0.1:3000\"");
        section.finish(b, &SERVER);
        servers.extend(address.map(|address| UpstreamServer { address, weight }));
    }
    if servers.is_empty() { None } else { Some(servers) }
}

fn read_health(b: &mut Building<'_>, mut section: Section<'_>) -> HealthCheck {
    let path = section.text(b, "path", |text| {
        match text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            true => Ok(text.into()),
            false => Err(Reason::BadValue {
                found: shown(text),
                expected: "a path such as \"/healthz\"".to_owned(),
            }),
        }
    });
    let time =
        |b: &mut Building<'_>, section: &mut Section<'_>, key, default| match section.value(b, key, WAIT) {
            Some(Value::Time(time)) => time,
            _ => Duration::from_secs(default),
        };
    let interval = time(b, &mut section, "interval", 2);
    let timeout = time(b, &mut section, "timeout", 1);
    let rise = section.number(b, "rise", (1, 100), 2);
    let fall = section.number(b, "fall", (1, 100), 3);
    section.finish(b, &HEALTH);
    HealthCheck { path: path.unwrap_or_else(|| "/healthz".into()), interval, timeout, rise, fall }
}
