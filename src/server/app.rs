//! One worker of the server: what its sessions share.

use super::admin;
use super::attend::Spot;
use super::build::{self, Protocols, Upgrades};
use super::life;
use super::peers::Peers;
use super::record::Record;
use super::relief::Relief;
use super::reload::Order;
use super::session::{STATES, Session};
use super::settings::Config;
use super::shared::Shared;
use super::survey::Survey;
use super::tls::Store;
use crate::guard::{Clients, Gate};
use crate::http::{self, Exchanged, Late, Pages, RouteId, Service, Site};
use crate::observe::{Lag, Lifecycle, Publisher, Reason, Refusal, summary};
use crate::reactor::{Admit, App, AppCx, CloseHow, End, Handle, ListenerId, Millis, Peer, TlsSide, Token};
use crate::{tcp, ws};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Words between sessions of a worker.
#[derive(Debug)]
pub enum Note {
    /// An answer that comes late.
    Late(Late),
    /// For a WebSocket.
    Ws(ws::Note),
    /// For a raw TCP connection.
    Tcp(tcp::Note),
}

impl From<ws::Note> for Note {
    fn from(note: ws::Note) -> Note {
        Note::Ws(note)
    }
}

impl From<tcp::Note> for Note {
    fn from(note: tcp::Note) -> Note {
        Note::Tcp(note)
    }
}

/// Words from other threads.
#[derive(Debug)]
pub enum Message {
    /// An answer that comes late, for a session of this worker.
    Late(Late),
    /// Tell what you are holding.
    Survey(Sender<Survey>),
    /// Live by another configuration.
    Reload(Box<Order>),
    /// All workers have started: their mailboxes, in order.
    Peers(Vec<Handle<Message>>),
    /// What worker so-and-so says about rooms.
    Rooms(u16, Vec<ws::Remote>),
    /// What was published on another worker to a raw TCP service.
    Lines(tcp::Remote),
}

/// What a listener's connections speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Http,
    Https,
    Tcp(tcp::ServiceId),
}

/// The program of one reactor.
pub struct Worker {
    pub(super) site: Site,
    pub(super) ws: ws::Hub,
    upgrades: Upgrades,
    pub(super) tcp: tcp::Hub,
    peers: Peers,
    pub(super) roles: Vec<(ListenerId, Role)>,
    record: Record,
    clients: Arc<Clients>,
    pub(super) relief: Relief,
    pub(super) lifecycle: Lifecycle,
    number: usize,
    pub(super) shared: Shared,
    pub(super) publisher: Publisher,
    lag: Lag,
    /// What makes this worker look after itself.
    pub(super) tick: Option<Token>,
    /// Certificates, if any listener speaks TLS.
    tls: Option<Arc<Store>>,
    /// To be done between turns, with the reactor at hand.
    pub(super) orders: Vec<Order>,
    /// Where each listener stands in the settings.
    pub(super) spots: Vec<(ListenerId, Spot)>,
    /// Where the server itself answers for its health: what is asked there is not logged.
    health: Vec<RouteId>,
    /// Only in tests.
    tape: Option<Box<Tape>>,
}

/// What a worker in a test saw.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Tape {
    /// Every exchange that was reported: status, whether its head was known, why it closed.
    pub exchanges: Vec<(u16, bool, Option<Reason>)>,
    /// The route of each.
    pub routes: Vec<Option<String>>,
    /// Every connection that ended.
    pub closes: Vec<Reason>,
}

impl Worker {
    /// The worker of this number (one past the last: the metrics port, which counts nothing).
    pub(super) fn new(protocols: Protocols, shared: &Shared, number: usize, record: Record) -> Worker {
        let Protocols { site, ws, upgrades, tcp, workers } = protocols;
        let mut worker = Worker {
            site,
            ws,
            upgrades,
            tcp,
            peers: Peers::new(number, workers),
            roles: Vec::new(),
            record,
            clients: shared.clients.clone(),
            relief: Relief::new(shared.budget.share()),
            lifecycle: Lifecycle::default(),
            number,
            shared: shared.clone(),
            publisher: Publisher::new(shared.hub.clone(), number),
            lag: Lag::default(),
            tick: None,
            tls: None,
            orders: Vec::new(),
            spots: Vec::new(),
            health: Vec::new(),
            tape: None,
        };
        worker.bound_gathered();
        worker
    }

    /// What is said at once on all workers must be a small part of the budget.
    fn bound_gathered(&mut self) {
        let share = self.shared.budget.limit() / 32 / self.peers.workers().max(1) as u64;
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let share = share.clamp(64 << 10, Gate::MOST);
        self.ws.set_gathered(share);
        self.tcp.set_gathered(share);
    }

    /// A worker that serves HTTP on the first listener and records what it sees: the whole server, in a simulated world.
    #[doc(hidden)]
    pub fn for_tests(site: Site) -> Worker {
        let shared = Shared::new(&Config::default(), 1, None);
        let mut worker = Worker::new(Protocols::http(site), &shared, 0, Record::new(None, None, [0; 32]));
        worker.roles.push((ListenerId(0), Role::Http));
        worker.recording()
    }

    /// Records what it sees.
    pub(super) fn recording(self) -> Worker {
        Worker { tape: Some(Box::default()), ..self }
    }

    /// The same over TLS.
    #[doc(hidden)]
    pub fn for_tests_of_tls(site: Site, store: Arc<Store>) -> Worker {
        Worker { roles: vec![(ListenerId(0), Role::Https)], tls: Some(store), ..Worker::for_tests(site) }
    }

    /// Connections of TLS listeners shake hands by what is in there.
    pub(super) fn serve_tls(&mut self, store: Arc<Store>) {
        self.tls = Some(store);
    }

    /// Other routes, limits, and another form of the log, from the next request on. On an error nothing has changed.
    pub(super) fn live_by(&mut self, config: &Config, pages: Pages) -> io::Result<()> {
        let site = build::site(config, pages, &self.shared, &mut self.ws, &mut self.upgrades)?;
        self.site.replace(site);
        self.record.live_by(config);
        self.observe_by(config);
        self.bound_gathered();
        Ok(())
    }

    /// What is written of whom, with the site that it has.
    pub(super) fn observe_by(&mut self, config: &Config) {
        self.health = admin::health_routes(&self.site, config);
        self.lifecycle = Lifecycle::new(config.log.debug_peers.clone());
    }

    /// What was recorded so far. Empty outside tests.
    #[doc(hidden)]
    pub fn tape(&self) -> &Tape {
        const NONE: &Tape = &Tape { exchanges: Vec::new(), routes: Vec::new(), closes: Vec::new() };
        self.tape.as_deref().unwrap_or(NONE)
    }

    /// Late answers come back to this worker's reactor through its handle.
    #[doc(hidden)]
    pub fn post_through(&mut self, handle: Handle<Message>) {
        let post = move |late: Late| match handle.post(Message::Late(late)) {
            Err(Message::Late(late)) => Err(late),
            // Only what was posted can come back.
            Ok(()) | Err(_) => Ok(()),
        };
        self.site.set_post(Arc::new(post));
    }

    fn survey(&self, cx: &AppCx<'_, Worker>) -> Survey {
        let mut survey = Survey::default();
        for state in cx.survey().filter_map(|row| row.session.state(row.phase)) {
            *survey.states.entry(STATES[state]).or_default() += 1;
        }
        let rows = cx.survey().filter_map(|row| {
            let state = STATES[row.session.state(row.phase)?];
            Some(summary::Row { token: row.token, peer: row.peer, state, age_ms: None, backlog: row.held })
        });
        let totals = summary::Totals {
            worker: self.number,
            timers: cx.timers(),
            buffer_bytes: cx.buffers_held() as u64,
            memory_held: self.shared.budget.held(),
            memory_budget: self.shared.budget.limit(),
            connections: self.shared.gauge.get() as u64,
            max_connections: self.shared.max_connections() as u64,
            draining: cx.draining(),
        };
        survey.summaries.push(summary::summary(rows, &totals));
        survey
    }

    /// Once a second.
    pub(super) fn on_tick(&mut self, due: Millis, now: Millis) {
        self.lag.fired(due, now);
        self.site.idle(now);
    }

    pub(super) fn publish(&mut self, cx: &AppCx<'_, Worker>) {
        let tally = &mut self.publisher.tally;
        tally.reactor = *cx.counters();
        tally.buffer_bytes = cx.buffers_held() as u64;
        tally.timers = cx.timers() as u64;
        tally.lag_ms = self.lag.worst_ms();
        life::tally_talk(tally, &self.ws, &self.tcp);
        tally.set_connections(cx.survey().filter_map(|row| row.session.state(row.phase)));
        self.publisher.publish(cx.now());
    }
}

impl App for Worker {
    type Session = Session;
    type Note = Note;
    type Message = Message;
    type Reason = Reason;

    fn admit(&mut self, listener: ListenerId, peer: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Session> {
        let Some((_, role)) = self.roles.iter().find(|(id, _)| *id == listener) else {
            return Admit::Refuse(CloseHow::Reset);
        };
        if self.relief.is_over() {
            self.publisher.tally.refused(Refusal::Memory);
            return Admit::Refuse(CloseHow::Reset);
        }
        if !self.clients.enter(peer) {
            self.publisher.tally.refused(Refusal::ClientConnections);
            return Admit::Refuse(CloseHow::Reset);
        }
        match (role, &self.tls) {
            (Role::Http, _) => Admit::Serve(Session::Http(http::Connection::new(false))),
            (Role::Https, Some(store)) => {
                let session = Session::Http(http::Connection::new(true));
                Admit::ServeTls(session, TlsSide::Server(store.get()))
            }
            (Role::Tcp(service), _) => Admit::Serve(Session::Tcp(tcp::Connection::new(*service))),
            (Role::Https, None) => {
                self.clients.leave(peer);
                Admit::Refuse(CloseHow::Reset)
            }
        }
    }

    fn on_message(&mut self, message: Message, cx: &mut AppCx<'_, Self>) {
        match message {
            Message::Late(late) => cx.notify(late.to, Note::Late(late)),
            Message::Survey(to) => {
                // Whoever asked may have stopped waiting.
                let _ = to.send(self.survey(cx));
            }
            Message::Reload(order) => self.orders.push(*order),
            Message::Peers(handles) => self.peers.meet(handles),
            Message::Rooms(from, words) => self.ws.on_remote(from, words, cx),
            Message::Lines(remote) => self.tcp.on_remote(&remote),
        }
    }

    fn on_close(&mut self, session: Session, end: End<Reason>, cx: &mut AppCx<'_, Self>) {
        let state = session.state(end.phase);
        cx.release(session.held());
        match session {
            Session::Http(connection) => connection.ended(&end, cx.now(), self),
            Session::Ws(connection) => connection.on_close(&end, self),
            Session::Tcp(connection) => connection.on_close(&end, self),
            Session::Tick(_) => return,
        }
        self.clients.leave(&end.peer);
        let End { token, peer, phase, reason, .. } = end;
        if let Some(state) = state {
            self.publisher.tally.closed(state, reason);
        }
        if let Some(tape) = &mut self.tape {
            tape.closes.push(reason);
        }
        let lifecycle = &self.lifecycle;
        lifecycle.note(token, &peer, format_args!("closed in {}: {}", phase.name(), reason.label()));
    }

    fn on_turn(&mut self, cx: &mut AppCx<'_, Self>) {
        self.ws.flush(cx);
        self.tcp.flush(cx);
        let me = self.ws.worker();
        for (to, words) in self.ws.take_outgoing() {
            self.peers.tell(usize::from(to), Message::Rooms(me, words));
        }
        for remote in self.tcp.take_outgoing() {
            self.peers.tell_others(|| Message::Lines(remote.clone()));
        }
        self.peers.post();
        self.record.flush();
        if self.publisher.is_due(cx.now()) {
            self.weigh(cx);
            self.publish(cx);
        } else {
            self.report(cx);
        }
    }
}

impl ws::Service for Worker {
    fn ws(&mut self) -> &mut ws::Hub {
        &mut self.ws
    }
}

impl tcp::Service for Worker {
    fn tcp(&mut self) -> &mut tcp::Hub {
        &mut self.tcp
    }
}

impl Service for Worker {
    fn site(&mut self) -> &mut Site {
        &mut self.site
    }

    #[inline]
    fn on_exchange(&mut self, done: &Exchanged<'_>) {
        let method = done.head.map(|head| head.method);
        let tally = &mut self.publisher.tally;
        tally.exchange(method, done.status, done.duration_ms, done.bytes_in, done.bytes_out);
        tally.disk_waits += u64::from(done.waited);
        if self.record.is_on() || self.tape.is_some() {
            self.write_down(done);
        }
    }
}

impl Worker {
    /// For the log, and for tests.
    #[inline(never)]
    fn write_down(&mut self, done: &Exchanged<'_>) {
        if self.record.is_on() && !self.health.contains(&done.route) {
            self.record.write(done, &self.site);
        }
        if let Some(tape) = &mut self.tape {
            tape.exchanges.push((done.status, done.head.is_some(), done.closing));
            tape.routes.push(self.site.route_name(done.route).map(str::to_owned));
        }
    }
}
