//! Moving bytes for one port. All I/O of a connection is here, in `send.rs` and in `ending.rs`.
//!
//! A run flushes what waits, then reads and shows what came, and writes what the session says straight from the cork. It ends when
//! the port would block, is held back, or has used its budget; then it goes to the back of the queue. Progress: a run that is
//! queued again has moved a byte, cleared a bit, shown something, or changed the phase.
//!
//! What every read of an open port goes through is one function when it is compiled, with both system calls in it. The kernel's own calls
//! overwrite what the processor remembers of where ours return to, so that it stumbles at each return from a function in which a system
//! call was made; there were five of them a message. Without them an echo of 20 bytes costs 6 % less, and 16 requests in flight 7 % less.
//! What is rare stands apart, so that the one function stays small.

use super::buffer::{Buffer, LARGEST};
use super::context::{App, Close, Cx, Event, EventOf, Session, Step, StepOf};
use super::input::Input;
use super::mutant::{self, Mutant};
use super::net::{Net, Ready};
use super::outcome::{CloseHow, Failure, Fault, Io, Op, PortReason};
use super::port::{Flags, Phase, Port};
use super::token::Token;
use super::turn::{Counters, Reactor};

/// Reads per port and turn.
pub(super) const READS: usize = 4;
/// Runs without progress after which a connection is ended.
const STUCK: u8 = 3;

impl<A: App, N: Net> Reactor<A, N> {
    /// Runs a port that was taken from the queue.
    pub(super) fn run_port(&mut self, token: Token) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        port.flags.set(Flags::QUEUED, false);
        let before = (self.core.counters.moved(), port.ready, port.phase);
        match port.phase == Phase::Open {
            true => self.run_open(token),
            false => self.run_unusual(token, before.2),
        }
        self.rearm(token);
        self.deliver_births();
        self.check_progress(token, before);
    }

    #[inline(never)]
    fn run_unusual(&mut self, token: Token, phase: Phase) {
        match phase {
            Phase::Detached => {}
            Phase::Handshaking => self.run_handshaking(token),
            Phase::Connecting => self.run_connecting(token),
            Phase::Open | Phase::ReadOnly => self.run_open_apart(token),
            Phase::Flushing => self.run_flushing(token),
            Phase::Lingering => self.run_lingering(token),
        }
    }

    /// A run that queued itself again and moved nothing is a defect: the third in a row ends the connection.
    fn check_progress(&mut self, token: Token, before: (u64, Ready, Phase)) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let moved = |port: &Port<A::Reason>, counters: &Counters| {
            before != (counters.moved(), port.ready, port.phase)
        };
        if !port.flags.has(Flags::QUEUED) || moved(port, &self.core.counters) {
            port.stuck = 0;
            return;
        }
        port.stuck += 1;
        self.core.counters.no_progress += 1;
        if port.stuck >= STUCK {
            log::error!("{}: {:?} made no progress three times; closed", port.peer, port.phase);
            debug_assert!(false, "no progress");
            self.close_now(token, PortReason::NoProgress.into(), CloseHow::Reset);
        }
    }

    fn run_connecting(&mut self, token: Token) {
        if let Some(at) = self.core.unmade.iter().position(|(unmade, _)| *unmade == token) {
            let (_, fault) = self.core.unmade.swap_remove(at);
            return self.failed(token, Failure { op: Op::Connect, fault });
        }
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let Some(Some(stream)) = self.streams.get_mut(token.index()) else { return };
        if port.ready == Ready::default() {
            return;
        }
        match self.net.finish_connect(stream) {
            Io::Done(_) => {
                port.phase = Phase::Open;
                port.flags.set(Flags::WATCHES_WRITES, true);
                port.ready = port.ready.with(Ready::WRITABLE);
                self.event(token, Event::Open);
                // It may have closed: then what is left to be sent is not its business any more.
                if self.core.ports.get(token).is_some_and(|port| port.phase == Phase::Open) {
                    self.run_open_apart(token);
                }
            }
            Io::WouldBlock => port.ready = Ready::default(),
            Io::Fault(fault) => self.failed(token, Failure { op: Op::Connect, fault }),
            Io::Eof => self.failed(token, Failure { op: Op::Connect, fault: Fault::Reset }),
        }
    }

    /// [`run_open`](Self::run_open) for those who seldom call it.
    #[inline(never)]
    pub(super) fn run_open_apart(&mut self, token: Token) {
        self.run_open(token);
    }

    #[inline(always)]
    fn run_open(&mut self, token: Token) {
        self.flush_open(token);
        for turn in 0..=READS {
            let Some(port) = self.core.ports.get_mut(token) else { return };
            let open = matches!(port.phase, Phase::Open | Phase::ReadOnly);
            if !open || port.flags.hold_input() {
                return;
            }
            let show = port.flags.has(Flags::SHOW) && port.inbox.is_some();
            port.flags.set(Flags::SHOW, false);
            if !show && (!port.ready.has(Ready::READABLE) || port.flags.has(Flags::EOF)) {
                return;
            }
            if turn == READS && mutant::is(Mutant::LoseRequeueAfterReads) {
                return;
            }
            // Who wants what was kept shown again waits for its turn, as all others do.
            if turn == READS || show && turn > 0 {
                port.flags.set(Flags::SHOW, show);
                return self.core.enqueue(token);
            }
            match show {
                true => self.show_kept(token),
                false if port.tls.is_some() => self.read_tls(token),
                false => self.read(token),
            }
        }
    }

    /// Sends what waits; tells the session if that made room.
    #[inline]
    pub(super) fn flush_open(&mut self, token: Token) {
        let waits = |port: &Port<A::Reason>| port.outbox.is_some() || port.flags.has(Flags::HELD);
        if self.core.ports.get(token).is_some_and(waits) {
            self.flush_waiting(token);
        }
    }

    #[inline(never)]
    fn flush_waiting(&mut self, token: Token) {
        if let Err(fault) = self.flush(token) {
            return self.failed(token, Failure { op: Op::Write, fault });
        }
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let low = port.is_low(&self.core.settings) && !mutant::is(Mutant::ForgetDrained);
        if port.flags.has(Flags::HELD) && low {
            port.flags.set(Flags::HELD, false);
            port.flags.set(Flags::SHOW, true);
            self.core.counters.drained += 1;
            self.event(token, Event::Drained);
        }
    }

    #[inline(always)]
    fn read(&mut self, token: Token) {
        let index = token.index();
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if port.inbox.is_some() {
            return self.read_on(token);
        }
        let Some(Some(stream)) = self.streams.get_mut(index) else { return };
        let room = self.scratch.len();
        match self.net.read(stream, &mut self.scratch) {
            Io::Done(n) => {
                self.has_read(token, n, room);
                self.show_scratch(token, n);
            }
            other => self.read_nothing(token, other),
        }
    }

    /// What was kept is continued in its own buffer.
    #[inline(never)]
    fn read_on(&mut self, token: Token) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let Some(Some(stream)) = self.streams.get_mut(token.index()) else { return };
        let Some(mut buffer) = port.inbox.take() else { return };
        if buffer.spare_mut().is_empty() {
            match self.core.pool.grow(buffer) {
                Ok(larger) => buffer = larger,
                Err(full) => {
                    port.inbox = Some(full);
                    return self.read_past(token);
                }
            }
        }
        let room = buffer.spare_mut().len();
        match self.net.read(stream, buffer.spare_mut()) {
            Io::Done(n) => {
                buffer.filled(n);
                self.has_read(token, n, room);
                self.show_buffer(token, buffer);
            }
            other => {
                port.inbox = Some(buffer);
                self.read_nothing(token, other);
            }
        }
    }

    /// The largest buffer is full of what the session left. So much it may leave; a byte more is too much.
    fn read_past(&mut self, token: Token) {
        let Some(Some(stream)) = self.streams.get_mut(token.index()) else { return };
        match self.net.read(stream, &mut self.scratch) {
            Io::Done(_) => self.close_now(token, PortReason::InputOverflow.into(), CloseHow::Reset),
            other => self.read_nothing(token, other),
        }
    }

    /// So many bytes have come where there was room for so many.
    #[inline(always)]
    fn has_read(&mut self, token: Token, n: usize, room: usize) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let hinted = port.ready.has(Ready::HANGUP) && !mutant::is(Mutant::ShortReadDrainsDespiteHangup);
        if n < room && N::SHORT_READ_DRAINS && !hinted {
            port.ready.clear(Ready::READABLE);
        }
        self.core.counters.reads += 1;
        self.core.counters.bytes_in += n as u64;
    }

    #[inline(never)]
    fn read_nothing(&mut self, token: Token, outcome: Io) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        match outcome {
            Io::Done(_) => {}
            Io::WouldBlock => port.ready.clear(Ready::READABLE),
            // The write that found it took the fault away; the peer never said that this is all.
            Io::Eof if port.flags.has(Flags::RESET) => {
                self.failed(token, Failure { op: Op::Read, fault: Fault::Reset });
            }
            Io::Eof => {
                port.flags.set(Flags::EOF, true);
                port.ready.clear(Ready::READABLE);
                self.event(token, Event::Eof);
            }
            Io::Fault(fault) => self.failed(token, Failure { op: Op::Read, fault }),
        }
    }

    fn show_kept(&mut self, token: Token) {
        if let Some(buffer) = self.core.ports.get_mut(token).and_then(|port| port.inbox.take()) {
            self.core.counters.shown += 1;
            self.show_buffer(token, buffer);
        }
    }

    pub(super) fn show_buffer(&mut self, token: Token, mut buffer: Buffer) {
        let Some(Some(session)) = self.sessions.get_mut(token.index()) else {
            return self.core.pool.give(buffer);
        };
        let mut input = Input::new(buffer.bytes_mut());
        let mut cx = Cx { me: token, core: &mut self.core, host: &mut self.net };
        let step = session.on_data(&mut input, &mut self.app, &mut cx);
        let taken = input.taken();
        buffer.consume(taken);
        match self.core.ports.get_mut(token) {
            Some(port) if !buffer.is_empty() => {
                buffer.compact();
                port.inbox = Some(self.core.pool.fit(buffer, self.core.settings.partial_size));
            }
            _ => self.core.pool.give(buffer),
        }
        self.after_callback(token, step);
    }

    #[inline(always)]
    pub(super) fn show_scratch(&mut self, token: Token, n: usize) {
        let Some(Some(session)) = self.sessions.get_mut(token.index()) else { return };
        let shown = &mut self.scratch[..n];
        self.core.cork.shows(shown);
        let mut input = Input::new(shown);
        let mut cx = Cx { me: token, core: &mut self.core, host: &mut self.net };
        let step = session.on_data(&mut input, &mut self.app, &mut cx);
        let rest = input.bytes();
        if !rest.is_empty()
            && let Some(port) = self.core.ports.get_mut(token)
        {
            let mut buffer = self.core.pool.take(rest.len().max(self.core.settings.partial_size));
            buffer.append(rest);
            port.inbox = Some(buffer);
        }
        self.core.cork.has_shown(&mut self.scratch);
        self.after_callback(token, step);
    }

    /// Tells a session something, sends what it says, and does what it wants.
    pub(super) fn event(&mut self, token: Token, event: EventOf<A>) {
        let Some(Some(session)) = self.sessions.get_mut(token.index()) else { return };
        if self.core.ports.get(token).is_none_or(|port| !port.phase.has_session()) {
            return;
        }
        let mut cx = Cx { me: token, core: &mut self.core, host: &mut self.net };
        let step = session.on_event(event, &mut self.app, &mut cx);
        self.after_callback(token, step);
    }

    #[inline(always)]
    fn after_callback(&mut self, token: Token, step: StepOf<A>) {
        let last = matches!(step, Step::Close(Close::Graceful, _));
        if !self.core.cork.is_empty()
            && let Err(fault) = self.send_cork(token, last)
        {
            return match step {
                Step::Continue => self.failed(token, Failure { op: Op::Write, fault }),
                // As in `Flushing`: its last bytes were lost, and that is why it ends, not what the session thought.
                Step::Close(Close::Graceful, _) => {
                    self.close_now(token, PortReason::FlushFailed(fault).into(), CloseHow::Normal);
                }
                Step::Close(Close::Abort, reason) => self.close_now(token, reason, CloseHow::Reset),
                Step::Detach(how) => self.detach(token, how),
            };
        }
        match step {
            Step::Continue => {}
            Step::Close(close, reason) => self.close(token, close, reason),
            Step::Detach(how) => self.detach(token, how),
        }
    }

    /// What can no longer leave is thrown away, once the session has heard of it and could ask how much it is.
    fn drop_unsent(&mut self, token: Token) {
        if let Some(port) = self.core.ports.get_mut(token).filter(|port| port.phase == Phase::ReadOnly)
            && let Some(mut outbox) = port.outbox.take()
        {
            outbox.clear(&mut self.core.pool);
            self.keep_outbox(outbox);
        }
    }

    /// An operation failed while there is a session to ask.
    pub(super) fn failed(&mut self, token: Token, failure: Failure) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        self.core.counters.faults += 1;
        log::debug!(
            "{token} {}: {:?} failed in {:?}: {:?}",
            port.peer,
            failure.op,
            port.phase,
            failure.fault
        );
        let phase = port.phase;
        if failure.op == Op::Write {
            // Nothing more can leave; what comes is still read.
            port.phase = Phase::ReadOnly;
            port.flags.set(Flags::RESET, failure.fault == Fault::Reset);
            // What waited held the input back; no edge tells that it does not any more.
            self.core.enqueue(token);
        }
        self.event(token, Event::Failed(failure));
        self.drop_unsent(token);
        // What it said may have failed, too: that decides nothing.
        let undecided = |port: &Port<A::Reason>| port.phase == phase || port.phase == Phase::ReadOnly;
        let undecided = self.core.ports.get(token).is_some_and(undecided);
        if failure.op != Op::Write && undecided {
            self.close_now(token, PortReason::Failed(failure).into(), CloseHow::Normal);
        }
    }
}

const _: () = assert!(LARGEST == 64 << 10, "the scratch buffer is the largest class");
