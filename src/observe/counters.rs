//! What a worker counts: plain integers with one writer, summed when somebody asks.
//!
//! A worker changes its [`Tally`] directly: no atomic, no lock, on the hot path one addition for each thing counted. How others
//! get to see it is told in [`hub`](super::hub).
//!
//! Invariants: a total never goes down while the process lives; every label is one of a closed set, so that no client can make a
//! series; states are named by the program, once, and all workers have the same.

use super::Reason;
use super::histogram::Histogram;
use crate::reactor::Counters;
use crate::wire::http::Method;

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The label, in snake case.
            pub fn label(self) -> &'static str {
                match self { $($name::$variant => $label,)* }
            }
        }
    };
}

labels! {
    /// Methods as labels: whatever is not one of the nine of RFC 9110 and RFC 5789 is `other`, for clients choose the rest.
    MethodLabel {
        /// GET
        Get "GET",
        /// HEAD
        Head "HEAD",
        /// POST
        Post "POST",
        /// PUT
        Put "PUT",
        /// DELETE
        Delete "DELETE",
        /// CONNECT
        Connect "CONNECT",
        /// OPTIONS
        Options "OPTIONS",
        /// TRACE
        Trace "TRACE",
        /// PATCH
        Patch "PATCH",
        /// Any other, and a head that was refused before its method was known.
        Other "other",
    }
}

impl From<Option<Method<'_>>> for MethodLabel {
    fn from(method: Option<Method<'_>>) -> MethodLabel {
        match method {
            Some(Method::Get) => MethodLabel::Get,
            Some(Method::Head) => MethodLabel::Head,
            Some(Method::Post) => MethodLabel::Post,
            Some(Method::Put) => MethodLabel::Put,
            Some(Method::Delete) => MethodLabel::Delete,
            Some(Method::Connect) => MethodLabel::Connect,
            Some(Method::Options) => MethodLabel::Options,
            Some(Method::Trace) => MethodLabel::Trace,
            Some(Method::Patch) => MethodLabel::Patch,
            Some(Method::Other(_)) | None => MethodLabel::Other,
        }
    }
}

labels! {
    /// What came of a TLS handshake.
    Handshake {
        /// Agreed.
        Done "ok",
        /// The two sides do not fit, or one broke the protocol.
        Failed "failed",
        /// Something other than TLS was sent.
        NotTls "not_tls",
        /// Not over in time.
        TimedOut "timed_out",
        /// The peer left in the middle.
        PeerLeft "peer_left",
    }
}

labels! {
    /// What was done for a room with a member that takes too slowly.
    DropPolicy {
        /// The member was closed.
        Close "close",
        /// Its oldest waiting message was dropped.
        Oldest "drop_oldest",
        /// The new message was dropped.
        Newest "drop_newest",
        /// All but the latest were dropped.
        Latest "latest",
    }
}

labels! {
    /// Why somebody was turned away before a protocol began, or a request before a handler saw it.
    Refusal {
        /// The client has too many connections.
        ClientConnections "client_connections",
        /// The memory budget is used up.
        Memory "memory",
        /// The client asked too often.
        Rate "rate",
    }
}

/// The classes of statuses: none sent, 1xx to 5xx.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Everything one worker counts, or the sum over workers. Change the fields directly where there is no method.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // proof: the names are the documentation; `prometheus` exports each with its help text
pub struct Tally {
    states: &'static [&'static str],
    /// By state: how many connections there are. A gauge.
    connections: Vec<u64>,
    /// By state and reason.
    closes: Vec<u64>,
    pub requests: [[u64; CLASSES.len()]; MethodLabel::ALL.len()],
    pub durations: Histogram,
    pub request_body_bytes: u64,
    pub response_body_bytes: u64,
    pub disk_waits: u64,
    pub handshakes: [u64; Handshake::ALL.len()],
    pub ws_messages_in: u64,
    pub ws_messages_out: u64,
    pub ws_bytes_in: u64,
    pub ws_bytes_out: u64,
    pub drops: [u64; DropPolicy::ALL.len()],
    pub speaker_waits: u64,
    pub publish_refusals: u64,
    pub refusals: [u64; Refusal::ALL.len()],
    /// The reactor's own counts.
    pub reactor: Counters,
    // Gauges: how it is now.
    /// Each room once: counted at its home.
    pub rooms: u64,
    pub room_members: u64,
    pub timers: u64,
    pub buffer_bytes: u64,
    /// The worst that a timer was late lately, in milliseconds. Of several workers the worst.
    pub lag_ms: u64,
}

impl Tally {
    /// Nothing counted yet, for connections that can be in these states (snake case, at most 64 of them).
    pub fn new(states: &'static [&'static str]) -> Tally {
        Tally {
            states,
            connections: vec![0; states.len()],
            closes: vec![0; states.len() * Reason::ALL.len()],
            requests: Default::default(),
            durations: Histogram::default(),
            request_body_bytes: 0,
            response_body_bytes: 0,
            disk_waits: 0,
            handshakes: Default::default(),
            ws_messages_in: 0,
            ws_messages_out: 0,
            ws_bytes_in: 0,
            ws_bytes_out: 0,
            drops: Default::default(),
            speaker_waits: 0,
            publish_refusals: 0,
            refusals: Default::default(),
            reactor: Counters::default(),
            rooms: 0,
            room_members: 0,
            timers: 0,
            buffer_bytes: 0,
            lag_ms: 0,
        }
    }

    /// An exchange is over. `status` 0: no answer was sent. Sizes of bodies in bytes.
    pub fn exchange(
        &mut self,
        method: Option<Method<'_>>,
        status: u16,
        duration_ms: u64,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let class = usize::from(status / 100);
        let class = if class < CLASSES.len() { class } else { 0 };
        self.requests[MethodLabel::from(method) as usize][class] += 1;
        self.durations.record(duration_ms);
        self.request_body_bytes = self.request_body_bytes.wrapping_add(bytes_in);
        self.response_body_bytes = self.response_body_bytes.wrapping_add(bytes_out);
    }

    /// A connection has ended in this state (an index of the states' names) for this reason.
    pub fn closed(&mut self, state: usize, reason: Reason) {
        if state < self.states.len() {
            self.closes[state * Reason::ALL.len() + reason as usize] += 1;
        }
    }

    /// A TLS handshake is over.
    pub fn handshake(&mut self, result: Handshake) {
        self.handshakes[result as usize] += 1;
    }

    /// A slow member of a room cost a message, or itself.
    pub fn dropped(&mut self, drop: DropPolicy) {
        self.drops[drop as usize] += 1;
    }

    /// Somebody was turned away.
    pub fn refused(&mut self, refusal: Refusal) {
        self.refusals[refusal as usize] += 1;
    }

    /// Counts connections by state anew: the index of each one's state.
    pub fn set_connections(&mut self, states: impl Iterator<Item = usize>) {
        self.connections.fill(0);
        for state in states {
            if let Some(count) = self.connections.get_mut(state) {
                *count += 1;
            }
        }
    }

    /// The names of states and how many connections are in each.
    pub fn connections(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.states.iter().copied().zip(self.connections.iter().copied())
    }

    /// Connections in all states together.
    pub fn connection_count(&self) -> u64 {
        self.connections.iter().sum()
    }

    /// Closes that have happened: state, reason, how often.
    pub fn closes(&self) -> impl Iterator<Item = (&'static str, Reason, u64)> + '_ {
        self.closes.iter().enumerate().filter(|(_, n)| **n > 0).filter_map(|(i, n)| {
            let (state, reason) = (i / Reason::ALL.len(), i % Reason::ALL.len());
            Some((*self.states.get(state)?, *Reason::ALL.get(reason)?, *n))
        })
    }

    /// Adds another worker's tally.
    pub fn add(&mut self, other: &Tally) {
        fn all<const N: usize>(to: &mut [u64; N], from: &[u64; N]) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        self.connections.iter_mut().zip(&other.connections).for_each(|(to, from)| *to += from);
        self.closes.iter_mut().zip(&other.closes).for_each(|(to, from)| *to += from);
        self.requests.iter_mut().zip(&other.requests).for_each(|(to, from)| all(to, from));
        self.durations.add(&other.durations);
        self.request_body_bytes += other.request_body_bytes;
        self.response_body_bytes += other.response_body_bytes;
        self.disk_waits += other.disk_waits;
        all(&mut self.handshakes, &other.handshakes);
        self.ws_messages_in += other.ws_messages_in;
        self.ws_messages_out += other.ws_messages_out;
        self.ws_bytes_in += other.ws_bytes_in;
        self.ws_bytes_out += other.ws_bytes_out;
        all(&mut self.drops, &other.drops);
        self.speaker_waits += other.speaker_waits;
        self.publish_refusals += other.publish_refusals;
        all(&mut self.refusals, &other.refusals);
        add_reactor(&mut self.reactor, &other.reactor);
        self.rooms += other.rooms;
        self.room_members += other.room_members;
        self.timers += other.timers;
        self.buffer_bytes += other.buffer_bytes;
        self.lag_ms = self.lag_ms.max(other.lag_ms);
    }
}

fn add_reactor(to: &mut Counters, from: &Counters) {
    // Taken apart by name: a new counter does not compile until it is summed.
    let Counters {
        turns,
        events,
        stale_events,
        accepted,
        refused,
        accept_full,
        accept_exhausted,
        accept_denied,
        accept_skipped,
        evicted,
        closed,
        reads,
        writes,
        bytes_in,
        bytes_out,
        lingered_bytes,
        shown,
        drained,
        faults,
        timeouts,
        notes,
        stale_notes,
        no_progress,
        disk_waits,
        handshakes,
        handshakes_deferred,
    } = from;
    to.turns += turns;
    to.events += events;
    to.stale_events += stale_events;
    to.accepted += accepted;
    to.refused += refused;
    to.accept_full += accept_full;
    to.accept_exhausted += accept_exhausted;
    to.accept_denied += accept_denied;
    to.accept_skipped += accept_skipped;
    to.evicted += evicted;
    to.closed += closed;
    to.reads += reads;
    to.writes += writes;
    to.bytes_in += bytes_in;
    to.bytes_out += bytes_out;
    to.lingered_bytes += lingered_bytes;
    to.shown += shown;
    to.drained += drained;
    to.faults += faults;
    to.timeouts += timeouts;
    to.notes += notes;
    to.stale_notes += stale_notes;
    to.no_progress += no_progress;
    to.disk_waits += disk_waits;
    to.handshakes += handshakes;
    to.handshakes_deferred += handshakes_deferred;
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: &[&str] = &["head", "idle"];

    #[test]
    fn labels_are_unique() {
        fn check(labels: Vec<&str>) {
            let set: std::collections::HashSet<_> = labels.iter().collect();
            assert_eq!(set.len(), labels.len());
        }
        check(MethodLabel::ALL.iter().map(|l| l.label()).collect());
        check(Handshake::ALL.iter().map(|l| l.label()).collect());
        check(DropPolicy::ALL.iter().map(|l| l.label()).collect());
        check(Refusal::ALL.iter().map(|l| l.label()).collect());
    }

    #[test]
    fn a_reason_is_its_own_place_in_the_list_of_all() {
        assert!(Reason::ALL.iter().enumerate().all(|(i, reason)| *reason as usize == i));
    }

    #[test]
    fn an_exchange_is_counted_by_method_and_class_whatever_it_was() {
        let mut tally = Tally::new(STATES);
        tally.exchange(Some(Method::Get), 200, 3, 10, 20);
        tally.exchange(Some(Method::Other("BREW")), 418, 3, 0, 0);
        tally.exchange(None, 0, 3, 0, 0);
        tally.exchange(None, u16::MAX, 3, u64::MAX, 0);
        assert_eq!(tally.requests[MethodLabel::Get as usize], [0, 0, 1, 0, 0, 0]);
        assert_eq!(tally.requests[MethodLabel::Other as usize], [2, 0, 0, 0, 1, 0]);
        assert_eq!((tally.durations.count(), tally.response_body_bytes), (4, 20));
    }

    #[test]
    fn closes_are_counted_by_state_and_reason() {
        let mut tally = Tally::new(STATES);
        tally.closed(0, Reason::HeadTimeout);
        tally.closed(1, Reason::Internal);
        tally.closed(1, Reason::Internal);
        tally.closed(2, Reason::Done);
        let closes: Vec<_> = tally.closes().collect();
        assert_eq!(closes, [("head", Reason::HeadTimeout, 1), ("idle", Reason::Internal, 2)]);
    }
}
