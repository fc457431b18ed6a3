//! What a worker writes of each exchange.

use super::build;
use super::settings::Config;
use crate::http::{Exchanged, Site};
use crate::observe::{AccessLog, Entry, Format, LogQueue, Peers, RequestIds, forwarded, request_id};
use crate::wire::http::Version;
use std::sync::Arc;

/// One worker's access log, and what its lines need besides the exchange.
pub(super) struct Record {
    log: AccessLog,
    ids: RequestIds,
    /// Whose word on who asks is believed.
    trusted: Arc<[Peers]>,
    /// Names of requests and routes are written.
    whole: bool,
}

impl Record {
    /// A log to this queue, or none.
    pub fn new(queue: Option<&LogQueue>, config: Option<&Config>, seed: [u8; 32]) -> Record {
        let log = queue.map_or_else(AccessLog::off, |queue| AccessLog::new(Format::Off, queue.clone()));
        let mut record = Record { log, ids: RequestIds::new(seed), trusted: Arc::default(), whole: false };
        if let Some(config) = config {
            record.live_by(config);
        }
        record
    }

    /// Another form from the next line on.
    pub fn live_by(&mut self, config: &Config) {
        self.log.flush();
        let format = build::format(config);
        self.log.set_format(format);
        self.whole = format == Format::Json;
        self.trusted = config.server.trusted_proxies.clone();
    }

    /// Lines are written at all.
    pub fn is_on(&self) -> bool {
        self.log.is_on()
    }

    /// Hands on what was written.
    pub fn flush(&mut self) {
        self.log.flush();
    }

    /// Appends a line.
    pub fn write(&mut self, done: &Exchanged<'_>, site: &Site) {
        let made;
        let mut entry = Entry {
            status: done.status,
            bytes_in: done.bytes_in,
            bytes_out: done.bytes_out,
            duration_ms: done.duration_ms,
            close_reason: done.closing,
            tls: done.secure,
            ..Entry::new(done.peer, site.clock().unix_ms())
        };
        let Some(head) = done.head else { return self.log.record(&entry.with_line(done.line)) };
        entry.method = Some(head.method.as_str());
        entry.host = head.authority();
        entry.target = head.raw_target;
        entry.protocol = match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        entry.referer = head.field("referer");
        entry.user_agent = head.field("user-agent");
        entry.client_ip = forwarded::client_ip(&self.trusted, &done.peer, head.fields.all("x-forwarded-for"));
        if self.whole {
            entry.route = site.route_name(done.route);
            entry.request_id = head.field("x-request-id").and_then(request_id::accept);
            if entry.request_id.is_none() {
                made = self.ids.make();
                entry.request_id = Some(made.as_str());
            }
        }
        self.log.record(&entry);
    }
}
