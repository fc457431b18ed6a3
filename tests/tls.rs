//! TLS as a filter: the echo protocol over it, in the simulated world.
#![cfg(feature = "tls")]

mod support;

use evenkeel::reactor::net::sim::Script;
use evenkeel::reactor::{Failure, Fault, Op, TlsFault};
use support::echo::Reason;
use support::tls::{BOTH, Client, client_config, echoing, reasons};

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

fn failed(op: Op, fault: TlsFault) -> Reason {
    Reason::Failed(Failure { op, fault: Fault::Tls(fault) })
}

#[test]
fn lines_are_echoed_and_both_sides_part_with_close_notify() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(&[version]));
        client.say(b"hello\nworld\n");
        client.talk(&mut reactor, 50);
        assert_eq!((client.got.as_slice(), &client.error), (&b"hello\nworld\n"[..], &None));
        client.say(b"quit\n");
        client.talk(&mut reactor, 50);
        assert!(client.got.ends_with(b"bye\n") && client.closed);
        client.conn.send_close_notify();
        client.talk(&mut reactor, 50);
        reactor.net_mut().go_on(client.id, Script::new().fin());
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [Reason::Quit]);
        assert_eq!(reactor.counters().handshakes, 1);
        assert!(!reactor.net().was_reset(client.id));
    }
}

#[test]
fn a_peer_that_says_goodbye_is_told_as_eof_and_one_that_does_not_as_cut_off() {
    for version in VERSIONS {
        let (mut reactor, listener) = echoing(BOTH);
        let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(&[version]));
        client.say(b"hello\n");
        client.talk(&mut reactor, 50);
        client.conn.send_close_notify();
        client.talk(&mut reactor, 50);
        assert_eq!((reasons(&reactor), client.closed), (vec![Reason::Eof], true));

        let (mut reactor, listener) = echoing(BOTH);
        let mut client = Client::arrive(&mut reactor, listener, Script::new(), client_config(&[version]));
        client.say(b"hello\n");
        client.talk(&mut reactor, 50);
        reactor.net_mut().go_on(client.id, Script::new().fin());
        support::settle(&mut reactor);
        assert_eq!(reasons(&reactor), [failed(Op::Read, TlsFault::Truncated)]);
    }
}
