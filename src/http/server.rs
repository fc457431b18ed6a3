//! A whole HTTP server in a few lines, for programs that want nothing else: one reactor, on the thread that runs it.
//!
//! It starts no thread, installs no signal handler and no logger. For several workers, TLS, configuration and metrics see
//! [`server`](crate::server); to put HTTP beside protocols of your own, or to change to them ([`Responder::upgrade`], which ends the
//! connection here), hold a [`Connection`] in your own session: `examples/chat.rs` does, and goes on with WebSocket.
//!
//! [`Responder::upgrade`]: super::Responder::upgrade
//!
//! ```no_run
//! use evenkeel::http::{Server, Site};
//!
//! let mut site = Site::default();
//! site.on("GET", "/hello/{name}", |request, reply| {
//!     let name = request.param("name").unwrap_or(b"you").to_vec();
//!     reply.start(200).body(&[b"Hello, ", &name[..], b"!\n"].concat())
//! })?;
//! let mut server = Server::new(site)?;
//! server.bind("127.0.0.1:8080")?;
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{Connection, Late, Outcome, Service, Site};
use crate::observe::Reason;
use crate::reactor::{
    Admit, App, AppCx, Close, Cx, End, EventOf, Handle, Input, ListenerId, Millis, OsListener, OsNet, Peer,
    Reactor, Session, Settings, Step, StepOf, Turn,
};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// How often handlers look after themselves.
const IDLE: Duration = Duration::from_secs(1);

/// A server of one site. See the module page.
pub struct Server {
    reactor: Reactor<Alone, OsNet>,
}

impl Server {
    /// A server that does not listen yet, with the default limits.
    pub fn new(site: Site) -> io::Result<Server> {
        Server::with_settings(site, Settings::default())
    }

    /// A server with other limits of the transport; those of HTTP are the site's [`Options`](super::Options).
    pub fn with_settings(site: Site, settings: Settings) -> io::Result<Server> {
        let mut reactor = Reactor::new(Alone { site, idle_at: Millis(0) }, OsNet::new()?, settings);
        let handle = reactor.handle();
        reactor.app_mut().site.set_post(Arc::new(move |late: Late| handle.post(late)));
        Ok(Server { reactor })
    }

    /// Listens there; a port 0 becomes any that is free. Says where. The first address of a name that can be had is taken.
    pub fn bind(&mut self, at: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "no address");
        for at in at.to_socket_addrs()? {
            match OsListener::tcp(at) {
                Ok(listener) => {
                    let at = listener.tcp_addr().unwrap_or(at);
                    self.reactor.add_listener(listener)?;
                    return Ok(at);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Drains or stops it from any thread.
    pub fn handle(&self) -> Handle<Late> {
        self.reactor.handle()
    }

    /// Serves until it was drained or stopped.
    pub fn run(mut self) -> io::Result<()> {
        while self.reactor.turn(Some(IDLE))? != Turn::Finished {}
        Ok(())
    }

    /// The reactor, to take its turns by hand or to nest it in another loop. [`Handler::idle`](super::Handler::idle) is called in
    /// turns only: one a second lets go of files that nobody asks for.
    pub fn reactor_mut(&mut self) -> &mut Reactor<Alone, OsNet> {
        &mut self.reactor
    }
}

/// The program of a [`Server`]: nothing but its site.
pub struct Alone {
    site: Site,
    /// When handlers are to look after themselves next.
    idle_at: Millis,
}

impl App for Alone {
    type Session = Talk;
    type Note = Late;
    type Message = Late;
    type Reason = Reason;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Talk> {
        Admit::Serve(Talk(Connection::new(false)))
    }

    fn on_message(&mut self, late: Late, cx: &mut AppCx<'_, Self>) {
        cx.notify(late.to, late);
    }

    fn on_close(&mut self, session: Talk, end: End<Reason>, cx: &mut AppCx<'_, Self>) {
        log::debug!("{} {}: closed in {}: {}", end.token, end.peer, end.phase.name(), end.reason.label());
        session.0.ended(&end, cx.now(), self);
    }

    fn on_turn(&mut self, cx: &mut AppCx<'_, Self>) {
        if self.idle_at <= cx.now() {
            self.idle_at = cx.now().after(IDLE);
            self.site.idle(cx.now());
        }
    }
}

impl Service for Alone {
    fn site(&mut self) -> &mut Site {
        &mut self.site
    }
}

/// A connection of a [`Server`].
pub struct Talk(Connection);

impl Talk {
    fn step(outcome: Outcome) -> Step<Reason> {
        match outcome {
            Outcome::Step(step) => step,
            // There is no other protocol here.
            Outcome::Upgrade(_) => Step::Close(Close::Abort, Reason::Internal),
        }
    }
}

impl Session for Talk {
    type App = Alone;

    fn on_data(&mut self, input: &mut Input<'_>, app: &mut Alone, cx: &mut Cx<'_, Alone>) -> StepOf<Alone> {
        Talk::step(self.0.on_data(input, app, cx))
    }

    fn on_event(&mut self, event: EventOf<Alone>, app: &mut Alone, cx: &mut Cx<'_, Alone>) -> StepOf<Alone> {
        Talk::step(self.0.on_event(event, app, cx))
    }
}
