//! The states of WebSocket and TCP connections, reached, hit, and what must come of it.
#![allow(dead_code)] // each test binary uses its part

use crate::support::matrix::{Expect, Hit, Subject};
use crate::support::run_for;
use crate::talk::{Duo, Talk, in_words, masked, plain, request, text};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Plan, Script, SimListener, SimNet, World};
use evenkeel::reactor::{CloseHow, Failure, Op, Reactor, Target, Token};
use evenkeel::wire::ws::handshake::accept_for;
use evenkeel::wire::ws::{Code, Opcode};
use evenkeel::{tcp, ws};
use std::time::Duration;

fn ended(reason: Reason, close: CloseHow, sent: &'static str) -> Option<Expect<Reason>> {
    Some(Expect { reason, close: Some(close), sent })
}

fn failed(op: Op, fault: evenkeel::reactor::Fault) -> Reason {
    Reason::of_failure(Failure { op, fault })
}

fn words(reason: &Reason) -> String {
    match reason {
        Reason::Reset | Reason::BrokenPipe | Reason::NetworkTimeout | Reason::NetworkError => {
            "the fault's reason".into()
        }
        Reason::TlsNotTls | Reason::TlsFailed | Reason::TlsTruncated | Reason::FileChanged => {
            "the fault's reason".into()
        }
        other => other.label().into(),
    }
}

/// One byte of these a second.
fn trickle(script: Script, bytes: &[u8]) -> Script {
    bytes.iter().fold(script, |script, byte| script.send([*byte]).wait(1000))
}

/// The hits of a side that accepts, and those of a whole protocol.
fn hits(connects: bool) -> Vec<Hit> {
    let all = Hit::all().into_iter().filter(|hit| connects || !matches!(hit, Hit::Fails(Op::Connect, _)));
    all.chain([Hit::Trickle, Hit::Drain]).collect()
}

/// Drains once the state is reached, if that is the hit.
fn drain_if<const R: bool>(reactor: &mut Reactor<Duo, SimNet<R>>, hit: Hit) {
    if hit == Hit::Drain {
        run_for(reactor, 220);
        reactor.drain(Duration::from_secs(100));
    }
}

/// Says back what it is told; closes when told to.
struct Parrot;

impl ws::Handler for Parrot {
    fn message(&mut self, message: ws::Message<'_>, peer: &mut ws::Peer<'_>) {
        match message {
            ws::Message::Text("close") => peer.close(Code::NORMAL, "bye"),
            other => peer.send(other),
        }
    }
}

/// A WebSocket connection of a server.
pub struct WsServer;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WsState {
    Open,
    Message,
    ClosingByUs,
}

impl Subject for WsServer {
    type App = Duo;
    type State = WsState;
    const TITLE: &'static str = "WebSocket, as a server";

    fn states() -> &'static [WsState] {
        &[WsState::Open, WsState::Message, WsState::ClosingByUs]
    }

    fn hits() -> Vec<Hit> {
        hits(false)
    }

    fn about(state: WsState) -> &'static str {
        match state {
            WsState::Open => "between messages",
            WsState::Message => "part of a message has come",
            WsState::ClosingByUs => "our close frame is out, the peer's has not come",
        }
    }

    fn app(_: &mut World, _: SimListener) -> Duo {
        Duo::ws(ws::Options::default(), ws::Kind::Custom(Box::new(Parrot)))
    }

    fn reach<const R: bool>(
        reactor: &mut Reactor<Duo, SimNet<R>>,
        listener: SimListener,
        state: WsState,
        hit: Hit,
    ) {
        let opened =
            Script::new().send(request("/")).await_seen("\r\n\r\n").send(text("hi")).await_seen("hi");
        let reached = match state {
            WsState::Open => opened,
            WsState::Message => opened.send(masked(Opcode::Text, false, b"par")),
            WsState::ClosingByUs => opened.send(text("close")).await_seen("bye"),
        };
        let reached = reached.wait(200);
        let script = match (hit, state) {
            (Hit::Trickle, WsState::Open | WsState::ClosingByUs) => {
                trickle(reached, &masked(Opcode::Text, true, &[b'x'; 130]))
            }
            (Hit::Trickle, WsState::Message) => {
                trickle(reached, &masked(Opcode::Continuation, true, &[b'x'; 130]))
            }
            // A peer answers our close frame, also in the middle of its own message.
            (Hit::Drain, WsState::Open | WsState::Message | WsState::ClosingByUs) => {
                reached.wait(100).send(masked(Opcode::Close, true, &[3, 232])).fin()
            }
            (Hit::Fails(Op::Write, _), WsState::Open | WsState::Message | WsState::ClosingByUs) => {
                reached.then(hit.script()).send(masked(Opcode::Ping, true, b"?"))
            }
            (
                Hit::Fails(Op::Connect | Op::Handshake | Op::Read, _)
                | Hit::WouldBlock
                | Hit::Eof
                | Hit::Silence,
                WsState::Open | WsState::Message | WsState::ClosingByUs,
            ) => reached.then(hit.script()),
        };
        reactor.net_mut().arrive(listener, script);
        drain_if(reactor, hit);
    }

    fn expect(state: WsState, hit: Hit) -> Option<Expect<Reason>> {
        use CloseHow::{Normal, Reset};
        match (state, hit) {
            // However busy it looks: a message has so long and no longer.
            (WsState::Open | WsState::Message, Hit::Trickle) => {
                ended(Reason::ReadTimeout, Normal, "101, hi, close 1008")
            }
            (WsState::ClosingByUs, Hit::Trickle) => ended(Reason::CloseTimeout, Reset, "101, hi, close 1000"),
            (WsState::Open | WsState::Message, Hit::Drain) => {
                ended(Reason::Drained, Normal, "101, hi, close 1001")
            }
            (WsState::ClosingByUs, Hit::Drain) => ended(Reason::WsClosed, Normal, "101, hi, close 1000"),
            (
                WsState::Open | WsState::Message | WsState::ClosingByUs,
                Hit::Fails(Op::Connect | Op::Handshake, _),
            ) => None,
            (WsState::Open | WsState::Message, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "101, hi")
            }
            (WsState::Open, Hit::Eof) => ended(Reason::PeerClosed, Normal, "101, hi"),
            (WsState::Message, Hit::Eof) => ended(Reason::PeerClosedEarly, Normal, "101, hi"),
            (WsState::Open | WsState::Message, Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::PongTimeout, Reset, "101, hi, ping")
            }
            // The reason to close was there first.
            (WsState::ClosingByUs, Hit::Fails(Op::Read, _)) => {
                ended(Reason::WsClosed, Reset, "101, hi, close 1000")
            }
            // Nothing is written any more.
            (WsState::ClosingByUs, Hit::Fails(Op::Write, _)) => None,
            (WsState::ClosingByUs, Hit::Eof) => ended(Reason::WsClosed, Normal, "101, hi, close 1000"),
            (WsState::ClosingByUs, Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::CloseTimeout, Reset, "101, hi, close 1000")
            }
        }
    }

    fn reasons(app: &Duo) -> Vec<Reason> {
        app.reasons()
    }

    fn words(reason: &Reason) -> String {
        words(reason)
    }

    fn got(sent: &[u8]) -> String {
        in_words(sent)
    }
}

/// Gives up at the first loss, so that its reason is seen.
struct Once;

impl ws::client::Handler for Once {
    fn change(&mut self, change: ws::client::Change<'_>, link: &mut ws::client::Link<'_>) {
        if let ws::client::Change::Lost(_) = change {
            link.close(Code::NORMAL, "");
        }
    }

    fn message(&mut self, message: ws::Message<'_>, link: &mut ws::client::Link<'_>) {
        match message {
            ws::Message::Text("close") => link.close(Code::NORMAL, "bye"),
            other => drop(link.send(other)),
        }
    }
}

/// A WebSocket client.
pub struct WsClient;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientState {
    Connecting,
    Handshake,
    Open,
    Message,
    ClosingByUs,
    ClosingByPeer,
}

fn elsewhere() -> Target {
    Target::Unix("/run/elsewhere.sock".into())
}

impl Subject for WsClient {
    type App = Duo;
    type State = ClientState;
    const TITLE: &'static str = "WebSocket, as a client";

    fn states() -> &'static [ClientState] {
        use ClientState::*;
        &[Connecting, Handshake, Open, Message, ClosingByUs, ClosingByPeer]
    }

    fn hits() -> Vec<Hit> {
        hits(true)
    }

    fn about(state: ClientState) -> &'static str {
        match state {
            ClientState::Connecting => "a connect is under way",
            ClientState::Handshake => "our request is out",
            ClientState::Open => "between messages",
            ClientState::Message => "part of a message has come",
            ClientState::ClosingByUs => "our close frame is out, the server's has not come",
            ClientState::ClosingByPeer => "both close frames are out, the server's FIN has not come",
        }
    }

    fn app(_: &mut World, _: SimListener) -> Duo {
        Duo::ws(ws::Options::default(), ws::Kind::Echo)
    }

    fn reach<const R: bool>(
        reactor: &mut Reactor<Duo, SimNet<R>>,
        _: SimListener,
        state: ClientState,
        hit: Hit,
    ) {
        let plan = match (state, hit) {
            (ClientState::Connecting, Hit::Fails(_, fault)) => Plan::Fail(10, fault),
            (
                ClientState::Connecting,
                Hit::WouldBlock | Hit::Eof | Hit::Silence | Hit::Trickle | Hit::Drain,
            ) => Plan::Hang,
            (
                ClientState::Handshake
                | ClientState::Open
                | ClientState::Message
                | ClientState::ClosingByUs
                | ClientState::ClosingByPeer,
                _,
            ) => Plan::Accept(1, Script::new()),
        };
        reactor.net_mut().on_connect(elsewhere(), plan);
        let mut options = ws::client::Options::new(elsewhere(), "a", "/");
        options.deflate = None;
        let client = ws::client::Client::new(options, Box::new(Once)).unwrap();
        assert!(reactor.with_app(|_, cx| cx.spawn(Talk::WsClient(client))).is_ok());
        run_for(reactor, 200);
        let stream = reactor.net().streams().next().unwrap();
        let opened = match state {
            ClientState::Connecting if hit == Hit::WouldBlock => {
                return reactor.net_mut().spurious(stream, evenkeel::reactor::net::Ready::WRITABLE);
            }
            ClientState::Connecting => return drain_if(reactor, hit),
            ClientState::Handshake => Script::new(),
            ClientState::Open
            | ClientState::Message
            | ClientState::ClosingByUs
            | ClientState::ClosingByPeer => {
                let sent = String::from_utf8(reactor.net().sent(stream).to_vec()).unwrap();
                let key = sent.split("Sec-WebSocket-Key: ").nth(1).unwrap().get(..24).unwrap().to_string();
                let accept = String::from_utf8(accept_for(key.as_bytes()).to_vec()).unwrap();
                Script::new().send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                ))
            }
        };
        let reached = match state {
            ClientState::Connecting | ClientState::Handshake | ClientState::Open => opened,
            ClientState::Message => opened.send(plain(Opcode::Text, false, b"par")),
            ClientState::ClosingByUs => opened.send(plain(Opcode::Text, true, b"close")),
            ClientState::ClosingByPeer => opened.send(plain(Opcode::Close, true, &[3, 232])),
        };
        let reached = reached.wait(200);
        let close = plain(Opcode::Close, true, &[3, 232]);
        let script = match (hit, state) {
            (Hit::Trickle, ClientState::Connecting | ClientState::Handshake) => {
                trickle(reached, b"HTTP/1.1 101 Switching Protocols\r\nX: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
            }
            (Hit::Trickle, ClientState::Open | ClientState::ClosingByUs | ClientState::ClosingByPeer) => {
                trickle(reached, &plain(Opcode::Text, true, &[b'x'; 125]))
            }
            (Hit::Trickle, ClientState::Message) => {
                trickle(reached, &plain(Opcode::Continuation, true, &[b'x'; 125]))
            }
            (Hit::Drain, ClientState::Open | ClientState::Message | ClientState::ClosingByUs) => {
                reached.wait(100).send(close).fin()
            }
            (Hit::Drain, ClientState::Connecting | ClientState::Handshake | ClientState::ClosingByPeer) => {
                reached.wait(100).fin()
            }
            (Hit::Fails(Op::Write, _), _) => reached.then(hit.script()).send(plain(Opcode::Ping, true, b"?")),
            (
                Hit::Fails(Op::Connect | Op::Handshake | Op::Read, _)
                | Hit::WouldBlock
                | Hit::Eof
                | Hit::Silence,
                _,
            ) => reached.then(hit.script()),
        };
        reactor.net_mut().go_on(stream, script);
        drain_if(reactor, hit);
    }

    fn expect(state: ClientState, hit: Hit) -> Option<Expect<Reason>> {
        use ClientState::*;
        use CloseHow::{Normal, Reset};
        match (state, hit) {
            // There is nobody who could send anything.
            (Connecting, Hit::Trickle) => None,
            (Handshake, Hit::Trickle) => ended(Reason::ReadTimeout, Reset, "GET"),
            (Open | Message, Hit::Trickle) => ended(Reason::ReadTimeout, Normal, "GET, close 1008"),
            (ClosingByUs, Hit::Trickle) => ended(Reason::CloseTimeout, Reset, "GET, close 1000"),
            (ClosingByPeer, Hit::Trickle) => ended(Reason::WsClosed, Normal, "GET, close 1000"),
            (Connecting, Hit::Drain) => ended(Reason::Drained, Normal, ""),
            (Handshake, Hit::Drain) => ended(Reason::Drained, Normal, "GET"),
            (Open | Message, Hit::Drain) => ended(Reason::Drained, Normal, "GET, close 1001"),
            (ClosingByUs | ClosingByPeer, Hit::Drain) => ended(Reason::WsClosed, Normal, "GET, close 1000"),
            (Connecting, Hit::Fails(Op::Connect, fault)) => ended(failed(Op::Connect, fault), Reset, ""),
            (Connecting, Hit::WouldBlock | Hit::Silence) => ended(Reason::ConnectFailed, Reset, ""),
            (Connecting, Hit::Eof | Hit::Fails(Op::Handshake | Op::Read | Op::Write, _)) => None,
            (
                Handshake | Open | Message | ClosingByUs | ClosingByPeer,
                Hit::Fails(Op::Connect | Op::Handshake, _),
            ) => None,

            (Handshake, Hit::Fails(Op::Read, fault)) => ended(failed(Op::Read, fault), Reset, "GET"),
            // Its only write has succeeded.
            (Handshake, Hit::Fails(Op::Write, _)) => None,
            (Handshake, Hit::Eof) => ended(Reason::PeerClosedEarly, Reset, "GET"),
            (Handshake, Hit::WouldBlock | Hit::Silence) => ended(Reason::ReadTimeout, Reset, "GET"),

            (Open | Message, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "GET")
            }
            (Open, Hit::Eof) => ended(Reason::PeerClosed, Normal, "GET"),
            (Message, Hit::Eof) => ended(Reason::PeerClosedEarly, Normal, "GET"),
            (Open | Message, Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::PongTimeout, Reset, "GET, ping")
            }

            (ClosingByUs, Hit::Fails(Op::Read, _)) => ended(Reason::WsClosed, Reset, "GET, close 1000"),
            (ClosingByUs | ClosingByPeer, Hit::Fails(Op::Write, _)) => None,
            (ClosingByUs, Hit::Eof) => ended(Reason::WsClosed, Normal, "GET, close 1000"),
            (ClosingByUs, Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::CloseTimeout, Reset, "GET, close 1000")
            }

            (ClosingByPeer, Hit::Fails(Op::Read, _)) => ended(Reason::WsClosed, Reset, "GET, close 1000"),
            (ClosingByPeer, Hit::WouldBlock | Hit::Eof | Hit::Silence) => {
                ended(Reason::WsClosed, Normal, "GET, close 1000")
            }
        }
    }

    fn reasons(app: &Duo) -> Vec<Reason> {
        app.reasons()
    }

    fn words(reason: &Reason) -> String {
        words(reason)
    }

    fn got(sent: &[u8]) -> String {
        in_words(sent)
    }
}

/// Says each line back; `much` is answered with more than high water; goes on after the peer's FIN.
struct Slowpoke;

impl tcp::Handler for Slowpoke {
    fn data(&mut self, bytes: &[u8], peer: &mut tcp::Peer<'_>) -> usize {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return 0 };
        match &bytes[..=end] {
            b"much\n" => peer.send(&vec![b'x'; 300_000]),
            line => peer.send(line),
        }
        end + 1
    }

    fn eof(&mut self, peer: &mut tcp::Peer<'_>) {
        peer.send(b"still here\n");
    }

    fn close(&mut self, _: Token, _: Reason) {}
}

/// A raw TCP connection of a server.
pub struct Tcp;

impl Subject for Tcp {
    type App = Duo;
    type State = tcp::fault::State;
    const TITLE: &'static str = "Raw TCP, as a server";

    fn states() -> &'static [tcp::fault::State] {
        &tcp::fault::State::ALL
    }

    fn hits() -> Vec<Hit> {
        hits(false)
    }

    fn about(state: tcp::fault::State) -> &'static str {
        match state {
            tcp::fault::State::Open => "bytes may come and go",
            tcp::fault::State::Held => "output stands above high water; the peer takes nothing",
            tcp::fault::State::Finishing => "the peer has shut down its writing side; a handler goes on",
        }
    }

    fn app(_: &mut World, _: SimListener) -> Duo {
        let options = tcp::Options { idle_timeout: Duration::from_secs(60), ..tcp::Options::default() };
        Duo::tcp(options, tcp::Kind::Custom(Box::new(Slowpoke)))
    }

    fn reach<const R: bool>(
        reactor: &mut Reactor<Duo, SimNet<R>>,
        listener: SimListener,
        state: tcp::fault::State,
        hit: Hit,
    ) {
        let reached = match state {
            tcp::fault::State::Open => Script::new().send("hi\n").await_sent(3),
            tcp::fault::State::Held => Script::new().window(0).send("much\n"),
            tcp::fault::State::Finishing => Script::new().send("hi\n").await_sent(3).fin().await_sent(14),
        };
        let reached = reached.wait(200);
        let script = match (hit, state) {
            (Hit::Fails(Op::Write, _), tcp::fault::State::Open) => reached.then(hit.script()).send("x\n"),
            (Hit::Trickle, tcp::fault::State::Held) => reached.sip(10, 1000, 90),
            (Hit::Drain, tcp::fault::State::Held) => reached.wait(50).window(u64::MAX).wait(1000).fin(),
            (Hit::Drain, tcp::fault::State::Open) => reached.wait(50).fin(),
            (
                Hit::Fails(..) | Hit::WouldBlock | Hit::Eof | Hit::Silence | Hit::Trickle | Hit::Drain,
                tcp::fault::State::Open | tcp::fault::State::Held | tcp::fault::State::Finishing,
            ) => reached.then(hit.script()),
        };
        reactor.net_mut().arrive(listener, script);
        drain_if(reactor, hit);
    }

    fn expect(state: tcp::fault::State, hit: Hit) -> Option<Expect<Reason>> {
        use CloseHow::{Normal, Reset};
        use tcp::fault::State::*;
        match (state, hit) {
            // Bytes that come slowly are no fault of a raw connection: it ends when they do.
            (Open, Hit::Trickle) => ended(Reason::IdleTimeout, Normal, "hi\n"),
            (Held, Hit::Trickle) => ended(Reason::WriteTooSlow, Reset, "x…"),
            // Nothing comes behind a FIN.
            (Finishing, Hit::Trickle) => None,
            (Open, Hit::Drain) => ended(Reason::Drained, Normal, "hi\n"),
            (Held, Hit::Drain) => ended(Reason::Drained, Normal, "x…"),
            (Finishing, Hit::Drain) => ended(Reason::IdleTimeout, Normal, "hi\nstill here\n"),
            (Open | Held | Finishing, Hit::Fails(Op::Connect | Op::Handshake, _)) => None,
            (Open, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => ended(failed(op, fault), Reset, "hi\n"),
            // The handler goes on and says a word; then it is silent.
            (Open, Hit::Eof) => ended(Reason::IdleTimeout, Normal, "hi\nstill here\n"),
            (Open, Hit::WouldBlock | Hit::Silence) => ended(Reason::IdleTimeout, Normal, "hi\n"),
            // Nothing is read: only the peer's not taking anything is seen.
            (Held, Hit::Fails(Op::Read, _) | Hit::WouldBlock | Hit::Eof | Hit::Silence) => {
                ended(Reason::WriteStalled, Reset, "")
            }
            (Held, Hit::Fails(Op::Write, fault)) => ended(failed(Op::Write, fault), Reset, ""),
            // Nothing is read behind a FIN, and nothing is written.
            (Finishing, Hit::Fails(Op::Read | Op::Write, _) | Hit::Eof) => None,
            (Finishing, Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::IdleTimeout, Normal, "hi\nstill here\n")
            }
        }
    }

    fn reasons(app: &Duo) -> Vec<Reason> {
        app.reasons()
    }

    fn words(reason: &Reason) -> String {
        words(reason)
    }

    /// Many `x` in a row are one with dots.
    fn got(sent: &[u8]) -> String {
        let sent = String::from_utf8_lossy(sent);
        match sent.find("xx") {
            Some(at) => format!("{}x…{}", &sent[..at], sent[at..].trim_start_matches('x')),
            None => sent.into_owned(),
        }
    }
}
