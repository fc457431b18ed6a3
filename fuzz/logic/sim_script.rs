//! Bytes become a whole simulated world: settings, chaos, peers and what they do. Whatever they are, the reactor's invariants hold
//! after every turn, nothing is left in the end, and each peer that is done no harm sees a beginning of its echo.

use super::support::echo::{self, EchoApp};
use super::support::settle;
use evenkeel::reactor::net::Ready;
use evenkeel::reactor::net::sim::{AcceptFault, Act, Chaos, Script, SimId, SimListener, SimNet};
use evenkeel::reactor::{Fault, Reactor, Settings, Target};
use std::time::Duration;

/// Most acts of one world, so that a long input does not take for ever.
const ACTS: usize = 400;

const LINES: &[&str] = &[
    "x\n",
    "half",
    "pause 90\n",
    "produce 70000\n",
    "produce 400000\n",
    "note\n",
    "dial w\n",
    "hold 60\n",
    "quit\n",
    "hush\n",
    "abort\n",
    "detach 50\n",
    "\n",
    "\u{0}\u{ff}\n",
    "a longer line, to be split\n",
    "produce 0\n",
];

/// The bytes, one by one; zeros when they are used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn percent(&mut self) -> u8 {
        self.next() % 90
    }

    fn fault(&mut self) -> Fault {
        Fault::ALL[usize::from(self.next()) % Fault::ALL.len()]
    }
}

pub fn run(data: &[u8]) {
    match data.first().is_some_and(|byte| byte % 2 == 1) {
        true => world::<true>(Bytes(data)),
        false => world::<false>(Bytes(data)),
    }
}

fn act(bytes: &mut Bytes<'_>, input: &mut Vec<u8>) -> Act {
    match bytes.next() % 16 {
        0..=6 => {
            let line = LINES[usize::from(bytes.next()) % LINES.len()];
            input.extend_from_slice(line.as_bytes());
            Act::Send(line.as_bytes().to_vec())
        }
        7 | 8 => Act::Wait(u64::from(bytes.next())),
        9 => Act::Window(u64::from(bytes.next()) * 1000),
        10 => Act::Window(u64::MAX),
        11 => Act::Fin,
        12 => match bytes.next() % 4 {
            0 => Act::Reset,
            1 => Act::Close,
            2 => Act::FailRead(bytes.fault()),
            _ => Act::FailWrite(bytes.fault()),
        },
        13 => Act::FailWriteAfter(u64::from(bytes.next()) * 100, bytes.fault()),
        14 => Act::AwaitSent(u64::from(bytes.next())),
        _ => Act::Spurious(Ready(bytes.next() % 8)),
    }
}

fn peers<const R: bool>(
    reactor: &mut Reactor<EchoApp, SimNet<R>>,
    listener: SimListener,
    bytes: &mut Bytes<'_>,
) -> Vec<(SimId, Vec<u8>)> {
    let (mut script, mut input, mut peers) = (Script::new(), Vec::new(), Vec::new());
    for n in 0..ACTS {
        if bytes.0.is_empty() {
            break;
        }
        // What is sent after FIN or a fault is never seen; the model is told of it, but asks for a beginning only.
        script = script.act(act(bytes, &mut input));
        if n % 16 == 15 || bytes.0.is_empty() {
            let wait = u64::from(bytes.next());
            let id = reactor.net_mut().arrive_in(listener, wait, std::mem::take(&mut script).wait(500).fin());
            peers.push((id, std::mem::take(&mut input)));
        }
    }
    peers
}

fn world<const R: bool>(mut bytes: Bytes<'_>) {
    let mut net = SimNet::<R>::with_regime(u64::from(bytes.next()));
    net.chaos = Chaos {
        short: bytes.percent(),
        would_block: bytes.percent() / 4,
        shuffle: bytes.percent(),
        spurious: bytes.percent(),
        late: bytes.percent(),
        late_by: u64::from(bytes.next()),
        mid_turn: bytes.percent(),
    };
    let listener = net.listen();
    let low_water = 1 + usize::from(bytes.next()) * 100;
    let settings = Settings {
        max_connections: 1 + usize::from(bytes.next() % 16),
        low_water,
        high_water: low_water + usize::from(bytes.next()) * 500,
        ..Settings::default()
    };
    let app = EchoApp {
        upstream: Some(Target::Tcp(net.address(listener))),
        evictable: bytes.next().is_multiple_of(2),
        ..EchoApp::default()
    };
    let mut reactor = Reactor::new(app, net, settings);
    reactor.add_listener(listener).expect("a simulated listener can be watched");
    for _ in 0..bytes.next() % 4 {
        let fault = [AcceptFault::Exhausted, AcceptFault::Skip][usize::from(bytes.next() % 2)];
        reactor.net_mut().fail_accept(listener, [fault]);
    }
    let peers = peers(&mut reactor, listener, &mut bytes);
    settle(&mut reactor);
    assert_eq!((reactor.connections(), reactor.net().open_streams()), (0, 0));
    assert_eq!((reactor.counters().no_progress, reactor.app().here), (0, 0));
    for (id, input) in peers {
        let sent = reactor.net().sent(id);
        // A dial that finds no slot, or is evicted, has no answer; a FIN before its time brings the end of `hold` forward.
        let certain = !input.windows(4).any(|four| four == b"dial" || four == b"hold");
        assert!(!certain || echo::model(&input).starts_with(sent), "{id:?}");
    }
    reactor.drain(Duration::ZERO);
    settle(&mut reactor);
}
