//! Waiting for a handler: late answers, nudges, and handlers that will never say anything again.

use super::super::exchange::{Incoming, Left};
use super::super::fault::State;
use super::super::late::{Late, What};
use super::super::reply::Kind;
use super::super::serve;
use super::super::site::Service;
use super::{Asked, Connection, Next, On, RATE_WINDOW};
use crate::observe::Reason;
use crate::reactor::{Hit, Millis, Timer};
use std::time::Duration;

/// How often it is seen whether somebody still has the ticket that is waited for. It is told, too; but a full mailbox loses that.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// When a producer that had nothing to give, but did not say that it waits, is asked again.
pub(super) const AGAIN: Duration = Duration::from_millis(50);
/// How long such a producer may go on like that.
const DRY: Duration = Duration::from_secs(30);

const ABANDONED: &str = "The program that answers this lost track of it.";

impl Connection {
    /// A word for an exchange that may be over.
    pub(super) fn late<A: Service>(&mut self, late: Late, on: &mut On<'_, '_, A>) -> Next {
        if late.exchange != self.number {
            return Next::Stay;
        }
        match (late.what, self.state) {
            // An upload has no more use for what it has.
            (What::Answer(compose, ticket), State::Late | State::Upload) => {
                ticket.settle(true);
                self.late_answer(compose, on)
            }
            (What::Again(ticket), State::Late) => {
                ticket.settle(true);
                self.with_kept(on, |me, asked, _, on| {
                    me.serve(&Asked { waited: true, ..*asked }, b"", false, on)
                })
            }
            (What::Nudge { .. }, State::Stream) => {
                // It waits for nobody any more, also if the peer must take something first.
                if let Some(exchange) = self.exchange.as_mut() {
                    exchange.held = None;
                }
                self.produce(on)
            }
            (What::Nudge { .. }, State::Upload) => {
                self.release(on);
                Next::Again
            }
            // One that takes what comes waits for nobody.
            (What::Dropped, State::Upload) if !self.is_held() => Next::Stay,
            (What::Dropped, State::Late | State::Stream | State::Upload) => self.check_handler(on),
            (What::Answer(..) | What::Again(_) | What::Nudge { .. } | What::Dropped, _) => Next::Stay,
        }
    }

    fn late_answer<A: Service>(
        &mut self,
        compose: super::super::late::Compose,
        on: &mut On<'_, '_, A>,
    ) -> Next {
        let (mut incoming, mut limit, mut left) = (Incoming::Length(0), 0, Left::Nothing);
        if let Some(exchange) = self.exchange.as_mut() {
            // Whoever is asked may wait for the same ticket again.
            on.app.site().issued.put(std::mem::take(&mut exchange.ticket));
            (incoming, limit, left) = (exchange.incoming, exchange.limit, exchange.left);
        }
        self.with_kept(on, |me, asked, sent, on| {
            let keep_alive = left == Left::Nothing && !sent.close && !me.last && !on.cx.draining();
            let terms = match asked.head {
                Some(head) => on.app.site().terms(head, !keep_alive),
                None => serve::refusal_terms(on.app.site()),
            };
            let (mut served, sent) = me.respond(terms, left != Left::Nothing, on, compose);
            let upload = match served.kind {
                Kind::Receive(upload) => upload,
                kind @ (Kind::Sent | Kind::Stream(_) | Kind::Later | Kind::Upgrade(_)) => {
                    served.kind = kind;
                    let next = me.settle(asked, terms, served, sent, on);
                    // Put off again: what had not come is still to come.
                    if let (State::Late, Some(exchange)) = (me.state, me.exchange.as_mut()) {
                        (exchange.incoming, exchange.limit, exchange.left) = (incoming, limit, left);
                    }
                    return next;
                }
            };
            if left != Left::Body {
                return me.end_upload(asked, upload, left == Left::Nothing, terms, on);
            }
            let mut exchange = on.app.site().take_exchange();
            exchange.head.extend_from_slice(asked.raw);
            (exchange.incoming, exchange.limit, exchange.terms) = (incoming, limit, terms);
            (exchange.began, exchange.window) = (asked.began, (on.cx.now(), 0));
            exchange.sent.route = asked.route;
            me.exchange = Some(exchange);
            on.cx.set_deadline(Timer::Total, RATE_WINDOW);
            me.begin_upload(upload, asked.head.is_some_and(|head| head.expect_continue), on);
            // Its FIN came before there was an upload that could be told.
            if me.eof { me.hit(Hit::Eof, on) } else { Next::Again }
        })
    }

    /// Does the one that is waited for still exist?
    pub(super) fn check_handler<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        let now = on.cx.now();
        let Some(exchange) = self.exchange.as_ref() else { return Next::Stay };
        let gone = !exchange.ticket.is_live();
        match self.state {
            State::Late if gone => self.abandoned(on),
            State::Upload if exchange.held.is_some() && gone => self.abandoned(on),
            State::Stream if exchange.held.is_some() && gone => self.lost(on),
            State::Stream if exchange.dry.is_some_and(|since| since.after(DRY) <= now) => self.lost(on),
            State::Stream if exchange.dry.is_some() => self.produce(on),
            State::Late | State::Stream => Next::Wait,
            State::Upload if exchange.held.is_some() => Next::Wait,
            // No byte came for the read timeout.
            State::Upload => self.refuse_kept(408, super::TOO_LONG, Reason::ReadTimeout, on),
            State::Fresh | State::Idle | State::Head | State::Body | State::Sending => Next::Stay,
        }
    }

    /// When it is to be checked next.
    pub(super) fn check_at(&self, now: Millis) -> Millis {
        let Some(exchange) = self.exchange.as_ref() else { return Millis::NEVER };
        match exchange.dry {
            Some(_) => now.after(AGAIN),
            None if self.state == State::Late || exchange.held.is_some() => now.after(LOOK),
            None => Millis::NEVER,
        }
    }

    /// Nobody will answer.
    #[cold]
    pub(super) fn abandoned<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        log::error!("a ticket was dropped before anybody answered; its connection gets 500 and is closed");
        self.refuse_kept(500, ABANDONED, Reason::HandlerFailed, on)
    }

    /// The rest of a body will never be made.
    #[cold]
    pub(super) fn lost<A: Service>(&mut self, on: &mut On<'_, '_, A>) -> Next {
        log::error!("a body has no more to give, and nobody to nudge it; its connection is cut");
        self.cut_short(on)
    }
}
