//! New sessions that sessions asked for: put into the tables after whoever asked has returned.

use super::context::{App, Birth, Event};
use super::net::{Net, Peer, Ready, Target};
use super::port::Phase;
use super::token::Token;
use super::turn::Reactor;

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
                Birth::StartTls(token, side) => {
                    self.begin_tls(token, side);
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
