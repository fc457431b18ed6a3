//! New sessions that sessions asked for: put into the tables after whoever asked has returned.

use super::context::{App, AppCx, Birth, Core, Cx, Event};
use super::net::{Net, Peer, Ready, Target};
use super::port::{Phase, Port};
use super::token::Token;
use super::turn::Reactor;

impl<A: App> Cx<'_, A> {
    /// Puts a session without a stream in the table. It gets [`Event::Open`] after this call. `Err` if the table is full, or
    /// all connections were ended, because the reactor was stopped or the time for draining was up.
    pub fn spawn(&mut self, session: A::Session) -> Result<Token, A::Session> {
        spawn(self.core, session)
    }

    /// Puts a session in the table and begins to connect it. It gets [`Event::Open`] or [`Event::Failed`], and nobody sets it a
    /// deadline until then but the operating system, after minutes: to bound the time, [`spawn`](Self::spawn) it, and let it set one
    /// and [`attach`](Self::attach) at its first [`Event::Open`]. `Err` as for [`spawn`](Self::spawn).
    pub fn connect(&mut self, to: &Target, session: A::Session) -> Result<Token, A::Session> {
        connect(self.core, to, session)
    }

    /// Begins to connect this session, which has no stream. It gets [`Event::Open`] (if it was spawned, for the second time) or
    /// [`Event::Failed`].
    pub fn attach(&mut self, to: &Target) {
        self.core.births.push(Birth::Attach(self.me, to.clone()));
    }
}

impl<A: App> AppCx<'_, A> {
    /// As [`Cx::spawn`].
    pub fn spawn(&mut self, session: A::Session) -> Result<Token, A::Session> {
        spawn(self.core, session)
    }

    /// As [`Cx::connect`].
    pub fn connect(&mut self, to: &Target, session: A::Session) -> Result<Token, A::Session> {
        connect(self.core, to, session)
    }
}

impl<A: App, N: Net> Reactor<A, N> {
    /// Puts what sessions asked for into the tables.
    #[inline]
    pub(super) fn deliver_births(&mut self) {
        if !self.core.births.is_empty() {
            self.deliver_all_births();
        }
    }

    fn deliver_all_births(&mut self) {
        while let Some(birth) = self.core.births.pop() {
            match birth {
                Birth::Spawn(token, session) => {
                    self.place(token, Some(session), None);
                    self.event(token, Event::Open);
                    self.rearm(token);
                }
                Birth::Connect(token, session, to) => {
                    self.place(token, Some(session), None);
                    self.begin_connect(token, &to);
                }
                Birth::Attach(token, to) => self.begin_connect(token, &to),
                Birth::StartTls(token, tls) => {
                    self.begin_tls(token, tls);
                    self.rearm(token);
                }
            }
        }
    }

    fn begin_connect(&mut self, token: Token, to: &Target) {
        let Some(port) = self.core.ports.get_mut(token).filter(|port| port.phase == Phase::Detached) else {
            return;
        };
        port.listener = None;
        port.peer = match to {
            Target::Tcp(addr) => (*addr).into(),
            Target::Unix(_) => Peer::UNIX,
        };
        match self.net.connect(to, token) {
            Ok(stream) => {
                port.phase = Phase::Connecting;
                port.ready = Ready::default();
                self.streams[token.index()] = Some(stream);
            }
            Err(fault) => {
                // Told when it is run, as if it had failed later: one that tries again at once must not hold up the turn.
                port.phase = Phase::Connecting;
                port.ready = Ready::default();
                self.core.unmade.push((token, fault));
                self.core.enqueue(token);
            }
        }
        self.rearm(token);
    }
}

fn spawn<A: App>(core: &mut Core<A>, session: A::Session) -> Result<Token, A::Session> {
    let Some(token) = reserve(core) else { return Err(session) };
    core.births.push(Birth::Spawn(token, session));
    Ok(token)
}

fn connect<A: App>(core: &mut Core<A>, to: &Target, session: A::Session) -> Result<Token, A::Session> {
    let Some(token) = reserve(core) else { return Err(session) };
    core.births.push(Birth::Connect(token, session, to.clone()));
    Ok(token)
}

fn reserve<A: App>(core: &mut Core<A>) -> Option<Token> {
    let takes = core.ports.len() < Token::MAX_SLOTS && !core.over;
    takes.then(|| core.ports.insert(Port::new(Peer::UNIX, None, Phase::Detached)))
}
