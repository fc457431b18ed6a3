//! Pages that say what went wrong, in the form that the client likes best: HTML, JSON or plain text.
//!
//! JSON is `{"status":404,"error":"Not Found","detail":"..."}`. A site can have its own HTML pages ([`Pages`]).

use super::escape;
use super::{Reply, Request, Responder};
use crate::wire::http::accept::media_weight;
use crate::wire::http::emit;
use std::sync::Arc;

/// The field line that 429 and 503 have.
pub(crate) const RETRY_AFTER: &[u8] = b"Retry-After: 1\r\n";

/// A site's own pages, by status. They are HTML in UTF-8, and take the place of the built-in ones for clients that take HTML. A clone
/// shares them.
#[derive(Clone, Debug, Default)]
pub struct Pages(Vec<(u16, Arc<[u8]>)>);

impl Pages {
    /// Sets the page of a status.
    pub fn set(&mut self, status: u16, html: impl Into<Box<[u8]>>) {
        self.0.retain(|(known, _)| *known != status);
        self.0.push((status, html.into().into()));
    }

    /// The page of a status.
    pub fn get(&self, status: u16) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == status).map(|(_, html)| &**html)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Html,
    Json,
}

/// Answers with an error. `detail` is a sentence for people; nothing that the client sent should be in it. `request`: to
/// know what the client takes; without one it is plain text. 429 and 503 get a Retry-After.
pub fn error(reply: Responder<'_>, request: Option<&Request<'_>>, status: u16, detail: &str) -> Reply {
    error_with(reply, request, status, detail, b"")
}

/// 405 with the Allow that it must have (RFC 9110, 15.5.6).
pub fn not_allowed(reply: Responder<'_>, request: &Request<'_>, allow: &str) -> Reply {
    let lines = ["Allow: ", allow, "\r\n"].concat();
    error_with(reply, Some(request), 405, "This cannot be done here.", lines.as_bytes())
}

/// [`error`] with further field lines, which must be whole and legal.
pub fn error_with(
    reply: Responder<'_>,
    request: Option<&Request<'_>>,
    status: u16,
    detail: &str,
    lines: &[u8],
) -> Reply {
    let form = request.map_or(Form::Text, form);
    let mut body = Vec::with_capacity(1024);
    let kind = match form {
        Form::Text => {
            text(&mut body, status, detail);
            "text/plain; charset=utf-8"
        }
        Form::Json => {
            json(&mut body, status, detail);
            "application/json"
        }
        Form::Html => {
            match reply.pages.get(status) {
                Some(own) => body.extend_from_slice(own),
                None => html(&mut body, status, detail),
            }
            "text/html; charset=utf-8"
        }
    };
    let answer = reply.start(status).text("Content-Type", kind).text("X-Content-Type-Options", "nosniff");
    let answer = answer.raw(|out| {
        // Many of these may be cached without a word about it (RFC 9110, 15.1), and the form depends on the request.
        if request.is_some() {
            out.extend_from_slice(b"Vary: Accept\r\n");
        }
        if matches!(status, 429 | 503) {
            out.extend_from_slice(RETRY_AFTER);
        }
        out.extend_from_slice(lines);
    });
    answer.body(&body)
}

/// The form with the largest weight. Of equal ones one that is named goes before one that is only meant by `*/*`: a browser names
/// HTML, a script JSON, and a command line neither.
fn form(request: &Request<'_>) -> Form {
    let accept = || request.head().fields.all("accept");
    if accept().next().is_none() {
        return Form::Text;
    }
    let named = |kind: &str| accept().any(|value| value.windows(kind.len()).any(|w| w == kind.as_bytes()));
    let weight = |kind: &str| media_weight(accept(), kind);
    // Of several that are as good, the last.
    let forms = [
        (weight("text/html"), named("text/html"), Form::Html),
        (weight("application/json"), named("application/json"), Form::Json),
        (weight("text/plain"), false, Form::Text),
    ];
    forms.iter().max_by_key(|form| (form.0, form.1)).map_or(Form::Text, |form| form.2)
}

fn text(out: &mut Vec<u8>, status: u16, detail: &str) {
    emit::number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(emit::reason_phrase(status).as_bytes());
    out.push(b'\n');
    if !detail.is_empty() {
        out.extend_from_slice(detail.as_bytes());
        out.push(b'\n');
    }
}

fn json(out: &mut Vec<u8>, status: u16, detail: &str) {
    out.extend_from_slice(b"{\"status\":");
    emit::number(out, u64::from(status));
    out.extend_from_slice(b",\"error\":");
    escape::json(out, emit::reason_phrase(status).as_bytes());
    out.extend_from_slice(b",\"detail\":");
    escape::json(out, detail.as_bytes());
    out.extend_from_slice(b"}\n");
}

fn html(out: &mut Vec<u8>, status: u16, detail: &str) {
    let mut title = Vec::new();
    emit::number(&mut title, u64::from(status));
    title.push(b' ');
    title.extend_from_slice(emit::reason_phrase(status).as_bytes());
    out.extend_from_slice(b"<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">");
    out.extend_from_slice(b"<meta name=\"viewport\" content=\"width=device-width\"><title>");
    escape::html(out, &title);
    out.extend_from_slice(b"</title>");
    out.extend_from_slice(STYLE);
    out.extend_from_slice(b"<main><h1>");
    escape::html(out, &title);
    out.extend_from_slice(b"</h1><p>");
    escape::html(out, detail.as_bytes());
    out.extend_from_slice(b"</main>\n");
}

const STYLE: &[u8] =
    b"<style>html{height:100%}body{font:18px/1.5 system-ui,sans-serif;min-height:100%;margin:0;\
display:grid;place-items:center;color:#222;background:#fff}main{padding:2rem;text-align:center}\
h1{font-size:1.6rem;margin:0}p{color:#777;margin:.5rem 0}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}p{color:#999}}</style>";

#[cfg(test)]
mod tests {
    use super::super::harness::Harness;
    use super::*;

    fn page(accept: &str, status: u16) -> (String, String) {
        let mut harness = Harness::default();
        harness.pages.set(410, *b"<p>own");
        let mut handler =
            |request: &Request<'_>, reply: Responder<'_>| error(reply, Some(request), status, "Not <here>.");
        let answer = harness.ask(&mut handler, &format!("GET / HTTP/1.1\r\nHost: a\r\n{accept}\r\n\r\n"));
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.field("vary"), Some("Accept"), "a cache must not give one form to all");
        assert_eq!(answer.field("retry-after").is_some(), status == 503);
        (answer.field("content-type").unwrap().to_string(), answer.text())
    }

    #[test]
    fn the_form_is_the_one_that_the_client_likes_best() {
        const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, form) in [
            ("X: y", "text/plain"),
            ("Accept: */*", "text/plain"),
            (BROWSER, "text/html"),
            ("Accept: application/json", "application/json"),
            ("Accept: application/json, text/plain, */*", "application/json"),
            ("Accept: application/json;q=0.5, text/html;q=0.6", "text/html"),
            ("Accept: image/png", "text/plain"),
            ("Accept: text/*", "text/plain"),
        ] {
            assert!(page(accept, 404).0.starts_with(form), "{accept}");
        }
        assert_eq!(page("X: y", 404).1, "404 Not Found\nNot <here>.\n");
        let json = page("Accept: application/json", 503).1;
        assert_eq!(json, "{\"status\":503,\"error\":\"Service Unavailable\",\"detail\":\"Not <here>.\"}\n");
        assert!(page(BROWSER, 404).1.contains("<h1>404 Not Found</h1><p>Not &lt;here&gt;."));
        assert_eq!(page(BROWSER, 410).1, "<p>own");
        assert!(page("X: y", 410).1.starts_with("410 Gone"));
    }
}
