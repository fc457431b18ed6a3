//! Each setting has its effect: a server by a configuration, on real sockets, and what its clients see. What a reload changes is
//! shown in `reload.rs` too; certificates in `tls.rs` and `tls_os.rs`.

#[path = "support/program.rs"]
mod program;

use evenkeel::config::{self, Flags, Source};
use evenkeel::server::settings::{
    Action, Address, Balance, Config, Listener, PathPattern, Proxy, Route, SlowConsumer, Tcp, TcpHandler,
    Upstream,
};
use evenkeel::server::{ReloadError, RunError, Server};
use program::{Program, evenkeel};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Longer than anything here takes; whoever waits longer fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

fn configured(text: &str) -> Config {
    let source = Source::new("test.toml", text.into(), "".into());
    config::load(Some(&source), &BTreeMap::<String, String>::new(), &Flags::default()).unwrap().config
}

struct Running(Option<Server>, SocketAddr);

impl Drop for Running {
    fn drop(&mut self) {
        let server = self.0.take().unwrap();
        server.stop();
        server.wait().unwrap();
    }
}

/// A server on any port, with these lines in `[server]` and these after it.
fn serve(server: &str, others: &str) -> Running {
    let metrics = if others.contains("[metrics]") { "" } else { "[metrics]\nenable = false\n" };
    let routes = "[[route]]\npath = \"/*\"\nrespond = \"all well\"\n";
    let host = if server.contains("host") { "" } else { "host = \"127.0.0.1\"\n" };
    let config = configured(&format!("[server]\n{host}port = 0\n{server}\n{others}\n{metrics}{routes}"));
    let server = Server::start(&config, None).unwrap();
    let Address::Tcp(at) = server.addresses()[0] else { panic!("a TCP address") };
    Running(Some(server), at)
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.1).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// All that comes until the server closes, and after how long.
    fn tell(&self, bytes: &[u8]) -> (String, Duration) {
        let mut stream = self.connect();
        let began = Instant::now();
        // A server that refuses may reset before it was written, or after.
        let _ = stream.write_all(bytes);
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        (String::from_utf8_lossy(&got).into_owned(), began.elapsed())
    }
}

const LAST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const SHORT: Duration = Duration::from_millis(150);

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

/// Not before this, and long before the default.
fn about(took: Duration) {
    assert!(took >= SHORT && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn host_and_port_say_where_it_listens() {
    let server = serve("host = \"127.0.0.2\"", "");
    assert_eq!(server.1.ip().to_string(), "127.0.0.2");
    assert_ne!(server.1.port(), 0);
    assert_eq!(status(&server.tell(LAST).0), "200");
}

/// The program, and its file.
struct Started(Program, std::path::PathBuf);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

/// The program by a file with this `[server]` and what follows, these variables and flags.
fn program(name: &str, server: &str, variables: &[(&str, &str)], flags: &[&str]) -> Started {
    let path = std::env::temp_dir().join(format!("evenkeel-settings-{}-{name}.toml", std::process::id()));
    let text =
        format!("[server]\nworkers = 1\n{server}\n[metrics]\nenable = false\n[log]\naccess = \"off\"\n");
    std::fs::write(&path, text).unwrap();
    let mut command = evenkeel();
    Started(Program::start(command.envs(variables.iter().copied()).arg("-c").arg(&path).args(flags)), path)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn host_and_port_are_taken_from_the_file_from_a_variable_over_it_and_from_a_flag_over_both() {
    let [file, contract, own, flag] = [(); 4].map(|()| free_port());
    let text = format!("host = \"127.0.0.2\"\nport = {file}");
    let [file, contract, own, flag] = [file, contract, own, flag].map(|port| port.to_string());
    let contract = [("SERVER_HOST", "127.0.0.3"), ("SERVER_PORT", contract.as_str())];
    let own = [("EVENKEEL_SERVER_HOST", "127.0.0.4"), ("EVENKEEL_SERVER_PORT", own.as_str())];
    let both = [contract, own].concat();
    let flags = ["--host", "127.0.0.5", "--port", flag.as_str()];
    let check = |name: &str, variables: &[(&str, &str)], flags: &[&str], host: &str, port: &str| {
        let server = program(name, &text, variables, flags);
        assert_eq!(server.0.at.to_string(), format!("{host}:{port}"));
        assert_eq!(status(&ask(server.0.at, "/")), "200");
    };
    check("by-file", &[], &[], "127.0.0.2", &file);
    check("by-contract", &contract, &[], contract[0].1, contract[1].1);
    check("by-variable", &both, &[], own[0].1, own[1].1);
    check("by-flag", &both, &flags, "127.0.0.5", &flag);
}

#[test]
fn drain_lag_keeps_listeners_open_for_so_long_after_readyz_has_turned() {
    let text = "host = \"127.0.0.1\"\nport = 0\nhealth = true\ndrain_lag = \"1s\"\ndrain_timeout = \"1s\"";
    let mut server = program("lag", text, &[], &[]);
    let at = server.0.at;
    assert_eq!(status(&ask(at, "/readyz")), "200");
    let began = Instant::now();
    server.0.signal(Signal::TERM);
    while status(&ask(at, "/readyz")) != "503" {
        assert!(began.elapsed() < Duration::from_secs(1), "it is not told in time");
    }
    assert_eq!(status(&ask(at, "/")), "200", "newcomers are still served");
    assert_eq!(server.0.end().0, Some(0));
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let refused = TcpStream::connect(at).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn health_is_answered_on_the_main_port_when_asked_for_and_never_logged_and_a_route_of_ones_own_wins() {
    let route = "[[route]]\npath = \"/livez\"\nrespond = \"mine\"\n";
    let without = serve("", "");
    assert!(ask(without.1, "/healthz").ends_with("all well"), "it is a path like any other");
    let path = std::env::temp_dir().join(format!("evenkeel-settings-{}-health.log", std::process::id()));
    let text = format!(
        "host = \"127.0.0.1\"\nport = 0\nhealth = true\n[limits]\nbody_size = 0\n{route}[[route]]\npath = \"/*\"\nrespond = \"x\""
    );
    let access = [("EVENKEEL_LOG_ACCESS", "common"), ("EVENKEEL_LOG_ACCESS_PATH", path.to_str().unwrap())];
    let mut server = program("health", &text, &access, &[]);
    let at = server.0.at;
    let answer = ask(at, "/healthz");
    assert!(status(&answer) == "200" && answer.contains("\r\n\r\nhealthy\n"), "{answer}");
    assert_eq!(status(&ask(at, "/readyz?x")), "200");
    assert!(ask(at, "/livez").ends_with("mine"));
    ask(at, "/other");
    server.0.signal(Signal::TERM);
    server.0.end();
    let log = std::fs::read_to_string(&path).unwrap();
    let _ = std::fs::remove_file(&path);
    assert!(log.contains("/other") && !log.contains("/healthz") && !log.contains("/readyz"), "{log}");
}

#[test]
fn what_routes_of_ones_own_answer_is_logged_also_at_the_paths_of_health() {
    let path = std::env::temp_dir().join(format!("evenkeel-settings-{}-own-health.log", std::process::id()));
    let routes = "[[route]]\npath = \"/readyz\"\nrespond = \"mine\"\n\
        [[route]]\nhost = \"example.org\"\nrespond = \"the site\"\n";
    let text = format!("host = \"127.0.0.1\"\nport = 0\nhealth = true\n{routes}");
    let access = [("EVENKEEL_LOG_ACCESS", "common"), ("EVENKEEL_LOG_ACCESS_PATH", path.to_str().unwrap())];
    let mut server = program("own-health", &text, &access, &[]);
    let at = server.0.at;
    assert!(ask(at, "/readyz").ends_with("mine"));
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("the site"), "{answer}");
    assert_eq!(status(&ask(at, "/livez")), "200");
    server.0.signal(Signal::TERM);
    server.0.end();
    let log = std::fs::read_to_string(&path).unwrap();
    let _ = std::fs::remove_file(&path);
    assert!(log.contains("/readyz") && log.contains("/healthz") && !log.contains("/livez"), "{log}");
}

#[test]
fn workers_is_the_number_of_threads() {
    let server = serve("workers = 3", "");
    let survey = server.0.as_ref().unwrap().survey(PATIENCE);
    assert_eq!(survey.summaries.len(), 3);
}

#[test]
fn header_server_is_sent_or_not() {
    assert!(serve("", "").tell(LAST).0.contains("evenkeel"));
    assert!(!serve("header_server = false", "").tell(LAST).0.contains("evenkeel"));
}

#[test]
fn read_timeout_ends_a_connection_that_says_nothing() {
    about(serve("read_timeout = \"200ms\"", "").tell(b"").1);
}

#[test]
fn idle_timeout_ends_a_connection_between_requests() {
    let (answer, took) = serve("idle_timeout = \"200ms\"", "").tell(GET);
    assert_eq!(status(&answer), "200");
    about(took);
}

#[test]
fn head_timeout_ends_a_head_that_is_never_whole() {
    let (answer, took) = serve("", "[limits]\nhead_timeout = \"200ms\"").tell(b"GET / HT");
    assert_eq!(status(&answer), "408");
    about(took);
}

#[test]
fn write_timeout_ends_a_connection_that_takes_nothing() {
    let body = "x".repeat(1 << 20);
    let route = format!("[[route]]\npath = \"/big\"\nrespond = \"{body}\"\n");
    let server = serve("write_timeout = \"200ms\"", &route);
    let mut stream = server.connect();
    stream.write_all(&b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n".repeat(64)).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    let began = Instant::now();
    let gone = || server.0.as_ref().unwrap().connections() == 0;
    while !gone() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    about(began.elapsed() + Duration::from_millis(50));
}

#[test]
fn head_size_and_head_fields_bound_a_head() {
    let server = serve("", "[limits]\nhead_size = \"1KiB\"\nhead_fields = 3");
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a".repeat(1200));
    assert!(["414", "431"].contains(&status(&server.tell(long.as_bytes()).0)));
    let many = b"GET / HTTP/1.1\r\nhost: a\r\na: b\r\nc: d\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&server.tell(many).0), "431");
    assert_eq!(status(&server.tell(LAST).0), "200");
}

#[test]
fn as_many_fields_as_head_fields_can_say_are_taken() {
    let Some(config::Kind::Whole(_, most)) = config::setting("limits.head_fields").map(|one| one.kind) else {
        panic!("a number")
    };
    let server = serve("", &format!("[limits]\nhead_fields = {most}"));
    let head = |fields: u64| {
        let more = "a: b\r\n".repeat(fields as usize - 2);
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n")
    };
    assert_eq!(status(&server.tell(head(most).as_bytes()).0), "200");
    assert_eq!(status(&server.tell(head(most + 1).as_bytes()).0), "431");
}

#[test]
fn body_size_bounds_a_body() {
    let post =
        |n: usize| format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {n}\r\n\r\n");
    let server = serve("", "[limits]\nbody_size = \"1KiB\"");
    assert_eq!(status(&server.tell(post(1025).as_bytes()).0), "413");
    assert_eq!(status(&server.tell((post(1024) + &"x".repeat(1024)).as_bytes()).0), "200");
}

#[test]
fn per_client_connections_bounds_one_client() {
    let server = serve("", "[limits]\nper_client_connections = 1");
    let mut first = server.connect();
    first.write_all(GET).unwrap();
    first.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(server.tell(LAST).0, "", "the second is refused");
}

#[test]
fn max_connections_makes_the_next_one_wait() {
    let server = serve("max_connections = 1", "");
    let mut first = server.connect();
    first.write_all(GET).unwrap();
    first.read_exact(&mut [0; 12]).unwrap();
    let mut second = server.connect();
    second.write_all(LAST).unwrap();
    second.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    let waits = second.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(waits.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    assert_eq!(status(&text), "200", "it is served in the end");
}

#[test]
fn over_the_memory_budget_largest_backlogs_are_cut_newcomers_refused_and_it_recovers() {
    let body = "x".repeat(200 << 10);
    let route = format!(
        "[limits]\nmemory = \"2MiB\"\nper_client_connections = 0\n[[route]]\npath = \"/big\"\nrespond = \"{body}\"\n"
    );
    let server = serve("workers = 1", &route);
    let shared = server.0.as_ref().unwrap().shared().clone();
    // Each asks for far more than the kernel takes, and reads nothing.
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = server.connect();
        let _ = stream.write_all(&b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100));
        slow.push(stream);
    }
    let began = Instant::now();
    let reason = evenkeel::observe::Reason::MemoryBudget;
    loop {
        let tally = shared.hub.total();
        let cut: u64 = tally.closes().filter(|(_, why, _)| *why == reason).map(|(.., n)| n).sum();
        if cut > 0 {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "nobody is cut; {} of {}",
            shared.budget.held(),
            shared.budget.limit()
        );
        std::thread::yield_now();
    }
    drop(slow);
    while shared.budget.held() > shared.budget.limit() / 2 {
        assert!(began.elapsed() < PATIENCE, "{} held", shared.budget.held());
        std::thread::yield_now();
    }
    assert_eq!(status(&server.tell(LAST).0), "200");
}

/// Closes for this reason so far, as published.
fn closes(server: &Running, reason: evenkeel::observe::Reason) -> u64 {
    let tally = server.0.as_ref().unwrap().shared().hub.total();
    tally.closes().filter(|(_, why, _)| *why == reason).map(|(.., n)| n).sum()
}

fn await_closes(server: &Running, reason: evenkeel::observe::Reason, count: u64) {
    let began = Instant::now();
    while closes(server, reason) < count {
        assert!(began.elapsed() < PATIENCE, "{} of {count} {reason:?}", closes(server, reason));
        std::thread::yield_now();
    }
}

#[test]
fn messages_of_which_a_part_has_come_count_against_the_memory_budget() {
    let route = "[limits]\nmemory = \"2MiB\"\nper_client_connections = 0\n[[route]]\npath = \"/echo\"\nwebsocket = \"echo\"\n";
    let server = serve("workers = 1", route);
    let mut part = b"GET /echo HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    part.extend_from_slice(b"\x82\xff\0\0\0\0\0\x0d\xbb\xa0\0\0\0\0");
    part.resize(part.len() + (400 << 10), b'x');
    let mut all = Vec::new();
    for _ in 0..20 {
        let mut stream = server.connect();
        let _ = stream.write_all(&part);
        all.push(stream);
    }
    await_closes(&server, evenkeel::observe::Reason::MemoryBudget, 10);
    let shared = server.0.as_ref().unwrap().shared().clone();
    let began = Instant::now();
    while shared.budget.held() > shared.budget.limit() {
        assert!(began.elapsed() < PATIENCE, "{} held", shared.budget.held());
        std::thread::yield_now();
    }
    drop(all);
    while shared.budget.held() > 1024 {
        assert!(began.elapsed() < PATIENCE, "{} held by nobody", shared.budget.held());
        std::thread::yield_now();
    }
}

#[test]
fn slow_readers_that_fill_the_memory_budget_do_not_cost_idle_connections_their_place() {
    let body = "x".repeat(200 << 10);
    let route = format!(
        "[limits]\nmemory = \"2MiB\"\nper_client_connections = 0\n[[route]]\npath = \"/big\"\nrespond = \"{body}\"\n"
    );
    let server = serve("workers = 1", &route);
    let mut idle: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for stream in &mut idle {
        stream.write_all(GET).unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
    }
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = server.connect();
        let _ = stream.write_all(&b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100));
        slow.push(stream);
    }
    use evenkeel::observe::Reason;
    await_closes(&server, Reason::MemoryBudget, 1);
    drop(slow);
    let served = |stream: &mut TcpStream| {
        let mut answer = String::new();
        stream.write_all(LAST).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.contains("200 OK")
    };
    let lost = idle.iter_mut().filter_map(|stream| (!served(stream)).then_some(())).count();
    assert_eq!((lost, closes(&server, Reason::Evicted)), (0, 0));
}

/// What the metrics port says.
fn ask(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn health_degrades_when_connections_run_out_and_recovers() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = serve("max_connections = 4", &format!("[metrics]\nport = {}\n", free.port()));
    let await_health = |word: &str| {
        let began = Instant::now();
        while !ask(free, "/healthz").contains(&format!("\r\n\r\n{word}\n")) {
            assert!(began.elapsed() < PATIENCE, "never {word}");
            std::thread::yield_now();
        }
    };
    await_health("healthy");
    let all: Vec<TcpStream> = (0..4).map(|_| server.connect()).collect();
    await_health("degraded");
    drop(all);
    await_health("healthy");
}

#[test]
fn metrics_host_and_port_say_where_the_page_is() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = serve("", &format!("[metrics]\nhost = \"127.0.0.1\"\nport = {}\n", free.port()));
    let get = |path: &str| {
        let mut stream = TcpStream::connect(free).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(get("/metrics").contains("evenkeel_"));
    assert_eq!(status(&get("/readyz")), "200");
    assert_eq!(status(&get("/reload")), "404");
    server.0.as_ref().unwrap().turn_unready();
    let unready = get("/readyz");
    assert_eq!((status(&unready), unready.contains("\r\nRetry-After: 1\r\n")), ("503", true), "{unready}");
    assert_eq!(status(&get("/livez")), "200");
    let mut order = TcpStream::connect(free).unwrap();
    order
        .write_all(b"POST /reload HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    order.read_to_string(&mut text).unwrap();
    assert_eq!(status(&text), "404", "orders are taken through the admin socket only");
}

#[test]
fn the_configuration_that_a_server_starts_with_counts_as_applied_then() {
    let before = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let server = serve("", "");
    let reloads = server.0.as_ref().unwrap().shared().reloads();
    assert!((before..before + 60).contains(&reloads.applied_at) && reloads.applied == 0, "{reloads:?}");
}

#[test]
fn a_worker_that_has_ended_is_on_the_page_with_all_that_it_counted_and_without_connections() {
    let server = serve("workers = 1", "");
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    let running = server.0.as_ref().unwrap();
    running.drain(PATIENCE);
    stream.read_to_end(&mut Vec::new()).unwrap();
    drop(stream);
    let began = Instant::now();
    while !running.is_finished() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    let tally = running.shared().hub.total();
    let closed: u64 = tally.closes().map(|(.., n)| n).sum();
    assert_eq!((tally.connection_count(), tally.durations.count(), closed), (0, 1, 1));
}

/// The program under this `ulimit`, with these flags beside.
fn limited(limit: &str, flags: &str) -> Program {
    let mut command = std::process::Command::new("/bin/sh");
    let script = format!("ulimit {limit}; exec \"$0\" --host 127.0.0.1 --port 0 {flags}");
    command.env_clear().env("ENABLE_METRICS", "false");
    Program::start(command.args(["-c", &script, env!("CARGO_BIN_EXE_evenkeel")]))
}

#[test]
fn a_soft_limit_of_descriptors_is_raised_and_one_that_cannot_be_is_said() {
    let program = limited("-Sn 100", "--max-connections 200");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!(soft > 200, "{line}");
    let mut program = limited("-n 100", "--max-connections 200");
    program.signal(Signal::TERM);
    let (_, log) = program.end();
    let said = log.lines().any(|line| line.contains("WARN") && line.contains("ulimit -n"));
    assert!(said && log.contains("server.max_connections: 200"), "{log}");
}

#[test]
fn the_descriptors_of_many_workers_are_provided_for() {
    let mut program = limited("-Sn 100", "--max-connections 10 --workers 50");
    program.signal(Signal::TERM);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_log_that_may_not_grow_any_more_is_said_and_is_not_the_end_of_the_server() {
    let log = std::env::temp_dir().join(format!("evenkeel-settings-{}-grown", std::process::id()));
    std::fs::write(&log, [b'x'; 4096]).unwrap();
    let mut program = limited(&format!("-f 1; export EVENKEEL_LOG_ACCESS_PATH={}", log.display()), "");
    assert_eq!(status(&ask(program.at, "/")), "200");
    let line = program.await_log("cannot be written");
    std::fs::remove_file(&log).unwrap();
    assert!(line.contains("the access log") && line.contains("File too large"), "{line}");
    assert_eq!(status(&ask(program.at, "/")), "200");
    program.signal(Signal::TERM);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let path = std::env::temp_dir().join(format!("evenkeel-settings-{}-named", std::process::id()));
    let access = [("EVENKEEL_LOG_ACCESS_PATH", path.to_str().unwrap()), ("EVENKEEL_LOG_ACCESS", "json")];
    let mut server = program("named", "host = \"127.0.0.1\"\nport = 0", &access, &[]);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    server.0.signal(Signal::USR1);
    let line = server.0.await_log("cannot be opened again");
    std::fs::remove_dir(&path).unwrap();
    assert!(line.contains(path.to_str().unwrap()), "{line}");
}

#[test]
fn a_metrics_port_that_the_system_chose_is_said() {
    let mut command = evenkeel();
    command.args(["--host", "127.0.0.1", "--port", "0"]).env("METRICS_PORT", "0");
    let mut program = Program::start(&mut command);
    program.signal(Signal::TERM);
    let (_, log) = program.end();
    let at = log.lines().find_map(|line| line.split_once("metrics at ")?.1.parse::<SocketAddr>().ok());
    assert!(at.is_some_and(|at| at.ip().is_loopback() && at.port() != 0), "{log}");
}

/// One that is told to end when the test does, whatever comes of it.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_in_the_way_of_a_unix_socket_is_said_as_what_it_is() {
    let folder = std::env::temp_dir().join(format!("evenkeel-settings-{}-unix", std::process::id()));
    let (file, socket) = (folder.join("file"), folder.join("socket"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(&file, "").unwrap();
    // Nobody listens there, and nobody may ask.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    for (path, mode) in [(&folder, 0o777), (&socket, 0)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, code, words) in [(&file, 78, "is no socket"), (&socket, 77, "may not be asked")] {
        let text =
            format!("[metrics]\nenable = false\n[[listener]]\naddress = \"unix:{}\"\n", path.display());
        std::fs::write(folder.join("evenkeel.toml"), text).unwrap();
        let mut command = evenkeel();
        command.arg("-c").arg(folder.join("evenkeel.toml"));
        // Nothing is forbidden to root.
        if rustix::process::geteuid().is_root() {
            command.uid(65534);
        }
        match command.output() {
            Ok(output) => {
                let said = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(code), "{said}");
                assert!(said.contains(words) && !said.contains("another program"), "{said}");
            }
            // The program is in a folder of root's own.
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_json_log_on_standard_output_is_json_from_the_first_line_on() {
    for path in ["-", "/dev/stdout"] {
        let mut command = evenkeel();
        command.args(["--host", "127.0.0.1", "--port", "0"]).env("ENABLE_METRICS", "false");
        command.env("EVENKEEL_LOG_ACCESS", "json").env("EVENKEEL_LOG_ACCESS_PATH", path);
        let mut server = Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map(Result::unwrap);
        let at = log.find_map(|line| line.split_once("listening on ")?.1.parse().ok()).unwrap();
        assert_eq!(status(&ask(at, "/")), "200");
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with('{') && line.contains("\"status\":200"), "{line}");
    }
}

#[test]
fn lines_of_the_diagnostics_that_are_lost_count_as_lost_lines_of_logs() {
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = evenkeel();
    command.args(["--host", "127.0.0.1", "--port", "0"]).env("METRICS_PORT", metrics.port().to_string());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut server = Killed(command.stdout(Stdio::piped()).stderr(full).spawn().unwrap());
    // It serves: nothing else is ever written there.
    server.0.stdout.take().unwrap().read_exact(&mut [0; 12]).unwrap();
    let began = Instant::now();
    let lost = || {
        let page = ask(metrics, "/metrics");
        let mut lines = page.lines();
        lines.find_map(|line| line.strip_prefix("evenkeel_log_lines_dropped_total ")?.parse::<u64>().ok())
    };
    while lost().unwrap() == 0 {
        assert!(began.elapsed() < PATIENCE, "none is counted");
        std::thread::yield_now();
    }
}

#[test]
fn a_setting_that_this_version_has_no_effect_for_is_refused_by_name_by_a_server_that_is_told_it_by_a_program()
{
    let good =
        configured("[server]\nhost = \"127.0.0.1\"\nport = 0\nworkers = 1\n[metrics]\nenable = false\n");
    let running = Running(Some(Server::start(&good, None).unwrap()), ([127, 0, 0, 1], 0).into());
    let refused = |name: &str, change: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        change(&mut config);
        let started = Server::start(&config, None).err();
        assert!(
            matches!(&started, Some(RunError::Unbuilt(names)) if **names == [name]),
            "{name}: {started:?}"
        );
        let prepared = running.0.as_ref().unwrap().prepare(&config).err();
        assert!(matches!(&prepared, Some(ReloadError::Unbuilt(names)) if **names == [name]), "{prepared:?}");
        assert_eq!(started.unwrap().to_string(), format!("this version does not do that yet: {name}"));
    };
    refused("limits.requests_per_second", &|config| config.limits.requests_per_second = 1);
    refused("limits.burst", &|config| config.limits.burst = 1);
    refused("[[listener]] proxy_protocol", &|config| {
        let address = Address::Tcp(([127, 0, 0, 1], 0).into());
        config.listeners = [Listener { address, tls: false, proxy_protocol: true }].into();
    });
    refused("[[route]] proxy", &|config| {
        let action = Action::Proxy(Proxy { upstream: "app".into() });
        config.routes = [Route::new(PathPattern { parts: [].into(), rest: true }, action)].into();
    });
    refused("[[tcp]] handler = \"proxy\"", &|config| {
        let listen = Address::Tcp(([127, 0, 0, 1], 0).into());
        config.tcp = [Tcp {
            listen,
            handler: TcpHandler::Proxy("app".into()),
            idle_timeout: PATIENCE,
            line_size: 1024,
            slow_consumer: SlowConsumer::Close,
        }]
        .into();
    });
    refused("[[upstream]]", &|config| {
        let (name, servers, balance) = ("app".into(), [].into(), Balance::default());
        config.upstreams = [Upstream { name, servers, balance, health: None, keepalive: 64 }].into();
    });
}

#[test]
fn files_that_are_on_the_disk_only_are_answered_after_a_thread_beside_the_workers_has_read_them() {
    use rustix::fs::{Advice, fadvise};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    const FILES: usize = 20;
    let folder = std::env::temp_dir().join(format!("evenkeel-settings-{}-cold", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let forgotten = |name: &str| {
        let mut file = std::fs::File::create_new(folder.join(name)).unwrap();
        file.write_all("x".repeat(20_000).as_bytes()).unwrap();
        file.sync_all().unwrap();
        for _ in 0..100 {
            std::thread::yield_now();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    };
    (0..FILES).for_each(|n| forgotten(&format!("{n}.txt")));
    // Not every file system can forget a file, or tells that it has. Asking has it read: one more is asked about, and not served.
    forgotten("probe");
    let probe = std::fs::File::open(folder.join("probe")).unwrap();
    let mut byte = [0];
    let mut into = [std::io::IoSliceMut::new(&mut byte)];
    let tells = preadv2(&probe, &mut into, 0, ReadWriteFlags::NOWAIT) == Err(Errno::AGAIN);
    let server = serve("workers = 1", &format!("[[route]]\npath = \"/f/*\"\nfiles = {folder:?}\n"));
    for n in 0..FILES {
        let ask = format!("GET /f/{n}.txt HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let (answer, _) = server.tell(ask.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&"x".repeat(20_000)));
    }
    let began = Instant::now();
    let tally = loop {
        let tally = server.0.as_ref().unwrap().shared().hub.total();
        if tally.durations.count() == FILES as u64 {
            break tally;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is published");
        std::thread::yield_now();
    };
    // Where the files are at hand, their names need not be: overlayfs cannot tell. Each waits once at most.
    let waits = tally.disk_waits as usize;
    assert!((usize::from(tells)..=FILES).contains(&waits), "{waits} {tells}");
    std::fs::remove_dir_all(&folder).unwrap();
}
