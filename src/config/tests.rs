//! Tests of the whole of `config`: every setting in every layer, the golden errors, the example file.

mod disk;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::server::settings::*;

type Vars = BTreeMap<String, String>;

fn vars(pairs: &[(&str, &str)]) -> Vars {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn source(text: &str) -> Source {
    Source::new("evenkeel.toml", text.to_owned(), PathBuf::new())
}

fn read(text: &str) -> Result<Loaded, Errors> {
    load(Some(&source(text)), &Vars::new(), &Flags::default())
}

/// As if everything were built.
fn read_all(text: &str) -> Result<Loaded, Errors> {
    load_with(Some(&source(text)), &Vars::new(), &Flags::default(), &[])
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// ---- the example

/// What an example file leaves as it is, but for the port, which counts as set once it is written.
fn with_port_set(mut config: Config) -> Config {
    config.metrics.port_was_set = true;
    config
}

#[test]
fn the_example_file_equals_the_defaults_that_it_claims() {
    let text = std::fs::read_to_string(root().join("evenkeel.example.toml")).unwrap();
    let config = read(&text).unwrap().config;
    let default = with_port_set(Config::default());
    assert_eq!(
        Config { routes: default.routes.clone(), tcp: default.tcp.clone(), ..config.clone() },
        default
    );
    let [files, old, hello, echo, rooms] = &config.routes[..] else { panic!("{:?}", config.routes) };
    assert_eq!(files.action, Action::Files(Files::new("./public".into())));
    assert!(matches!(&old.action, Action::Redirect(Redirect { status: 301, .. })));
    assert!(matches!(&hello.action, Action::Respond(Respond { status: 200, .. })));
    assert_eq!(echo.action, Action::Websocket(Websocket::new(WebsocketKind::Echo)));
    assert_eq!(rooms.action, Action::Websocket(Websocket::new(WebsocketKind::Room)));
    assert_eq!(config.tcp[0].handler, TcpHandler::Echo);
}

#[test]
fn the_example_file_names_every_setting_and_its_variable() {
    let text = std::fs::read_to_string(root().join("evenkeel.example.toml")).unwrap();
    for setting in SETTINGS {
        let (section, key) = setting.parts();
        let body = text.split(&format!("\n[{section}]\n")).nth(1).unwrap().split("\n[").next().unwrap();
        let line = body.lines().find(|line| line.starts_with(&format!("{key} ")));
        let line = line.unwrap_or_else(|| panic!("{} is not in the example", setting.key));
        if let Some(contract) = setting.contract {
            assert!(line.contains(contract), "{line} does not name {contract}");
        }
    }
}

#[test]
fn the_example_file_names_every_key_of_its_lists() {
    let text = std::fs::read_to_string(root().join("evenkeel.example.toml")).unwrap();
    let lists: [(&str, Vec<&str>); 4] = [
        ("[[route]]", routes::all_keys().collect()),
        ("[[tcp]]", services::TCP.into()),
        ("[[listener]]", services::LISTENER.into()),
        ("[[upstream]]", services::UPSTREAM.into()),
    ];
    for (heading, keys) in lists {
        let bodies = text.split(heading).skip(1).map(|body| body.split("\n[").next().unwrap());
        let lines: Vec<&str> =
            bodies.flat_map(str::lines).map(|line| line.trim_start_matches("# ")).collect();
        for key in keys {
            // Behind a comment sign, or in the braces of another.
            let is_there = |line: &&str| line.contains(&format!("{key} = "));
            assert!(lines.iter().any(is_there), "{key} of {heading} is not in the example");
        }
    }
}

#[test]
fn what_stands_in_the_example_behind_a_comment_sign_can_be_written_as_it_stands() {
    let text = std::fs::read_to_string(root().join("evenkeel.example.toml")).unwrap();
    // A heading or a key; what follows `# [` and `# word = ` is nowhere else the beginning of a sentence.
    let is_written = |line: &str| line.starts_with('[') || line.split(' ').nth(1) == Some("=");
    let bare =
        |line: &str| line.strip_prefix("# ").filter(|line| is_written(line)).unwrap_or(line).to_owned();
    let text = text.replace("handler = \"echo\"", "handler = \"lines\"");
    let text: Vec<String> = text.lines().map(bare).collect();
    let config = read_all(&text.join("\n")).unwrap().config;
    assert_eq!((config.listeners.len(), config.tls.certificates.len()), (2, 1));
    assert_eq!((config.upstreams.len(), config.routes.len()), (1, 6));
}

#[test]
fn the_example_file_says_what_is_not_done_yet() {
    let text = std::fs::read_to_string(root().join("evenkeel.example.toml")).unwrap();
    let said =
        text.lines().find_map(|line| line.strip_prefix("# Not yet done, and refused by name: ")).unwrap();
    let mut all: Vec<&str> = UNBUILT.iter().map(|row| row.what).collect();
    all.dedup();
    assert_eq!(said, all.join(", ") + ".");
}

// ---- what a server does that was told little

#[test]
fn nothing_and_an_empty_file_are_the_default_with_the_welcome_site() {
    let nothing = load(None, &Vars::new(), &Flags::default()).unwrap();
    assert_eq!(nothing.config, Config::default());
    assert_eq!(read("").unwrap().config, Config::default());
    assert_eq!(nothing.config.routes[0].action, Action::Welcome);
    assert_eq!(nothing.config.http_listeners()[0].address.to_string(), "0.0.0.0:8080");
}

#[test]
fn a_folder_on_the_command_line_replaces_the_catch_all_route_and_no_other() {
    let flags = Flags { dir: Some("site".into()), ..Flags::default() };
    let text = "[[route]]\npath = \"/*\"\nrespond = \"old\"\n[[route]]\npath = \"/a\"\nrespond = \"a\"\n\
                [[route]]\nhost = \"example.org\"\nrespond = \"b\"";
    let loaded = load(Some(&source(text)), &Vars::new(), &flags).unwrap();
    let actions: Vec<_> = loaded.config.routes.iter().map(|route| &route.action).collect();
    assert_eq!(actions.len(), 3);
    assert_eq!(actions[2], &Action::Files(Files::new("site".into())));
    assert_eq!(loaded.route_origins(2).unwrap().at, Origin::Flag("DIR"));
    let alone = load(None, &Vars::new(), &flags).unwrap();
    assert_eq!(alone.config.routes.len(), 1);
}

#[test]
fn relative_paths_in_a_file_belong_to_its_folder_and_those_of_variables_do_not() {
    let text = "[tls]\ncert = \"c.pem\"\nkey = \"/k.pem\"\n[[route]]\nfiles = \"www\"\n[[tcp]]\nlisten = \"unix:s\"\nhandler = \"echo\"";
    let source = Source::new("/etc/x/e.toml", text.to_owned(), "/etc/x".into());
    let loaded =
        load(Some(&source), &vars(&[("EVENKEEL_TLS_CLIENT_CA", "ca.pem")]), &Flags::default()).unwrap();
    let config = loaded.config;
    assert_eq!(config.tls.cert, Some("/etc/x/c.pem".into()));
    assert_eq!(config.tls.key, Some("/k.pem".into()));
    assert_eq!(config.tls.client_ca, Some("ca.pem".into()));
    assert_eq!(config.routes[0].action, Action::Files(Files::new("/etc/x/www".into())));
    assert_eq!(config.tcp[0].listen, Address::Unix("/etc/x/s".into()));
}

// ---- lists: every key

#[test]
fn every_key_of_a_route_is_read() {
    let route = |text: &str| read_all(&format!("[[route]]\n{text}")).unwrap().config.routes[0].clone();
    let files = route(
        "host = \"*.Example.org\"\nmethods = [\"GET\"]\npath = \"/a/{b}/*\"\nbody_size = \"1KiB\"\nfiles = \"w\"\n\
         listing = true\nfallback = \"index.html\"\nhidden = true\nfollow_symlinks = true\ncompress = false",
    );
    assert_eq!(files.host, HostPattern::Below("example.org".into()));
    assert_eq!(&*files.methods, ["GET".into()]);
    assert_eq!(
        files.path,
        PathPattern {
            parts: [PathPart::Literal("a".into()), PathPart::Param("b".into())].into(),
            rest: true
        }
    );
    assert_eq!(files.body_size, Some(1024));
    assert_eq!(
        files.action,
        Action::Files(Files {
            root: "w".into(),
            listing: true,
            fallback: Some("index.html".into()),
            hidden: true,
            follow_symlinks: true,
            compress: false
        })
    );
    let respond = route("respond = \"é\"\nstatus = 418\nheaders = { X-A = \"b\" }").action;
    assert_eq!(
        respond,
        Action::Respond(Respond {
            body: "é".as_bytes().into(),
            status: 418,
            headers: [("x-a".into(), "b".into())].into()
        })
    );
    let Action::Redirect(redirect) = route("redirect = \"https://{host}{path}\"").action else { panic!() };
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.to.parts[1..], [TemplatePart::Host, TemplatePart::Path]);
    let websocket = route(
        "websocket = \"room\"\nslow_consumer = \"drop-oldest\"\nping_interval = \"0s\"\nping_timeout = \"1s\"\n\
         message_size = 7\ndeflate = false\norigins = [\"https://Example.org:8443\"]",
    );
    assert_eq!(
        websocket.action,
        Action::Websocket(Websocket {
            kind: WebsocketKind::Room,
            slow_consumer: SlowConsumer::DropOldest,
            ping_interval: Duration::ZERO,
            ping_timeout: Duration::from_secs(1),
            message_size: 7,
            deflate: false,
            origins: ["https://example.org:8443".into()].into(),
        })
    );
}

const EVERYTHING: &str = r#"
[tls]
cert = "c"
key = "k"
[[tls.certificate]]
host = "example.org"
cert = "c2"
key = "k2"
[[listener]]
address = "[::]:443"
tls = true
proxy_protocol = true
[[listener]]
address = "unix:/run/e.sock"
[[route]]
path = "/api/{v}"
proxy = "app"
[[route]]
path = "/r"
host = "*.a.b"
methods = ["GET", "POST"]
respond = "a \" \\ \n\t é"
headers = { "x-a" = "1", "x-b" = "2" }
body_size = "2MiB"
[[route]]
path = "/o/*"
redirect = "https://{host}/{rest}"
status = 308
[[route]]
files = "w"
[[route]]
path = "/ws/"
websocket = "room"
origins = ["https://a.b"]
[[tcp]]
listen = "127.0.0.1:1"
handler = "lines"
idle_timeout = "1s"
line_size = "1KiB"
slow_consumer = "latest"
[[tcp]]
listen = "127.0.0.1:2"
handler = "proxy"
upstream = "app"
[[upstream]]
name = "app"
servers = [{ address = "127.0.0.1:3000", weight = 3 }, { address = "App.internal:80" }, { address = "unix:/a" }]
balance = "two-choices"
health = { path = "/h", interval = "3s", timeout = "500ms", rise = 1, fall = 9 }
keepalive = 0
"#;

#[test]
fn every_key_of_listeners_tcp_and_upstreams_is_read() {
    let config = read_all(EVERYTHING).unwrap().config;
    assert_eq!(
        config.http_listeners(),
        [
            Listener { address: Address::Tcp("[::]:443".parse().unwrap()), tls: true, proxy_protocol: true },
            Listener { address: Address::Unix("/run/e.sock".into()), tls: false, proxy_protocol: false },
        ]
    );
    assert_eq!(config.tls.certificates[0].host, HostPattern::Exact("example.org".into()));
    assert_eq!(
        config.tcp[0],
        Tcp {
            listen: Address::Tcp("127.0.0.1:1".parse().unwrap()),
            handler: TcpHandler::Lines,
            idle_timeout: Duration::from_secs(1),
            line_size: 1024,
            slow_consumer: SlowConsumer::Latest,
        }
    );
    assert_eq!(config.tcp[1].handler, TcpHandler::Proxy("app".into()));
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.servers[0].weight, 3);
    assert_eq!(upstream.servers[1].address, UpstreamAddress::Name("app.internal".into(), 80));
    assert_eq!(upstream.servers[2].address, UpstreamAddress::Unix("/a".into()));
    assert_eq!((upstream.balance, upstream.keepalive), (Balance::TwoChoices, 0));
    assert_eq!(
        upstream.health,
        Some(HealthCheck {
            path: "/h".into(),
            interval: Duration::from_secs(3),
            timeout: Duration::from_millis(500),
            rise: 1,
            fall: 9
        })
    );
}

// ---- print

#[test]
fn what_is_printed_reads_as_the_same_values() {
    // The metrics page is at 9090, too, which is no conflict as long as nobody says so.
    let at_metrics = "[server]\nport = 9090";
    let example = std::fs::read_to_string(root().join("evenkeel.example.toml")).unwrap();
    let read_at = |folder: &str, text: &str| {
        let source = Source::new("evenkeel.toml", text.to_owned(), folder.into());
        load_with(Some(&source), &Vars::new(), &Flags::default(), &[])
    };
    let beside_listener = "[server]\nport = 81\n[[listener]]\naddress = \"[::]:80\"";
    for text in ["", EVERYTHING, at_metrics, beside_listener, &example] {
        let loaded = read_at("/etc/evenkeel", text).unwrap();
        let printed = loaded.to_string();
        let again = read_at("/etc/elsewhere", &printed);
        let again = again.unwrap_or_else(|errors| panic!("{errors}\n{printed}"));
        assert_eq!(again.warnings.len(), loaded.warnings.len(), "{printed}");
        let (again, mut expected) = (again.config, loaded.config);
        if expected.routes[0].action == Action::Welcome {
            expected.routes = again.routes.iter().cloned().collect();
        }
        assert_eq!(again, expected, "{printed}");
    }
}

#[test]
fn paths_are_printed_such_that_they_mean_the_same_wherever_the_file_is_put() {
    let text = "[server]\nerror_pages = \"p\"\nadmin_socket = \"a\"\n[log]\naccess_path = \"l\"\n\
                [tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"ca\"\n\
                [[tls.certificate]]\nhost = \"a.b\"\ncert = \"c2\"\nkey = \"k2\"\n\
                [[listener]]\naddress = \"unix:s\"\n[[tcp]]\nlisten = \"unix:t\"\nhandler = \"echo\"\n\
                [[route]]\nfiles = \"public\"\n[[upstream]]\nname = \"u\"\nservers = [{ address = \"unix:up\" }]";
    let source = Source::new("conf/a.toml", text.to_owned(), "conf".into());
    let printed = load_with(Some(&source), &Vars::new(), &Flags::default(), &[]).unwrap().to_string();
    let here = std::env::current_dir().unwrap().join("conf");
    for (key, name) in [
        ("error_pages = \"", "p"),
        ("admin_socket = \"", "a"),
        ("access_path = \"", "l"),
        ("cert = \"", "c"),
        ("key = \"", "k"),
        ("client_ca = \"", "ca"),
        ("cert = \"", "c2"),
        ("key = \"", "k2"),
        ("address = \"unix:", "s"),
        ("listen = \"unix:", "t"),
        ("files = \"", "public"),
        ("{ address = \"unix:", "up"),
    ] {
        let expected = format!("{key}{}\"", here.join(name).display());
        assert!(printed.contains(&expected), "{expected}\n{printed}");
    }
}

#[test]
fn each_printed_value_says_where_it_came_from() {
    let env = vars(&[("SERVER_PORT", "81"), ("EVENKEEL_LIMITS_HEAD_FIELDS", "7")]);
    let flags = Flags { settings: vec![("server.workers", "3".to_owned())], dir: Some("d".into()) };
    let loaded = load(Some(&source("[server]\nhost = \"::1\"")), &env, &flags).unwrap();
    let text = loaded.to_string();
    let files = format!("files = {:?}", std::path::absolute("d").unwrap());
    for (pair, origin) in [
        ("host = \"::1\"", "evenkeel.toml:2:8"),
        ("port = 81", "SERVER_PORT"),
        ("workers = 3", "--workers"),
        ("head_fields = 7", "EVENKEEL_LIMITS_HEAD_FIELDS"),
        ("head_timeout = \"10s\"", "default"),
        (files.as_str(), "DIR"),
        ("listing = false", "default"),
    ] {
        let line =
            text.lines().find(|line| line.starts_with(pair)).unwrap_or_else(|| panic!("{pair}\n{text}"));
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
}

// ---- warnings

#[test]
fn a_variable_of_ours_that_means_nothing_is_a_warning_with_the_nearest_name() {
    let env = vars(&[("EVENKEEL_SERVER_PROT", "1"), ("EVENKEEL_PORT", "tcp://10.0.0.1:80"), ("OTHER", "x")]);
    let warnings: Vec<String> =
        load(None, &env, &Flags::default()).unwrap().warnings.iter().map(Error::to_string).collect();
    assert_eq!(
        warnings,
        [
            "EVENKEEL_PORT: no setting has this name",
            "EVENKEEL_SERVER_PROT: no setting has this name; did you mean EVENKEEL_SERVER_PORT?",
        ]
    );
}

#[test]
fn host_and_port_beside_listeners_are_a_warning() {
    let loaded = read("[server]\nport = 1\n[[listener]]\naddress = \"127.0.0.1:2\"").unwrap();
    assert_eq!(
        loaded.warnings[0].to_string(),
        "evenkeel.toml:2:8: server.port: not used, because there is a [[listener]]"
    );
}

// ---- golden errors

/// One case file: `--- file`, `--- env`, `--- flags`, `--- built` (as if all were), and `--- errors`.
fn run_case(text: &str) -> (String, String, String) {
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        match line.strip_prefix("--- ") {
            Some(part) => name = part.trim(),
            None => {
                let part = parts.entry(name).or_default();
                part.push_str(line);
                part.push('\n');
            }
        }
    }
    let pairs = |part: &str| -> Vec<(String, String)> {
        let lines = parts.get(part).map(String::as_str).unwrap_or("").lines();
        lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let file = parts.get("file").map(|text| source(text));
    let settings = pairs("flags").into_iter().map(|(key, text)| (setting(&key).unwrap().key, text)).collect();
    let unbuilt = if text.contains("--- built") { &[][..] } else { UNBUILT };
    let env: Vars = pairs("env").into_iter().collect();
    let result = load_with(file.as_ref(), &env, &Flags { settings, dir: None }, unbuilt);
    let got = result.map_or_else(|errors| format!("{errors}\n"), |_| String::new());
    let input = text.split_once("--- errors\n").map_or(text, |(input, _)| input).to_owned();
    (input, got, parts.get("errors").cloned().unwrap_or_default())
}

/// `EVENKEEL_WRITE_CASES=1 cargo test` writes what comes out into the files, to be read before it is committed.
#[test]
fn mistakes_are_told_all_at_once_in_the_words_of_the_case_files() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("tests/cases/config")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (input, got, expected) = run_case(&text);
        if std::env::var_os("EVENKEEL_WRITE_CASES").is_some() {
            std::fs::write(&path, format!("{input}--- errors\n{got}")).unwrap();
        } else {
            assert_eq!(got, expected, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 12, "only {count} cases");
}

// ---- nothing panics

/// Texts made of pieces that mean something, so that the walk gets deep.
fn pieces() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = vec![
        "[server]\n",
        "[limits]\n",
        "[tls]\n",
        "[[route]]\n",
        "[[tcp]]\n",
        "[[upstream]]\n",
        "[[listener]]\n",
        "[[tls.certificate]]\n",
        "[route]\n",
        "port = ",
        "host = ",
        "path = ",
        "files = ",
        "respond = ",
        "redirect = ",
        "websocket = ",
        "proxy = ",
        "methods = ",
        "headers = ",
        "status = ",
        "address = ",
        "servers = ",
        "health = ",
        "trusted_proxies = ",
        "handler = ",
        "origins = ",
        "body_size = ",
        "message_size = ",
        "ping_interval = ",
        "\"/*\"\n",
        "\"/{a}\"\n",
        "\"\"\n",
        "\"echo\"\n",
        "\"30s\"\n",
        "\"{\"\n",
        "\"unix:\"\n",
        "\":\"\n",
        "\"*\"\n",
        "0\n",
        "-1\n",
        "99999999999999999999999999999999999999999\n",
        "0xff\n",
        "1.5\n",
        "true\n",
        "[]\n",
        "[1, \"GET\"]\n",
        "{}\n",
        "{ a = \"b\", \"é\" = 1 }\n",
        "1979-05-27\n",
        "nan\n",
        "[{ address = \"a:1\" }]\n",
        "\u{feff}",
        "=",
        "\n",
    ];
    prop::collection::vec(prop::sample::select(words), 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_reading_panic(text in "(?s).{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_configuration_makes_reading_panic_and_what_is_read_prints_and_reads_again(text in pieces()) {
        match read_all(&text) {
            Err(errors) => prop_assert!(!errors.0.is_empty()),
            Ok(loaded) => {
                let printed = loaded.to_string();
                prop_assert!(read_all(&printed).is_ok(), "{}", printed);
            }
        }
    }

    #[test]
    fn no_value_of_a_variable_makes_reading_panic(text in "\\PC{0,40}") {
        for setting in SETTINGS {
            let _ = load(None, &vars(&[(&setting.variable(), &text)]), &Flags::default());
        }
    }
}
