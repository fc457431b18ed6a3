//! The binary and the server on real sockets.

#[path = "support/program.rs"]
mod program;

use evenkeel::server::Server;
use evenkeel::server::settings::{Address, Config};
use program::{Program, evenkeel};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// Longer than anything here takes; whoever waits longer fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = "[server]\nhost = \"127.0.0.1\"\nport = 0\n\
    [limits]\nper_client_connections = 0\n[metrics]\nenable = false\n[log]\naccess = \"off\"\n\
    [[route]]\npath = \"/*\"\nrespond = \"all well\\n\"\n";

/// A file with this content that goes with the test.
struct Scrap(PathBuf);

impl Scrap {
    fn new(name: &str, content: &str) -> Scrap {
        let path = std::env::temp_dir().join(format!("evenkeel-e2e-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Scrap(path)
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The program, by a file with this content.
struct Running {
    program: Program,
    at: SocketAddr,
    _config: Scrap,
}

fn serve(name: &str, config: &str, wrap: impl FnOnce(Command) -> Command) -> Running {
    let config = Scrap::new(name, config);
    let program = Program::start(wrap(evenkeel()).arg("-c").arg(&config.0));
    Running { at: program.at, program, _config: config }
}

/// CPU time of a process so far, in ticks of 10 ms.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A request whose body of 10 bytes is awaited.
fn begin_upload(at: SocketAddr) -> TcpStream {
    let mut stream = connect(at);
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// What came of one request.
#[derive(Debug, PartialEq)]
enum Came {
    /// A whole answer.
    Whole(String),
    /// The end, before the first byte of an answer.
    Nothing,
    /// Part of an answer, then the end.
    Part(String),
}

fn answer(stream: &mut TcpStream) -> Came {
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if text.ends_with("\r\n\r\nall well\n") {
            return Came::Whole(text);
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => got.extend_from_slice(&chunk[..n]),
            Ok(_) | Err(_) if got.is_empty() => return Came::Nothing,
            Ok(_) | Err(_) => return Came::Part(text),
        }
    }
}

fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[test]
fn a_thousand_connections_from_ten_threads_are_all_answered_and_never_more_than_the_maximum_at_once() {
    const MOST: usize = 200;
    raise_descriptors();
    let mut config = Config::default();
    (config.server.host, config.server.port) = (Ipv4Addr::LOCALHOST.into(), 0);
    (config.server.workers, config.server.max_connections) = (2, MOST);
    config.limits.per_client_connections = 0;
    config.metrics.enable = false;
    let server = Server::start(&config, None).unwrap();
    let Address::Tcp(at) = server.addresses()[0] else { panic!() };
    let (ready, answered) = (Arc::new(Barrier::new(11)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let (ready, answered) = (ready.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut streams: Vec<_> = (0..100).map(|_| connect(at)).collect();
                streams.iter_mut().for_each(|stream| stream.write_all(&LAST[..20]).unwrap());
                ready.wait();
                streams.iter_mut().for_each(|stream| stream.write_all(&LAST[20..]).unwrap());
                for stream in &mut streams {
                    let mut all = String::new();
                    stream.read_to_string(&mut all).unwrap();
                    assert!(all.starts_with("HTTP/1.1 200 "), "{all:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let began = Instant::now();
    let mut most = 0;
    let mut look = || {
        most = most.max(server.connections());
        assert!(most <= MOST && began.elapsed() < PATIENCE, "{most} connections");
        std::thread::yield_now();
        most
    };
    while look() < MOST {}
    ready.wait();
    while !clients.iter().all(|client| client.is_finished()) {
        look();
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(answered.load(Ordering::Relaxed), 1000);
    server.drain(PATIENCE);
    server.wait().unwrap();
}

#[test]
fn sigterm_under_load_loses_no_request_that_was_being_answered() {
    let mut server = serve("drain", CONFIG, |command| command);
    let at = server.at;
    let (draining, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(9)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (draining, ready) = (draining.clone(), ready.clone());
            std::thread::spawn(move || {
                let mut answered = 0;
                let mut stream = connect(at);
                ready.wait();
                loop {
                    if stream.write_all(GET).is_err() {
                        break;
                    }
                    match answer(&mut stream) {
                        Came::Whole(text) => {
                            answered += 1;
                            if text.contains("connection: close") {
                                break;
                            }
                        }
                        // Closed between two requests: allowed to a server that leaves.
                        Came::Nothing => {
                            assert!(draining.load(Ordering::SeqCst), "closed before the signal");
                            break;
                        }
                        Came::Part(text) => panic!("an answer was cut: {text:?}"),
                    }
                }
                answered
            })
        })
        .collect();
    // One request is in the middle of its body when the signal comes.
    let mut upload = begin_upload(at);
    upload.write_all(b"12345").unwrap();
    ready.wait();
    draining.store(true, Ordering::SeqCst);
    server.program.signal(Signal::TERM);
    // Told again and again: on a loaded machine a worker may be too slow to answer for the first report.
    let waits = server.program.await_log("1 http_body");
    assert!(waits.contains("waiting for"), "{waits:?}");
    upload.write_all(b"67890").unwrap();
    let Came::Whole(text) = answer(&mut upload) else { panic!("the upload was lost") };
    assert!(text.contains("connection: close"), "{text:?}");
    drop(upload);
    let answered: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(answered > 0);
    let (code, log) = server.program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("drained in"), "{log}");
    let refused = TcpStream::connect(at).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_order_to_end_that_comes_twice_at_once_is_one_order() {
    // So it comes from `timeout`, which signals its child and then its group.
    let mut server = serve("twice", CONFIG, |command| command);
    let mut upload = begin_upload(server.at);
    server.program.signal(Signal::TERM);
    server.program.signal(Signal::INT);
    server.program.await_log("waiting for");
    upload.write_all(b"1234567890").unwrap();
    assert!(matches!(answer(&mut upload), Came::Whole(_)), "the upload was lost");
    drop(upload);
    let (code, log) = server.program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("drained in"), "{log}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = serve("second", CONFIG, |command| command);
    let mut stuck = begin_upload(server.at);
    server.program.signal(Signal::INT);
    server.program.await_log("draining");
    server.program.await_log("waiting for");
    server.program.signal(Signal::TERM);
    let (code, log) = server.program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("a second signal: 1 connections are cut"), "{log}");
    assert!(!matches!(stuck.read(&mut [0]), Ok(n) if n > 0));
}

#[test]
fn a_drain_whose_time_is_up_says_how_many_it_has_cut() {
    let config = CONFIG.replace("port = 0\n", "port = 0\ndrain_timeout = \"100ms\"\n");
    let mut server = serve("out-of-time", &config, |command| command);
    let _stuck = begin_upload(server.at);
    server.program.signal(Signal::TERM);
    let (code, log) = server.program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("server.drain_timeout is up: 1 connections are cut"), "{log}");
}

#[test]
fn a_second_signal_ends_at_once_also_while_listeners_are_still_open_and_says_so() {
    let config = CONFIG.replace("port = 0\n", "port = 0\ndrain_lag = \"1h\"\n");
    let mut server = serve("second-in-lag", &config, |command| command);
    let _stuck = begin_upload(server.at);
    server.program.signal(Signal::TERM);
    server.program.await_log("draining");
    // One so soon after the first is the same: until it is another.
    while server.program.child.try_wait().unwrap().is_none() {
        server.program.signal(Signal::TERM);
        std::thread::yield_now();
    }
    let (code, log) = server.program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("a second signal: ") && log.contains(" connections are cut"), "{log}");
}

/// Runs it to its end: exit code and what it wrote to standard error.
fn fail(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn in_a_limited_address_space_all_threads_share_one_arena() {
    let limited = |command: Command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -v 65536; exec \"$@\"", "sh"]).arg(command.get_program()).env_clear();
        shell
    };
    let server = serve("narrow", CONFIG, limited);
    let about = |file: &str| std::fs::read(format!("/proc/{}/{file}", server.program.child.id())).unwrap();
    let environ = String::from_utf8(about("environ")).unwrap();
    assert!(environ.contains("MALLOC_ARENA_MAX=1"), "{environ:?}");
    assert!(String::from_utf8(about("cmdline")).unwrap().ends_with(".toml\0"), "the arguments are the same");
    let mut stream = connect(server.at);
    stream.write_all(GET).unwrap();
    assert!(matches!(answer(&mut stream), Came::Whole(_)));
}

#[test]
fn a_port_that_is_taken_is_one_line_and_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, text) = fail(evenkeel().args(["--host", "127.0.0.1", "--port", &port]));
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains(&format!("port {port} is taken")) && text.contains("--port"), "{text}");
}

#[test]
fn whoever_finds_a_port_taken_is_told_which_setting_says_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, port) = (taken.local_addr().unwrap(), taken.local_addr().unwrap().port());
    let server = "[server]\nhost = \"127.0.0.1\"\nport = 0\n";
    let off = "[metrics]\nenable = false\n";
    for (setting, text) in [
        ("metrics.port", format!("{server}[metrics]\nport = {port}\n")),
        ("[[listener]] address", format!("{off}[[listener]]\naddress = \"{at}\"\n")),
        ("[[tcp]] listen", format!("{server}{off}[[tcp]]\nlisten = \"{at}\"\nhandler = \"echo\"\n")),
    ] {
        let file = Scrap::new(&format!("taken-{}", setting.len()), &text);
        let (code, said) = fail(evenkeel().arg("-c").arg(&file.0));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("port {port} is taken")) && said.contains(setting), "{said}");
    }
}

/// The program as a user who may do nothing, and the copy of it that this one runs: root, who may do anything, has to become
/// somebody else, who may not go where the program is.
fn unprivileged(name: &str) -> (Command, Scrap) {
    use std::os::unix::process::CommandExt;
    let copy = Scrap(std::env::temp_dir().join(format!("evenkeel-e2e-{}-{name}-copy", std::process::id())));
    // By another process: one of ours might be started meanwhile and keep the copy open for writing.
    let made = Command::new("cp").arg(env!("CARGO_BIN_EXE_evenkeel")).arg(&copy.0).status();
    assert!(made.unwrap().success());
    let mut command = Command::new(&copy.0);
    command.current_dir("/").env_clear();
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    (command, copy)
}

#[test]
fn a_port_that_is_not_permitted_is_one_line_and_exit_code_77() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse::<u32>().unwrap_or(1024) <= 80 {
        return;
    }
    let (mut command, _copy) = unprivileged("port");
    command.args(["--host", "127.0.0.1", "--port", "80"]);
    let (code, text) = fail(&mut command);
    assert_eq!((code, text.lines().count()), (Some(77), 1), "{text}");
    assert!(text.contains("not permitted") && text.contains("CAP_NET_BIND_SERVICE"), "{text}");
}

#[test]
fn check_refuses_as_serve_does_where_a_log_or_a_socket_may_not_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let permit =
        |path: &PathBuf, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let log = Scrap::new("may-not-be-written", "");
    permit(&log.0, 0o444);
    let folder = std::env::temp_dir().join(format!("evenkeel-e2e-{}-may-not-be-written", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    permit(&folder, 0o555);
    let (log, inside) = (log.0.display(), folder.join("x"));
    let off = "[metrics]\nenable = false\n[server]\nhost = \"127.0.0.1\"\nport = 0\n";
    for (key, text) in [
        ("log.access_path", format!("{off}[log]\naccess_path = \"{log}\"\n")),
        ("log.access_path", format!("{off}[log]\naccess_path = {inside:?}\n")),
        ("server.admin_socket", format!("{off}admin_socket = {inside:?}\n")),
        ("listener[0].address", format!("{off}[[listener]]\naddress = \"unix:{}\"\n", inside.display())),
    ] {
        let file = Scrap::new("not-permitted", &text);
        for command in ["check", "serve"] {
            let (mut program, _copy) = unprivileged("disk");
            let (code, said) = fail(program.arg(command).arg("-c").arg(&file.0));
            let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
            assert_eq!((code, errors.len()), (Some(77), 1), "{command}: {text}{said}");
            assert!(errors[0].contains(key) && errors[0].contains("may not write"), "{said}");
        }
    }
    permit(&folder, 0o755);
    std::fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_folder_that_may_be_listed_and_not_entered_is_one_line_and_exit_code_77() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("evenkeel-e2e-{}-not-entered", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let permit = |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
    permit(0o444);
    let file = Scrap::new("not-entered", &format!("[[route]]\nfiles = {folder:?}\n"));
    for command in ["check", "serve"] {
        let (mut program, _copy) = unprivileged("enter");
        let (code, said) = fail(program.arg(command).arg("-c").arg(&file.0));
        assert_eq!((code, said.lines().count()), (Some(77), 1), "{command}: {said}");
        assert!(said.contains("route[0].files: this user may not enter"), "{said}");
    }
    permit(0o755);
    std::fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_one_line_and_exit_code_2() {
    let (code, text) = fail(evenkeel().args(["--port", "0", "/there/is/no/such/folder"]));
    assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("/there/is/no/such/folder"), "{text}");
}

#[test]
fn when_descriptors_run_out_it_recovers_and_does_not_spin() {
    let mut server = serve("emfile", CONFIG, |program| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(program.get_program());
        shell
    });
    // More than it has descriptors for; each asks once and stays.
    let mut clients: Vec<_> = (0..150).map(|_| connect(server.at)).collect();
    let before = (ticks(server.program.child.id()), Instant::now());
    for (n, client) in clients.iter_mut().enumerate() {
        // Those who were let go for others are replaced: whoever comes is served.
        for attempt in 0.. {
            assert!(attempt < 20, "client {n} is not served");
            if client.write_all(GET).is_ok() && matches!(answer(client), Came::Whole(_)) {
                break;
            }
            *client = connect(server.at);
        }
    }
    let busy = ticks(server.program.child.id()) - before.0;
    let spent = before.1.elapsed();
    assert!(busy < 50 + spent.as_millis() as u64 / 40, "{busy} ticks in {spent:?}");
    drop(clients);
    let mut after = connect(server.at);
    after.write_all(LAST).unwrap();
    assert!(matches!(answer(&mut after), Came::Whole(_)));
    drop(after);
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.end().0, Some(0));
}

#[test]
fn an_expired_certificate_is_an_error_of_check_and_a_warning_of_serve_and_reload() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    let cert = Scrap::new("expired-cert", &params.self_signed(&key).unwrap().pem());
    let key = Scrap::new("expired-key", &key.serialize_pem());
    let file = Scrap::new(
        "expired",
        &format!("{CONFIG}[tls]\nenable = true\ncert = {:?}\nkey = {:?}\n", cert.0, key.0),
    );
    let said = format!("{:?} expired on 2025-01-01 00:00 UTC; renew it", cert.0);
    let (code, text) = fail(evenkeel().arg("check").arg("-c").arg(&file.0));
    assert_eq!((code, text.lines().count()), (Some(78), 1), "{text}");
    assert!(text.contains(&format!("tls.cert: {said}")), "{text}");
    let mut program = Program::start(evenkeel().arg("-c").arg(&file.0));
    assert!(program.await_log(&said).contains("WARN"));
    program.signal(Signal::HUP);
    program.await_log(&format!("reload: warning: {said}"));
    let mut plain = connect(program.at);
    plain.write_all(GET).unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("TLS"), "{answer}");
    program.signal(Signal::TERM);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn the_log_says_at_once_whom_the_limit_of_a_client_turned_away() {
    let config = CONFIG.replace("per_client_connections = 0", "per_client_connections = 1");
    let mut server = serve("pinch", &config, |command| command);
    let mut first = connect(server.at);
    first.write_all(GET).unwrap();
    assert!(matches!(answer(&mut first), Came::Whole(_)));
    let mut second = connect(server.at);
    assert!(!matches!(answer(&mut second), Came::Whole(_)));
    let line = server.program.await_log("connections refused");
    assert!(line.contains("WARN") && line.contains("refused: 1, the last of 127.0.0.1;"), "{line}");
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.end().0, Some(0));
}
