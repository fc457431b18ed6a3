//! A running server takes over another configuration, or refuses it whole. On real sockets; the program, or a server in this process.

#[path = "support/program.rs"]
mod program;

use evenkeel::config::{self, Flags, Source};
use evenkeel::server::Server;
use evenkeel::server::settings::{Address, Config, Listener};
use program::{Program, evenkeel};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

/// Longer than anything here takes; whoever waits longer fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("evenkeel-reload-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Running {
    folder: Folder,
    program: Program,
    at: SocketAddr,
}

/// A configuration with these lines in `[server]`, these in other sections, and this body at `/`.
fn config(server: &str, others: &str, body: &str) -> String {
    format!(
        "[server]\nhost = \"127.0.0.1\"\nport = 0\nworkers = 2\nadmin_socket = \"admin.sock\"\n{server}\n\
         [metrics]\nenable = false\n{others}\n[[route]]\npath = \"/\"\nrespond = \"{body}\"\n"
    )
}

impl Running {
    fn start(name: &str, text: &str) -> Running {
        let folder = Folder::new(name);
        let file = folder.write("evenkeel.toml", text);
        let program = Program::start(evenkeel().arg("-c").arg(file));
        Running { folder, at: program.at, program }
    }

    /// `evenkeel reload` with this as the file now.
    fn reload(&self, text: &str) -> Output {
        let file = self.folder.write("evenkeel.toml", text);
        evenkeel().arg("reload").arg("-c").arg(file).output().unwrap()
    }

    fn reload_well(&self, text: &str) -> String {
        let output = self.reload(text);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn connect(&self) -> TcpStream {
        connect(self.at)
    }
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request on a connection that is kept: head and body of the answer, whose length it states.
fn get(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            });
            if body.len() >= length.unwrap().parse().unwrap() {
                return text;
            }
        }
        match stream.read(&mut chunk).unwrap() {
            0 => panic!("the end, after {text:?}"),
            n => got.extend_from_slice(&chunk[..n]),
        }
    }
}

#[test]
fn routes_limits_and_fields_change_on_a_connection_that_stays_open() {
    let server = Running::start("routes", &config("", "", "one"));
    let mode = std::fs::metadata(server.folder.0.join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = server.connect();
    assert!(get(&mut stream).ends_with("one"));
    let said = server.reload_well(&config("header_server = false", "", "two"));
    assert!(
        said.contains("server.header_server: true -> false") && said.contains("route /: changed"),
        "{said}"
    );
    let answer = get(&mut stream);
    assert!(answer.ends_with("two") && !answer.contains("evenkeel"), "{answer}");
    let said = server.reload_well(&config("", "[limits]\nhead_fields = 1", "two"));
    assert!(said.contains("limits.head_fields: 100 -> 1"), "{said}");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n").unwrap();
    assert!(self::answer(&mut stream).starts_with("HTTP/1.1 431 "));
}

#[test]
fn sighup_reloads_too_and_says_in_the_log_what_changed() {
    let mut server = Running::start("sighup", &config("", "", "one"));
    let mut stream = server.connect();
    assert!(get(&mut stream).ends_with("one"));
    server.folder.write("evenkeel.toml", &config("", "", "two"));
    server.program.signal(Signal::HUP);
    server.program.await_log("route /: changed");
    assert!(get(&mut stream).ends_with("two"));
}

#[test]
fn a_broken_file_is_refused_and_the_server_runs_on() {
    let mut server = Running::start("broken", &config("", "", "one"));
    let mut stream = server.connect();
    server.folder.write("evenkeel.toml", &config("prot = 1", "", "two"));
    server.program.signal(Signal::HUP);
    let line = server.program.await_log("refused");
    assert!(line.contains("prot") && line.contains("evenkeel.toml:6:1"), "{line}");
    assert!(get(&mut stream).ends_with("one"));
    assert!(get(&mut server.connect()).ends_with("one"));
}

#[test]
fn the_command_says_what_is_wrong_with_a_broken_file_and_the_server_is_told_too() {
    let mut server = Running::start("broken-command", &config("", "", "one"));
    let mut stream = server.connect();
    let broken = [config("prot = 1", "", "two"), config("", "[limits]\nhead_fields = 0", "two")];
    for text in broken {
        let output = server.reload(&text);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("evenkeel.toml:") && said.contains("the server has refused it"), "{said}");
        server.program.await_log("reload refused");
        assert!(get(&mut stream).ends_with("one"));
    }
    // Without a word of where the socket is, nobody can be asked.
    let output = server.reload("[server\n");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_reload_is_for_the_server_that_lives_by_that_file() {
    // Two servers of one user: the second finds the place of the admin socket taken.
    let folder = Folder::new("two");
    let text = |body: &str| config("", "", body).replace("admin_socket = \"admin.sock\"\n", "");
    let with = |file: &PathBuf| {
        let mut command = evenkeel();
        command.arg("-c").arg(file).env("XDG_RUNTIME_DIR", &folder.0);
        command
    };
    let (one, two) = (folder.write("one.toml", &text("one")), folder.write("two.toml", &text("two")));
    let first = Program::start(&mut with(&one));
    let mut second = Program::start(&mut with(&two));
    second.await_log("something answers already");
    let reload = |file| {
        let output = with(file).arg("reload").output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = reload(&two);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(one.to_str().unwrap()) && said.contains("server.admin_socket"), "{said}");
    folder.write("one.toml", &text("changed"));
    let link = folder.0.join("link.toml");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let (code, said) = reload(&link);
    assert_eq!(code, Some(0), "{said}");
    let mut stream = TcpStream::connect(first.at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(get(&mut stream).ends_with("changed"));
}

#[test]
fn a_server_that_is_started_twice_is_told_that_the_first_still_answers() {
    let server = Running::start("twice", &config("", "", "one"));
    let output = evenkeel().arg("-c").arg(server.folder.0.join("evenkeel.toml")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((output.status.code(), errors.len()), (Some(1), 1), "{said}");
    let words = ["server.admin_socket", "admin.sock", "another server answers there; stop it"];
    assert!(words.iter().all(|word| errors[0].contains(word)), "{said}");
    assert!(get(&mut server.connect()).ends_with("one"));
}

#[test]
fn an_address_that_overlaps_one_that_is_still_held_is_refused_by_name() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |host: &str| {
        config("", "", "one")
            .replace("host = \"127.0.0.1\"\nport = 0", &format!("host = \"{host}\"\nport = {port}"))
    };
    let server = Running::start("overlap", &at("0.0.0.0"));
    let output = server.reload(&at("127.0.0.1"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("listener 0.0.0.0:{port} -> 127.0.0.1:{port}")) && said.contains("restart"),
        "{said}"
    );
    assert!(get(&mut connect(SocketAddr::from(([127, 0, 0, 1], port)))).ends_with("one"));
}

#[test]
fn what_cannot_change_while_running_is_refused_by_name_and_then_nothing_is_applied() {
    let server = Running::start("frozen", &config("", "", "one"));
    let mut stream = server.connect();
    let output = server.reload(&config("", "", "two").replace("workers = 2", "workers = 3"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server.workers: 2 -> 3") && said.contains("restart"), "{said}");
    assert!(get(&mut stream).ends_with("one"));
}

#[test]
fn listeners_come_and_go_and_connections_of_one_that_went_live_on() {
    let path = |server: &Running, name: &str| server.folder.0.join(name);
    let server = Running::start("listeners", &config("", "", "one"));
    let mut old = server.connect();
    assert!(get(&mut old).ends_with("one"));
    // The one of `[server]` goes, and a Unix socket comes.
    let with = |name: &str, body: &str| {
        config("", &format!("[[listener]]\naddress = \"unix:{name}\""), body)
            .replace("host = \"127.0.0.1\"\nport = 0\n", "")
    };
    let socket = path(&server, "new.sock");
    let said = server.reload_well(&with(socket.to_str().unwrap(), "two"));
    assert!(said.contains("new.sock: added") && said.contains("127.0.0.1:0: removed"), "{said}");
    assert!(get(&mut old).ends_with("two"), "its connections live on");
    let refused = TcpStream::connect(server.at).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let mut new = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    new.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    new.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("two"), "{text}");
    // An address that cannot be had: nothing changes.
    let output = server.reload(&with("/nonexistent/x.sock", "three"));
    assert_eq!(output.status.code(), Some(1));
    assert!(get(&mut old).ends_with("two"));
}

#[test]
fn a_reload_says_which_port_the_system_chose_and_that_the_world_can_reach_it() {
    let server = Running::start("chosen", &config("", "", "one"));
    let said = server.reload_well(&config("", "", "one").replace("127.0.0.1", "0.0.0.0"));
    let at = said.lines().find_map(|line| line.strip_prefix("listening on 0.0.0.0:"));
    let port: u16 = at.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(said.contains(&format!("0.0.0.0:{port} is open to the world")), "{said}");
    assert!(get(&mut connect(([127, 0, 0, 1], port).into())).ends_with("one"));
    let said = server.reload_well(&config("", "", "two").replace("127.0.0.1", "0.0.0.0"));
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn the_log_changes_its_level_its_form_and_its_place() {
    let mut server = Running::start("log", &config("", "[log]\naccess = \"off\"", "one"));
    let mut stream = server.connect();
    get(&mut stream);
    let place = server.folder.0.join("access.log");
    let log = format!("[log]\nlevel = \"debug\"\naccess = \"json\"\naccess_path = \"{}\"", place.display());
    server.reload_well(&config("", &log, "one"));
    get(&mut stream);
    drop(stream);
    server.program.await_log("closed in");
    drop(get(&mut server.connect()));
    server.program.signal(Signal::TERM);
    server.program.child.wait().unwrap();
    let text = std::fs::read_to_string(&place).unwrap();
    assert!(text.lines().count() == 2 && text.starts_with('{'), "{text}");
}

#[test]
fn an_access_log_that_cannot_be_written_is_said_once_and_so_is_that_it_can_again() {
    let log = |path: &str| config("", &format!("[log]\naccess = \"common\"\naccess_path = {path:?}"), "one");
    let mut server = Running::start("full", &log("/dev/full"));
    let mut stream = server.connect();
    get(&mut stream);
    let line = server.program.await_log("cannot be written");
    let said = ["ERROR", "the access log", "/dev/full", "No space left"];
    assert!(said.iter().all(|word| line.contains(word)), "{line}");
    get(&mut stream);
    get(&mut stream);
    let place = server.folder.0.join("access.log");
    server.reload_well(&log(place.to_str().unwrap()));
    get(&mut stream);
    let (between, line) = server.program.log_until("written again");
    assert!(line.contains("INFO") && !between.contains("cannot be written"), "{between}{line}");
    server.program.signal(Signal::TERM);
    server.program.end();
    let lost: usize = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let kept = std::fs::read_to_string(&place).unwrap();
    assert_eq!((lost + kept.lines().count(), lost > 0), (4, true), "{line}{kept}");
}

#[test]
fn an_access_log_that_is_a_fifo_without_a_reader_is_refused_and_the_server_runs_on() {
    let mut server = Running::start("fifo", &config("", "", "one"));
    let fifo = server.folder.0.join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let output = server.reload(&config("", &format!("[log]\naccess_path = {fifo:?}"), "two"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("nobody reads this FIFO"), "{said}");
    assert!(get(&mut server.connect()).ends_with("one"));
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.end().0, Some(0));
}

#[test]
fn the_life_of_a_watched_peer_is_written_at_any_level_and_sigusr2_says_what_there_is() {
    for level in ["info", "warn", "error"] {
        watched(level);
    }
}

fn watched(level: &str) {
    let log = format!("[log]\nlevel = {level:?}\ndebug_peers = [\"127.0.0.0/8\"]");
    let mut server = Running::start(&format!("watched-{level}"), &config("", &log, "one"));
    let mut stream = server.connect();
    server.program.await_log(": open");
    stream.write_all(b"GET / HT").unwrap();
    server.program.await_log("http_fresh -> http_head");
    stream.write_all(b"TP/1.1\r\nhost: a\r\n\r\n").unwrap();
    answer(&mut stream);
    server.program.await_log("http_head -> http_idle");
    server.program.signal(Signal::USR2);
    server.program.await_log("1 http_idle");
    let line = server.program.await_log("worker 0");
    assert!(line.contains("timers") && line.contains("bytes in buffers"), "{line}");
    server.program.await_log("worker 1");
    drop(stream);
    server.program.await_log("closed in");
}

#[test]
fn without_a_server_the_command_says_so() {
    let folder = Folder::new("nobody");
    let file = folder.write("evenkeel.toml", &config("", "", "one"));
    let output = evenkeel().arg("reload").arg("-c").arg(file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("no server answers at"), "{said}");
}

#[test]
fn a_server_whose_admin_socket_was_changed_in_the_file_is_said_to_be_at_the_old_place() {
    let mut server = Running::start("moved", &config("", "", "one"));
    let output = server.reload(&config("", "", "two").replace("admin.sock", "new.sock"));
    let said = String::from_utf8(output.stderr).unwrap();
    let words =
        ["no server answers at", "new.sock", "another server.admin_socket by now, restart", "kill -HUP"];
    assert!(output.status.code() == Some(1) && words.iter().all(|word| said.contains(word)), "{said}");
    server.program.signal(Signal::HUP);
    server.program.await_log("restart to apply it: server.admin_socket");
}

#[test]
fn error_pages_of_the_site_are_sent_to_browsers_and_can_be_changed() {
    let folder = Folder::new("pages-of");
    folder.write("404.html", "<p>nothing, sorry");
    folder.write("readme.txt", "no page");
    let server = format!("error_pages = {:?}", folder.0);
    let text = config(&server, "", "one");
    let running = Running::start("pages", &text);
    let ask = |accept: &str| {
        let mut stream = TcpStream::connect(running.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET /x HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        got
    };
    let page = ask("text/html");
    assert!(page.starts_with("HTTP/1.1 404 ") && page.ends_with("\r\n\r\n<p>nothing, sorry"), "{page}");
    assert!(ask("application/json").ends_with("}\n"));
    folder.write("404.html", "<p>changed");
    running.reload_well(&text);
    assert!(ask("text/html").ends_with("<p>changed"));
    // What cannot be used is refused whole.
    folder.write("500.html", &"x".repeat((64 << 10) + 1));
    let refused = running.reload(&text);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("500.html: longer than 64 KiB"), "{refused:?}");
    assert!(ask("text/html").ends_with("<p>changed"));
}

#[test]
fn the_access_log_names_route_request_and_client_and_believes_only_trusted_proxies() {
    let folder = Folder::new("log-of");
    let path = folder.0.join("access.log");
    let log = format!("[log]\naccess = \"json\"\naccess_path = {path:?}\n");
    let routes = "[[route]]\nhost = \"b.test\"\npath = \"/x/{name}\"\nrespond = \"b\"\n";
    let text =
        |trusted: &str| config(&format!("trusted_proxies = [{trusted}]"), &format!("{log}{routes}"), "one");
    let running = Running::start("access", &text("\"127.0.0.0/8\", \"10.0.0.0/8\""));
    let ask = |target: &str, host: &str, fields: &str| {
        let mut stream = running.connect();
        let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{fields}connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
    };
    const FORWARDED: &str = "x-forwarded-for: 6.6.6.6, 198.51.100.7, 10.0.0.3\r\n";
    ask("/", "a", "x-request-id: mine-1\r\n");
    ask("/x/y?q", "b.test", FORWARDED);
    ask("/nothing", "a", "x-request-id: not sound\r\n");
    ask("/a b", "a", "");
    running.reload_well(&text(""));
    ask("/x/later", "b.test", FORWARDED);
    let began = std::time::Instant::now();
    let lines = loop {
        let lines = std::fs::read_to_string(&path).unwrap_or_default();
        if lines.lines().count() >= 5 {
            break lines;
        }
        assert!(began.elapsed() < PATIENCE, "{lines}");
        std::thread::yield_now();
    };
    // Two workers write.
    let line = |path: &str| {
        let path = format!("\"path\":\"{path}\"");
        lines.lines().find(|line| line.contains(&path)).unwrap_or_else(|| panic!("{path} in {lines}"))
    };
    let has = |path: &str, words: &[&str]| {
        words.iter().for_each(|word| assert!(line(path).contains(word), "{word} in {}", line(path)));
    };
    has("/", &["\"client_ip\":\"127.0.0.1\"", "\"route\":\"/\"", "\"request_id\":\"mine-1\""]);
    has(
        "/x/y?q",
        &["\"client_ip\":\"198.51.100.7\"", "\"peer_ip\":\"127.0.0.1\"", "\"route\":\"b.test/x/{name}\""],
    );
    has("/nothing", &["\"route\":null", "\"status\":404"]);
    let made = line("/nothing").split("\"request_id\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(made.len(), 32, "{}", line("/nothing"));
    has("/a b", &["\"method\":\"GET\"", "\"status\":400", "\"close_reason\":\"bad_request\""]);
    has("/x/later", &["\"client_ip\":\"127.0.0.1\"", "\"route\":\"b.test/x/{name}\""]);
}

/// A server in this process.
struct Inside(Option<Server>);

impl Drop for Inside {
    fn drop(&mut self) {
        let server = self.0.take().unwrap();
        server.stop();
        let _ = server.wait();
    }
}

impl Inside {
    fn start(config: &Config) -> Inside {
        Inside(Some(Server::start(config, None).unwrap()))
    }

    fn server(&mut self) -> &mut Server {
        self.0.as_mut().unwrap()
    }

    /// Where its listener of this number is.
    fn at(&self, number: usize) -> SocketAddr {
        let Address::Tcp(at) = self.0.as_ref().unwrap().addresses()[number] else { panic!("a TCP address") };
        at
    }

    fn reload(&mut self, config: &Config) {
        let reload = self.server().prepare(config).unwrap();
        self.server().apply(reload).unwrap();
    }
}

/// One worker that answers with `mine`, at these listeners.
fn plain(listeners: &[Listener]) -> Config {
    let text = "[server]\nworkers = 1\n[metrics]\nenable = false\n[[route]]\nrespond = \"mine\"\n";
    let source = Source::new("test.toml", text.into(), "".into());
    let env = BTreeMap::<String, String>::new();
    let config = config::load(Some(&source), &env, &Flags::default()).unwrap().config;
    Config { listeners: listeners.into(), ..config }
}

fn listener(at: SocketAddr, tls: bool) -> Listener {
    Listener { address: Address::Tcp(at), tls, proxy_protocol: false }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[test]
fn listeners_on_any_port_are_told_apart_by_their_order() {
    let folder = Folder::new("any-port");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut config = plain(&[listener(ANY, false), listener(ANY, true)]);
    config.tls.cert = Some(folder.write("cert.pem", &pair.cert.pem()));
    config.tls.key = Some(folder.write("key.pem", &pair.signing_key.serialize_pem()));
    let mut running = Inside::start(&config);
    let (first, second) = (running.at(0), running.at(1));
    // What a port that speaks TLS says to plain HTTP is 400.
    let secure = |at| !get(&mut connect(at)).ends_with("mine");
    assert_eq!([first, second].map(secure), [false, true]);
    running.reload(&config);
    assert_eq!([first, second].map(secure), [false, true], "nothing was changed");
    config.listeners = [listener(ANY, true), listener(ANY, false), listener(ANY, true)].into();
    running.reload(&config);
    assert_eq!((running.at(0), running.at(1)), (first, second));
    assert_eq!([first, second, running.at(2)].map(secure), [true, false, true]);
    config.listeners = [listener(ANY, true)].into();
    running.reload(&config);
    assert_eq!(running.server().addresses(), [Address::Tcp(first)]);
    assert!(secure(first) && TcpStream::connect(second).is_err());
}

#[test]
fn pages_are_read_once_for_all_workers_so_that_none_takes_over_less_than_the_others() {
    let folder = Folder::new("pages-once");
    folder.write("404.html", "gone");
    let mut config = plain(&[listener(ANY, false)]);
    let mut running = Inside::start(&config);
    config.listeners = [listener(ANY, false), listener(ANY, false)].into();
    config.server.error_pages = Some(folder.0.clone());
    config.routes = [].into();
    let reload = running.server().prepare(&config).unwrap();
    // Somebody writes a page at this very moment.
    folder.write("404.html", &"x".repeat(70_000));
    assert_eq!(running.server().apply(reload), Ok(()));
    let mut stream = connect(running.at(1));
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n\r\n").unwrap();
    assert!(answer(&mut stream).ends_with("\r\n\r\ngone"));
}

#[test]
fn a_socket_that_was_handed_over_can_be_given_up_and_taken_up_again_and_what_that_means_is_said() {
    let folder = Folder::new("handed");
    // The supervisor holds it all the time.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap();
    let with = |address: &str, body: &str| {
        let other = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
        config("", &format!("{address}{other}"), body).replace("host = \"127.0.0.1\"\nport = 0\n", "")
    };
    let address = format!("[[listener]]\naddress = \"{at}\"\n");
    let file = folder.write("evenkeel.toml", &with(&address, "one"));
    let mut command = std::process::Command::new("/bin/sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" -c \"$1\"";
    command.env_clear().args(["-c", script, env!("CARGO_BIN_EXE_evenkeel")]).arg(file);
    let program = Program::start(command.stdin(std::os::fd::OwnedFd::from(held.try_clone().unwrap())));
    assert_eq!(program.at, at);
    let mut server = Running { folder, program, at };
    assert!(get(&mut server.connect()).ends_with("one"));
    let said = server.reload_well(&with("", "two"));
    assert!(said.contains(&format!("listener {at}: removed")), "{said}");
    let line = server.program.await_log("still holds it");
    assert!(line.contains("WARN") && line.contains(&at.to_string()), "{line}");
    let mut waits = server.connect();
    waits.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    server.reload_well(&with(&address, "three"));
    assert!(answer(&mut waits).ends_with("three"));
}
