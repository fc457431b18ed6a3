//! Closing, once, for every protocol: flush, FIN, linger, close.
//!
//! Lingering reads until the peer's FIN (or 2 s of silence, or 10 s in all) and puts no cap on the bytes: closing a socket with
//! unread bytes sends a reset, and a reset throws away what the peer has not read yet (RFC 9112, section 9.6).

use super::context::{App, AppCx, Close, Deadline, End, Event};
use super::mutant::{self, Mutant};
use super::net::{Net, Ready};
use super::outcome::{CloseHow, Failure, Io, Op, PortReason};
use super::port::{Flags, OnFailure, Phase};
use super::pump::READS;
use super::token::{Millis, Token};
use super::turn::Reactor;

impl<A: App, N: Net> Reactor<A, N> {
    /// Resets a connection, between turns. Nothing happens to a stale token.
    pub fn cut(&mut self, token: Token, reason: A::Reason) {
        self.catch_up();
        self.close_now(token, reason, CloseHow::Reset);
        self.deliver_births();
    }

    /// A session has said how and why its connection ends.
    pub(super) fn close(&mut self, token: Token, close: Close, reason: A::Reason) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        match (close, port.phase) {
            (Close::Graceful, Phase::Open) => {
                port.reason = Some(reason);
                port.phase = Phase::Flushing;
                (port.phase_at, port.total_at) = (Millis::NEVER, Millis::NEVER);
                if port.flags.has(Flags::EVICTABLE) {
                    port.flags.set(Flags::EVICTABLE, false);
                    self.core.idle.leave(token.index());
                }
                if let Some(inbox) = port.inbox.take() {
                    self.core.pool.give(inbox);
                }
                self.run_flushing(token);
            }
            (Close::Abort, _) => self.close_now(token, reason, CloseHow::Reset),
            (Close::Graceful, Phase::Detached | Phase::Connecting | Phase::Handshaking | Phase::ReadOnly) => {
                self.close_now(token, reason, CloseHow::Normal);
            }
            // It is ending already; the first reason stands.
            (Close::Graceful, Phase::Flushing | Phase::Lingering) => {}
        }
    }

    pub(super) fn run_flushing(&mut self, token: Token) {
        self.say_goodbye(token);
        match self.flush(token) {
            Ok(()) => {}
            Err(fault) => return self.ending_failed(token, Failure { op: Op::Write, fault }),
        }
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if port.outbox.is_some() {
            return;
        }
        port.phase = Phase::Lingering;
        if port.flags.has(Flags::EOF) || mutant::is(Mutant::NoLinger) {
            return self.free(token, CloseHow::Normal);
        }
        let settings = &self.core.settings;
        port.phase_at = self.core.now.after(settings.linger_silence);
        port.total_at = self.core.now.after(settings.linger_total);
        let Some(Some(stream)) = self.streams.get_mut(token.index()) else { return };
        match self.net.shutdown_write(stream) {
            Io::Fault(fault) => self.ending_failed(token, Failure { op: Op::Write, fault }),
            Io::Done(_) | Io::WouldBlock | Io::Eof => self.run_lingering(token),
        }
    }

    /// Reads and throws away.
    pub(super) fn run_lingering(&mut self, token: Token) {
        for _ in 0..READS {
            let Some(port) = self.core.ports.get_mut(token) else { return };
            if !port.ready.has(Ready::READABLE) {
                return;
            }
            let Some(Some(stream)) = self.streams.get_mut(token.index()) else { return };
            match self.net.read(stream, &mut self.scratch) {
                Io::Done(n) => {
                    if n < self.scratch.len() && N::SHORT_READ_DRAINS && !port.ready.has(Ready::HANGUP) {
                        port.ready.clear(Ready::READABLE);
                    }
                    port.phase_at = self.core.now.after(self.core.settings.linger_silence);
                    self.core.counters.lingered_bytes += n as u64;
                }
                Io::WouldBlock => port.ready.clear(Ready::READABLE),
                Io::Eof => return self.free(token, CloseHow::Normal),
                Io::Fault(fault) => return self.ending_failed(token, Failure { op: Op::Read, fault }),
            }
        }
        self.core.enqueue(token);
    }

    /// A deadline of a phase in which no session is left.
    pub(super) fn ending_timeout(&mut self, token: Token, phase: Phase, deadline: Deadline) {
        let reason = match (phase, deadline) {
            (Phase::Flushing, Deadline::Progress) => PortReason::FlushStalled,
            (Phase::Flushing, Deadline::Rate) => PortReason::FlushTooSlow,
            (Phase::Lingering, _) => return self.free(token, CloseHow::Normal),
            // Flushing sets no other deadline; the other phases have a session.
            (Phase::Flushing, Deadline::Phase | Deadline::Total)
            | (Phase::Detached | Phase::Connecting | Phase::Handshaking | Phase::Open | Phase::ReadOnly, _) =>
            {
                return;
            }
        };
        self.close_now(token, reason.into(), CloseHow::Reset);
    }

    fn ending_failed(&mut self, token: Token, failure: Failure) {
        let Some(port) = self.core.ports.get(token) else { return };
        match port.phase.on_failure(failure) {
            OnFailure::Replace(reason) => self.close_now(token, reason.into(), CloseHow::Normal),
            OnFailure::Keep => self.free(token, CloseHow::Normal),
            OnFailure::Ask | OnFailure::Never => {
                debug_assert!(false, "{:?} in {:?}", failure, port.phase);
                self.free(token, CloseHow::Normal);
            }
        }
    }

    /// Ends a connection at once, for this reason.
    pub(super) fn close_now(&mut self, token: Token, reason: A::Reason, how: CloseHow) {
        if let Some(port) = self.core.ports.get_mut(token) {
            port.reason = Some(reason);
            self.free(token, how);
        }
    }

    /// Frees the slot: stream, buffers, timer, place in the tables. The one way out.
    fn free(&mut self, token: Token, how: CloseHow) {
        let index = token.index();
        if self.core.ports.get(token).is_none() {
            return;
        }
        let Some(mut port) = self.core.ports.remove(index) else { return };
        match self.streams.get_mut(index).and_then(Option::take) {
            Some(stream) => self.net.close(stream, how),
            None => self.core.unmade.retain(|(unmade, _)| *unmade != token),
        }
        if let Some(inbox) = port.inbox.take()
            && !mutant::is(Mutant::KeepBuffer)
        {
            self.core.pool.give(inbox);
        }
        let unsent = port.outbox.as_ref().map_or(0, |outbox| outbox.len());
        if let Some(mut outbox) = port.outbox.take() {
            outbox.clear(&mut self.core.pool);
            self.keep_outbox(outbox);
        }
        if let Some(mut tls) = port.tls.take() {
            tls.clear(&mut self.core.pool);
        }
        if !mutant::is(Mutant::LeakTimer) {
            self.core.wheel.disarm(index);
        }
        self.core.idle.leave(index);
        if port.flags.has(Flags::COUNTED) {
            self.gauge.leave();
            self.resume_listeners();
        }
        self.core.counters.closed += 1 + u64::from(mutant::is(Mutant::CountCloseTwice));
        let reason = port.reason.unwrap_or_else(|| PortReason::Stopped.into());
        let end = End { token, peer: port.peer, phase: port.phase, reason, unsent };
        if let Some(session) = self.sessions.get_mut(index).and_then(Option::take) {
            let mut cx = AppCx { core: &mut self.core, host: &mut self.net, sessions: &self.sessions };
            self.app.on_close(session, end, &mut cx);
        }
    }

    /// Lets the stream go and keeps the session.
    pub(super) fn detach(&mut self, token: Token, how: CloseHow) {
        let index = token.index();
        let Some(port) = self.core.ports.get_mut(token) else { return };
        port.phase = Phase::Detached;
        port.ready = Ready::default();
        port.flags.set(Flags::EOF, false);
        port.flags.set(Flags::WATCHES_WRITES, false);
        let counted = port.flags.has(Flags::COUNTED);
        for gone in [Flags::PAUSED, Flags::HELD, Flags::STARTING, Flags::RESET, Flags::COUNTED] {
            port.flags.set(gone, false);
        }
        // It was the connection that could be let go, not the session that waits for another.
        if port.flags.has(Flags::EVICTABLE) {
            port.flags.set(Flags::EVICTABLE, false);
            self.core.idle.leave(index);
        }
        if let Some(inbox) = port.inbox.take() {
            self.core.pool.give(inbox);
        }
        if let Some(mut tls) = port.tls.take() {
            tls.clear(&mut self.core.pool);
        }
        if let Some(mut outbox) = port.outbox.take() {
            outbox.clear(&mut self.core.pool);
            self.keep_outbox(outbox);
        }
        match self.streams.get_mut(index).and_then(Option::take) {
            Some(stream) => self.net.close(stream, how),
            None => self.core.unmade.retain(|(unmade, _)| *unmade != token),
        }
        // What it does from now on is no connection that was accepted.
        if counted {
            self.gauge.leave();
            self.resume_listeners();
        }
    }

    /// Tells every session that the reactor drains, and closes the listeners. What is still there after `deadline` is reset.
    pub fn drain(&mut self, deadline: std::time::Duration) {
        self.catch_up();
        self.drain_until = Some(self.core.now.after(deadline));
        for index in 0..self.listeners.len() {
            self.remove_listener(super::token::ListenerId(index as u16));
        }
        self.core.draining = true;
        let tokens: Vec<Token> = self.core.ports.iter().map(|(token, _)| token).collect();
        for token in tokens {
            if let Some(port) = self.core.ports.get_mut(token)
                && !port.flags.has(Flags::DRAINING)
            {
                port.flags.set(Flags::DRAINING, true);
                self.event(token, Event::Drain);
                self.rearm(token);
            }
        }
        self.deliver_births();
    }

    /// Resets every connection, for good. One that lingers has said all, and why: its end is left as it is.
    pub(super) fn stop_all(&mut self) {
        self.core.over = true;
        let tokens: Vec<Token> = self.core.ports.iter().map(|(token, _)| token).collect();
        for token in tokens {
            match self.core.ports.get(token).is_some_and(|port| port.phase == Phase::Lingering) {
                true => self.free(token, CloseHow::Normal),
                false => self.close_now(token, PortReason::Stopped.into(), CloseHow::Reset),
            }
        }
    }
}
