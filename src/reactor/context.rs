//! What a protocol machine is, and all that it may do.
//!
//! A [`Session`] gets bytes or an [`Event`], its [`App`], and a [`Cx`]; it writes into the cork and returns a [`Step`]. It cannot reach a
//! socket or another session. Nothing re-enters: notes and births are queued and done after it has returned.

use super::buffer::BufferPool;
use super::handle::HandleSlot;
use super::idle::IdleList;
use super::input::Input;
use super::later::Later;
use super::mutant::{self, Mutant};
use super::net::{Host, Peer, Ready, Target};
use super::outbox::{Cork, Outbox, Part};
use super::outcome::{CloseHow, Failure, Fault, PortReason};
use super::port::{Flags, Phase, Port, Settings};
use super::table::Table;
use super::tls::{Tls, TlsSide};
use super::token::{ListenerId, Millis, Token};
use super::wheel::Wheel;
use std::collections::VecDeque;
use std::time::Duration;

/// The program around the sessions: one value per worker. It owns what they share.
pub trait App: Sized {
    /// The protocol machines.
    type Session: Session<App = Self>;
    /// Words from one session to another of the same reactor.
    type Note;
    /// Words from other threads, through a [`Handle`](super::Handle).
    type Message: Send + 'static;
    /// Why connections end. The reactor itself names no protocol, so its own reasons are converted.
    type Reason: Copy + From<PortReason>;

    /// Decides on a connection that was just accepted.
    fn admit(&mut self, listener: ListenerId, peer: &Peer, cx: &mut AppCx<'_, Self>) -> Admit<Self::Session>;
    /// A message from another thread.
    fn on_message(&mut self, message: Self::Message, cx: &mut AppCx<'_, Self>);
    /// A connection has ended, for this reason. Called exactly once per session, last; not when the reactor itself is dropped.
    fn on_close(&mut self, session: Self::Session, end: End<Self::Reason>, cx: &mut AppCx<'_, Self>);
    /// A turn is over.
    fn on_turn(&mut self, cx: &mut AppCx<'_, Self>) {
        let _ = cx;
    }
}

/// A protocol machine for one connection. Stored inline: keep it small.
///
/// A call that panics leaves the reactor in the middle of its turn, and it must not be used any more: catch at the call whatever may
/// panic, where one connection is not to end all of them.
pub trait Session: Sized {
    /// The program it belongs to.
    type App: App<Session = Self>;

    /// Bytes have come, or what was left unread is shown again. What is not taken is kept, and shown again with more.
    fn on_data(
        &mut self,
        input: &mut Input<'_>,
        app: &mut Self::App,
        cx: &mut Cx<'_, Self::App>,
    ) -> StepOf<Self::App>;
    /// Something other than bytes has come.
    fn on_event(
        &mut self,
        event: EventOf<Self::App>,
        app: &mut Self::App,
        cx: &mut Cx<'_, Self::App>,
    ) -> StepOf<Self::App>;
}

/// The [`Step`] of an application.
pub type StepOf<A> = Step<<A as App>::Reason>;
/// The [`Event`] of an application.
pub type EventOf<A> = Event<<A as App>::Note>;

/// What becomes of an accepted connection.
#[derive(Debug)]
pub enum Admit<S> {
    /// It is served by this session.
    Serve(S),
    /// It is served by this session once TLS is agreed: [`Event::Open`] comes then, or [`Event::Failed`] at [`Op::Handshake`](super::Op).
    ServeTls(S, TlsSide),
    /// It is closed at once. The session never existed, so `on_close` is not called.
    Refuse(CloseHow),
}

/// What happens to a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<N> {
    /// The connection stands: accepted, connected, TLS agreed. Until then a session may hear of a failure, a `Drain`, time or notes.
    Open,
    /// The peer will send no more; every byte before has been shown. Writing may go on. Told once.
    Eof,
    /// Output had been above high water and is below low water now.
    Drained,
    /// A deadline has passed; it is no longer set.
    Timeout(Deadline),
    /// An operation failed. After [`Step::Continue`] on a failed write, reading goes on and output is thrown away; after
    /// [`Step::Continue`] on any other failure the port is closed with [`PortReason::Failed`].
    Failed(Failure),
    /// The reactor drains: finish what is under way, begin nothing.
    Drain,
    /// Words from another session (or from oneself).
    Note(Token, N),
}

impl<N> Event<N> {
    /// The event with its note in a protocol's own words, where a session speaks several; none if `own` says that the note is for another
    /// of them, which the connection spoke before.
    pub fn map_note<M>(self, own: impl FnOnce(N) -> Option<M>) -> Option<Event<M>> {
        Some(match self {
            Event::Open => Event::Open,
            Event::Eof => Event::Eof,
            Event::Drained => Event::Drained,
            Event::Timeout(deadline) => Event::Timeout(deadline),
            Event::Failed(failure) => Event::Failed(failure),
            Event::Drain => Event::Drain,
            Event::Note(from, note) => Event::Note(from, own(note)?),
        })
    }
}

/// What comes to a session that it did not ask for, and that each protocol has a table for: that of its states and these, in a file
/// called `fault.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hit {
    /// [`Event::Eof`].
    Eof,
    /// [`Event::Timeout`].
    Timeout(Deadline),
    /// [`Event::Failed`].
    Failed(Failure),
    /// [`Event::Drain`].
    Drain,
}

/// What a deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Deadline {
    /// The session's state must end: [`Cx::set_deadline`].
    Phase,
    /// The session's exchange must end: [`Cx::set_deadline`].
    Total,
    /// The peer took no byte for [`Settings::write_timeout`].
    Progress,
    /// The peer took less than [`Settings::send_rate`] over [`Settings::send_window`].
    Rate,
}

impl Deadline {
    /// Every deadline.
    pub const ALL: [Deadline; 4] = [Deadline::Phase, Deadline::Total, Deadline::Progress, Deadline::Rate];
}

/// Which of the two deadlines that a session sets for itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Timer {
    /// The end of a state.
    Phase,
    /// The end of an exchange.
    Total,
}

/// What a session wants next.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<R> {
    /// Go on.
    Continue,
    /// End the connection, for this reason.
    Close(Close, R),
    /// Let the stream go, but keep the session: it has no stream until it calls [`Cx::attach`].
    Detach(CloseHow),
}

/// How to end a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Close {
    /// Send what waits, then FIN, then read until the peer is done.
    Graceful,
    /// Reset.
    Abort,
}

/// How much output waits on a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pressure {
    /// Go on writing.
    Low,
    /// Stop; [`Event::Drained`] will come.
    High,
    /// There is no such port any more, or it can no longer be written to.
    Gone,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End<R> {
    /// Its name, stale from now on.
    pub token: Token,
    /// Who it was.
    pub peer: Peer,
    /// In which phase the port was.
    pub phase: Phase,
    /// Why it ended.
    pub reason: R,
    /// Bytes of its output, files included, that the kernel did not take.
    pub unsent: u64,
}

/// A session that was asked for and is not in the tables yet.
pub(super) enum Birth<A: App> {
    Spawn(Token, A::Session),
    Connect(Token, A::Session, Target),
    Attach(Token, Target),
    StartTls(Token, Result<Box<Tls>, Fault>),
}

/// The part of a reactor that does not depend on which world it runs in.
pub(super) struct Core<A: App> {
    pub ports: Table<Port<A::Reason>>,
    pub wheel: Wheel,
    pub idle: IdleList,
    pub pool: BufferPool,
    pub cork: Cork,
    pub notes: VecDeque<(Token, Token, A::Note)>,
    pub births: Vec<Birth<A>>,
    /// Connects that failed at once, to be told when their ports are run.
    pub unmade: Vec<(Token, Fault)>,
    pub run_queue: VecDeque<Token>,
    pub later: Later,
    /// Flights of handshakes that may still be answered in this turn.
    pub flights_left: u32,
    #[allow(clippy::vec_box)] // a port holds its outbox by a box that comes from here and goes back
    pub spare_outboxes: Vec<Box<Outbox>>,
    /// Bytes that sessions hold outside their slots, as they say.
    pub sessions_hold: usize,
    pub now: Millis,
    pub draining: bool,
    /// All were ended: no session comes to life any more, or there would be no end.
    pub over: bool,
    pub settings: Settings,
    pub counters: super::turn::Counters,
    pub handle: HandleSlot<A::Message>,
}

impl<A: App> Core<A> {
    /// Queues a port to be run, once.
    pub fn enqueue(&mut self, token: Token) {
        if let Some(port) = self.ports.get_mut(token)
            && !port.flags.has(Flags::QUEUED)
        {
            port.flags.set(Flags::QUEUED, true);
            self.run_queue.push_back(token);
        }
    }

    /// The outbox of a port that has none waiting, made ready for output.
    #[allow(clippy::vec_box)]
    pub fn outbox<'a>(
        port: &'a mut Port<A::Reason>,
        spare: &mut Vec<Box<Outbox>>,
        now: Millis,
    ) -> &'a mut Outbox {
        let outbox = port.outbox.get_or_insert_with(|| spare.pop().unwrap_or_default());
        if outbox.is_empty() {
            outbox.begin_measure(now, !port.ready.has(Ready::WRITABLE));
        }
        outbox
    }
}

/// What a session may do, for as long as it is being called.
pub struct Cx<'a, A: App> {
    pub(super) me: Token,
    pub(super) core: &'a mut Core<A>,
    pub(super) host: &'a mut dyn Host,
}

impl<A: App> Cx<'_, A> {
    /// The name of this connection.
    pub fn me(&self) -> Token {
        self.me
    }

    /// The monotonic clock, read once a turn.
    pub fn now(&self) -> Millis {
        self.core.now
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.port().map_or(Peer::UNIX, |port| port.peer)
    }

    /// Through which listener it came; none if we connected.
    pub fn listener(&self) -> Option<ListenerId> {
        self.port().and_then(|port| port.listener)
    }

    /// The reactor is draining.
    pub fn draining(&self) -> bool {
        self.core.draining
    }

    /// Files, the calendar, randomness.
    pub fn host(&mut self) -> &mut dyn Host {
        self.host
    }

    /// Sends a copy of these bytes. All of a call's output leaves in as few system calls as it fits in. More than
    /// [`Settings::hard_cap`] that the peer does not take at once ends the connection with [`PortReason::OutboxOverflow`]: whoever has
    /// much to say asks [`pressure`](Self::pressure) between pieces. Without a stream what is said is thrown away.
    pub fn write(&mut self, bytes: &[u8]) {
        self.core.cork.bytes_mut().extend_from_slice(bytes);
    }

    /// Sends what `compose` appends to the buffer; it must not shorten it.
    pub fn compose<T>(&mut self, compose: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        compose(self.core.cork.bytes_mut())
    }

    /// Sends a piece without copying it. Panics if it is a range of shared bytes that are not there.
    pub fn write_part(&mut self, part: Part) {
        self.core.cork.push(part);
    }

    /// How much waits to be sent here, this call's output included. Whoever is told [`Pressure::High`] will be told
    /// [`Event::Drained`], even if all of it leaves at once.
    pub fn pressure(&mut self) -> Pressure {
        let Core { cork, settings, ports, .. } = &mut *self.core;
        let Some(port) = ports.get_mut(self.me) else { return Pressure::Gone };
        if port.phase == Phase::ReadOnly {
            return Pressure::Gone;
        }
        let held = port.flags.has(Flags::HELD) || cork.has_file() || port.is_high(settings);
        if !held && port.backlog() + cork.memory() < settings.high_water {
            return Pressure::Low;
        }
        port.flags.set(Flags::HELD, true);
        Pressure::High
    }

    /// The cork and the world, for machines that compose output with both at hand.
    pub fn output(&mut self) -> (&mut Cork, &mut dyn Host) {
        (&mut self.core.cork, self.host)
    }

    /// Stops or resumes reading. On resuming, what was kept is shown again, and nothing that came meanwhile is lost. Until then the
    /// end of the peer is not noticed either, unless something is sent: set a deadline.
    pub fn set_reading(&mut self, on: bool) {
        let me = self.me;
        let Some(port) = self.core.ports.get_mut(me) else { return };
        if port.flags.has(Flags::PAUSED) != on {
            return;
        }
        port.flags.set(Flags::PAUSED, !on);
        if on {
            port.flags.set(Flags::SHOW, true);
            if !mutant::is(Mutant::ForgetReadinessOnResume) {
                self.core.enqueue(me);
            }
        }
    }

    /// Shows what was kept again, later in this turn or in the next, even if nothing new comes.
    pub fn show_again(&mut self) {
        if let Some(port) = self.core.ports.get_mut(self.me) {
            port.flags.set(Flags::SHOW, true);
        }
        self.core.enqueue(self.me);
    }

    /// Sets a deadline, or moves it.
    pub fn set_deadline(&mut self, which: Timer, after: Duration) {
        self.set_deadline_at(which, self.core.now.after(after));
    }

    /// Sets a deadline at a point of the clock; [`Millis::NEVER`] takes it away.
    pub fn set_deadline_at(&mut self, which: Timer, at: Millis) {
        if let Some(port) = self.core.ports.get_mut(self.me) {
            match which {
                Timer::Phase => port.phase_at = at,
                Timer::Total => port.total_at = at,
            }
        }
    }

    /// Sets both deadlines at once.
    pub fn set_deadlines(&mut self, phase: Millis, total: Millis) {
        if let Some(port) = self.core.ports.get_mut(self.me) {
            (port.phase_at, port.total_at) = (phase, total);
        }
    }

    /// Takes a deadline away.
    pub fn clear_deadline(&mut self, which: Timer) {
        self.set_deadline_at(which, Millis::NEVER);
    }

    /// Joins or leaves the connections that may be let go first when memory or descriptors run short.
    pub fn set_evictable(&mut self, on: bool) {
        let index = self.me.index();
        let Some(port) = self.core.ports.get_mut(self.me) else { return };
        if on {
            port.flags.set(Flags::EVICTABLE, true);
            self.core.idle.join(index);
        } else if port.flags.has(Flags::EVICTABLE) {
            port.flags.set(Flags::EVICTABLE, false);
            self.core.idle.leave(index);
        }
    }

    /// Sends words to a session of this reactor, after this call. To a stale token they vanish.
    pub fn notify(&mut self, to: Token, note: A::Note) {
        self.core.notes.push_back((to, self.me, note));
    }

    pub(super) fn port(&self) -> Option<&Port<A::Reason>> {
        self.core.ports.get(self.me)
    }
}

/// What an [`App`] may do.
pub struct AppCx<'a, A: App> {
    pub(super) core: &'a mut Core<A>,
    pub(super) host: &'a mut dyn Host,
    pub(super) sessions: &'a [Option<A::Session>],
}

impl<A: App> AppCx<'_, A> {
    /// The monotonic clock, read once a turn.
    pub fn now(&self) -> Millis {
        self.core.now
    }

    /// Files, the calendar, randomness.
    pub fn host(&mut self) -> &mut dyn Host {
        self.host
    }

    /// How many connections and detached sessions there are.
    pub fn connections(&self) -> usize {
        self.core.ports.len()
    }

    /// The reactor is draining.
    pub fn draining(&self) -> bool {
        self.core.draining
    }

    /// Sends words to a session, after this call. To a stale token they vanish. They come from the receiver itself.
    pub fn notify(&mut self, to: Token, note: A::Note) {
        self.core.notes.push_back((to, to, note));
    }

    /// Post messages to this reactor from other threads.
    pub fn handle(&self) -> super::Handle<A::Message> {
        self.core.handle.handle()
    }

    /// Timers that are armed.
    pub fn timers(&self) -> usize {
        self.core.wheel.len()
    }

    /// Bytes held in buffers for connections.
    pub fn buffers_held(&self) -> usize {
        self.core.pool.held()
    }

    /// The reactor's own counters.
    pub fn counters(&self) -> &super::turn::Counters {
        &self.core.counters
    }
}
