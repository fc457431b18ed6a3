//! Every series that the README names is on the page, and moves when that happens which it counts. The names are taken from the
//! README: one without a row here fails.
#![cfg(all(feature = "tls", feature = "server"))]

mod support;

use evenkeel::config::{self, Flags, Source};
use evenkeel::reactor::OsListener;
use evenkeel::server::settings::{Address, Config};
use evenkeel::server::{Server, Setup};
use std::any::Any;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::tls::{client_config, name, pair};
use tungstenite::Message;

/// Longer than anything here takes; whoever waits longer fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a mover did that must not end before its effect was seen.
type Kept = Vec<Box<dyn Any>>;

type Mover = fn(&mut World) -> Kept;

/// Series without their labels, and what moves them.
const MOVERS: &[(&str, Mover)] = &[
    ("evenkeel_http_requests_total", |world| world.request()),
    ("evenkeel_http_request_duration_seconds", |world| world.request()),
    ("evenkeel_connections", |world| vec![Box::new(world.connect())]),
    ("evenkeel_connections_closed_total", |world| world.request()),
    ("evenkeel_connections_accepted_total", |world| world.request()),
    ("evenkeel_refusals_total", |world| {
        let crowd: Vec<TcpStream> = (0..80).map(|_| world.connect()).collect();
        vec![Box::new(crowd)]
    }),
    ("evenkeel_websocket_messages_total", |world| {
        let mut socket = world.websocket("/echo");
        socket.send(Message::text("hello")).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("hello"));
        vec![Box::new(socket)]
    }),
    ("evenkeel_speaker_waits_total", |world| {
        // More than may be gathered in one turn: a small part of the memory budget.
        let mut socket = world.websocket("/rooms/one");
        (0..8).for_each(|_| socket.write(Message::binary(vec![b'x'; 30 << 10])).unwrap());
        socket.flush().unwrap();
        vec![Box::new(socket)]
    }),
    ("evenkeel_rooms", |world| vec![Box::new(world.websocket("/rooms/one"))]),
    ("evenkeel_tls_handshakes_total", |world| {
        let conn = rustls::ClientConnection::new(client_config(support::tls::BOTH), name()).unwrap();
        let mut stream = rustls::StreamOwned::new(conn, TcpStream::connect(world.tls).unwrap());
        stream.write_all(LAST).unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        vec![Box::new(stream)]
    }),
    ("evenkeel_buffers_held_bytes", |world| {
        let mut stream = world.connect();
        stream.write_all(b"GET / HT").unwrap();
        vec![Box::new(stream)]
    }),
    ("evenkeel_memory_held_bytes", |world| vec![Box::new(world.connect())]),
    ("evenkeel_loop_lag_seconds", |world| {
        // The worker's timer of a second comes due while it answers a crowd that leaves it no pause.
        let (began, many) =
            (Instant::now(), [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(200), LAST.to_vec()]);
        while began.elapsed() < Duration::from_millis(1500) {
            let mut crowd: Vec<TcpStream> = (0..24).map(|_| world.connect()).collect();
            crowd.iter_mut().for_each(|stream| stream.write_all(&many.concat()).unwrap());
            for mut stream in crowd {
                stream.read_to_end(&mut Vec::new()).unwrap();
            }
        }
        Vec::new()
    }),
    ("evenkeel_reloads_total", |world| {
        let config = configured(&world.folder);
        let reload = world.server.prepare(&config).unwrap();
        let applied = world.server.apply(reload).is_ok();
        world.server.count_reload(applied);
        Vec::new()
    }),
    ("process_", |world| vec![Box::new(world.connect())]),
];

/// A server of its own for one series.
struct World {
    server: Server,
    plain: SocketAddr,
    tls: SocketAddr,
    folder: PathBuf,
}

const LAST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

fn configured(folder: &Path) -> Config {
    let text = "[server]\nworkers = 1\n[limits]\nper_client_connections = 64\nmemory = \"1MiB\"\n\
        [metrics]\nenable = false\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.2:0\"\ntls = true\n\
        [[route]]\npath = \"/\"\nrespond = \"all well\"\n[[route]]\npath = \"/echo\"\nwebsocket = \"echo\"\n\
        [[route]]\npath = \"/rooms/{room}\"\nwebsocket = \"room\"\n";
    let source = Source::new("test.toml", text.into(), folder.to_path_buf());
    config::load(Some(&source), &BTreeMap::<String, String>::new(), &Flags::default()).unwrap().config
}

impl World {
    fn new(series: &str) -> World {
        let folder = std::env::temp_dir().join(format!("evenkeel-metrics-{}-{series}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("cert.pem"), &pair().cert_pem).unwrap();
        std::fs::write(folder.join("key.pem"), &pair().key_pem).unwrap();
        let socket = OsListener::unix(&folder.join("admin.sock"), 0o600).unwrap();
        let setup = Setup { admin: Some((socket, mpsc::channel().0)), ..Setup::default() };
        let server = Server::start_with(&configured(&folder), setup).unwrap();
        let [Address::Tcp(plain), Address::Tcp(tls)] = server.addresses()[..] else { panic!("two of TCP") };
        World { server, plain, tls, folder }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.plain).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn request(&self) -> Kept {
        let mut stream = self.connect();
        stream.write_all(LAST).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        Vec::new()
    }

    fn websocket(&self, path: &str) -> tungstenite::WebSocket<TcpStream> {
        tungstenite::client(format!("ws://localhost{path}"), self.connect()).unwrap().0
    }

    /// The page, with its head.
    fn page(&self) -> String {
        let mut stream = UnixStream::connect(self.folder.join("admin.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    /// The series' lines on the page; the page without comments, if none is meant.
    fn lines(&self, series: &str) -> Vec<String> {
        let page = self.page();
        let is_of = |line: &&str| {
            let rest = line.strip_prefix(series);
            let part =
                |rest: &str| ["_bucket{", "_sum ", "_count "].iter().any(|part| rest.starts_with(part));
            rest.is_some_and(|rest| series.ends_with('_') || rest.starts_with(['{', ' ']) || part(rest))
        };
        let known = page.lines().any(|line| {
            line.strip_prefix("# TYPE ").is_some_and(|rest| rest.starts_with(series.trim_end_matches('_')))
        });
        assert!(known, "{series} is not on the page:\n{page}");
        page.lines().filter(is_of).map(str::to_owned).collect()
    }
}

/// The series that the README names.
fn named() -> Vec<String> {
    let readme = include_str!("../README.md");
    let words = readme.split('`').skip(1).step_by(2);
    let names = words.filter(|word| word.starts_with("evenkeel_") || word.starts_with("process_"));
    names.map(|word| word.split(['{', '*']).next().unwrap_or("").to_owned()).collect()
}

fn moves(series: &str, mover: Mover) {
    let mut world = World::new(series);
    let (before, began) = (world.lines(series), Instant::now());
    loop {
        let kept = mover(&mut world);
        // Workers publish once a second.
        let round = Instant::now();
        while round.elapsed() < Duration::from_millis(2500) {
            if world.lines(series) != before {
                world.server.stop();
                world.server.wait().unwrap();
                let _ = std::fs::remove_dir_all(&world.folder);
                return;
            }
        }
        assert!(began.elapsed() < PATIENCE, "{series} does not move: {before:?}");
        drop(kept);
    }
}

#[test]
fn every_series_that_the_readme_names_moves_when_that_happens_which_it_counts() {
    let named = named();
    assert!(named.len() > 10, "{named:?}");
    for series in &named {
        assert!(MOVERS.iter().any(|(name, _)| name == series), "{series} has no row in this test");
    }
    let movers = MOVERS.iter().filter(|(name, _)| named.iter().any(|series| series == name));
    std::thread::scope(|scope| {
        for (series, mover) in movers {
            scope.spawn(|| moves(series, *mover));
        }
    });
}

#[test]
fn the_page_says_nothing_of_the_server_that_a_reload_could_not_take_back() {
    let world = World::new("header");
    let page = world.page();
    let head = page.split("\r\n\r\n").next().unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && !head.contains("\r\nserver:"), "{head}");
    world.server.stop();
    world.server.wait().unwrap();
    let _ = std::fs::remove_dir_all(&world.folder);
}
