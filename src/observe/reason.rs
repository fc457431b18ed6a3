//! Why connections end: one closed enum for the whole server. It is the metric's label, the log's field and the fault
//! matrix's column.

use crate::reactor::{Deadline, Failure, Fault, Op, PortReason};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $label:literal $sentence:literal,)*) => {
        /// Why a connection ended. Every connection ends with exactly one.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Reason {
            $(#[doc = $sentence] $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The label, in snake case: stable, for metrics and logs.
            pub fn label(self) -> &'static str {
                match self { $(Reason::$name => $label,)* }
            }

            /// The sentence for people.
            pub fn sentence(self) -> &'static str {
                match self { $(Reason::$name => $sentence,)* }
            }
        }
    };
}

reasons! {
    Done "done" "The exchange was over, and one side had asked to close after it.",
    PeerClosed "peer_closed" "The peer closed the connection between exchanges.",
    PeerClosedEarly "peer_closed_early" "The peer closed in the middle of a request or message.",
    PeerLeft "peer_left" "The peer closed or reset while its answer was being made or sent.",
    IdleTimeout "idle_timeout" "Nothing was asked for the idle timeout.",
    ReadTimeout "read_timeout" "No byte came for the read timeout while one was awaited.",
    HeadTimeout "head_timeout" "The request head was not whole within its time.",
    BodyTooSlow "body_too_slow" "The request body came slower than the minimum rate.",
    WriteStalled "write_stalled" "The peer took no byte for the write timeout.",
    WriteTooSlow "write_too_slow" "The peer took less than the minimum rate.",
    HandshakeTimeout "handshake_timeout" "TLS was not agreed in time.",
    BadRequest "bad_request" "The request broke the grammar or the rules of HTTP; it was refused.",
    TooLarge "too_large" "The request was larger than its limits.",
    Refused "refused" "The request was answered with an error that closes the connection.",
    HandlerFailed "handler_failed" "A handler failed while it made the answer.",
    FileChanged "file_changed" "A file became shorter while it was being sent; the answer was cut off.",
    Reset "reset" "The peer reset the connection.",
    BrokenPipe "broken_pipe" "The peer was gone when something was written.",
    NetworkTimeout "network_timeout" "The operating system gave up waiting for the peer.",
    NetworkError "network_error" "The operating system reported another network error.",
    TlsNotTls "tls_not_tls" "Something other than TLS was sent to a TLS port.",
    TlsFailed "tls_failed" "The TLS handshake or a TLS record was wrong.",
    TlsTruncated "tls_truncated" "The TLS stream ended without close_notify.",
    ConnectFailed "connect_failed" "The other end could not be reached.",
    LineTooLong "line_too_long" "A line was longer than its limit.",
    SlowConsumer "slow_consumer" "A member took messages too slowly for its room.",
    WsClosed "ws_closed" "The WebSocket closing handshake was done.",
    WsViolation "ws_violation" "A WebSocket message broke the protocol.",
    WsTooLarge "ws_too_large" "A WebSocket message was larger than its limit.",
    PongTimeout "pong_timeout" "No pong came for a ping.",
    CloseTimeout "close_timeout" "The peer did not finish the closing handshake in time.",
    Kicked "kicked" "The program closed it.",
    Drained "drained" "The server was draining.",
    Evicted "evicted" "It was idle, and descriptors or memory ran short.",
    MemoryBudget "memory_budget" "Its backlog was the largest when memory ran short.",
    OutboxOverflow "outbox_overflow" "More than the hard cap was waiting to be sent.",
    InputOverflow "input_overflow" "More than the largest buffer was left unread.",
    Stopped "stopped" "The server was stopped, or the time to drain was up.",
    Internal "internal" "A defect of the server; the log has more.",
}

impl Reason {
    /// What a failed operation is called.
    pub fn of_failure(failure: Failure) -> Reason {
        match (failure.op, failure.fault) {
            (_, Fault::Tls(crate::reactor::TlsFault::NotTls)) => Reason::TlsNotTls,
            (_, Fault::Tls(crate::reactor::TlsFault::Truncated)) => Reason::TlsTruncated,
            (_, Fault::Tls(_)) => Reason::TlsFailed,
            (_, Fault::Truncated) => Reason::FileChanged,
            (Op::Handshake, Fault::TimedOut) => Reason::HandshakeTimeout,
            (Op::Connect, _) => Reason::ConnectFailed,
            (_, Fault::Reset) => Reason::Reset,
            (_, Fault::BrokenPipe) => Reason::BrokenPipe,
            (_, Fault::TimedOut) => Reason::NetworkTimeout,
            (_, Fault::Refused | Fault::Unreachable | Fault::Exhausted | Fault::Other) => {
                Reason::NetworkError
            }
        }
    }

    /// What a peer that takes too little is called; `None` for deadlines that the protocol itself set.
    pub fn of_write_deadline(deadline: Deadline) -> Option<Reason> {
        match deadline {
            Deadline::Progress => Some(Reason::WriteStalled),
            Deadline::Rate => Some(Reason::WriteTooSlow),
            Deadline::Phase | Deadline::Total => None,
        }
    }
}

impl From<PortReason> for Reason {
    fn from(reason: PortReason) -> Reason {
        match reason {
            PortReason::Failed(failure) => Reason::of_failure(failure),
            PortReason::FlushFailed(fault) => Reason::of_failure(Failure { op: Op::Write, fault }),
            PortReason::FlushStalled => Reason::WriteStalled,
            PortReason::FlushTooSlow => Reason::WriteTooSlow,
            PortReason::OutboxOverflow => Reason::OutboxOverflow,
            PortReason::InputOverflow => Reason::InputOverflow,
            PortReason::Evicted => Reason::Evicted,
            PortReason::Stopped => Reason::Stopped,
            PortReason::Unwatchable | PortReason::NoProgress => Reason::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_in_snake_case() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.label()));
            assert!(reason.label().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(reason.sentence().ends_with('.'));
        }
    }
}
