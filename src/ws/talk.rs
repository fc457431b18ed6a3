//! The protocol of one connection, for either role: frames in and out, ping and pong, the closing handshake (RFC 6455, 5 to 7).
//!
//! It knows no rooms, handlers or reconnecting: `connection.rs` and `client.rs` are built on it. Deadlines: `Phase` is silence
//! (then a ping, then the pong), or the end of closing; `Total` is the end of a message that has begun.

use super::fault::{State, Verdict, verdict};
use super::handler::Message;
use super::pace::{Rules, silence};
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{App, Close, Cx, Hit, Host, Input, Millis, Pressure, Step, Timer};
use crate::wire::ws::close::{self, Code};
use crate::wire::ws::frame::{self, Header, Opcode};
use crate::wire::ws::{Agreed, Assembler, Compressors, Deflater, Desk, Event, Role, Violation};
use std::time::Duration;

/// Output of one call above which the pressure is looked at before the next message is read.
const LOOK: usize = 64 << 10;

/// What messages of one call may inflate to before the rest has to wait.
const INFLATED: usize = 1 << 20;

/// What a drain closes with.
pub(super) const GOING_AWAY: (Code, &str) = (Code::GOING_AWAY, "going away");

/// What a message's listener wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// The next message.
    More,
    /// No further message in this turn.
    Hold,
    /// Nothing more: the program has failed.
    Over,
}

/// What the peer says that concerns more than the protocol.
pub(super) enum Heard<'a> {
    Message(Message<'a>),
    /// It closes, or answers our close frame.
    Close(Option<(Code, &'a str)>),
}

/// A worker's deflaters and the space they write to.
pub(super) struct Codecs {
    pub compressors: Compressors,
    scratch: Vec<u8>,
}

impl Codecs {
    /// So much space is kept.
    const KEEP: usize = 64 << 10;

    pub fn new() -> Codecs {
        // Every message, whatever it gains: a client of the field (kosoku 0.1) fails on one that is not compressed once
        // deflate is agreed on, though RFC 7692, 6 allows it. Level 3: most of the gain at a third of the cost of level 6.
        Codecs { compressors: Compressors::new(3, 0), scratch: Vec::new() }
    }

    /// Bytes of memory that the space takes.
    pub fn held(&self) -> usize {
        self.scratch.capacity()
    }

    /// Gives back what a message needed beyond the usual.
    fn trim(&mut self) {
        if self.scratch.capacity() > Codecs::KEEP {
            self.scratch = Vec::new();
        }
    }
}

/// How messages are encoded for this peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sender {
    role: Role,
    /// Window bits of our deflater; 0: messages go as they are.
    bits: u8,
    takeover: bool,
}

impl Sender {
    /// Appends a message as one frame.
    pub fn message(
        self,
        message: Message<'_>,
        own: &mut Option<Box<Deflater>>,
        codecs: &mut Codecs,
        host: &mut dyn Host,
        cork: &mut Cork,
    ) {
        let (opcode, payload) = message.parts();
        let mask = self.mask(host);
        let out = cork.bytes_mut();
        if self.bits > 0 {
            codecs.scratch.clear();
            let terms = (self.bits, self.takeover);
            if codecs.compressors.deflate(terms, own, payload, &mut codecs.scratch) {
                emit(opcode, true, mask, &codecs.scratch, out);
                return codecs.trim();
            }
        }
        match (mask, Header::new(opcode, true, false, None, payload.len() as u64)) {
            // An echo is not copied: its head is shorter than the masked one that stands before it.
            (None, Ok(header)) => {
                let mut head = [0; frame::MAX_HEADER];
                let len = frame::emit_into(&header, &mut head);
                cork.send_back(&head[..len], payload);
            }
            (Some(_), _) | (None, Err(_)) => emit(opcode, false, mask, payload, out),
        }
    }

    /// Appends a control frame; `payload` is at most 125 bytes.
    pub fn control(self, opcode: Opcode, payload: &[u8], host: &mut dyn Host, out: &mut Vec<u8>) {
        emit(opcode, false, self.mask(host), payload, out);
    }

    /// Keeps its deflater from message to message.
    pub fn takes_over(self) -> bool {
        self.takeover
    }

    /// What a client sends is masked with a key that nobody can foresee (RFC 6455, 10.3).
    fn mask(self, host: &mut dyn Host) -> Option<[u8; 4]> {
        match self.role {
            Role::Server => None,
            Role::Client => {
                let mut key = [0; 4];
                host.fill_random(&mut key);
                Some(key)
            }
        }
    }
}

#[inline]
fn emit(opcode: Opcode, compressed: bool, mask: Option<[u8; 4]>, payload: &[u8], out: &mut Vec<u8>) {
    // Refused only for what no caller does: control frames over 125 bytes.
    if let Ok(header) = Header::new(opcode, true, compressed, mask, payload.len() as u64) {
        frame::emit_frame(&header, payload, out);
    }
}

const CLIENT: u8 = 1;
const TAKEOVER: u8 = 2;
const PINGED: u8 = 4;
const THROTTLED: u8 = 8;
const WAITS: u8 = 16;
const UNSENT: u8 = 32;
const LOOKS: u8 = 64;

/// See the module page: 32 bytes.
pub(super) struct Talk {
    assembler: Assembler,
    state: State,
    /// Why it is closing, once it is.
    why: Reason,
    bits: u8,
    flags: u8,
    /// A number for its owner.
    pub mark: u16,
}

const _: () = assert!(size_of::<usize>() != 8 || size_of::<Talk>() == 32);

impl Talk {
    pub fn new(role: Role, agreed: Option<Agreed>, mark: u16) -> Talk {
        let (bits, takeover) = agreed.map_or((0, false), |agreed| agreed.sending(role));
        let mut talk = Talk {
            assembler: Assembler::new(role, agreed),
            state: State::Open,
            why: Reason::WsClosed,
            bits,
            flags: 0,
            mark,
        };
        talk.set(CLIENT, role == Role::Client);
        talk.set(TAKEOVER, takeover);
        talk
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn sender(&self) -> Sender {
        let role = if self.has(CLIENT) { Role::Client } else { Role::Server };
        Sender { role, bits: self.bits, takeover: self.has(TAKEOVER) }
    }

    /// Bytes held for what has come in part.
    pub fn held(&self) -> usize {
        self.assembler.held()
    }

    /// Gives what it holds back to the desk.
    pub fn abandon(&mut self, desk: &mut Desk) {
        self.assembler.abandon(desk);
    }

    /// The connection stands: sets the deadlines.
    pub fn begin<A: App>(&mut self, rules: &Rules, cx: &mut Cx<'_, A>) {
        cx.set_evictable(false);
        cx.set_deadlines(silence(rules, cx.now()), Millis::NEVER);
    }

    /// Reads on; `on` hears what was said. What is left in the input is shown again. The caller trims the desk afterwards.
    pub fn read<A: App<Reason = Reason>>(
        &mut self,
        input: &mut Input<'_>,
        desk: &mut Desk,
        rules: &Rules,
        cx: &mut Cx<'_, A>,
        mut on: impl FnMut(&mut Talk, Heard<'_>, &mut Cx<'_, A>) -> Flow,
    ) -> Step<Reason> {
        // What could not go on, since we did not read it, begins anew.
        let (mut begun, mut flow) = (self.assembler.in_message() && !self.has(WAITS), Flow::More);
        self.set(WAITS, false);
        let inflated = desk.inflated();
        while !input.is_empty() {
            if desk.inflated().wrapping_sub(inflated) >= INFLATED {
                cx.show_later();
                break;
            }
            let (n, step) = match self.assembler.next(input.bytes_mut(), desk, &rules.limits) {
                Err(violation) => return self.violated(violation, cx),
                Ok((n, None)) => {
                    input.take(n);
                    break;
                }
                Ok((n, Some(event))) => {
                    begun &= matches!(event, Event::Ping(_) | Event::Pong(_));
                    (n, self.hear(event, rules, cx, &mut on, &mut flow))
                }
            };
            input.take(n);
            if step != Step::Continue {
                return step;
            }
            if flow == Flow::Hold {
                break;
            }
            if cx.output().0.memory() >= LOOK && cx.pressure() == Pressure::High {
                break;
            }
        }
        self.settle(begun, rules, cx);
        Step::Continue
    }

    fn hear<A: App<Reason = Reason>>(
        &mut self,
        event: Event<'_>,
        rules: &Rules,
        cx: &mut Cx<'_, A>,
        on: &mut impl FnMut(&mut Talk, Heard<'_>, &mut Cx<'_, A>) -> Flow,
        flow: &mut Flow,
    ) -> Step<Reason> {
        // After our close frame nothing is answered (5.5.1).
        let open = self.state.is_open();
        let message = match event {
            Event::Text(text) => Some(Message::Text(text)),
            Event::Binary(bytes) => Some(Message::Binary(bytes)),
            Event::Ping(_) | Event::Pong(_) | Event::Close(_) => None,
        };
        if let (true, Some(message)) = (open, message) {
            *flow = on(self, Heard::Message(message), cx);
            return self.after(*flow, cx);
        }
        match event {
            Event::Ping(payload) if open => self.control(Opcode::Pong, payload, cx),
            Event::Text(_) | Event::Binary(_) | Event::Ping(_) | Event::Pong(_) => {}
            Event::Close(said) => {
                *flow = on(self, Heard::Close(said), cx);
                return match self.after(*flow, cx) {
                    Step::Continue => self.peer_closes(said.map(|(code, _)| code), rules, cx),
                    end => end,
                };
            }
        }
        Step::Continue
    }

    fn after<A: App>(&mut self, flow: Flow, cx: &mut Cx<'_, A>) -> Step<Reason> {
        match flow {
            Flow::More | Flow::Hold => Step::Continue,
            Flow::Over => self.fail(cx),
        }
    }

    /// The peer's close frame has come: it is answered, unless it is the answer.
    fn peer_closes<A: App<Reason = Reason>>(
        &mut self,
        code: Option<Code>,
        rules: &Rules,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        if self.state.is_open() {
            let code = code.map(|code| code.get().to_be_bytes());
            self.control(Opcode::Close, code.as_ref().map_or(&[], |bytes| &bytes[..]), cx);
        }
        self.state = State::ClosingByPeer;
        if !self.has(CLIENT) {
            return Step::Close(Close::Graceful, self.why);
        }
        cx.set_deadlines(cx.now().after(rules.pace.close_timeout), Millis::NEVER);
        Step::Continue
    }

    /// Begins the closing handshake: a close frame, and a deadline for its answer. Nothing happens if it has begun already.
    pub fn close<A: App<Reason = Reason>>(
        &mut self,
        code: Code,
        text: &str,
        why: Reason,
        rules: &Rules,
        cx: &mut Cx<'_, A>,
    ) {
        if !self.state.is_open() {
            return;
        }
        self.say_close(code, text, cx);
        (self.state, self.why) = (State::ClosingByUs, why);
        self.set(UNSENT, false);
        if self.has(THROTTLED) {
            self.set(THROTTLED, false);
            cx.set_reading(true);
        }
        cx.set_deadlines(cx.now().after(rules.pace.close_timeout), Millis::NEVER);
    }

    /// The program has failed: it is over, with 1011 (7.4.1) unless our close frame is out already. To say so twice is to say it once.
    #[cold]
    pub fn fail<A: App>(&mut self, cx: &mut Cx<'_, A>) -> Step<Reason> {
        if self.state.is_open() {
            self.say_close(Code::INTERNAL, "the program failed", cx);
        }
        (self.state, self.why) = (State::ClosingByUs, Reason::HandlerFailed);
        Step::Close(Close::Graceful, self.why)
    }

    /// Something other than bytes has come.
    pub fn hit<A: App<Reason = Reason>>(
        &mut self,
        hit: Hit,
        rules: &Rules,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        match verdict(self.state, hit) {
            Verdict::Ignore => {}
            Verdict::Ping => return self.silent(rules, cx),
            // That it does not go on is our doing.
            Verdict::TooLong if self.has(WAITS | THROTTLED) || cx.pressure() == Pressure::High => {
                cx.set_deadline(Timer::Total, rules.pace.message_timeout);
            }
            Verdict::GoAway => self.close(GOING_AWAY.0, GOING_AWAY.1, Reason::Drained, rules, cx),
            Verdict::TooLong => {
                self.say_close(Code::POLICY, "message took too long", cx);
                return Step::Close(Close::Graceful, Reason::ReadTimeout);
            }
            Verdict::Close(_, Reason::CloseTimeout) if self.is_unsent(cx) => {
                cx.set_deadline(Timer::Phase, rules.pace.close_timeout);
            }
            Verdict::Close(close, reason) => return Step::Close(close, reason),
            Verdict::Finish(close) => return Step::Close(close, self.why),
        }
        Step::Continue
    }

    /// What we said last, a ping or our close frame, waits behind what the peer has not taken (whether it takes it is watched by the
    /// port), or did so when this was asked last: there has not been time enough to answer it.
    fn is_unsent<A: App>(&mut self, cx: &Cx<'_, A>) -> bool {
        let (waits, waited) = (cx.backlog() > 0, self.has(UNSENT));
        self.set(UNSENT, waits);
        waits || waited
    }

    /// The peer is not heard for now: too much is on its way. Says whether that was so before.
    pub fn wait(&mut self) -> bool {
        let already = self.has(WAITS);
        self.set(WAITS, true);
        already
    }

    /// The peer is read again, which it was not for a while by our own choice: the time of a message that had begun begins anew.
    pub fn goes_on<A: App>(&mut self, rules: &Rules, cx: &mut Cx<'_, A>) {
        if self.state.is_open() && self.assembler.in_message() {
            cx.set_deadline(Timer::Total, rules.pace.message_timeout);
        }
    }

    /// Reads nothing for this long: the peer speaks too often.
    pub fn throttle<A: App>(&mut self, wait: Duration, cx: &mut Cx<'_, A>) {
        if self.state.is_open() {
            self.set(THROTTLED, true);
            cx.set_reading(false);
            cx.set_deadline(Timer::Phase, wait);
        }
    }

    pub fn control<A: App>(&mut self, opcode: Opcode, payload: &[u8], cx: &mut Cx<'_, A>) {
        let sender = self.sender();
        let (cork, host) = cx.output();
        sender.control(opcode, payload, host, cork.bytes_mut());
    }

    fn say_close<A: App>(&mut self, code: Code, text: &str, cx: &mut Cx<'_, A>) {
        let mut payload = Vec::with_capacity(2 + text.len());
        close::emit(code, text, &mut payload);
        self.control(Opcode::Close, &payload, cx);
    }

    /// The peer broke the protocol: it is told how, and the connection ends in order (7.1.7).
    fn violated<A: App<Reason = Reason>>(
        &mut self,
        violation: Violation,
        cx: &mut Cx<'_, A>,
    ) -> Step<Reason> {
        if !self.state.is_open() {
            return Step::Close(Close::Graceful, self.why);
        }
        let code = violation.close_code();
        self.say_close(code, violation.reason(), cx);
        let reason = if code == Code::TOO_BIG { Reason::WsTooLarge } else { Reason::WsViolation };
        Step::Close(Close::Graceful, reason)
    }

    /// Nothing came for the interval, or for the pong's time, or the time of a throttle is over.
    fn silent<A: App<Reason = Reason>>(&mut self, rules: &Rules, cx: &mut Cx<'_, A>) -> Step<Reason> {
        // Whether a ping could leave at once is not known until this call is over: it is looked at soon.
        let soon = rules.pace.ping_timeout / 10;
        if self.has(THROTTLED) {
            self.set(THROTTLED, false);
            cx.set_reading(true);
            cx.set_deadline_at(Timer::Phase, silence(rules, cx.now()));
            self.goes_on(rules, cx);
        } else if self.is_unsent(cx) || self.has(WAITS) {
            // A ping would wait behind it (whether the peer takes it is watched by the port); or its pong would not be read.
            self.set(LOOKS, false);
            cx.set_deadline(Timer::Phase, rules.pace.ping_timeout);
        } else if self.has(LOOKS) {
            self.set(LOOKS, false);
            cx.set_deadline(Timer::Phase, rules.pace.ping_timeout - soon);
        } else if self.has(PINGED) {
            return Step::Close(Close::Abort, Reason::PongTimeout);
        } else {
            self.set(PINGED | LOOKS, true);
            self.control(Opcode::Ping, b"", cx);
            cx.set_deadline(Timer::Phase, soon);
        }
        Step::Continue
    }

    /// Something came: sets state and deadlines. `begun`: what is unfinished now was so before.
    fn settle<A: App>(&mut self, begun: bool, rules: &Rules, cx: &mut Cx<'_, A>) {
        if !self.state.is_open() {
            return;
        }
        self.set(PINGED | UNSENT | LOOKS, false);
        let silence = silence(rules, cx.now());
        if !self.assembler.in_message() {
            self.state = State::Open;
            cx.set_deadlines(silence, Millis::NEVER);
            return;
        }
        cx.set_deadline_at(Timer::Phase, silence);
        if !begun {
            cx.set_deadline(Timer::Total, rules.pace.message_timeout);
        }
        self.state = State::Message;
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        match on {
            true => self.flags |= flag,
            false => self.flags &= !flag,
        }
    }
}
