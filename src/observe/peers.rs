//! Sets of peers, as a configuration names them: a network, or whoever comes through a Unix socket.

use crate::reactor::Peer;
use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `10.0.0.0/8`, `2001:db8::1` for the network of it alone, or `unix`. An address with host bits set is cut to its network. One of IPv4
/// addresses mapped to IPv6 (`::ffff:10.0.0.0/104`) is the one of IPv4, as which peers are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peers {
    /// Those of these addresses.
    Network(IpNet),
    /// Those of Unix sockets, which have no addresses: whoever may open the socket.
    Unix,
}

impl Peers {
    /// One of them.
    pub fn contains(&self, peer: &Peer) -> bool {
        match (self, peer.ip()) {
            (Peers::Network(network), Some(ip)) => network.contains(&ip),
            (Peers::Unix, None) => true,
            (Peers::Network(_), None) | (Peers::Unix, Some(_)) => false,
        }
    }
}

/// Neither a network, nor an address, nor `unix`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPeers;

impl FromStr for Peers {
    type Err = NoPeers;

    fn from_str(text: &str) -> Result<Peers, NoPeers> {
        if text == "unix" {
            return Ok(Peers::Unix);
        }
        let network: Result<IpNet, _> = text.parse();
        let network = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| NoPeers)?;
        let unmapped = match (network.network().to_canonical(), network.prefix_len()) {
            (IpAddr::V4(address), prefix @ 96..) => Ipv4Net::new(address, prefix - 96).ok().map(IpNet::V4),
            _ => None,
        };
        Ok(Peers::Network(unmapped.unwrap_or(network.trunc())))
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peers::Network(network) => network.fmt(f),
            Peers::Unix => f.write_str("unix"),
        }
    }
}
