//! Who a client is that asks through proxies: `X-Forwarded-For`, believed only as far as trusted proxies wrote it.
//!
//! Each proxy appends the address that it was asked from. So the list is read from its end: the first address that is not a
//! trusted proxy's is the client; what stands before it may be anything.

use super::peers::Peers;
use crate::reactor::Peer;
use std::net::{IpAddr, SocketAddr};

/// Most proxies in a row that are believed.
const HOPS: usize = 32;

/// The client, if `peer` is trusted and names another. `lines`: the values of all `X-Forwarded-For` fields, in order. A part that is
/// no address ends the walk: the last one before it is the client.
pub fn client_ip<'a>(
    trusted: &[Peers],
    peer: &Peer,
    lines: impl Iterator<Item = &'a [u8]>,
) -> Option<IpAddr> {
    let is_trusted = |peer: &Peer| trusted.iter().any(|peers| peers.contains(peer));
    if !is_trusted(peer) {
        return None;
    }
    let lines: Vec<&[u8]> = lines.collect();
    let parts = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    let mut client = None;
    for part in parts.take(HOPS) {
        let Some(ip) = address(part) else { break };
        client = Some(ip);
        if !is_trusted(&Peer::from(SocketAddr::new(ip, 0))) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, with blanks and quotes around.
fn address(part: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(part).ok()?.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().or_else(|_| text.parse().map(|at: SocketAddr| at.ip())).ok()?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(trusted: &[&str], peer: &Peer, lines: &[&str]) -> Option<String> {
        let trusted: Vec<Peers> = trusted.iter().map(|peers| peers.parse().unwrap()).collect();
        client_ip(&trusted, peer, lines.iter().map(|line| line.as_bytes())).map(|ip| ip.to_string())
    }

    fn client(peer: &str, lines: &[&str]) -> Option<String> {
        let peer = match peer {
            "unix" => Peer::UNIX,
            ip => Peer::from(SocketAddr::new(ip.parse().unwrap(), 80)),
        };
        client_of(&["10.0.0.0/8", "2001:db8::/32"], &peer, lines)
    }

    #[test]
    fn only_a_trusted_peer_names_a_client() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), None);
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("unix", &["198.51.100.7"]), None);
    }

    #[test]
    fn whoever_comes_through_a_unix_socket_can_be_trusted_too() {
        assert_eq!(
            client_of(&["unix"], &Peer::UNIX, &["6.6.6.6, 198.51.100.7"]).as_deref(),
            Some("198.51.100.7")
        );
        let tcp = Peer::from(SocketAddr::from(([10, 0, 0, 1], 80)));
        assert_eq!(client_of(&["unix"], &tcp, &["198.51.100.7"]), None);
    }

    #[test]
    fn the_last_that_is_not_trusted_is_the_client_whatever_stands_before_it() {
        for (lines, ip) in [
            (&["1.2.3.4, 198.51.100.7"][..], Some("198.51.100.7")),
            (&["1.2.3.4, 198.51.100.7, 10.9.9.9"], Some("198.51.100.7")),
            (&["1.2.3.4", "198.51.100.7,10.9.9.9", " 10.1.1.1 "], Some("198.51.100.7")),
            (&["10.3.3.3, 10.2.2.2"], Some("10.3.3.3")),
            (&["198.51.100.7:4711"], Some("198.51.100.7")),
            (&["2001:db9::7"], Some("2001:db9::7")),
            (&["\"[2001:db9::7]:4711\", [2001:db8::1]"], Some("2001:db9::7")),
            (&["::ffff:198.51.100.7"], Some("198.51.100.7")),
            (&["198.51.100.7, nonsense"], None),
            (&["198.51.100.7, nonsense, 10.1.1.1"], Some("10.1.1.1")),
            (&["198.51.100.7, unknown, 192.0.2.9"], Some("192.0.2.9")),
            (&["", ","], None),
            (&[], None),
        ] {
            assert_eq!(client("10.0.0.1", lines).as_deref(), ip, "{lines:?}");
        }
    }

    #[test]
    fn a_list_without_an_end_is_not_walked_to_its_begin() {
        let line = format!("198.51.100.7{}", ", 10.1.1.1".repeat(6000));
        assert_eq!(client("10.0.0.1", &[&line]).as_deref(), Some("10.1.1.1"));
    }
}
