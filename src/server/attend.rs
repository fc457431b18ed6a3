//! What a worker does between turns, with its reactor at hand: it carries out orders.

use super::app::{Role, Worker};
use super::build;
use super::reload::Order;
use super::settings::{Address, Listener};
use crate::reactor::{ListenerId, OsNet, Reactor, Turn};
use std::io;

/// Turns until drained or stopped.
pub(super) fn run(mut reactor: Reactor<Worker, OsNet>) -> io::Result<()> {
    while reactor.turn(None)? != Turn::Finished {
        if !reactor.app().orders.is_empty() {
            carry_out(&mut reactor);
        }
    }
    Ok(())
}

#[cold]
fn carry_out(reactor: &mut Reactor<Worker, OsNet>) {
    for order in std::mem::take(&mut reactor.app_mut().orders) {
        let done = order.done.clone();
        // Whoever ordered it may have stopped waiting.
        let _ = done.send(reload(reactor, order).map_err(|error| error.to_string()));
    }
}

/// The site is built first, since only that can fail; it was built once already, by whoever sent the order.
fn reload(reactor: &mut Reactor<Worker, OsNet>, order: Order) -> io::Result<()> {
    let config = &order.config;
    let site = build::site(config)?;
    let app = reactor.app_mut();
    app.live_by(site, build::format(config));
    if let Some(store) = order.tls {
        app.serve_tls(store);
    }
    reactor.set_settings(build::reactor_settings(config));
    let mut outcome = Ok(());
    for (listener, socket) in order.listeners {
        match reactor.add_listener(socket) {
            Ok(id) => reactor.app_mut().listen(id, &listener),
            Err(error) => outcome = Err(error),
        }
    }
    let wanted = config.http_listeners();
    for (id, address) in reactor.app().places.clone() {
        match wanted.iter().find(|listener| listener.address == address) {
            Some(listener) => reactor.app_mut().listen(id, listener),
            None => {
                reactor.remove_listener(id);
                reactor.app_mut().forget(id);
            }
        }
    }
    outcome
}

impl Role {
    /// What its connections speak.
    pub(super) fn of(listener: &Listener) -> Role {
        if listener.tls { Role::Https } else { Role::Http }
    }
}

impl Worker {
    /// Connections of this listener are served from now on as its settings say.
    pub(super) fn listen(&mut self, id: ListenerId, listener: &Listener) {
        self.forget(id);
        self.roles.push((id, Role::of(listener)));
        self.places.push((id, listener.address.clone()));
    }

    fn forget(&mut self, id: ListenerId) {
        self.roles.retain(|(one, _)| *one != id);
        self.places.retain(|(one, _)| *one != id);
    }
}

/// Where a worker's listeners stand in the settings.
pub(super) type Places = Vec<(ListenerId, Address)>;
