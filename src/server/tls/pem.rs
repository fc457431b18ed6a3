//! PEM files: read, judged, and told apart. Every complaint names the file and what to do.

use super::validity::{Validity, date};
use super::{Named, TlsError, roots};
use crate::server::settings::HostPattern;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Most bytes of a PEM file: a chain or a list of authorities is far smaller.
const MOST: u64 = 4 << 20;

/// A path as it is shown to people.
fn shown(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

fn wrong(named: Named, path: &Path, what: String) -> TlsError {
    TlsError { named, path: path.to_owned(), denied: false, what }
}

fn read(named: Named, path: &Path) -> Result<Vec<u8>, TlsError> {
    let contents = std::fs::metadata(path).and_then(|found| match found {
        found if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        // Opening it could wait for ever, and a device has no end.
        found if !found.is_file() => {
            Err(io::Error::other("it is a pipe or a device, which can be read but once; put it into a file"))
        }
        found if found.len() > MOST => Err(io::ErrorKind::FileTooLarge.into()),
        _ => std::fs::read(path),
    });
    contents.map_err(|error| {
        let shown = shown(path);
        let (denied, what) = match error.kind() {
            io::ErrorKind::NotFound => {
                (false, format!("there is no file {shown}; create it or name another"))
            }
            io::ErrorKind::PermissionDenied => {
                (true, format!("this user may not read {shown}; change its mode or owner"))
            }
            _ => (false, format!("{shown} cannot be read: {error}")),
        };
        TlsError { named, path: path.to_owned(), denied, what }
    })
}

fn mentions(contents: &[u8], word: &str) -> bool {
    memchr::memmem::find(contents, word.as_bytes()).is_some()
}

fn chain(named: Named, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let contents = read(named, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents).collect();
    let shown = shown(path);
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) if mentions(&contents, "PRIVATE KEY-----") => Err(wrong(
            named,
            path,
            format!("{shown} holds a private key and no certificate; are the two files exchanged?"),
        )),
        Ok(_) => Err(wrong(
            named,
            path,
            format!("{shown} holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----"),
        )),
        Err(error) => Err(wrong(named, path, format!("{shown} is not sound PEM: {error:?}"))),
    }
}

fn key(named: Named, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let contents = read(named, path)?;
    let shown = shown(path);
    PrivateKeyDer::from_pem_slice(&contents).map_err(|error| {
        let what = if mentions(&contents, "ENCRYPTED") {
            format!("the key in {shown} is encrypted; decrypt it with `openssl pkey -in FILE -out NEW`")
        } else if mentions(&contents, "BEGIN CERTIFICATE-----") {
            format!("{shown} holds a certificate and no private key; are the two files exchanged?")
        } else if matches!(error, rustls_pki_types::pem::Error::NoItemsFound) {
            format!("{shown} holds no private key; it must be PEM, with -----BEGIN PRIVATE KEY-----")
        } else {
            format!("{shown} is not sound PEM: {error:?}")
        };
        wrong(named, path, what)
    })
}

/// A certificate with its key.
pub(super) struct Pair {
    pub certified: CertifiedKey,
    /// When the certificate ends.
    pub not_after: SystemTime,
    /// Parts of the chain that are out of their time.
    pub doubtful: Vec<TlsError>,
}

/// Reads both and judges them.
pub(super) fn read_pair(
    (cert_name, key_name): (Named, Named),
    cert_path: &Path,
    key_path: &Path,
    now: SystemTime,
) -> Result<Pair, Vec<TlsError>> {
    let (chain, key) = match (chain(cert_name, cert_path), key(key_name, key_path)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let (mut errors, mut doubtful) = (Vec::new(), Vec::new());
    let (cert_shown, key_shown) = (shown(cert_path), shown(key_path));
    let mut not_after = SystemTime::UNIX_EPOCH;
    for (i, certificate) in chain.iter().enumerate() {
        let which = if i == 0 { String::new() } else { format!(" (certificate {} of the chain)", i + 1) };
        let said = |what| wrong(cert_name, cert_path, format!("{cert_shown}{which} {what}"));
        let Some(validity) = Validity::of(certificate) else {
            errors.push(said("is not an X.509 certificate".into()));
            continue;
        };
        if validity.not_after < now {
            doubtful.push(said(format!("expired on {}; renew it", date(validity.not_after))));
        } else if validity.not_before > now {
            let from = date(validity.not_before);
            doubtful.push(said(format!("is not valid before {from}; is the clock right?")));
        }
        if i == 0 {
            not_after = validity.not_after;
        }
    }
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(certified) if errors.is_empty() => return Ok(Pair { certified, not_after, doubtful }),
        Ok(_) => {}
        Err(Error::InconsistentKeys(_)) => {
            let what = format!("the key in {key_shown} does not belong to the certificate in {cert_shown}");
            errors.push(wrong(key_name, key_path, what));
        }
        Err(Error::InvalidCertificate(error)) if errors.is_empty() => {
            let what = format!("the certificate in {cert_shown} is not sound: {error:?}");
            errors.push(wrong(cert_name, cert_path, what));
        }
        Err(Error::InvalidCertificate(_)) => {}
        Err(error) => {
            let what = format!(
                "the key in {key_shown} cannot be used: {error}; ECDSA (P-256, P-384), Ed25519 and RSA (2048 \
                 bits and more) can"
            );
            errors.push(wrong(key_name, key_path, what));
        }
    }
    Err([errors, doubtful].concat())
}

/// A certificate that is not for the one host that it is configured for. Of a pattern there is no telling: it may have all the names
/// that are in use below it.
pub(super) fn strange(
    host: &HostPattern,
    certified: &CertifiedKey,
    named: Named,
    path: &Path,
) -> Option<TlsError> {
    let HostPattern::Exact(host) = host else { return None };
    let certificate = ParsedCertificate::try_from(certified.end_entity_cert().ok()?).ok()?;
    let name = ServerName::try_from(&**host).ok()?;
    verify_server_name(&certificate, &name).err()?;
    Some(wrong(named, path, format!("{} is not for {host}; name the one that is", shown(path))))
}

/// The authorities that client certificates must come from.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let certificates = chain(Named::ClientCa, path)?;
    let said = |what| wrong(Named::ClientCa, path, format!("{}: {what}", shown(path)));
    roots(certificates).map_err(said)
}
