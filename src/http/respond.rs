//! A fixed answer to every request.

use super::{BodyPolicy, Handler, Prebuilt, Reply, Request, Responder};
use crate::wire::http::emit::{self, FieldName, FieldValue, Illegal};

/// The handler: the same answer whatever the method. Nothing is composed per request but the date.
#[derive(Clone, Debug)]
pub struct Respond(Prebuilt);

impl Respond {
    /// Composes it. `status`: 200 to 999. `fields`: without those that the server adds (`content-length`, `transfer-encoding`,
    /// `connection`, `date`, `server`), which are left out; without a `content-type` the body is plain UTF-8 text. 204, 205 and 304 have
    /// no body. `server_field`: `server: evenkeel` is sent.
    ///
    /// Errors: a name that is no token, a value with a control character, another status.
    pub fn new(
        status: u16,
        fields: &[(&str, &str)],
        body: &[u8],
        server_field: bool,
    ) -> Result<Respond, Illegal> {
        if !(200..1000).contains(&status) {
            return Err(Illegal);
        }
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
        let mut lines = Vec::new();
        for (name, value) in fields {
            let (name_checked, value) =
                (FieldName::new(name.as_bytes())?, FieldValue::new(value.as_bytes())?);
            let ours = ["content-length", "transfer-encoding", "connection", "date", "server"];
            if !ours.iter().any(|own| is(name, own)) {
                emit::field(&mut lines, name_checked, value);
            }
        }
        let body = if matches!(status, 204 | 205 | 304) { b"" } else { body };
        if !body.is_empty() && !fields.iter().any(|(name, _)| is(name, "content-type")) {
            lines.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        }
        Ok(Respond(Prebuilt::new(status, &lines, body, server_field)))
    }
}

impl Handler for Respond {
    fn handle(&mut self, _request: &Request<'_>, reply: Responder<'_>) -> Reply {
        reply.prebuilt(&self.0)
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
    fn every_method_gets_the_same_answer_and_head_no_body() {
        let fields = [("X-A", "b"), ("Content-Length", "99"), ("connection", "close")];
        let mut respond = Respond::new(201, &fields, b"hello\n", true).unwrap();
        for method in ["GET", "POST", "DELETE", "BREW"] {
            let answer =
                Harness::default().ask(&mut respond, &format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!((answer.status, answer.text().as_str()), (201, "hello\n"));
            assert_eq!(answer.field("content-length"), Some("6"));
            assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!((answer.field("x-a"), answer.field("server")), (Some("b"), Some("evenkeel")));
            assert_eq!(answer.field("connection"), None);
        }
        let head = Harness::default().ask(&mut respond, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.field("content-length"), head.body.len()), (Some("6"), 0));
    }

    #[test]
    fn the_date_is_that_of_the_answer_and_http_1_0_is_told_that_the_connection_stays() {
        let mut respond = Respond::new(200, &[], b"hello", true).unwrap();
        let mut harness = Harness::default();
        let mut date = |version: &str| {
            harness.wait(5000);
            let ask = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
            let answer = harness.ask(&mut respond, &ask);
            assert_eq!(answer.field("connection"), (version == "1.0").then_some("keep-alive"));
            let date = answer.field("date").unwrap();
            let now = harness.clock.unix_seconds();
            assert_eq!(date.as_bytes(), crate::wire::http::date::format(now));
        };
        ["1.1", "1.0", "1.1"].into_iter().for_each(&mut date);
    }

    #[test]
    fn whoever_asks_for_the_end_is_told_of_it() {
        let mut respond = Respond::new(200, &[], b"hello", true).unwrap();
        for ask in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
            let answer = Harness::default().ask(&mut respond, ask);
            assert_eq!((answer.field("connection"), answer.text().as_str()), (Some("close"), "hello"));
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        assert!(Respond::new(200, &[("a b", "c")], b"", false).is_err());
        assert!(Respond::new(200, &[("a", "b\r\nc: d")], b"", false).is_err());
        assert!(Respond::new(101, &[], b"", false).is_err());
        let mut empty = Respond::new(204, &[], b"ignored", false).unwrap();
        let answer = Harness::default().ask(&mut empty, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status, answer.body.len(), answer.field("content-length")), (204, 0, None));
        let mut reset = Respond::new(205, &[], b"ignored", false).unwrap();
        let answer = Harness::default().ask(&mut reset, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status, answer.body.len(), answer.field("content-length")), (205, 0, Some("0")));
    }
}
