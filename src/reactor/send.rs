//! What a session said, on its way to the kernel: straight from the cork, or from the outbox, where what was refused waits.

use super::context::{App, Core};
use super::mutant::{self, Mutant};
use super::net::{Net, Ready};
use super::outbox::{Cork, MAX_SLICES, Outbox};
use super::outcome::{CloseHow, Fault, Io, PortReason};
use super::port::{Flags, Phase};
use super::secure::seal_front;
use super::token::{Millis, Token};
use super::turn::Reactor;
use std::io::IoSlice;

/// Bytes out per port and turn.
const OUT: u64 = 1 << 20;
/// Outboxes kept for the next connection that needs one.
const SPARE_OUTBOXES: usize = 64;

impl<A: App, N: Net> Reactor<A, N> {
    /// Sends the cork. The common case is here: plain bytes on a port where nothing waits, all of them taken.
    #[inline(always)]
    pub(super) fn send_cork(&mut self, token: Token, last: bool) -> Result<(), Fault> {
        let core = &mut self.core;
        let Some(port) = core.ports.get_mut(token) else {
            core.cork.clear();
            return Ok(());
        };
        let direct = port.takes_at_once() && port.tls.is_none();
        let stream = self.streams.get_mut(token.index()).and_then(Option::as_mut).filter(|_| direct);
        let Some((stream, bytes)) = stream.zip(core.cork.plain(&self.scratch)) else {
            return self.send_slowly(token, last, None);
        };
        match self.net.write(stream, &[IoSlice::new(bytes)], false) {
            Io::Done(sent) if sent == bytes.len() => {
                core.counters.writes += 1;
                core.counters.bytes_out += sent as u64;
                core.cork.clear();
                if port.flags.has(Flags::HELD) {
                    core.enqueue(token);
                }
                Ok(())
            }
            other => self.send_slowly(token, last, Some(other)),
        }
    }

    /// Sends straight from the cork, unless that was `tried`; what the kernel refuses waits in the outbox. Under TLS all of it does, to
    /// be sealed there; the `last` of it until it can be sealed together with our goodbye.
    #[inline(never)]
    fn send_slowly(&mut self, token: Token, last: bool, tried: Option<Io>) -> Result<(), Fault> {
        let core = &mut self.core;
        let Some(port) = core.ports.get_mut(token).filter(|port| port.phase.takes_output()) else {
            core.cork.clear();
            return Ok(());
        };
        let direct = port.takes_at_once();
        let mut sent = 0;
        if direct
            && port.tls.is_none()
            && let Some(Some(stream)) = self.streams.get_mut(token.index())
        {
            let tried =
                tried.unwrap_or_else(|| write_pieces(&mut self.net, stream, &core.cork, &self.scratch));
            match tried {
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
        let now = self.core.now;
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
                if !seal_front(&mut self.net, tls, outbox, &mut self.scratch, pool, last, now)? {
                    break;
                }
            }
            let Some(sent) = send_front(&mut self.net, stream, outbox, budget, now) else { break };
            match sent {
                Io::Done(n) if n > 0 => {
                    outbox.advance(n as u64, &mut self.core.pool);
                    outbox.note_taken(n as u64, allotment, now);
                    budget = budget.saturating_sub(n as u64);
                    self.core.counters.writes += 1;
                    self.core.counters.bytes_out += n as u64;
                }
                Io::Done(_) | Io::WouldBlock | Io::Eof => {
                    port.ready.clear(Ready::WRITABLE);
                    outbox.note_refused(now);
                    // It is the peer that is waited for now, with what is sealed already.
                    outbox.fetch.forget();
                }
                Io::Fault(fault) => return Err(fault),
            }
        }
        let waits_for_disk = outbox.fetch.waits();
        if waits_for_disk && port.ready.has(Ready::WRITABLE) {
            self.core.counters.disk_waits += u64::from(outbox.fetch.began(now));
            port.ready.clear(Ready::WRITABLE);
            outbox.excuse(now);
        }
        if !waits_for_disk && !port.ready.has(Ready::WRITABLE) && !port.flags.has(Flags::WATCHES_WRITES) {
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

    pub(super) fn keep_outbox(&mut self, mut outbox: Box<Outbox>) {
        outbox.trim();
        if self.core.spare_outboxes.len() < SPARE_OUTBOXES {
            self.core.spare_outboxes.push(outbox);
        }
    }
}

/// One system call's worth of a cork that is in pieces: all of it, but for what stands behind a file.
#[inline(never)]
fn write_pieces<N: Net>(net: &mut N, stream: &mut N::Stream, cork: &Cork, shown: &[u8]) -> Io {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    match cork.gather(shown, &mut slices) {
        // A file stands first.
        (0, _) => Io::Done(0),
        (n, more) => net.write(stream, &slices[..n], more),
    }
}

/// One system call's worth of an outbox. `None`: of a file that is not at hand.
fn send_front<N: Net>(
    net: &mut N,
    stream: &mut N::Stream,
    outbox: &mut Outbox,
    budget: u64,
    now: Millis,
) -> Option<Io> {
    if let Some((file, range)) = outbox.front_file() {
        return match outbox.fetch.at_hand(net, &file, &range, now) {
            Ok(0) => None,
            Ok(most) => Some(net.send_file(stream, &file, range.start, most.min(budget))),
            Err(fault) => Some(Io::Fault(fault)),
        };
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
    Some(net.write(stream, &slices[..fit], more || fit < n))
}
