//! Whether what a configuration names on disk is there and can be read: what starting would find out.

use std::fs::{metadata, read_dir, symlink_metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::error::{Error, Origin, Reason};
use super::{Config, ItemOrigins, Loaded};
use crate::reactor::net::os::calendar;
use crate::server;
use crate::server::settings::{AccessFormat, Action, Address};
use crate::server::tls::{self, Named, Tickets, TlsError};

impl Loaded {
    /// Looks at every folder and every certificate that is used, and at where logs and sockets are to be. Each that is missing or may
    /// not be read is an error that says what, where, and what to do. Touches nothing.
    pub fn check_disk(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        for (route, origins) in self.config.routes.iter().zip(&self.routes) {
            if let Action::Files(files) = &route.action
                && let Some(reason) = unreadable(&files.root)
            {
                let (place, key) = match &origins.at {
                    Origin::Flag(flag) => (Origin::Flag(flag), String::new()),
                    _ => (origins.of("files"), format!("{}.files", origins.name)),
                };
                errors.push(Error { place, key, reason });
            }
        }
        if let Some(pages) = &self.config.server.error_pages {
            let wrong = match read_dir(pages) {
                Ok(_) => server::pages(pages).err().map(|error| Reason::Unusable {
                    denied: error.kind() == io::ErrorKind::PermissionDenied,
                    what: error.to_string(),
                }),
                Err(error) => Some(folder(pages, &error)),
            };
            let (place, key) = (self.origin("server.error_pages"), "server.error_pages".to_owned());
            errors.extend(wrong.map(|reason| Error { place, key, reason }));
        }
        errors.extend(self.places_on_disk());
        errors.extend(self.certificates_on_disk().err().unwrap_or_default());
        errors
    }

    /// Where files are to be made that cannot be made there: logs and sockets.
    fn places_on_disk(&self) -> Vec<Error> {
        let Config { server, log, listeners, tcp, .. } = &self.config;
        let scalar = |key: &str| (self.origin(key), key.to_owned());
        let of = |origins: &ItemOrigins, key| (origins.of(key), format!("{}.{key}", origins.name));
        let admin = server.admin_socket.iter().map(|path| (path, scalar("server.admin_socket")));
        let log = log.access_path.iter().filter(|_| log.access != AccessFormat::Off);
        let log = log.map(|path| (Made::Log, (path, scalar("log.access_path"))));
        let listeners =
            listeners.iter().zip(&self.listeners).map(|(one, at)| (&one.address, of(at, "address")));
        let tcp = tcp.iter().zip(&self.tcp).map(|(one, at)| (&one.listen, of(at, "listen")));
        let sockets = listeners.chain(tcp).filter_map(|(address, said)| match address {
            Address::Unix(path) => Some((path, said)),
            Address::Tcp(_) => None,
        });
        let socket = |named| (Made::Socket, named);
        let wrong = |(made, (path, (place, key))): (Made, (&PathBuf, (Origin, String)))| {
            Some(Error { place, key, reason: unmakeable(path, made)? })
        };
        admin.map(socket).chain(log).chain(sockets.map(socket)).filter_map(wrong).collect()
    }

    /// Certificates that have expired, are not valid yet, or are for another host. A server starts with them; whoever looks before it
    /// does wants to know.
    pub fn doubtful(&self) -> Vec<Error> {
        self.certificates_on_disk().unwrap_or_default()
    }

    /// Whether certificates and keys can be used, and which are doubtful: each with the place that named it.
    fn certificates_on_disk(&self) -> Result<Vec<Error>, Vec<Error>> {
        if !self.config.http_listeners().iter().any(|listener| listener.tls) {
            return Ok(Vec::new());
        }
        let loaded = Tickets::new().map_err(|_| Vec::new());
        let loaded = loaded.and_then(|tickets| tls::load(&self.config.tls, calendar(), &tickets));
        let placed = |error: TlsError| {
            let of = |i: usize, key: &'static str| match self.certificates.get(i) {
                Some(origins) => (origins.of(key), format!("{}.{key}", origins.name)),
                None => (Origin::Default, key.to_owned()),
            };
            let (place, key) = match error.named {
                Named::Cert => (self.origin("tls.cert"), "tls.cert".to_owned()),
                Named::Key => (self.origin("tls.key"), "tls.key".to_owned()),
                Named::ClientCa => (self.origin("tls.client_ca"), "tls.client_ca".to_owned()),
                Named::Whole => (self.origin("tls.enable"), "tls.enable".to_owned()),
                Named::CertOf(i) => of(i, "cert"),
                Named::KeyOf(i) => of(i, "key"),
            };
            let reason = Reason::Unusable { denied: error.denied, what: error.what };
            Error { place, key, reason }
        };
        let all = |errors: Vec<TlsError>| errors.into_iter().map(placed).collect();
        loaded.map(|loaded| all(loaded.doubtful)).map_err(all)
    }
}

/// What a configuration has made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// A file that is appended to.
    Log,
    /// The file of a listening socket.
    Socket,
}

/// Why it cannot be made or written to there, as far as it can be told without trying.
fn unmakeable(path: &Path, made: Made) -> Option<Reason> {
    let shown = super::error::shown(&path.to_string_lossy());
    let unusable = |what| Some(Reason::Unusable { denied: false, what });
    // A log is opened through a link; a socket is not made through one.
    let found = match made {
        Made::Log => metadata(path),
        Made::Socket => symlink_metadata(path),
    };
    match found {
        Ok(found) if found.is_dir() => unusable(format!("{shown} is a folder; name a file in it")),
        Ok(found) if made == Made::Socket && !found.file_type().is_socket() => {
            unusable(format!("{shown} is there and is no socket; move it away or name another"))
        }
        // Our own, that of a server before us, or one that is handed over: then this user need not be able to make it.
        Ok(_) if made == Made::Socket => None,
        Ok(_) => unwritable("file", path, Access::WRITE_OK),
        // A link to where nothing is yet: what is made is made there.
        Err(_) if path.is_symlink() => None,
        Err(_) => {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            let above = above.unwrap_or(Path::new("."));
            match metadata(above) {
                Ok(found) if !found.is_dir() => Some(folder(above, &io::ErrorKind::NotADirectory.into())),
                Ok(_) => unwritable("folder", above, Access::WRITE_OK | Access::EXEC_OK),
                Err(error) => Some(folder(above, &error)),
            }
        }
    }
}

/// Why the user who runs this may not do that with what is there.
fn unwritable(kind: &str, path: &Path, access: Access) -> Option<Reason> {
    let shown = super::error::shown(&path.to_string_lossy());
    let (denied, what) = match accessat(CWD, path, access, AtFlags::EACCESS) {
        Err(Errno::ACCESS) => {
            (true, format!("this user may not write to the {kind} {shown}; change its mode or owner"))
        }
        Err(Errno::ROFS) => {
            (false, format!("the {kind} {shown} is on a read-only file system; name another place"))
        }
        // Where the call itself is forbidden, nothing is known: that is no reason to refuse.
        Ok(()) | Err(_) => return None,
    };
    Some(Reason::Unusable { denied, what })
}

/// Why files in a folder cannot be sent. One whose list may be read may still not be entered (mode 644): then none of them may be opened.
fn unreadable(path: &Path) -> Option<Reason> {
    if let Err(error) = read_dir(path) {
        return Some(folder(path, &error));
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Err(Errno::ACCESS) => {
            let shown = super::error::shown(&path.to_string_lossy());
            let what =
                format!("this user may not enter the folder {shown}; change its mode (chmod a+x) or owner");
            Some(Reason::Unusable { denied: true, what })
        }
        Ok(()) | Err(_) => None,
    }
}

fn folder(path: &Path, error: &io::Error) -> Reason {
    let shown = super::error::shown(&path.to_string_lossy());
    let (denied, what) = match error.kind() {
        io::ErrorKind::NotFound => (false, format!("there is no folder {shown}; create it or name another")),
        io::ErrorKind::NotADirectory => {
            (false, format!("{shown} is not a folder; name the folder that it is in"))
        }
        io::ErrorKind::PermissionDenied => {
            (true, format!("this user may not read the folder {shown}; change its mode or owner"))
        }
        _ => (false, format!("the folder {shown} cannot be read: {error}")),
    };
    Reason::Unusable { denied, what }
}
