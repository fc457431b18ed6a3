//! The machine of one raw TCP connection. Its table of faults is [`fault`](super::fault).

use super::fault::{State, Verdict, verdict};
use super::hub::{Entry, Kind, Note, Peer, Service, ServiceId, Wish};
use crate::guard::{Backlog, Delivery, Member, contain};
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{Close, Cx, End, Event, Hit, Input, Millis, Pressure, Step, Timer};

/// No seat among those who get what others say.
const NO_SEAT: u32 = u32::MAX;

/// One connection: 24 bytes.
pub struct Connection {
    backlog: Backlog,
    seat: u32,
    /// So much of the input was searched for the end of a line.
    scanned: u32,
    service: ServiceId,
    state: State,
    /// It is not heard, since too much is on its way to others.
    waits: bool,
}

const _: () = assert!(size_of::<Connection>() <= 24);

impl Connection {
    /// A connection to this service; the program makes it in [`App::admit`](crate::reactor::App::admit).
    pub fn new(service: ServiceId) -> Connection {
        let (backlog, state) = (Backlog::default(), State::Open);
        Connection { backlog, seat: NO_SEAT, scanned: 0, service, state, waits: false }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes of memory that it holds outside this value: the places of what waits for its peer.
    pub fn held(&self) -> usize {
        self.backlog.held()
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
        let hub = app.tcp();
        let worker = hub.worker;
        let Some(entry) = hub.services.get_mut(self.service.0 as usize) else {
            return Step::Close(Close::Abort, Reason::Internal);
        };
        if !matches!(entry.kind, Kind::Echo) && !entry.crowd.gate.lets(cx.me()) {
            self.wait(entry, cx);
            return self.rest(entry, cx);
        }
        self.waits = false;
        match &mut entry.kind {
            Kind::Echo => {
                let bytes = input.bytes();
                cx.output().0.send_back(b"", bytes);
                let n = bytes.len();
                input.take(n);
            }
            Kind::Lines => {
                let me = Member { worker, token: cx.me() };
                if !self.read_lines(input, entry, me) {
                    hub.counters.long_lines += 1;
                    return Step::Close(Close::Graceful, Reason::LineTooLong);
                }
                if !input.is_empty() && entry.crowd.gate.is_full() {
                    self.wait(entry, cx);
                }
            }
            Kind::Custom(_) => {
                let (used, refused, step) = self.tell(entry, worker, cx, Call::Data(input.bytes()));
                input.take(used);
                if step != Step::Continue {
                    return step;
                }
                if refused && !input.is_empty() {
                    self.wait(entry, cx);
                }
            }
        }
        self.rest(entry, cx)
    }

    /// Something else has come. See [`Session::on_event`](crate::reactor::Session::on_event).
    pub fn on_event<A: Service>(
        &mut self,
        event: Event<Note>,
        app: &mut A,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        let hub = app.tcp();
        let worker = hub.worker;
        let Some(entry) = hub.services.get_mut(self.service.0 as usize) else {
            return Step::Close(Close::Abort, Reason::Internal);
        };
        let step = match event {
            Event::Open => self.open(entry, worker, cx),
            Event::Drained => {
                self.backlog.drained(cx);
                if self.state.is_held() {
                    self.state = State::Open;
                }
                self.tell(entry, worker, cx, Call::Writable).2
            }
            Event::Note(_, Note::Batch(batch)) => {
                let me = Member { worker, token: cx.me() };
                let slow = entry.options.slow;
                match self.backlog.deliver(&batch, me, (slow, entry.options.bounds), cx) {
                    Delivery::Taken(lost) => hub.counters.lost[slow as usize] += u64::from(lost),
                    Delivery::TooSlow => {
                        hub.counters.too_slow += 1;
                        return Step::Close(Close::Abort, Reason::SlowConsumer);
                    }
                }
                Step::Continue
            }
            Event::Note(_, Note::Send(bytes)) => {
                cx.write(&bytes);
                Step::Continue
            }
            Event::Note(_, Note::Close) => Step::Close(Close::Graceful, Reason::Kicked),
            Event::Eof => return self.hit(Hit::Eof, entry, worker, cx),
            Event::Timeout(deadline) => return self.hit(Hit::Timeout(deadline), entry, worker, cx),
            Event::Failed(failure) => return self.hit(Hit::Failed(failure), entry, worker, cx),
            Event::Drain => return self.hit(Hit::Drain, entry, worker, cx),
        };
        match step {
            Step::Continue => self.rest(entry, cx),
            end => end,
        }
    }

    /// The connection has ended; the program calls it in [`App::on_close`](crate::reactor::App::on_close).
    pub fn on_close<A: Service>(self, end: &End<Reason>, app: &mut A) {
        let Some(entry) = app.tcp().services.get_mut(self.service.0 as usize) else { return };
        if self.seat != NO_SEAT {
            entry.crowd.seats.try_remove(self.seat as usize);
        }
        if let Kind::Custom(handler) = &mut entry.kind {
            let then = "its connection had ended already";
            contain(&mut Cork::default(), then, |_| handler.close(end.token, end.reason));
        }
    }

    fn open<A: Service>(&mut self, entry: &mut Entry, worker: u16, cx: &mut Cx<'_, A>) -> Step<Reason> {
        match entry.kind {
            Kind::Echo => {}
            Kind::Lines | Kind::Custom(_) => self.seat = entry.crowd.seats.insert(cx.me()) as u32,
        }
        cx.set_evictable(false);
        self.tell(entry, worker, cx, Call::Open).2
    }

    /// Publishes the whole lines of the input; false if one is too long.
    fn read_lines(&mut self, input: &mut Input<'_>, entry: &mut Entry, me: Member) -> bool {
        let most = entry.options.line_size;
        while !entry.crowd.gate.is_full() {
            let bytes = input.bytes();
            let from = (self.scanned as usize).min(bytes.len());
            let Some(at) = memchr::memchr(b'\n', &bytes[from..]) else {
                self.scanned = bytes.len() as u32;
                return bytes.len() < most;
            };
            let len = from + at + 1;
            if len > most {
                return false;
            }
            entry.crowd.publish(Some(me), &bytes[..len]);
            input.take(len);
            self.scanned = 0;
        }
        true
    }

    /// What is left of the input is shown again once there is room for it.
    fn wait<A: Service>(&mut self, entry: &mut Entry, cx: &mut Cx<'_, A>) {
        let already = std::mem::replace(&mut self.waits, true);
        entry.crowd.gate.make_wait(already, cx);
    }

    fn hit<A: Service>(
        &mut self,
        hit: Hit,
        entry: &mut Entry,
        worker: u16,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        match verdict(self.state, hit) {
            Verdict::Ignore => Step::Continue,
            Verdict::Close(close, reason) => Step::Close(close, reason),
            Verdict::Silent if cx.backlog() > 0 => self.rest(entry, cx),
            Verdict::Silent => Step::Close(Close::Graceful, Reason::IdleTimeout),
            Verdict::TellEof => {
                self.state = State::Finishing;
                match entry.kind {
                    Kind::Echo | Kind::Lines => Step::Close(Close::Graceful, Reason::PeerClosed),
                    Kind::Custom(_) => match self.tell(entry, worker, cx, Call::Eof).2 {
                        Step::Continue => self.rest(entry, cx),
                        Step::Close(close, Reason::Done) => Step::Close(close, Reason::PeerClosed),
                        end => end,
                    },
                }
            }
        }
    }

    /// Nothing is to be done now: sets the deadline of the state.
    fn rest<A: Service>(&mut self, entry: &Entry, cx: &mut Cx<'_, A>) -> Step<Reason> {
        if self.state == State::Open && cx.pressure() == Pressure::High {
            self.state = State::Held;
        }
        match entry.options.idle_timeout {
            _ if self.state.is_held() => cx.set_deadlines(Millis::NEVER, Millis::NEVER),
            idle if idle.is_zero() => cx.clear_deadline(Timer::Phase),
            idle => cx.set_deadline(Timer::Phase, idle),
        }
        Step::Continue
    }

    /// Calls the service's handler, if it has one of its own, and does what it wishes. Says how much of the data it used, and whether
    /// something that it published was refused. If it panics, that is the end: a reset, since what came by then must not be taken for all.
    fn tell<A: Service>(
        &mut self,
        entry: &mut Entry,
        worker: u16,
        cx: &mut Cx<'_, A>,
        call: Call<'_>,
    ) -> (usize, bool, Step<Reason>) {
        let Entry { kind: Kind::Custom(handler), crowd, .. } = entry else {
            return (0, false, Step::Continue);
        };
        let (token, address, backlog) = (cx.me(), cx.peer(), cx.backlog());
        let (cork, host) = cx.output();
        let backlog = backlog.saturating_sub(cork.memory());
        let told = contain(cork, "its connection is reset", |cork| {
            let wish = Wish::default();
            let mut peer = Peer { token, address, backlog, cork, host, crowd, worker, wish };
            let mut used = 0;
            match call {
                Call::Open => handler.open(&mut peer),
                Call::Data(bytes) => used = handler.data(bytes, &mut peer).min(bytes.len()),
                Call::Writable => handler.writable(&mut peer),
                Call::Eof => handler.eof(&mut peer),
            }
            (used, peer.wish)
        });
        let Some((used, wish)) = told else {
            return (0, false, Step::Close(Close::Abort, Reason::HandlerFailed));
        };
        if let Some(on) = wish.reading {
            cx.set_reading(on);
        }
        let step = match wish {
            Wish { abort: true, .. } => Step::Close(Close::Abort, Reason::Done),
            Wish { close: true, .. } => Step::Close(Close::Graceful, Reason::Done),
            Wish { .. } => Step::Continue,
        };
        (used, wish.refused, step)
    }
}

/// What a handler is called with.
enum Call<'a> {
    Open,
    Data(&'a [u8]),
    Writable,
    Eof,
}
