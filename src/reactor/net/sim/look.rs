//! What a test can see of a [`World`]: what each peer got, and what was called.

use super::super::Target;
use super::world::{START, World};
use super::{Calls, SimId};
use crate::reactor::outcome::CloseHow;

impl World {
    /// What the server has sent on this stream, as far as it was logged.
    pub fn sent(&self, id: SimId) -> &[u8] {
        &self.conns[id.0 as usize].log
    }

    /// How much the server has sent on this stream.
    pub fn sent_len(&self, id: SimId) -> u64 {
        self.conns[id.0 as usize].sent
    }

    /// How the server closed this stream, if it did.
    pub fn closed(&self, id: SimId) -> Option<CloseHow> {
        self.conns[id.0 as usize].closed
    }

    /// The server has sent FIN, or closed it, without a reset.
    pub fn fin_sent(&self, id: SimId) -> bool {
        let conn = &self.conns[id.0 as usize];
        conn.fin_sent || conn.closed == Some(CloseHow::Normal)
    }

    /// The peer got a reset: by [`CloseHow::Reset`], by a close with bytes unread, or because it sent more after the close.
    pub fn was_reset(&self, id: SimId) -> bool {
        self.conns[id.0 as usize].cut
    }

    /// Bytes that came for the server and that it has not read.
    pub fn unread(&self, id: SimId) -> usize {
        self.conns[id.0 as usize].unread().len()
    }

    /// The peer has done all that it had to do.
    pub fn script_over(&self, id: SimId) -> bool {
        self.conns[id.0 as usize].script.0.is_empty()
    }

    /// Streams that the server opened, in order.
    pub fn outgoing(&self) -> &[(Target, SimId)] {
        &self.outgoing
    }

    /// Every stream that there ever was.
    pub fn streams(&self) -> impl Iterator<Item = SimId> + use<> {
        (0..self.conns.len() as u32).map(SimId)
    }

    /// Streams that the server holds open.
    pub fn open_streams(&self) -> usize {
        self.conns.iter().filter(|conn| conn.token.is_some() && conn.closed.is_none()).count()
    }

    /// How often each operation was called.
    pub fn calls(&self) -> Calls {
        self.calls
    }

    /// The program around the reactor takes so many milliseconds for itself: the clock goes on, and nothing is told before the next wait.
    pub fn pass(&mut self, ms: u64) {
        self.passed += ms;
    }

    /// Milliseconds since the world began, as of the last wait.
    pub fn elapsed_ms(&self) -> u64 {
        self.now - START
    }
}
