//! Every scalar setting in every layer that it has, and which layer wins.

use super::*;

/// One layer's text, and the value that it stands for, as [`Value::bare_text`] shows it.
type Given = (&'static str, &'static str);

struct Layers {
    key: &'static str,
    /// Other lines of its section that it cannot be without.
    with: &'static str,
    file: Given,
    contract: Option<Given>,
    own: Given,
    flag: Option<Given>,
}

fn value(loaded: &Loaded, key: &str) -> String {
    (setting(key).unwrap().get)(&loaded.config).bare_text()
}

impl Layers {
    /// Reads with these layers present, and says value and origin.
    fn read(&self, file: bool, contract: bool, own: &str, flag: bool) -> (String, Origin) {
        let setting = setting(self.key).unwrap();
        let (section, name) = setting.parts();
        let line = if file { format!("{name} = {}", self.file.0) } else { String::new() };
        let source = source(&format!("[{section}]\n{}\n{line}\n", self.with));
        let mut env = Vars::new();
        if let (true, Some(given)) = (contract, self.contract) {
            env.insert(setting.contract.unwrap().to_owned(), given.0.to_owned());
        }
        if !own.is_empty() {
            env.insert(setting.variable(), own.to_owned());
        }
        let mut flags = Flags::default();
        if let (true, Some(given)) = (flag, self.flag) {
            flags.settings.push((setting.key, given.0.to_owned()));
        }
        let loaded =
            load_with(Some(&source), &env, &flags, &[]).unwrap_or_else(|e| panic!("{}: {e}", self.key));
        (value(&loaded, self.key), loaded.origin(self.key))
    }

    fn check(&self) {
        let setting = setting(self.key).unwrap();
        assert_eq!(setting.contract.is_some(), self.contract.is_some(), "contract of {}", self.key);
        assert_eq!(setting.flag.is_some(), self.flag.is_some(), "flag of {}", self.key);
        let variable = |name: &str| Origin::Variable(name.into());
        let own = variable(&setting.variable());
        let default = (setting.get)(&Config::default()).bare_text();

        // each alone
        if !matches!(self.key, "tls.cert" | "tls.key") {
            // half a certificate is a conflict
            assert_eq!(self.read(false, false, "", false), (default.clone(), Origin::Default));
        }
        let (text, origin) = self.read(true, false, "", false);
        assert_eq!(text, self.file.1);
        assert!(matches!(origin, Origin::File { line: 2.., .. }), "{origin}");
        assert_eq!(self.read(false, false, self.own.0, false), (self.own.1.to_owned(), own.clone()));
        let differs = [self.file.1, self.own.1].iter().any(|text| *text != default);
        assert!(differs, "{}: the test shows nothing", self.key);

        // one over the other
        let mut below = (true, false, "", false);
        if let Some(given) = self.contract {
            let by_contract = (given.1.to_owned(), variable(setting.contract.unwrap()));
            assert_eq!(self.read(false, true, "", false), by_contract);
            assert_eq!(self.read(true, true, "", false), by_contract);
            below.1 = true;
        }
        assert_eq!(self.read(below.0, below.1, self.own.0, false), (self.own.1.to_owned(), own));
        if let Some(given) = self.flag {
            let by_flag = (given.1.to_owned(), Origin::Flag(setting.flag.unwrap()));
            assert_eq!(self.read(false, false, "", true), by_flag);
            assert_eq!(self.read(true, true, self.own.0, true), by_flag);
        }
    }
}

macro_rules! layers {
    ($($name:ident: $key:literal $(with $with:literal)?, file $file:literal = $is:literal,
        $(env $env:literal = $env_is:literal,)? own $own:literal = $own_is:literal
        $(, flag $flag:literal = $flag_is:literal)?;)+) => {
        $(#[test]
        fn $name() {
            Layers {
                key: $key,
                with: concat!("" $(, $with)?),
                file: ($file, $is),
                contract: [$(($env, $env_is))?].first().copied(),
                own: ($own, $own_is),
                flag: [$(($flag, $flag_is))?].first().copied(),
            }
            .check();
        })+
        /// The keys that have a test.
        const TESTED: &[&str] = &[$($key),+];
    };
}

layers! {
    server_host: "server.host", file "\"127.0.0.1\"" = "127.0.0.1", env "::1" = "::1",
        own "localhost" = "127.0.0.1", flag "[::]" = "::";
    server_port: "server.port", file "81" = "81", env "82" = "82", own "0" = "0", flag "84" = "84";
    server_workers: "server.workers", file "2" = "2", own "3" = "3", flag "4" = "4";
    server_max_connections: "server.max_connections", file "1_000" = "1000", env "2000" = "2000",
        own "3_000" = "3000", flag "4000" = "4000";
    server_buffer_size: "server.buffer_size", file "\"8KiB\"" = "8KiB", env "16384" = "16KiB", own "2KiB" = "2KiB";
    server_read_timeout: "server.read_timeout", file "\"5s\"" = "5s", env "2500" = "2500ms", own "2m" = "2m";
    server_write_timeout: "server.write_timeout", file "\"500ms\"" = "500ms", env "1000" = "1s", own "1h" = "1h";
    server_idle_timeout: "server.idle_timeout", file "\"1m30s\"" = "90s", own "5s" = "5s";
    server_drain_timeout: "server.drain_timeout", file "\"0s\"" = "0s", own "5s" = "5s";
    server_drain_lag: "server.drain_lag", file "\"5s\"" = "5s", own "1s" = "1s";
    server_header_server: "server.header_server", file "false" = "false", own "off" = "false";
    server_health: "server.health", file "true" = "true", own "on" = "true";
    server_trusted_proxies: "server.trusted_proxies", file "[\"10.0.0.1/8\", \"unix\", \"::1\"]" = "10.0.0.0/8,unix,::1/128",
        own "192.168.0.0/16, 10.0.0.1" = "192.168.0.0/16,10.0.0.1/32";
    server_error_pages: "server.error_pages", file "\"/a\"" = "/a", own "/b" = "/b";
    server_admin_socket: "server.admin_socket", file "\"/run/a\"" = "/run/a", own "/run/b" = "/run/b";

    limits_head_size: "limits.head_size", file "4096" = "4KiB", own "8192" = "8KiB";
    limits_head_fields: "limits.head_fields", file "0x10" = "16", own "17" = "17";
    limits_head_timeout: "limits.head_timeout", file "\"5s\"" = "5s", own "6s" = "6s";
    limits_body_size: "limits.body_size", file "0" = "0", own "1GiB" = "1GiB";
    limits_body_rate: "limits.body_rate", file "\"2KiB/s\"" = "2KiB/s", own "0" = "0";
    limits_send_rate: "limits.send_rate", file "0" = "0", own "1MiB/s" = "1MiB/s";
    limits_memory: "limits.memory", file "\"64MiB\"" = "64MiB", own "1 GiB" = "1GiB";
    limits_per_client_connections: "limits.per_client_connections", file "0" = "0", own "9" = "9";
    limits_requests_per_second: "limits.requests_per_second", file "5" = "5", own "6" = "6";
    limits_burst: "limits.burst" with "requests_per_second = 5", file "7" = "7", own "8" = "8";

    tls_enable: "tls.enable" with "cert = \"c\"\nkey = \"k\"", file "true" = "true", env "1" = "true",
        own "yes" = "true";
    tls_cert: "tls.cert" with "key = \"k\"", file "\"a\"" = "a", env "b" = "b", own "c" = "c";
    tls_key: "tls.key" with "cert = \"k\"", file "\"a\"" = "a", env "b" = "b", own "c" = "c";
    tls_min_version: "tls.min_version", file "\"1.3\"" = "1.3", own "1.2" = "1.2";
    tls_client_ca: "tls.client_ca", file "\"a\"" = "a", own "c" = "c";

    metrics_enable: "metrics.enable", file "false" = "false", env "no" = "false", own "FALSE" = "false";
    metrics_host: "metrics.host", file "\"0.0.0.0\"" = "0.0.0.0", own "::1" = "::1";
    metrics_port: "metrics.port", file "91" = "91", env "92" = "92", own "93" = "93";

    log_level: "log.level", file "\"warn\"" = "warn", env "DEBUG" = "debug", own "off" = "off", flag "trace" = "trace";
    log_access: "log.access", file "\"json\"" = "json", own "off" = "off";
    log_access_path: "log.access_path", file "\"/a\"" = "/a", own "/b" = "/b";
    log_debug_peers: "log.debug_peers", file "[\"10.0.0.1/8\"]" = "10.0.0.0/8", own "192.0.2.1/32" = "192.0.2.1/32";
}

#[test]
fn every_setting_has_a_test_of_its_layers() {
    for setting in SETTINGS {
        assert!(TESTED.contains(&setting.key), "{}", setting.key);
    }
}

#[test]
fn a_reload_notices_a_change_of_each_setting() {
    let other = |setting: &Setting| {
        let now = (setting.get)(&Config::default());
        let texts = "1 2 1KiB 1MiB 1s true false 127.0.0.9 ::1 /a 1.3 debug json".split(' ');
        let values = texts.filter_map(|text| setting.kind.read_text(text, Bare::Refused).ok());
        let networks = setting.kind.read_text("192.0.2.0/24", Bare::Refused).ok();
        values.chain(networks).find(|value| *value != now).unwrap_or_else(|| panic!("{}", setting.key))
    };
    for setting in SETTINGS {
        let (old, mut new) = (Config::default(), Config::default());
        (setting.set)(&mut new, other(setting));
        assert_ne!(old, new, "{}", setting.key);
        let difference = crate::server::difference(&old, &new);
        let named = |all: &[String]| {
            let at = ["server.host", "server.port"].contains(&setting.key);
            all.iter().any(|line| line.starts_with(setting.key) || at && line.starts_with("listener "))
        };
        assert!(named(&difference.live) || named(&difference.frozen), "{}: {difference:?}", setting.key);
    }
    assert_eq!(crate::server::difference(&Config::default(), &Config::default()), Default::default());
}

#[test]
fn a_value_may_stand_in_a_file_that_a_variable_names() {
    let folder = std::env::temp_dir().join(format!("evenkeel-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let port = write("port", "4242\n");
    let pem = write("pem", "-----BEGIN CERTIFICATE-----\nabc\n");
    for setting in SETTINGS.iter().filter(|s| s.key == "server.port" || s.key == "metrics.port") {
        let name = format!("{}_FILE", setting.variable());
        let loaded = load(None, &vars(&[(&name, &port)]), &Flags::default()).unwrap();
        assert_eq!(value(&loaded, setting.key), "4242");
        assert_eq!(loaded.origin(setting.key), Origin::Variable(name.into()));
    }
    let errors = load(None, &vars(&[("EVENKEEL_TLS_CERT_FILE", &pem)]), &Flags::default()).unwrap_err();
    assert!(errors.to_string().ends_with("to name that file itself, set EVENKEEL_TLS_CERT"), "{errors}");
    let both = vars(&[("EVENKEEL_SERVER_PORT_FILE", &port), ("EVENKEEL_SERVER_PORT", "1")]);
    let errors = load(None, &both, &Flags::default()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "EVENKEEL_SERVER_PORT_FILE: server.port: EVENKEEL_SERVER_PORT is set as well; keep one of the two"
    );
    let long = write("long", &format!("10.0.0.0/8{}", ", 10.0.0.1".repeat(7000)));
    let errors = load(None, &vars(&[("EVENKEEL_SERVER_TRUSTED_PROXIES_FILE", &long)]), &Flags::default());
    let said = errors.unwrap_err().to_string();
    assert!(said.ends_with("holds more than 64 KiB; a value is shorter"), "{said}");
    let lines = write("lines", "10.0.0.0/8\n192.168.0.0/16\n");
    let loaded = load(None, &vars(&[("EVENKEEL_LOG_DEBUG_PEERS_FILE", &lines)]), &Flags::default()).unwrap();
    assert_eq!(value(&loaded, "log.debug_peers"), "10.0.0.0/8,192.168.0.0/16");
    let gone = vars(&[("EVENKEEL_SERVER_PORT_FILE", "/nonexistent")]);
    assert!(load(None, &gone, &Flags::default()).unwrap_err().to_string().contains("cannot read"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn networks_of_mapped_addresses_are_those_of_ipv4() {
    for (text, is) in [
        ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
        ("::ffff:10.1.2.3/95", "::fffe:0:0/95"),
        ("::/0", "::/0"),
        ("2001:db8::/32", "2001:db8::/32"),
    ] {
        let file = format!("[server]\ntrusted_proxies = [\"{text}\"]");
        let read = load(Some(&source(&file)), &Vars::new(), &Flags::default()).unwrap();
        assert_eq!(value(&read, "server.trusted_proxies"), is);
        let read = load(None, &vars(&[("EVENKEEL_LOG_DEBUG_PEERS", text)]), &Flags::default()).unwrap();
        assert_eq!(value(&read, "log.debug_peers"), is);
    }
}

#[test]
fn an_empty_variable_counts_as_not_set_and_ours_silences_the_unprefixed_one() {
    let env = vars(&[("SERVER_PORT", ""), ("EVENKEEL_SERVER_HOST", "")]);
    assert_eq!(load(None, &env, &Flags::default()).unwrap().config, Config::default());
    let env = vars(&[("SERVER_PORT", "tcp://10.0.0.1:80"), ("EVENKEEL_SERVER_PORT", "81")]);
    assert_eq!(load(None, &env, &Flags::default()).unwrap().config.server.port, 81);
}

#[test]
fn variables_that_kubernetes_makes_for_services_are_no_ports_and_are_warned_of() {
    let file = source("[server]\nport = 81\n[metrics]\nport = 91");
    for (name, key) in [
        ("EVENKEEL_SERVER_PORT", "server.port"),
        ("SERVER_PORT", "server.port"),
        ("EVENKEEL_METRICS_PORT", "metrics.port"),
        ("METRICS_PORT", "metrics.port"),
    ] {
        for scheme in ["tcp", "udp", "sctp"] {
            let env = vars(&[(name, &format!("{scheme}://[fd00::1]:9090"))]);
            let loaded =
                load(Some(&file), &env, &Flags::default()).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!((loaded.config.server.port, loaded.config.metrics.port), (81, 91));
            let warnings: Vec<String> = loaded.warnings.iter().map(Error::to_string).collect();
            let what = "not used: Kubernetes makes this variable for a service of that name, and does not with \
                        enableServiceLinks: false in the pod's spec";
            assert_eq!(warnings, [format!("{name}: {key}: {what}")]);
            assert!(!load(None, &env, &Flags::default()).unwrap().config.metrics.port_was_set);
        }
    }
    let env = vars(&[("EVENKEEL_SERVER_PORT", "tcp://10.0.0.1:80"), ("SERVER_PORT", "82")]);
    assert_eq!(load(Some(&file), &env, &Flags::default()).unwrap().config.server.port, 82);
    let env = vars(&[("SERVER_HOST", "tcp://10.0.0.1:80")]);
    assert!(load(None, &env, &Flags::default()).is_err(), "no port");
    assert!(load(None, &vars(&[("SERVER_PORT", "http://a")]), &Flags::default()).is_err(), "no such link");
}

#[test]
fn the_metrics_port_counts_as_set_in_whatever_layer_it_is() {
    let set = |text: &str, env: &Vars| {
        load(Some(&source(text)), env, &Flags::default()).unwrap().config.metrics.port_was_set
    };
    assert!(!set("[metrics]\nenable = true", &Vars::new()));
    assert!(set("[metrics]\nport = 9090", &Vars::new()));
    assert!(set("", &vars(&[("METRICS_PORT", "9090")])));
    assert!(set("", &vars(&[("EVENKEEL_METRICS_PORT", "9090")])));
}
