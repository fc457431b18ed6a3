//! The reactor and one turn of it.

use super::accept::{Gauge, Listening};
use super::buffer::{BufferPool, LARGEST};
use super::context::{App, AppCx, Core, Deadline, Event};
use super::handle::{Command, Handle, HandleSlot};
use super::idle::IdleList;
use super::later::Later;
use super::mutant::{self, Mutant};
use super::net::{Net, Ready};
use super::outbox::Cork;
use super::patience::{stalled, too_slow};
use super::port::{Flags, Phase, Settings};
use super::secure::FLIGHTS;
use super::table::Table;
use super::token::{Millis, Token};
use super::wheel::Wheel;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// Plain counts since the reactor began, one writer, read between turns.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // proof: the names are the documentation; `server` exports each with its help text
pub struct Counters {
    pub turns: u64,
    pub events: u64,
    pub stale_events: u64,
    pub accepted: u64,
    pub refused: u64,
    pub accept_full: u64,
    pub accept_exhausted: u64,
    pub accept_denied: u64,
    pub accept_skipped: u64,
    pub evicted: u64,
    pub closed: u64,
    pub reads: u64,
    pub writes: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub lingered_bytes: u64,
    pub shown: u64,
    pub drained: u64,
    pub faults: u64,
    pub timeouts: u64,
    pub notes: u64,
    pub stale_notes: u64,
    pub no_progress: u64,
    pub disk_waits: u64,
    pub handshakes: u64,
    pub handshakes_deferred: u64,
}

impl Counters {
    /// Changes whenever something moves.
    pub(super) fn moved(&self) -> u64 {
        let work =
            self.shown + self.drained + self.closed + self.notes + self.timeouts + self.handshakes_deferred;
        self.bytes_in + self.bytes_out + self.lingered_bytes + work
    }
}

/// When the reactor wants to run again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// At once: something is left to do.
    Now,
    /// After this long, or when it is readable (it is [`AsFd`](std::os::fd::AsFd)).
    After(Duration),
    /// When it is readable.
    Idle,
    /// Never: it was drained or stopped, and no connection is left.
    Finished,
}

/// A readiness reactor: connections in a slab, one wheel, one scratch buffer, and the program `A` in the world `N`.
pub struct Reactor<A: App, N: Net> {
    pub(super) app: A,
    pub(super) net: N,
    pub(super) core: Core<A>,
    pub(super) sessions: Vec<Option<A::Session>>,
    pub(super) streams: Vec<Option<N::Stream>>,
    pub(super) listeners: Vec<Option<Listening<N::Listener>>>,
    pub(super) gauge: Gauge,
    pub(super) scratch: Box<[u8]>,
    pub(super) drain_until: Option<Millis>,
    /// Before the names of those that came in this turn, or after the last: nothing that they say has been looked for yet.
    pub(super) newcomers: Token,
    events: Vec<(Token, Ready)>,
    fired: Vec<usize>,
    stopped: bool,
}

impl<A: App, N: Net> Reactor<A, N> {
    /// A reactor without connections.
    pub fn new(app: A, net: N, settings: Settings) -> Reactor<A, N> {
        Reactor::with_gauge(app, net, settings, Gauge::default())
    }

    /// A reactor that shares its connection limit with others.
    pub fn with_gauge(app: A, net: N, settings: Settings, gauge: Gauge) -> Reactor<A, N> {
        let now = net.now();
        let core = Core {
            ports: Table::default(),
            wheel: Wheel::new(now),
            idle: IdleList::default(),
            pool: BufferPool::default(),
            cork: Cork::default(),
            notes: VecDeque::new(),
            births: Vec::new(),
            unmade: Vec::new(),
            run_queue: VecDeque::new(),
            later: Later::default(),
            flights_left: FLIGHTS,
            spare_outboxes: Vec::new(),
            sessions_hold: 0,
            now,
            draining: false,
            over: false,
            settings,
            counters: Counters::default(),
            handle: HandleSlot::new(net.waker()),
        };
        Reactor {
            app,
            net,
            core,
            sessions: Vec::new(),
            streams: Vec::new(),
            listeners: Vec::new(),
            gauge,
            scratch: vec![0; LARGEST].into_boxed_slice(),
            drain_until: None,
            newcomers: Token::new(0, 0),
            events: Vec::new(),
            fired: Vec::new(),
            stopped: false,
        }
    }

    /// Waits for at most `max_wait` (`None`: for as long as it takes), and does what is to be done. See the module page for the order.
    pub fn turn(&mut self, max_wait: Option<Duration>) -> io::Result<Turn> {
        // The wait counts from when the clock was last read; since then the program around us may have taken time for itself.
        let most = max_wait.map(|max| match max.is_zero() {
            true => max,
            false => max.saturating_add(self.net.clock().since(self.net.now())),
        });
        let wait = match self.wish(self.core.now, self.net.now()) {
            Turn::Finished => return Ok(Turn::Finished),
            Turn::Now => Some(Duration::ZERO),
            Turn::After(due) => Some(most.map_or(due, |most| most.min(due))),
            Turn::Idle => most,
        };
        self.net.wait(wait, &mut self.events)?;
        self.core.now = self.net.now();
        self.core.counters.turns += 1;
        self.core.flights_left = FLIGHTS;
        self.core.show_due();
        self.take_events();
        self.take_commands();
        self.accept_all();
        self.run_queued();
        self.deliver_notes();
        self.fire_timers();
        self.run_queued();
        self.shrink();
        let mut cx = AppCx { core: &mut self.core, host: &mut self.net, sessions: &self.sessions };
        self.app.on_turn(&mut cx);
        self.deliver_births();
        Ok(self.wish(self.core.now, self.core.now))
    }

    /// Turns until drained or stopped.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? != Turn::Finished {}
        Ok(())
    }

    /// When it wants to run again, as of now.
    pub fn next(&self) -> Turn {
        let now = self.net.clock().max(self.core.now);
        self.wish(now, now)
    }

    /// The clock between turns: what a program sets or asks for then counts from when it does.
    pub(super) fn catch_up(&mut self) {
        self.core.now = self.core.now.max(self.net.clock());
    }

    /// When it wants to run again if it is `now`, counted from `since`.
    fn wish(&self, now: Millis, since: Millis) -> Turn {
        if self.stopped || self.core.draining && self.core.ports.is_empty() {
            return Turn::Finished;
        }
        let core = &self.core;
        if !core.run_queue.is_empty() || !core.notes.is_empty() || core.handle.waiting() {
            return Turn::Now;
        }
        let wakes = [core.wheel.next_wake(), core.later.due(), self.next_accept(), self.drain_until];
        match wakes.into_iter().flatten().min() {
            Some(at) if at <= now => Turn::Now,
            Some(at) => Turn::After(at.since(since)),
            None => Turn::Idle,
        }
    }

    /// Speaks to this reactor from other threads.
    pub fn handle(&self) -> Handle<A::Message> {
        self.core.handle.handle()
    }

    /// The program.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The program, between turns.
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// Lets the program speak to its sessions, between turns.
    pub fn with_app<T>(&mut self, f: impl FnOnce(&mut A, &mut AppCx<'_, A>) -> T) -> T {
        self.catch_up();
        let mut cx = AppCx { core: &mut self.core, host: &mut self.net, sessions: &self.sessions };
        let out = f(&mut self.app, &mut cx);
        self.deliver_births();
        out
    }

    /// The world.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// The world, between turns.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.net
    }

    /// The limits, to be changed between turns; new ones hold from the next operation on.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.core.settings
    }

    /// The clock, as it was last read: in the last turn, or by a call since.
    pub fn now(&self) -> Millis {
        self.core.now
    }

    /// Plain counts.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// How many connections and detached sessions there are.
    pub fn connections(&self) -> usize {
        self.core.ports.len()
    }

    /// It was told to drain.
    pub fn draining(&self) -> bool {
        self.core.draining
    }

    /// The session of a connection.
    pub fn session(&self, token: Token) -> Option<&A::Session> {
        self.core.ports.get(token)?;
        self.sessions.get(token.index())?.as_ref()
    }

    fn take_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for (token, ready) in events.drain(..) {
            self.core.counters.events += 1;
            let token = self.maybe_stale(token, Mutant::DeliverStaleEvent);
            if let Some(listener) = token.listener() {
                self.listener_ready(listener);
            } else if let Some(port) = self.core.ports.get_mut(token) {
                port.ready = port.ready.with(ready);
                self.core.enqueue(token);
            } else {
                self.core.counters.stale_events += 1;
            }
        }
        self.events = events;
    }

    fn take_commands(&mut self) {
        for command in self.core.handle.take() {
            match command {
                Command::Message(message) => {
                    let mut cx =
                        AppCx { core: &mut self.core, host: &mut self.net, sessions: &self.sessions };
                    self.app.on_message(message, &mut cx);
                    self.deliver_births();
                }
                Command::Drain(deadline) => self.drain(deadline),
                Command::Stop => {
                    self.stop_all();
                    self.stopped = true;
                }
            }
        }
        if self.drain_until.is_some_and(|at| at <= self.core.now) {
            self.drain_until = None;
            self.stop_all();
        }
    }

    /// Runs what is in the queue now; what is queued meanwhile, or would take too much memory, waits for the next pass.
    fn run_queued(&mut self) {
        let enough = self.core.held().saturating_add(self.core.settings.turn_growth);
        for _ in 0..self.core.run_queue.len() {
            if self.core.held() > enough {
                return;
            }
            if let Some(token) = self.core.run_queue.pop_front() {
                self.run_port(token);
            }
        }
    }

    fn deliver_notes(&mut self) {
        for _ in 0..self.core.notes.len() {
            let Some((to, from, note)) = self.core.notes.pop_front() else { return };
            self.core.counters.notes += 1;
            let to = self.maybe_stale(to, Mutant::DeliverStaleNote);
            match self.core.ports.get(to) {
                Some(port) if port.phase.has_session() => {
                    self.event(to, Event::Note(from, note));
                    self.rearm(to);
                    self.deliver_births();
                }
                _ => self.core.counters.stale_notes += 1,
            }
        }
    }

    /// The token, but for a mutant that takes a slot's index for a name.
    fn maybe_stale(&self, token: Token, mutant: Mutant) -> Token {
        match mutant::is(mutant) {
            true => self.core.ports.token_at(token.index()).unwrap_or(token),
            false => token,
        }
    }

    fn fire_timers(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        self.core.wheel.advance(self.core.now, &mut fired);
        for index in fired.drain(..) {
            if let Some(token) = self.core.ports.token_at(index) {
                self.check_deadlines(token);
                self.rearm(token);
                self.deliver_births();
            }
        }
        self.fired = fired;
    }

    /// Tells a port of each of its deadlines that has passed.
    fn check_deadlines(&mut self, token: Token) {
        self.check_handshake(token);
        self.ask_kernel_again(token);
        for deadline in Deadline::ALL {
            let now = self.core.now;
            let Some(port) = self.core.ports.get_mut(token) else { return };
            let due = match deadline {
                Deadline::Phase => passed(&mut port.phase_at, now),
                Deadline::Total => passed(&mut port.total_at, now),
                Deadline::Progress => stalled(port, &self.core.settings, now),
                Deadline::Rate => too_slow(port, &self.core.settings, now),
            };
            if !due {
                continue;
            }
            let phase = port.phase;
            // One without a stream only looks after itself.
            self.core.counters.timeouts += u64::from(phase != Phase::Detached);
            match phase.has_session() {
                true => self.event(token, Event::Timeout(deadline)),
                false => self.ending_timeout(token, phase, deadline),
            }
        }
    }

    /// Keeps the promise of the wheel: armed no later than the nearest deadline. Moved lazily: a deadline that moved away costs nothing.
    pub(super) fn rearm(&mut self, token: Token) {
        let Some(port) = self.core.ports.get(token) else { return };
        let nearest = port.nearest(&self.core.settings);
        let armed = self.core.wheel.armed_at(token.index()).is_some();
        if armed && mutant::is(Mutant::IgnoreEarlierDeadline) {
            return;
        }
        if nearest != Millis::NEVER && !self.core.wheel.fires_by(token.index(), nearest) {
            self.core.wheel.arm(token.index(), nearest);
        }
    }

    /// Fills a slot of the parallel tables.
    pub(super) fn place(&mut self, token: Token, session: Option<A::Session>, stream: Option<N::Stream>) {
        let index = token.index();
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
            self.streams.resize_with(index + 1, || None);
        }
        self.sessions[index] = session;
        self.streams[index] = stream;
    }

    /// Gives memory back when far fewer connections are left than there were.
    fn shrink(&mut self) {
        if let Some(slots) = self.core.ports.shrink() {
            self.sessions.truncate(slots);
            self.sessions.shrink_to_fit();
            self.streams.truncate(slots);
            self.streams.shrink_to_fit();
            self.core.wheel.shrink(slots);
            self.core.idle.shrink(slots);
            self.core.run_queue.shrink_to(slots);
            self.core.notes.shrink_to(slots);
            self.events.shrink_to(slots.max(64));
        }
    }

    /// The reactor's invariants, for tests and simulators: call it between turns.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        let core = &self.core;
        assert!(core.cork.is_empty(), "the cork is empty between turns");
        assert!(core.births.is_empty(), "no birth is left over");
        let mut counted = 0;
        for (token, port) in core.ports.iter() {
            let index = token.index();
            assert!(self.sessions[index].is_some(), "{token}: a slot in use has a session");
            let unmade = core.unmade.iter().filter(|(unmade, _)| *unmade == token).count();
            assert!(unmade == 0 || unmade == 1 && port.phase == Phase::Connecting, "{token}: told once");
            assert_eq!(
                self.streams[index].is_some(),
                port.phase != Phase::Detached && unmade == 0,
                "{token}: streams follow phases"
            );
            let nearest = port.nearest(&core.settings);
            assert!(
                nearest == Millis::NEVER || core.wheel.fires_by(index, nearest),
                "{token}: armed in time"
            );
            assert!(
                port.inbox.as_ref().is_none_or(|inbox| !inbox.is_empty()),
                "{token}: no empty buffer is held"
            );
            assert!(
                port.outbox.as_ref().is_none_or(|outbox| !outbox.is_empty()),
                "{token}: no empty outbox is held"
            );
            assert_eq!(
                port.flags.has(Flags::QUEUED),
                core.run_queue.contains(&token),
                "{token}: queued once"
            );
            assert_eq!(port.flags.has(Flags::LATER), core.later.holds(token), "{token}: shown later once");
            let waits = port.outbox.is_some() && port.ready.has(Ready::WRITABLE) && port.phase == Phase::Open;
            assert!(!waits || port.flags.has(Flags::QUEUED), "{token}: what can be sent is queued");
            let open = matches!(port.phase, Phase::Open | Phase::ReadOnly);
            let comes = port.ready.has(Ready::READABLE) && !port.flags.has(Flags::EOF)
                || port.flags.has(Flags::SHOW) && port.inbox.is_some();
            let free = port.flags.has(Flags::HELD) && port.is_low(&core.settings);
            let due = open && (free || comes && !port.flags.hold_input())
                || port.phase == Phase::Lingering && port.ready.has(Ready::READABLE);
            assert!(!due || port.flags.has(Flags::QUEUED), "{token}: what is to be read, or told, is queued");
            assert!(port.phase.has_session() || port.reason.is_some(), "{token}: an end has a reason");
            counted += usize::from(port.flags.has(Flags::COUNTED));
        }
        assert!(counted <= self.gauge.get(), "each accepted connection is counted");
        if core.ports.is_empty() {
            assert!(core.wheel.is_empty() && core.idle.is_empty(), "no timer outlives its connection");
            assert_eq!(core.pool.lent(), 0, "no buffer outlives its connection");
            assert_eq!(core.sessions_hold, 0, "what a session held ends with it");
        }
    }
}

/// Its connections end with it: other reactors that share its limit may have their places.
impl<A: App, N: Net> Drop for Reactor<A, N> {
    fn drop(&mut self) {
        let counted = self.core.ports.iter().filter(|(_, port)| port.flags.has(Flags::COUNTED));
        counted.for_each(|_| self.gauge.leave());
    }
}

/// The deadline has passed; if so it is taken away.
fn passed(at: &mut Millis, now: Millis) -> bool {
    let due = *at <= now;
    if due {
        *at = Millis::NEVER;
    }
    due
}
