//! Starting, draining and ending a server.
//!
//! One listening socket per address, shared by all workers (duplicated); one count of connections for all. A worker is a thread
//! with one reactor. The library starts them here, when told to, and installs no signal handler and no logger: the binary does.

use super::AdminRequest;
use super::admin;
use super::app::{Message, Role, Worker};
use super::attend::{self, Spot};
use super::bind::{Handed, address, bind, metrics_listener, said_by};
use super::build::{self, Protocols};
use super::record::Record;
use super::settings::{Address, Config, Tls};
use super::shared::Shared;
use super::survey::Survey;
use super::tls::{self, Loaded, Store, Tickets, TlsError};
use crate::guard::{Budget, Clients};
use crate::http::Pages;
use crate::observe::LogQueue;
use crate::reactor::net::os::{OsListener, Stopwatch, calendar};
use crate::reactor::{Handle, Host, OsNet, Reactor, Settings, Workers};
use crate::tcp::ServiceId;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// The stack of a thread, in bytes: several times what the deepest calls were measured to need.
const STACK: usize = 512 << 10;
/// Connections of the metrics port.
const ADMIN_CONNECTIONS: usize = 64;

/// Why a server did not start, or ended.
#[derive(Debug)]
pub enum RunError {
    /// These settings ask for what this version does not do yet.
    Unbuilt(Vec<&'static str>),
    /// An address cannot be listened on; with the setting that says which.
    Listen(Address, &'static str, io::Error),
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
            RunError::Listen(.., error) | RunError::Start(error) => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            RunError::Tls(errors) => errors.iter().all(|error| error.denied),
            RunError::Unbuilt(_) | RunError::Worker(_) => false,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Unbuilt(settings) => not_yet(settings, f),
            RunError::Listen(at, by, error) => {
                write!(f, "cannot listen on {at}: {}", advice(at, by, error))
            }
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

/// Names settings that are refused.
pub(super) fn not_yet(settings: &[&str], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "this version does not do that yet: {}", settings.join(", "))
}

/// What happened, and what to do.
fn advice(at: &Address, by: &str, error: &io::Error) -> String {
    match (error.kind(), at) {
        (io::ErrorKind::AddrInUse, _) if error.get_ref().is_some() => error.to_string(),
        (io::ErrorKind::AddrInUse, Address::Tcp(at)) => {
            format!("port {} is taken; stop the other program, or choose another with {by}", at.port())
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

/// Says what is in force though clients will not like it.
fn warn_of(certificates: &Loaded) {
    certificates.doubtful.iter().for_each(|doubtful| log::warn!("{doubtful}"));
}

/// A running server. It is not the value that keeps it running: whoever drops it without [`wait`](Server::wait) leaves its threads,
/// that of the metrics port included, to themselves.
#[derive(Debug)]
pub struct Server {
    pub(super) handles: Vec<Handle<Message>>,
    workers: Workers,
    /// The metrics port: its reactor outlives the workers', so that it can tell of their end.
    admin: Option<(Handle<Message>, Workers)>,
    /// As configured, and the address that came out.
    pub(super) addresses: Vec<(Spot, Address)>,
    pub(super) shared: Shared,
    pub(super) tls: Option<Certificates>,
    pub(super) handed: Mutex<Handed>,
    /// What it lives by.
    pub(super) config: Config,
}

/// What a server is given beside its configuration.
#[derive(Debug, Default)]
pub struct Setup {
    /// Where the access log goes; without it there is none.
    pub access: Option<LogQueue>,
    /// Where the diagnostics go, if that is a queue: the metric of lost lines counts its losses, too.
    pub diagnostics: Option<LogQueue>,
    /// Sockets that listen already, handed over by a supervisor: each is used for the configured address that it has. What is
    /// not configured is left alone, and said; a reload may use it.
    pub inherited: Vec<OsListener>,
    /// The admin socket, and where what is asked for there goes.
    pub admin: Option<(OsListener, mpsc::Sender<AdminRequest>)>,
}

/// What handshakes are played by, and what it takes to replace that.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) store: Arc<Store>,
    pub(super) tickets: Tickets,
}

impl Certificates {
    pub(super) fn load(settings: &Tls) -> Result<(Certificates, Loaded), Vec<TlsError>> {
        let tickets = Tickets::new().map_err(tls::no_randomness)?;
        let loaded = tls::load(settings, calendar(), &tickets)?;
        Ok((Certificates { store: Arc::new(Store::new(loaded.config.clone())), tickets }, loaded))
    }
}

impl Server {
    /// Binds every address, then starts the workers. What fails is told before anything serves. `access`: where the access log
    /// goes; without it there is none.
    pub fn start(config: &Config, access: Option<LogQueue>) -> Result<Server, RunError> {
        Server::start_with(config, Setup { access, ..Setup::default() })
    }

    /// The same, with what a supervisor hands over and orders.
    pub fn start_with(config: &Config, setup: Setup) -> Result<Server, RunError> {
        let Setup { access, diagnostics, inherited, admin } = setup;
        let unbuilt = build::unbuilt(config);
        if !unbuilt.is_empty() {
            return Err(RunError::Unbuilt(unbuilt));
        }
        let mut handed = Handed::new(inherited);
        let pages = build::error_pages(config).map_err(RunError::Start)?;
        let mut listeners = Vec::new();
        for spot in Spot::all(config) {
            let socket = bind(&handed, &spot.place.address, said_by(config))?;
            handed.set_served(&spot.place.address, true);
            listeners.push((spot, socket));
        }
        for (number, (at, ..)) in build::tcp_services(config).enumerate() {
            let socket = bind(&handed, at, "[[tcp]] listen")?;
            handed.set_served(at, true);
            listeners.push((Spot::tcp(at, ServiceId(number as u16)), socket));
        }
        let metrics = metrics_listener(config, &mut handed)?;
        for unused in handed.unserved().filter_map(|listener| address(listener).ok()) {
            log::warn!("{unused} was handed over, but nothing is configured there: it is not served");
        }
        let tls = match listeners.iter().any(|(spot, _)| spot.role == Role::Https) {
            true => Some(Certificates::load(&config.tls).map_err(RunError::Tls)?),
            false => None,
        };
        let at = |(spot, socket): &(Spot, OsListener)| Ok((spot.clone(), address(socket)?));
        let addresses = listeners.iter().map(at).collect::<io::Result<_>>();
        let count = config.server.worker_count();
        let mut server = Server {
            handles: Vec::new(),
            workers: Workers::with_stack(STACK),
            admin: None,
            addresses: addresses.map_err(RunError::Start)?,
            shared: Shared::new(config, count, access),
            tls: None,
            handed: Mutex::new(handed),
            config: config.clone(),
        };
        server.shared.diagnostics = diagnostics;
        server.shared.begin_living(calendar());
        if let Some((certificates, loaded)) = tls {
            warn_of(&loaded);
            server.shared.set_certificates(&loaded.expiries);
            server.tls = Some(certificates);
        }
        server
            .start_workers((config, &pages), count, &listeners, metrics, admin)
            .inspect_err(|_| server.stop())
            .map_err(RunError::Start)?;
        Ok(server)
    }

    fn start_workers(
        &mut self,
        (config, pages): (&Config, &Pages),
        count: usize,
        listeners: &[(Spot, OsListener)],
        metrics: Option<OsListener>,
        orders: Option<(OsListener, mpsc::Sender<AdminRequest>)>,
    ) -> io::Result<()> {
        for number in 0..count {
            let mut cloned = Vec::new();
            for (spot, socket) in listeners {
                cloned.push((spot.clone(), socket.try_clone()?));
            }
            let (config, pages, shared) = (config.clone(), pages.clone(), self.shared.clone());
            let tls = self.tls.as_ref().map(|tls| tls.store.clone());
            let work = move || worker((&config, pages), &shared, (number, count), cloned, tls);
            let name = format!("worker-{number}");
            self.handles.push(start_worker(&mut self.workers, name, work, attend::look_after)?);
        }
        for handle in &self.handles {
            // It has just started: its mailbox is as good as empty.
            let _ = handle.post(Message::Peers(self.handles.clone()));
        }
        if metrics.is_some() || orders.is_some() {
            let mut workers = Workers::with_stack(STACK);
            let shared = self.shared.clone();
            let work = move || admin(&shared, count, metrics, orders);
            let handle = start_worker(&mut workers, "metrics".into(), work, attend::make_room)?;
            self.admin = Some((handle, workers));
        }
        Ok(())
    }

    /// Reads certificates and keys again; handshakes from now on use them. If anything is wrong, nothing changes. Nothing to do
    /// for a server without a TLS listener.
    pub fn reload_tls(&self, settings: &Tls) -> Result<(), Vec<TlsError>> {
        if let Some(certificates) = &self.tls {
            let loaded = tls::load(settings, calendar(), &certificates.tickets)?;
            warn_of(&loaded);
            self.shared.set_certificates(&loaded.expiries);
            certificates.store.replace(loaded.config);
        }
        Ok(())
    }

    /// Where it listens; a port 0 has become the one that was chosen.
    pub fn addresses(&self) -> Vec<Address> {
        self.addresses.iter().map(|(_, at)| at.clone()).collect()
    }

    /// What its workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.shared.gauge.get()
    }

    /// `/readyz` answers 503 from now on; all else goes on.
    pub fn turn_unready(&self) {
        self.shared.begin_draining();
    }

    /// Finish what is under way, for at most this long, and end.
    pub fn drain(&self, deadline: Duration) {
        self.shared.begin_draining();
        self.let_go_of_handed();
        self.handles.iter().for_each(|handle| handle.drain(deadline));
    }

    /// End now.
    pub fn stop(&self) {
        self.let_go_of_handed();
        self.handles.iter().for_each(Handle::stop);
        self.admin.iter().for_each(|(handle, _)| handle.stop());
    }

    /// Where nobody holds them but us, newcomers are to be refused, not to wait.
    fn let_go_of_handed(&self) {
        *self.handed.lock().unwrap_or_else(PoisonError::into_inner) = Handed::default();
    }

    /// Asks every worker what it holds. Those that do not answer in time are counted: [`Survey::silent`].
    pub fn survey(&self, patience: Duration) -> Survey {
        let has_ended = |number| self.workers.has_ended(number);
        let ask = |handle: &Handle<Message>| {
            let (to, from) = mpsc::channel();
            // One whose mailbox is full is as silent as one that is slow: what it gave back is kept until the time is up.
            (handle.post(Message::Survey(to)).err(), from)
        };
        // One that has ended answers no more: it is not waited for.
        let running = self.handles.iter().enumerate().filter(|(number, _)| !has_ended(*number));
        let (numbers, asked): (Vec<usize>, Vec<_>) =
            running.map(|(number, handle)| (number, ask(handle))).unzip();
        let (_unheard, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let watch = Stopwatch::start();
        let left = || patience.saturating_sub(watch.elapsed());
        Survey::collect(&asked, left, |at| numbers.get(at).is_some_and(|number| has_ended(*number)))
    }

    /// Every worker has ended. The metrics port answers until [`wait`](Self::wait) or [`stop`](Self::stop).
    pub fn is_finished(&self) -> bool {
        self.workers.is_finished()
    }

    /// Waits for the end.
    pub fn wait(self) -> Result<(), RunError> {
        let outcome = self.workers.join();
        let Some((handle, admin)) = self.admin else { return outcome.map_err(RunError::Worker) };
        handle.stop();
        outcome.and(admin.join()).map_err(RunError::Worker)
    }
}

/// Starts a thread that builds its reactor itself, since handlers stay on the thread they were made on; `between`: see [`attend::run`].
fn start_worker(
    workers: &mut Workers,
    name: String,
    build: impl FnOnce() -> io::Result<Reactor<Worker, OsNet>> + Send + 'static,
    between: impl Fn(&mut Reactor<Worker, OsNet>) + Send + 'static,
) -> io::Result<Handle<Message>> {
    let (to, from) = mpsc::channel();
    workers.start(name.clone(), move || match build() {
        Ok(reactor) => {
            // Whoever started us waits for this.
            let _ = to.send(Ok(reactor.handle()));
            // Told now, not when all have ended: the others go on.
            attend::run(reactor, between).inspect_err(|error| log::error!("{name} has ended: {error}"))
        }
        Err(error) => {
            let _ = to.send(Err(error));
            Ok(())
        }
    })?;
    from.recv().unwrap_or_else(|_| Err(io::Error::other("a worker ended before it began")))
}

fn worker(
    (config, pages): (&Config, Pages),
    shared: &Shared,
    (number, count): (usize, usize),
    listeners: Vec<(Spot, OsListener)>,
    tls: Option<Arc<Store>>,
) -> io::Result<Reactor<Worker, OsNet>> {
    let mut net = OsNet::new()?;
    let worker = Worker::new(
        Protocols::new(config, pages, shared, number, count)?,
        shared,
        number,
        Record::new(shared.access.as_ref(), Some(config), seed(&mut net)),
    );
    let mut reactor = Reactor::with_gauge(worker, net, build::reactor_settings(config), shared.gauge.clone());
    if let Some(store) = tls {
        reactor.app_mut().serve_tls(store);
    }
    reactor.app_mut().observe_by(config);
    let handle = reactor.handle();
    reactor.app_mut().post_through(handle);
    for (spot, socket) in listeners {
        let id = reactor.add_listener(socket)?;
        reactor.app_mut().listen(id, spot);
    }
    attend::begin_tick(&mut reactor);
    Ok(reactor)
}

/// The metrics port. Its connections do not count as the server's.
fn admin(
    shared: &Shared,
    number: usize,
    metrics: Option<OsListener>,
    orders: Option<(OsListener, mpsc::Sender<AdminRequest>)>,
) -> io::Result<Reactor<Worker, OsNet>> {
    let (socket, orders) = orders.unzip();
    let mut net = OsNet::new()?;
    let mut unlogged = shared.clone();
    (unlogged.access, unlogged.clients) = (None, Arc::new(Clients::new(0)));
    // Whoever looks after a full server must get in.
    unlogged.budget = Budget::new(u64::MAX);
    let worker = Worker::new(
        Protocols::http(admin::site(shared, orders)?),
        &unlogged,
        number,
        Record::new(None, None, seed(&mut net)),
    );
    let mut reactor =
        Reactor::new(worker, net, Settings { max_connections: ADMIN_CONNECTIONS, ..Settings::default() });
    let handle = reactor.handle();
    reactor.app_mut().post_through(handle);
    for listener in metrics.into_iter().chain(socket) {
        let id = reactor.add_listener(listener)?;
        reactor.app_mut().roles.push((id, Role::Http));
    }
    Ok(reactor)
}

fn seed(net: &mut OsNet) -> [u8; 32] {
    let mut seed = [0; 32];
    net.fill_random(&mut seed);
    seed
}
