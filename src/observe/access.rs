//! The access log: one line for each exchange, made without allocating, written without waiting.
//!
//! Each worker has an [`AccessLog`]. [`record`](AccessLog::record) appends a line to its buffer; at the end of a turn
//! [`flush`](AccessLog::flush) hands the whole batch to the log thread through a [`LogQueue`], which is bounded: when the disk
//! or the reader of standard output stalls, lines are dropped and counted, and no reactor waits.
//!
//! Invariants:
//! 1. An entry is exactly one line: whatever a client sent, line ends, quotes and control bytes are escaped.
//! 2. A line is handed on whole or not at all.
//! 3. The buffer holds at most [`BATCH`] bytes and one line more, and a line has a largest length.
//! 4. The date is formatted at most once a second.

mod format;

use super::{LogQueue, Reason};
use crate::reactor::Peer;
use format::Stamp;
use std::net::IpAddr;

/// A batch is handed on during a turn when it is longer than this, in bytes.
pub const BATCH: usize = 64 << 10;

/// The form of a line.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// No line at all.
    Off,
    /// The Common Log Format of NCSA httpd: `peer - - [time] "request" status bytes`.
    Common,
    /// The same with the quoted referer and user agent behind.
    #[default]
    Combined,
    /// One JSON object (RFC 8259) a line. Keys are always the same and in the same order; what is not known is `null`.
    Json,
}

/// What is logged of one exchange. Byte strings are as the client sent them; they are escaped when written.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it was over: milliseconds since 1970.
    pub unix_ms: u64,
    /// The other end of the connection.
    pub peer: Peer,
    /// The client, where a trusted forwarding header names another than `peer`.
    pub client_ip: Option<IpAddr>,
    /// The method; none if there is no head, or none in its first line.
    pub method: Option<&'a str>,
    /// The authority that was asked for.
    pub host: Option<&'a [u8]>,
    /// The request-target as received, or whatever stands in its place in a bad head; empty if there is none. Cut after 8 KiB.
    pub target: &'a [u8],
    /// `HTTP/1.1`; empty if not known.
    pub protocol: &'a str,
    /// Status of the answer; 0 if none was sent, for which the common forms have 499.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Milliseconds from the first byte of the request to the last of the answer.
    pub duration_ms: u64,
    /// The Referer field. Cut after 1 KiB, as every text below.
    pub referer: Option<&'a [u8]>,
    /// The User-Agent field.
    pub user_agent: Option<&'a [u8]>,
    /// The name of the request, ours or the client's: see [`RequestIds`](super::RequestIds).
    pub request_id: Option<&'a str>,
    /// Why the connection closes, if it does.
    pub close_reason: Option<Reason>,
    /// The pattern of the route that answered.
    pub route: Option<&'a str>,
    /// It came over TLS.
    pub tls: bool,
    /// Which server behind us answered, if one did.
    pub upstream: Option<UpstreamEntry<'a>>,
}

/// What is logged of the server behind us.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamEntry<'a> {
    /// Its address or name.
    pub name: &'a str,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// How often the request was tried again.
    pub retries: u32,
}

impl Entry<'_> {
    /// An entry of which no more is known.
    pub fn new(peer: Peer, unix_ms: u64) -> Entry<'static> {
        Entry {
            unix_ms,
            peer,
            client_ip: None,
            method: None,
            host: None,
            target: b"",
            protocol: "",
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            duration_ms: 0,
            referer: None,
            user_agent: None,
            request_id: None,
            close_reason: None,
            route: None,
            tls: false,
            upstream: None,
        }
    }
}

impl<'a> Entry<'a> {
    /// The same with what can be made out of the first line of a bad head: who reads the log looks for who sends such lines.
    pub fn with_line(mut self, line: &'a [u8]) -> Entry<'a> {
        let space = memchr::memchr(b' ', line).unwrap_or(line.len());
        self.method = std::str::from_utf8(&line[..space]).ok().filter(|word| is_method(word));
        self.target = if self.method.is_some() { line.get(space + 1..).unwrap_or_default() } else { line };
        if let (Some(_), Some(space)) = (self.method, memchr::memrchr(b' ', self.target))
            && let Ok(protocol) = std::str::from_utf8(&self.target[space + 1..])
            && protocol.starts_with("HTTP/")
        {
            (self.protocol, self.target) = (protocol, &self.target[..space]);
        }
        self
    }
}

/// It may be one that we do not know (RFC 9110, section 9.1: a token, of capitals by convention).
fn is_method(word: &str) -> bool {
    (1..=16).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-' || b == b'_')
}

/// One worker's access log. See the module page.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    queue: Option<LogQueue>,
    buffer: Vec<u8>,
    lines: u64,
    stamp: Stamp,
}

impl AccessLog {
    /// A log that is off.
    pub fn off() -> AccessLog {
        AccessLog::build(Format::Off, None)
    }

    /// A log of this form, to this queue.
    pub fn new(format: Format, queue: LogQueue) -> AccessLog {
        AccessLog::build(format, Some(queue))
    }

    fn build(format: Format, queue: Option<LogQueue>) -> AccessLog {
        AccessLog { format, queue, buffer: Vec::new(), lines: 0, stamp: Stamp::default() }
    }

    /// Lines are written at all: ask before gathering an [`Entry`].
    pub fn is_on(&self) -> bool {
        self.format != Format::Off
    }

    /// Another form from the next line on.
    pub fn set_format(&mut self, format: Format) {
        self.format = if self.queue.is_some() { format } else { Format::Off };
    }

    /// Appends a line.
    pub fn record(&mut self, entry: &Entry<'_>) {
        let AccessLog { format, buffer, stamp, .. } = self;
        match format {
            Format::Off => return,
            Format::Common => format::common(buffer, stamp, entry),
            Format::Combined => format::combined(buffer, stamp, entry),
            Format::Json => format::json(buffer, stamp, entry),
        }
        buffer.push(b'\n');
        self.lines += 1;
        if self.buffer.len() > BATCH {
            self.flush();
        }
    }

    /// Hands on what was recorded. Call it at the end of each turn, and before the worker ends. Free if nothing was recorded.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if let Some(queue) = &self.queue {
            queue.offer(&self.buffer, self.lines);
        }
        self.buffer.clear();
        self.buffer.shrink_to(BATCH);
        self.lines = 0;
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LogWriter;
    use crate::observe::log_writer::tests::Memory;
    use std::net::SocketAddr;
    use std::time::Duration;

    fn entry<'a>() -> Entry<'a> {
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        Entry {
            method: Some("GET"),
            host: Some(b"example.org"),
            target: b"/a?b=c",
            protocol: "HTTP/1.1",
            status: 200,
            bytes_out: 1234,
            duration_ms: 1042,
            user_agent: Some(b"curl/8"),
            ..Entry::new(peer.into(), 784_111_777_089)
        }
    }

    fn line(format: Format, entry: &Entry<'_>) -> String {
        let memory = Memory::default();
        let writer = LogWriter::start_with(Box::new(memory.clone()), 1 << 20).unwrap();
        let mut log = AccessLog::new(format, writer.queue());
        log.record(entry);
        log.flush();
        assert!(writer.close(Duration::from_secs(10)));
        String::from_utf8(memory.bytes()).unwrap()
    }

    #[test]
    fn the_common_and_combined_forms_are_what_log_readers_expect() {
        let common = "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234";
        assert_eq!(line(Format::Common, &entry()), format!("{common}\n"));
        assert_eq!(line(Format::Combined, &entry()), format!("{common} \"-\" \"curl/8\"\n"));
    }

    #[test]
    fn the_json_form_has_the_promised_keys() {
        let full = Entry {
            client_ip: Some("2001:db8::1".parse().unwrap()),
            request_id: Some("abc"),
            close_reason: Some(Reason::Drained),
            route: Some("/*"),
            tls: true,
            upstream: Some(UpstreamEntry { name: "app", duration_ms: 7, retries: 1 }),
            ..entry()
        };
        assert_eq!(
            line(Format::Json, &full),
            "{\"ts\":\"1994-11-06T08:49:37.089Z\",\"client_ip\":\"2001:db8::1\",\"peer_ip\":\"192.0.2.7\",\
             \"method\":\"GET\",\"host\":\"example.org\",\"path\":\"/a?b=c\",\"proto\":\"HTTP/1.1\",\"status\":200,\
             \"bytes_in\":0,\"bytes_out\":1234,\"dur_s\":1.042,\"request_id\":\"abc\",\"close_reason\":\"drained\",\
             \"route\":\"/*\",\"tls\":true,\"upstream\":\"app\",\"upstream_dur_s\":0.007,\"retries\":1}\n"
        );
    }

    #[test]
    fn a_request_that_was_never_whole_is_a_line_too() {
        let bare = Entry { status: 408, ..Entry::new(Peer::UNIX, 0) };
        assert_eq!(
            line(Format::Combined, &bare),
            "unix: - - [01/Jan/1970:00:00:00 +0000] \"-\" 408 0 \"-\" \"-\"\n"
        );
        assert_eq!(
            line(Format::Json, &bare),
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"client_ip\":null,\"peer_ip\":null,\"method\":null,\"host\":null,\
             \"path\":null,\"proto\":null,\"status\":408,\"bytes_in\":0,\"bytes_out\":0,\"dur_s\":0.000,\
             \"request_id\":null,\"close_reason\":null,\"route\":null,\"tls\":false,\"upstream\":null,\
             \"upstream_dur_s\":null,\"retries\":0}\n"
        );
    }

    #[test]
    fn a_request_that_got_no_answer_has_a_status_that_log_readers_know() {
        let gone = Entry { status: 0, bytes_out: 0, close_reason: Some(Reason::PeerClosedEarly), ..entry() };
        let common = "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b=c HTTP/1.1\" 499 0";
        assert_eq!(line(Format::Common, &gone), format!("{common}\n"));
        assert_eq!(line(Format::Combined, &gone), format!("{common} \"-\" \"curl/8\"\n"));
        assert!(line(Format::Json, &gone).contains("\"status\":0,\"bytes_in\":0,"));
    }

    #[test]
    fn of_a_bad_head_the_first_line_is_told_as_far_as_it_can_be_made_out() {
        let rows: [(&[u8], &str, [&str; 3]); 7] = [
            (b"GET /a b HTTP/1.1", "GET /a b HTTP/1.1", ["\"GET\"", "\"/a b\"", "\"HTTP/1.1\""]),
            (b"FIND /<x> HTTP/3.7", "FIND /<x> HTTP/3.7", ["\"FIND\"", "\"/<x>\"", "\"HTTP/3.7\""]),
            (b"GET /\xc3\xbc", "GET /\\xC3\\xBC", ["\"GET\"", "\"/\u{fc}\"", "null"]),
            (b"GET", "GET ", ["\"GET\"", "null", "null"]),
            (b"\x16\x03 HTTP/1.1", "\\x16\\x03 HTTP/1.1", ["null", "\"\\u0016\\u0003 HTTP/1.1\"", "null"]),
            (b" / HTTP/1.1", " / HTTP/1.1", ["null", "\" / HTTP/1.1\"", "null"]),
            (b"", "-", ["null"; 3]),
        ];
        for (bad, common, [method, path, proto]) in rows {
            let bare = Entry { status: 400, ..Entry::new(Peer::UNIX, 0) }.with_line(bad);
            let said = line(Format::Common, &bare);
            assert!(said.ends_with(&format!("] \"{common}\" 400 0\n")), "{said}");
            let json = format!("\"method\":{method},\"host\":null,\"path\":{path},\"proto\":{proto},");
            let said = line(Format::Json, &bare);
            assert!(said.contains(&json), "{said}");
        }
    }

    #[test]
    fn what_a_client_sends_cannot_break_a_line_or_leave_its_quotes() {
        let every: Vec<u8> = (0..=255).collect();
        let hostile = Entry {
            target: &every,
            host: Some(&every),
            referer: Some(&every),
            user_agent: Some(&every),
            ..entry()
        };
        for format in [Format::Common, Format::Combined, Format::Json] {
            let line = line(format, &hostile);
            let body = line.strip_suffix('\n').unwrap();
            assert!(!body.chars().any(|c| c.is_control()), "{body:?}");
        }
        let combined = line(Format::Combined, &hostile);
        assert_eq!(combined.matches('"').count(), 6, "{combined}");
        assert!(combined.contains("\\x00") && combined.contains("\\x22") && combined.contains("\\x5C"));
        let json = line(Format::Json, &hostile);
        assert!(
            json.contains("\\u0000")
                && json.contains("\\\"")
                && json.contains("\\\\")
                && json.contains("\\u00FF")
        );
    }

    #[test]
    fn a_line_has_a_largest_length() {
        let long = vec![0x01; 1 << 20];
        let hostile = Entry {
            target: &long,
            host: Some(&long),
            referer: Some(&long),
            user_agent: Some(&long),
            ..entry()
        };
        for format in [Format::Common, Format::Combined, Format::Json] {
            assert!(line(format, &hostile).len() < 70_000);
        }
    }

    #[test]
    fn a_long_turn_hands_on_before_its_end_and_the_date_follows_the_second() {
        let memory = Memory::default();
        let writer = LogWriter::start_with(Box::new(memory.clone()), 64 << 20).unwrap();
        let mut log = AccessLog::new(Format::Common, writer.queue());
        for i in 0..10_000 {
            log.record(&Entry { unix_ms: i, ..entry() });
            assert!(log.buffer.len() <= BATCH);
        }
        drop(log);
        assert!(writer.close(Duration::from_secs(10)));
        let text = String::from_utf8(memory.bytes()).unwrap();
        assert_eq!(text.lines().count(), 10_000);
        for second in 0..10 {
            assert_eq!(text.matches(&format!(":00:00:0{second} ")).count(), 1000);
        }
    }

    #[test]
    fn a_log_that_is_off_does_nothing() {
        let mut log = AccessLog::off();
        log.set_format(Format::Json);
        assert!(!log.is_on());
        log.record(&entry());
        assert!(log.buffer.is_empty());
    }
}
