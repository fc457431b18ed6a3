//! The world's clock, agenda and list of edges.

use super::super::{Peer, Ready, Target};
use super::conn::{Conn, Stage};
use super::files::Tree;
use super::random::{Chaos, Random};
use super::script::{AcceptFault, Act, Plan, Script};
use super::{Calls, SimId, SimListener};
use crate::reactor::outcome::{CloseHow, Fault};
use crate::reactor::token::Token;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something that will happen, by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    /// The peer goes on with its script.
    Script(u32),
    /// The connection enters the listener's queue.
    Arrive(u32, usize),
    /// A connect is decided.
    Connected(u32),
    /// An edge that came late.
    Edge(u32, u8),
    /// What was blocked without a reason is not so any more.
    Unblock(u32, u8),
    /// A late edge of a listener.
    ListenerEdge(usize),
}

#[derive(Debug)]
pub(super) struct Listening {
    pub address: SocketAddr,
    pub queue: VecDeque<SimId>,
    pub faults: VecDeque<AcceptFault>,
    pub token: Option<Token>,
    pub edge: bool,
    pub open: bool,
}

/// All there is, but for the operations in `calls.rs`. Reached through [`SimNet`](super::SimNet).
#[derive(Debug)]
pub struct World {
    pub(super) now: u64,
    /// What has gone by since, in the program around the reactor.
    pub(super) passed: u64,
    pub(super) random: Random,
    pub(super) entropy: Random,
    /// What the world does to be difficult.
    pub chaos: Chaos,
    /// Bytes that are kept of what is sent on each stream; the rest is only counted.
    pub log_limit: usize,
    /// The file system.
    pub files: Tree,
    pub(super) short_read_drains: bool,
    pub(super) conns: Vec<Conn>,
    pub(super) listeners: Vec<Listening>,
    pub(super) plans: HashMap<Target, VecDeque<Plan>>,
    pub(super) habits: HashMap<Target, Plan>,
    pub(super) outgoing: Vec<(Target, SimId)>,
    pub(super) calls: Calls,
    agenda: BinaryHeap<Reverse<(u64, u64, Due)>>,
    order: u64,
    ready: Vec<SimId>,
    pub(super) woken: Arc<AtomicBool>,
    pub(super) stale: Vec<Token>,
    nonsense: Vec<(Token, Ready)>,
}

/// The virtual clock begins here, in milliseconds; not at zero, so that nothing takes zero for never.
pub(super) const START: u64 = 1_000;

impl World {
    pub(super) fn new(seed: u64, short_read_drains: bool) -> World {
        World {
            now: START,
            passed: 0,
            random: Random::new(seed),
            entropy: Random::new(!seed),
            chaos: Chaos::NONE,
            log_limit: 16 << 20,
            files: Tree::default(),
            short_read_drains,
            conns: Vec::new(),
            listeners: Vec::new(),
            plans: HashMap::new(),
            habits: HashMap::new(),
            outgoing: Vec::new(),
            calls: Calls::default(),
            agenda: BinaryHeap::new(),
            order: 0,
            ready: Vec::new(),
            woken: Arc::default(),
            stale: Vec::new(),
            nonsense: Vec::new(),
        }
    }

    // ---- what a test sets up ----

    /// A listening socket, at an address of its own.
    pub fn listen(&mut self) -> SimListener {
        let port = 8000 + self.listeners.len() as u16;
        self.listen_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// A listening socket at this address.
    pub fn listen_at(&mut self, address: SocketAddr) -> SimListener {
        self.listeners.push(Listening {
            address,
            queue: VecDeque::new(),
            faults: VecDeque::new(),
            token: None,
            edge: false,
            open: true,
        });
        SimListener(self.listeners.len() - 1)
    }

    /// Where a listener listens. A connect to there is joined with an accept from it.
    pub fn address(&self, listener: SimListener) -> SocketAddr {
        self.listeners[listener.0].address
    }

    /// A peer connects now and does this.
    pub fn arrive(&mut self, listener: SimListener, script: Script) -> SimId {
        self.arrive_in(listener, 0, script)
    }

    /// A peer connects in so many milliseconds and does this.
    pub fn arrive_in(&mut self, listener: SimListener, ms: u64, script: Script) -> SimId {
        let id = self.conn(Stage::Up, script);
        self.at(ms, Due::Arrive(id.0, listener.0));
        id
    }

    /// Gives a peer more to do, after what it has to do already.
    pub fn go_on(&mut self, id: SimId, script: Script) {
        let conn = &mut self.conns[id.0 as usize];
        let idle = conn.script.0.is_empty();
        conn.script.0.extend(script.0);
        if idle {
            self.at(0, Due::Script(id.0));
        }
    }

    /// What becomes of the next connect there; plans are used up one by one.
    pub fn on_connect(&mut self, to: Target, plan: impl Into<Plan>) {
        self.plans.entry(to).or_default().push_back(plan.into());
    }

    /// What becomes of every connect there for which there is no plan. Without one it is refused.
    pub fn on_every_connect(&mut self, to: Target, plan: impl Into<Plan>) {
        self.habits.insert(to, plan.into());
    }

    /// What goes wrong at the next accepts.
    pub fn fail_accept(&mut self, listener: SimListener, faults: impl IntoIterator<Item = AcceptFault>) {
        self.listeners[listener.0].faults.extend(faults);
    }

    /// An event that means nothing, with the next wait.
    pub fn spurious(&mut self, id: SimId, ready: Ready) {
        self.edge_now(id, ready);
    }

    /// Any event at all, with the next wait: for a token that is stale, say.
    pub fn report_anyway(&mut self, token: Token, ready: Ready) {
        self.nonsense.push((token, ready));
    }

    /// Nothing more will happen by itself, and nothing is to be reported.
    pub fn is_over(&self) -> bool {
        self.agenda.is_empty() && self.ready.is_empty() && self.listeners.iter().all(|l| !l.edge)
    }

    // ---- how it moves ----

    pub(super) fn conn(&mut self, stage: Stage, script: Script) -> SimId {
        self.conns.push(Conn::new(stage, script));
        SimId(self.conns.len() as u32 - 1)
    }

    pub(super) fn at(&mut self, ms: u64, due: Due) {
        self.order += 1;
        self.agenda.push(Reverse((self.now.saturating_add(ms), self.order, due)));
    }

    /// An edge, possibly late.
    pub(super) fn edge(&mut self, id: SimId, ready: Ready) {
        if self.random.chance(self.chaos.late) {
            let late = self.random.below(self.chaos.late_by + 1);
            return self.at(late, Due::Edge(id.0, ready.0));
        }
        self.edge_now(id, ready);
    }

    pub(super) fn edge_now(&mut self, id: SimId, ready: Ready) {
        let conn = &mut self.conns[id.0 as usize];
        let watched = Ready(ready.0 & conn.watched.0);
        if watched == Ready::default() || conn.closed.is_some() {
            return;
        }
        if conn.edges == Ready::default() {
            self.ready.push(id);
        }
        conn.edges = conn.edges.with(watched);
    }

    pub(super) fn writable(&self, id: SimId) -> bool {
        let conn = &self.conns[id.0 as usize];
        let pipe = conn.other.map_or(0, |other| self.conns[other.0 as usize].unread().len());
        conn.write_fault.is_some() || conn.room() > 0 && pipe < super::conn::PIPE
    }

    /// An edge if a writer was held back and is not so any more.
    pub(super) fn make_room(&mut self, id: SimId) {
        if self.conns[id.0 as usize].full && self.writable(id) {
            self.conns[id.0 as usize].full = false;
            self.edge(id, Ready::WRITABLE);
        }
    }

    pub(super) fn listener_edge(&mut self, listener: usize) {
        if self.random.chance(self.chaos.late) {
            let late = self.random.below(self.chaos.late_by + 1);
            return self.at(late, Due::ListenerEdge(listener));
        }
        self.listeners[listener].edge = true;
    }

    pub(super) fn wait(&mut self, timeout_ms: Option<u64>, out: &mut Vec<(Token, Ready)>) -> io::Result<()> {
        self.calls.waits += 1;
        let deadline = timeout_ms.map_or(u64::MAX, |ms| self.now.saturating_add(ms));
        self.now += std::mem::take(&mut self.passed);
        loop {
            while self.next_due().is_some_and(|at| at <= self.now) {
                if !self.ready.is_empty() && self.random.chance(self.chaos.mid_turn) {
                    break;
                }
                self.happen();
            }
            self.report(out);
            if !out.is_empty() || self.woken.swap(false, Ordering::AcqRel) || self.now >= deadline {
                return Ok(());
            }
            // Those whose turn it was have closed meanwhile; others were kept for the next.
            if !self.ready.is_empty() {
                continue;
            }
            match self.next_due() {
                Some(at) if at <= deadline => self.now = self.now.max(at),
                _ if deadline < u64::MAX => self.now = deadline,
                _ => {
                    return Err(io::Error::new(
                        io::ErrorKind::Deadlock,
                        "nothing will ever happen in this world",
                    ));
                }
            }
        }
    }

    /// Something happens between two calls of a turn.
    pub(super) fn mid_turn(&mut self) {
        while self.next_due().is_some_and(|at| at <= self.now) && self.random.chance(self.chaos.mid_turn) {
            self.happen();
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.agenda.peek().map(|Reverse((at, ..))| *at)
    }

    fn report(&mut self, out: &mut Vec<(Token, Ready)>) {
        out.append(&mut self.nonsense);
        for listener in &mut self.listeners {
            if let Some(token) = listener.token.filter(|_| listener.edge && listener.open) {
                out.push((token, Ready::READABLE));
            }
            listener.edge = false;
        }
        let mut ready = std::mem::take(&mut self.ready);
        if ready.len() > 1 && self.random.chance(self.chaos.shuffle) {
            self.random.shuffle(&mut ready);
            let later = self.random.below(ready.len() as u64) as usize;
            self.ready.extend(ready.drain(ready.len() - later..));
        }
        for id in ready.drain(..) {
            let conn = &mut self.conns[id.0 as usize];
            let edges = std::mem::take(&mut conn.edges);
            if let Some(token) = conn.token.filter(|_| edges != Ready::default()) {
                out.push((token, edges));
            }
        }
        if self.ready.is_empty() {
            self.ready = ready;
        }
        if !out.is_empty() && self.random.chance(self.chaos.spurious) {
            self.report_nonsense(out);
        }
    }

    fn report_nonsense(&mut self, out: &mut Vec<(Token, Ready)>) {
        let ready = Ready(1 + self.random.below(7) as u8);
        let conn = self.random.below(self.conns.len() as u64) as usize;
        if let Some(token) = self.conns.get(conn).and_then(|conn| conn.token) {
            out.push((token, ready));
        }
        let stale = self.random.below(self.stale.len() as u64) as usize;
        if let Some(token) = self.stale.get(stale) {
            out.push((*token, ready));
        }
    }

    /// The next thing on the agenda.
    fn happen(&mut self) {
        let Some(Reverse((_, _, due))) = self.agenda.pop() else { return };
        match due {
            Due::Script(id) => self.run_script(SimId(id)),
            Due::Arrive(id, listener) => {
                if self.listeners[listener].open {
                    self.listeners[listener].queue.push_back(SimId(id));
                    self.listener_edge(listener);
                } else {
                    self.conns[id as usize].closed = Some(CloseHow::Reset);
                }
                self.run_script(SimId(id));
            }
            Due::Connected(id) => self.connected(SimId(id)),
            Due::Edge(id, ready) => self.edge_now(SimId(id), Ready(ready)),
            Due::Unblock(id, ready) => {
                let writable = self.writable(SimId(id));
                let conn = &mut self.conns[id as usize];
                conn.full &= !writable;
                let level = conn.level(self.now, writable);
                self.edge_now(SimId(id), Ready(level.0 & (ready | Ready::HANGUP.0)));
            }
            Due::ListenerEdge(listener) => self.listeners[listener].edge = true,
        }
    }

    fn connected(&mut self, id: SimId) {
        let conn = &mut self.conns[id.0 as usize];
        if conn.closed.is_some() {
            return;
        }
        if conn.stage == Stage::Connecting {
            conn.stage = Stage::Up;
            self.edge(id, Ready::WRITABLE);
            self.run_script(id);
        } else {
            self.edge(id, Ready::READABLE.with(Ready::WRITABLE).with(Ready::HANGUP));
        }
    }

    /// The peer acts until it has to wait.
    pub(super) fn run_script(&mut self, id: SimId) {
        loop {
            let conn = &mut self.conns[id.0 as usize];
            conn.awaits = false;
            let gone = conn.closed.is_some();
            let go_on = match conn.script.0.front() {
                None => return,
                Some(Act::AwaitSent(n)) => conn.sent >= *n || gone,
                Some(Act::AwaitSeen(what)) => memchr::memmem::find(&conn.log, what).is_some() || gone,
                Some(Act::AwaitFin) => conn.fin_sent || gone,
                Some(_) => true,
            };
            if !go_on {
                conn.awaits = true;
                return;
            }
            let Some(act) = conn.script.0.pop_front() else { return };
            if let Act::Wait(ms) = act {
                return self.at(ms, Due::Script(id.0));
            }
            self.act(id, act);
        }
    }

    fn act(&mut self, id: SimId, act: Act) {
        let conn = &mut self.conns[id.0 as usize];
        match act {
            Act::Send(bytes) => self.deliver(id, &bytes),
            Act::Window(bytes) => {
                conn.window = bytes;
                self.make_room(id);
            }
            Act::QuietWindow(bytes) => conn.window = bytes,
            Act::Fin => self.deliver_fin(id),
            Act::Close => {
                conn.gone = true;
                conn.window = u64::MAX;
                self.deliver_fin(id);
                self.make_room(id);
            }
            Act::Reset => {
                conn.gone = true;
                self.deliver_fault(id, Fault::Reset);
            }
            Act::FailRead(fault) => {
                conn.read_fault = Some(fault);
                self.edge(id, Ready::READABLE.with(Ready::HANGUP));
            }
            Act::FailWrite(fault) => {
                conn.write_fault = Some(fault);
                self.make_room(id);
            }
            Act::FailWriteAfter(bytes, fault) => {
                conn.fail_after = Some((bytes, fault));
                self.make_room(id);
            }
            Act::Spurious(ready) => self.edge_now(id, ready),
            // Waited for in `run_script`.
            Act::Wait(_) | Act::AwaitSent(_) | Act::AwaitSeen(_) | Act::AwaitFin => {}
        }
    }

    /// Bytes come in for the server.
    pub(super) fn deliver(&mut self, id: SimId, bytes: &[u8]) {
        let conn = &mut self.conns[id.0 as usize];
        if bytes.is_empty() || conn.fin || conn.read_fault.is_some() {
            return;
        }
        if conn.closed.is_some() {
            conn.cut = true;
            // Whoever writes to what is closed gets a reset.
            if let Some(other) = conn.other {
                self.deliver_fault(other, Fault::Reset);
            }
            return;
        }
        conn.inbound.extend_from_slice(bytes);
        self.edge(id, Ready::READABLE);
    }

    pub(super) fn deliver_fin(&mut self, id: SimId) {
        self.conns[id.0 as usize].fin = true;
        self.edge(id, Ready::READABLE.with(Ready::HANGUP));
    }

    pub(super) fn deliver_fault(&mut self, id: SimId, fault: Fault) {
        let conn = &mut self.conns[id.0 as usize];
        conn.read_fault = Some(fault);
        conn.write_fault = Some(fault);
        conn.reset = fault == Fault::Reset;
        self.edge(id, Ready::READABLE.with(Ready::WRITABLE).with(Ready::HANGUP));
    }

    /// Who a stream is from.
    pub(super) fn peer_of(&self, id: SimId) -> Peer {
        let host = Ipv4Addr::from(0xC633_6400 + (id.0 >> 15));
        SocketAddr::from((host, 1024 + (id.0 & 0x7FFF) as u16)).into()
    }
}
