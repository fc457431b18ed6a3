//! What connections hold: all together at any time, and each of them by a look at every one.

use super::context::{App, AppCx, Core, Cx};
use super::net::Peer;
use super::port::Phase;
use super::token::Token;

/// A connection as [`AppCx::survey`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct Surveyed<'a, S> {
    /// Its name.
    pub token: Token,
    /// Its protocol machine.
    pub session: &'a S,
    /// Who it is.
    pub peer: Peer,
    /// Where the transport stands.
    pub phase: Phase,
    /// Bytes in memory that wait for the peer.
    pub backlog: usize,
    /// Bytes of memory that the transport holds for it beside its slot: buffers, its part of what is shared, TLS.
    pub held: usize,
    /// It may be let go first: see [`Cx::set_evictable`]. Not while something waits to be sent, or what it has left to be shown again.
    pub evictable: bool,
}

impl<A: App> Core<A> {
    /// Bytes in buffers, and what sessions hold.
    #[inline]
    pub(super) fn held(&self) -> usize {
        self.pool.held() + self.sessions_hold
    }
}

impl<A: App> Cx<'_, A> {
    /// Says that what the session holds in memory outside its slot was `before` bytes and is `now`: so that the growth of a turn is
    /// bounded ([`Settings::turn_growth`](super::Settings::turn_growth)) and a budget can be kept.
    #[inline]
    pub fn hold(&mut self, before: usize, now: usize) {
        if before != now {
            self.core.sessions_hold = self.core.sessions_hold.saturating_sub(before).saturating_add(now);
        }
    }
}

impl<A: App> AppCx<'_, A> {
    /// Bytes that sessions hold, by what they told with [`Cx::hold`].
    pub fn sessions_hold(&self) -> usize {
        self.core.sessions_hold
    }

    /// A session has ended that held so many bytes.
    pub fn release(&mut self, held: usize) {
        self.core.sessions_hold = self.core.sessions_hold.saturating_sub(held);
    }

    /// Every connection. Walks the whole table.
    pub fn survey(&self) -> impl Iterator<Item = Surveyed<'_, A::Session>> {
        self.core.ports.iter().filter_map(|(token, port)| {
            let session = self.sessions.get(token.index())?.as_ref()?;
            let (backlog, held) = (port.backlog(), port.held());
            let evictable = port.is_idle();
            Some(Surveyed { token, session, peer: port.peer, phase: port.phase, backlog, held, evictable })
        })
    }
}
