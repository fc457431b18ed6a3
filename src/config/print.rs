//! `config print`: the whole configuration as a file, each value with where it came from.
//!
//! What is printed is itself a configuration that reads as the same values, but for the built-in welcome site, which no file can name:
//! it stands as a comment. So does what would count as set if it was written, and nobody set: the metrics port, which would be in the way
//! of what is at that port, and beside listeners the host and port that are not used then, of which there would be a warning.
//! Paths are absolute: the file may be put into any folder.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Loaded;
use super::build::ItemOrigins;
use super::error::Origin;
use super::pattern::{show_host, show_path, show_template};
use super::routes::keys_of;
use super::schema::{SECTIONS, SETTINGS, Words};
use super::units::{show_duration, show_size};
use super::value::{Value, list, quote};
use crate::server::settings::{
    Action, Address, Certificate, HealthCheck, Listener, Route, Tcp, TcpHandler, Upstream, UpstreamAddress,
    UpstreamServer, WebsocketKind,
};

/// Column at which origins stand, where the value leaves room.
const ORIGIN_COLUMN: usize = 40;

/// One key and its value as TOML.
type Pair = (&'static str, String);

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        for (i, section) in SECTIONS.into_iter().enumerate() {
            writeln!(f, "{}[{section}]", if i > 0 { "\n" } else { "" })?;
            for setting in SETTINGS.iter().filter(|setting| setting.parts().0 == section) {
                let value = match (setting.get)(config) {
                    Value::Path(Some(path)) => Value::Path(Some(absolute(&path))),
                    other => other,
                };
                let text = value.toml_text(setting.kind);
                let origin = self.origin(setting.key);
                let is_comment = match setting.key {
                    "metrics.port" => !config.metrics.port_was_set,
                    "server.host" | "server.port" => {
                        !config.listeners.is_empty() && origin == Origin::Default
                    }
                    _ => false,
                };
                let (mark, key) = (if is_comment { "# " } else { "" }, setting.parts().1);
                line(f, &format!("{mark}{key}"), &text, &origin)?;
            }
            if section == "tls" {
                items(f, "tls.certificate", &config.tls.certificates, &self.certificates, certificate)?;
            }
        }
        items(f, "listener", &config.listeners, &self.listeners, listener)?;
        items(f, "route", &config.routes, &self.routes, route)?;
        items(f, "tcp", &config.tcp, &self.tcp, tcp)?;
        items(f, "upstream", &config.upstreams, &self.upstreams, upstream)
    }
}

fn items<T>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    items: &[T],
    origins: &[ItemOrigins],
    pairs: fn(&T) -> Vec<Pair>,
) -> fmt::Result {
    items.iter().zip(origins).try_for_each(|(item, origins)| table(f, name, pairs(item), origins))
}

fn table(f: &mut fmt::Formatter<'_>, name: &str, pairs: Vec<Pair>, origins: &ItemOrigins) -> fmt::Result {
    if pairs.is_empty() {
        return writeln!(f, "\n# the built-in welcome site at /*, because there is no route and no DIR");
    }
    let heading = format!("[[{name}]]");
    writeln!(f, "\n{heading:ORIGIN_COLUMN$} # {}", comment(&origins.at))?;
    for (key, text) in pairs {
        let origin = match (&origins.at, origins.of(key)) {
            (Origin::Flag(flag), Origin::Default) if key == "files" => Origin::Flag(flag),
            (_, origin) => origin,
        };
        line(f, key, &text, &origin)?;
    }
    Ok(())
}

fn line(f: &mut fmt::Formatter<'_>, key: &str, text: &str, origin: &Origin) -> fmt::Result {
    let pair = format!("{key} = {text}");
    writeln!(f, "{pair:ORIGIN_COLUMN$} # {}", comment(origin))
}

/// An origin that cannot end its comment.
fn comment(origin: &Origin) -> String {
    origin.to_string().escape_debug().to_string()
}

/// As it is, where not even the working folder is known.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn show_file(path: &Path) -> String {
    quote(&absolute(path).display().to_string())
}

fn show_address(address: &Address) -> String {
    match address {
        Address::Tcp(address) => quote(&address.to_string()),
        Address::Unix(path) => quote(&show_socket(path)),
    }
}

fn show_socket(path: &Path) -> String {
    format!("unix:{}", absolute(path).display())
}

fn certificate(certificate: &Certificate) -> Vec<Pair> {
    vec![
        ("host", quote(&show_host(&certificate.host).unwrap_or_default())),
        ("cert", show_file(&certificate.cert)),
        ("key", show_file(&certificate.key)),
    ]
}

fn listener(listener: &Listener) -> Vec<Pair> {
    vec![
        ("address", show_address(&listener.address)),
        ("tls", listener.tls.to_string()),
        ("proxy_protocol", listener.proxy_protocol.to_string()),
    ]
}

fn route(route: &Route) -> Vec<Pair> {
    if route.action == Action::Welcome {
        return Vec::new();
    }
    let mut pairs = vec![("path", quote(&show_path(&route.path)))];
    pairs.extend(show_host(&route.host).map(|host| ("host", quote(&host))));
    if !route.methods.is_empty() {
        pairs.push(("methods", list(route.methods.iter())));
    }
    let (name, _) = keys_of(&route.action);
    match &route.action {
        Action::Welcome => {}
        Action::Files(files) => pairs.extend([
            (name, show_file(&files.root)),
            ("listing", files.listing.to_string()),
            ("fallback", quote(files.fallback.as_deref().unwrap_or(""))),
            ("hidden", files.hidden.to_string()),
            ("follow_symlinks", files.follow_symlinks.to_string()),
            ("compress", files.compress.to_string()),
        ]),
        Action::Respond(respond) => {
            let pair = |(name, value): &(Box<str>, Box<str>)| format!("{} = {}", quote(name), quote(value));
            let headers: Vec<String> = respond.headers.iter().map(pair).collect();
            pairs.push((name, quote(&String::from_utf8_lossy(&respond.body))));
            pairs.push(("status", respond.status.to_string()));
            pairs.push(("headers", braces(&headers)));
        }
        Action::Redirect(redirect) => pairs
            .extend([(name, quote(&show_template(&redirect.to))), ("status", redirect.status.to_string())]),
        Action::Websocket(websocket) => {
            let kind = match websocket.kind {
                WebsocketKind::Echo => "echo",
                WebsocketKind::Room => "room",
            };
            pairs.extend([
                (name, quote(kind)),
                ("slow_consumer", quote(websocket.slow_consumer.word())),
                ("ping_interval", quote(&show_duration(websocket.ping_interval))),
                ("ping_timeout", quote(&show_duration(websocket.ping_timeout))),
                ("message_size", quote(&show_size(websocket.message_size as u64))),
                ("deflate", websocket.deflate.to_string()),
                ("origins", list(websocket.origins.iter())),
            ]);
        }
        Action::Proxy(proxy) => pairs.push((name, quote(&proxy.upstream))),
    }
    pairs.extend(route.body_size.map(|bytes| ("body_size", quote(&show_size(bytes)))));
    pairs
}

fn tcp(tcp: &Tcp) -> Vec<Pair> {
    let (handler, more) = match &tcp.handler {
        TcpHandler::Echo => ("echo", None),
        TcpHandler::Lines => ("lines", None),
        TcpHandler::Proxy(upstream) => ("proxy", Some(("upstream", quote(upstream)))),
    };
    let mut pairs = vec![("listen", show_address(&tcp.listen)), ("handler", quote(handler))];
    pairs.extend(more);
    pairs.push(("idle_timeout", quote(&show_duration(tcp.idle_timeout))));
    if tcp.handler == TcpHandler::Lines {
        pairs.push(("line_size", quote(&show_size(tcp.line_size as u64))));
        pairs.push(("slow_consumer", quote(tcp.slow_consumer.word())));
    }
    pairs
}

fn upstream(upstream: &Upstream) -> Vec<Pair> {
    let server = |server: &UpstreamServer| {
        let address = match &server.address {
            UpstreamAddress::Ip(address) => address.to_string(),
            UpstreamAddress::Name(name, port) => format!("{name}:{port}"),
            UpstreamAddress::Unix(path) => show_socket(path),
        };
        format!("{{ address = {}, weight = {} }}", quote(&address), server.weight)
    };
    let servers: Vec<String> = upstream.servers.iter().map(server).collect();
    let mut pairs = vec![
        ("name", quote(&upstream.name)),
        ("servers", format!("[{}]", servers.join(", "))),
        ("balance", quote(upstream.balance.word())),
        ("keepalive", upstream.keepalive.to_string()),
    ];
    pairs.extend(upstream.health.as_ref().map(|health| ("health", show_health(health))));
    pairs
}

fn show_health(health: &HealthCheck) -> String {
    braces(&[
        format!("path = {}", quote(&health.path)),
        format!("interval = {}", quote(&show_duration(health.interval))),
        format!("timeout = {}", quote(&show_duration(health.timeout))),
        format!("rise = {}", health.rise),
        format!("fall = {}", health.fall),
    ])
}

fn braces(pairs: &[String]) -> String {
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}
