//! An answer: what a handler says, in a shape that can only be sent once and only be legal.
//!
//! A handler gets a [`Responder`] and must return a [`Reply`]; the only way to one is through the responder, which is consumed.
//! Lengths, `connection`, `date`, HEAD, 204 and 304 are seen to here.

use super::clock::Clock;
use super::late::Ticket;
use super::pages::Pages;
use super::pieces::{AT_ONCE, Pieces, is_in_memory};
use super::site::RouteId;
use crate::reactor::outbox::Cork;
use crate::reactor::{Host, Part};
use crate::wire::http::Version;
use crate::wire::http::emit::{self, FieldName, FieldValue};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// What answers requests. One per worker, made by a factory; it may keep state without locks.
pub trait Handler {
    /// Answers one request.
    fn handle(&mut self, request: &super::Request<'_>, reply: Responder<'_>) -> Reply;

    /// What is to become of a request's body before [`handle`](Self::handle) is called.
    fn body(&self) -> BodyPolicy {
        BodyPolicy::Collect
    }

    /// The methods that it serves where its route names none, as Allow lists them; any other is answered 405, and may be so before its
    /// body has come. Empty: it is asked with every method that is registered, but for CONNECT and TRACE, which are answered 501 as
    /// those that nobody knows are.
    fn allow(&self) -> &'static str {
        ""
    }

    /// It changes to another protocol when it is asked to: requests that ask for one of
    /// [`Options::upgrades`](super::Options::upgrades) come to it.
    fn upgrades(&self) -> bool {
        false
    }

    /// Called about once a second, whether anything was asked or not, with the clock of [`Responder::now_ms`]: to let go of what was only
    /// kept in case it would be asked for again.
    fn idle(&mut self, now_ms: u64) {
        let _ = now_ms;
    }
}

impl<F: FnMut(&super::Request<'_>, Responder<'_>) -> Reply> Handler for F {
    fn handle(&mut self, request: &super::Request<'_>, reply: Responder<'_>) -> Reply {
        self(request, reply)
    }
}

/// What is to become of a request's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyPolicy {
    /// Read whole, up to the limit, before the handler is called.
    Collect,
    /// Read and thrown away, up to the limit, before the handler is called.
    Discard,
    /// The handler is called at once; it returns [`Responder::receive`] to have the body piece by piece, or an answer.
    Stream,
}

/// A body that is made piece by piece.
pub trait Body {
    /// Appends more to `out`, as much as is at hand; about 64 KiB at a time is best. Called again whenever the peer has taken
    /// enough of what was sent.
    fn more(&mut self, out: &mut Vec<u8>) -> Flow;

    /// Bytes of memory that it keeps for this answer alone: they count as the connection's. Asked before the first call of
    /// [`more`](Self::more) and after each.
    fn held(&self) -> usize {
        0
    }
}

impl<F: FnMut(&mut Vec<u8>) -> Flow> Body for F {
    fn more(&mut self, out: &mut Vec<u8>) -> Flow {
        self(out)
    }
}

/// What a [`Body`] has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// There is more: call again when there is room. If nothing was made, it is asked again a little later, and cut off when it has
    /// made nothing for 30 s; [`Wait`](Self::Wait) is better.
    More,
    /// Nothing now: call again after [`Ticket::nudge`]. The answer is cut off if nobody has a ticket.
    Wait,
    /// That was the last.
    End,
    /// It cannot be finished; the connection is cut, so that the client sees that it is not whole.
    Abort,
}

/// A request body that is received piece by piece.
pub trait Upload {
    /// The next piece, in order.
    fn data(&mut self, bytes: &[u8]) -> Accepting;
    /// The body is whole, or [`Accepting::Answer`] was returned: answer.
    fn end(self: Box<Self>, whole: bool, reply: Responder<'_>) -> Reply;
}

/// Whether an [`Upload`] takes more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepting {
    /// The next piece, please.
    More,
    /// Nothing before [`Ticket::nudge`]; the client is held back. It is answered 500 if nobody has a ticket.
    Wait,
    /// No more: [`Upload::end`] is called now, and what still comes is thrown away.
    Answer,
}

/// What a handler has decided. Made by a [`Responder`].
#[must_use]
pub struct Reply(pub(super) Kind);

pub(super) enum Kind {
    Sent,
    Stream(Box<dyn Body>),
    Receive(Box<dyn Upload>),
    Later,
    Upgrade(Box<dyn Any>),
}

/// How an answer went out, for the log and the connection's next state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The status; 0 if none was sent.
    pub status: u16,
    /// Bytes of a body that was made piece by piece, so far, without framing.
    pub body_bytes: u64,
    /// The connection closes after this answer. Set before it where some of the request's body has not come.
    pub close: bool,
    /// The body is sent in chunks.
    pub chunked: bool,
    /// The length that was announced.
    pub announced: Option<u64>,
    /// The route that answered.
    pub route: RouteId,
    /// How much work it was.
    pub work: Work,
    /// It was put off until the disk had what it takes.
    pub waited: bool,
}

/// How much work an answer was. A read can hold two thousand requests, and HEAD leaves nothing by which they would be held back: so
/// others have their turn in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// A microsecond's: 256 of these are answered before others have their turn.
    #[default]
    Little,
    /// The disk was looked at, for some ten microseconds: 32 of these.
    Disk,
    /// Milliseconds: [`Responder::costly`].
    Much,
}

impl Sent {
    /// Bytes of the body of an answer that is whole: as many as were made, or, where it was at hand, as were announced.
    pub(super) fn body(&self) -> u64 {
        if self.body_bytes > 0 { self.body_bytes } else { self.announced.unwrap_or(0) }
    }
}

/// What the answer depends on besides the handler: the request it is for, and the place.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The request's version.
    pub version: Version,
    /// The request was HEAD: no body is sent, whatever the handler says.
    pub head_only: bool,
    /// The connection may stay.
    pub keep_alive: bool,
    /// `server: evenkeel` is sent.
    pub server_field: bool,
}

/// The one chance to answer a request.
pub struct Responder<'a> {
    pub(super) cork: &'a mut Cork,
    pub(super) host: &'a mut dyn Host,
    pub(super) clock: &'a Clock,
    pub(super) pages: &'a Pages,
    pub(super) terms: Terms,
    pub(super) sent: &'a mut Sent,
    pub(super) ticket: &'a dyn Fn() -> Ticket,
}

impl<'a> Responder<'a> {
    /// Begins an answer. A status under 200 or over 999 is a mistake of the caller and becomes 500.
    pub fn start(self, status: u16) -> Answer<'a> {
        debug_assert!((200..1000).contains(&status), "{status} is no final status");
        let status = if (200..1000).contains(&status) { status } else { 500 };
        self.begin(status)
    }

    fn begin(self, status: u16) -> Answer<'a> {
        self.sent.status = status;
        let out = self.cork.bytes_mut();
        emit::status_line(out, status);
        out.extend_from_slice(self.clock.date_line());
        if self.terms.server_field {
            out.extend_from_slice(b"server: evenkeel\r\n");
        }
        Answer { to: self, status }
    }

    /// Sends an answer that was composed before: the quickest way.
    #[inline]
    pub fn prebuilt(self, answer: &Prebuilt) -> Reply {
        let plain = self.terms.keep_alive && !self.terms.head_only && self.terms.version == Version::Http11;
        if !plain {
            return answer.slowly(self);
        }
        (self.sent.status, self.sent.announced) = (answer.status, Some((answer.len - answer.body) as u64));
        let out = self.cork.bytes_mut();
        let from = out.len();
        answer.pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        out.truncate(from + answer.len);
        if let Some(date) = out.get_mut(from + answer.date..).and_then(|rest| rest.first_chunk_mut()) {
            *date = *self.clock.date();
        }
        Reply(Kind::Sent)
    }

    /// Has the request's body piece by piece. Only where [`Handler::body`] says [`BodyPolicy::Stream`], at once or in a late answer;
    /// elsewhere the upload gets at once, in one piece, what was collected, and is told of the end. In a late answer that is too late: it
    /// is told of the end alone.
    pub fn receive(self, upload: Box<dyn Upload>) -> Reply {
        Reply(Kind::Receive(upload))
    }

    /// The answer will come later, by the [`Ticket`], most often from another thread. If all its clones are dropped without an
    /// answer, the client gets 500.
    pub fn later(self) -> Reply {
        // Whoever answers later must know that the connection ends with it.
        self.sent.close |= !self.terms.keep_alive;
        Reply(Kind::Later)
    }

    /// A name for this exchange that other threads can use.
    pub fn ticket(&self) -> Ticket {
        (self.ticket)()
    }

    /// Answers 101 with these fields and hands the connection to another protocol, told by `state`. The client gets 500 where some of
    /// the request's body has not come: it is not for the other protocol (RFC 9110, 7.8).
    pub fn upgrade(self, fields: impl FnOnce(&mut Vec<u8>), state: Box<dyn Any>) -> Reply {
        if self.sent.close {
            return Reply(Kind::Upgrade(state));
        }
        self.sent.status = 101;
        let out = self.cork.bytes_mut();
        emit::status_line(out, 101);
        fields(out);
        emit::end(out);
        Reply(Kind::Upgrade(state))
    }

    /// Closes the connection after this answer.
    pub fn close(mut self) -> Responder<'a> {
        self.terms.keep_alive = false;
        self
    }

    /// Whether this answer was much work, in milliseconds: then others have their turn before the connection's next request is looked
    /// at.
    pub fn costly(self, costly: bool) -> Responder<'a> {
        self.work(if costly { Work::Much } else { Work::Little })
    }

    /// How much work this answer was.
    pub fn work(self, work: Work) -> Responder<'a> {
        self.sent.work = work;
        self
    }

    /// Files, the calendar, randomness.
    pub fn host(&mut self) -> &mut dyn Host {
        self.host
    }

    /// The calendar, in seconds since 1970, read once a second.
    pub fn unix_seconds(&self) -> u64 {
        self.clock.unix_seconds()
    }

    /// A monotonic clock in milliseconds, read once a turn: for caches that age.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }
}

/// An answer whose status is out, and whose fields are being added.
pub struct Answer<'a> {
    to: Responder<'a>,
    status: u16,
}

impl<'a> Answer<'a> {
    /// Adds a field. `content-length`, `transfer-encoding`, `connection`, `date` and `server` are added by the server.
    pub fn field(self, name: FieldName<'_>, value: FieldValue<'_>) -> Answer<'a> {
        emit::field(self.to.cork.bytes_mut(), name, value);
        self
    }

    /// Adds a field of the program's own text, checked at compile time where it is a constant.
    pub fn text(self, name: &'static str, value: &'static str) -> Answer<'a> {
        self.field(FieldName::from_static(name), FieldValue::from_static(value))
    }

    /// Adds a field with what may hold any bytes; those that are not allowed are left out.
    pub fn cleaned(self, name: FieldName<'_>, value: &[u8]) -> Answer<'a> {
        emit::field_cleaned(self.to.cork.bytes_mut(), name, value);
        self
    }

    /// Adds field lines by hand; they must be whole and legal.
    pub fn raw(self, write: impl FnOnce(&mut Vec<u8>)) -> Answer<'a> {
        write(self.to.cork.bytes_mut());
        self
    }

    /// Ends with a body that is copied.
    pub fn body(self, bytes: &[u8]) -> Reply {
        if bytes.len() > AT_ONCE && !self.to.terms.head_only {
            return self.piecemeal(vec![Part::Shared(bytes.into(), 0..bytes.len())]);
        }
        let (cork, send) = self.head(Some(bytes.len() as u64));
        if send {
            cork.bytes_mut().extend_from_slice(bytes);
        }
        Reply(Kind::Sent)
    }

    /// Ends with pieces that are not copied, or, if they are large and all in memory, copied as the peer takes them. Among files at most
    /// 4 MiB ([`hard_cap`](crate::reactor::Settings::hard_cap)) may be in memory.
    pub fn parts(self, parts: impl IntoIterator<Item = Part>) -> Reply {
        let parts: Vec<Part> = parts.into_iter().collect();
        let len = parts.iter().map(Part::len).sum();
        if len > AT_ONCE as u64 && parts.iter().all(is_in_memory) {
            return self.piecemeal(parts);
        }
        let (cork, send) = self.head(Some(len));
        if send {
            parts.into_iter().for_each(|part| cork.push(part));
        }
        Reply(Kind::Sent)
    }

    /// Ends with one piece that is not copied, or, if it is large and in memory, copied as the peer takes it.
    pub fn part(self, part: Part) -> Reply {
        if part.len() > AT_ONCE as u64 && is_in_memory(&part) {
            return self.piecemeal(vec![part]);
        }
        let (cork, send) = self.head(Some(part.len()));
        if send {
            cork.push(part);
        }
        Reply(Kind::Sent)
    }

    /// Ends with a range of bytes that many answers share.
    pub fn shared(self, bytes: &Arc<[u8]>, range: Range<usize>) -> Reply {
        /// Below this a copy costs less than a second piece in the system call.
        const COPY: usize = 4096;
        match bytes.get(range.clone()) {
            Some(slice) if slice.len() <= COPY => self.body(slice),
            Some(_) => self.part(Part::Shared(bytes.clone(), range)),
            None => self.body(b""),
        }
    }

    /// More than is handed to a connection at once.
    #[cold]
    #[inline(never)]
    fn piecemeal(self, parts: Vec<Part>) -> Reply {
        let len = parts.iter().map(Part::len).sum();
        self.stream(Some(len), Box::new(Pieces::new(parts)))
    }

    /// Ends without a body. 204 and 304 carry no length; a 304 to a HEAD or GET may be given the length it stands for by hand.
    pub fn empty(self) -> Reply {
        let _ = self.head(Some(0));
        Reply(Kind::Sent)
    }

    /// Ends with a body that is made piece by piece: of a known length (which must come out exactly, or the connection is cut), or
    /// chunked (to HTTP/1.0: until the connection closes).
    pub fn stream(mut self, length: Option<u64>, body: Box<dyn Body>) -> Reply {
        if length.is_none() && !self.is_bodiless() {
            match self.to.terms.version {
                Version::Http11 => {
                    self.to.sent.chunked = true;
                    self.to.cork.bytes_mut().extend_from_slice(b"transfer-encoding: chunked\r\n");
                }
                Version::Http10 => self.to.terms.keep_alive = false,
            }
        }
        match self.head(length) {
            (_, true) => Reply(Kind::Stream(body)),
            (_, false) => Reply(Kind::Sent),
        }
    }

    /// The status has no body, and so neither a length nor a coding (RFC 9110, section 8.6; RFC 9112, section 6.1).
    fn is_bodiless(&self) -> bool {
        self.status == 204 || self.status == 304
    }

    /// Ends the head. Says whether a body is to follow.
    fn head(self, length: Option<u64>) -> (&'a mut Cork, bool) {
        let bodiless = self.is_bodiless();
        let Responder { cork, terms, sent, .. } = self.to;
        let out = cork.bytes_mut();
        if let Some(length) = length.filter(|_| !bodiless) {
            emit::content_length(out, length);
        }
        connection_field(out, &terms);
        emit::end(out);
        sent.close |= !terms.keep_alive;
        let send = !terms.head_only && !bodiless;
        if send {
            sent.announced = length;
        }
        (cork, send)
    }
}

fn connection_field(out: &mut Vec<u8>, terms: &Terms) {
    match (terms.keep_alive, terms.version) {
        (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, Version::Http11) => {}
    }
}

/// Bytes that are copied in one go: so few that it is done in place.
const PIECE: usize = 64;

/// An answer composed once and sent many times; only its date changes. One copy, and the date over it.
#[derive(Clone, Debug)]
pub struct Prebuilt {
    status: u16,
    /// All of it, with some date, and what fills the last piece. Pieces of a known size are copied without a call, which for an
    /// answer of 150 bytes costs as much as its copy.
    pieces: Vec<[u8; PIECE]>,
    /// How much of the pieces is the answer.
    len: usize,
    /// Where the 29 bytes of the date begin.
    date: usize,
    /// Where the fields of the program stand.
    fields: Range<usize>,
    /// Where the body begins; it is the rest.
    body: usize,
}

impl Prebuilt {
    /// Composes it: for what is small, since it is handed to the connection at once. `fields` are whole and legal lines without those that the server adds.
    pub fn new(status: u16, fields: &[u8], body: &[u8], server_field: bool) -> Prebuilt {
        let mut whole = Vec::new();
        emit::status_line(&mut whole, status);
        if server_field {
            whole.extend_from_slice(b"server: evenkeel\r\n");
        }
        let date = whole.len() + b"date: ".len();
        whole.extend_from_slice(Clock::default().date_line());
        let start = whole.len();
        whole.extend_from_slice(fields);
        let fields = start..whole.len();
        if status != 204 && status != 304 {
            emit::content_length(&mut whole, body.len() as u64);
        }
        emit::end(&mut whole);
        let at = whole.len();
        whole.extend_from_slice(body);
        let len = whole.len();
        whole.resize(len.next_multiple_of(PIECE), 0);
        let (pieces, _) = whole.as_chunks();
        Prebuilt { status, pieces: pieces.to_vec(), len, date, fields, body: at }
    }

    /// The way for HEAD, HTTP/1.0, and answers that close.
    #[cold]
    #[inline(never)]
    fn slowly(&self, to: Responder<'_>) -> Reply {
        let whole = &self.pieces.as_flattened()[..self.len];
        let answer = to.begin(self.status).raw(|out| out.extend_from_slice(&whole[self.fields.clone()]));
        match self.status {
            204 | 304 => answer.empty(),
            _ => answer.body(&whole[self.body..]),
        }
    }
}
