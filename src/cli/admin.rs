//! The admin socket: where it is, and `evenkeel reload`, which speaks to it.

use super::args::Options;
use super::{EXIT_DENIED, EXIT_FAILED, EXIT_FINE, World, refuse};
use crate::config::{self, Env, Flags, Source};
use crate::reactor::OsListener;
use crate::server::CONFIG_FIELD;
use crate::server::settings::Config;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whoever may open it may order the server about.
const MODE: u32 = 0o600;
/// A reload may have to wait for a disk and for every worker.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any answer has.
const ANSWER_MAX: u64 = 1 << 20;

/// Where it may be: as configured, or in the first runtime folder that there is.
fn places(configured: Option<PathBuf>, env: &dyn Env) -> Vec<PathBuf> {
    if let Some(path) = configured {
        return vec![path];
    }
    // An empty variable would mean the working folder, which may be the one that is served.
    let folder = |name| env.var(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let mut places = Vec::new();
    if let Some(folders) = folder("RUNTIME_DIRECTORY") {
        places.extend(
            folders.to_str().and_then(|all| all.split(':').next()).map(|one| Path::new(one).join(SOCKET)),
        );
    }
    places.push(Path::new("/run/evenkeel").join(SOCKET));
    places.extend(folder("XDG_RUNTIME_DIR").map(|folder| folder.join("evenkeel-admin.sock")));
    places
}

const SOCKET: &str = "admin.sock";

/// Opens it. One that was asked for and cannot be had is an error; without one that was not, signals still work.
pub(super) fn listen(config: &Config, env: &dyn Env) -> io::Result<Option<OsListener>> {
    let places = places(config.server.admin_socket.clone(), env);
    for path in &places {
        match OsListener::unix(path, MODE) {
            Ok(listener) => {
                log::info!("admin socket: {}", path.display());
                return Ok(Some(listener));
            }
            Err(error) if config.server.admin_socket.is_some() => {
                let why = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another server answers there; stop it, or name another".into()
                    }
                    _ => error.to_string(),
                };
                return Err(io::Error::new(
                    error.kind(),
                    format!("server.admin_socket {}: {why}", path.display()),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let path = path.display();
                log::warn!(
                    "no admin socket at {path}, where something answers already: `evenkeel reload` is for that one, unless \
                     server.admin_socket says another place"
                );
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                log::warn!("no admin socket at {}: {error}", path.display());
            }
            Err(error) => log::debug!("no admin socket at {}: {error}", path.display()),
        }
    }
    Ok(None)
}

/// `evenkeel reload`. What is wrong with the file is said here; the server is asked all the same: it knows what it reads, and
/// counts and logs what it refused.
pub(super) fn reload(options: &Options, world: &mut World<'_>) -> u8 {
    let source = match Source::open(options.config.as_deref(), world.default_file, world.stdin) {
        Ok(source) => Ok(source),
        Err(errors) => Err(refuse(&errors, world)),
    };
    let seen = source.as_ref().ok().and_then(Option::as_ref);
    let flags = Flags { settings: options.settings(), dir: None };
    let good = match &source {
        Ok(source) => match config::load(source.as_ref(), world.env, &flags) {
            Ok(_) => None,
            Err(errors) => Some(refuse(&errors, world)),
        },
        Err(code) => Some(*code),
    };
    let asked = places(config::admin_socket(seen, world.env), world.env);
    match (connect(&asked), good) {
        (Ok(stream), said) => order(stream, options.config.as_deref(), said, world),
        (Err(_), Some(code)) => code,
        (Err((path, error)), None) => {
            let hint = "is the server running, and as which user? It keeps the place that it was started with: if the file says \
                        another server.admin_socket by now, restart it; if only a variable told it, `kill -HUP` reloads it, too";
            let _ = writeln!(world.stderr, "error: no server answers at {}: {error}; {hint}", path.display());
            if error.kind() == io::ErrorKind::PermissionDenied { EXIT_DENIED } else { EXIT_FAILED }
        }
    }
}

/// Why a server that lives by the file `own` is not the one that is to read `meant` again. Compared as they are called, and as what they
/// lead to now.
pub(super) fn mistaken(own: Option<&Path>, meant: &Path) -> Option<String> {
    let own = own.map(|own| std::path::absolute(own).unwrap_or_else(|_| own.into()));
    let is_same = own.as_deref().is_some_and(|own| {
        let led_to = |path: &Path| std::fs::canonicalize(path).ok();
        own == meant || led_to(own).is_some_and(|own| led_to(meant) == Some(own))
    });
    let own = own.map_or_else(|| "no file that was named to it".to_owned(), |own| own.display().to_string());
    (!is_same).then(|| {
        format!(
            "the server that answers here lives by {own}, not by {}: give each a server.admin_socket of its own, or `kill -HUP`",
            meant.display()
        )
    })
}

/// The first place at which a server answers, or what was wrong with the likeliest one.
fn connect(places: &[PathBuf]) -> Result<UnixStream, (&Path, io::Error)> {
    let mut failed = None;
    for path in places {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::NotFound && failed.is_some() => {}
            Err(error) => failed = Some((path.as_path(), error)),
        }
    }
    Err(failed.unwrap_or((Path::new(SOCKET), io::ErrorKind::NotFound.into())))
}

/// Asks the server. `said`: the code for what was found wrong here, which has been said: the server's answer is of interest where it
/// is another.
fn order(stream: UnixStream, config: Option<&Path>, said: Option<u8>, world: &mut World<'_>) -> u8 {
    let _ = match ask(stream, config) {
        Ok((true, text)) => {
            if said.is_some() {
                let other = "the server reads another configuration, and took it over";
                let _ = writeln!(world.stderr, "warning: {other}");
            }
            let _ = write!(world.stdout, "{text}");
            return EXIT_FINE;
        }
        Ok((false, _)) if said.is_some() => {
            writeln!(world.stderr, "the server has refused it and runs on as before")
        }
        Ok((false, text)) => write!(world.stderr, "error: {text}"),
        Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind()) => {
            let seconds = PATIENCE.as_secs();
            writeln!(
                world.stderr,
                "error: the server has not answered for {seconds} s; its log will say what came of it"
            )
        }
        Err(error) => writeln!(world.stderr, "error: the server did not answer: {error}"),
    };
    said.unwrap_or(EXIT_FAILED)
}

/// `config`: the file that is meant; without one the server reads whatever it lives by.
fn ask(mut stream: UnixStream, config: Option<&Path>) -> io::Result<(bool, String)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let meant = config.filter(|path| *path != Path::new("-")).map(std::path::absolute).transpose()?;
    let meant = meant.map_or_else(String::new, |path| {
        let path =
            percent_encoding::percent_encode(path.as_os_str().as_bytes(), percent_encoding::NON_ALPHANUMERIC);
        format!("{CONFIG_FIELD}: {path}\r\n")
    });
    let request = format!(
        "POST /reload HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n{meant}connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, text) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((head.starts_with("HTTP/1.1 200 "), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn only_an_absolute_folder_is_a_runtime_folder() {
        let with = |runtime: &str, user: &str| -> Vec<String> {
            let env: BTreeMap<String, String> = [("RUNTIME_DIRECTORY", runtime), ("XDG_RUNTIME_DIR", user)]
                .map(|(k, v)| (k.into(), v.into()))
                .into();
            places(None, &env).iter().map(|place| place.display().to_string()).collect()
        };
        let usual = "/run/evenkeel/admin.sock";
        assert_eq!(
            with("/run/a:/run/b", "/run/user/1"),
            ["/run/a/admin.sock", usual, "/run/user/1/evenkeel-admin.sock"]
        );
        assert_eq!((with("", ""), with("a", "./b")), (vec![usual.to_owned()], vec![usual.to_owned()]));
    }
}
