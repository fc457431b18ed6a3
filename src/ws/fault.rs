//! What a WebSocket connection does in each state when something other than bytes comes. The whole of it, in one table, for both
//! roles.
//!
//! | state | what is going on |
//! |---|---|
//! | `Open` | between messages |
//! | `Message` | part of a message has come |
//! | `ClosingByUs` | our close frame is out, the peer's has not come |
//! | `ClosingByPeer` | both close frames are out; a client waits for the server's FIN (RFC 6455, 7.1.1), a server does not |

use crate::observe::Reason;
use crate::reactor::{Close, Deadline, Failure, Hit, Op};

/// Where a connection stands.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    Open,
    Message,
    ClosingByUs,
    ClosingByPeer,
}

impl State {
    /// Every state.
    #[doc(hidden)]
    pub const ALL: [State; 4] = [State::Open, State::Message, State::ClosingByUs, State::ClosingByPeer];

    /// A short word, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Message => "message",
            State::ClosingByUs => "closing_by_us",
            State::ClosingByPeer => "closing_by_peer",
        }
    }

    /// Messages may be sent.
    pub fn is_open(self) -> bool {
        match self {
            State::Open | State::Message => true,
            State::ClosingByUs | State::ClosingByPeer => false,
        }
    }
}

/// What is done about it.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Ignore,
    /// The peer was silent: a ping is sent; or the pong is overdue, and the connection is reset.
    Ping,
    /// The closing handshake begins, with code 1001.
    GoAway,
    /// A close frame with code 1008, then the end: a message took too long.
    TooLong,
    /// The connection ends.
    Close(Close, Reason),
    /// The connection ends for the reason for which closing had begun.
    Finish(Close),
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
        State::Open => Verdict::Close(Close::Graceful, Reason::PeerClosed),
        State::Message => Verdict::Close(Close::Graceful, Reason::PeerClosedEarly),
        State::ClosingByUs | State::ClosingByPeer => Verdict::Finish(Close::Graceful),
    }
}

fn timeout(state: State, deadline: Deadline) -> Verdict {
    if let Some(reason) = Reason::of_write_deadline(deadline) {
        return Verdict::Close(Close::Abort, reason);
    }
    match (state, deadline) {
        (State::Message, Deadline::Total) => Verdict::TooLong,
        (State::Message, Deadline::Phase | Deadline::Progress | Deadline::Rate) => Verdict::Ping,
        (State::Open, Deadline::Total) => Verdict::Ignore,
        (State::Open, Deadline::Phase | Deadline::Progress | Deadline::Rate) => Verdict::Ping,
        (State::ClosingByUs, _) => Verdict::Close(Close::Abort, Reason::CloseTimeout),
        (State::ClosingByPeer, _) => Verdict::Finish(Close::Graceful),
    }
}

fn failed(state: State, failure: Failure) -> Verdict {
    match (state, failure.op) {
        // What a peer still says that cannot be answered is of no use to anybody.
        (State::Open | State::Message, Op::Read | Op::Write) => {
            Verdict::Close(Close::Abort, Reason::of_failure(failure))
        }
        // The reason to close was there first.
        (State::ClosingByUs | State::ClosingByPeer, Op::Read | Op::Write) => Verdict::Finish(Close::Abort),
        // Both come before the first state.
        (
            State::Open | State::Message | State::ClosingByUs | State::ClosingByPeer,
            Op::Connect | Op::Handshake,
        ) => Verdict::Close(Close::Graceful, Reason::of_failure(failure)),
    }
}

fn drain(state: State) -> Verdict {
    match state {
        State::Open | State::Message => Verdict::GoAway,
        State::ClosingByUs | State::ClosingByPeer => Verdict::Ignore,
    }
}

/// Where a client stands before its connection is one, and between two.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Away {
    /// No stream: the time until the next attempt runs.
    Waiting,
    /// A connect is under way.
    Connecting,
    /// Our request is out, its answer has not come.
    Handshake,
}

impl Away {
    /// Every state.
    #[doc(hidden)]
    pub const ALL: [Away; 3] = [Away::Waiting, Away::Connecting, Away::Handshake];

    /// A short word, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Away::Waiting => "waiting",
            Away::Connecting => "connecting",
            Away::Handshake => "handshake",
        }
    }
}

/// What a client does about it.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AwayVerdict {
    /// Nothing.
    Ignore,
    /// The next attempt begins.
    Dial,
    /// This attempt failed; there may be another.
    Lost(Reason),
    /// The client ends for good.
    End(Reason),
}

/// The client's table.
#[doc(hidden)]
pub fn away_verdict(state: Away, hit: Hit) -> AwayVerdict {
    match (state, hit) {
        (Away::Waiting | Away::Connecting | Away::Handshake, Hit::Drain) => AwayVerdict::End(Reason::Drained),
        (Away::Waiting, Hit::Timeout(_)) => AwayVerdict::Dial,
        // There is no stream that could fail.
        (Away::Waiting, Hit::Eof | Hit::Failed(_)) => AwayVerdict::Ignore,
        (Away::Connecting, Hit::Eof | Hit::Timeout(_)) => AwayVerdict::Lost(Reason::ConnectFailed),
        (Away::Handshake, Hit::Eof) => AwayVerdict::Lost(Reason::PeerClosedEarly),
        (Away::Handshake, Hit::Timeout(deadline)) => {
            AwayVerdict::Lost(Reason::of_write_deadline(deadline).unwrap_or(Reason::ReadTimeout))
        }
        (Away::Connecting | Away::Handshake, Hit::Failed(failure)) => {
            AwayVerdict::Lost(Reason::of_failure(failure))
        }
    }
}
