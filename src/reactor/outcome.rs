//! What can come of an operation, and nothing else.
//!
//! Every system call is reduced here to [`Io`]: bytes moved, would block, end of file, or a [`Fault`]. What a state does on a
//! fault is decided one layer up, in an exhaustive `match` (see `fault.rs` of each protocol and [`super::port`]). These enums
//! are deliberately not `#[non_exhaustive]`: a new fault must break those matches until its row is decided.

use std::io;

/// The outcome of one read, write or connect.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Io {
    /// So many bytes were moved. A read of a non-empty buffer never reports 0: that is [`Io::Eof`].
    Done(usize),
    /// Not now. An event will tell; only this answer clears remembered readiness.
    WouldBlock,
    /// The peer has shut down its writing side (RFC 9293, section 3.6). Never for a write.
    Eof,
    /// The operation failed, for good.
    Fault(Fault),
}

/// The operation that failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// Reaching the peer.
    Connect,
    /// Agreeing on TLS keys.
    Handshake,
    /// Receiving.
    Read,
    /// Sending, bytes or a file.
    Write,
}

impl Op {
    /// Every operation.
    pub const ALL: [Op; 4] = [Op::Connect, Op::Handshake, Op::Read, Op::Write];
}

/// How it failed. The operating system's many error numbers come down to these.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Nobody listens there (`ECONNREFUSED`; `ENOENT` for a Unix socket).
    Refused,
    /// No way there (`EHOSTUNREACH`, `ENETUNREACH`, `ENETDOWN`, `EHOSTDOWN`, `ENONET`, `EADDRNOTAVAIL`), or none that is
    /// allowed (`EACCES`, `EPERM`).
    Unreachable,
    /// The peer reset the connection (`ECONNRESET`, `ECONNABORTED`, `ENETRESET`, `EPROTO`).
    Reset,
    /// Written after the peer closed, or we did (`EPIPE`, `ENOTCONN`, `ESHUTDOWN`).
    BrokenPipe,
    /// The kernel gave up waiting for the peer (`ETIMEDOUT`).
    TimedOut,
    /// Descriptors, memory or local ports ran out (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`, `EADDRINUSE`).
    Exhausted,
    /// The TLS layer refused what it got.
    Tls(TlsFault),
    /// A file that was being sent became shorter than it was said to be.
    Truncated,
    /// Anything else; the log has the number.
    Other,
}

impl Fault {
    /// Every fault, for tables that must decide each.
    pub const ALL: [Fault; 13] = [
        Fault::Refused,
        Fault::Unreachable,
        Fault::Reset,
        Fault::BrokenPipe,
        Fault::TimedOut,
        Fault::Exhausted,
        Fault::Tls(TlsFault::NotTls),
        Fault::Tls(TlsFault::Alert),
        Fault::Tls(TlsFault::Protocol),
        Fault::Tls(TlsFault::Certificate),
        Fault::Tls(TlsFault::Truncated),
        Fault::Truncated,
        Fault::Other,
    ];

    /// A short word, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Refused => "refused",
            Fault::Unreachable => "unreachable",
            Fault::Reset => "reset",
            Fault::BrokenPipe => "broken_pipe",
            Fault::TimedOut => "timed_out",
            Fault::Exhausted => "exhausted",
            Fault::Tls(TlsFault::NotTls) => "not_tls",
            Fault::Tls(TlsFault::Alert) => "tls_alert",
            Fault::Tls(TlsFault::Protocol) => "tls_protocol",
            Fault::Tls(TlsFault::Certificate) => "tls_certificate",
            Fault::Tls(TlsFault::Truncated) => "tls_truncated",
            Fault::Truncated => "truncated",
            Fault::Other => "other",
        }
    }
}

impl From<&io::Error> for Fault {
    fn from(error: &io::Error) -> Fault {
        use io::ErrorKind as K;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        const ENONET: i32 = 64;
        const EPROTO: i32 = 71;
        const ENETRESET: i32 = 102;
        const ENOBUFS: i32 = 105;
        const ESHUTDOWN: i32 = 108;
        const EHOSTDOWN: i32 = 112;
        match (error.kind(), error.raw_os_error()) {
            (_, Some(ENFILE | EMFILE | ENOBUFS)) => Fault::Exhausted,
            // In use: every local port is.
            (K::OutOfMemory | K::AddrInUse, _) => Fault::Exhausted,
            // Not found: there is no such Unix socket.
            (K::ConnectionRefused | K::NotFound, _) => Fault::Refused,
            (_, Some(ENONET | EHOSTDOWN)) => Fault::Unreachable,
            (K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable, _) => {
                Fault::Unreachable
            }
            // A firewall or a route forbids it, or the mode of a Unix socket.
            (K::PermissionDenied, _) => Fault::Unreachable,
            (_, Some(EPROTO | ENETRESET)) => Fault::Reset,
            (K::ConnectionReset | K::ConnectionAborted, _) => Fault::Reset,
            (_, Some(ESHUTDOWN)) => Fault::BrokenPipe,
            (K::BrokenPipe | K::NotConnected, _) => Fault::BrokenPipe,
            (K::TimedOut, _) => Fault::TimedOut,
            _ => Fault::Other,
        }
    }
}

/// What the TLS layer had to say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TlsFault {
    /// The first bytes were no TLS record.
    NotTls,
    /// The peer sent a fatal alert (RFC 8446, section 6.2).
    Alert,
    /// The peer broke the protocol, or offered nothing that we accept.
    Protocol,
    /// The peer's certificate is missing or not acceptable.
    Certificate,
    /// The stream ended without `close_notify` (RFC 8446, section 6.1): what came may be cut short.
    Truncated,
}

/// An operation and how it failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Failure {
    /// The operation.
    pub op: Op,
    /// What came of it.
    pub fault: Fault,
}

/// How to let go of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseHow {
    /// Close; the kernel still delivers what it has taken.
    Normal,
    /// Reset: what was not delivered is thrown away (`SO_LINGER` 0).
    Reset,
}

/// Why the port itself ended a connection, when no protocol decided it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortReason {
    /// An operation failed and the session had nothing to say about it.
    Failed(Failure),
    /// The last bytes could not be delivered: the connection failed while they were being flushed.
    FlushFailed(Fault),
    /// The peer took no byte for the write timeout while the last bytes were being flushed.
    FlushStalled,
    /// The peer took less than the minimum rate while the last bytes were being flushed.
    FlushTooSlow,
    /// More than the hard cap was waiting to be sent.
    OutboxOverflow,
    /// The session left more unread than the largest buffer.
    InputOverflow,
    /// Let go because descriptors or memory ran short; it had been idle longest.
    Evicted,
    /// Still there when the time for draining was up, or the reactor was stopped.
    Stopped,
    /// The operating system would not watch it.
    Unwatchable,
    /// The port was run three times and nothing moved: a defect, counted and ended.
    NoProgress,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno as E;

    #[test]
    fn every_error_number_of_a_socket_comes_down_to_its_fault() {
        let table: [(Fault, &[E]); 7] = [
            (Fault::Refused, &[E::CONNREFUSED, E::NOENT]),
            (
                Fault::Unreachable,
                &[
                    E::HOSTUNREACH,
                    E::NETUNREACH,
                    E::NETDOWN,
                    E::HOSTDOWN,
                    E::NONET,
                    E::ADDRNOTAVAIL,
                    E::ACCESS,
                    E::PERM,
                ],
            ),
            (Fault::Reset, &[E::CONNRESET, E::CONNABORTED, E::NETRESET, E::PROTO]),
            (Fault::BrokenPipe, &[E::PIPE, E::NOTCONN, E::SHUTDOWN]),
            (Fault::TimedOut, &[E::TIMEDOUT]),
            (Fault::Exhausted, &[E::MFILE, E::NFILE, E::NOBUFS, E::NOMEM, E::ADDRINUSE]),
            (Fault::Other, &[E::IO, E::INVAL, E::NOTSOCK, E::BADF]),
        ];
        for (fault, errnos) in table {
            for errno in errnos {
                assert_eq!(Fault::from(&io::Error::from(*errno)), fault, "{errno:?}");
            }
        }
    }
}
