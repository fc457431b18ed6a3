//! Answering: at once, later, piece by piece, or with a refusal.

use super::super::exchange::{Exchange, Left, Sink};
use super::super::fault::State;
use super::super::pages;
use super::super::reply::{Body, Flow, Kind, Reply, Responder, Sent, Terms, Upload, Work};
use super::super::serve::{self, Asker, Served};
use super::super::site::{Exchanged, RouteId, Service};
use super::body::{Fed, feed};
use super::{Asked, Connection, DISK, Next, On, kept_head};
use crate::observe::Reason;
use crate::reactor::{Close, End, Millis, Pressure};
use crate::wire::http::{Method, Reject, emit};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a head begins whose answer has no body.
const HEAD: &[u8] = b"HEAD ";
/// Of the first line of a bad head no more bytes are kept.
const LINE: usize = 1 << 10;

impl Connection {
    /// Has a request answered by its route. `body_owed`: its body is still to come, and only an upload may have it.
    #[inline(never)]
    pub(super) fn serve<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        body: &[u8],
        body_owed: bool,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        let Some(head) = asked.head else { return Next::close(Close::Abort, Reason::Internal) };
        // An answer before the end of the body ends the connection: where the next request begins is not known.
        let (asker, last) = (self.asker(on), self.last || on.cx.draining() || body_owed);
        let site = on.app.site();
        let terms = site.terms(head, last);
        let mut sent = Sent { close: body_owed, waited: asked.waited, ..Sent::default() };
        let Served { kind, failed } = site.serve(head, body, terms, asker, &mut sent, on.cx);
        match kind {
            kind @ Kind::Sent => {
                // Nothing is in it to drop, which the compiler does not see.
                std::mem::forget(kind);
                self.sent(asked, &sent, failed, on)
            }
            Kind::Receive(mut upload) if !body_owed => {
                let asked = Asked { route: sent.route, ..*asked };
                // What was thrown away is nowhere any more; what was collected comes in one piece.
                let whole = asked.bytes_in == body.len() as u64;
                if !body.is_empty() && matches!(feed(upload.as_mut(), body), Fed::Panicked) {
                    return self.refuse_asked(&asked, 500, serve::FAILED, Reason::HandlerFailed, on);
                }
                self.end_upload(&asked, upload, whole, terms, on)
            }
            Kind::Receive(upload) => {
                self.begin_upload(upload, head.expect_continue, on);
                Next::Again
            }
            kind @ (Kind::Stream(_) | Kind::Later | Kind::Upgrade(_)) => {
                if let (true, Some(exchange)) = (body_owed, self.exchange.as_mut()) {
                    exchange.left = Left::Body;
                }
                self.settle(asked, terms, Served { kind, failed }, sent, on)
            }
        }
    }

    pub(super) fn begin_upload<A: Service>(
        &mut self,
        upload: Box<dyn Upload>,
        expects_continue: bool,
        on: &mut On<'_, '_, A>,
    ) {
        if let Some(exchange) = self.exchange.as_mut() {
            (exchange.sink, exchange.left) = (Sink::Upload(upload), Left::Rest);
            exchange.ticket = on.app.site().issued.watch(on.cx.me(), self.number);
        }
        if expects_continue {
            on.cx.write(emit::CONTINUE);
        }
        self.state = State::Upload;
    }

    /// An upload answers: its body is whole, or it wants no more.
    pub(super) fn end_upload<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        upload: Box<dyn Upload>,
        whole: bool,
        terms: Terms,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        // Since the upload began, draining may have.
        let last = !whole || self.last || on.cx.draining();
        let terms = Terms { keep_alive: terms.keep_alive && !last, ..terms };
        if !whole {
            let mut exchange = on.app.site().take_exchange();
            exchange.left = Left::Rest;
            self.exchange = Some(exchange);
        }
        let (served, sent) = self.respond(terms, !whole, on, |reply| upload.end(whole, reply));
        self.settle(asked, terms, served, sent, on)
    }

    /// A handler has replied: on to the state that its reply asks for.
    pub(super) fn settle<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        terms: Terms,
        served: Served,
        sent: Sent,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        let Served { kind, failed } = served;
        if let Kind::Sent = kind {
            return self.sent(asked, &sent, failed, on);
        }
        let mut exchange = self.exchange.take().unwrap_or_else(|| on.app.site().take_exchange());
        if exchange.head.is_empty() {
            exchange.head.extend_from_slice(asked.raw);
        }
        (exchange.terms, exchange.sent, exchange.began) = (terms, sent, asked.began);
        exchange.sent.route = sent.route.or(asked.route);
        exchange.received = asked.bytes_in;
        exchange.ticket = on.app.site().issued.watch(on.cx.me(), self.number);
        match kind {
            Kind::Upgrade(to) if sent.status == 101 => {
                self.report(asked, &sent, None, on);
                on.heir = Some(to);
                return Next::Upgrade;
            }
            Kind::Stream(body) => {
                exchange.owed = sent.announced;
                exchange.made = held_by(&*body);
                exchange.producer = Some(body);
                self.exchange = Some(exchange);
                self.state = State::Stream;
                return self.produce(on);
            }
            // An upload cannot hand over to another: its body is over. And another protocol gets none of a body.
            Kind::Receive(_) | Kind::Upgrade(_) => {
                let asked = &Asked { route: exchange.sent.route, ..*asked };
                on.app.site().keep_exchange(exchange);
                return self.refuse_asked(asked, 500, serve::FAILED, Reason::HandlerFailed, on);
            }
            Kind::Later | Kind::Sent => self.state = State::Late,
        }
        let waits = exchange.ticket.is_live();
        self.exchange = Some(exchange);
        if waits { Next::Again } else { self.abandoned(on) }
    }

    /// The whole answer is out.
    #[inline(always)]
    fn sent<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        sent: &Sent,
        failed: bool,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        if !sent.close && !self.last {
            return self.finish(asked, sent, Reason::Done, on);
        }
        let reason = if failed { Reason::HandlerFailed } else { self.end_reason() };
        self.finish(asked, sent, reason, on)
    }

    /// An exchange is over.
    #[inline(always)]
    fn finish<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        sent: &Sent,
        reason: Reason,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        self.number = self.number.wrapping_add(1);
        on.left = on.left.saturating_sub(if sent.work == Work::Little { 1 } else { DISK });
        let closing = sent.close || self.last;
        if on.cx.pressure_within(on.room) != Pressure::Low {
            return self.await_peer(asked, sent, closing.then_some(reason), on);
        }
        self.report(asked, sent, closing.then_some(reason), on);
        if let Some(exchange) = self.exchange.take() {
            on.app.site().keep_exchange(exchange);
        }
        if closing {
            return Next::close(Close::Graceful, reason);
        }
        self.state = State::Idle;
        if sent.work == Work::Much { Next::Yield } else { Next::Again }
    }

    /// Much of an answer waits: its exchange is over, and reported, when the peer has taken that, or will not. `ending`: why the
    /// connection closes then, if it does.
    #[inline(never)]
    fn await_peer<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        sent: &Sent,
        ending: Option<Reason>,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        let mut exchange = self.exchange.take().unwrap_or_else(|| on.app.site().take_exchange());
        let head = match exchange.head.is_empty() {
            true => asked.raw.to_vec(),
            false => std::mem::take(&mut exchange.head),
        };
        exchange.reset();
        let sent =
            Sent { route: sent.route.or(asked.route), body_bytes: sent.body(), announced: None, ..*sent };
        *exchange = Exchange {
            head,
            sent,
            ending,
            began: asked.began,
            received: asked.bytes_in,
            ..Exchange::default()
        };
        self.exchange = Some(exchange);
        self.state = State::Sending;
        Next::Wait
    }

    /// The peer has taken most of what it was sent last.
    fn taken<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        let last = self.last.then(|| self.end_reason());
        let ending = self.exchange.as_ref().and_then(|exchange| exchange.ending).or(last);
        let _ = self.with_kept(on, |me, asked, sent, on| {
            me.report(asked, &sent, ending, on);
            Next::Wait
        });
        match ending {
            Some(reason) => Next::close(Close::Graceful, reason),
            None => {
                self.state = State::Idle;
                Next::Again
            }
        }
    }

    fn end_reason(&self) -> Reason {
        match (self.last, self.eof) {
            (_, true) => Reason::PeerClosed,
            (true, false) => Reason::Drained,
            (false, false) => Reason::Done,
        }
    }

    /// What was sent is below low water.
    pub(super) fn drained<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        match self.state {
            State::Sending => self.taken(on),
            State::Stream => self.produce(on),
            State::Fresh | State::Idle | State::Head | State::Body | State::Upload | State::Late => {
                Next::Stay
            }
        }
    }

    /// Has the answer's body made, as long as the peer takes it.
    pub(super) fn produce<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        loop {
            let Some(exchange) = self.exchange.as_mut() else { return Next::Wait };
            let Some(body) = exchange.producer.as_mut() else { return Next::Wait };
            if on.cx.pressure() != Pressure::Low {
                return Next::Wait;
            }
            let chunk = &mut on.app.site().chunk;
            chunk.clear();
            let flow = catch_unwind(AssertUnwindSafe(|| body.more(chunk))).unwrap_or(Flow::Abort);
            let n = chunk.len() as u64;
            exchange.made = held_by(&**body);
            exchange.held = (flow == Flow::Wait).then(|| on.cx.now());
            exchange.dry = (flow == Flow::More && n == 0).then(|| exchange.dry.unwrap_or(on.cx.now()));
            exchange.sent.body_bytes += n;
            let short = match exchange.owed.as_mut() {
                Some(owed) if n > *owed => return self.cut_short(on),
                Some(owed) => {
                    *owed -= n;
                    *owed > 0
                }
                None => false,
            };
            let chunked = exchange.sent.chunked;
            on.cx.compose(|out| match (chunked, n) {
                (_, 0) => {}
                (true, _) => emit::chunk(out, chunk),
                (false, _) => out.extend_from_slice(chunk),
            });
            match flow {
                Flow::More if n > 0 => {}
                Flow::Wait if !exchange.ticket.is_live() => return self.lost(on),
                Flow::More | Flow::Wait => return Next::Wait,
                Flow::Abort => return self.cut_short(on),
                Flow::End if short => return self.cut_short(on),
                Flow::End => {
                    if chunked {
                        on.cx.write(emit::LAST_CHUNK);
                    }
                    return self.stream_over(on);
                }
            }
        }
    }

    fn stream_over<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        self.with_kept(on, |me, asked, sent, on| {
            let reason = me.end_reason();
            me.finish(asked, &sent, reason, on)
        })
    }

    /// The answer cannot be finished: the connection is cut, so that nobody takes half of it for the whole.
    pub(super) fn cut_short<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        self.report_cut(Reason::HandlerFailed, on);
        Next::close(Close::Abort, Reason::HandlerFailed)
    }

    /// The request breaks the grammar: answers what the RFC wants, and ends. `bytes`: the head as far as it came, where that is to blame,
    /// for nothing was kept of it.
    pub(super) fn reject<A: Service>(
        &mut self,
        reject: Reject,
        bytes: &[u8],
        on: &mut On<'_, '_, A>,
    ) -> Next {
        let status = reject.status();
        let reason = if matches!(status, 413 | 414 | 431) { Reason::TooLarge } else { Reason::BadRequest };
        self.with_kept(on, |me, asked, _, on| {
            let raw = if asked.head.is_some() { asked.raw } else { first_line(bytes) };
            me.refuse_asked(&Asked { raw, ..*asked }, status, reject.reason(), reason, on)
        })
    }

    /// Answers an error, and ends; what is known of the request was kept.
    pub(super) fn refuse_kept<A: Service>(
        &mut self,
        status: u16,
        detail: &str,
        reason: Reason,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        self.with_kept(on, |me, asked, _, on| me.refuse_asked(asked, status, detail, reason, on))
    }

    /// As [`refuse_kept`](Self::refuse_kept).
    pub(super) fn refuse<A: Service>(
        &mut self,
        status: u16,
        detail: &str,
        reason: Reason,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        self.refuse_kept(status, detail, reason, on)
    }

    /// Answers an error, and ends.
    #[cold]
    pub(super) fn refuse_asked<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        status: u16,
        detail: &str,
        reason: Reason,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        // No body, whatever else is wrong with the request (RFC 9110, 9.3.2).
        let head_only = asked.head.map_or(asked.raw.starts_with(HEAD), |head| head.method == Method::Head);
        let terms = Terms { head_only, ..serve::refusal_terms(on.app.site()) };
        let (_, sent) = self.respond(terms, true, on, |reply| pages::error(reply, None, status, detail));
        self.finish(asked, &sent, reason, on)
    }

    /// Has `answer` answer. `close`: there is nothing but the end after it, as where some of the body has not come.
    pub(super) fn respond<A: Service>(
        &mut self,
        terms: Terms,
        close: bool,
        on: &mut On<'_, '_, A>,
        answer: impl FnOnce(Responder<'_>) -> Reply,
    ) -> (Served, Sent) {
        let asker = self.asker(on);
        let site = on.app.site();
        let ticket = || site.issued.ticket(asker.token, asker.exchange, &site.post);
        let mut sent = Sent { close, ..Sent::default() };
        let place = (&site.clock, &site.pages);
        (serve::respond(on.cx, place, terms, &ticket, &mut sent, answer), sent)
    }

    /// Calls `then` with what was kept of the request; the kept exchange is given up.
    pub(super) fn with_kept<A: Service>(
        &mut self,
        on: &mut On<'_, '_, A>,
        then: impl FnOnce(&mut Self, &Asked<'_>, Sent, &mut On<'_, '_, A>) -> Next,
    ) -> Next {
        let Some(mut exchange) = self.exchange.take() else {
            let (raw, began, route) = (&b""[..], on.cx.now(), RouteId::NONE);
            let asked = Asked { head: None, raw, bytes_in: 0, began, route, waited: false };
            return then(self, &asked, Sent::default(), on);
        };
        let raw = std::mem::take(&mut exchange.head);
        let (bytes_in, began, sent) = (exchange.received, exchange.began, exchange.sent);
        on.app.site().keep_exchange(exchange);
        let head = kept_head(&raw);
        let asked =
            Asked { head: head.as_ref(), raw: &raw, bytes_in, began, route: sent.route, waited: sent.waited };
        then(self, &asked, sent, on)
    }

    /// Reports an exchange that was cut off, if one was under way.
    pub(super) fn report_cut<A: Service>(&mut self, reason: Reason, on: &mut On<'_, '_, A>) {
        if self.exchange.is_some() {
            let unsent = on.cx.unsent();
            let _ = self.with_kept(on, |me, asked, sent, on| {
                let body_bytes = sent.body_bytes.saturating_sub(unsent);
                me.report(asked, &Sent { announced: None, body_bytes, ..sent }, Some(reason), on);
                Next::Wait
            });
        }
    }

    /// The connection is over: call it from [`App::on_close`](crate::reactor::App::on_close). An exchange that the port cut off
    /// without asking (stopped, overflown) is reported now.
    pub fn ended<A: Service>(mut self, end: &End<Reason>, now: Millis, app: &mut A) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let raw = std::mem::take(&mut exchange.head);
        let (Exchange { received, began, sent, .. }, site) = (&*exchange, app.site());
        let head = kept_head(&raw);
        let done = Exchanged {
            token: end.token,
            peer: end.peer,
            secure: self.secure,
            route: sent.route,
            line: if head.is_some() { b"" } else { &raw },
            head: head.as_ref(),
            status: sent.status,
            bytes_in: *received,
            bytes_out: sent.body_bytes.saturating_sub(end.unsent),
            duration_ms: now.0.saturating_sub(began.0),
            unix_seconds: site.clock.unix_seconds(),
            closing: Some(end.reason),
            waited: sent.waited,
        };
        app.on_exchange(&done);
        app.site().keep_exchange(exchange);
    }

    #[inline]
    fn report<A: Service>(
        &mut self,
        asked: &Asked<'_>,
        sent: &Sent,
        closing: Option<Reason>,
        on: &mut On<'_, '_, A>,
    ) {
        let done = Exchanged {
            token: on.cx.me(),
            peer: on.peer,
            secure: self.secure,
            route: sent.route.or(asked.route),
            line: if asked.head.is_some() { b"" } else { asked.raw },
            head: asked.head,
            status: sent.status,
            bytes_in: asked.bytes_in,
            bytes_out: sent.body(),
            duration_ms: on.cx.now().0.saturating_sub(asked.began.0),
            unix_seconds: on.app.site().clock.unix_seconds(),
            closing,
            waited: sent.waited,
        };
        on.app.on_exchange(&done);
    }

    fn asker<A: Service>(&self, on: &On<'_, '_, A>) -> Asker {
        Asker { token: on.cx.me(), peer: on.peer, secure: self.secure, exchange: self.number }
    }
}

/// The first line of a bad head, without its end.
fn first_line(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(LINE)];
    &bytes[..memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len())]
}

/// What a body holds may depend on others, who share it, and so change at any time: it is asked here, and what it said counts until it is
/// asked again, so that as much is taken back as was added.
fn held_by(body: &dyn Body) -> usize {
    catch_unwind(AssertUnwindSafe(|| body.held())).unwrap_or(0)
}
