//! Certificates: from the settings and the files they name to what a handshake is played by.
//!
//! 1. Everything is read and judged before anything is used: [`load`] gives all that is wrong, each with its file and what to do.
//! 2. What is running is replaced as a whole ([`Store::replace`]); a handshake under way keeps what it began with.
//! 3. Only suites with forward secrecy and authenticated encryption are spoken (ECDHE with AES-GCM or ChaCha20), in our order;
//!    nothing before TLS 1.2.
//! 4. Sessions are resumed by tickets (RFC 8446, section 4.6.1) under keys that change every six hours, shared by all workers;
//!    nothing is stored for them.

mod pem;
mod validity;

use super::settings::{HostPattern, Tls, TlsVersion};
use pem::read_pair;
use rustls::crypto::ring;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::CertificateDer;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The settings that name files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// `tls.cert`
    Cert,
    /// `tls.key`
    Key,
    /// `tls.client_ca`
    ClientCa,
    /// `cert` of the certificate at this place in the list.
    CertOf(usize),
    /// `key` of the certificate at this place in the list.
    KeyOf(usize),
    /// None: no certificate is named at all, or rustls refuses all of it.
    Whole,
}

/// What is wrong with a certificate or a key. Prints as one sentence that says which file, why, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsError {
    /// The setting that named it.
    pub named: Named,
    /// The file.
    pub path: PathBuf,
    /// It is there, and this user may not read it.
    pub denied: bool,
    /// The sentence.
    pub what: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// When a certificate ends, for the metric and for warnings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// The host it is for, as configured; `*` for the one that is shown when no other fits.
    pub host: String,
    /// The end of its validity.
    pub not_after: SystemTime,
}

/// What came of loading.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What handshakes are played by.
    pub config: Arc<ServerConfig>,
    /// The ends of all certificates.
    pub expiries: Vec<Expiry>,
    /// Certificates that most clients will not have: they have expired, are not valid yet, or are not for the host that they are
    /// configured for. They are shown all the same. The clock of a small machine may be set only later, and whoever restarts a server
    /// in an outage must not find that a certificate which nobody renewed keeps the rest from being served.
    pub doubtful: Vec<TlsError>,
}

/// The keys that session tickets are sealed with. Kept over reloads, so that sessions are resumed after one.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys. Fails only if the operating system has no randomness.
    pub fn new() -> Result<Tickets, rustls::Error> {
        ring::Ticketer::new().map(Tickets)
    }
}

/// The operating system gave no randomness.
pub(super) fn no_randomness(error: rustls::Error) -> Vec<TlsError> {
    let what = format!("TLS cannot begin: {error}");
    vec![TlsError { named: Named::Whole, path: PathBuf::new(), denied: false, what }]
}

/// What handshakes are played by now, shared by all workers.
#[derive(Debug)]
pub struct Store(Mutex<Arc<ServerConfig>>);

impl Store {
    /// Begins with this.
    pub fn new(config: Arc<ServerConfig>) -> Store {
        Store(Mutex::new(config))
    }

    /// For the next handshake.
    pub fn get(&self) -> Arc<ServerConfig> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From the next handshake on.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

/// Reads and judges everything that the settings name. All errors at once, doubtful certificates among them, which
/// alone are no error.
pub fn load(tls: &Tls, now: SystemTime, tickets: &Tickets) -> Result<Loaded, Vec<TlsError>> {
    let (mut errors, mut expiries, mut doubtful) = (Vec::new(), Vec::new(), Vec::new());
    let mut pair =
        |host: String, names: (Named, Named), cert: &Path, key: &Path| match read_pair(names, cert, key, now)
        {
            Ok(pair) => {
                expiries.push(Expiry { host, not_after: pair.not_after });
                doubtful.extend(pair.doubtful);
                Some(Arc::new(pair.certified))
            }
            Err(wrong) => {
                errors.extend(wrong);
                None
            }
        };
    let mut names = Names::default();
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        names.default = pair("*".into(), (Named::Cert, Named::Key), cert, key);
    }
    let mut strange = Vec::new();
    for (i, one) in tls.certificates.iter().enumerate() {
        let named = (Named::CertOf(i), Named::KeyOf(i));
        if let Some(certified) = pair(shown(&one.host), named, &one.cert, &one.key) {
            strange.extend(pem::strange(&one.host, &certified, named.0, &one.cert));
            names.add(&one.host, certified);
        }
    }
    doubtful.extend(strange);
    let authorities = match &tls.client_ca {
        Some(path) => pem::authorities(path).map(Some).map_err(|error| errors.push(error)).ok(),
        None => Some(None),
    };
    if errors.is_empty() && names.default.is_none() {
        let what = "TLS needs a certificate: set tls.cert and tls.key, or add a [[tls.certificate]]".into();
        errors.push(TlsError { named: Named::Whole, path: PathBuf::new(), denied: false, what });
    }
    match (errors.is_empty(), authorities) {
        (true, Some(authorities)) => match rules(tls, names, authorities, tickets) {
            Ok(config) => Ok(Loaded { config: Arc::new(config), expiries, doubtful }),
            Err(what) => {
                let path = tls.client_ca.clone().unwrap_or_default();
                Err(vec![TlsError { named: Named::ClientCa, path, denied: false, what }])
            }
        },
        // Whoever has to mend something is told of all there is to mend.
        (true | false, _) => Err([errors, doubtful].concat()),
    }
}

/// A host as it is configured.
fn shown(host: &HostPattern) -> String {
    match host {
        HostPattern::Any => "*".into(),
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Below(name) => format!("*.{name}"),
    }
}

fn rules(
    tls: &Tls,
    names: Names,
    authorities: Option<RootCertStore>,
    tickets: &Tickets,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[&SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(
                    |error| format!("client certificates cannot be checked with what it holds: {error}"),
                )?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(names));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A session that was agreed under other authorities must not be resumed under these.
    config.ticketer = match tls.client_ca {
        None => tickets.0.clone(),
        Some(_) => ring::Ticketer::new().map_err(|error| error.to_string())?,
    };
    Ok(config)
}

/// Which certificate is shown for which name.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    below: HashMap<Box<str>, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Names {
    fn add(&mut self, host: &HostPattern, certified: Arc<CertifiedKey>) {
        if self.default.is_none() {
            self.default = Some(certified.clone());
        }
        match host {
            HostPattern::Any => self.default = Some(certified),
            HostPattern::Exact(name) => drop(self.exact.insert(name.clone(), certified)),
            HostPattern::Below(name) => drop(self.below.insert(name.clone(), certified)),
        }
    }

    /// The exact name, else the nearest `*.` above it, else the default.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return self.default.clone() };
        if let Some(found) = self.exact.get(name.as_str()) {
            return Some(found.clone());
        }
        let mut rest = name.as_str();
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(found) = self.below.get(above) {
                return Some(found.clone());
            }
            rest = above;
        }
        self.default.clone()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// The roots in a list of certificates; which of them is not one is said by its place.
fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (i, certificate) in certificates.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| format!("certificate {} in it: {error}", i + 1))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
