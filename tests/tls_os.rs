//! The whole server over TLS and real sockets, spoken to by clients that others wrote. A client that is not there is skipped, and
//! the test says so.
#![cfg(all(feature = "tls", feature = "server"))]

mod support;

use evenkeel::config::{self, Flags, Source};
use evenkeel::observe::{Handshake, Reason};
use evenkeel::server::Server;
use evenkeel::server::settings::{Address, Config, Listener, Tls};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::tls::{Pair, client_config, make_pair, name, pair};

/// A server that answers `/` and speaks TLS, and its folder.
struct Served {
    server: Option<Server>,
    at: SocketAddr,
    folder: PathBuf,
    tls: Tls,
}

fn put(folder: &PathBuf, pair: &Pair) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("cert.pem"), &pair.cert_pem).unwrap();
    std::fs::write(folder.join("key.pem"), &pair.key_pem).unwrap();
}

fn serve(name: &str) -> Served {
    let folder = std::env::temp_dir().join(format!("evenkeel-tls-os-{}-{name}", std::process::id()));
    put(&folder, pair());
    let (cert, key) = (Some(folder.join("cert.pem")), Some(folder.join("key.pem")));
    let tls = Tls { enable: true, cert, key, ..Tls::default() };
    let mut config = Config { tls: tls.clone(), ..Config::default() };
    config.server.workers = 1;
    let address = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.listeners = [Listener { address, tls: true, proxy_protocol: false }].into();
    let server = Server::start(&config, None).unwrap();
    let Address::Tcp(at) = server.addresses()[0] else { panic!("a TCP address was asked for") };
    Served { server: Some(server), at, folder, tls }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
            let _ = server.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A server by a file with these lines in `[tls]` and after it, beside the usual certificate.
fn serve_by(name: &str, lines: impl FnOnce(&PathBuf) -> String) -> Served {
    let folder = std::env::temp_dir().join(format!("evenkeel-tls-os-{}-{name}", std::process::id()));
    put(&folder, pair());
    let text = format!(
        "[server]\nhost = \"127.0.0.1\"\nport = 0\nworkers = 1\n[metrics]\nenable = false\n\
         [tls]\nenable = true\ncert = \"cert.pem\"\nkey = \"key.pem\"\n{}\n",
        lines(&folder)
    );
    let source = Source::new("evenkeel.toml", text, folder.clone());
    let loaded = config::load(Some(&source), &BTreeMap::<String, String>::new(), &Flags::default()).unwrap();
    let server = Server::start(&loaded.config, None).unwrap();
    let Address::Tcp(at) = server.addresses()[0] else { panic!("a TCP address was asked for") };
    Served { server: Some(server), at, folder, tls: loaded.config.tls }
}

/// The status of one request with these rules, or what went wrong.
fn ask_by(served: &Served, config: Arc<ClientConfig>, host: &str) -> std::io::Result<Vec<u8>> {
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).unwrap();
    let conn = rustls::ClientConnection::new(config, name).unwrap();
    let mut stream = rustls::StreamOwned::new(conn, TcpStream::connect(served.at)?);
    ask(&mut stream)?;
    Ok(stream.conn.peer_certificates().unwrap()[0].to_vec())
}

#[test]
fn min_version_refuses_what_is_older() {
    let (old, new) =
        (|| client_config(&[&rustls::version::TLS12]), || client_config(&[&rustls::version::TLS13]));
    let served = serve_by("min12", |_| "min_version = \"1.2\"".into());
    assert!(ask_by(&served, old(), "localhost").is_ok() && ask_by(&served, new(), "localhost").is_ok());
    let served = serve_by("min13", |_| "min_version = \"1.3\"".into());
    assert!(ask_by(&served, new(), "localhost").is_ok());
    let refused = ask_by(&served, old(), "localhost").unwrap_err().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
}

#[test]
fn client_ca_lets_in_only_those_with_a_certificate_of_that_authority() {
    let (known, stranger) = (make_pair(&["client"]), make_pair(&["client"]));
    let served = serve_by("client-ca", |folder| {
        std::fs::write(folder.join("ca.pem"), &known.cert_pem).unwrap();
        "client_ca = \"ca.pem\"".into()
    });
    let with = |pair: Option<&Pair>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(support::tls::pair().cert.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(support::tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match pair {
            Some(pair) => {
                config.with_client_auth_cert(vec![pair.cert.clone()], pair.key.clone_key()).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        ask_by(&served, Arc::new(config), "localhost")
    };
    assert!(with(Some(&known)).is_ok());
    assert!(with(None).unwrap_err().to_string().contains("CertificateRequired"));
    assert!(with(Some(&stranger)).is_err());
}

#[test]
fn certificates_are_chosen_by_the_name_that_the_client_asks_for() {
    let (one, any) = (make_pair(&["one.test"]), make_pair(&["*.any.test"]));
    let served = serve_by("sni", |folder| {
        for (name, pair) in [("one", &one), ("any", &any)] {
            std::fs::write(folder.join(format!("{name}.pem")), &pair.cert_pem).unwrap();
            std::fs::write(folder.join(format!("{name}.key")), &pair.key_pem).unwrap();
        }
        "[[tls.certificate]]\nhost = \"one.test\"\ncert = \"one.pem\"\nkey = \"one.key\"\n\
         [[tls.certificate]]\nhost = \"*.any.test\"\ncert = \"any.pem\"\nkey = \"any.key\""
            .into()
    });
    let mut roots = rustls::RootCertStore::empty();
    for pair in [support::tls::pair(), &one, &any] {
        roots.add(pair.cert.clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(support::tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let names =
        [("one.test", &one.cert), ("a.any.test", &any.cert), ("localhost", &support::tls::pair().cert)];
    for (name, expected) in names {
        assert!(ask_by(&served, config.clone(), name).unwrap() == expected.as_ref(), "{name}");
    }
}

/// What a program prints, errors too; `None` if it is not installed.
fn run(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let command = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = command else {
        eprintln!("skipped: there is no {program} here");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

impl Served {
    /// Waits until so many handshakes with this result were published, which happens once a second at least.
    fn await_handshakes(&self, result: Handshake, count: u64) {
        let shared = self.server.as_ref().unwrap().shared();
        let began = Instant::now();
        while shared.hub.total().handshakes[result as usize] != count {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", shared.hub.total().handshakes);
            std::thread::yield_now();
        }
    }
}

#[test]
fn certificates_are_told_by_their_hosts_with_their_end_as_long_as_they_are_used() {
    let more = "[[tls.certificate]]\nhost = \"*.a.test\"\ncert = \"cert.pem\"\nkey = \"key.pem\"";
    let mut served = serve_by("expiry", |_| more.into());
    let server = served.server.as_mut().unwrap();
    let shared = server.shared().clone();
    let all = shared.certificates();
    let hosts: Vec<&str> = all.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(hosts, ["*", "*.a.test"], "not the file: two may be the same, and a path is no label");
    assert!(all.iter().all(|(_, end)| *end > 1_700_000_000), "{all:?}");
    let mut config = Config::default();
    (config.server.host, config.server.port) = ([127, 0, 0, 1].into(), 0);
    (config.server.workers, config.metrics.enable) = (1, false);
    let reload = server.prepare(&config).unwrap();
    server.apply(reload).unwrap();
    assert_eq!(shared.certificates(), []);
}

#[test]
fn curl_is_served_by_both_versions_each_time_on_one_connection() {
    let served = serve("curl");
    let url = format!("https://localhost:{}/", served.at.port());
    let cert = served.folder.join("cert.pem");
    let cert = cert.to_str().unwrap();
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let common = ["-sS", "--cacert", cert, "--resolve"];
        let resolve = format!("localhost:{}:127.0.0.1", served.at.port());
        let arguments: Vec<&str> = common
            .into_iter()
            .chain([resolve.as_str(), "-m", "10", "-o", "/dev/null", "-o", "/dev/null"])
            .chain(version.iter().copied())
            .chain(["-w", "%{http_code} %{num_connects};", url.as_str(), url.as_str()])
            .collect();
        let Some(out) = run("curl", &arguments, "") else { return };
        assert_eq!(out, "200 1;200 0;", "{version:?}");
    }
    served.await_handshakes(Handshake::Done, 2);
}

#[test]
fn a_plain_request_gets_a_plain_400_that_says_so() {
    let served = serve("plain");
    let mut stream = TcpStream::connect(served.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.contains("connection: close"));
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    assert!(body.contains("https://"));
    served.await_handshakes(Handshake::NotTls, 1);
}

#[test]
fn openssl_shakes_hands_resumes_and_sees_our_close_notify() {
    let served = serve("openssl");
    let at = served.at.to_string();
    let folder = served.folder.join("session");
    let session = folder.to_str().unwrap();
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let common = ["s_client", "-connect", &at, "-servername", "localhost", "-ign_eof", version];
        let first = [&common[..], &["-sess_out", session]].concat();
        let Some(out) = run("openssl", &first, request) else { return };
        assert!(out.contains("HTTP/1.1 200 OK") && !out.contains("unexpected eof"), "{out}");
        let second = [&common[..], &["-sess_in", session]].concat();
        let out = run("openssl", &second, request).unwrap();
        assert!(out.contains("Reused, TLSv1"), "{out}");
    }
}

#[test]
fn python_gets_the_whole_answer_and_a_sound_end() {
    let served = serve("python");
    let script = format!(
        "import ssl,socket\n\
         c=ssl.create_default_context(cafile={:?})\n\
         c.set_alpn_protocols(['h2','http/1.1'])\n\
         s=c.wrap_socket(socket.create_connection(('127.0.0.1',{}),10),server_hostname='localhost',suppress_ragged_eofs=False)\n\
         s.sendall(b'GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n')\n\
         d=b''\n\
         while True:\n\
         \x20 b=s.recv(65536)\n\
         \x20 if not b: break\n\
         \x20 d+=b\n\
         print(d[:15].decode(),s.selected_alpn_protocol(),len(d)>100)\n",
        served.folder.join("cert.pem"),
        served.at.port()
    );
    let Some(out) = run("python3", &["-"], &script) else { return };
    assert_eq!(out.trim(), "HTTP/1.1 200 OK http/1.1 True");
}

/// A connection of rustls, after one request.
fn keep_alive(served: &Served) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let config = client_config(&[&rustls::version::TLS13]);
    let conn = rustls::ClientConnection::new(config, name()).unwrap();
    let stream = TcpStream::connect(served.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = rustls::StreamOwned::new(conn, stream);
    ask(&mut stream).unwrap();
    stream
}

fn ask(stream: &mut impl ReadWrite) -> std::io::Result<()> {
    stream.write_all(b"HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Waits until so many connections have ended for this reason.
fn await_closes(served: &Served, reason: Reason, count: u64) {
    let shared = served.server.as_ref().unwrap().shared();
    let began = Instant::now();
    let closes = || shared.hub.total().closes().collect::<Vec<_>>();
    while closes().iter().filter(|(_, why, _)| *why == reason).map(|(.., n)| n).sum::<u64>() != count {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", closes());
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_leaves_without_a_goodbye_has_closed_between_requests_and_cut_short_within_one() {
    let served = serve("goodbye");
    let stream = keep_alive(&served);
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let mut end = Vec::new();
    // The end of the stream, not a reset.
    (&stream.sock).read_to_end(&mut end).unwrap();
    await_closes(&served, Reason::PeerClosed, 1);
    let mut stream = keep_alive(&served);
    stream.write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    await_closes(&served, Reason::TlsTruncated, 1);
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn a_reload_shows_the_new_certificate_and_disturbs_no_connection_and_a_broken_one_changes_nothing() {
    let served = serve("reload");
    let server = served.server.as_ref().unwrap();
    let mut old = keep_alive(&served);
    put(&served.folder, &make_pair(&["localhost"]));
    server.reload_tls(&served.tls).unwrap();
    ask(&mut old).unwrap();
    // The client of these tests trusts the first certificate only.
    let conn = rustls::ClientConnection::new(client_config(&[&rustls::version::TLS13]), name()).unwrap();
    let mut stream = rustls::StreamOwned::new(conn, TcpStream::connect(served.at).unwrap());
    assert!(ask(&mut stream).unwrap_err().to_string().contains("certificate"));
    put(&served.folder, pair());
    std::fs::write(served.folder.join("key.pem"), "nothing").unwrap();
    let errors = server.reload_tls(&served.tls).unwrap_err();
    assert!(errors[0].to_string().contains("holds no private key"), "{}", errors[0]);
    put(&served.folder, pair());
    server.reload_tls(&served.tls).unwrap();
    ask(&mut keep_alive(&served)).unwrap();
    ask(&mut old).unwrap();
}

#[test]
fn a_websocket_of_the_welcome_site_is_echoed_over_tls_and_a_room_heard() {
    use tungstenite::Message;
    let served = serve("wss");
    let dial = |path: &str| {
        let stream = TcpStream::connect(served.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let config = client_config(&[&rustls::version::TLS13]);
        let tls = rustls::ClientConnection::new(config, name()).unwrap();
        let url = format!("wss://localhost:{}{path}", served.at.port());
        tungstenite::client(url, rustls::StreamOwned::new(tls, stream)).unwrap().0
    };
    let mut echo = dial("/echo");
    for message in [Message::text("héllo"), Message::binary(vec![7; 200_000])] {
        echo.send(message.clone()).unwrap();
        assert!(echo.read().unwrap() == message);
    }
    let (mut one, mut other) = (dial("/rooms/x"), dial("/rooms/x"));
    one.send(Message::text("hello")).unwrap();
    assert_eq!(other.read().unwrap(), Message::text("hello"));
    one.close(None).unwrap();
    assert!(matches!(one.read(), Ok(Message::Close(_))));
}
