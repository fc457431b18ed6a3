//! A small program of WebSocket and TCP, servers and clients, for tests in the simulator. What is here of glue is what `server/`
//! does in earnest.
#![allow(dead_code)] // each test binary uses its part

use evenkeel::observe::Reason;
use evenkeel::reactor::{
    Admit, App, AppCx, Close, CloseHow, Cx, End, Event, Input, ListenerId, Peer, Session, Step, Token,
};
use evenkeel::wire::http::Scan;
use evenkeel::wire::http::head::{self, Parsed, Version};
use evenkeel::wire::limits::Limits;
use evenkeel::wire::ws::{Header, Opcode, frame};
use evenkeel::{tcp, ws};
use std::sync::{Arc, Mutex};

/// What a listener of the world serves.
#[derive(Clone, Copy)]
pub enum Serve {
    /// WebSocket; the path names the room.
    Ws(ws::RouteId),
    Tcp(tcp::ServiceId),
}

pub struct Duo {
    pub ws: ws::Hub,
    pub tcp: tcp::Hub,
    /// By listener.
    pub serve: Vec<Serve>,
    pub ends: Vec<(Token, Reason)>,
    /// Words for other workers, to be carried by the test.
    pub ws_out: Vec<(u16, Vec<ws::Remote>)>,
    pub tcp_out: Vec<tcp::Remote>,
    /// Nobody is let in.
    pub down: bool,
}

pub enum Talk {
    Asking(ws::RouteId, Scan),
    Ws(ws::Connection),
    WsClient(ws::client::Client),
    Tcp(tcp::Connection),
    TcpClient(tcp::client::Client),
}

pub enum Note {
    /// The connection is reset, as if the process had died.
    Kill,
    Ws(ws::Note),
    Tcp(tcp::Note),
}

impl From<ws::Note> for Note {
    fn from(note: ws::Note) -> Note {
        Note::Ws(note)
    }
}

impl From<tcp::Note> for Note {
    fn from(note: tcp::Note) -> Note {
        Note::Tcp(note)
    }
}

impl Duo {
    pub fn new(worker: u16, workers: u16) -> Duo {
        Duo {
            ws: ws::Hub::new(worker, workers, ws::RoomLimits::default()),
            tcp: tcp::Hub::new(worker, workers),
            serve: Vec::new(),
            ends: Vec::new(),
            ws_out: Vec::new(),
            tcp_out: Vec::new(),
            down: false,
        }
    }

    /// Its first listener serves this.
    pub fn ws(options: ws::Options, kind: ws::Kind) -> Duo {
        let mut duo = Duo::new(0, 1);
        let route = duo.ws.add(options, kind);
        duo.serve.push(Serve::Ws(route));
        duo
    }

    /// Its first listener serves this.
    pub fn tcp(options: tcp::Options, kind: tcp::Kind) -> Duo {
        let mut duo = Duo::new(0, 1);
        let service = duo.tcp.add(options, kind);
        duo.serve.push(Serve::Tcp(service));
        duo
    }

    pub fn reasons(&self) -> Vec<Reason> {
        self.ends.iter().map(|(_, reason)| *reason).collect()
    }
}

impl ws::Service for Duo {
    fn ws(&mut self) -> &mut ws::Hub {
        &mut self.ws
    }
}

impl tcp::Service for Duo {
    fn tcp(&mut self) -> &mut tcp::Hub {
        &mut self.tcp
    }
}

impl App for Duo {
    type Session = Talk;
    type Note = Note;
    type Message = ();
    type Reason = Reason;

    fn admit(&mut self, listener: ListenerId, _: &Peer, _: &mut AppCx<'_, Duo>) -> Admit<Talk> {
        if self.down {
            return Admit::Refuse(CloseHow::Reset);
        }
        Admit::Serve(match self.serve[listener.0 as usize] {
            Serve::Ws(route) => Talk::Asking(route, Scan::default()),
            Serve::Tcp(service) => Talk::Tcp(tcp::Connection::new(service)),
        })
    }

    fn on_message(&mut self, (): (), _: &mut AppCx<'_, Duo>) {}

    fn on_close(&mut self, session: Talk, end: End<Reason>, cx: &mut AppCx<'_, Duo>) {
        self.ends.push((end.token, end.reason));
        match session {
            Talk::Asking(..) => {}
            Talk::Ws(connection) => connection.on_close(&end, self),
            Talk::WsClient(client) => client.on_close(end.reason, end.token, self, cx.host()),
            Talk::Tcp(connection) => connection.on_close(&end, self),
            Talk::TcpClient(client) => client.on_close(end.reason, end.token, cx.host()),
        }
    }

    fn on_turn(&mut self, cx: &mut AppCx<'_, Duo>) {
        self.ws.flush(cx);
        self.tcp.flush(cx);
        self.ws_out.extend(self.ws.take_outgoing());
        self.tcp_out.extend(self.tcp.take_outgoing());
    }
}

impl Session for Talk {
    type App = Duo;

    fn on_data(&mut self, input: &mut Input<'_>, app: &mut Duo, cx: &mut Cx<'_, Duo>) -> Step<Reason> {
        match self {
            Talk::Asking(route, scan) => match ask(*route, scan, input, app, cx) {
                Ok(None) => Step::Continue,
                Ok(Some((connection, step))) => {
                    *self = Talk::Ws(connection);
                    if step == Step::Continue && !input.is_empty() {
                        return self.on_data(input, app, cx);
                    }
                    step
                }
                Err(step) => step,
            },
            Talk::Ws(connection) => connection.on_data(input, app, cx),
            Talk::WsClient(client) => client.on_data(input, app, cx),
            Talk::Tcp(connection) => connection.on_data(input, app, cx),
            Talk::TcpClient(client) => client.on_data(input, app, cx),
        }
    }

    fn on_event(&mut self, event: Event<Note>, app: &mut Duo, cx: &mut Cx<'_, Duo>) -> Step<Reason> {
        if matches!(event, Event::Note(_, Note::Kill)) {
            return Step::Close(Close::Abort, Reason::Stopped);
        }
        match self {
            Talk::Asking(..) => match event {
                Event::Eof => Step::Close(Close::Graceful, Reason::PeerClosed),
                Event::Failed(failure) => Step::Close(Close::Abort, Reason::of_failure(failure)),
                Event::Open | Event::Drained | Event::Timeout(_) | Event::Drain | Event::Note(..) => {
                    Step::Continue
                }
            },
            Talk::Ws(connection) => match for_ws(event) {
                Some(event) => connection.on_event(event, app, cx),
                None => Step::Continue,
            },
            Talk::WsClient(client) => match for_ws(event) {
                Some(event) => client.on_event(event, app, cx),
                None => Step::Continue,
            },
            Talk::Tcp(connection) => match for_tcp(event) {
                Some(event) => connection.on_event(event, app, cx),
                None => Step::Continue,
            },
            Talk::TcpClient(client) => match for_tcp(event) {
                Some(event) => client.on_event(event, app, cx),
                None => Step::Continue,
            },
        }
    }
}

fn for_ws(event: Event<Note>) -> Option<Event<ws::Note>> {
    event.map_note(|note| match note {
        Note::Ws(note) => Some(note),
        Note::Tcp(_) | Note::Kill => None,
    })
}

fn for_tcp(event: Event<Note>) -> Option<Event<tcp::Note>> {
    event.map_note(|note| match note {
        Note::Ws(_) | Note::Kill => None,
        Note::Tcp(note) => Some(note),
    })
}

type Begun = Option<(ws::Connection, Step<Reason>)>;

/// Reads the request of a handshake and answers it.
fn ask(
    route: ws::RouteId,
    scan: &mut Scan,
    input: &mut Input<'_>,
    app: &mut Duo,
    cx: &mut Cx<'_, Duo>,
) -> Result<Begun, Step<Reason>> {
    let bad = Step::Close(Close::Graceful, Reason::BadRequest);
    let bytes = input.bytes().to_vec();
    let Ok(parsed) = head::parse(&bytes, scan, &Limits::default()) else { return Err(bad) };
    let Parsed::Complete(head, len) = parsed else { return Ok(None) };
    input.take(len);
    let terms = ws::Terms {
        method: head.method.as_str().as_bytes(),
        http_1_1: head.version == Version::Http11,
        route,
        options: app.ws.options(route).unwrap(),
        room: std::str::from_utf8(head.raw_target).ok(),
    };
    match ws::accept(terms, head.fields.iter()) {
        Ok(accepted) => {
            cx.write(b"HTTP/1.1 101 Switching Protocols\r\n");
            cx.write(&accepted.fields);
            cx.write(b"\r\n");
            Ok(Some(ws::Connection::begin(&accepted.setup, app, cx)))
        }
        Err(error) => {
            cx.write(format!("HTTP/1.1 {} No\r\n", error.status()).as_bytes());
            for (name, value) in error.fields() {
                cx.write(format!("{name}: {value}\r\n").as_bytes());
            }
            cx.write(b"content-length: 0\r\n\r\n");
            Err(Step::Close(Close::Graceful, Reason::Refused))
        }
    }
}

/// The request of a handshake on this path.
pub fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A frame as a client sends it.
pub fn masked(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let header =
        Header::new(opcode, fin, false, Some([0x37, 0xfa, 0x21, 0x3d]), payload.len() as u64).unwrap();
    frame::emit_frame(&header, payload, &mut out);
    out
}

/// A frame as a server sends it.
pub fn plain(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::emit_frame(
        &Header::new(opcode, fin, false, None, payload.len() as u64).unwrap(),
        payload,
        &mut out,
    );
    out
}

/// A text message as a client sends it.
pub fn text(words: &str) -> Vec<u8> {
    masked(Opcode::Text, true, words.as_bytes())
}

/// What was sent, in words: the head of a handshake, then each whole frame.
pub fn in_words(sent: &[u8]) -> String {
    let (mut words, mut rest) = (Vec::new(), sent);
    if let Some(at) = memchr_head(rest) {
        words.push(String::from_utf8_lossy(&rest[..at]).split(' ').take(2).last().unwrap_or("").to_string());
        if words[0].starts_with('/') {
            words[0] = "GET".into();
        }
        rest = &rest[at..];
    }
    while let Some((opcode, payload, left)) = split(rest) {
        rest = left;
        words.push(match opcode {
            Opcode::Close if payload.len() >= 2 => {
                format!("close {}", u16::from_be_bytes([payload[0], payload[1]]))
            }
            Opcode::Close => "close".into(),
            Opcode::Ping => "ping".into(),
            Opcode::Pong => format!("pong {}", String::from_utf8_lossy(&payload)),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                String::from_utf8_lossy(&payload).into_owned()
            }
        });
    }
    words.join(", ")
}

fn memchr_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The first frame, from either side, unmasked.
fn split(bytes: &[u8]) -> Option<(Opcode, Vec<u8>, &[u8])> {
    let role = if bytes.get(1)? & 0x80 == 0 {
        evenkeel::wire::ws::Role::Client
    } else {
        evenkeel::wire::ws::Role::Server
    };
    let (header, at) = frame::parse(bytes, role, true).ok()??;
    let end = at + header.payload_len() as usize;
    let mut payload = bytes.get(at..end)?.to_vec();
    if let Some(mask) = header.mask() {
        evenkeel::wire::ws::mask::apply(&mut payload, mask, 0);
    }
    Some((header.opcode(), payload, &bytes[end..]))
}

/// The messages of what was sent after the head.
pub fn messages(sent: &[u8]) -> Vec<String> {
    let mut rest = &sent[memchr_head(sent).unwrap_or(0)..];
    let mut out = Vec::new();
    while let Some((opcode, payload, left)) = split(rest) {
        rest = left;
        if !opcode.is_control() {
            out.push(String::from_utf8_lossy(&payload).into_owned());
        }
    }
    out
}

/// What was told, by whomever, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn say(&self, words: impl Into<String>) {
        self.0.lock().unwrap().push(words.into());
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
