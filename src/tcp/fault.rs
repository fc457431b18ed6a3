//! What a raw TCP connection does in each state when something other than bytes comes. The whole of it, in one table.
//!
//! | state | what is going on |
//! |---|---|
//! | `Open` | bytes may come and go |
//! | `Held` | output above high water waits; nothing is read until the peer has taken it |
//! | `Finishing` | the peer has shut down its writing side; a handler goes on sending |

use crate::observe::Reason;
use crate::reactor::{Close, Deadline, Failure, Hit, Op};

/// Where a connection stands.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    Open,
    Held,
    Finishing,
}

impl State {
    /// Every state.
    #[doc(hidden)]
    pub const ALL: [State; 3] = [State::Open, State::Held, State::Finishing];

    /// A short word, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Held => "held",
            State::Finishing => "finishing",
        }
    }
}

/// What is done about it.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Ignore,
    /// The handler is told that no more will come; the built-in ones close.
    TellEof,
    /// The connection has been silent: closed, unless output is on its way.
    Silent,
    /// The connection ends.
    Close(Close, Reason),
}

/// The table.
#[doc(hidden)]
pub fn verdict(state: State, hit: Hit) -> Verdict {
    match hit {
        Hit::Eof => eof(state),
        Hit::Timeout(deadline) => timeout(state, deadline),
        Hit::Failed(failure) => failed(state, failure),
        Hit::Drain => drain(state),
    }
}

fn eof(state: State) -> Verdict {
    match state {
        State::Open | State::Held => Verdict::TellEof,
        State::Finishing => Verdict::Ignore,
    }
}

fn timeout(state: State, deadline: Deadline) -> Verdict {
    if let Some(reason) = Reason::of_write_deadline(deadline) {
        return Verdict::Close(Close::Abort, reason);
    }
    match state {
        State::Open | State::Finishing => Verdict::Silent,
        // That nothing comes is our doing; whether the peer takes what waits is watched by the port.
        State::Held => Verdict::Ignore,
    }
}

fn failed(state: State, failure: Failure) -> Verdict {
    let reason = Reason::of_failure(failure);
    match (state, failure.op) {
        // Nothing of use can come from a peer that nothing can be sent to.
        (State::Open | State::Held | State::Finishing, Op::Read | Op::Write) => {
            Verdict::Close(Close::Abort, reason)
        }
        // An accepted connection is not connected; a handshake fails before the first state.
        (State::Open | State::Held | State::Finishing, Op::Connect | Op::Handshake) => {
            Verdict::Close(Close::Graceful, reason)
        }
    }
}

fn drain(state: State) -> Verdict {
    match state {
        State::Open | State::Held => Verdict::Close(Close::Graceful, Reason::Drained),
        // It is on its way out; the drain's own deadline ends it if need be.
        State::Finishing => Verdict::Ignore,
    }
}

/// Where a client stands while it is not connected.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Away {
    /// No stream: the time until the next attempt runs.
    Waiting,
    /// A connect is under way.
    Connecting,
}

/// What a client does about it.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AwayVerdict {
    /// Nothing.
    Ignore,
    /// The next attempt begins.
    Dial,
    /// The connection has been silent: given up, unless output is on its way.
    Silent,
    /// The connection, or the attempt, is over; there may be another.
    Lost(Reason),
    /// The client ends for good.
    End(Reason),
}

/// The client's table; `None`: it is connected.
#[doc(hidden)]
pub fn away_verdict(state: Option<Away>, hit: Hit) -> AwayVerdict {
    match (state, hit) {
        (Some(Away::Waiting | Away::Connecting) | None, Hit::Drain) => AwayVerdict::End(Reason::Drained),
        (Some(Away::Waiting), Hit::Timeout(_)) => AwayVerdict::Dial,
        // There is no stream that could fail.
        (Some(Away::Waiting), Hit::Eof | Hit::Failed(_)) => AwayVerdict::Ignore,
        (Some(Away::Connecting), Hit::Eof | Hit::Timeout(_)) => AwayVerdict::Lost(Reason::ConnectFailed),
        (None, Hit::Eof) => AwayVerdict::Lost(Reason::PeerClosed),
        (None, Hit::Timeout(deadline)) => {
            Reason::of_write_deadline(deadline).map_or(AwayVerdict::Silent, AwayVerdict::Lost)
        }
        (Some(Away::Connecting) | None, Hit::Failed(failure)) => {
            AwayVerdict::Lost(Reason::of_failure(failure))
        }
    }
}
