//! Listening sockets: those that a supervisor hands over, or new ones.

use super::run::RunError;
use super::settings::{Address, Config};
use crate::reactor::Target;
use crate::reactor::net::os::OsListener;
use std::io;
use std::net::SocketAddr;

/// The setting that says the addresses of HTTP listeners.
pub(super) fn said_by(config: &Config) -> &'static str {
    match config.listeners.is_empty() {
        true => "--port",
        false => "[[listener]] address",
    }
}

/// Sockets that a supervisor handed over. They are kept, served or not: it holds them on, so that nobody else can have their addresses,
/// and one may be configured later, or again.
#[derive(Debug, Default)]
pub(super) struct Handed(Vec<(OsListener, bool)>);

impl Handed {
    /// None is served yet.
    pub(super) fn new(sockets: Vec<OsListener>) -> Handed {
        Handed(sockets.into_iter().map(|socket| (socket, false)).collect())
    }

    /// Those that nobody serves.
    pub(super) fn unserved(&self) -> impl Iterator<Item = &OsListener> {
        self.0.iter().filter(|(_, served)| !served).map(|(socket, _)| socket)
    }

    /// The one at this address, if there is one, is served from now on, or no longer. Says whether there is one for which that is new.
    pub(super) fn set_served(&mut self, at: &Address, served: bool) -> bool {
        let changes = |(socket, was): &&mut (OsListener, bool)| {
            *was != served && address(socket).is_ok_and(|here| here == *at)
        };
        let found = self.0.iter_mut().find(changes);
        found.map(|(_, was)| *was = served).is_some()
    }
}

/// One of those that were handed over and are not served, or a new one. `by`: the setting that says which.
pub(super) fn bind(handed: &Handed, at: &Address, by: &'static str) -> Result<OsListener, RunError> {
    let here = handed.unserved().find(|one| address(one).is_ok_and(|here| here == *at));
    if let Some(here) = here {
        return here.try_clone().map_err(|error| RunError::Listen(at.clone(), by, error));
    }
    let bound = match at {
        Address::Tcp(at) => OsListener::tcp(*at),
        Address::Unix(path) => OsListener::unix(path, 0o660),
    };
    bound.map_err(|error| {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        let error = if taken { held_by(handed, at).unwrap_or(error) } else { error };
        RunError::Listen(at.clone(), by, error)
    })
}

/// The port is held by a socket that was handed over for another address, as systemd's `ListenStream=8080` is for `[::]:8080`: no other
/// program is to be stopped.
fn held_by(handed: &Handed, at: &Address) -> Option<io::Error> {
    let Address::Tcp(_) = at else { return None };
    // One at this very address is served already.
    let stands_in_the_way = |here: &Address| here != at && here.overlaps(at);
    let here = handed.0.iter().filter_map(|(one, _)| address(one).ok()).find(stands_in_the_way)?;
    let what = format!(
        "{here} was handed over and holds the port; configure that address, or have {at} handed over"
    );
    Some(io::Error::new(io::ErrorKind::AddrInUse, what))
}

/// The metrics port is 9090 for everybody unless somebody says otherwise: then one that is taken is no reason not to serve.
pub(super) fn metrics_listener(config: &Config, handed: &mut Handed) -> Result<Option<OsListener>, RunError> {
    if !config.metrics.enable {
        return Ok(None);
    }
    let at = Address::Tcp(SocketAddr::new(config.metrics.host, config.metrics.port));
    match bind(handed, &at, "metrics.port (METRICS_PORT)") {
        Ok(listener) => {
            if let Ok(at) = address(&listener) {
                handed.set_served(&at, true);
                log::info!("metrics at {at}");
            }
            Ok(Some(listener))
        }
        Err(error) if config.metrics.port_was_set => Err(error),
        Err(error) => {
            log::warn!("no metrics: {error}");
            Ok(None)
        }
    }
}

pub(super) fn address(listener: &OsListener) -> io::Result<Address> {
    Ok(match listener.local_addr()? {
        Target::Tcp(at) => Address::Tcp(at),
        Target::Unix(path) => Address::Unix(path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::settings::Listener;

    fn any() -> Address {
        Address::Tcp(SocketAddr::from(([0, 0, 0, 0], 8080)))
    }

    #[test]
    fn the_advice_for_a_port_that_is_taken_names_the_setting_that_is_in_force() {
        let mut config = Config::default();
        assert_eq!(said_by(&config), "--port");
        config.listeners = [Listener { address: any(), tls: false, proxy_protocol: false }].into();
        assert_eq!(said_by(&config), "[[listener]] address", "with one --port is not used");
    }

    #[test]
    fn a_port_that_another_handed_over_address_holds_is_not_blamed_on_another_program() {
        let handed = OsListener::tcp(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
        let here = handed.tcp_addr().unwrap();
        let at = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], here.port())));
        let said = bind(&Handed::new(vec![handed]), &at, "--port").unwrap_err().to_string();
        assert!(said.contains(&format!("{here} was handed over")) && !said.contains("program"), "{said}");
    }

    #[test]
    fn a_socket_that_was_handed_over_for_another_address_is_not_blamed_for_another_program() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = other.local_addr().unwrap();
        let handed = OsListener::tcp(SocketAddr::from(([127, 0, 0, 2], at.port()))).unwrap();
        let said = bind(&Handed::new(vec![handed]), &Address::Tcp(at), "--port").unwrap_err().to_string();
        assert!(said.contains("stop the other program"), "{said}");
    }
}
