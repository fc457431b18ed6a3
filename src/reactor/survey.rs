//! A look at every connection, and what each holds.

use super::context::{App, AppCx};
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
}

impl<A: App> AppCx<'_, A> {
    /// Every connection. Walks the whole table.
    pub fn survey(&self) -> impl Iterator<Item = Surveyed<'_, A::Session>> {
        self.core.ports.iter().filter_map(|(token, port)| {
            let session = self.sessions.get(token.index())?.as_ref()?;
            let (backlog, held) = (port.backlog(), port.held());
            Some(Surveyed { token, session, peer: port.peer, phase: port.phase, backlog, held })
        })
    }
}
