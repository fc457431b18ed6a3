//! What an HTTP connection does in each state when something other than bytes comes. The whole of it, in one table.
//!
//! | state | what is going on |
//! |---|---|
//! | `Fresh` | a new connection; no byte of a request yet |
//! | `Idle` | kept alive between requests |
//! | `Head` | part of a request head has come |
//! | `Body` | a request body is being read for a handler that wants it whole, or not at all |
//! | `Upload` | a request body is being handed to a handler piece by piece |
//! | `Late` | the answer will come from elsewhere |
//! | `Stream` | the answer's body is being made |
//! | `Sending` | the answer is made, and much of it waits to be taken |

use crate::observe::Reason;
use crate::reactor::{Close, Deadline, Failure, Fault, Hit, Op, TlsFault};

/// Where a connection stands.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    Fresh,
    Idle,
    Head,
    Body,
    Upload,
    Late,
    Stream,
    Sending,
}

impl State {
    /// Every state.
    #[doc(hidden)]
    pub const ALL: [State; 8] = [
        State::Fresh,
        State::Idle,
        State::Head,
        State::Body,
        State::Upload,
        State::Late,
        State::Stream,
        State::Sending,
    ];

    /// A short word, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            State::Fresh => "fresh",
            State::Idle => "idle",
            State::Head => "head",
            State::Body => "body",
            State::Upload => "upload",
            State::Late => "late",
            State::Stream => "stream",
            State::Sending => "sending",
        }
    }
}

/// What is done about it.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Ignore,
    /// The connection ends.
    Close(Close, Reason),
    /// An error is answered, and the connection ends.
    Answer(u16, Reason),
    /// The exchange goes on; the connection ends with it.
    Last,
    /// One more look at what has come, then the connection ends.
    LastLook,
    /// The rate at which the body comes is looked at.
    CheckRate,
    /// Does somebody still have the ticket that is waited for? An upload that does not wait for one has seen no byte for too long.
    CheckHandler,
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
        State::Fresh | State::Idle => Verdict::Close(Close::Graceful, Reason::PeerClosed),
        State::Head | State::Body | State::Upload => Verdict::Close(Close::Graceful, Reason::PeerClosedEarly),
        // A client may shut down its writing side and wait for its answer (RFC 9112, section 9.6).
        State::Late | State::Stream | State::Sending => Verdict::Last,
    }
}

fn timeout(state: State, deadline: Deadline) -> Verdict {
    if let Some(reason) = Reason::of_write_deadline(deadline) {
        return Verdict::Close(Close::Abort, reason);
    }
    match (state, deadline) {
        (State::Fresh, _) => Verdict::Close(Close::Graceful, Reason::ReadTimeout),
        (State::Idle, _) => Verdict::Close(Close::Graceful, Reason::IdleTimeout),
        (State::Head, Deadline::Total) => Verdict::Answer(408, Reason::HeadTimeout),
        (State::Head, Deadline::Phase | Deadline::Progress | Deadline::Rate) => {
            Verdict::Answer(408, Reason::ReadTimeout)
        }
        (State::Body | State::Upload, Deadline::Total) => Verdict::CheckRate,
        (State::Body, Deadline::Phase | Deadline::Progress | Deadline::Rate) => {
            Verdict::Answer(408, Reason::ReadTimeout)
        }
        (State::Upload, Deadline::Phase | Deadline::Progress | Deadline::Rate) => Verdict::CheckHandler,
        // How long a handler takes is its own business, as long as there is one; how long the peer takes is the port's.
        (State::Late | State::Stream, _) => Verdict::CheckHandler,
        (State::Sending, _) => Verdict::Ignore,
    }
}

fn failed(state: State, failure: Failure) -> Verdict {
    let reason = Reason::of_failure(failure);
    match (state, failure.op) {
        // An end without TLS' goodbye, where nothing was under way that could be cut short: many clients leave so.
        (State::Fresh | State::Idle, Op::Read) if failure.fault == Fault::Tls(TlsFault::Truncated) => {
            Verdict::Close(Close::Graceful, Reason::PeerClosed)
        }
        (State::Fresh | State::Idle | State::Head | State::Body | State::Upload, Op::Read | Op::Write) => {
            Verdict::Close(Close::Abort, reason)
        }
        (State::Late | State::Stream | State::Sending, Op::Read | Op::Write) => {
            Verdict::Close(Close::Abort, reason)
        }
        // A server's connection is accepted, not connected; a handshake fails before the first state.
        (
            State::Fresh
            | State::Idle
            | State::Head
            | State::Body
            | State::Upload
            | State::Late
            | State::Stream
            | State::Sending,
            Op::Connect | Op::Handshake,
        ) => Verdict::Close(Close::Graceful, reason),
    }
}

fn drain(state: State) -> Verdict {
    match state {
        State::Fresh | State::Idle => Verdict::LastLook,
        State::Head | State::Body | State::Upload | State::Late | State::Stream | State::Sending => {
            Verdict::Last
        }
    }
}
