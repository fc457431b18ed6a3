//! Ports that speak TLS: the handshake as a phase, reading through the filter, sealing what waits, and parting.
//!
//! 1. A session sees plaintext and the same events as without TLS. `Open` comes when TLS is agreed; what fails before that is told
//!    as `Failed` at `Op::Handshake`, a handshake that takes too long as `TimedOut`.
//! 2. Something other than TLS is told as `NotTls`, and the port is plain from then on: the session may answer so, and close.
//! 3. Other breaches leave a port on which nothing is said any more but our alert: a graceful close delivers that.
//! 4. An end of file without `close_notify` is a fault, `Truncated`, never `Eof`: what came may be cut short (RFC 8446, section 6.1).
//! 5. Flights of handshakes answered in a turn are bounded by [`FLIGHTS`], so that a storm of them does not starve who is connected.

use super::buffer::{Buffer, BufferPool, LARGEST};
use super::context::{App, Birth, Core, Cx, Event};
use super::net::{Host, Net, Ready};
use super::outbox::Outbox;
use super::outcome::{CloseHow, Failure, Fault, Io, Op, PortReason, TlsFault};
use super::port::{Flags, Phase};
use super::pump::READS;
use super::tls::{Due, RECORD, Tls, TlsInfo, TlsSide};
use super::token::{Millis, Token};
use super::turn::Reactor;

/// Flights of handshakes answered in a turn. A full handshake takes two, 150 to 800 microseconds in all.
pub(super) const FLIGHTS: u32 = 16;

impl<A: App> Cx<'_, A> {
    /// Begins TLS after this call; what it writes still goes out in plaintext, and what it leaves unread is taken for the
    /// beginning of TLS. Reading is on from then. [`Event::Open`] (once more) says that TLS is agreed, [`Event::Failed`] at
    /// [`Op::Handshake`] that it is not. Only on an open connection without TLS; elsewhere nothing happens.
    pub fn start_tls(&mut self, side: TlsSide) {
        let Some(port) = self.core.ports.get_mut(self.me) else { return };
        if port.phase == Phase::Open && port.tls.is_none() {
            port.flags.set(Flags::STARTING, true);
            port.flags.set(Flags::PAUSED, false);
            self.core.births.push(Birth::StartTls(self.me, Tls::new(side)));
        }
    }

    /// What was agreed, if this connection speaks TLS and the handshake is done.
    pub fn tls(&self) -> Option<TlsInfo<'_>> {
        self.port()?.tls.as_ref()?.info()
    }
}

impl<A: App, N: Net> Reactor<A, N> {
    /// Makes an open port speak TLS. Whoever calls it arms its timer.
    pub(super) fn begin_tls(&mut self, token: Token, tls: Result<Box<Tls>, Fault>) {
        let deadline = self.core.now.after(self.core.settings.handshake_timeout);
        let Some(port) = self.core.ports.get_mut(token) else { return };
        port.flags.set(Flags::STARTING, false);
        if port.phase != Phase::Open || port.tls.is_some() {
            // What was said before has failed, or a close came after: what comes is read as it would have been.
            return self.core.enqueue(token);
        }
        port.flags.set(Flags::SHOW, false);
        port.phase = Phase::Handshaking;
        if let Some(outbox) = &mut port.outbox {
            outbox.seal_as_it_is();
        }
        match tls {
            Ok(mut tls) => {
                tls.deadline = deadline;
                port.tls = Some(tls);
            }
            Err(fault) => return self.handshake_failed(token, fault),
        }
        // What is there already, and, for a client, the first flight.
        let mut len = 0;
        if let Some(inbox) = port.inbox.take() {
            len = inbox.len().min(self.scratch.len() - RECORD);
            self.scratch[RECORD..RECORD + len].copy_from_slice(&inbox.bytes()[..len]);
            let whole = len == inbox.len();
            self.core.pool.give(inbox);
            if !whole {
                return self.handshake_failed(token, Fault::Tls(TlsFault::Protocol));
            }
        }
        self.opened(token, len);
        if self.core.ports.get(token).is_some_and(|port| {
            port.outbox.is_some() || port.inbox.is_some() || port.ready.has(Ready::READABLE)
        }) {
            self.core.enqueue(token);
        }
    }

    pub(super) fn run_handshaking(&mut self, token: Token) {
        for _ in 0..READS {
            let Some(port) = self.core.ports.get_mut(token) else { return };
            match port.phase {
                Phase::Handshaking => {}
                Phase::Open => return self.run_open_apart(token),
                Phase::Detached
                | Phase::Connecting
                | Phase::ReadOnly
                | Phase::Flushing
                | Phase::Lingering => return,
            }
            if let Err(fault) = self.flush(token) {
                return self.handshake_failed(token, fault);
            }
            let Some(port) = self.core.ports.get_mut(token) else { return };
            // What the session has said already waits for the end of the handshake: that must not wait for it.
            let is_high =
                |outbox: &Outbox| outbox.has_sealed() && outbox.memory() >= self.core.settings.high_water;
            if !port.ready.has(Ready::READABLE) || port.outbox.as_deref().is_some_and(is_high) {
                return;
            }
            if self.core.flights_left == 0 {
                self.core.counters.handshakes_deferred += 1;
                return self.core.enqueue(token);
            }
            self.read_tls(token);
        }
        self.core.enqueue(token);
    }

    /// Reads records, opens them, and shows what was in them.
    pub(super) fn read_tls(&mut self, token: Token) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let Some(Some(stream)) = self.streams.get_mut(token.index()) else { return };
        let Some(tls) = &mut port.tls else { return };
        if let Some(due) = tls.due {
            return self.come_due(token, due);
        }
        // Plaintext is shorter than its ciphertext, so no more is read than the session's buffer can still take; but always so
        // much that the record at hand can become whole.
        let kept = tls.kept();
        let unread = port.inbox.as_ref().map_or(0, |inbox| inbox.len());
        let fits = LARGEST.saturating_sub(unread + kept).max(tls.missing());
        let room = &mut self.scratch[RECORD + kept..];
        let want = fits.min(room.len());
        if want == 0 {
            return self.come_due(token, Due::Fault(TlsFault::Protocol));
        }
        match self.net.read(stream, &mut room[..want]) {
            Io::Done(n) => {
                if n < want && N::SHORT_READ_DRAINS && !port.ready.has(Ready::HANGUP) {
                    port.ready.clear(Ready::READABLE);
                }
                self.core.counters.reads += 1;
                self.core.counters.bytes_in += n as u64;
                tls.restore(&mut self.scratch[RECORD..], &mut self.core.pool);
                self.opened(token, kept + n);
            }
            Io::WouldBlock => port.ready.clear(Ready::READABLE),
            Io::Eof => {
                port.flags.set(Flags::EOF, true);
                port.ready.clear(Ready::READABLE);
                self.come_due(token, Due::Fault(TlsFault::Truncated));
            }
            Io::Fault(fault) => match port.phase {
                Phase::Handshaking => self.handshake_failed(token, fault),
                Phase::Detached
                | Phase::Connecting
                | Phase::Open
                | Phase::ReadOnly
                | Phase::Flushing
                | Phase::Lingering => self.failed(token, Failure { op: Op::Read, fault }),
            },
        }
    }

    /// Opens `len` bytes that stand in the scratch buffer behind the room for one record.
    fn opened(&mut self, token: Token, len: usize) {
        let Core { ports, pool, spare_outboxes, now, counters, flights_left, settings, .. } = &mut self.core;
        let Some(port) = ports.get_mut(token) else { return };
        let Some(tls) = &mut port.tls else { return };
        let mut out = Vec::new();
        let plain = tls.open(&mut self.scratch[..RECORD + len], &mut out, pool);
        let agreed = port.phase == Phase::Handshaking && tls.is_up();
        if let Some(due) = tls.due {
            if matches!(due, Due::Fault(_)) {
                // Nothing may follow our alert, not even answers to what stood before the fault.
                tls.kill();
            }
            // It is told when all before it was shown; until then it counts as something to be read.
            port.ready = port.ready.with(Ready::READABLE);
        }
        if !out.is_empty() && port.phase != Phase::ReadOnly {
            *flights_left = flights_left.saturating_sub(u32::from(port.phase == Phase::Handshaking));
            let outbox = Core::<A>::outbox(port, spare_outboxes, *now);
            for piece in out.chunks(LARGEST) {
                let mut buffer = pool.take(piece.len());
                buffer.append(piece);
                outbox.push_sealed(buffer);
            }
            if outbox.memory() >= settings.high_water {
                port.flags.set(Flags::HELD, true);
            }
        }
        // Whoever runs a handshake flushes anyway.
        let queue = !out.is_empty() && port.phase == Phase::Open;
        if agreed {
            port.phase = Phase::Open;
            counters.handshakes += 1;
        }
        if queue {
            self.core.enqueue(token);
        }
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if plain == 0 {
            if agreed {
                self.event(token, Event::Open);
            }
            return;
        }
        if let Some(mut inbox) = port.inbox.take() {
            while inbox.spare_mut().len() < plain {
                match self.core.pool.grow(inbox) {
                    Ok(larger) => inbox = larger,
                    Err(full) => return self.show_overfull(token, full, plain),
                }
            }
            inbox.append(&self.scratch[..plain]);
            return self.show_buffer(token, inbox);
        }
        if agreed {
            // The session hears that it is open before it sees anything.
            let mut inbox = self.core.pool.take(plain);
            inbox.append(&self.scratch[..plain]);
            port.inbox = Some(inbox);
            port.flags.set(Flags::SHOW, true);
            return self.event(token, Event::Open);
        }
        self.show_scratch(token, plain);
    }

    /// More was opened than the session's buffer can still take: it is shown what fits, and then the rest with what it left.
    #[cold]
    fn show_overfull(&mut self, token: Token, mut full: Buffer, plain: usize) {
        let fits = full.append(&self.scratch[..plain]);
        let rest = self.scratch[fits..plain].to_vec();
        self.show_buffer(token, full);
        let Core { ports, pool, .. } = &mut self.core;
        let Some(port) = ports.get_mut(token).filter(|port| port.phase.has_session() && port.tls.is_some())
        else {
            return;
        };
        let mut inbox = match port.inbox.take() {
            Some(left) if left.len() + rest.len() > LARGEST => {
                pool.give(left);
                return self.close_now(token, PortReason::InputOverflow.into(), CloseHow::Reset);
            }
            Some(left) => {
                let mut inbox = pool.take(left.len() + rest.len());
                inbox.append(left.bytes());
                pool.give(left);
                inbox
            }
            None => pool.take(rest.len()),
        };
        inbox.append(&rest);
        port.inbox = Some(inbox);
        port.flags.set(Flags::SHOW, true);
        self.core.enqueue(token);
    }

    /// Tells what stood behind the last bytes that were shown.
    fn come_due(&mut self, token: Token, due: Due) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if due == Due::Eof {
            port.ready.clear(Ready::READABLE);
            port.flags.set(Flags::EOF, true);
        }
        match (due, port.phase) {
            (Due::Fault(fault), Phase::Handshaking) => self.handshake_failed(token, Fault::Tls(fault)),
            (Due::Eof, Phase::Handshaking) => {
                self.handshake_failed(token, Fault::Tls(TlsFault::Truncated));
            }
            (
                Due::Fault(fault),
                Phase::Open
                | Phase::ReadOnly
                | Phase::Detached
                | Phase::Connecting
                | Phase::Flushing
                | Phase::Lingering,
            ) => {
                // Our alert goes out before the session is asked: it may reset.
                if self.flush(token).is_ok() {
                    self.break_tls(token);
                }
                self.failed(token, Failure { op: Op::Read, fault: Fault::Tls(fault) });
            }
            (
                Due::Eof,
                Phase::Open
                | Phase::ReadOnly
                | Phase::Detached
                | Phase::Connecting
                | Phase::Flushing
                | Phase::Lingering,
            ) => self.event(token, Event::Eof),
        }
    }

    /// The handshake came to nothing.
    pub(super) fn handshake_failed(&mut self, token: Token, fault: Fault) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if let Some(mut tls) = port.tls.take_if(|_| fault == Fault::Tls(TlsFault::NotTls)) {
            tls.clear(&mut self.core.pool);
        }
        if matches!(fault, Fault::Tls(_)) {
            port.phase = Phase::Open;
            // Our alert, if there is one. Whether it arrives is of no further interest.
            let _ = self.flush(token);
        }
        self.break_tls(token);
        self.failed(token, Failure { op: Op::Handshake, fault });
    }

    /// Nothing more is sealed: what waits for that is thrown away.
    fn break_tls(&mut self, token: Token) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        let Some(tls) = &mut port.tls else { return };
        tls.kill();
        if let Some(outbox) = &mut port.outbox {
            outbox.drop_plain(&mut self.core.pool);
            if outbox.is_empty()
                && let Some(outbox) = port.outbox.take()
            {
                self.keep_outbox(outbox);
            }
        }
    }

    /// A handshake that should be over has failed.
    pub(super) fn check_handshake(&mut self, token: Token) {
        let Some(port) = self.core.ports.get_mut(token) else { return };
        if let Some(tls) = &mut port.tls
            && tls.deadline <= self.core.now
        {
            tls.deadline = Millis::NEVER;
            self.core.counters.timeouts += 1;
            self.handshake_failed(token, Fault::TimedOut);
        }
    }

    /// Puts our `close_notify` behind the last bytes, if they are sealed already; otherwise it is sealed with the last of them.
    pub(super) fn say_goodbye(&mut self, token: Token) {
        let Core { ports, pool, spare_outboxes, now, .. } = &mut self.core;
        let Some(port) = ports.get_mut(token) else { return };
        if port.outbox.as_ref().is_some_and(|outbox| outbox.has_plain()) {
            return;
        }
        if let Some(tls) = &mut port.tls
            && let Some(goodbye) = tls.goodbye(pool)
        {
            Core::<A>::outbox(port, spare_outboxes, *now).push_sealed(goodbye);
        }
    }
}

/// Seals the next chunk of what waits and puts it in front; behind the `last` of it, our `close_notify`. False if nothing can be
/// sealed now.
pub(super) fn seal_front(
    host: &mut impl Host,
    tls: &mut Tls,
    outbox: &mut Outbox,
    scratch: &mut [u8],
    pool: &mut BufferPool,
    last: bool,
    now: Millis,
) -> Result<bool, Fault> {
    if tls.is_dead() {
        outbox.drop_plain(pool);
    }
    if !tls.is_up() {
        return Ok(false);
    }
    let chunk = tls.chunk();
    let sealed = match outbox.front_bytes(chunk) {
        Some(bytes) => tls.seal(bytes, pool).map(|buffer| (bytes.len(), buffer)),
        None => {
            let (mut n, file) = outbox.copy_front(&mut scratch[..chunk]);
            if let Some((file, range)) = file {
                let read = match outbox.fetch.at_hand(host, &file, &range, now) {
                    Ok(0) => Io::WouldBlock,
                    Ok(at_hand) => {
                        let most = usize::try_from(at_hand).unwrap_or(chunk).min(chunk - n);
                        host.read_file(&file, range.start, &mut scratch[n..n + most])
                    }
                    Err(fault) => Io::Fault(fault),
                };
                match read {
                    Io::Done(read) => n += read,
                    // What stands before it is sent first.
                    Io::Eof | Io::WouldBlock | Io::Fault(_) if n > 0 => {}
                    Io::WouldBlock => return Ok(false),
                    Io::Eof => return Err(Fault::Truncated),
                    Io::Fault(fault) => return Err(fault),
                }
            }
            tls.seal(&scratch[..n], pool).map(|buffer| (n, buffer))
        }
    };
    let Some((taken, buffer)) = sealed else { return Err(Fault::Tls(TlsFault::Protocol)) };
    outbox.advance(taken as u64, pool);
    outbox.push_sealed(buffer);
    if last
        && !outbox.has_plain()
        && let Some(goodbye) = tls.goodbye(pool)
    {
        outbox.push_sealed(goodbye);
    }
    Ok(true)
}
