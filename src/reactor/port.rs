//! A port: the transport side of one connection, and what its phases do when the transport fails.
//!
//! | phase | has a stream | what moves | ends by |
//! |---|---|---|---|
//! | `Detached` | no | timers and notes only | `attach`, or the session closes |
//! | `Connecting` | yes | nothing | connected, a fault, or the session's deadline |
//! | `Handshaking` | yes | TLS records of the handshake | agreed, a fault, or its deadline |
//! | `Open` | yes | both ways | the session says so |
//! | `ReadOnly` | yes | in only: a write failed, but the peer's last words may still be in the receive buffer | the session says so |
//! | `Flushing` | yes | out only: the session is done | all taken, a fault, or no progress |
//! | `Lingering` | yes | in, thrown away: our FIN is out, a reset now could destroy what the peer has not read yet | EOF, silence, or the limit |
//!
//! In `Connecting` to `ReadOnly` a fault is told to the session, whose `fault.rs` decides. In `Flushing` and `Lingering` there is
//! nobody left to ask: [`Phase::on_failure`] decides.

use super::buffer::Buffer;
use super::net::{Peer, Ready};
use super::outbox::Outbox;
use super::outcome::{Failure, Fault, Op, PortReason};
use super::tls::Tls;
use super::token::{ListenerId, Millis};
use std::time::Duration;

/// Where the transport stands. The page above is its table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// No stream.
    Detached,
    /// A connect is under way.
    Connecting,
    /// A TLS handshake is under way.
    Handshaking,
    /// Both directions work.
    Open,
    /// Writing has failed; reading goes on.
    ReadOnly,
    /// The session is done; its last bytes are being sent.
    Flushing,
    /// Our FIN is out; what still comes is read and thrown away.
    Lingering,
}

/// What a phase does about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFailure {
    /// The session decides.
    Ask,
    /// Close now; this reason replaces the session's, for its last bytes were lost.
    Replace(PortReason),
    /// Close now; the reason that the session gave stands.
    Keep,
    /// Cannot happen in this phase: it does no such operation.
    Never,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 7] = [
        Phase::Detached,
        Phase::Connecting,
        Phase::Handshaking,
        Phase::Open,
        Phase::ReadOnly,
        Phase::Flushing,
        Phase::Lingering,
    ];

    /// A short word, fit for a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Detached => "detached",
            Phase::Connecting => "connecting",
            Phase::Handshaking => "handshaking",
            Phase::Open => "open",
            Phase::ReadOnly => "read_only",
            Phase::Flushing => "flushing",
            Phase::Lingering => "lingering",
        }
    }

    /// The session still runs.
    pub fn has_session(self) -> bool {
        match self {
            Phase::Detached | Phase::Connecting | Phase::Handshaking | Phase::Open | Phase::ReadOnly => true,
            Phase::Flushing | Phase::Lingering => false,
        }
    }

    /// What the session says is sent, now or later.
    pub fn takes_output(self) -> bool {
        match self {
            Phase::Connecting | Phase::Handshaking | Phase::Open => true,
            Phase::Detached | Phase::ReadOnly | Phase::Flushing | Phase::Lingering => false,
        }
    }

    /// What to do about a failure in this phase.
    pub fn on_failure(self, failure: Failure) -> OnFailure {
        match (self, failure.op) {
            (Phase::Detached, Op::Connect) => OnFailure::Ask,
            (Phase::Detached, Op::Handshake | Op::Read | Op::Write) => OnFailure::Never,
            (Phase::Connecting, Op::Connect) => OnFailure::Ask,
            (Phase::Connecting, Op::Handshake | Op::Read | Op::Write) => OnFailure::Never,
            (Phase::Handshaking, Op::Handshake | Op::Read | Op::Write) => OnFailure::Ask,
            (Phase::Handshaking, Op::Connect) => OnFailure::Never,
            (Phase::Open, Op::Read | Op::Write | Op::Handshake) => OnFailure::Ask,
            (Phase::Open, Op::Connect) => OnFailure::Never,
            (Phase::ReadOnly, Op::Read) => OnFailure::Ask,
            (Phase::ReadOnly, Op::Connect | Op::Handshake | Op::Write) => OnFailure::Never,
            (Phase::Flushing, Op::Write) => OnFailure::Replace(PortReason::FlushFailed(failure.fault)),
            (Phase::Flushing, Op::Connect | Op::Handshake | Op::Read) => OnFailure::Never,
            (Phase::Lingering, Op::Read) => OnFailure::Keep,
            (Phase::Lingering, Op::Write) => match failure.fault {
                // A FIN that could not be sent: the peer is gone, and with it what it had not read.
                Fault::Refused
                | Fault::Unreachable
                | Fault::Reset
                | Fault::BrokenPipe
                | Fault::TimedOut
                | Fault::Exhausted
                | Fault::Tls(_)
                | Fault::Truncated
                | Fault::Other => OnFailure::Keep,
            },
            (Phase::Lingering, Op::Connect | Op::Handshake) => OnFailure::Never,
        }
    }
}

/// The limits by which ports live. One value a reactor.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Most accepted connections at once, over all reactors that share a [`Gauge`](super::Gauge).
    pub max_connections: usize,
    /// A peer that takes no byte for this long while something waits for it is reported as [`Deadline::Progress`](super::Deadline).
    pub write_timeout: Duration,
    /// A peer that takes less than this many bytes a second over [`send_window`](Self::send_window) is reported as
    /// [`Deadline::Rate`](super::Deadline). 0: any trickle will do.
    pub send_rate: u64,
    /// Over how long the rate is measured.
    pub send_window: Duration,
    /// A TLS handshake must be over within this time.
    pub handshake_timeout: Duration,
    /// After our FIN: how long silence is waited for.
    pub linger_silence: Duration,
    /// After our FIN: how long in all.
    pub linger_total: Duration,
    /// Waiting output above which we stop reading, in bytes.
    pub high_water: usize,
    /// Waiting output below which the session is told [`Drained`](super::Event), in bytes: from 1 to [`high_water`](Self::high_water).
    pub low_water: usize,
    /// Waiting output above which the connection is closed, in bytes.
    pub hard_cap: usize,
    /// Bytes by which buffers may grow in one turn before the rest of its work is left to the next: so that whoever keeps to a
    /// budget between turns is asked in time.
    pub turn_growth: usize,
    /// The buffer that unread input first gets holds at least this many bytes, up to the largest class. It grows by class.
    pub partial_size: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_connections: 10_000,
            write_timeout: Duration::from_secs(30),
            send_rate: 1024,
            send_window: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            linger_silence: Duration::from_secs(2),
            linger_total: Duration::from_secs(10),
            high_water: 256 << 10,
            low_water: 64 << 10,
            hard_cap: 4 << 20,
            turn_growth: 2 << 20,
            partial_size: 1 << 10,
        }
    }
}

impl Settings {
    /// What a peer must take in a window, in bytes.
    pub(super) fn allotment(&self) -> u64 {
        self.send_rate.saturating_mul(self.send_window.as_millis() as u64) / 1000
    }
}

/// The transport side of one connection.
#[derive(Debug)]
pub struct Port<R> {
    pub(super) peer: Peer,
    pub(super) listener: Option<ListenerId>,
    pub(super) phase: Phase,
    pub(super) ready: Ready,
    pub(super) flags: Flags,
    /// How often it was run in a row without anything moving.
    pub(super) stuck: u8,
    /// What the session left unread.
    pub(super) inbox: Option<Buffer>,
    /// What the kernel refused.
    pub(super) outbox: Option<Box<Outbox>>,
    /// What opens and seals, if it speaks TLS.
    pub(super) tls: Option<Box<Tls>>,
    /// The session's deadlines, or those of flushing and lingering.
    pub(super) phase_at: Millis,
    pub(super) total_at: Millis,
    /// Why it is being closed, once that is decided.
    pub(super) reason: Option<R>,
}

/// What rustls and we hold for an idle TLS connection, about.
const TLS: usize = 4 << 10;

/// Yes-or-no facts of a port, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(u16);

impl Flags {
    /// The session does not want to read now.
    pub(super) const PAUSED: Flags = Flags(1);
    /// It stands in the run queue.
    pub(super) const QUEUED: Flags = Flags(2);
    /// The peer's FIN was seen.
    pub(super) const EOF: Flags = Flags(4);
    /// Its writes are watched.
    pub(super) const WATCHES_WRITES: Flags = Flags(8);
    /// What was kept is to be shown again, without a new read.
    pub(super) const SHOW: Flags = Flags(16);
    /// It stands in the idle list.
    pub(super) const EVICTABLE: Flags = Flags(32);
    /// The session was told that the reactor drains.
    pub(super) const DRAINING: Flags = Flags(64);
    /// Counted against the connection limit.
    pub(super) const COUNTED: Flags = Flags(128);
    /// Output was above high water, or the session was told so; it will be told when it is below low water.
    pub(super) const HELD: Flags = Flags(256);
    /// It is among those that are shown later; until then nothing is read.
    pub(super) const LATER: Flags = Flags(512);
    /// TLS is to begin when the session's call is over; until then nothing is read.
    pub(super) const STARTING: Flags = Flags(1024);
    /// A write found a reset: the kernel tells that once, and a read then finds an end of file.
    pub(super) const RESET: Flags = Flags(2048);

    pub(super) fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    /// Nothing is read, nor shown.
    pub(super) fn hold_input(self) -> bool {
        self.0 & (Flags::PAUSED.0 | Flags::HELD.0 | Flags::LATER.0 | Flags::STARTING.0) != 0
    }

    pub(super) fn set(&mut self, flag: Flags, on: bool) {
        match on {
            true => self.0 |= flag.0,
            false => self.0 &= !flag.0,
        }
    }
}

impl<R> Port<R> {
    pub(super) fn new(peer: Peer, listener: Option<ListenerId>, phase: Phase) -> Port<R> {
        Port {
            peer,
            listener,
            phase,
            // A fresh socket's send buffer is empty: the first write need not wait for an event.
            ready: Ready::WRITABLE,
            flags: Flags::default(),
            stuck: 0,
            inbox: None,
            outbox: None,
            tls: None,
            phase_at: Millis::NEVER,
            total_at: Millis::NEVER,
            reason: None,
        }
    }

    /// What is said now can be handed to the kernel: nothing waits before it.
    pub(super) fn takes_at_once(&self) -> bool {
        self.phase == Phase::Open && self.outbox.is_none() && self.ready.has(Ready::WRITABLE)
    }

    /// Bytes in memory that wait for the peer.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.memory())
    }

    /// Bytes of memory that are held for it beside its slot.
    pub(super) fn held(&self) -> usize {
        let inbox = self.inbox.as_ref().map_or(0, |inbox| inbox.capacity());
        let outbox = self.outbox.as_ref().map_or(0, |outbox| outbox.held());
        inbox + outbox + self.tls.as_ref().map_or(0, |_| TLS)
    }

    /// So much waits, or a file, that no more may be made.
    pub(super) fn is_high(&self, settings: &Settings) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| outbox.memory() >= settings.high_water || outbox.has_file())
    }

    /// So little waits that more may be made.
    pub(super) fn is_low(&self, settings: &Settings) -> bool {
        self.outbox.as_ref().is_none_or(|outbox| outbox.memory() < settings.low_water && !outbox.has_file())
    }

    /// It may be let go when something runs short: nothing waits to be sent, nor what the session has left to be shown again.
    pub(super) fn is_idle(&self) -> bool {
        let shown_again = self.flags.has(Flags::LATER) || self.flags.has(Flags::SHOW) && self.inbox.is_some();
        self.flags.has(Flags::EVICTABLE) && !shown_again && self.outbox.is_none()
    }

    /// The nearest of its deadlines.
    pub(super) fn nearest(&self, settings: &Settings) -> Millis {
        let mut at = self.phase_at.min(self.total_at);
        if let Some(outbox) = self.outbox.as_ref().filter(|outbox| !outbox.is_empty()) {
            at = at
                .min(outbox.fetch.again_at())
                .min(outbox.settles_at())
                .min(outbox.progress_at.after(settings.write_timeout));
            if settings.send_rate > 0 {
                at = at.min(outbox.window.0.after(settings.send_window));
            }
        }
        if let Some(tls) = &self.tls {
            at = at.min(tls.deadline);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_phases_never_ask_a_session_that_is_gone() {
        for phase in Phase::ALL {
            for op in Op::ALL {
                for fault in Fault::ALL {
                    let asks = phase.on_failure(Failure { op, fault }) == OnFailure::Ask;
                    assert!(!asks || phase.has_session(), "{phase:?} {op:?} {fault:?}");
                }
            }
        }
    }

    #[test]
    fn a_port_is_small() {
        assert!(size_of::<Port<u16>>() <= 112, "{}", size_of::<Port<u16>>());
    }
}
