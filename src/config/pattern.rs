//! The small languages inside strings: addresses, host and path patterns, redirect targets; read and shown.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use super::error::{Reason, shown};
use super::value::host as ip;
use crate::http::MAX_PARAMS;
use crate::http::router::MAX_SEGMENTS;
use crate::server::settings::{
    Address, HostPattern, PathPart, PathPattern, Template, TemplatePart, UpstreamAddress,
};

/// Longest path of a Unix socket in bytes, without the ending zero.
const UNIX_PATH_MAX: usize = 107;

/// A value that means nothing, and what should stand there.
#[cold]
pub(super) fn bad(found: &str, expected: &str) -> Reason {
    Reason::BadValue { found: shown(found), expected: expected.to_owned() }
}

/// `127.0.0.1:80`, `[::1]:80`, `localhost:80` or `unix:/path`; `join` places a relative path.
pub(super) fn address(text: &str, join: impl Fn(&Path) -> PathBuf) -> Result<Address, Reason> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(text, path, join).map(Address::Unix);
    }
    if let Ok(address) = text.parse() {
        return Ok(Address::Tcp(address));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    match (ip(host), port.parse::<u16>()) {
        (Some(ip), Ok(port)) if !host.contains(':') || host.starts_with('[') => {
            Ok(Address::Tcp((ip, port).into()))
        }
        (None, Ok(port)) if host.is_empty() => {
            Err(bad(text, &format!("address and port such as \"0.0.0.0:{port}\"")))
        }
        _ => Err(bad(text, "an address such as \"0.0.0.0:80\", \"[::]:80\" or \"unix:/run/evenkeel.sock\"")),
    }
}

fn unix(text: &str, path: &str, join: impl Fn(&Path) -> PathBuf) -> Result<PathBuf, Reason> {
    if path.is_empty() || path.contains('\0') {
        return Err(bad(text, "a path after \"unix:\""));
    }
    let path = join(Path::new(path));
    fits_socket(text, &path)?;
    Ok(path)
}

/// Whether the system takes the path for a socket; `found`: how it was written.
pub(super) fn fits_socket(found: &str, path: &Path) -> Result<(), Reason> {
    match path.as_os_str().len() > UNIX_PATH_MAX {
        true => Err(bad(found, "a path of at most 107 bytes, which is what the system takes for a socket")),
        false => Ok(()),
    }
}

/// The same for a server behind us, which may also be a host name with port.
pub(super) fn upstream_address(
    text: &str,
    join: impl Fn(&Path) -> PathBuf,
) -> Result<UpstreamAddress, Reason> {
    match address(text, join) {
        Ok(Address::Tcp(address)) if address.port() != 0 => Ok(UpstreamAddress::Ip(address)),
        Ok(Address::Unix(path)) => Ok(UpstreamAddress::Unix(path)),
        _ => match text.rsplit_once(':') {
            Some((name, port)) if is_host_name(name) => match port.parse() {
                Ok(port) if port != 0 => Ok(UpstreamAddress::Name(name.to_ascii_lowercase().into(), port)),
                _ => Err(bad(text, "a port from 1 to 65535 after the host")),
            },
            _ => Err(bad(text, "host and port such as \"127.0.0.1:3000\" or \"app.internal:3000\"")),
        },
    }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// `example.org`, `*.example.org`, an IP address (IPv6 in brackets, as it stands in a request), or `*` for any.
pub(super) fn host(text: &str) -> Result<HostPattern, Reason> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').filter(|name| *name != "*").unwrap_or(&lower);
    match lower.strip_prefix("*.") {
        _ if lower == "*" => Ok(HostPattern::Any),
        Some(below) if is_host_name(below) => Ok(HostPattern::Below(below.into())),
        None if is_host_name(lower) => Ok(HostPattern::Exact(lower.into())),
        None if is_bracketed(lower) => Ok(HostPattern::Exact(lower.into())),
        _ if lower.starts_with('[') => {
            let expected =
                "an IPv6 address in brackets such as \"[::1]\", without port, or a host without them";
            Err(bad(text, expected))
        }
        _ if !text.is_ascii() => Err(bad(text, "the host in its ASCII form (xn--...)")),
        _ => Err(bad(
            text,
            "a host such as \"example.org\" or \"*.example.org\", without scheme, port or path",
        )),
    }
}

/// Only IPv6 addresses have brackets (RFC 3986, 3.2.2).
fn is_bracketed(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// As it stands in a file; `None` for any host.
pub(super) fn show_host(host: &HostPattern) -> Option<String> {
    match host {
        HostPattern::Any => None,
        HostPattern::Exact(name) => Some(name.to_string()),
        HostPattern::Below(name) => Some(format!("*.{name}")),
    }
}

/// `/`, `/a/{name}/b`, `/a/*`.
pub(super) fn path(text: &str) -> Result<PathPattern, Reason> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(bad(text, "a path that begins with \"/\""));
    };
    if text.len() > 1024 {
        return Err(bad(text, "a path of at most 1024 bytes"));
    }
    let (rest, tail) = match rest.strip_suffix('*') {
        Some("") => ("", true),
        Some(before) if before.ends_with('/') => (before.trim_end_matches('/'), true),
        _ => (rest, false),
    };
    if tail && rest.is_empty() && text != "/*" {
        return Err(bad(text, "no empty segments (\"//\")"));
    }
    let mut parts: Vec<PathPart> = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if rest.is_empty() {
            break;
        }
        let part = part(text, segment, last && !tail)?;
        if matches!(part, PathPart::Param(_)) && parts.contains(&part) {
            return Err(bad(text, "each name in braces only once"));
        }
        parts.push(part);
    }
    if tail && text.ends_with("//*") {
        return Err(bad(text, "no empty segments (\"//\")"));
    }
    if parts.len() > MAX_SEGMENTS {
        return Err(bad(text, &format!("at most {MAX_SEGMENTS} segments")));
    }
    let names = parts.iter().filter(|part| matches!(part, PathPart::Param(_))).count();
    if names + usize::from(tail) > MAX_PARAMS {
        return Err(bad(text, &format!("at most {MAX_PARAMS} names in braces, \"*\" counted as one")));
    }
    Ok(PathPattern { parts: parts.into(), rest: tail })
}

fn part(text: &str, segment: &str, may_be_empty: bool) -> Result<PathPart, Reason> {
    if let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        return match name {
            "rest" => Err(bad(text, "\"*\" for the rest of a path; in a redirect it is called {rest}")),
            "host" | "path" => {
                Err(bad(text, "another name: in a redirect {host} and {path} mean the request's own"))
            }
            _ if !name.is_empty() && name.bytes().all(fine) => Ok(PathPart::Param(name.into())),
            _ => Err(bad(text, "in braces a name of small letters, digits and \"_\"")),
        };
    }
    if segment.is_empty() && !may_be_empty {
        return Err(bad(text, "no empty segments (\"//\")"));
    }
    if segment == "." || segment == ".." {
        return Err(bad(text, "no \".\" or \"..\" segments: requests have none left when they are compared"));
    }
    if segment.contains(['{', '}', '*']) {
        return Err(bad(text, "{name} as a whole segment, and \"*\" only as the last one"));
    }
    if segment.contains(['?', '#', '%', '\\']) || segment.chars().any(char::is_control) {
        return Err(bad(
            text,
            "a path without query and as it reads decoded: no \"?\", \"#\", \"%\" or \"\\\"",
        ));
    }
    Ok(PathPart::Literal(segment.into()))
}

/// As it stands in a file.
pub(super) fn show_path(path: &PathPattern) -> String {
    let mut out = String::new();
    for part in path.parts.iter() {
        out.push('/');
        match part {
            PathPart::Literal(text) => out.push_str(text),
            PathPart::Param(name) => out.extend(["{", name, "}"]),
        }
    }
    match path.rest {
        true => out.push_str("/*"),
        false if out.is_empty() => out.push('/'),
        false => {}
    }
    out
}

/// What is the same for two paths that no request can tell apart: names in braces do not count.
pub(super) fn shape(path: &PathPattern) -> String {
    let nameless = |part: &PathPart| match part {
        PathPart::Literal(text) => PathPart::Literal(text.clone()),
        PathPart::Param(_) => PathPart::Param("".into()),
    };
    show_path(&PathPattern { parts: path.parts.iter().map(nameless).collect(), rest: path.rest })
}

/// A redirect's target. Names are checked against the path of its route by [`unknown_name`].
pub(super) fn template(text: &str) -> Result<Template, Reason> {
    let begins = ["/", "http://", "https://", "{path}"].iter().any(|begin| text.starts_with(begin));
    if !begins {
        return Err(bad(text, "a target that begins with \"/\", \"http://\" or \"https://\""));
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
        let what = format!("visible ASCII only: percent-encode {}", shown(&c.to_string()));
        return Err(bad(text, &what));
    }
    if text.split_once('#').is_some_and(|(_, fragment)| fragment.contains(['{', '}'])) {
        return Err(bad(text, "no names behind \"#\""));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, after) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal.into()));
        }
        if after.is_empty() {
            break;
        }
        let braced = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let Some((name, after)) = braced.filter(|(name, _)| !name.is_empty() && !name.contains('{')) else {
            return Err(bad(text, "every \"{\" closed by \"}\", with a name between"));
        };
        parts.push(match name {
            "rest" => TemplatePart::Rest,
            "host" => TemplatePart::Host,
            "path" => TemplatePart::Path,
            name => TemplatePart::Param(name.into()),
        });
        rest = after;
    }
    Ok(Template { parts: parts.into() })
}

/// The first name of the template that its route's path does not have.
pub(super) fn unknown_name(template: &Template, path: &PathPattern) -> Option<String> {
    template.parts.iter().find_map(|part| match part {
        TemplatePart::Rest if !path.rest => Some("rest".to_owned()),
        TemplatePart::Param(name) if !path.parts.contains(&PathPart::Param(name.clone())) => {
            Some(name.to_string())
        }
        _ => None,
    })
}

/// As it stands in a file.
pub(super) fn show_template(template: &Template) -> String {
    let parts = template.parts.iter().map(|part| match part {
        TemplatePart::Literal(text) => text.to_string(),
        TemplatePart::Param(name) => format!("{{{name}}}"),
        TemplatePart::Rest => "{rest}".to_owned(),
        TemplatePart::Host => "{host}".to_owned(),
        TemplatePart::Path => "{path}".to_owned(),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Redirect;
    use crate::http::router::Router;
    use proptest::prelude::*;

    fn here(path: &Path) -> PathBuf {
        path.to_path_buf()
    }

    #[test]
    fn paths_that_mean_something_are_read_and_shown_again() {
        for text in ["/", "/*", "/a", "/a/", "/a/*", "/a/{b}/c", "/{a}/{b}/*", "/é"] {
            assert_eq!(show_path(&path(text).unwrap()), text);
        }
    }

    #[test]
    fn paths_that_mean_nothing_are_refused() {
        for text in [
            "", "a", "*", "//", "//*", "/a//b", "/a//*", "/a*", "/*/a", "/{a}b", "/{}", "/{A}", "/{a}/{a}",
            "/{rest}", "/..", "/a/./b", "/a?b", "/a%20b", "/a\\b", "/a\n",
        ] {
            assert!(path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts_are_read_in_lower_case_and_without_port() {
        assert_eq!(host("Example.ORG").unwrap(), HostPattern::Exact("example.org".into()));
        assert_eq!(host("*.example.org").unwrap(), HostPattern::Below("example.org".into()));
        assert_eq!(host("*").unwrap(), HostPattern::Any);
        assert!(host("[::1]").is_ok());
        for text in [
            "",
            "a b",
            "example.org:80",
            "http://a",
            "*.*.a",
            "a..b",
            "ü.de",
            "*.",
            ".",
            "[::1",
            "[::1]:80",
            "[127.0.0.1]",
            "[localhost]",
        ] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_read() {
        for (text, is) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("localhost:0", "127.0.0.1:0"),
            ("unix:/run/x", "unix:/run/x"),
        ] {
            assert_eq!(address(text, here).unwrap().to_string(), is);
        }
        for text in ["", ":80", "80", "::1:80:", "127.0.0.1", "127.0.0.1:70000", "example.org:80", "unix:"] {
            assert!(address(text, here).is_err(), "{text:?}");
        }
        assert!(address(&format!("unix:/{}", "x".repeat(107)), here).is_err());
    }

    #[test]
    fn a_server_behind_us_may_have_a_name_and_must_have_a_port() {
        assert_eq!(upstream_address("App:3000", here), Ok(UpstreamAddress::Name("app".into(), 3000)));
        assert!(matches!(upstream_address("[::1]:1", here), Ok(UpstreamAddress::Ip(_))));
        for text in ["app", "app:0", "127.0.0.1:0", "a b:1", "http://app:1"] {
            assert!(upstream_address(text, here).is_err(), "{text:?}");
        }
    }

    #[test]
    fn redirect_targets_are_read_and_shown_again() {
        for text in ["/new/{rest}", "https://{host}{path}", "/a/{b}/c", "{path}x", "http://a/?q={b}"] {
            assert_eq!(show_template(&template(text).unwrap()), text);
        }
        for text in [
            "",
            "new",
            "/a b",
            "/a\r\nx: y",
            "/{",
            "/}",
            "/{}",
            "/{a",
            "/{a{b}}",
            "/é",
            "javascript:1",
            "/#{a}",
        ] {
            assert!(template(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_the_path_does_not_have_is_found() {
        let target = template("/{a}/{rest}").unwrap();
        assert_eq!(unknown_name(&target, &path("/x/{a}/*").unwrap()), None);
        assert_eq!(unknown_name(&target, &path("/x/{a}").unwrap()), Some("rest".to_owned()));
        assert_eq!(unknown_name(&target, &path("/x/{b}/*").unwrap()), Some("a".to_owned()));
    }

    /// Texts made of what these languages are made of.
    fn pieces() -> impl Strategy<Value = String> {
        let words = vec![
            "/",
            "/",
            "/",
            "*",
            "{a}",
            "{b}",
            "{c}",
            "{rest}",
            "{path}",
            "a",
            "B",
            ".",
            "..",
            "#",
            "?",
            "%",
            "[",
            "]",
            "::",
            "1",
            "127.0.0.1",
            "localhost",
            "*.",
            "-",
            "_",
            "é",
            "\\",
            "\u{80}",
            " ",
            "http://",
            "",
        ];
        prop::collection::vec(prop::sample::select(words), 0..24).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn what_is_good_here_the_router_and_the_redirect_take(text in pieces(), names in 0..12, deep in 0..40usize) {
            let deep = "/x".repeat(deep);
            let names: String = (0..names).map(|i| format!("/{{n{i}}}")).collect();
            for text in [text.clone(), names.clone() + &text, names + "/*", deep.clone() + &text, deep + "/*"] {
                if let Ok(path) = path(&text) {
                    let added = Router::new().add(None, &[], &show_path(&path), ());
                    prop_assert!(added.is_ok(), "{text:?}: {added:?}");
                }
                if let Ok(template) = template(&text) {
                    let made = Redirect::new(&show_template(&template), 302);
                    prop_assert!(made.is_ok(), "{text:?}: {made:?}");
                }
                if let Ok(host) = host(&text) {
                    let added = Router::new().add(show_host(&host).as_deref(), &[], "/", ());
                    prop_assert!(added.is_ok(), "{text:?}: {added:?}");
                }
            }
        }
    }
}
