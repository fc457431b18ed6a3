//! How much a session may still put out, asked once a call instead of once a message.

use super::context::{App, Cx, Pressure};
use super::port::{Flags, Phase};

impl<A: App> Cx<'_, A> {
    /// How many bytes of output, those in the cork counted in, this call may have before [`pressure`](Self::pressure) has to be asked.
    /// Nothing but `pressure` changes it during a call: what waits on a port changes only between calls.
    pub fn room(&self) -> usize {
        let Some(port) = self.core.ports.get(self.me) else { return 0 };
        let settings = &self.core.settings;
        if port.phase == Phase::ReadOnly || port.flags.has(Flags::HELD) || port.is_high(settings) {
            return 0;
        }
        settings.high_water.saturating_sub(port.backlog())
    }

    /// Bytes in memory that wait for the peer, this call's output included.
    pub fn backlog(&self) -> usize {
        self.core.cork.memory() + self.core.ports.get(self.me).map_or(0, |port| port.backlog())
    }

    /// Bytes that wait for the peer, files included, this call's output not. Still there when a failed write is told.
    pub fn unsent(&self) -> u64 {
        let outbox = self.core.ports.get(self.me).and_then(|port| port.outbox.as_ref());
        outbox.map_or(0, |outbox| outbox.len())
    }

    /// [`pressure`](Self::pressure), for a machine that asked for its [`room`](Self::room) at the beginning of the call.
    #[inline]
    pub fn pressure_within(&mut self, room: usize) -> Pressure {
        let cork = &self.core.cork;
        if cork.memory() < room && !cork.has_file() {
            return Pressure::Low;
        }
        self.pressure()
    }
}
