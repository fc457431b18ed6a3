//! Accepting: how many, how often, and what to do when descriptors run out.
//!
//! 1. Never more than `max_connections` at once: at the limit the listener is left undrained, and resumed when a slot frees (or
//!    looked at again in 100 ms, for the slot may free in another reactor).
//! 2. Exhausted (`EMFILE` and the like): up to 16 of the connections idle longest are let go, and a timer tries again in 100 ms,
//!    since an edge-triggered listener gives no second edge. No spinning.
//! 3. Denied by the system: tried again in 100 ms, and nobody is let go.
//! 4. Before a listener closes it is accepted until `WouldBlock`.

use super::context::{Admit, App, AppCx, Event};
use super::mutant::{self, Mutant};
use super::net::{Accept, Net, Peer, Ready};
use super::outcome::{CloseHow, PortReason};
use super::port::{Flags, Phase, Port, Settings};
use super::tls::Tls;
use super::token::{ListenerId, Millis, Token};
use super::turn::Reactor;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Accepts per listener and turn.
const BATCH: usize = 64;
/// Idle connections let go when descriptors run out.
const EVICT: usize = 16;
/// When to try again then.
const RETRY: Duration = Duration::from_millis(100);

/// The number of accepted connections, shared by all reactors of a process that have one limit.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    /// How many there are.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(&self, max: usize) -> bool {
        let max = if mutant::is(Mutant::AcceptPastMaximum) { usize::MAX } else { max };
        let entered =
            self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < max).then_some(n + 1));
        entered.is_ok()
    }

    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A listener and what is known of it.
#[derive(Debug)]
pub(super) struct Listening<L> {
    listener: L,
    /// Connections may be waiting: an edge came and no `WouldBlock` yet.
    ready: bool,
    /// Waiting ones are left there until a slot frees.
    pub(super) full: bool,
    /// Not to be tried before.
    retry_at: Option<Millis>,
}

impl<A: App, N: Net> Reactor<A, N> {
    /// Accepts connections from this socket from now on.
    pub fn add_listener(&mut self, mut listener: N::Listener) -> io::Result<ListenerId> {
        let free = self.listeners.iter().position(Option::is_none).unwrap_or(self.listeners.len());
        let id = ListenerId(u16::try_from(free).map_err(|_| io::Error::other("more than 65,536 listeners"))?);
        self.net.watch_listener(&mut listener, Token::of_listener(id))?;
        let listening = Listening { listener, ready: true, full: false, retry_at: None };
        match free < self.listeners.len() {
            true => self.listeners[free] = Some(listening),
            false => self.listeners.push(Some(listening)),
        }
        Ok(id)
    }

    /// Accepts what waits, then stops listening. Its id may be given to a later listener.
    pub fn remove_listener(&mut self, id: ListenerId) {
        self.catch_up();
        let index = id.0 as usize;
        // The event of those who came just now may not have been seen yet, and a pause does not matter any more.
        if let Some(Some(listening)) = self.listeners.get_mut(index) {
            (listening.ready, listening.full, listening.retry_at) = (true, false, None);
        }
        while self.accept_from(index) {}
        if let Some(listening) = self.listeners.get_mut(index).and_then(Option::take) {
            self.net.close_listener(listening.listener);
        }
    }

    /// Other limits from now on: deadlines that follow from them move at once, and listeners that waited for a slot look again.
    pub fn set_settings(&mut self, settings: Settings) {
        self.catch_up();
        self.core.settings = settings;
        self.resume_listeners();
        let tokens: Vec<Token> = self.core.ports.iter().map(|(token, _)| token).collect();
        tokens.into_iter().for_each(|token| self.rearm(token));
    }

    /// The listeners that are open.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenerId, &N::Listener)> {
        let all = self.listeners.iter().enumerate();
        all.filter_map(|(i, listening)| Some((ListenerId(i as u16), &listening.as_ref()?.listener)))
    }

    pub(super) fn listener_ready(&mut self, id: ListenerId) {
        if let Some(Some(listening)) = self.listeners.get_mut(id.0 as usize) {
            listening.ready = true;
        }
    }

    /// A slot is free again: listeners that were left undrained may go on.
    pub(super) fn resume_listeners(&mut self) {
        for listening in self.listeners.iter_mut().flatten() {
            if listening.full && !mutant::is(Mutant::ForgetToResumeListeners) {
                (listening.full, listening.retry_at) = (false, None);
            }
        }
    }

    /// When an accept is to be tried: now, later, or not before an event.
    pub(super) fn next_accept(&self) -> Option<Millis> {
        let due = |l: &Listening<N::Listener>| {
            l.ready.then(|| l.retry_at.unwrap_or(self.core.now).max(self.core.now))
        };
        self.listeners.iter().flatten().filter_map(due).min()
    }

    pub(super) fn accept_all(&mut self) {
        self.newcomers = self.core.ports.next();
        for index in 0..self.listeners.len() {
            self.accept_from(index);
        }
    }

    /// Accepts up to a batch; true if more may be waiting. None once all connections were ended: nobody would end these.
    fn accept_from(&mut self, index: usize) -> bool {
        if self.core.over {
            return false;
        }
        for _ in 0..BATCH {
            let Some(Some(listening)) = self.listeners.get_mut(index) else { return false };
            if !listening.ready || listening.retry_at.is_some_and(|at| at > self.core.now) {
                return false;
            }
            (listening.full, listening.retry_at) = (false, None);
            if self.core.ports.len() >= Token::MAX_SLOTS
                || !self.gauge.enter(self.core.settings.max_connections)
            {
                // The slot that frees may be another reactor's, which cannot tell us: look again now and then.
                (listening.full, listening.retry_at) = (true, Some(self.core.now.after(RETRY)));
                self.core.counters.accept_full += 1;
                return false;
            }
            match self.net.accept(&mut listening.listener) {
                Accept::Conn(stream, peer) => self.admit(ListenerId(index as u16), stream, peer),
                Accept::WouldBlock => {
                    listening.ready = false;
                    self.gauge.leave();
                    return false;
                }
                Accept::Exhausted => {
                    listening.retry_at = Some(self.core.now.after(RETRY));
                    listening.ready = !mutant::is(Mutant::NoRetryWhenExhausted);
                    self.gauge.leave();
                    self.core.counters.accept_exhausted += 1;
                    self.evict(EVICT);
                    return false;
                }
                Accept::Denied => {
                    listening.retry_at = Some(self.core.now.after(RETRY));
                    self.gauge.leave();
                    self.core.counters.accept_denied += 1;
                    return false;
                }
                Accept::Skip => {
                    self.gauge.leave();
                    self.core.counters.accept_skipped += 1;
                }
            }
        }
        true
    }

    fn admit(&mut self, listener: ListenerId, mut stream: N::Stream, peer: Peer) {
        self.core.counters.accepted += 1;
        let mut cx = AppCx { core: &mut self.core, host: &mut self.net, sessions: &self.sessions };
        let (session, tls) = match self.app.admit(listener, &peer, &mut cx) {
            Admit::Serve(session) => (session, None),
            Admit::ServeTls(session, side) => (session, Some(Tls::new(side))),
            Admit::Refuse(how) => {
                self.core.counters.refused += 1;
                self.net.close(stream, how);
                self.gauge.leave();
                return self.deliver_births();
            }
        };
        let mut port = Port::new(peer, Some(listener), Phase::Open);
        port.flags.set(Flags::COUNTED, true);
        let token = self.core.ports.insert(port);
        let watched = self.net.watch(&mut stream, token);
        self.place(token, Some(session), Some(stream));
        match (watched, tls) {
            (Ok(()), None) => self.event(token, Event::Open),
            (Ok(()), Some(tls)) => self.begin_tls(token, tls),
            (Err(error), _) => {
                log::warn!("{peer}: cannot be watched: {error}");
                self.close_now(token, PortReason::Unwatchable.into(), CloseHow::Reset);
            }
        }
        self.rearm(token);
        self.deliver_births();
    }

    /// Lets go of up to `most` connections that have been idle longest; says how many. None to whom something is still sent, or who has
    /// just been accepted: what it asks may be there and has not been looked for.
    pub fn evict(&mut self, most: usize) -> usize {
        let mut evicted = 0;
        for _ in 0..self.core.idle.len() {
            let Some(index) = self.core.idle.longest().filter(|_| evicted < most) else { break };
            self.core.idle.leave(index);
            let Some(token) = self.core.ports.token_at(index) else { continue };
            let Some(port) = self.core.ports.get_mut(token) else { continue };
            // Bytes that came meanwhile make it busy: closing now would reset a request on its way. If they mean nothing, it is idle still.
            if !port.is_idle() || port.ready.has(Ready::READABLE) || token >= self.newcomers {
                self.core.idle.join(index);
            } else {
                port.flags.set(Flags::EVICTABLE, false);
                self.close_now(token, PortReason::Evicted.into(), CloseHow::Normal);
                self.core.counters.evicted += 1;
                evicted += 1;
            }
        }
        self.deliver_births();
        evicted
    }
}
