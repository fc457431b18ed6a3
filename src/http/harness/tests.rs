//! For tests: one request to one handler, without a connection, over the simulated world.

use super::clock::Clock;
use super::late::{Post, Ticket};
use super::pages::Pages;
use super::reply::{Kind, Work};
use super::router::{Lookup, Router};
use super::{Handler, Request, Responder, Sent, Terms};
use crate::reactor::net::sim::SimNet;
use crate::reactor::outbox::Cork;
use crate::reactor::{Host, Io, Millis, Net, Part, Peer, Token};
use crate::wire::http::head::{self, Parsed};
use crate::wire::http::{Method, Scan, target};
use crate::wire::limits::Limits;
use std::sync::Arc;

/// A handler's place: the world, the clock, its route's pattern.
pub(super) struct Harness {
    pub world: SimNet,
    pub clock: Clock,
    pub pages: Pages,
    pub pattern: String,
    /// Milliseconds.
    pub now: u64,
}

impl Default for Harness {
    fn default() -> Harness {
        let mut harness = Harness {
            world: SimNet::new(1),
            clock: Clock::default(),
            pages: Pages::default(),
            pattern: "/*".into(),
            now: 0,
        };
        harness.wait(0);
        harness
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub(super) struct Answered {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// It went out as one run of bytes.
    pub plain: bool,
    pub work: Work,
}

impl Answered {
    /// The only field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands there twice: {:?}", self.fields);
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Harness {
    /// Lets time go by.
    pub fn wait(&mut self, ms: u64) {
        let before = self.world.elapsed_ms();
        let _ = self.world.wait(Some(std::time::Duration::from_millis(ms)), &mut Vec::new());
        self.now += self.world.elapsed_ms() - before;
        self.clock.tick(Millis(self.now), &self.world);
    }

    /// Sends a request, whole with its empty line, to a handler whose route has the pattern.
    pub fn ask(&mut self, handler: &mut dyn Handler, bytes: &str) -> Answered {
        let limits = Limits::default();
        let parsed = head::parse(bytes.as_bytes(), &mut Scan::default(), &limits);
        let Ok(Parsed::Complete(head, _)) = &parsed else { panic!("{bytes}: {parsed:?}") };
        let mut scratch = Vec::new();
        let path = target::normalise(head.target.path(), &mut scratch).unwrap();
        let mut router = Router::new();
        router.add(None, &[], &self.pattern, ()).unwrap();
        let Lookup::Found(found) = router.lookup(None, path, head.method) else { panic!("{bytes}") };
        let (params, peer) = (found.params, Peer::UNIX);
        let request = Request { head, path, params: &params, body: b"", peer, secure: false };
        let (mut cork, mut sent) = (Cork::default(), Sent::default());
        let post: Post = Arc::new(Err);
        let ticket = || Ticket::new(Token::new(0, 1), 0, &post);
        let terms = Terms {
            version: head.version,
            head_only: head.method == Method::Head,
            keep_alive: head.keep_alive,
            server_field: true,
        };
        let reply = Responder {
            cork: &mut cork,
            host: &mut self.world,
            clock: &self.clock,
            pages: &self.pages,
            terms,
            sent: &mut sent,
            ticket: &ticket,
        };
        assert!(matches!(handler.handle(&request, reply).0, Kind::Sent));
        let plain = cork.plain(&[]).is_some();
        let bytes = flatten(&cork, &mut self.world);
        let answered = Answered { work: sent.work, ..take_apart(&bytes, plain) };
        assert_eq!(answered.status, sent.status);
        if !terms.head_only && !matches!(sent.status, 204 | 304) {
            let length = answered.field("content-length").unwrap();
            assert_eq!(
                (length, sent.announced),
                (answered.body.len().to_string().as_str(), Some(answered.body.len() as u64))
            );
        } else {
            assert!(answered.body.is_empty());
        }
        answered
    }
}

/// All bytes of a cork, those of files read.
fn flatten(cork: &Cork, world: &mut SimNet) -> Vec<u8> {
    let mut out = Vec::new();
    for (bytes, part) in cork.pieces() {
        out.extend_from_slice(bytes);
        match part {
            Some(Part::File(file, range)) => {
                let mut at = range.start;
                while at < range.end {
                    let mut buf = [0; 4096];
                    let most = (range.end - at).min(4096) as usize;
                    let Io::Done(n) = world.read_file(file, at, &mut buf[..most]) else { return out };
                    out.extend_from_slice(&buf[..n]);
                    at += n as u64;
                }
            }
            Some(Part::Shared(bytes, range)) => out.extend_from_slice(&bytes[range.clone()]),
            Some(Part::Static(bytes)) => out.extend_from_slice(bytes),
            None => {}
        }
    }
    out
}

fn take_apart(bytes: &[u8], plain: bool) -> Answered {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status").parse();
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.to_ascii_lowercase(), value.to_string())
    });
    Answered {
        status: status.expect("a status"),
        fields: fields.collect(),
        body: bytes[end + 4..].to_vec(),
        plain,
        work: Work::Little,
    }
}
