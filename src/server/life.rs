//! What is told of a connection's life: in the log, for those who are watched, and in counts.

use super::app::{Note, Worker};
use super::session::{STATES, Session};
use crate::guard::Slow;
use crate::observe::{DropPolicy, Handshake, Tally};
use crate::reactor::{Cx, Event, Fault, Op, Peer, Phase, TlsFault, Token};
use crate::{tcp, ws};

impl Worker {
    /// A session's state, to be handed to [`lived`](Self::lived) after a call: none unless its life is written.
    #[inline]
    pub(super) fn before(&self, session: &Session, cx: &Cx<'_, Worker>) -> Option<usize> {
        let wanted = self.lifecycle.wants_any() && self.lifecycle.wants(&cx.peer());
        wanted.then(|| session.state(Phase::Open)).flatten()
    }

    /// A call is over: writes the state that it led to.
    #[cold]
    pub(super) fn lived(&self, before: usize, now: &Session, token: Token, peer: &Peer) {
        let Some(now) = now.state(Phase::Open).filter(|now| *now != before) else { return };
        self.lifecycle.note(token, peer, format_args!("{} -> {}", STATES[before], STATES[now]));
    }

    /// A connection was accepted or connected, and TLS agreed where there is TLS; or an operation failed.
    pub(super) fn heard(&mut self, event: &Event<Note>, secure: bool, token: Token, peer: &Peer) {
        match event {
            Event::Open => {
                if secure {
                    self.publisher.tally.handshake(Handshake::Done);
                }
                self.lifecycle.note(
                    token,
                    peer,
                    format_args!("open{}", if secure { " over TLS" } else { "" }),
                );
            }
            Event::Failed(failure) => {
                if failure.op == Op::Handshake {
                    self.publisher.tally.handshake(handshake(failure.fault));
                }
                let name = failure.fault.name();
                self.lifecycle.note(token, peer, format_args!("{:?} failed: {name}", failure.op));
            }
            Event::Eof | Event::Drained | Event::Timeout(_) | Event::Drain | Event::Note(..) => {}
        }
    }
}

/// How a handshake that did not end well is counted.
fn handshake(fault: Fault) -> Handshake {
    match fault {
        Fault::Tls(TlsFault::NotTls) => Handshake::NotTls,
        Fault::Tls(TlsFault::Alert | TlsFault::Protocol | TlsFault::Certificate) => Handshake::Failed,
        Fault::TimedOut => Handshake::TimedOut,
        Fault::Tls(TlsFault::Truncated) | Fault::Reset | Fault::BrokenPipe => Handshake::PeerLeft,
        Fault::Refused | Fault::Unreachable | Fault::Exhausted | Fault::Truncated | Fault::Other => {
            Handshake::Failed
        }
    }
}

/// What rooms, WebSockets and raw TCP have counted.
pub(super) fn tally_talk(tally: &mut Tally, ws: &ws::Hub, tcp: &tcp::Hub) {
    let (talk, lines, rooms) = (ws.counters(), tcp.counters(), ws.rooms());
    (tally.ws_messages_in, tally.ws_messages_out) = (talk.messages_in, talk.messages_out);
    (tally.ws_bytes_in, tally.ws_bytes_out) = (talk.bytes_in, talk.bytes_out);
    tally.speaker_waits = talk.waits + lines.waits;
    tally.publish_refusals = talk.publish_refused + lines.publish_refused;
    (tally.rooms, tally.room_members) = (rooms.at_home() as u64, rooms.seated() as u64);
    let lost = |slow: Slow| talk.lost[slow as usize] + lines.lost[slow as usize];
    for (drop, count) in [
        (DropPolicy::Close, talk.too_slow + lines.too_slow),
        (DropPolicy::Oldest, lost(Slow::DropOldest)),
        (DropPolicy::Newest, lost(Slow::DropNewest)),
        (DropPolicy::Latest, lost(Slow::Latest)),
    ] {
        tally.drops[drop as usize] = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_publish_over_the_bounds_is_on_the_page() {
        let mut ws = ws::Hub::new(0, 1, ws::RoomLimits::default());
        let mut tcp = tcp::Hub::new(0, 1);
        let service = tcp.add(tcp::Options { gathered: 1, ..tcp::Options::default() }, tcp::Kind::Lines);
        ws.set_gathered(1);
        ws.send(Token::from_bits(1), ws::Message::Text("fills it"));
        assert!(tcp.publish(service, b"fills it").is_ok());
        assert!(ws.publish("a", ws::Message::Text("x")).is_err() && tcp.publish(service, b"x").is_err());
        let mut tally = Tally::new(STATES);
        tally_talk(&mut tally, &ws, &tcp);
        assert_eq!((tally.publish_refusals, tally.speaker_waits), (2, 0));
    }
}
