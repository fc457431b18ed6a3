//! Whether what a configuration names on disk is there and can be read: what starting would find out.

use std::fs::{File, read_dir};
use std::io;
use std::path::Path;

use super::Loaded;
use super::error::{Error, Origin, Reason};
use crate::server::settings::Action;

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
        if self.config.http_listeners().iter().any(|listener| listener.tls) {
            let tls = &self.config.tls;
            for (key, path) in
                [("tls.cert", &tls.cert), ("tls.key", &tls.key), ("tls.client_ca", &tls.client_ca)]
            {
                if let Some(path) = path {
                    errors.extend(readable(path, self.origin(key), key.to_owned()));
                }
            }
            for (one, origins) in tls.certificates.iter().zip(&self.certificates) {
                for (key, path) in [("cert", &one.cert), ("key", &one.key)] {
                    let name = format!("{}.{key}", origins.name);
                    errors.extend(readable(path, origins.of(key), name));
                }
            }
        }
        errors
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

fn readable(path: &Path, place: Origin, key: String) -> Option<Error> {
    let error = match File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_dir() => io::ErrorKind::IsADirectory.into(),
        Ok(_) => return None,
        Err(error) => error,
    };
    let shown = super::error::shown(&path.to_string_lossy());
    let (denied, what) = match error.kind() {
        io::ErrorKind::NotFound => (false, format!("there is no file {shown}; create it or name another")),
        io::ErrorKind::PermissionDenied => {
            (true, format!("this user may not read {shown}; change its mode or owner"))
        }
        _ => (false, format!("{shown} cannot be read: {error}")),
    };
    Some(Error { place, key, reason: Reason::Unusable { denied, what } })
}
