//! The metrics page: one snapshot as text, in either of the two forms that Prometheus reads.
//!
//! Names have the prefix `evenkeel_` and base units (`_seconds`, `_bytes`); totals end in `_total`. No label is an address or a
//! path: every label value is from a closed set, or from the configuration. Of requests and closes a series appears
//! with its first count; of whatever else is counted by few labels it is there from the beginning.

use super::Reason;
use super::counters::{CLASSES, DropPolicy, Handshake, MethodLabel, Refusal, Tally};
use super::process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// Everything that the page shows.
#[derive(Clone, Debug)]
pub struct MetricsSnapshot {
    /// The sum over workers: [`Hub::total`](super::Hub::total).
    pub tally: Tally,
    /// The process; [`Process::read`].
    pub process: Process,
    /// The most connections there may be.
    pub max_connections: u64,
    /// Bytes held for connections.
    pub memory_held_bytes: u64,
    /// Bytes that may be held for connections: the memory budget.
    pub memory_budget_bytes: u64,
    /// Lines of logs that were lost: [`LogQueue::dropped`](super::LogQueue::dropped).
    pub log_lines_dropped: u64,
    /// Configurations that were applied and that were refused, since the start.
    pub reloads: Reloads,
    /// Certificates: the host they are for, as configured, and when they expire, in seconds since 1970.
    pub certificates: Vec<(String, u64)>,
    /// The server is draining.
    pub draining: bool,
    /// The version of the program.
    pub version: &'static str,
}

/// What came of reloads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reloads {
    /// Applied.
    pub applied: u64,
    /// Refused: something was wrong with them, and nothing was applied.
    pub refused: u64,
    /// When the configuration that is running was applied, in seconds since 1970.
    pub applied_at: u64,
}

/// The two forms of the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exposition {
    /// The Prometheus text format, version 0.0.4: what is sent unless the other is asked for.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// Which form a client gets that sent this Accept field.
    pub fn for_accept(accept: Option<&[u8]>) -> Exposition {
        const NAME: &[u8] = b"application/openmetrics-text";
        match accept.is_some_and(|value| value.windows(NAME.len()).any(|w| w.eq_ignore_ascii_case(NAME))) {
            true => Exposition::OpenMetrics,
            false => Exposition::Text,
        }
    }

    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page.
pub fn render(snapshot: &MetricsSnapshot, form: Exposition) -> String {
    let mut ours = Registry::with_prefix("evenkeel");
    ours.register_collector(Box::new(Ours(snapshot.clone())));
    let mut process = Registry::with_prefix("process");
    process.register_collector(Box::new(snapshot.process));
    let mut page = String::with_capacity(16 << 10);
    // Writing to a string cannot fail; if a label's encoder did, what there is so far is still a page.
    let written = encode_registry(&mut page, &ours)
        .and_then(|()| encode_registry(&mut page, &process))
        .and_then(|()| encode_eof(&mut page));
    debug_assert!(written.is_ok());
    match form {
        Exposition::OpenMetrics => page,
        Exposition::Text => to_text(&page),
    }
}

/// OpenMetrics names a family without the ending of its samples, and has types and lines that the older form has not.
fn to_text(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut help = "";
    for line in page.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            let text = help.strip_prefix(name).unwrap_or_default();
            out.extend(["# HELP ", name, ending, text, "\n# TYPE ", name, ending, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            out.extend([line, "\n"]);
        }
    }
    out
}

/// Writes one family after the other.
struct Page<'a>(DescriptorEncoder<'a>);

/// One label.
type Label<'a> = [(&'static str, &'a str); 1];

impl Page<'_> {
    fn total(&mut self, name: &str, help: &str, unit: Option<Unit>, value: u64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn seconds_total(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn totals<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        family.encode_gauge(&value)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        series: impl Iterator<Item = (Label<'l>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// Label and count of each that a closed set has.
fn by<L: Copy>(
    key: &'static str,
    all: &'static [L],
    label: fn(L) -> &'static str,
    counts: &[u64],
) -> impl Iterator<Item = (Label<'static>, u64)> {
    all.iter().zip(counts).map(move |(l, n)| ([(key, label(*l))], *n))
}

#[derive(Debug)]
struct Ours(MetricsSnapshot);

impl Collector for Ours {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.requests(&mut page)?;
        self.connections(&mut page)?;
        self.sockets(&mut page)?;
        self.tls_and_ws(&mut page)?;
        self.process_wide(&mut page)
    }
}

impl Ours {
    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let tally = &self.0.tally;
        let series = MethodLabel::ALL.iter().zip(&tally.requests).flat_map(|(method, classes)| {
            let counted = CLASSES.iter().zip(classes).filter(|(_, n)| **n > 0);
            counted.map(|(class, n)| ([("method", method.label()), ("status", *class)], *n))
        });
        page.totals("http_requests", "HTTP exchanges that are over, by method and class of status", series)?;
        let buckets: Vec<_> = tally.durations.buckets().collect();
        let help = "From the first byte of a request to the last of its answer as handed to the connection";
        let sum = tally.durations.sum_ms() as f64 / 1000.0;
        let unit = Some(&Unit::Seconds);
        page.0
            .encode_descriptor("http_request_duration", help, unit, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, tally.durations.count(), &buckets, None)?;
        let bytes = || Some(Unit::Bytes);
        page.total("http_request_body", "Bodies of requests", bytes(), tally.request_body_bytes)?;
        page.total("http_response_body", "Bodies of answers", bytes(), tally.response_body_bytes)?;
        let help = "Requests for files that were put off until the disk had what they take";
        page.total("http_disk_waits", help, None, tally.disk_waits)?;
        let refused = by("cause", Refusal::ALL, Refusal::label, &tally.refusals);
        page.totals("refusals", "Connections and requests that a guard turned away", refused)
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let (tally, reactor) = (&self.0.tally, &self.0.tally.reactor);
        let states = tally.connections().map(|(state, n)| ([("state", state)], n));
        page.gauges("connections", "Connections there are, by state", None, states)?;
        let help = "The most connections there may be";
        page.gauge("max_connections", help, None, self.0.max_connections)?;
        let closes = tally.closes().map(|(state, reason, n)| {
            let reason: Reason = reason;
            ([("state", state), ("reason", reason.label())], n)
        });
        page.totals("connections_closed", "Connections that ended, by last state and reason", closes)?;
        let help = "Connections accepted, with those that a guard turned away at once";
        page.total("connections_accepted", help, None, reactor.accepted)?;
        page.total(
            "connections_evicted",
            "Idle connections let go for want of descriptors or memory",
            None,
            reactor.evicted,
        )?;
        let pauses = [
            ("limit", reactor.accept_full),
            ("descriptors", reactor.accept_exhausted),
            ("denied", reactor.accept_denied),
        ];
        let pauses = pauses.into_iter().map(|(cause, n)| ([("cause", cause)], n));
        page.totals("accept_pauses", "How often accepting was paused, by cause", pauses)
    }

    fn sockets(&self, page: &mut Page<'_>) -> fmt::Result {
        let (tally, reactor) = (&self.0.tally, &self.0.tally.reactor);
        let bytes = || Some(Unit::Bytes);
        page.total("received", "Received from peers", bytes(), reactor.bytes_in)?;
        page.total("sent", "Sent to peers", bytes(), reactor.bytes_out)?;
        page.total("socket_faults", "Operations on sockets that failed", None, reactor.faults)?;
        page.total("timeouts", "Deadlines of connections that passed", None, reactor.timeouts)?;
        page.total("loop_turns", "Turns of the event loops", None, reactor.turns)?;
        page.total("loop_events", "Readiness events", None, reactor.events)?;
        let help = "Connections closed because running them moved nothing: defects";
        page.total("loop_no_progress", help, None, reactor.no_progress)?;
        let help = "Parts of files that were not at hand when they were to be sent, so that their connections waited for the disk";
        page.total("loop_disk_waits", help, None, reactor.disk_waits)?;
        let lag = tally.lag_ms as f64 / 1000.0;
        page.seconds("loop_lag", "The worst that a timer was late lately", lag)?;
        page.gauge("timers", "Timers that are armed", None, tally.timers)?;
        page.gauge("buffers_held", "Buffers held for connections", bytes(), tally.buffer_bytes)?;
        page.gauge("memory_held", "What is held for connections", bytes(), self.0.memory_held_bytes)?;
        page.gauge("memory_budget", "What may be held for connections", bytes(), self.0.memory_budget_bytes)
    }

    fn tls_and_ws(&self, page: &mut Page<'_>) -> fmt::Result {
        let tally = &self.0.tally;
        let results = by("result", Handshake::ALL, Handshake::label, &tally.handshakes);
        page.totals("tls_handshakes", "TLS handshakes, by result", results)?;
        let expiry = self.0.certificates.iter().map(|(host, at)| ([("host", host.as_str())], *at));
        let help = "When a certificate expires, in seconds since 1970";
        page.gauges("tls_certificate_expiry_timestamp", help, Some(Unit::Seconds), expiry)?;
        let directions = |i, o| [([("direction", "in")], i), ([("direction", "out")], o)].into_iter();
        let messages = directions(tally.ws_messages_in, tally.ws_messages_out);
        page.totals("websocket_messages", "WebSocket messages", messages)?;
        let bytes = directions(tally.ws_bytes_in, tally.ws_bytes_out);
        page.totals("websocket_payload_bytes", "Payload of WebSocket messages", bytes)?;
        page.gauge("rooms", "Rooms that have members", None, tally.rooms)?;
        page.gauge("room_members", "Members of all rooms", None, tally.room_members)?;
        let drops = by("policy", DropPolicy::ALL, DropPolicy::label, &tally.drops);
        page.totals("slow_consumer_drops", "Messages or members dropped because a member was slow", drops)?;
        let help = "Times that somebody was not heard for a while because too much was on its way to others";
        page.total("speaker_waits", help, None, tally.speaker_waits)?;
        let help = "Messages of programs to many that were refused because too much was on its way";
        page.total("publish_refusals", help, None, tally.publish_refusals)
    }

    fn process_wide(&self, page: &mut Page<'_>) -> fmt::Result {
        let Reloads { applied, refused, applied_at } = self.0.reloads;
        let reloads = [([("result", "applied")], applied), ([("result", "refused")], refused)];
        page.totals("reloads", "Reloads of the configuration, by result", reloads.into_iter())?;
        let help = "When the running configuration was applied, in seconds since 1970";
        page.seconds("config_applied_timestamp", help, applied_at as f64)?;
        page.total("log_lines_dropped", "Lines of logs that were lost", None, self.0.log_lines_dropped)?;
        page.gauge("draining", "1 while the server is draining", None, self.0.draining.into())?;
        let build =
            [("version", self.0.version), ("arch", std::env::consts::ARCH), ("os", std::env::consts::OS)];
        page.0.encode_descriptor("build", "What is running", None, MetricType::Info)?.encode_info(&build)
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let bytes = || Some(Unit::Bytes);
        page.seconds_total("cpu", "User and system time used", self.cpu_seconds)?;
        page.gauge("resident_memory", "Resident memory", bytes(), self.resident_bytes)?;
        page.gauge("virtual_memory", "Address space", bytes(), self.virtual_bytes)?;
        page.gauge("open_fds", "Open descriptors", None, self.open_fds)?;
        if let Some(max) = self.max_fds {
            page.gauge("max_fds", "The most descriptors that may be open", None, max)?;
        }
        page.gauge("threads", "Threads", None, self.threads)?;
        page.seconds("start_time", "When the process began, in seconds since 1970", self.start_seconds)
    }
}

#[cfg(test)]
mod tests;
