//! What a worker does between turns, with its reactor at hand: it carries out orders.

use super::app::{Role, Worker};
use super::reload::Order;
use super::session::Session;
use super::settings::{Address, Config, Listener};
use super::tick::Tick;
use super::{build, relief};
use crate::observe::Reason;
use crate::reactor::{ListenerId, Net, OsNet, Reactor, Settings, Turn};
use crate::tcp::ServiceId;
use std::collections::HashMap;
use std::io;

/// So many connections are let go in a turn to make room: few, since one that has just come may be about to ask.
const ROOM: usize = 4;

/// Which listener of the settings: several can be at one address if that leaves the port to the system, and then they are told apart by
/// their order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    /// As configured.
    pub address: Address,
    /// How many before it are at the same address.
    pub nth: usize,
}

/// Listeners of the settings by their places, in their order.
pub(super) fn places(listeners: &[Listener]) -> Vec<(Place, &Listener)> {
    let mut seen: HashMap<&Address, usize> = HashMap::new();
    let mut all = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let next = seen.entry(&listener.address).or_default();
        all.push((Place { address: listener.address.clone(), nth: *next }, listener));
        *next += 1;
    }
    all
}

/// A listener's place and what its connections speak.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub place: Place,
    pub role: Role,
}

impl Spot {
    /// Where the settings want HTTP.
    pub(super) fn all(config: &Config) -> Vec<Spot> {
        let role = |listener: &Listener| if listener.tls { Role::Https } else { Role::Http };
        let listeners = config.http_listeners();
        places(&listeners).into_iter().map(|(place, one)| Spot { place, role: role(one) }).collect()
    }

    /// Where a raw TCP service is.
    pub(super) fn tcp(address: &Address, service: ServiceId) -> Spot {
        Spot { place: Place { address: address.clone(), nth: 0 }, role: Role::Tcp(service) }
    }

    /// The settings want it, or it is none of HTTP: those stay as they are while the server runs.
    pub(super) fn stays(&self, wanted: &[Spot]) -> bool {
        matches!(self.role, Role::Tcp(_)) || wanted.iter().any(|one| one.place == self.place)
    }
}

/// Turns until drained or stopped; between turns this is done.
pub(super) fn run(
    mut reactor: Reactor<Worker, OsNet>,
    between: impl Fn(&mut Reactor<Worker, OsNet>),
) -> io::Result<()> {
    while reactor.turn(None)? != Turn::Finished {
        between(&mut reactor);
    }
    // The page is read on while others drain: what was counted last, and that nothing is held here any more.
    reactor.with_app(|app, cx| app.publish(cx));
    Ok(())
}

/// What a worker does between turns.
pub(super) fn look_after(reactor: &mut Reactor<Worker, OsNet>) {
    if reactor.app().relief.is_due(reactor.now()) {
        relief::relieve(reactor);
    }
    if !reactor.app().orders.is_empty() {
        carry_out(reactor);
    }
    end_tick(reactor);
}

/// At the metrics port and the admin socket, who must get in when others hold all the connections there are: who asks for nothing goes.
pub(super) fn make_room<N: Net>(reactor: &mut Reactor<Worker, N>) {
    if reactor.connections() >= reactor.settings_mut().max_connections {
        reactor.evict(ROOM);
    }
}

/// The worker looks after itself once a second from now on.
pub(super) fn begin_tick<N: Net>(reactor: &mut Reactor<Worker, N>) {
    // There is room: the table is empty.
    let tick = reactor.with_app(|_, cx| cx.spawn(Session::Tick(Tick::new())));
    reactor.app_mut().tick = tick.ok();
}

/// A drain waits for connections. What is left when they have ended is none.
fn end_tick<N: Net>(reactor: &mut Reactor<Worker, N>) {
    if reactor.draining()
        && reactor.connections() == 1
        && let Some(tick) = reactor.app().tick
    {
        reactor.cut(tick, Reason::Drained);
    }
}

#[cold]
fn carry_out(reactor: &mut Reactor<Worker, OsNet>) {
    for order in std::mem::take(&mut reactor.app_mut().orders) {
        let done = order.done.clone();
        // Whoever ordered it may have stopped waiting.
        let _ = done.send(reload(reactor, order).map_err(|error| error.to_string()));
    }
}

/// What fails is told, and all else is done: whoever sent the order has made what could fail, and takes it as carried out.
fn reload(reactor: &mut Reactor<Worker, OsNet>, order: Order) -> io::Result<()> {
    let config = &order.config;
    let mut outcome = reactor.app_mut().live_by(config, order.pages);
    if let Some(store) = order.tls {
        reactor.app_mut().serve_tls(store);
    }
    set_limits(reactor, config);
    for (spot, socket) in order.listeners {
        match reactor.add_listener(socket) {
            Ok(id) => reactor.app_mut().listen(id, spot),
            Err(error) => outcome = Err(error),
        }
    }
    let wanted = Spot::all(config);
    for (id, spot) in reactor.app().spots.clone() {
        match wanted.iter().find(|one| one.place == spot.place) {
            _ if matches!(spot.role, Role::Tcp(_)) => {}
            Some(one) => reactor.app_mut().listen(id, one.clone()),
            None => {
                reactor.remove_listener(id);
                reactor.app_mut().forget(id);
            }
        }
    }
    outcome
}

/// The reactor lives by these limits. What may wait for one connection does not become less: WebSockets of an earlier configuration
/// live on, and with them the messages that it allowed.
pub(super) fn set_limits<N: Net>(reactor: &mut Reactor<Worker, N>, config: &Config) {
    let settings = build::reactor_settings(config);
    let hard_cap = settings.hard_cap.max(reactor.settings_mut().hard_cap);
    reactor.set_settings(Settings { hard_cap, ..settings });
}

impl Worker {
    /// Connections of this listener are served from now on as the spot says.
    pub(super) fn listen(&mut self, id: ListenerId, spot: Spot) {
        self.forget(id);
        self.roles.push((id, spot.role));
        self.spots.push((id, spot));
    }

    fn forget(&mut self, id: ListenerId) {
        self.roles.retain(|(one, _)| *one != id);
        self.spots.retain(|(one, _)| *one != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Site;
    use crate::reactor::net::sim::{Script, SimNet};
    use std::time::Duration;

    #[test]
    fn a_worker_looks_after_itself_while_it_drains_and_ends_with_its_last_connection() {
        let mut net = SimNet::<true>::new(1);
        let listener = net.listen();
        let mut reactor = Reactor::new(Worker::for_tests(Site::default()), net, Settings::default());
        reactor.add_listener(listener).unwrap();
        begin_tick(&mut reactor);
        let (part, rest) = ("GET / HTTP/1.1\r\nhost: a", "\r\n\r\n");
        reactor.net_mut().arrive(listener, Script::new().send(part).wait(1500).fin());
        reactor.net_mut().arrive(listener, Script::new().send(part).wait(5300).send(rest).await_fin().fin());
        for _ in 0..5 {
            reactor.turn(Some(Duration::from_millis(10))).unwrap();
        }
        assert_eq!(reactor.connections(), 3);
        reactor.drain(Duration::from_secs(60));
        let (mut last, mut counted) = (reactor.net().elapsed_ms(), Vec::new());
        while reactor.turn(None).unwrap() != Turn::Finished {
            end_tick(&mut reactor);
            reactor.check();
            let now = reactor.net().elapsed_ms();
            assert!(now - last <= 1100, "no turn from {last} to {now}");
            last = now;
            counted.push((now, reactor.app().shared.hub.total().connection_count()));
        }
        assert!(counted.iter().any(|(now, count)| (2000..5000).contains(now) && *count == 1), "{counted:?}");
        assert!((5300..5500).contains(&last), "the tick is not waited for: {last}");
    }

    #[test]
    fn who_looks_after_a_server_gets_in_when_others_hold_all_the_connections_there_are() {
        let mut net = SimNet::<true>::new(1);
        let listener = net.listen();
        let settings = Settings { max_connections: 8, ..Settings::default() };
        let mut reactor = Reactor::new(Worker::for_tests(Site::default()), net, settings);
        reactor.add_listener(listener).unwrap();
        for _ in 0..8 {
            reactor.net_mut().arrive(listener, Script::new().wait(60_000).fin());
        }
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        reactor.net_mut().arrive(listener, Script::new().wait(100).send(get).await_fin().fin());
        while reactor.app().tape().exchanges.is_empty() {
            reactor.turn(None).unwrap();
            make_room(&mut reactor);
            reactor.check();
        }
        let took = reactor.net().elapsed_ms();
        assert!(took < 1000, "after {took} ms");
    }

    #[test]
    fn who_has_just_come_is_heard_before_it_is_taken_for_one_who_asks_for_nothing() {
        let mut net = SimNet::<true>::new(1);
        let listener = net.listen();
        let settings = Settings { max_connections: 8, ..Settings::default() };
        let mut reactor = Reactor::new(Worker::for_tests(Site::default()), net, settings);
        reactor.add_listener(listener).unwrap();
        let act = |reactor: &mut Reactor<Worker, SimNet<true>>| {
            reactor.turn(Some(Duration::from_millis(10))).unwrap();
            make_room(reactor);
            reactor.check();
        };
        // All but one place are held by those who are about to ask.
        for _ in 0..7 {
            reactor.net_mut().arrive(listener, Script::new().send("GET / HTTP").wait(60_000).fin());
        }
        (0..5).for_each(|_| act(&mut reactor));
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let last = reactor.net_mut().arrive(listener, Script::new().send(get));
        (0..5).for_each(|_| act(&mut reactor));
        assert!(reactor.net().sent(last).starts_with(b"HTTP/1.1 "));
        assert!(!reactor.net().was_reset(last));
    }
}
