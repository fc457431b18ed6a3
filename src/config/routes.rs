//! `[[route]]`: reads one route and its action.

use std::path::Path;
use std::sync::Arc;

use toml::de::DeValue;

use super::build::{Building, Section, bare, whole};
use super::error::{Reason, shown};
use super::pattern::{self, bad};
use super::schema::{BODY, WAIT, WAIT_OR_NONE, Words};
use super::suggest::nearest;
use super::value::{Kind, Value, type_name};
use crate::server::settings::{
    Action, Files, HostPattern, PathPattern, Proxy, Redirect, Respond, Route, SlowConsumer, Websocket,
    WebsocketKind,
};

/// The actions, each with the keys that go with it.
const ACTIONS: [(&str, &[&str]); 5] = [
    ("files", &["listing", "fallback", "hidden", "follow_symlinks", "compress"]),
    ("respond", &["status", "headers"]),
    ("redirect", &["status"]),
    ("websocket", &["slow_consumer", "ping_interval", "ping_timeout", "message_size", "deflate", "origins"]),
    ("proxy", &[]),
];

/// Keys that go with every action.
const COMMON: [&str; 4] = ["host", "methods", "path", "body_size"];

/// Methods that may be named. CONNECT and TRACE are never served.
const METHODS: [&str; 17] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "QUERY",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
];

/// Fields of a response that frame the message or belong to the connection: never by hand.
const RESERVED_FIELDS: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "server",
];

/// The key that names an action, and its options.
pub(super) fn keys_of(action: &Action) -> (&'static str, &'static [&'static str]) {
    match action {
        Action::Welcome => ("", &[]),
        Action::Files(_) => ACTIONS[0],
        Action::Respond(_) => ACTIONS[1],
        Action::Redirect(_) => ACTIONS[2],
        Action::Websocket(_) => ACTIONS[3],
        Action::Proxy(_) => ACTIONS[4],
    }
}

/// Methods that the action can serve; `None`: any.
pub(super) fn served(action: &Action) -> Option<&'static [&'static str]> {
    match action {
        Action::Welcome | Action::Files(_) => Some(&["GET", "HEAD", "OPTIONS"]),
        Action::Websocket(_) => Some(&["GET"]),
        Action::Respond(_) | Action::Redirect(_) | Action::Proxy(_) => None,
    }
}

/// Reads one route; what is wrong is noted. `None` when it has no usable action.
pub(super) fn read(building: &mut Building<'_>, mut section: Section<'_>) {
    let b = building;
    let host = section.text(b, "host", pattern::host).unwrap_or(HostPattern::Any);
    let all = PathPattern { parts: Arc::default(), rest: true };
    let path = section.text(b, "path", pattern::path).unwrap_or(all);
    let methods = section.texts(b, "methods", method).unwrap_or_default();
    let body_size = match section.value(b, "body_size", BODY) {
        Some(Value::Size(bytes)) => Some(bytes),
        _ => None,
    };
    let action = match which(b, &section) {
        Some(name) => {
            let action = read_action(b, &mut section, name, &path);
            refuse_strays(b, &mut section, name);
            action
        }
        None => {
            take_options(b, &mut section);
            None
        }
    };
    if let Some(action) = &action {
        check_methods(b, &section, &methods, action);
    }
    let origins = section.finish(b, &all_keys().collect::<Vec<_>>());
    if let Some(action) = action {
        let mut unique: Vec<Box<str>> = Vec::new();
        for method in methods {
            if !unique.iter().any(|one| **one == *method) {
                unique.push(method.into());
            }
        }
        b.routes.push((Route { host, methods: unique.into(), path, action, body_size }, origins));
    }
}

/// Every key that a route may have.
pub(super) fn all_keys() -> impl Iterator<Item = &'static str> {
    let options = ACTIONS.into_iter().flat_map(|(_, options)| options.iter().copied());
    COMMON.into_iter().chain(ACTIONS.map(|(name, _)| name)).chain(options)
}

/// The one action of a route; none and several are noted.
fn which(b: &mut Building<'_>, section: &Section<'_>) -> Option<&'static str> {
    let found: Vec<(usize, &'static str)> =
        ACTIONS.iter().filter_map(|(name, _)| Some((section.at(name)?, *name))).collect();
    match found.iter().min() {
        Some(&(_, one)) if found.len() == 1 => Some(one),
        None => {
            let actions = ACTIONS.map(|(name, _)| name);
            let misspelt = section.keys().iter().any(|(key, _)| {
                !all_keys().any(|known| known == *key)
                    && nearest(key, all_keys()).is_some_and(|near| actions.contains(&near))
            });
            if !misspelt {
                let what = format!("a route needs an action: one of {}", actions.join(", "));
                b.wrong(section.place(), section.path(), Reason::Missing(what));
            }
            None
        }
        Some(&(_, first)) => {
            for (at, name) in found.iter().filter(|(_, name)| *name != first) {
                let what = format!("a route has one action, and this one already has {first}");
                b.wrong(b.place(*at), section.key(name), Reason::Conflict(what));
            }
            None
        }
    }
}

/// Options that belong to another action than the route's.
fn refuse_strays(b: &mut Building<'_>, section: &mut Section<'_>, action: &str) {
    let own = ACTIONS.iter().find(|(name, _)| *name == action).map_or(&[][..], |(_, options)| options);
    for (name, options) in ACTIONS {
        for option in options.iter().filter(|option| !own.contains(option)) {
            if name == "redirect" || section.field(b, option).is_none() {
                continue; // its only option is also one of `respond`
            }
            let what = format!("this goes with {name}, and the route has {action}");
            b.wrong(section.place_of(b, option), section.key(option), Reason::Conflict(what));
        }
    }
}

/// Without a clear action the options cannot be judged: they count as known.
fn take_options(b: &mut Building<'_>, section: &mut Section<'_>) {
    for (name, options) in ACTIONS {
        let _ = section.field(b, name);
        for option in options {
            let _ = section.field(b, option);
        }
    }
}

fn method(text: &str) -> Result<&'static str, Reason> {
    if let Some(known) = METHODS.iter().find(|known| **known == text) {
        return Ok(known);
    }
    let upper = text.to_ascii_uppercase();
    let near = METHODS
        .iter()
        .find(|known| **known == upper)
        .copied()
        .or_else(|| nearest(&upper.to_ascii_lowercase(), METHODS_LOWER).map(upper_of));
    let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    Err(Reason::BadValue {
        found: format!("{}{hint}", shown(text)),
        expected: "a method such as \"GET\" or \"POST\"".to_owned(),
    })
}

/// The methods in lower case, as [`nearest`] compares.
const METHODS_LOWER: [&str; 17] = [
    "get",
    "head",
    "post",
    "put",
    "delete",
    "patch",
    "options",
    "query",
    "propfind",
    "proppatch",
    "mkcol",
    "copy",
    "move",
    "lock",
    "unlock",
    "report",
    "search",
];

fn upper_of(lower: &str) -> &'static str {
    METHODS.iter().find(|method| method.eq_ignore_ascii_case(lower)).copied().unwrap_or("GET")
}

fn check_methods(b: &mut Building<'_>, section: &Section<'_>, methods: &[&'static str], action: &Action) {
    let Some(served) = served(action) else { return };
    if let Some(method) = methods.iter().find(|method| !served.contains(method)) {
        let what = format!("{} cannot answer {method}, only {}", keys_of(action).0, served.join(", "));
        b.wrong(section.place_of(b, "methods"), section.key("methods"), Reason::Conflict(what));
    }
}

fn read_action(
    b: &mut Building<'_>,
    section: &mut Section<'_>,
    name: &'static str,
    path: &PathPattern,
) -> Option<Action> {
    match name {
        "files" => files(b, section).map(Action::Files),
        "respond" => respond(b, section).map(Action::Respond),
        "redirect" => redirect(b, section, path).map(Action::Redirect),
        "websocket" => websocket(b, section).map(Action::Websocket),
        _ => proxy(b, section).map(Action::Proxy),
    }
}

fn files(b: &mut Building<'_>, section: &mut Section<'_>) -> Option<Files> {
    let root = section.text(b, "files", |text| match text {
        "" => Err(Reason::Missing("the folder to serve is missing; \".\" is this file's own".to_owned())),
        _ if text.contains('\0') => Err(bad(text, "a path")),
        _ => Ok(text.to_owned()),
    });
    let root = root.map(|root| b.join(Path::new(&root)));
    let listing = section.flag(b, "listing", false);
    let fallback = section.text(b, "fallback", fallback).flatten();
    let hidden = section.flag(b, "hidden", false);
    let follow_symlinks = section.flag(b, "follow_symlinks", false);
    let compress = section.flag(b, "compress", true);
    Some(Files { root: root?, listing, fallback, hidden, follow_symlinks, compress })
}

fn fallback(text: &str) -> Result<Option<Box<str>>, Reason> {
    if text.is_empty() {
        return Ok(None);
    }
    let strange = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    if text.split('/').any(strange) || text.contains(['\0', '\\']) {
        return Err(bad(text, "a file below the folder, such as \"index.html\""));
    }
    Ok(Some(text.into()))
}

fn respond(b: &mut Building<'_>, section: &mut Section<'_>) -> Option<Respond> {
    let body = section.text(b, "respond", |text| Ok(text.to_owned()));
    let status = section.number(b, "status", (200, 599), 200);
    let headers = headers(b, section);
    let body = body?;
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let what = format!("an answer with status {status} has no body; write respond = \"\"");
        b.wrong(section.place_of(b, "respond"), section.key("respond"), Reason::Conflict(what));
    }
    Some(Respond { body: body.into_bytes().into(), status, headers: headers.into() })
}

fn headers(b: &mut Building<'_>, section: &mut Section<'_>) -> Vec<(Box<str>, Box<str>)> {
    let mut headers: Vec<(Box<str>, Box<str>)> = Vec::new();
    let Some(field) = section.field(b, "headers") else { return headers };
    let path = section.key("headers");
    let DeValue::Table(table) = field.get_ref() else {
        let found = type_name(field.get_ref());
        let expected = "a table such as { \"cache-control\" = \"no-store\" }".to_owned();
        b.wrong(b.place(field.span().start), path, Reason::WrongType { expected, found });
        return headers;
    };
    if table.len() > 100 {
        b.wrong(b.place(field.span().start), path, Reason::Conflict("at most 100 fields".to_owned()));
        return headers;
    }
    for (name, value) in table {
        let key = format!("{path}.{}", bare(name.get_ref()));
        let lower = name.get_ref().to_ascii_lowercase();
        let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        let place = b.place(name.span().start);
        if lower.is_empty() || !lower.bytes().all(token) {
            b.wrong(place, key, bad(&lower, "the name of a field, such as \"cache-control\""));
        } else if RESERVED_FIELDS.contains(&lower.as_str()) {
            b.wrong(place, key, Reason::Conflict("the server sets this field itself".to_owned()));
        } else if headers.iter().any(|(one, _)| **one == *lower) {
            b.wrong(place, key, Reason::Conflict("this field is there twice".to_owned()));
        } else {
            match value.get_ref() {
                DeValue::String(text) if text.bytes().all(|c| (0x20..0x7f).contains(&c)) => {
                    headers.push((lower.into(), text.trim().into()));
                }
                DeValue::String(text) => {
                    b.wrong(b.place(value.span().start), key, bad(text, "visible ASCII and spaces"));
                }
                other => {
                    let reason =
                        Reason::WrongType { expected: "a string".to_owned(), found: type_name(other) };
                    b.wrong(b.place(value.span().start), key, reason);
                }
            }
        }
    }
    headers
}

fn redirect(b: &mut Building<'_>, section: &mut Section<'_>, path: &PathPattern) -> Option<Redirect> {
    let to = section.text(b, "redirect", |text| {
        let template = pattern::template(text)?;
        match pattern::unknown_name(&template, path) {
            Some(name) => Err(Reason::Conflict(format!(
                "the path of this route has no {}; it is \"{}\"",
                if name == "rest" { "\"*\" for {rest}".to_owned() } else { format!("{{{name}}}") },
                pattern::show_path(path)
            ))),
            None => Ok(template),
        }
    });
    let status = match section.field(b, "status") {
        None => 302,
        Some(value) => match whole(value.get_ref()) {
            Some(status @ (301 | 302 | 303 | 307 | 308)) => status as u16,
            _ => {
                let found = match value.get_ref() {
                    DeValue::Integer(number) => bare(number.as_str()),
                    other => type_name(other).to_owned(),
                };
                let reason = Reason::BadValue { found, expected: "301, 302, 303, 307 or 308".to_owned() };
                b.wrong(b.place(value.span().start), section.key("status"), reason);
                302
            }
        },
    };
    Some(Redirect { to: to?, status })
}

fn websocket(b: &mut Building<'_>, section: &mut Section<'_>) -> Option<Websocket> {
    let kind = match section.value(b, "websocket", Kind::Choice(&["echo", "room"])) {
        Some(Value::Choice("echo")) => Some(WebsocketKind::Echo),
        Some(Value::Choice("room")) => Some(WebsocketKind::Room),
        _ => None,
    };
    let mut websocket = Websocket::new(kind.unwrap_or(WebsocketKind::Echo));
    websocket.slow_consumer = slow_consumer(b, section);
    if let Some(Value::Time(time)) = section.value(b, "ping_interval", WAIT_OR_NONE) {
        websocket.ping_interval = time;
    }
    if let Some(Value::Time(time)) = section.value(b, "ping_timeout", WAIT) {
        websocket.ping_timeout = time;
    }
    if let Some(Value::Size(bytes)) = section.value(b, "message_size", Kind::Size(1, 1 << 30)) {
        websocket.message_size = usize::try_from(bytes).unwrap_or(websocket.message_size);
    }
    websocket.deflate = section.flag(b, "deflate", true);
    websocket.origins = section.texts(b, "origins", origin).unwrap_or_default().into();
    kind.map(|_| websocket)
}

/// What happens to a slow reader, in a route or a TCP listener.
pub(super) fn slow_consumer(b: &mut Building<'_>, section: &mut Section<'_>) -> SlowConsumer {
    match section.value(b, "slow_consumer", Kind::Choice(SlowConsumer::WORDS)) {
        Some(Value::Choice(word)) => SlowConsumer::of(word).unwrap_or(SlowConsumer::Close),
        _ => SlowConsumer::Close,
    }
}

/// An origin: scheme, host and perhaps port (RFC 6454, section 6.2), in lower case.
fn origin(text: &str) -> Result<Box<str>, Reason> {
    let lower = text.to_ascii_lowercase();
    let host = lower.split_once("://").map(|(_, host)| host).unwrap_or("");
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    match !host.is_empty() && host.bytes().all(fine) {
        true => Ok(lower.into()),
        false => Err(bad(text, "an origin such as \"https://example.org\", without a path")),
    }
}

fn proxy(b: &mut Building<'_>, section: &mut Section<'_>) -> Option<Proxy> {
    let upstream = section.text(b, "proxy", |text| Ok(text.into()));
    let place = section.place_of(b, "proxy");
    b.check_built(&place, "route.proxy", &section.key("proxy"), "", true);
    upstream.map(|upstream| Proxy { upstream })
}
