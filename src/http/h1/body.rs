//! Reading a request's body: whole, thrown away, or piece by piece.

use super::super::exchange::Sink;
use super::super::fault::State;
use super::super::reply::{Accepting, BodyPolicy, Upload};
use super::super::serve;
use super::super::site::{RouteId, Service};
use super::{Asked, Connection, Next, On, RATE_WINDOW, kept_head};
use crate::observe::Reason;
use crate::reactor::{Input, Millis, Timer};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) const TOO_LARGE: &str = "The request body is larger than its limit.";

const MISSED: &str = "The server was set up anew while the request body came.";

/// What a run of body bytes came to.
pub(super) enum Fed {
    More,
    Held,
    Early,
    Panicked,
}

impl Connection {
    pub(super) fn read_body<A: Service>(&mut self, input: &mut Input<'_>, on: &mut On<'_, '_, A>) -> Next {
        loop {
            let Some(exchange) = self.exchange.as_mut() else { return Next::Wait };
            if exchange.held.is_some() {
                if !input.is_empty() {
                    on.cx.set_reading(false);
                }
                return Next::Wait;
            }
            let run = match exchange.incoming.advance(input.bytes(), &on.app.site().options.limits) {
                Ok(run) => run,
                Err(reject) => return self.reject(reject, b"", on),
            };
            let (consumed, done) = (run.consumed, run.done);
            exchange.received += run.data.len() as u64;
            if exchange.received > exchange.limit {
                return self.refuse_kept(413, TOO_LARGE, Reason::TooLarge, on);
            }
            let fed = match &mut exchange.sink {
                Sink::Discard => Fed::More,
                Sink::Collect => {
                    exchange.body.extend_from_slice(run.data);
                    Fed::More
                }
                Sink::Upload(_) if run.data.is_empty() => Fed::More,
                Sink::Upload(upload) => feed(upload.as_mut(), run.data),
            };
            exchange.held = (matches!(fed, Fed::Held) && !done).then(|| on.cx.now());
            input.take(consumed);
            match fed {
                Fed::Panicked => return self.refuse_kept(500, serve::FAILED, Reason::HandlerFailed, on),
                Fed::Early => return self.body_over(done, on),
                Fed::More | Fed::Held if done => return self.body_over(true, on),
                Fed::More if consumed == 0 || input.is_empty() => return Next::Wait,
                Fed::Held if !exchange.ticket.is_live() => return self.abandoned(on),
                Fed::More | Fed::Held => {}
            }
        }
    }

    /// The body is whole, or its handler wants no more of it: answers.
    fn body_over<A: Service>(&mut self, whole: bool, on: &mut On<'_, '_, A>) -> Next {
        let Some(mut exchange) = self.exchange.take() else { return Next::Wait };
        let (raw, body) = (std::mem::take(&mut exchange.head), std::mem::take(&mut exchange.body));
        let (sink, terms) = (std::mem::take(&mut exchange.sink), exchange.terms);
        let (bytes_in, began, route) = (exchange.received, exchange.began, exchange.sent.route);
        on.app.site().issued.put(std::mem::take(&mut exchange.ticket));
        on.app.site().keep_exchange(exchange);
        self.state = State::Body;
        let head = kept_head(&raw);
        let asked = Asked { head: head.as_ref(), raw: &raw, bytes_in, began, route, waited: false };
        match sink {
            Sink::Upload(upload) => self.end_upload(&asked, upload, whole, terms, on),
            sink @ (Sink::Discard | Sink::Collect) => {
                if let Some(route) = missed(&asked, matches!(sink, Sink::Collect), on) {
                    return self.refuse_asked(&Asked { route, ..asked }, 503, MISSED, Reason::Refused, on);
                }
                // Whichever route has it now.
                self.serve(&Asked { route: RouteId::NONE, ..asked }, &body, false, on)
            }
        }
    }

    /// The rate is looked at once a window.
    pub(super) fn check_rate<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        let owed = on.app.site().options.body_rate.saturating_mul(RATE_WINDOW.as_secs());
        let Some(exchange) = self.exchange.as_mut() else { return Next::Stay };
        let came = exchange.received - exchange.window.1;
        // What came faster than it had to counts for the next two windows.
        let spent = exchange.received - came.saturating_sub(owed).min(owed.saturating_mul(2));
        exchange.window = (on.cx.now(), spent);
        if came < owed {
            return self.refuse_kept(408, "The request body came too slowly.", Reason::BodyTooSlow, on);
        }
        on.cx.set_deadline(Timer::Total, RATE_WINDOW);
        Next::Stay
    }

    /// An upload that waited goes on. The time for which it was held back does not count: nothing could come.
    pub(super) fn release<A: Service>(&mut self, on: &mut On<'_, '_, A>) {
        let Some(exchange) = self.exchange.as_mut() else { return };
        let Some(since) = exchange.held.take() else { return };
        exchange.window.0 = Millis(exchange.window.0.0 + (on.cx.now().0 - since.0));
        on.cx.set_deadline_at(Timer::Total, exchange.window.0.after(RATE_WINDOW));
    }

    pub(super) fn is_held(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.held.is_some())
    }
}

/// The route that would be given less than the body that came: since it began there was a reload, and the route before it wanted it
/// in another way.
fn missed<A: Service>(asked: &Asked<'_>, collected: bool, on: &mut On<'_, '_, A>) -> Option<RouteId> {
    let head = asked.head.filter(|_| asked.bytes_in > 0)?;
    let plan = on.app.site().plan(head);
    let given = match plan.policy {
        BodyPolicy::Discard => true,
        BodyPolicy::Collect => collected,
        BodyPolicy::Stream => false,
    };
    (!given && !plan.refused).then_some(plan.route)
}

/// Hands a piece to an upload; a panic in it is told.
pub(super) fn feed(upload: &mut dyn Upload, data: &[u8]) -> Fed {
    match catch_unwind(AssertUnwindSafe(|| upload.data(data))) {
        Ok(Accepting::More) => Fed::More,
        Ok(Accepting::Wait) => Fed::Held,
        Ok(Accepting::Answer) => Fed::Early,
        Err(_) => Fed::Panicked,
    }
}
