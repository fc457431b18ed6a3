//! What a simulated peer does.

use super::super::Ready;
use crate::reactor::outcome::Fault;
use std::collections::VecDeque;

/// One thing that a peer does, or waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits for so many milliseconds.
    Wait(u64),
    /// Takes so many more bytes from now on, and no more; `u64::MAX`: any number.
    Window(u64),
    /// The same, but nobody is told that there is room: as where a kernel waits for its low-water mark (`TCP_NOTSENT_LOWAT`).
    QuietWindow(u64),
    /// Sends FIN: it will send no more, but still reads.
    Fin,
    /// Resets the connection.
    Reset,
    /// Closes: sends FIN, and answers what still comes with a reset.
    Close,
    /// The server's next read, after what waits, fails, and all that follow.
    FailRead(Fault),
    /// The server's next write fails, and all that follow.
    FailWrite(Fault),
    /// The server's writes fail after so many more bytes.
    FailWriteAfter(u64, Fault),
    /// Waits until the server has sent so many bytes in all.
    AwaitSent(u64),
    /// Waits until these bytes are among what the server has sent (as far as it was logged).
    AwaitSeen(Vec<u8>),
    /// Waits for the server's FIN, or its close.
    AwaitFin,
    /// An event that means nothing.
    Spurious(Ready),
}

/// What a simulated peer does, in order. It begins when the connection arrives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script(pub(super) VecDeque<Act>);

impl Script {
    /// A peer that does nothing and takes everything.
    pub fn new() -> Script {
        Script::default()
    }

    /// Any [`Act`].
    #[must_use]
    pub fn act(mut self, act: Act) -> Script {
        self.0.push_back(act);
        self
    }

    /// All of another script.
    #[must_use]
    pub fn then(mut self, other: Script) -> Script {
        self.0.extend(other.0);
        self
    }

    /// See [`Act::Send`].
    #[must_use]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Script {
        self.act(Act::Send(bytes.as_ref().to_vec()))
    }

    /// Sends byte by byte, with so many milliseconds between.
    #[must_use]
    pub fn dribble(self, bytes: impl AsRef<[u8]>, ms: u64) -> Script {
        bytes.as_ref().iter().fold(self, |script, byte| script.send([*byte]).wait(ms))
    }

    /// See [`Act::Wait`]; milliseconds.
    #[must_use]
    pub fn wait(self, ms: u64) -> Script {
        self.act(Act::Wait(ms))
    }

    /// See [`Act::Window`].
    #[must_use]
    pub fn window(self, bytes: u64) -> Script {
        self.act(Act::Window(bytes))
    }

    /// See [`Act::QuietWindow`].
    #[must_use]
    pub fn quiet_window(self, bytes: u64) -> Script {
        self.act(Act::QuietWindow(bytes))
    }

    /// Takes so many bytes every so many milliseconds, so many times.
    #[must_use]
    pub fn sip(self, bytes: u64, ms: u64, times: usize) -> Script {
        (0..times).fold(self, |script, _| script.window(bytes).wait(ms))
    }

    /// See [`Act::Fin`].
    #[must_use]
    pub fn fin(self) -> Script {
        self.act(Act::Fin)
    }

    /// See [`Act::Reset`].
    #[must_use]
    pub fn reset(self) -> Script {
        self.act(Act::Reset)
    }

    /// See [`Act::Close`].
    #[must_use]
    pub fn close(self) -> Script {
        self.act(Act::Close)
    }

    /// See [`Act::FailRead`].
    #[must_use]
    pub fn fail_read(self, fault: Fault) -> Script {
        self.act(Act::FailRead(fault))
    }

    /// See [`Act::FailWrite`].
    #[must_use]
    pub fn fail_write(self, fault: Fault) -> Script {
        self.act(Act::FailWrite(fault))
    }

    /// See [`Act::FailWriteAfter`].
    #[must_use]
    pub fn fail_write_after(self, bytes: u64, fault: Fault) -> Script {
        self.act(Act::FailWriteAfter(bytes, fault))
    }

    /// See [`Act::AwaitSent`].
    #[must_use]
    pub fn await_sent(self, bytes: u64) -> Script {
        self.act(Act::AwaitSent(bytes))
    }

    /// See [`Act::AwaitSeen`].
    #[must_use]
    pub fn await_seen(self, bytes: impl AsRef<[u8]>) -> Script {
        self.act(Act::AwaitSeen(bytes.as_ref().to_vec()))
    }

    /// See [`Act::AwaitFin`].
    #[must_use]
    pub fn await_fin(self) -> Script {
        self.act(Act::AwaitFin)
    }

    /// See [`Act::Spurious`].
    #[must_use]
    pub fn spurious(self, ready: Ready) -> Script {
        self.act(Act::Spurious(ready))
    }
}

/// What becomes of a connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// It stands after so many milliseconds, and the peer does this.
    Accept(u64, Script),
    /// It fails at once.
    Refuse(Fault),
    /// It fails after so many milliseconds.
    Fail(u64, Fault),
    /// Nothing ever comes.
    Hang,
}

impl From<Script> for Plan {
    /// It stands after a millisecond.
    fn from(script: Script) -> Plan {
        Plan::Accept(1, script)
    }
}

/// What goes wrong at an accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptFault {
    /// Descriptors ran out; the connection stays in the queue.
    Exhausted,
    /// A policy forbids it; the connection stays in the queue.
    Denied,
    /// The first of the queue was gone already.
    Skip,
}
