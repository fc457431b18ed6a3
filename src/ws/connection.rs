//! The machine of one server connection: the protocol ([`Talk`]), its rooms, its handler, and what waits for it.

use super::fault::State;
use super::handler::{Extra, Message, Peer};
use super::hub::{Hub, Kind, Note, Options, Route, Service, Shared};
use super::pace::Rules;
use super::rooms::Seat;
use super::talk::{Flow, Heard, Talk};
use super::upgrade::Setup;
use crate::guard::{Backlog, Batch, Delivery, Member, contain};
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{App, Close, Cx, End, Event, Hit, Input, Step};
use crate::wire::ws::{Code, Role};
use std::time::Duration;

/// The longest that one who sent too many messages is not read, in seconds.
const DEBT: i64 = 10;

/// What is deflated in answer to one call before the rest has to wait, in bytes: a millisecond's work, or three.
const DEFLATED: usize = 64 << 10;

/// One connection: 56 bytes.
pub struct Connection {
    talk: Talk,
    backlog: Backlog,
    extra: Option<Box<Extra>>,
    seat: Seat,
}

const _: () = assert!(size_of::<usize>() != 8 || size_of::<Connection>() == 56);

impl Connection {
    /// Begins where the 101 has been sent: enters the room of the route, if it has one, and tells the handler. What the step says
    /// is to be done; what the client sent after its request is shown with [`on_data`](Self::on_data).
    pub fn begin<A: Service>(setup: &Setup, app: &mut A, cx: &mut Cx<'_, A>) -> (Connection, Step<Reason>) {
        let mut new = Connection {
            talk: Talk::new(Role::Server, setup.agreed, setup.route.0),
            backlog: Backlog::default(),
            extra: None,
            seat: Seat::NONE,
        };
        let Hub { routes, shared, .. } = app.ws();
        let Some(route) = routes.get_mut(usize::from(setup.route.0)) else {
            return (new, Step::Close(Close::Abort, Reason::Internal));
        };
        shared.counters.opened += 1;
        new.talk.begin(&route.rules, cx);
        match &mut route.kind {
            Kind::Echo => {}
            Kind::Room => {
                let name = setup.room.as_deref().unwrap_or("");
                match shared.rooms.join(cx.me(), name) {
                    Ok(seat) => new.seat = seat,
                    Err(_) => {
                        shared.counters.refused += 1;
                        let why = "no place in this room";
                        new.talk.close(Code::TRY_LATER, why, Reason::Refused, &route.rules, cx);
                    }
                }
            }
            Kind::Custom(_) => {
                let (room, protocol) = (setup.room.as_deref(), setup.protocol.as_deref());
                let (talk, mut rest) = new.split();
                let Route { rules, kind, .. } = route;
                let step = tell((kind, rules), talk, &mut rest, shared, Call::Open(room, protocol), cx);
                return (new, step);
            }
        }
        (new, Step::Continue)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.talk.state()
    }

    /// Bytes of memory that it holds outside this value: a message of which a part has come, what waits for its peer, codecs that
    /// are its own.
    pub fn held(&self) -> usize {
        let extra = |extra: &Extra| size_of::<Extra>() + extra.own.as_ref().map_or(0, |own| own.held());
        self.talk.held() + self.backlog.held() + self.extra.as_deref().map_or(0, extra)
    }

    /// Bytes of what waits for its peer that it shares with others: its part of them, about.
    pub fn shared(&self) -> usize {
        self.backlog.shared()
    }

    /// Bytes have come. See [`Session::on_data`](crate::reactor::Session::on_data).
    pub fn on_data<A: Service>(
        &mut self,
        input: &mut Input<'_>,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        let Hub { routes, desk, shared } = app.ws();
        let Some(route) = routes.get_mut(usize::from(self.talk.mark)) else {
            return Step::Close(Close::Abort, Reason::Internal);
        };
        // Nobody says anything more until what was said is on its way: or each of many speakers would add one message. What comes
        // after our close frame is not heard anyway.
        let bounded = self.talk.state().is_open() && !matches!(route.kind, Kind::Echo);
        if bounded && !shared.rooms.gate_mut().lets(cx.me()) {
            shared.rooms.gate_mut().make_wait(self.talk.wait(), cx);
            return Step::Continue;
        }
        let Route { options, rules, kind } = route;
        let (before, deflated) = (shared.counters.messages_in, shared.codecs.compressors.deflated());
        let enough =
            |shared: &Shared| shared.codecs.compressors.deflated().wrapping_sub(deflated) >= DEFLATED;
        let (talk, mut rest) = self.split();
        let step = talk.read(input, desk, rules, cx, |talk, heard, cx| match heard {
            Heard::Message(message) => {
                shared.counters.messages_in += 1;
                shared.counters.bytes_in += message.bytes().len() as u64;
                match heed((kind, rules), talk, &mut rest, shared, message, cx) {
                    Flow::More if enough(shared) => Flow::Hold,
                    flow => flow,
                }
            }
            Heard::Close(_) => Flow::More,
        });
        desk.trim();
        if step == Step::Continue && !input.is_empty() && enough(shared) {
            cx.show_later();
        }
        if bounded && step == Step::Continue && !input.is_empty() && shared.rooms.gate().is_full() {
            shared.rooms.gate_mut().make_wait(self.talk.wait(), cx);
        }
        let heard = shared.counters.messages_in - before;
        if options.message_rate > 0 && step == Step::Continue {
            self.count(heard, options, shared, cx);
        }
        step
    }

    /// Something else has come. See [`Session::on_event`](crate::reactor::Session::on_event).
    pub fn on_event<A: Service>(
        &mut self,
        event: Event<Note>,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        let Hub { routes, shared, .. } = app.ws();
        let Some(route) = routes.get_mut(usize::from(self.talk.mark)) else {
            return Step::Close(Close::Abort, Reason::Internal);
        };
        let Route { options, rules, kind } = route;
        match event {
            Event::Open => {}
            Event::Drained => {
                self.talk.goes_on(rules, cx);
                match self.talk.state().is_open() {
                    true => self.backlog.drained(cx),
                    // After our close frame no data may follow (5.5.1).
                    false => {
                        self.backlog.clear();
                    }
                }
                let (talk, mut rest) = self.split();
                return tell((kind, rules), talk, &mut rest, shared, Call::Writable, cx);
            }
            Event::Note(_, Note::Batch(batch)) => return self.deliver(&batch, options, shared, cx),
            Event::Note(_, Note::Send(message)) => {
                let (talk, mut rest) = self.split();
                say(talk, &mut rest, shared, message.as_message(), cx);
            }
            Event::Note(_, Note::Close(code, text)) => {
                self.talk.close(code, &text, Reason::Kicked, rules, cx);
            }
            Event::Eof => return self.talk.hit(Hit::Eof, rules, cx),
            Event::Timeout(deadline) => return self.talk.hit(Hit::Timeout(deadline), rules, cx),
            Event::Failed(failure) => return self.talk.hit(Hit::Failed(failure), rules, cx),
            Event::Drain => return self.talk.hit(Hit::Drain, rules, cx),
        }
        Step::Continue
    }

    /// The connection has ended; the program calls it in [`App::on_close`].
    pub fn on_close<A: Service>(mut self, end: &End<Reason>, app: &mut A) {
        let Hub { routes, desk, shared } = app.ws();
        self.talk.abandon(desk);
        let more = self.extra.iter().flat_map(|extra| extra.seats.iter().copied());
        for seat in std::iter::once(self.seat).chain(more).filter(|seat| !seat.is_none()) {
            shared.rooms.leave(seat);
        }
        if let Some(Route { kind: Kind::Custom(handler), .. }) = routes.get_mut(usize::from(self.talk.mark)) {
            let then = "its connection had ended already";
            contain(&mut Cork::default(), then, |_| handler.close(end.token, end.reason));
        }
    }

    fn split(&mut self) -> (&mut Talk, Rest<'_>) {
        (&mut self.talk, Rest { extra: &mut self.extra, seat: &mut self.seat })
    }

    /// What was said in a room it is in.
    fn deliver<A: Service>(
        &mut self,
        batch: &Batch,
        options: &Options,
        shared: &mut Shared,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        if !self.talk.state().is_open() {
            return Step::Continue;
        }
        let me = Member { worker: shared.rooms.worker(), token: cx.me() };
        match self.backlog.deliver(batch, me, (options.slow, options.bounds), cx) {
            Delivery::Taken(lost) => {
                shared.counters.lost[options.slow as usize] += u64::from(lost);
                shared.counters.messages_out += (batch.messages() as u64).saturating_sub(u64::from(lost));
                shared.counters.bytes_out += batch.len() as u64;
            }
            Delivery::TooSlow => {
                // A close frame would wait behind all that it does not read.
                shared.counters.too_slow += 1;
                return Step::Close(Close::Abort, Reason::SlowConsumer);
            }
        }
        Step::Continue
    }

    /// Holds back a peer that speaks too often: so many messages have come. An allowance fills at the rate, up to a second's worth;
    /// what one read brought is taken in any case, and waited for afterwards, but not for longer than [`DEBT`]: one that has died
    /// meanwhile would not be found out.
    fn count<A: Service>(&mut self, heard: u64, options: &Options, shared: &mut Shared, cx: &mut Cx<'_, A>) {
        let rate = i64::from(options.message_rate);
        let now = cx.now();
        let extra = self.extra.get_or_insert_default();
        let (left, since) = extra.allowance.unwrap_or((rate * 1000, now));
        let earned = i64::try_from(now.since(since).as_millis()).unwrap_or(i64::MAX).saturating_mul(rate);
        let spent = i64::try_from(heard).unwrap_or(i64::MAX).saturating_mul(1000);
        let left =
            left.saturating_add(earned).min(rate * 1000).saturating_sub(spent).max(-rate * 1000 * DEBT);
        extra.allowance = Some((left, now));
        if left < 0 {
            shared.counters.throttled += 1;
            let wait = left.unsigned_abs().div_ceil(rate.unsigned_abs().max(1)).max(1);
            self.talk.throttle(Duration::from_millis(wait), cx);
        }
    }
}

/// What a connection has besides its talk.
struct Rest<'a> {
    extra: &'a mut Option<Box<Extra>>,
    seat: &'a mut Seat,
}

/// Does with a message what the route says.
fn heed<A: Service>(
    (kind, rules): (&mut Kind, &Rules),
    talk: &mut Talk,
    rest: &mut Rest<'_>,
    shared: &mut Shared,
    message: Message<'_>,
    cx: &mut Cx<'_, A>,
) -> Flow {
    match kind {
        Kind::Echo => {
            say(talk, rest, shared, message, cx);
            return Flow::More;
        }
        Kind::Room => shared.rooms.publish_from(*rest.seat, cx.me(), message),
        Kind::Custom(_) => match tell((kind, rules), talk, rest, shared, Call::Message(message), cx) {
            Step::Continue => {}
            Step::Close(..) | Step::Detach(_) => return Flow::Over,
        },
    }
    if shared.rooms.gate().is_full() { Flow::Hold } else { Flow::More }
}

/// Sends one message.
fn say<A: App>(
    talk: &Talk,
    rest: &mut Rest<'_>,
    shared: &mut Shared,
    message: Message<'_>,
    cx: &mut Cx<'_, A>,
) {
    if !talk.state().is_open() {
        return;
    }
    let sender = talk.sender();
    let mut none = None;
    let own = match sender.takes_over() {
        true => &mut rest.extra.get_or_insert_default().own,
        false => &mut none,
    };
    let (cork, host) = cx.output();
    sender.message(message, own, &mut shared.codecs, host, cork);
    shared.counters.messages_out += 1;
    shared.counters.bytes_out += message.bytes().len() as u64;
}

/// What a handler is called with.
enum Call<'a> {
    Open(Option<&'a str>, Option<&'a str>),
    Message(Message<'a>),
    Writable,
}

/// Calls the route's handler, if it has one of its own, and does what it wishes. If it panics, that is the end.
fn tell<A: Service>(
    (kind, rules): (&mut Kind, &Rules),
    talk: &mut Talk,
    rest: &mut Rest<'_>,
    shared: &mut Shared,
    call: Call<'_>,
    cx: &mut Cx<'_, A>,
) -> Step<Reason> {
    let Kind::Custom(handler) = kind else { return Step::Continue };
    let (token, address, backlog) = (cx.me(), cx.peer(), cx.backlog());
    let (open, sender) = (talk.state().is_open(), talk.sender());
    let (cork, host) = cx.output();
    let backlog = backlog.saturating_sub(cork.memory());
    let wish = contain(cork, "its connection gets 1011 and is closed", |cork| {
        let Rest { seat, extra } = rest;
        let mut peer =
            Peer { token, address, backlog, open, sender, cork, host, seat, extra, shared, wish: None };
        match call {
            Call::Open(room, protocol) => handler.open(&mut peer, room, protocol),
            Call::Message(message) => handler.message(message, &mut peer),
            Call::Writable => handler.writable(&mut peer),
        }
        peer.wish
    });
    match wish {
        Some(None) => Step::Continue,
        Some(Some((code, text))) => {
            talk.close(code, &text, Reason::WsClosed, rules, cx);
            Step::Continue
        }
        None => talk.fail(cx),
    }
}
