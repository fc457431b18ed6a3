//! Sessions that look again in a while at what no event tells of, so that the reactor does not turn without end meanwhile.

use super::context::{App, Core, Cx};
use super::port::Flags;
use super::token::{Millis, Token};
use std::time::Duration;

/// How long they wait.
const WAIT: Duration = Duration::from_millis(1);

/// Those that wait, each once; all are shown when the first of them is due.
#[derive(Debug, Default)]
pub(super) struct Later {
    tokens: Vec<Token>,
    at: Millis,
}

impl Later {
    /// When they are to be shown, if there are any.
    pub fn due(&self) -> Option<Millis> {
        (!self.tokens.is_empty()).then_some(self.at)
    }

    /// It is among them, once.
    pub fn holds(&self, token: Token) -> bool {
        self.tokens.iter().filter(|held| **held == token).count() == 1
    }
}

impl<A: App> Core<A> {
    /// Queues those that wait, if their time has come.
    pub fn show_due(&mut self) {
        if self.later.due().is_none_or(|at| at > self.now) {
            return;
        }
        for token in std::mem::take(&mut self.later.tokens) {
            if let Some(port) = self.ports.get_mut(token) {
                port.flags.set(Flags::LATER, false);
                port.flags.set(Flags::SHOW, true);
            }
            self.enqueue(token);
        }
    }
}

impl<A: App> Cx<'_, A> {
    /// As [`show_again`](Self::show_again), but in a millisecond; until then nothing is read.
    pub fn show_later(&mut self) {
        let (me, core) = (self.me, &mut *self.core);
        let Some(port) = core.ports.get_mut(me) else { return };
        if port.flags.has(Flags::LATER) {
            return;
        }
        port.flags.set(Flags::LATER, true);
        if core.later.tokens.is_empty() {
            core.later.at = core.now.after(WAIT);
        }
        core.later.tokens.push(me);
    }
}
