//! What a server can be told: plain, typed, checked values, with their defaults.
//!
//! `config` reads files, variables and flags into these types and knows where each value came from; everything
//! below `config` (the server and its protocols) only ever sees the values. An embedder may fill a [`Config`] by
//! hand: `Config::default()` is a working server that shows the built-in welcome site.
//!
//! Invariants, kept by `config` (whoever fills the types by hand keeps them too):
//! 1. every number is inside the range that its doc states;
//! 2. each [`Route`] has one action, and no two routes have the same host, path and method;
//! 3. a TLS listener has a certificate; a proxy names an upstream that exists;
//! 4. all paths are absolute or relative to the working folder: what a file said has been joined to its folder.
//!
//! Lists are behind `Arc`, so a clone for each worker costs no copy of routes or bodies.
//!
//! This module holds values only: no I/O, no clock, nothing of any protocol's machine.

mod routes;

use crate::observe::Peers;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use routes::{
    Action, Balance, Files, HealthCheck, HostPattern, PathPart, PathPattern, Proxy, Redirect, Respond, Route,
    SlowConsumer, Tcp, TcpHandler, Template, TemplatePart, Upstream, UpstreamAddress, UpstreamServer,
    Websocket, WebsocketKind,
};

/// Everything a server is told. `Default` is the built-in configuration, welcome site included.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`: addresses, workers, timers.
    pub server: Server,
    /// `[[listener]]`: where HTTP is served. Empty: one listener on `server.host`:`server.port`; use
    /// [`Config::http_listeners`], which has resolved that.
    pub listeners: Arc<[Listener]>,
    /// `[limits]`: how much a client may ask for.
    pub limits: Limits,
    /// `[tls]`: certificates.
    pub tls: Tls,
    /// `[metrics]`: the Prometheus endpoint.
    pub metrics: Metrics,
    /// `[log]`: diagnostics and the access log.
    pub log: Log,
    /// `[[route]]`: what is served. Never empty; in file order (the most specific wins, not the first).
    pub routes: Arc<[Route]>,
    /// `[[tcp]]`: raw TCP listeners.
    pub tcp: Arc<[Tcp]>,
    /// `[[upstream]]`: groups of servers behind this one.
    pub upstreams: Arc<[Upstream]>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server: Server::default(),
            listeners: Arc::default(),
            limits: Limits::default(),
            tls: Tls::default(),
            metrics: Metrics::default(),
            log: Log::default(),
            routes: Route::welcome().into(),
            tcp: Arc::default(),
            upstreams: Arc::default(),
        }
    }
}

impl Config {
    /// The HTTP listeners there are in fact: `[[listener]]`s, or the one that `[server]` and `tls.enable` describe.
    pub fn http_listeners(&self) -> Vec<Listener> {
        if !self.listeners.is_empty() {
            return self.listeners.to_vec();
        }
        let address = Address::Tcp(SocketAddr::new(self.server.host, self.server.port));
        vec![Listener { address, tls: self.tls.enable, proxy_protocol: false }]
    }
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Address to listen on when there is no `[[listener]]`. Default `0.0.0.0`.
    pub host: IpAddr,
    /// Port to listen on when there is no `[[listener]]`; 0: any free one. Default 8080.
    pub port: u16,
    /// Reactors, each on its own thread; 0: one per core. At most 1,024.
    pub workers: usize,
    /// Connections at one time, over all workers and listeners: 1 to 16,777,216. Default 10,000.
    pub max_connections: usize,
    /// Bytes that a partial head or frame is first given: 1 KiB to 64 KiB. Default 4 KiB.
    pub buffer_size: usize,
    /// No byte for this long while a request is awaited on a new connection or being read. Default 30 s.
    pub read_timeout: Duration,
    /// No byte taken by the peer for this long. Default 30 s.
    pub write_timeout: Duration,
    /// How long a kept-alive connection may wait between requests. Default 60 s.
    pub idle_timeout: Duration,
    /// How long a drain may take before what is left is cut; 0: at once. Default 30 s.
    pub drain_timeout: Duration,
    /// How long listeners stay open after `/readyz` has turned 503. Default 0.
    pub drain_lag: Duration,
    /// Whether responses carry `server: evenkeel`; those of the metrics port never do. Default true.
    pub header_server: bool,
    /// Whether HTTP listeners answer `/healthz`, `/livez` and `/readyz` too, as the metrics port does; a route for the same path wins.
    /// Default false.
    pub health: bool,
    /// Peers whose `X-Forwarded-For` is believed, in the access log: networks, or whoever may open a Unix socket. Limits are for the
    /// peer, which is the proxy. Default none.
    pub trusted_proxies: Arc<[Peers]>,
    /// Folder of pages of the site's own for errors: `404.html` and the like, sent to clients that take HTML. Default none.
    pub error_pages: Option<PathBuf>,
    /// Unix socket for `evenkeel reload` and friends, mode 0600; `None`: one in the runtime folder.
    pub admin_socket: Option<PathBuf>,
}

impl Server {
    /// How many workers there are: as many as are said, or one per core.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Server {
            host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 8080,
            workers: 0,
            max_connections: 10_000,
            buffer_size: 4 * 1024,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            drain_lag: Duration::ZERO,
            header_server: true,
            health: false,
            trusted_proxies: Arc::default(),
            error_pages: None,
            admin_socket: None,
        }
    }
}

/// Where to listen or connect. Written `127.0.0.1:80`, `[::1]:80` or `unix:/run/x.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// IP address and port; port 0 means any free one.
    Tcp(SocketAddr),
    /// Path of a Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// Nobody can listen at both at once: they are the same, or one stands for the other, too, as `[::]` does for every address of the
    /// machine, and `0.0.0.0` for every one of IPv4. Those that leave the port to the system never overlap.
    pub fn overlaps(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Tcp(a), Address::Tcp(b)) => {
                let wild = |one: &SocketAddr, other: &SocketAddr| {
                    one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
                };
                a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || wild(a, b) || wild(b, a))
            }
            (Address::Unix(a), Address::Unix(b)) => a == b,
            (Address::Tcp(_), Address::Unix(_)) | (Address::Unix(_), Address::Tcp(_)) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[[listener]]`: one address on which HTTP is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// Whether connections begin with a TLS handshake. Default false.
    pub tls: bool,
    /// Whether a PROXY protocol header is required (true) or never read (false). Default false.
    pub proxy_protocol: bool,
}

/// `[limits]`. Sizes in bytes, rates in bytes a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Request line and fields: 1 KiB to 64 KiB, over it 431. Default 16 KiB.
    pub head_size: usize,
    /// Fields in a head: 1 to 128 ([`MAX_FIELDS`](crate::wire::limits::Limits::MAX_FIELDS)), over it 431. Default 100.
    pub head_fields: usize,
    /// The whole head, from its first byte: over it 408. Default 10 s.
    pub head_timeout: Duration,
    /// A request's body: over it 413; 0: no body. A route may say otherwise. Default 10 MiB.
    pub body_size: u64,
    /// A body that comes slower than this over 10 s gets 408; what came faster before counts, up to 20 s' worth. 0: off. Default 1 KiB/s.
    pub body_rate: u64,
    /// A peer that takes less than this over 30 s is closed; 0: off. Default 1 KiB/s.
    pub send_rate: u64,
    /// Budget for everything held for connections, at least 1 MiB, but no more than half of what the cgroup or `ulimit -v` allows; 0: a
    /// quarter of the machine or of those. Default 0.
    pub memory: u64,
    /// Connections of one client (IPv4 /32, IPv6 /64) at one time; 0: off. Default 256.
    pub per_client_connections: usize,
    /// Requests a second of one client; 0: off. Default 0.
    pub requests_per_second: u32,
    /// Requests above that rate which one client may save up. Default 0.
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_size: 16 * 1024,
            head_fields: 100,
            head_timeout: Duration::from_secs(10),
            body_size: 10 * 1024 * 1024,
            body_rate: 1024,
            send_rate: 1024,
            memory: 0,
            per_client_connections: 256,
            requests_per_second: 0,
            burst: 0,
        }
    }
}

/// `[tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether the listener of `[server]` speaks TLS. With `[[listener]]`s each says so for itself.
    pub enable: bool,
    /// PEM file with the certificate chain that is shown when no other fits the name. `None`: the first of
    /// `certificates`.
    pub cert: Option<PathBuf>,
    /// PEM file with its private key. Set exactly when `cert` is.
    pub key: Option<PathBuf>,
    /// The oldest version spoken. Default 1.2.
    pub min_version: TlsVersion,
    /// `[[tls.certificate]]`: more of them, chosen by the name in the client's hello (SNI).
    pub certificates: Arc<[Certificate]>,
    /// PEM file with the authorities whose client certificates are demanded; `None`: none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// `[[tls.certificate]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The name that it is shown for. Never [`HostPattern::Any`], nor an IP address, which no client names.
    pub host: HostPattern,
    /// PEM file with the chain.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Whether the endpoint (`/metrics`, `/healthz`, ...) is opened. Default true.
    pub enable: bool,
    /// Default `127.0.0.1`.
    pub host: IpAddr,
    /// Default 9090; 0: any free one.
    pub port: u16,
    /// Whether somebody asked for this port: only then is it fatal that it is taken.
    pub port_was_set: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { enable: true, host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 9090, port_was_set: false }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What diagnostics go to standard error. Default info.
    pub level: log::LevelFilter,
    /// Form of the access log. Default combined.
    pub access: AccessFormat,
    /// Where the access log goes: `None` for standard output (`"-"`), or a file that is appended to.
    pub access_path: Option<PathBuf>,
    /// Peers whose connections' lives are logged, whatever the level but off. Default none.
    pub debug_peers: Arc<[Peers]>,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            level: log::LevelFilter::Info,
            access: AccessFormat::Combined,
            access_path: None,
            debug_peers: Arc::default(),
        }
    }
}

/// Form of the access log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// None is written.
    Off,
    /// The Common Log Format.
    Common,
    /// Common, with referer and user agent.
    #[default]
    Combined,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_of_ipv4_stands_for_ipv4_and_one_of_ipv6_for_both() {
        let at = |text: &str| Address::Tcp(text.parse().unwrap());
        let overlap = |one: &str, other: &str| {
            let both = [at(one).overlaps(&at(other)), at(other).overlaps(&at(one))];
            assert_eq!(both[0], both[1], "{one} {other}");
            both[0]
        };
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80") && overlap("[::]:80", "[::1]:80"));
        assert!(overlap("[::]:80", "127.0.0.1:80") && overlap("[::]:80", "0.0.0.0:80"));
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80") && !overlap("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80") && !overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(
            !overlap("0.0.0.0:80", "0.0.0.0:81") && !at("0.0.0.0:80").overlaps(&Address::Unix("x".into()))
        );
    }
}
