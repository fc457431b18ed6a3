//! A TLS client as a peer of the simulated world, and keys for it. Ed25519: its signatures have one length, so that every run is
//! the same.

use super::echo::{EchoApp, Reason};
use evenkeel::reactor::net::sim::{Script, SimId, SimListener, SimNet};
use evenkeel::reactor::{App, Reactor, Settings, TlsSide, Turn};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, OnceLock};

/// A certificate for `localhost` that signs itself, and its key.
pub struct Pair {
    pub cert: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    pub cert_pem: String,
    pub key_pem: String,
}

/// A new one, for these names.
pub fn make_pair(names: &[&str]) -> Pair {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let cert = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Pair {
        cert: cert.der().clone(),
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    }
}

pub fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| make_pair(&["localhost"]))
}

pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub fn server_config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let config = config.with_no_client_auth();
    Arc::new(config.with_single_cert(vec![pair().cert.clone()], pair().key.clone_key()).unwrap())
}

pub fn server_side(versions: &[&'static SupportedProtocolVersion]) -> TlsSide {
    TlsSide::Server(server_config(versions))
}

pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pair().cert.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A client that speaks TLS from outside of the world: what the server sends is taken from the log, what it says is scripted.
pub struct Client {
    pub conn: ClientConnection,
    pub id: SimId,
    seen: usize,
    /// The plaintext that came.
    pub got: Vec<u8>,
    /// The server's `close_notify` came.
    pub closed: bool,
    pub error: Option<rustls::Error>,
    /// How many bytes are sent at a time.
    pub piece: usize,
    /// After so many bytes of ciphertext nothing more is sent.
    pub cut_after: usize,
    pub said: usize,
    /// The byte at this place of the ciphertext is changed by these bits.
    pub break_at: Option<(usize, u8)>,
    /// Bytes that came behind an error.
    pub left: usize,
}

impl Client {
    pub fn arrive<A: App, const R: bool>(
        reactor: &mut Reactor<A, SimNet<R>>,
        listener: SimListener,
        script: Script,
        config: Arc<ClientConfig>,
    ) -> Client {
        let id = reactor.net_mut().arrive(listener, script);
        let mut conn = ClientConnection::new(config, name()).unwrap();
        conn.set_buffer_limit(None);
        let (got, error) = (Vec::new(), None);
        Client {
            conn,
            id,
            seen: 0,
            got,
            closed: false,
            error,
            piece: usize::MAX,
            cut_after: usize::MAX,
            said: 0,
            break_at: None,
            left: 0,
        }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.conn.writer().write_all(bytes).unwrap();
    }

    /// Takes what came, and gives the peer to do what is to be said. True if anything happened.
    pub fn step<A: App, const R: bool>(&mut self, reactor: &mut Reactor<A, SimNet<R>>) -> bool {
        let sent = reactor.net().sent(self.id)[self.seen..].to_vec();
        self.seen += sent.len();
        let mut left = &sent[..];
        while !left.is_empty() && self.error.is_none() {
            self.conn.read_tls(&mut left).unwrap();
            match self.conn.process_new_packets() {
                Ok(state) => self.closed |= state.peer_has_closed(),
                Err(error) => self.error = Some(error),
            }
            let mut all = Vec::new();
            match self.conn.reader().read_to_end(&mut all) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            self.got.extend(all);
        }
        self.left += left.len();
        let mut out = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut out).unwrap();
        }
        out.truncate(self.cut_after.saturating_sub(self.said));
        if let Some((at, bits)) = self.break_at
            && let Some(byte) = at.checked_sub(self.said).and_then(|at| out.get_mut(at))
        {
            *byte ^= bits;
        }
        self.said += out.len();
        let script = out.chunks(self.piece).fold(Script::new(), |script, piece| {
            let script = script.send(piece);
            if self.piece < usize::MAX { script.wait(1) } else { script }
        });
        if !out.is_empty() {
            reactor.net_mut().go_on(self.id, script);
        }
        !sent.is_empty() || !out.is_empty()
    }

    /// Turns the reactor and this client until nothing happens in `ms` virtual milliseconds.
    pub fn talk<A: App, const R: bool>(&mut self, reactor: &mut Reactor<A, SimNet<R>>, ms: u64) {
        let mut quiet_since = reactor.net().elapsed_ms();
        for _ in 0..2_000_000 {
            // A peer that still has something to do is not quiet.
            if self.step(reactor) || !reactor.net().script_over(self.id) {
                quiet_since = reactor.net().elapsed_ms();
            }
            let now = reactor.net().elapsed_ms();
            if now > quiet_since + ms {
                return;
            }
            match reactor.turn(Some(std::time::Duration::from_millis(1))) {
                Ok(Turn::Finished) => return,
                Ok(Turn::Now | Turn::After(_) | Turn::Idle) => {}
                Err(error) if error.kind() == ErrorKind::Deadlock => return,
                Err(error) => panic!("a turn failed: {error}"),
            }
            reactor.check();
        }
        panic!("no end");
    }
}

/// A reactor that echoes over TLS.
pub fn echoing(versions: &[&'static SupportedProtocolVersion]) -> (Reactor<EchoApp, SimNet>, SimListener) {
    let mut net = SimNet::new(1);
    let listener = net.listen();
    let app = EchoApp { tls: Some(server_side(versions)), ..EchoApp::default() };
    let mut reactor = Reactor::new(app, net, Settings::default());
    reactor.add_listener(listener).unwrap();
    (reactor, listener)
}

pub fn reasons(reactor: &Reactor<EchoApp, SimNet>) -> Vec<Reason> {
    reactor.app().ends.iter().map(|(_, reason)| *reason).collect()
}
