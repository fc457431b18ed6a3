use super::*;
use crate::server::settings::Certificate;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, date_time_ymd};
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;
use std::time::Duration;

/// 2026-01-01.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("evenkeel-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// A pair of files for this name.
    fn pair(&self, host: &str, (from, to): (i32, i32)) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let cert = params.self_signed(&key).unwrap();
        let base = host.replace('*', "any");
        (
            self.put(&format!("{base}.{from}.crt"), cert.pem()),
            self.put(&format!("{base}.{from}.key"), key.serialize_pem()),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn settings((cert, key): (PathBuf, PathBuf)) -> Tls {
    Tls { cert: Some(cert), key: Some(key), ..Tls::default() }
}

/// What is wrong, without the folder's name.
fn wrong(folder: &Folder, tls: &Tls) -> Vec<String> {
    let errors = load(tls, now(), &Tickets::new().unwrap()).map(|_| ()).unwrap_err();
    let shown = |error: &TlsError| format!("{:?}: {}", error.named, error);
    errors.iter().map(shown).map(|text| text.replace(&format!("{}/", folder.0.display()), "")).collect()
}

#[test]
fn a_pair_is_loaded_with_the_end_of_its_validity() {
    let folder = Folder::new("pair");
    let loaded =
        load(&settings(folder.pair("a.test", (2025, 2027))), now(), &Tickets::new().unwrap()).unwrap();
    let [expiry] = &loaded.expiries[..] else { panic!() };
    assert_eq!(validity::date(expiry.not_after), "2027-01-01 00:00 UTC");
    assert_eq!(loaded.config.alpn_protocols, [b"http/1.1"]);
    assert!(loaded.config.ignore_client_order && loaded.config.ticketer.enabled());
}

#[test]
fn everything_that_can_be_wrong_with_a_certificate_is_said_with_its_file() {
    let folder = Folder::new("wrong");
    let (cert, key) = folder.pair("a.test", (2025, 2027));
    let (_, other) = folder.pair("b.test", (2025, 2027));
    let (old, _) = folder.pair("old.test", (2024, 2025));
    let none = folder.0.join("none.pem");
    let empty = folder.put("empty.pem", "");
    let garbage = folder.put("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let broken = folder.put("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let locked = folder.put(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let odd = folder.put("odd.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let table: [(&PathBuf, &PathBuf, &[&str]); 11] = [
        (&none, &key, &["Cert: there is no file \"none.pem\"; create it or name another"]),
        (&cert, &none, &["Key: there is no file \"none.pem\"; create it or name another"]),
        (&folder.0, &key, &["Cert: "]),
        (
            &empty,
            &empty,
            &[
                "Cert: \"empty.pem\" holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----",
                "Key: \"empty.pem\" holds no private key; it must be PEM, with -----BEGIN PRIVATE KEY-----",
            ],
        ),
        (
            &key,
            &cert,
            &[
                "Cert: \"a.test.2025.key\" holds a private key and no certificate; are the two files exchanged?",
                "Key: \"a.test.2025.crt\" holds a certificate and no private key; are the two files exchanged?",
            ],
        ),
        (
            &cert,
            &other,
            &[
                "Key: the key in \"b.test.2025.key\" does not belong to the certificate in \"a.test.2025.crt\"",
            ],
        ),
        (
            &old,
            &other,
            &[
                "Key: the key in \"b.test.2025.key\" does not belong to the certificate in \"old.test.2024.crt\"",
                "Cert: \"old.test.2024.crt\" expired on 2025-01-01 00:00 UTC; renew it",
            ],
        ),
        (&garbage, &key, &["Cert: \"garbage.pem\" is not an X.509 certificate"]),
        (&broken, &key, &["Cert: \"broken.pem\" is not sound PEM"]),
        (&cert, &locked, &["Key: the key in \"locked.key\" is encrypted; decrypt it"]),
        (&cert, &odd, &["Key: the key in \"odd.key\" cannot be used"]),
    ];
    for (cert, key, expected) in table {
        let said = wrong(&folder, &settings((cert.clone(), key.clone())));
        let fits = said.len() == expected.len() && said.iter().zip(expected).all(|(a, b)| a.starts_with(b));
        assert!(fits, "{cert:?} {key:?}: {said:#?}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_shown_all_the_same_and_named() {
    let folder = Folder::new("doubtful");
    for (name, years, said) in [
        ("old", (2024, 2025), "\"old.2024.crt\" expired on 2025-01-01 00:00 UTC; renew it"),
        (
            "early",
            (2027, 2028),
            "\"early.2027.crt\" is not valid before 2027-01-01 00:00 UTC; is the clock right?",
        ),
    ] {
        let loaded = load(&settings(folder.pair(name, years)), now(), &Tickets::new().unwrap()).unwrap();
        let [doubtful] = &loaded.doubtful[..] else { panic!("{:?}", loaded.doubtful) };
        assert_eq!(doubtful.to_string().replace(&format!("{}/", folder.0.display()), ""), said);
        assert_eq!((doubtful.named, loaded.expiries.len()), (Named::Cert, 1));
    }
}

#[test]
fn a_certificate_for_another_host_than_it_is_configured_for_is_named() {
    let folder = Folder::new("strange");
    let (cert, key) = folder.pair("a.test", (2025, 2027));
    let of = |host| Certificate { host, cert: cert.clone(), key: key.clone() };
    let exact = |name: &str| HostPattern::Exact(name.into());
    let below = HostPattern::Below("b.test".into());
    let hosts = [exact("a.test"), exact("b.test"), below, HostPattern::Any];
    let tls = Tls { certificates: hosts.map(of).into(), ..Tls::default() };
    let loaded = load(&tls, now(), &Tickets::new().unwrap()).unwrap();
    let said: Vec<_> =
        loaded.doubtful.iter().map(|doubtful| (doubtful.named, doubtful.to_string())).collect();
    let text = format!("{cert:?} is not for b.test; name the one that is");
    assert_eq!(said, [(Named::CertOf(1), text)]);
}

#[test]
fn all_of_it_is_said_at_once_each_under_the_setting_that_named_it() {
    let folder = Folder::new("all");
    let (cert, key) = folder.pair("a.test", (2025, 2027));
    let none = folder.0.join("none.pem");
    let host = HostPattern::Exact("b.test".into());
    let tls = Tls {
        cert: Some(none.clone()),
        key: Some(key.clone()),
        certificates: [Certificate { host, cert, key: none.clone() }].into(),
        client_ca: Some(key),
        ..Tls::default()
    };
    let named: Vec<String> =
        wrong(&folder, &tls).iter().map(|e| e.split(':').next().unwrap().into()).collect();
    assert_eq!(named, ["Cert", "KeyOf(0)", "ClientCa"]);
    assert!(wrong(&folder, &Tls::default())[0].contains("TLS needs a certificate"));
}

/// Shakes hands in memory; the certificate that was shown, or what went wrong at the client.
fn shown(config: &Arc<ServerConfig>, name: &str, client: ClientConfig) -> Result<ClientConnection, String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(config.clone()).unwrap();
    for _ in 0..6 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
        }
        let refused = server.process_new_packets().err();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| error.to_string())?;
        }
        if let Some(refused) = refused {
            return Err(refused.to_string());
        }
    }
    Ok(client)
}

fn trusting(certs: &[&PathBuf], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let all = certs.iter().flat_map(|path| {
        use rustls_pki_types::pem::PemObject;
        CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    });
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    config.with_root_certificates(roots(all.collect()).unwrap()).with_no_client_auth()
}

#[test]
fn the_certificate_is_chosen_by_name_exact_before_wildcard_before_default() {
    let folder = Folder::new("sni");
    let span = (2025, 2090);
    let [default, exact, below] =
        ["default.test", "a.site.test", "*.site.test"].map(|host| folder.pair(host, span));
    let with =
        |host, pair: &(PathBuf, PathBuf)| Certificate { host, cert: pair.0.clone(), key: pair.1.clone() };
    let tls = Tls {
        certificates: [
            with(HostPattern::Below("site.test".into()), &below),
            with(HostPattern::Exact("a.site.test".into()), &exact),
        ]
        .into(),
        ..settings(default.clone())
    };
    let loaded = load(&tls, now(), &Tickets::new().unwrap()).unwrap();
    for (name, cert) in [
        ("a.site.test", &exact.0),
        ("A.Site.Test", &exact.0),
        ("b.site.test", &below.0),
        ("default.test", &default.0),
    ] {
        for version in [&version::TLS12, &version::TLS13] {
            shown(&loaded.config, name, trusting(&[cert], &[version])).unwrap();
        }
    }
    assert!(shown(&loaded.config, "elsewhere.test", trusting(&[&default.0], &[&version::TLS13])).is_err());
    // Without a default of its own, the first of the list is shown.
    let tls = Tls { cert: None, key: None, ..tls };
    let loaded = load(&tls, now(), &Tickets::new().unwrap()).unwrap();
    assert!(shown(&loaded.config, "z.site.test", trusting(&[&below.0], &[&version::TLS13])).is_ok());
}

#[test]
fn the_oldest_version_and_the_demand_for_client_certificates_take_effect() {
    let folder = Folder::new("version");
    let pair = folder.pair("a.test", (2025, 2090));
    let old = trusting(&[&pair.0], &[&version::TLS12]);
    let new = trusting(&[&pair.0], &[&version::TLS13]);
    let load = |tls: &Tls| load(tls, now(), &Tickets::new().unwrap()).unwrap().config;
    assert!(shown(&load(&settings(pair.clone())), "a.test", old.clone()).is_ok());
    let tls = Tls { min_version: TlsVersion::V1_3, ..settings(pair.clone()) };
    assert!(shown(&load(&tls), "a.test", old).is_err());
    assert!(shown(&load(&tls), "a.test", new.clone()).is_ok());
    let tls = Tls { client_ca: Some(pair.0.clone()), ..tls };
    let refused = shown(&load(&tls), "a.test", new).err().unwrap();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[test]
fn only_http_1_1_is_agreed_on_and_a_client_that_speaks_only_another_is_refused() {
    let folder = Folder::new("alpn");
    let pair = folder.pair("a.test", (2025, 2090));
    let config = load(&settings(pair.clone()), now(), &Tickets::new().unwrap()).unwrap().config;
    for (offer, agreed) in [(&["h2", "http/1.1"][..], Some("http/1.1")), (&["h2"], None)] {
        let mut client = trusting(&[&pair.0], &[&version::TLS13]);
        client.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
        let agreed_on =
            shown(&config, "a.test", client).ok().and_then(|c| c.alpn_protocol().map(<[u8]>::to_vec));
        assert_eq!(agreed_on.as_deref(), agreed.map(str::as_bytes));
    }
}

#[test]
fn a_store_gives_what_was_put_in_last_and_tickets_outlive_a_reload() {
    let folder = Folder::new("store");
    let pair = folder.pair("a.test", (2025, 2090));
    let tickets = Tickets::new().unwrap();
    let tls = settings(pair.clone());
    let store = Store::new(load(&tls, now(), &tickets).unwrap().config);
    let client = trusting(&[&pair.0], &[&version::TLS13]);
    let first = shown(&store.get(), "a.test", client.clone()).unwrap();
    assert_eq!(first.handshake_kind(), Some(rustls::HandshakeKind::Full));
    let before = store.get();
    store.replace(load(&tls, now(), &tickets).unwrap().config);
    assert!(!Arc::ptr_eq(&before, &store.get()));
    let second = shown(&store.get(), "a.test", client).unwrap();
    assert_eq!(second.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn a_key_of_each_kind_serves() {
    let folder = Folder::new("kinds");
    for (name, algorithm) in [("ed25519", &PKCS_ED25519), ("p256", &PKCS_ECDSA_P256_SHA256)] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        let pair = (
            folder.put(&format!("{name}.crt"), cert.pem()),
            folder.put(&format!("{name}.key"), key.serialize_pem()),
        );
        let config = load(&settings(pair.clone()), now(), &Tickets::new().unwrap()).unwrap().config;
        assert!(shown(&config, "a.test", trusting(&[&pair.0], &[&version::TLS13])).is_ok());
    }
}
