//! Moving bytes for one port. All I/O of a connection is here and in `ending.rs`.
//!
//! A run flushes what waits, then reads and shows what came, and writes what the session says straight from the cork. It ends when
//! the port would block, is held back, or has used its budget; then it goes to the back of the queue. Progress: a run that is
//! queued again has moved a byte, cleared a bit, shown something, or changed the phase.

use super::buffer::{Buffer, LARGEST};
use super::context::{App, Close, Core, Cx, Event, EventOf, Session, Step, StepOf};
use super::input::Input;
use super::mutant::{self, Mutant};
use super::net::{Net, Ready};
use super::outbox::{Cork, MAX_SLICES, Outbox};
use super::outcome::{CloseHow, Failure, Fault, Io, Op, PortReason};
use super::port::{Flags, Phase, Port};
use super::secure::seal_front;
use super::token::Token;
use super::turn::Reactor;
use std::io::IoSlice;

/// Reads per port and turn.
pub(super) const READS: usize = 4;
/// Bytes out per port and turn.
const OUT: u64 = 1 << 20;
/// Outboxes kept for the next connection that needs one.
const SPARE_OUTBOXES: usize = 64;
/// Runs without progress after which a connection is ended.
const STUCK: u8 = 3;

impl<A: App, N: Net> Reactor<A, N> {
    /// Runs a port that was taken from the queue.
    pub(super) fn run_port(&mut self, token: Token) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        port.flags.set(Flags::QUEUED, false);
        let before = (self.core.counters.moved(), port.ready, port.phase);
        match port.phase {
            Phase::Detached => {}
            Phase::Handshaking => self.run_handshaking(token),
            Phase::Connecting => self.run_connecting(token),
            Phase::Open | Phase::ReadOnly => self.run_open(token),
            Phase::Flushing => self.run_flushing(token),
            Phase::Lingering => self.run_lingering(token),
        }
        self.rearm(token);
        self.deliver_births();
        self.check_progress(token, before);
    }

    /// A run that queued itself again and moved nothing is a defect: the third in a row ends the connection.
    fn check_progress(&mut self, token: Token, before: (u64, Ready, Phase)) {
        let moved = self.core.counters.moved();
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if !port.flags.has(Flags::QUEUED) || before != (moved, port.ready, port.phase) {
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
                self.run_open(token);
            }
            Io::WouldBlock => port.ready = Ready::default(),
            Io::Fault(fault) => self.failed(token, Failure { op: Op::Connect, fault }),
            Io::Eof => self.failed(token, Failure { op: Op::Connect, fault: Fault::Reset }),
        }
    }

    pub(super) fn run_open(&mut self, token: Token) {
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
            if turn == READS {
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
    pub(super) fn flush_open(&mut self, token: Token) {
        let waits = |port: &Port<A::Reason>| port.outbox.is_some() || port.flags.has(Flags::HELD);
        if !self.core.ports.get(token).is_some_and(waits) {
            return;
        }
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

    fn read(&mut self, token: Token) {
        let index = token.index();
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let Some(Some(stream)) = self.streams.get_mut(index) else { return };
        // What was kept is continued in its own buffer; otherwise all connections share one.
        let mut kept = port.inbox.take();
        if let Some(buffer) = kept.take_if(|buffer| buffer.spare_mut().is_empty()) {
            match self.core.pool.grow(buffer) {
                Ok(larger) => kept = Some(larger),
                Err(full) => {
                    self.core.pool.give(full);
                    return self.close_now(token, PortReason::InputOverflow.into(), CloseHow::Reset);
                }
            }
        }
        let room: &mut [u8] = match &mut kept {
            Some(buffer) => buffer.spare_mut(),
            None => &mut self.scratch,
        };
        let room_len = room.len();
        match self.net.read(stream, room) {
            Io::Done(n) => {
                let hinted =
                    port.ready.has(Ready::HANGUP) && !mutant::is(Mutant::ShortReadDrainsDespiteHangup);
                if n < room_len && N::SHORT_READ_DRAINS && !hinted {
                    port.ready.clear(Ready::READABLE);
                }
                self.core.counters.reads += 1;
                self.core.counters.bytes_in += n as u64;
                match kept {
                    Some(mut buffer) => {
                        buffer.filled(n);
                        self.show_buffer(token, buffer);
                    }
                    None => self.show_scratch(token, n),
                }
            }
            Io::WouldBlock => {
                port.ready.clear(Ready::READABLE);
                port.inbox = kept;
            }
            Io::Eof => {
                port.flags.set(Flags::EOF, true);
                port.ready.clear(Ready::READABLE);
                port.inbox = kept;
                self.event(token, Event::Eof);
            }
            Io::Fault(fault) => {
                port.inbox = kept;
                self.failed(token, Failure { op: Op::Read, fault });
            }
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
                port.inbox = Some(buffer);
            }
            _ => self.core.pool.give(buffer),
        }
        self.after_callback(token, step);
    }

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

    /// Sends straight from the cork; what the kernel refuses waits in the outbox. Under TLS all of it does, to be sealed there; the
    /// `last` of it until it can be sealed together with our goodbye.
    fn send_cork(&mut self, token: Token, last: bool) -> Result<(), Fault> {
        let core = &mut self.core;
        let Some(port) = core.ports.get_mut(token) else {
            core.cork.clear();
            return Ok(());
        };
        let direct = match port.phase {
            Phase::Open => port.outbox.is_none() && port.ready.has(Ready::WRITABLE),
            Phase::Connecting | Phase::Handshaking => false,
            Phase::Detached | Phase::ReadOnly | Phase::Flushing | Phase::Lingering => {
                core.cork.clear();
                return Ok(());
            }
        };
        let mut sent = 0;
        if direct
            && port.tls.is_none()
            && let Some(Some(stream)) = self.streams.get_mut(token.index())
        {
            match write_cork(&mut self.net, stream, &core.cork, &self.scratch) {
                Io::Done(n) => sent = n,
                Io::WouldBlock => port.ready.clear(Ready::WRITABLE),
                Io::Fault(fault) => {
                    core.cork.clear();
                    return Err(fault);
                }
                Io::Eof => {}
            }
            core.counters.writes += 1;
            core.counters.bytes_out += sent as u64;
            if core.cork.plain(&self.scratch).is_some_and(|bytes| bytes.len() == sent) {
                core.cork.clear();
                if port.flags.has(Flags::HELD) {
                    core.enqueue(token);
                }
                return Ok(());
            }
        }
        if mutant::is(Mutant::DropRestOfCork) && sent > 0 {
            core.cork.clear();
        }
        if mutant::is(Mutant::SendCorkTwice) {
            sent = 0;
        }
        let outbox = Core::<A>::outbox(port, &mut core.spare_outboxes, core.now);
        core.cork.spill(sent, &self.scratch, outbox, &mut core.pool);
        if outbox.memory() > core.settings.hard_cap {
            self.close_now(token, PortReason::OutboxOverflow.into(), CloseHow::Reset);
            return Ok(());
        }
        match direct {
            // `close` flushes at once.
            true if last && port.tls.is_some() => return Ok(()),
            true => self.flush(token)?,
            // Otherwise the edge that is owed queues it.
            false if port.ready.has(Ready::WRITABLE) => core.enqueue(token),
            false => {}
        }
        let Some(port) = self.core.ports.get_mut(token) else { return Ok(()) };
        if port.is_high(&self.core.settings) {
            port.flags.set(Flags::HELD, true);
        } else if port.flags.has(Flags::HELD) && port.is_low(&self.core.settings) {
            self.core.enqueue(token);
        }
        Ok(())
    }

    /// Sends what waits, as far as the peer and the budget allow.
    pub(super) fn flush(&mut self, token: Token) -> Result<(), Fault> {
        let Some(port) = self.core.ports.get_mut(token) else { return Ok(()) };
        let Some(outbox) = port.outbox.as_mut() else { return Ok(()) };
        let Some(Some(stream)) = self.streams.get_mut(token.index()) else { return Ok(()) };
        let allotment = self.core.settings.allotment();
        let mut budget = OUT;
        let mut more_to_do = false;
        while !outbox.is_empty() && port.ready.has(Ready::WRITABLE) {
            if budget == 0 {
                more_to_do = true;
                break;
            }
            if let Some(tls) = &mut port.tls
                && !outbox.has_sealed()
            {
                let last = port.phase == Phase::Flushing;
                let pool = &mut self.core.pool;
                if !seal_front(&mut self.net, tls, outbox, &mut self.scratch, pool, last)? {
                    break;
                }
            }
            match send_front(&mut self.net, stream, outbox, budget) {
                Io::Done(n) if n > 0 => {
                    outbox.advance(n as u64, &mut self.core.pool);
                    outbox.note_taken(n as u64, allotment, self.core.now);
                    budget = budget.saturating_sub(n as u64);
                    self.core.counters.writes += 1;
                    self.core.counters.bytes_out += n as u64;
                }
                Io::Done(_) | Io::WouldBlock | Io::Eof => {
                    port.ready.clear(Ready::WRITABLE);
                    outbox.note_refused(self.core.now);
                }
                Io::Fault(fault) => return Err(fault),
            }
        }
        if !port.ready.has(Ready::WRITABLE) && !port.flags.has(Flags::WATCHES_WRITES) {
            port.flags.set(Flags::WATCHES_WRITES, true);
            if !mutant::is(Mutant::NeverWatchWrites)
                && let Err(error) = self.net.watch_writes(stream, token)
            {
                log::warn!("{}: writes cannot be watched: {error}", port.peer);
                return Err(Fault::from(&error));
            }
        }
        if outbox.is_empty()
            && let Some(outbox) = port.outbox.take()
        {
            self.keep_outbox(outbox);
        } else if more_to_do && !mutant::is(Mutant::LoseRequeueAfterWrites) {
            self.core.enqueue(token);
        }
        Ok(())
    }

    pub(super) fn keep_outbox(&mut self, outbox: Box<Outbox>) {
        if self.core.spare_outboxes.len() < SPARE_OUTBOXES {
            self.core.spare_outboxes.push(outbox);
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
            if let Some(mut outbox) = port.outbox.take() {
                outbox.clear(&mut self.core.pool);
                self.keep_outbox(outbox);
            }
        }
        self.event(token, Event::Failed(failure));
        let undecided = self.core.ports.get(token).is_some_and(|port| port.phase == phase);
        if failure.op != Op::Write && undecided && phase != Phase::Detached {
            self.close_now(token, PortReason::Failed(failure).into(), CloseHow::Normal);
        }
    }
}

/// One system call's worth of the cork: all of it, but for what stands behind a file.
fn write_cork<N: Net>(net: &mut N, stream: &mut N::Stream, cork: &Cork, shown: &[u8]) -> Io {
    if let Some(bytes) = cork.plain(shown) {
        return net.write(stream, &[IoSlice::new(bytes)], false);
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    match cork.gather(shown, &mut slices) {
        // A file stands first.
        (0, _) => Io::Done(0),
        (n, more) => net.write(stream, &slices[..n], more),
    }
}

/// One system call's worth of an outbox.
fn send_front<N: Net>(net: &mut N, stream: &mut N::Stream, outbox: &Outbox, budget: u64) -> Io {
    if let Some((file, range)) = outbox.front_file() {
        return net.send_file(stream, &file, range.start, (range.end - range.start).min(budget));
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let (n, more) = outbox.gather(&mut slices);
    // At least one piece, and none that begins behind the budget.
    let mut left = budget;
    let fits = slices[..n].iter().take_while(|slice| {
        let begins_within = left > 0;
        left = left.saturating_sub(slice.len() as u64);
        begins_within
    });
    let fit = fits.count();
    net.write(stream, &slices[..fit], more || fit < n)
}

const _: () = assert!(LARGEST == 64 << 10, "the scratch buffer is the largest class");
