//! One worker of the server: what its sessions share.

use super::session::Session;
use super::tls::Store;
use crate::http::{self, Exchanged, Late, Service, Site};
use crate::observe::Reason;
use crate::reactor::{Admit, App, AppCx, CloseHow, End, Handle, ListenerId, Peer, Phase, TlsSide};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Words between sessions of a worker.
#[derive(Debug)]
pub enum Note {
    /// An answer that comes late.
    Late(Late),
}

/// Words from other threads.
#[derive(Debug)]
pub enum Message {
    /// An answer that comes late, for a session of this worker.
    Late(Late),
    /// Tell what you are holding.
    Survey(Sender<Survey>),
}

/// What a worker holds: how many connections, by protocol and state.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// How many connections are in each state.
    pub states: BTreeMap<(&'static str, &'static str), usize>,
}

impl std::fmt::Display for Survey {
    /// `3 http idle, 1 http sending`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, ((protocol, state), n)) in self.states.iter().enumerate() {
            write!(f, "{}{n} {protocol} {state}", if i > 0 { ", " } else { "" })?;
        }
        if self.states.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

/// What a listener's connections speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Http,
    Https,
}

/// The program of one reactor.
pub struct Worker {
    pub(super) site: Site,
    pub(super) roles: Vec<(ListenerId, Role)>,
    /// Certificates, if any listener speaks TLS.
    tls: Option<Arc<Store>>,
    /// Only in tests.
    tape: Option<Box<Tape>>,
}

/// What a worker in a test saw.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Tape {
    /// Every exchange that was reported: status, whether its head was known, why it closed.
    pub exchanges: Vec<(u16, bool, Option<Reason>)>,
    /// Every connection that ended.
    pub closes: Vec<Reason>,
}

impl Worker {
    pub(super) fn new(site: Site) -> Worker {
        Worker { site, roles: Vec::new(), tls: None, tape: None }
    }

    /// A worker that serves HTTP on the first listener and records what it sees: the whole server, in a simulated world.
    #[doc(hidden)]
    pub fn for_tests(site: Site) -> Worker {
        Worker { tape: Some(Box::default()), roles: vec![(ListenerId(0), Role::Http)], ..Worker::new(site) }
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

    /// What was recorded so far. Empty outside tests.
    #[doc(hidden)]
    pub fn tape(&self) -> &Tape {
        const NONE: &Tape = &Tape { exchanges: Vec::new(), closes: Vec::new() };
        self.tape.as_deref().unwrap_or(NONE)
    }

    /// Late answers come back to this worker's reactor through its handle.
    #[doc(hidden)]
    pub fn post_through(&mut self, handle: Handle<Message>) {
        let post = move |late: Late| match handle.post(Message::Late(late)) {
            Ok(()) | Err(Message::Survey(_)) => Ok(()),
            Err(Message::Late(late)) => Err(late),
        };
        self.site.set_post(Arc::new(post));
    }

    fn survey(cx: &AppCx<'_, Worker>) -> Survey {
        let mut survey = Survey::default();
        for row in cx.survey() {
            let state = match row.phase {
                Phase::Flushing | Phase::Lingering => (row.session.state_name().0, row.phase.name()),
                Phase::Detached | Phase::Connecting | Phase::Handshaking | Phase::Open | Phase::ReadOnly => {
                    row.session.state_name()
                }
            };
            *survey.states.entry(state).or_default() += 1;
        }
        survey
    }
}

impl App for Worker {
    type Session = Session;
    type Note = Note;
    type Message = Message;
    type Reason = Reason;

    fn admit(&mut self, listener: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Session> {
        match self.roles.iter().find(|(id, _)| *id == listener) {
            Some((_, Role::Http)) => Admit::Serve(Session::Http(http::Connection::new(false))),
            Some((_, Role::Https)) => match &self.tls {
                Some(store) => {
                    let session = Session::Http(http::Connection::new(true));
                    Admit::ServeTls(session, TlsSide::Server(store.get()))
                }
                None => Admit::Refuse(CloseHow::Reset),
            },
            None => Admit::Refuse(CloseHow::Reset),
        }
    }

    fn on_message(&mut self, message: Message, cx: &mut AppCx<'_, Self>) {
        match message {
            Message::Late(late) => cx.notify(late.to, Note::Late(late)),
            Message::Survey(to) => {
                // Whoever asked may have stopped waiting.
                let _ = to.send(Worker::survey(cx));
            }
        }
    }

    fn on_close(&mut self, session: Session, end: End<Reason>, cx: &mut AppCx<'_, Self>) {
        match session {
            Session::Http(connection) => connection.ended(&end, cx.now(), self),
        }
        let End { token, peer, phase, reason } = end;
        if let Some(tape) = &mut self.tape {
            tape.closes.push(reason);
        }
        log::debug!("{token} {peer}: closed in {}: {}", phase.name(), reason.label());
    }
}

impl Service for Worker {
    fn site(&mut self) -> &mut Site {
        &mut self.site
    }

    fn on_exchange(&mut self, done: &Exchanged<'_>) {
        if let Some(tape) = &mut self.tape {
            tape.exchanges.push((done.status, done.head.is_some(), done.closing));
        }
    }
}
