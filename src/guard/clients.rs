//! How many connections each client has.
//!
//! A client is an IPv4 address, or an IPv6 /64: whoever has one address of a /64 has all of it. One [`Clients`] is shared by all
//! workers of a process, behind an `Arc`.
//!
//! 1. A client has an entry exactly while it has counted connections, so there are never more entries than connections: nobody
//!    can make the table grow beyond the connection limit.
//! 2. The count is exact; it is changed under one of a few locks, chosen by a hash that clients cannot foresee. That happens
//!    twice per connection, never per request.
//! 3. With the limit 0 nothing is counted, hashed or locked.

use crate::reactor::Peer;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Workers rarely meet in one of so many parts.
const PARTS: usize = 16;

/// Whom limits are for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Client {
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl Client {
    /// Whom this peer belongs to; none for a Unix socket, which is exempt from limits.
    pub fn of(peer: &Peer) -> Option<Client> {
        peer.ip().map(Client::of_ip)
    }

    /// Whom this address belongs to. An IPv4 address mapped into IPv6 is the IPv4 address.
    pub fn of_ip(ip: IpAddr) -> Client {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Client::V4(v4.to_bits()),
            IpAddr::V6(v6) => Client::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

type Part = HashMap<Client, u32>;

/// Connections by client. See the module page.
#[derive(Debug)]
pub struct Clients {
    limit: AtomicU32,
    /// Connections counted in all.
    counted: AtomicUsize,
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
    last_refused: Mutex<Option<IpAddr>>,
}

impl Clients {
    /// No client may have more than `limit` connections at one time; 0: off.
    pub fn new(limit: usize) -> Clients {
        Clients {
            limit: AtomicU32::new(clamp(limit)),
            counted: AtomicUsize::new(0),
            hasher: RandomState::new(),
            parts: Default::default(),
            last_refused: Mutex::default(),
        }
    }

    /// Another limit, for connections that come from now on. What came while the limit was 0 was not counted; until such
    /// connections are gone a client may have that many more.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(clamp(limit), Ordering::Relaxed);
    }

    /// One more connection of this peer. False if it has too many: the connection is to be refused, and [`leave`](Self::leave) not
    /// to be called for it.
    #[must_use]
    pub fn enter(&self, peer: &Peer) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return true;
        }
        let Some(client) = Client::of(peer) else { return true };
        let mut part = self.part(client);
        match part.get_mut(&client) {
            Some(count) if *count >= limit => {
                *lock(&self.last_refused) = peer.ip();
                return false;
            }
            Some(count) => *count += 1,
            None => drop(part.insert(client, 1)),
        }
        self.counted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A connection that [`enter`](Self::enter) allowed has ended. Once for each.
    pub fn leave(&self, peer: &Peer) {
        // A connection's own `enter` happened before, so a zero seen here is no race: it was never counted.
        if self.counted.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(client) = Client::of(peer) else { return };
        let mut part = self.part(client);
        let Some(count) = part.get_mut(&client) else { return };
        *count -= 1;
        if *count == 0 {
            part.remove(&client);
            if part.capacity() > 64 && part.len() < part.capacity() / 8 {
                part.shrink_to(64);
            }
        }
        self.counted.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections of this peer's client that are counted.
    pub fn connections_of(&self, peer: &Peer) -> u32 {
        Client::of(peer).and_then(|client| self.part(client).get(&client).copied()).unwrap_or(0)
    }

    /// Who was last refused.
    pub fn last_refused(&self) -> Option<IpAddr> {
        *lock(&self.last_refused)
    }

    /// How many clients there are with counted connections.
    pub fn clients(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
    }

    fn part(&self, client: Client) -> MutexGuard<'_, Part> {
        // The upper bits: the maps use the lower ones of hashes of their own.
        let hash = self.hasher.hash_one(client);
        lock(&self.parts[(hash >> 60) as usize % PARTS])
    }
}

fn clamp(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    // A count is changed by one statement: a panic elsewhere cannot leave it half done.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn peer(addr: &str) -> Peer {
        addr.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn a_client_may_have_its_limit_and_no_more() {
        let clients = Clients::new(2);
        let (a, b) = (peer("192.0.2.1:1"), peer("192.0.2.2:1"));
        assert!(clients.enter(&a) && clients.enter(&peer("192.0.2.1:2")));
        assert!(!clients.enter(&a), "the port does not make another client");
        assert!(clients.enter(&b), "another address does");
        assert_eq!(clients.last_refused(), a.ip());
        clients.leave(&a);
        assert!(clients.enter(&a));
        assert_eq!(clients.connections_of(&a), 2);
    }

    #[test]
    fn an_ipv6_client_is_a_64() {
        let clients = Clients::new(1);
        assert!(clients.enter(&peer("[2001:db8:1:2::1]:1")));
        assert!(!clients.enter(&peer("[2001:db8:1:2:ffff::]:1")));
        assert!(clients.enter(&peer("[2001:db8:1:3::1]:1")));
        assert!(clients.enter(&peer("192.0.2.1:1")));
        assert!(!clients.enter(&peer("[::ffff:192.0.2.1]:1")), "a mapped address is the IPv4 client");
        assert!(clients.enter(&peer("[::c000:201]:1")), "an IPv6 address with the same bits is not");
    }

    #[test]
    fn unix_sockets_are_exempt() {
        let clients = Clients::new(1);
        assert!((0..100).all(|_| clients.enter(&Peer::UNIX)));
        clients.leave(&Peer::UNIX);
        assert_eq!(clients.clients(), 0);
    }

    #[test]
    fn nothing_is_kept_of_clients_that_are_gone() {
        let clients = Clients::new(1);
        let all: Vec<Peer> =
            (0..10_000).map(|i| SocketAddr::from((Ipv4Addr::from_bits(i), 1)).into()).collect();
        assert!(all.iter().all(|peer| clients.enter(peer)));
        assert_eq!(clients.clients(), 10_000);
        all.iter().for_each(|peer| clients.leave(peer));
        assert_eq!((clients.clients(), clients.counted.load(Ordering::Relaxed)), (0, 0));
        let room: usize = clients.parts.iter().map(|part| lock(part).capacity()).sum();
        assert!(room < 4000, "{room}");
    }

    #[test]
    fn zero_is_off_and_the_limit_can_change_while_connections_live() {
        let clients = Clients::new(0);
        let a = peer("192.0.2.1:1");
        assert!((0..1000).all(|_| clients.enter(&a)));
        assert_eq!(clients.connections_of(&a), 0);
        clients.set_limit(1);
        assert!(clients.enter(&a) && !clients.enter(&a));
        clients.set_limit(0);
        assert!(clients.enter(&a));
        (0..1002).for_each(|_| clients.leave(&a));
        assert_eq!(clients.clients(), 0, "and never below nothing");
    }

    #[test]
    fn workers_together_never_pass_the_limit() {
        let clients = Clients::new(10);
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (clients, inside) = (&clients, &inside);
                scope.spawn(move || {
                    for round in 0..5_000u16 {
                        let peer = peer(&format!("192.0.2.1:{}", worker * 10_000 + round));
                        if clients.enter(&peer) {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 10);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            clients.leave(&peer);
                        }
                    }
                });
            }
        });
        assert_eq!(clients.clients(), 0);
    }
}
