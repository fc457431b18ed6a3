//! Another address for every request.

use super::escape;
use super::pages;
use super::router::REST;
use super::{BodyPolicy, Handler, Reply, Request, Responder};
use std::fmt;

const NO_HOST: &str = "The address of this depends on the host, and the request names none.";

/// Why a redirect was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedirectError {
    /// The target is empty, has a brace without its other, an empty name, or a byte that is not visible ASCII.
    BadTarget,
    /// The status is none of 301, 302, 303, 307, 308.
    BadStatus,
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RedirectError::BadTarget => "the target is no address with names in braces",
            RedirectError::BadStatus => "the status is none of 301, 302, 303, 307 and 308",
        })
    }
}

impl std::error::Error for RedirectError {}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<[u8]>),
    Param(Box<str>),
    Rest,
    Host,
    Path,
}

/// The handler: any method; the query of the request is carried over where the target has none.
#[derive(Clone, Debug)]
pub struct Redirect {
    status: u16,
    pieces: Vec<Piece>,
    /// What stands behind the `#`, with it.
    fragment: Box<[u8]>,
    /// The target has a query of its own.
    query: bool,
}

impl Redirect {
    /// `target`: visible ASCII, in which `{name}` stands for that parameter of the route, `{rest}` for what its `/*` matched,
    /// `{host}` for the host of the request without its port, `{path}` for the whole path with its slash. What the client sent is
    /// percent-encoded anew; a parameter that the route does not have is empty. A request without a host is answered 400 where the
    /// target has one.
    pub fn new(target: &str, status: u16) -> Result<Redirect, RedirectError> {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Err(RedirectError::BadStatus);
        }
        if target.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(RedirectError::BadTarget);
        }
        let (target, fragment) = target.split_at(target.find('#').unwrap_or(target.len()));
        if fragment.contains(['{', '}']) {
            return Err(RedirectError::BadTarget);
        }
        let (mut pieces, mut left) = (Vec::new(), target);
        while let Some(brace) = left.find(['{', '}']) {
            let (literal, after) = left.split_at(brace);
            let (name, after) =
                after.strip_prefix('{').and_then(|s| s.split_once('}')).ok_or(RedirectError::BadTarget)?;
            if name.is_empty() || name.contains('{') {
                return Err(RedirectError::BadTarget);
            }
            pieces.push(Piece::Literal(literal.as_bytes().into()));
            pieces.push(match name {
                REST => Piece::Rest,
                "host" => Piece::Host,
                "path" => Piece::Path,
                name => Piece::Param(name.into()),
            });
            left = after;
        }
        pieces.push(Piece::Literal(left.as_bytes().into()));
        Ok(Redirect { status, pieces, fragment: fragment.as_bytes().into(), query: target.contains('?') })
    }

    fn location(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Param(name) => escape::segment(out, request.param(name).unwrap_or_default()),
                Piece::Rest => escape::path(out, request.param(REST).unwrap_or_default()),
                Piece::Host => out.extend_from_slice(host(request)),
                Piece::Path => {
                    out.push(b'/');
                    escape::path(out, request.path());
                }
            }
        }
        if let (false, Some(query)) = (self.query, request.query()) {
            out.push(b'?');
            // Checked when it was read: no target has a byte that a field cannot have.
            out.extend_from_slice(query);
        }
        out.extend_from_slice(&self.fragment);
    }
}

/// The host without its port; its bytes were checked when it was read.
fn host<'a>(request: &Request<'a>) -> &'a [u8] {
    let authority = request.head().authority().unwrap_or_default();
    let from = memchr::memrchr(b']', authority).unwrap_or(0);
    let end = memchr::memchr(b':', &authority[from..]).map_or(authority.len(), |colon| from + colon);
    &authority[..end]
}

impl Handler for Redirect {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        if host(request).is_empty() && self.pieces.iter().any(|piece| matches!(piece, Piece::Host)) {
            return pages::error(reply, Some(request), 400, NO_HOST);
        }
        let answer = reply.start(self.status).raw(|out| {
            out.extend_from_slice(b"Location: ");
            self.location(request, out);
            out.extend_from_slice(b"\r\n");
        });
        answer.empty()
    }

    fn body(&self) -> BodyPolicy {
        BodyPolicy::Discard
    }
}

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;
    use super::*;

    #[test]
    fn a_target_is_filled_with_what_the_request_has() {
        for (pattern, target, asked, want) in [
            ("/old/*", "/new/{rest}", "/old/a/b%20c?x=%20&y", "/new/a/b%20c?x=%20&y"),
            ("/old/*", "/new/{rest}", "/old/", "/new/"),
            ("/old/*", "/new?a=b", "/old/a?x", "/new?a=b"),
            ("/old/*", "/new#top", "/old/a?x", "/new?x#top"),
            ("/{a}/{b}", "/{b}/{a}{none}", "/1/2%3f%0d%0aX:y", "/2%3F%0D%0AX%3Ay/1"),
            ("/*", "https://{host}{path}", "/a//../b/?q", "https://h.example/b/?q"),
            ("/*", "{rest}", "/javascript:alert(1)", "javascript%3Aalert(1)"),
            ("/*", "/{rest}", "//evil.example/x", "/evil.example/x"),
        ] {
            let mut redirect = Redirect::new(target, 308).unwrap();
            let mut harness = Harness { pattern: pattern.into(), ..Harness::default() };
            let request = format!("POST {asked} HTTP/1.1\r\nHost: h.example:81\r\n\r\n");
            let answer = harness.ask(&mut redirect, &request);
            assert_eq!((answer.status, answer.field("location")), (308, Some(want)), "{target} {asked}");
            assert_eq!(answer.field("content-length"), Some("0"));
        }
    }

    #[test]
    fn where_the_target_has_the_host_a_request_without_one_is_answered_400() {
        for head in ["HTTP/1.0\r\n", "HTTP/1.1\r\nHost:\r\n"] {
            let mut harness = Harness::default();
            let request = format!("GET /x {head}\r\n");
            let mut redirect = Redirect::new("https://{host}{path}", 301).unwrap();
            let answer = harness.ask(&mut redirect, &request);
            assert_eq!((answer.status, answer.field("location")), (400, None), "{head}");
            let mut redirect = Redirect::new("/new{path}", 301).unwrap();
            assert_eq!(harness.ask(&mut redirect, &request).field("location"), Some("/new/x"), "{head}");
        }
    }

    #[test]
    fn a_target_or_status_that_is_none_is_refused() {
        for bad in ["", "/a b", "/{", "/}", "/{}", "/{a{b}}", "/\u{e9}", "/#{a}"] {
            assert_eq!(Redirect::new(bad, 301).err(), Some(RedirectError::BadTarget), "{bad}");
        }
        assert_eq!(Redirect::new("/", 300).err(), Some(RedirectError::BadStatus));
    }
}
