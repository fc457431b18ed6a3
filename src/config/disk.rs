//! Whether what a configuration names on disk is there and can be read: what starting would find out.

use std::fs::read_dir;
use std::io;
use std::path::Path;

use super::Loaded;
use super::error::{Error, Origin, Reason};
use crate::reactor::net::os::calendar;
use crate::server;
use crate::server::settings::Action;
use crate::server::tls::{self, Named, Tickets, TlsError};

impl Loaded {
    /// Looks at every folder and every certificate that is used. Each that is missing or may not be read is an error
    /// that says what, where, and what to do. Touches nothing.
    pub fn check_disk(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        for (route, origins) in self.config.routes.iter().zip(&self.routes) {
            if let Action::Files(files) = &route.action
                && let Err(error) = read_dir(&files.root)
            {
                let (place, key) = match &origins.at {
                    Origin::Flag(flag) => (Origin::Flag(flag), String::new()),
                    _ => (origins.of("files"), format!("{}.files", origins.name)),
                };
                let reason = folder(&files.root, &error);
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
        if self.config.http_listeners().iter().any(|listener| listener.tls) {
            errors.extend(self.certificates_on_disk());
        }
        errors
    }

    /// Everything that is wrong with certificates and keys, each with the place that named it.
    fn certificates_on_disk(&self) -> Vec<Error> {
        let loaded = Tickets::new().map_err(|_| Vec::new());
        let wrong = match loaded.and_then(|tickets| tls::load(&self.config.tls, calendar(), &tickets)) {
            Ok(_) => Vec::new(),
            Err(wrong) => wrong,
        };
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
        wrong.into_iter().map(placed).collect()
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
