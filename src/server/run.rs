//! Starting, draining and ending a server.
//!
//! One listening socket per address, shared by all workers (duplicated); one count of connections for all. A worker is a thread
//! with one reactor. The library starts them here, when told to, and installs no signal handler and no logger: the binary does.

use super::app::{Message, Role, Survey, Worker};
use super::build;
use super::settings::{Address, Config, Tls};
use super::tls::{self, Store, Tickets, TlsError};
use crate::reactor::net::os::{OsListener, calendar};
use crate::reactor::{Gauge, Handle, OsNet, Reactor, Target, Workers};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Why a server did not start, or ended.
#[derive(Debug)]
pub enum RunError {
    /// An address cannot be listened on.
    Listen(Address, io::Error),
    /// Certificates or keys cannot be used; all that is wrong with them.
    Tls(Vec<TlsError>),
    /// Something else that was needed at the start could not be had.
    Start(io::Error),
    /// A worker failed while it ran.
    Worker(io::Error),
}

impl RunError {
    /// The operating system did not permit it.
    pub fn is_denied(&self) -> bool {
        match self {
            RunError::Listen(_, error) | RunError::Start(error) => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            RunError::Tls(errors) => errors.iter().all(|error| error.denied),
            RunError::Worker(_) => false,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Listen(at, error) => write!(f, "cannot listen on {at}: {}", advice(at, error)),
            RunError::Tls(errors) => {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("; "))
            }
            RunError::Start(error) => write!(f, "cannot start: {error}"),
            RunError::Worker(error) => write!(f, "a worker ended: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// What happened, and what to do.
fn advice(at: &Address, error: &io::Error) -> String {
    match (error.kind(), at) {
        (io::ErrorKind::AddrInUse, Address::Tcp(at)) => {
            format!("port {} is taken; stop the other program, or choose another with --port", at.port())
        }
        (io::ErrorKind::AddrInUse, Address::Unix(_)) => "another program answers there; stop it first".into(),
        (io::ErrorKind::PermissionDenied, Address::Tcp(at)) => format!(
            "not permitted; ports under 1024 need root or CAP_NET_BIND_SERVICE ({} was asked for)",
            at.port()
        ),
        (io::ErrorKind::AddrNotAvailable, _) => "this machine does not have that address".into(),
        _ => error.to_string(),
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    handles: Vec<Handle<Message>>,
    workers: Workers,
    addresses: Vec<Address>,
    gauge: Gauge,
    tls: Option<Certificates>,
}

/// What handshakes are played by, and what it takes to replace that.
#[derive(Debug)]
struct Certificates {
    store: Arc<Store>,
    tickets: Tickets,
}

impl Certificates {
    fn load(settings: &Tls) -> Result<Certificates, Vec<TlsError>> {
        let tickets = Tickets::new().map_err(tls::no_randomness)?;
        let loaded = tls::load(settings, calendar(), &tickets)?;
        Ok(Certificates { store: Arc::new(Store::new(loaded.config)), tickets })
    }
}

impl Server {
    /// Binds every address, then starts the workers. What fails is told before anything serves.
    pub fn start(config: &Config) -> Result<Server, RunError> {
        let mut listeners = Vec::new();
        for listener in config.http_listeners() {
            let bound =
                bind(&listener.address).map_err(|error| RunError::Listen(listener.address.clone(), error))?;
            listeners.push((if listener.tls { Role::Https } else { Role::Http }, bound));
        }
        let tls = match listeners.iter().any(|(role, _)| *role == Role::Https) {
            true => Some(Certificates::load(&config.tls).map_err(RunError::Tls)?),
            false => None,
        };
        let addresses = listeners.iter().map(|(_, listener)| address(listener)).collect::<io::Result<_>>();
        let addresses = addresses.map_err(RunError::Start)?;
        let count = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let gauge = Gauge::default();
        let mut server = Server { handles: Vec::new(), workers: Workers::default(), addresses, gauge, tls };
        for n in 0..count {
            let mut shared = Vec::new();
            for (role, listener) in &listeners {
                shared.push((*role, listener.try_clone().map_err(RunError::Start)?));
            }
            let handle = server.start_worker(n, config.clone(), shared);
            match handle {
                Ok(handle) => server.handles.push(handle),
                Err(error) => {
                    server.stop();
                    return Err(RunError::Start(error));
                }
            }
        }
        Ok(server)
    }

    /// Starts a thread that builds its reactor itself, since handlers stay on the thread they were made on.
    fn start_worker(
        &mut self,
        n: usize,
        config: Config,
        listeners: Vec<(Role, OsListener)>,
    ) -> io::Result<Handle<Message>> {
        let gauge = self.gauge.clone();
        let tls = self.tls.as_ref().map(|tls| tls.store.clone());
        let (to, from) = mpsc::channel();
        self.workers.start(format!("worker-{n}"), move || {
            let built = reactor(&config, gauge, listeners, tls);
            match built {
                Ok(mut reactor) => {
                    // Whoever started us waits for this.
                    let _ = to.send(Ok(reactor.handle()));
                    reactor.run()
                }
                Err(error) => {
                    let _ = to.send(Err(error));
                    Ok(())
                }
            }
        })?;
        from.recv().unwrap_or_else(|_| Err(io::Error::other("a worker ended before it began")))
    }

    /// Reads certificates and keys again; handshakes from now on use them. If anything is wrong, nothing changes. Nothing to do
    /// for a server without a TLS listener.
    pub fn reload_tls(&self, settings: &Tls) -> Result<(), Vec<TlsError>> {
        if let Some(certificates) = &self.tls {
            let loaded = tls::load(settings, calendar(), &certificates.tickets)?;
            certificates.store.replace(loaded.config);
        }
        Ok(())
    }

    /// Where it listens; a port 0 has become the one that was chosen.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.gauge.get()
    }

    /// Finish what is under way, for at most this long, and end.
    pub fn drain(&self, deadline: Duration) {
        self.handles.iter().for_each(|handle| handle.drain(deadline));
    }

    /// End now.
    pub fn stop(&self) {
        self.handles.iter().for_each(Handle::stop);
    }

    /// Asks every worker what it holds; those that do not answer in time are left out.
    pub fn survey(&self, patience: Duration) -> Survey {
        let (to, from) = mpsc::channel();
        for handle in &self.handles {
            // One whose mailbox is full is left out like one that is slow.
            let _ = handle.post(Message::Survey(to.clone()));
        }
        drop(to);
        let mut states: BTreeMap<_, usize> = BTreeMap::new();
        while let Ok(survey) = from.recv_timeout(patience) {
            survey.states.into_iter().for_each(|(state, n)| *states.entry(state).or_default() += n);
        }
        Survey { states }
    }

    /// Every worker has ended.
    pub fn is_finished(&self) -> bool {
        self.workers.is_finished()
    }

    /// Waits for the end.
    pub fn wait(self) -> Result<(), RunError> {
        self.workers.join().map_err(RunError::Worker)
    }
}

fn reactor(
    config: &Config,
    gauge: Gauge,
    listeners: Vec<(Role, OsListener)>,
    tls: Option<Arc<Store>>,
) -> io::Result<Reactor<Worker, OsNet>> {
    let net = OsNet::new()?;
    let site = build::site(config)?;
    let mut reactor = Reactor::with_gauge(Worker::new(site), net, build::reactor_settings(config), gauge);
    if let Some(store) = tls {
        reactor.app_mut().serve_tls(store);
    }
    let handle = reactor.handle();
    reactor.app_mut().post_through(handle);
    for (role, listener) in listeners {
        let id = reactor.add_listener(listener)?;
        reactor.app_mut().roles.push((id, role));
    }
    Ok(reactor)
}

fn bind(at: &Address) -> io::Result<OsListener> {
    match at {
        Address::Tcp(at) => OsListener::tcp(*at),
        Address::Unix(path) => OsListener::unix(path, 0o660),
    }
}

fn address(listener: &OsListener) -> io::Result<Address> {
    Ok(match listener.local_addr()? {
        Target::Tcp(at) => Address::Tcp(at),
        Target::Unix(path) => Address::Unix(path),
    })
}
