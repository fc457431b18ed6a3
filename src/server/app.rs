//! One worker of the server: what its sessions share.

use super::session::Session;
use super::tls::Store;
use crate::http::{self, Exchanged, Late, Service, Site};
use crate::observe::Reason;
use crate::reactor::{Admit, App, AppCx, CloseHow, End, ListenerId, Peer, Phase, TlsSide, Token};
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
    pub(super) tls: Option<Arc<Store>>,
}

impl Worker {
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

    fn on_close(&mut self, _: Session, end: End<Reason>, _: &mut AppCx<'_, Self>) {
        let End { token, peer, phase, reason } = end;
        log::debug!("{token} {peer}: closed in {}: {}", phase.name(), reason.label());
    }
}

impl Service for Worker {
    fn site(&mut self) -> &mut Site {
        &mut self.site
    }

    fn on_exchange(&mut self, done: &Exchanged<'_>) {
        let _: Token = done.token;
    }
}
