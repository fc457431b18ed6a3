//! WebSocket, rooms and raw TCP on real sockets, in the whole server.
#![cfg(feature = "server")]

use evenkeel::server::Server;
use evenkeel::server::settings::{
    Action, Address, Config, HostPattern, PathPart, PathPattern, Route, SlowConsumer, Tcp, TcpHandler,
    Websocket, WebsocketKind,
};
use flate2::{Compress, Compression, FlushCompress};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket, client};

const PATIENCE: Duration = Duration::from_secs(30);

type Socket = WebSocket<TcpStream>;

fn config() -> Config {
    let mut config = Config::default();
    (config.server.host, config.server.port, config.server.workers) = (Ipv4Addr::LOCALHOST.into(), 0, 2);
    config.metrics.enable = false;
    config
}

fn tcp_at(server: &Server, number: usize) -> SocketAddr {
    let Address::Tcp(at) = server.addresses()[number] else { panic!() };
    at
}

fn dial(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn enter(at: SocketAddr, path: &str) -> Socket {
    client(format!("ws://{at}{path}"), dial(at)).unwrap().0
}

/// The next message, as text.
fn hear(socket: &mut Socket) -> String {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The code of the close frame that comes next.
fn closed_with(socket: &mut Socket) -> u16 {
    loop {
        if let Message::Close(frame) = socket.read().unwrap() {
            return frame.map_or(1005, |frame| frame.code.into());
        }
    }
}

/// Ends the server and what it has, and waits for it.
fn end(server: Server) {
    server.stop();
    server.wait().unwrap();
}

/// All that comes until the end.
fn read_all(mut stream: impl Read) -> String {
    let mut all = Vec::new();
    // How it ends is not the question.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn asked(at: SocketAddr, request: &str) -> String {
    let mut stream = dial(at);
    stream.write_all(request.as_bytes()).unwrap();
    read_all(stream).to_lowercase()
}

#[test]
fn the_echo_of_the_welcome_site_sends_back_what_it_is_told() {
    let server = Server::start(&config(), None).unwrap();
    let mut socket = enter(tcp_at(&server, 0), "/echo");
    for message in [Message::text("héllo"), Message::binary(vec![7; 300_000]), Message::text("")] {
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    socket.close(None).unwrap();
    assert_eq!(closed_with(&mut socket), 1005);
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    end(server);
}

#[test]
fn what_came_behind_the_handshake_in_one_piece_is_answered() {
    let server = Server::start(&config(), None).unwrap();
    let mut stream = dial(tcp_at(&server, 0));
    let mut bytes = HANDSHAKE.as_bytes().to_vec();
    // "hi" masked with zeros, then a close frame.
    bytes.extend_from_slice(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i', 0x88, 0x80, 0, 0, 0, 0]);
    stream.write_all(&bytes).unwrap();
    let got = read_all(stream);
    assert!(got.starts_with("HTTP/1.1 101 ") && got.contains("\u{2}hi"), "{got:?}");
    end(server);
}

#[test]
fn a_message_as_long_as_the_route_allows_comes_back_whole() {
    const LONGEST: usize = 12 << 20;
    let mut config = config();
    let echo = Websocket { message_size: LONGEST, ..Websocket::new(WebsocketKind::Echo) };
    config.routes = [Route::new(path("echo"), Action::Websocket(echo))].into();
    let server = Server::start(&config, None).unwrap();
    let mut socket = enter(tcp_at(&server, 0), "/echo");
    let message = Message::binary(vec![7; LONGEST]);
    socket.send(message.clone()).unwrap();
    assert!(socket.read().unwrap() == message);
    end(server);
}

const HANDSHAKE: &str = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn all_members_of_a_room_hear_all_others_in_one_order_whichever_worker_they_are_on() {
    const SPEAKERS: usize = 4;
    const EACH: usize = 200;
    let server = Server::start(&config(), None).unwrap();
    let at = tcp_at(&server, 0);
    let mut listening: Vec<Socket> = (0..20).map(|_| enter(at, "/rooms/one")).collect();
    let mut elsewhere = enter(at, "/rooms/two");
    let mut speakers: Vec<Socket> = (0..SPEAKERS).map(|_| enter(at, "/rooms/one")).collect();
    // Everybody is in once everybody has heard a word that everybody may have said.
    let mut told = 0;
    while told < listening.len() {
        speakers[0].send(Message::text("ready?")).unwrap();
        told = 0;
        for socket in &mut listening {
            assert_eq!(hear(socket), "ready?");
            told += 1;
        }
    }
    let said: Vec<_> = speakers
        .into_iter()
        .enumerate()
        .map(|(who, mut socket)| {
            std::thread::spawn(move || {
                (0..EACH).for_each(|n| socket.send(Message::text(format!("{who} {n}"))).unwrap());
                socket
            })
        })
        .collect();
    let heard: Vec<Vec<String>> =
        listening.iter_mut().map(|socket| (0..SPEAKERS * EACH).map(|_| hear(socket)).collect()).collect();
    let mut speakers: Vec<Socket> = said.into_iter().map(|thread| thread.join().unwrap()).collect();
    for all in &heard {
        assert_eq!(all, &heard[0], "one order");
    }
    for who in 0..SPEAKERS {
        let prefix = format!("{who} ");
        let own: Vec<usize> =
            heard[0].iter().filter_map(|words| words.strip_prefix(&prefix)?.parse().ok()).collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>(), "each once, in the order in which it was said");
    }
    // A speaker does not hear itself, and nobody hears another room.
    let mine: Vec<String> = (0..(SPEAKERS - 1) * EACH).map(|_| hear(&mut speakers[1])).collect();
    assert!(mine.iter().all(|words| !words.starts_with("1 ")) || mine[0] == "ready?");
    enter(at, "/rooms/two").send(Message::text("only here")).unwrap();
    assert_eq!(hear(&mut elsewhere), "only here");
    end(server);
}

#[test]
fn each_host_that_a_route_names_has_rooms_of_its_own_and_a_room_may_be_at_the_root() {
    let mut config = config();
    config.server.workers = 1;
    let room = |host, parts| {
        let action = Action::Websocket(Websocket::new(WebsocketKind::Room));
        Route { host, ..Route::new(PathPattern { parts, rest: false }, action) }
    };
    let chat = || path("chat").parts;
    config.routes = [
        room(HostPattern::Exact("a.test".into()), chat()),
        room(HostPattern::Below("b.test".into()), chat()),
        room(HostPattern::Any, chat()),
        room(HostPattern::Any, [].into()),
    ]
    .into();
    let server = Server::start(&config, None).unwrap();
    let at = tcp_at(&server, 0);
    let enter = |url: &str| client(url, dial(at)).unwrap().0;
    let rooms = [
        ["ws://a.test/chat", "ws://A.Test:81/chat"],
        ["ws://x.b.test/chat", "ws://x.b.test./chat"],
        ["ws://y.b.test/chat", "ws://Y.b.test/%63hat"],
        ["ws://c.test/chat", "ws://d.test/chat"],
        ["ws://c.test/", "ws://d.test"],
    ];
    let mut members = rooms.map(|urls| urls.map(enter));
    // One worker: what is said is with all before the next is said, so that a word from another room would be the first to be heard.
    for (said, [speaker, listening]) in ["a", "x", "y", "any", "root"].into_iter().zip(&mut members) {
        speaker.send(Message::text(said)).unwrap();
        assert_eq!(hear(listening), said);
    }
    for [speaker, listening] in &mut members {
        listening.send(Message::text("end")).unwrap();
        assert_eq!(hear(speaker), "end");
    }
    end(server);
}

#[test]
fn a_request_that_is_no_handshake_is_told_what_is_wanted() {
    let mut config = config();
    let guarded =
        Websocket { origins: ["https://a.example".into()].into(), ..Websocket::new(WebsocketKind::Echo) };
    let mut routes = Route::welcome();
    routes.push(Route::new(path("guarded"), Action::Websocket(guarded)));
    config.routes = routes.into();
    let server = Server::start(&config, None).unwrap();
    let at = tcp_at(&server, 0);
    let plain = asked(at, "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(plain.starts_with("http/1.1 426 "), "{plain}");
    for field in ["upgrade: websocket\r\n", "connection: upgrade\r\n", "sec-websocket-version: 13\r\n"] {
        assert!(plain.contains(field), "{plain}");
    }
    let old = asked(
        at,
        &HANDSHAKE.replace("Version: 13", "Version: 8").replace("Upgrade\r\nS", "Upgrade, close\r\nS"),
    );
    assert!(old.starts_with("http/1.1 426 "), "{old}");
    let keyless =
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short").replace("Upgrade\r\nS", "Upgrade, close\r\nS");
    assert!(asked(at, &keyless).starts_with("http/1.1 400 "));
    let foreign = HANDSHAKE
        .replace("/echo", "/guarded")
        .replace("Connection: Upgrade", "Connection: Upgrade, close\r\nOrigin: https://b.example");
    assert!(asked(at, &foreign).starts_with("http/1.1 403 "));
    // Where nothing is, and where something else is.
    for elsewhere in ["/nothing", "/chat.js"] {
        let text = HANDSHAKE.replace("/echo", elsewhere).replace("Upgrade\r\nS", "Upgrade, close\r\nS");
        assert!(asked(at, &text).starts_with("http/1.1 404 "), "{elsewhere}");
        let other = asked(at, &text.replace("websocket", "h2c"));
        assert_eq!(other.starts_with("http/1.1 200 "), elsewhere == "/chat.js", "{other}");
    }
    let posted = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let posted = asked(at, posted);
    assert!(posted.starts_with("http/1.1 405 ") && posted.contains("allow: get\r\n"), "{posted}");
    end(server);
}

fn path(name: &str) -> PathPattern {
    PathPattern { parts: [PathPart::Literal(name.into())].into(), rest: false }
}

#[test]
fn a_drain_closes_websockets_with_1001_and_raw_connections_in_order() {
    let mut config = config();
    config.tcp = [service(TcpHandler::Echo)].into();
    let server = Server::start(&config, None).unwrap();
    let (at, raw) = (tcp_at(&server, 0), tcp_at(&server, 1));
    let mut sockets: Vec<Socket> =
        (0..10).map(|n| enter(at, if n % 2 == 0 { "/echo" } else { "/rooms/x" })).collect();
    let mut line = dial(raw);
    line.write_all(b"hi").unwrap();
    line.read_exact(&mut [0; 2]).unwrap();
    server.drain(PATIENCE);
    for socket in &mut sockets {
        assert_eq!(closed_with(socket), u16::from(CloseCode::Away));
        // Our answer goes out with the next call.
        while socket.read().is_ok() {}
    }
    assert_eq!(line.read(&mut [0; 2]).unwrap(), 0);
    server.wait().unwrap();
}

fn service(handler: TcpHandler) -> Tcp {
    Tcp {
        listen: Address::Tcp((Ipv4Addr::LOCALHOST, 0).into()),
        handler,
        idle_timeout: PATIENCE,
        line_size: 16 << 10,
        slow_consumer: SlowConsumer::Close,
    }
}

#[test]
fn raw_bytes_are_echoed_and_a_line_from_one_reaches_all_others_on_every_worker() {
    let mut config = config();
    config.tcp = [service(TcpHandler::Echo), service(TcpHandler::Lines)].into();
    let server = Server::start(&config, None).unwrap();
    let mut echo = dial(tcp_at(&server, 1));
    echo.write_all(&[9; 100_000]).unwrap();
    let mut back = vec![0; 100_000];
    echo.read_exact(&mut back).unwrap();
    assert!(back.iter().all(|byte| *byte == 9));
    echo.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(echo.read(&mut back).unwrap(), 0, "who says no more gets what is left, and the end");

    let mut lines: Vec<_> = (0..12).map(|_| BufReader::new(dial(tcp_at(&server, 2)))).collect();
    // A connection that was accepted by the kernel may not be a member yet: it is once what it says is heard by somebody.
    for (n, line) in lines.iter_mut().enumerate().skip(1) {
        line.get_mut().write_all(format!("{n}\n").as_bytes()).unwrap();
    }
    let mut here = HashSet::new();
    let mut line = String::new();
    while here.len() < lines.len() - 1 {
        line.clear();
        lines[0].read_line(&mut line).unwrap();
        here.insert(line.clone());
    }
    lines[0].get_mut().write_all(b"to all\n").unwrap();
    for other in &mut lines[1..] {
        while line != "to all\n" {
            line.clear();
            assert_ne!(other.read_line(&mut line).unwrap(), 0);
        }
        line.clear();
    }
    end(server);
}

#[test]
fn a_client_has_its_share_of_connections_back_when_they_end_whatever_they_spoke() {
    let mut config = config();
    config.limits.per_client_connections = 2;
    config.tcp = [service(TcpHandler::Echo)].into();
    let server = Server::start(&config, None).unwrap();
    for _ in 0..20 {
        let mut socket = enter(tcp_at(&server, 0), "/echo");
        let mut raw = dial(tcp_at(&server, 1));
        raw.write_all(b"x").unwrap();
        raw.read_exact(&mut [0]).unwrap();
        let mut third = dial(tcp_at(&server, 0));
        let _ = third.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(!matches!(third.read(&mut [0]), Ok(1)), "over the limit");
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
        drop((socket, raw, third));
        while server.connections() > 0 {
            std::thread::yield_now();
        }
    }
    end(server);
}

#[test]
fn a_megabyte_that_inflates_to_a_gigabyte_is_closed_with_1009() {
    let server = Server::start(&config(), None).unwrap();
    let mut stream = deflating(tcp_at(&server, 0), "/echo");
    let bomb = bomb(1 << 30);
    assert!(bomb.len() < 1_100_000, "{}", bomb.len());
    let mut frame = vec![0xc2, 0xff];
    frame.extend_from_slice(&(bomb.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&bomb);
    stream.write_all(&frame).unwrap();
    let mut close = [0; 4];
    stream.read_exact(&mut close).unwrap();
    assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1009));
    end(server);
}

/// A connection that has agreed on permessage-deflate, without anything that would inflate for it.
fn deflating(at: SocketAddr, path: &str) -> TcpStream {
    let mut stream = dial(at);
    let offer = HANDSHAKE
        .replace("/echo", path)
        .replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    stream.write_all(offer.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(String::from_utf8_lossy(&head).contains("permessage-deflate"));
    stream
}

/// So many zeros, deflated to a block of its own.
fn block(len: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(4096);
    let mut deflate = Compress::new(Compression::best(), false);
    deflate.compress_vec(&vec![0; len], &mut block, FlushCompress::Full).unwrap();
    assert!(block.ends_with(&[0, 0, 0xff, 0xff]));
    block
}

/// So many zeros, deflated, without the tail that RFC 7692, 7.2.1 takes away: one block, again and again.
fn bomb(len: usize) -> Vec<u8> {
    let piece = len.min(1 << 20);
    let mut out = block(piece).repeat(len / piece);
    out.truncate(out.len() - 4);
    out
}

#[test]
fn two_kilobytes_of_one_client_do_not_end_those_in_its_room_who_read_all_the_time() {
    let mut config = config();
    config.routes = [Route::new(path("room"), Action::Websocket(Websocket::new(WebsocketKind::Room)))].into();
    let server = Server::start(&config, None).unwrap();
    let at = tcp_at(&server, 0);
    let members: Vec<_> = (0..5)
        .map(|_| {
            let mut member = enter(at, "/room");
            std::thread::spawn(move || (0..10).map(|_| hear(&mut member).len()).collect::<Vec<_>>())
        })
        .collect();
    let mut stream = deflating(at, "/room");
    let mut said = Vec::new();
    for _ in 0..10 {
        let payload = bomb(100_000);
        assert!(payload.len() < 126);
        said.extend_from_slice(&[0xc1, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
        said.extend_from_slice(&payload);
    }
    assert!(said.len() < 2048, "{} bytes", said.len());
    stream.write_all(&said).unwrap();
    for member in members {
        assert_eq!(member.join().unwrap(), [100_000; 10]);
    }
    end(server);
}

#[test]
fn one_that_never_reads_is_handled_as_its_room_says_and_delays_nobody() {
    const MESSAGES: usize = 1500;
    let word = |n: usize| format!("{n:0>16000}");
    for policy in
        [SlowConsumer::Close, SlowConsumer::DropOldest, SlowConsumer::DropNewest, SlowConsumer::Latest]
    {
        let mut config = config();
        let room = Websocket { slow_consumer: policy, ..Websocket::new(WebsocketKind::Room) };
        config.routes = [Route::new(path("room"), Action::Websocket(room))].into();
        let server = Server::start(&config, None).unwrap();
        let at = tcp_at(&server, 0);
        let (mut deaf, mut listening, mut speaker) =
            (enter(at, "/room"), enter(at, "/room"), enter(at, "/room"));
        // The room's home may hear of a member on the other worker a moment after that was let in.
        for member in [&mut deaf, &mut listening] {
            member.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            loop {
                speaker.send(Message::text("ready?")).unwrap();
                if member.read().is_ok_and(|heard| heard == Message::text("ready?")) {
                    break;
                }
            }
            member.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        }
        for n in 0..MESSAGES {
            speaker.send(Message::text(word(n))).unwrap();
            let heard = std::iter::repeat_with(|| hear(&mut listening)).find(|heard| heard != "ready?");
            assert_eq!(heard, Some(word(n)), "{policy:?}");
        }
        // One word is said for each that is read: the last of them comes through whatever is lost.
        let mut got = Vec::new();
        let ended = loop {
            match deaf.read() {
                Ok(Message::Text(text)) if text.as_str() == "end" => break None,
                Ok(Message::Text(text)) if text.as_str() == "ready?" => continue,
                Ok(Message::Text(text)) => got.push(text.trim_start_matches('0').parse().unwrap_or(0)),
                Ok(_) => continue,
                Err(error) => break Some(error),
            }
            speaker.send(Message::text("end")).unwrap();
        };
        assert!(got.is_sorted() && got.len() < MESSAGES, "{policy:?}: {} in order", got.len());
        let begun = got.iter().zip(0..).take_while(|(a, b)| **a == *b).count();
        match policy {
            SlowConsumer::Close => assert!(ended.is_some() && begun == got.len()),
            SlowConsumer::DropOldest => {
                assert!(got.len() > begun + 1 && got.last() == Some(&(MESSAGES - 1)), "{got:?}");
            }
            // What the kernel takes later makes room for one or the other in between.
            SlowConsumer::DropNewest => assert!(begun > 16 && got.len() <= begun + 8, "{got:?}"),
            SlowConsumer::Latest => assert_eq!(got.last(), Some(&(MESSAGES - 1))),
        }
        assert_eq!(ended.is_some(), policy == SlowConsumer::Close, "{ended:?}");
        end(server);
    }
}
