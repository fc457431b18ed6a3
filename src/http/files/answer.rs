//! From a representation to an answer: preconditions (RFC 9110, 13), then ranges (14).

use super::super::pages;
use super::super::{Reply, Request, Responder};
use super::representation::{Content, Representation};
use crate::reactor::Part;
use crate::wire::http::Method;
use crate::wire::http::conditional::{Outcome, evaluate, if_range};
use crate::wire::http::emit;
use crate::wire::http::range::{self, RangeList, Ranges};
use std::ops::Range;
use std::sync::Arc;

/// Answers GET or HEAD with a representation, or with what the request's conditions want instead. `lines`: further field lines of an answer
/// that is no error page.
pub(super) fn send(
    request: &Request<'_>,
    reply: Responder<'_>,
    found: &Arc<Representation>,
    lines: &[u8],
) -> Reply {
    let (fields, now) = (&request.head().fields, reply.unix_seconds());
    let have = found.validators();
    match evaluate(request.method(), fields, &have, now) {
        Outcome::Proceed => {}
        Outcome::NotModified => {
            let answer = reply.start(304).raw(|out| out.extend_from_slice(found.fields_of_304()));
            return answer.raw(|out| out.extend_from_slice(lines)).empty();
        }
        Outcome::Failed => {
            let lines = found.fields_of_304();
            return pages::error_with(reply, Some(request), 412, "It is not as the request expects.", lines);
        }
    }
    // Only GET has ranges (RFC 9110, 14.2).
    let wanted = match (request.method(), fields.get("range")) {
        (Method::Get, Some(range)) => match fields.get("if-range") {
            Some(condition) if !if_range(condition, &have, now) => Ranges::Ignore,
            Some(_) | None => range::parse(range, found.len),
        },
        (_, _) => Ranges::Ignore,
    };
    match wanted {
        Ranges::Ignore => whole(reply, found, lines),
        Ranges::Unsatisfiable => {
            let mut lines = found.fields_of_304().to_vec();
            emit::content_range_unsatisfied(&mut lines, found.len);
            pages::error_with(reply, Some(request), 416, "It has no such bytes.", &lines)
        }
        Ranges::Satisfiable(list) => match list.single() {
            Some(range) => one_range(reply, found, range, lines),
            None => several_ranges(reply, found, &list, lines),
        },
    }
}

fn whole(reply: Responder<'_>, found: &Representation, lines: &[u8]) -> Reply {
    let answer = reply.start(200).raw(|out| {
        found.content_type(out);
        out.extend_from_slice(found.fields());
        if !lines.is_empty() {
            out.extend_from_slice(lines);
        }
    });
    match &found.content {
        Content::Memory(bytes) => answer.shared(bytes, 0..bytes.len()),
        Content::Open(_) => answer.part(found.part(0..found.len)),
    }
}

fn one_range(reply: Responder<'_>, found: &Representation, range: Range<u64>, lines: &[u8]) -> Reply {
    let answer = reply.start(206).raw(|out| {
        found.content_type(out);
        out.extend_from_slice(found.fields());
        out.extend_from_slice(lines);
        emit::content_range(out, &range, found.len);
    });
    answer.part(found.part(range))
}

/// A body of `multipart/byteranges` (RFC 9110, 14.6). The boundary is drawn at random, so that no file can have it.
fn several_ranges(mut reply: Responder<'_>, found: &Representation, list: &RangeList, lines: &[u8]) -> Reply {
    let mut random = [0; 12];
    reply.host().fill_random(&mut random);
    let boundary: Vec<u8> = random.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| b'a' + d).collect();
    let mut heads = Vec::new();
    let mut ends = Vec::new();
    for range in list.iter() {
        heads.extend_from_slice(b"\r\n--");
        heads.extend_from_slice(&boundary);
        heads.extend_from_slice(b"\r\n");
        found.content_type(&mut heads);
        emit::content_range(&mut heads, &range, found.len);
        emit::end(&mut heads);
        ends.push(heads.len());
    }
    heads.extend_from_slice(b"\r\n--");
    heads.extend_from_slice(&boundary);
    heads.extend_from_slice(b"--\r\n");
    let heads: Arc<[u8]> = heads.into();
    let mut from = 0;
    let mut parts = Vec::with_capacity(2 * list.len() + 1);
    for (range, end) in list.iter().zip(ends) {
        parts.push(Part::Shared(heads.clone(), from..end));
        parts.push(found.part(range));
        from = end;
    }
    parts.push(Part::Shared(heads.clone(), from..heads.len()));
    let answer = reply.start(206).raw(|out| {
        out.extend_from_slice(b"Content-Type: multipart/byteranges; boundary=");
        out.extend_from_slice(&boundary);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(found.fields());
        out.extend_from_slice(lines);
    });
    answer.parts(parts)
}
