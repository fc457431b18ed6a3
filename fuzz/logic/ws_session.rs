//! Bytes become peers that open WebSockets and send frames, legal and not, cut anywhere, and leave in any way. Whatever they are, the
//! reactor's invariants hold after every turn, what we send is well formed, and nothing is left in the end.

use super::support::settle;
use super::talk::{Duo, Serve, masked, request};
use evenkeel::guard::{Bounds, Slow};
use evenkeel::observe::Reason;
use evenkeel::reactor::net::sim::{Chaos, Script, SimId, SimNet};
use evenkeel::reactor::{Fault, Reactor, Settings};
use evenkeel::wire::ws::{Assembler, Desk, Limits, Opcode, Policy, Role};
use evenkeel::ws::{self, Kind, Message, Options, Pace, Peer};
use std::time::Duration;

/// Most acts of one world.
const ACTS: usize = 300;

/// The bytes, one by one; zeros when they are used up.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn some(&mut self, n: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        some
    }
}

/// Does whatever the first byte of a message says.
struct Any;

impl ws::Handler for Any {
    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) {
        let room = if message.bytes().len().is_multiple_of(2) { "even" } else { "odd" };
        match message.bytes().first().copied().unwrap_or(0) % 8 {
            0 => drop(peer.join(room)),
            1 => drop(peer.leave(room)),
            // It may be refused.
            2 => drop(peer.publish(room, message)),
            3 => (0..5).for_each(|_| peer.send(message)),
            4 => peer.close(evenkeel::wire::ws::Code::NORMAL, "enough"),
            5 => peer.send_to(peer.token(), message),
            6 => {
                let other = peer.members(room).next();
                if let Some(other) = other {
                    peer.kick(other, evenkeel::wire::ws::Code::POLICY, "");
                }
            }
            _ => peer.send(message),
        }
    }

    fn writable(&mut self, peer: &mut Peer<'_>) {
        peer.send(Message::Binary(b"room again"));
    }
}

/// Text that is UTF-8, but for a rare one.
fn words(bytes: &mut Bytes<'_>, arg: u8) -> Vec<u8> {
    let all = if arg == 125 { 0xff } else { 0x7f };
    bytes.some(usize::from(arg % 126)).iter().map(|byte| byte & all).collect()
}

fn act(script: Script, bytes: &mut Bytes<'_>) -> Script {
    let (kind, arg) = (bytes.next(), bytes.next());
    match kind % 16 {
        0 | 1 => script.send(masked(Opcode::Text, true, &words(bytes, arg))),
        2 => script.send(masked(Opcode::Binary, true, bytes.some(usize::from(arg % 126)))),
        3 => {
            let first = masked(Opcode::Text, false, &words(bytes, arg));
            let between = masked(Opcode::Ping, true, bytes.some(usize::from(kind >> 4)));
            let last = masked(Opcode::Continuation, true, &words(bytes, kind >> 4));
            match arg {
                0..=220 => script.send(first).send(between).wait(u64::from(arg)).send(last),
                221..=240 => script.send(first),
                _ => script.send(last),
            }
        }
        4 => script.send(masked(Opcode::Ping, true, bytes.some(usize::from(arg % 126)))),
        5 => script.send(masked(Opcode::Binary, true, &vec![arg; usize::from(arg) * 80])),
        6 => script.send(masked(Opcode::Pong, true, b"")),
        7 if arg % 8 == 0 => script.send(masked(Opcode::Close, true, &[3, 232])),
        8 if arg % 16 == 0 => script.send(bytes.some(usize::from(arg / 16))),
        9 => {
            let frame = masked(Opcode::Text, true, &words(bytes, arg % 20));
            let cut = usize::from(kind >> 4).min(frame.len());
            script.send(&frame[..cut]).wait(3).send(&frame[cut..])
        }
        10 => script.wait(u64::from(arg) * 40),
        11 => script.window(u64::from(arg) * 64),
        12 => script.window(u64::MAX),
        13 if arg % 8 == 0 => script.fail_write_after(u64::from(arg), Fault::BrokenPipe),
        14 if arg % 8 == 0 => script.reset(),
        15 if arg % 8 == 0 => script.fin(),
        _ => script.wait(1),
    }
}

/// What we sent is a head and whole frames, but for the last if the connection was cut.
fn check_sent(world: &SimNet<false>, id: SimId, deflate: bool) {
    let sent = world.sent(id).to_vec();
    let Some(at) = sent.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    let mut frames = sent[at + 4..].to_vec();
    let agreed = deflate
        .then(|| evenkeel::wire::ws::Agreed::choose(&[Default::default()], &Policy::default()).unwrap());
    let (mut assembler, mut desk, mut from) = (Assembler::new(Role::Client, agreed), Desk::new(), 0);
    while let (n, Some(_)) =
        assembler.next(&mut frames[from..], &mut desk, &Limits::default()).expect("legal frames")
    {
        from += n;
    }
}

/// One world.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (how, size, seed) = (bytes.next(), bytes.next(), bytes.next());
    let deflate = how & 1 != 0;
    let options = Options {
        pace: Pace { ping_interval: Duration::from_secs(u64::from(how >> 6)), ..Pace::default() },
        limits: Limits { frame: 20_000, message: 30_000, ratio: 200 },
        slow: [Slow::Close, Slow::DropOldest, Slow::DropNewest, Slow::Latest][usize::from(how >> 1) % 4],
        bounds: Bounds { messages: 1 + usize::from(size % 16), bytes: 1 + usize::from(size) * 100 },
        message_rate: u32::from(size % 3) * 20,
        ..Options::default()
    };
    let kind = match how >> 3 & 3 {
        0 => Kind::Echo,
        1 => Kind::Room,
        _ => Kind::Custom(Box::new(Any)),
    };
    let mut app = Duo::new(0, 1);
    let route = app.ws.add(options, kind);
    app.serve.push(Serve::Ws(route));
    let mut net = SimNet::<false>::with_regime(u64::from(seed));
    net.chaos = if seed % 2 == 0 { Chaos::SOME } else { Chaos::NONE };
    let listener = net.listen();
    let settings = Settings { high_water: 8192, low_water: 2048, hard_cap: 1 << 20, ..Settings::default() };
    let mut reactor = Reactor::new(app, net, settings);
    reactor.add_listener(listener).unwrap();
    let mut peers = Vec::new();
    let mut left = ACTS;
    while !bytes.0.is_empty() && left > 0 && peers.len() < 12 {
        let acts = usize::from(bytes.next() % 40).min(left);
        left -= acts.max(1).min(left);
        let mut opening = request("/room");
        if deflate {
            opening =
                opening.replace("Host: a\r\n", "Host: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n");
        }
        let script = Script::new().send(opening);
        let script = (0..acts).fold(script, |script, _| act(script, &mut bytes)).wait(90_000).fin();
        peers.push(reactor.net_mut().arrive_in(listener, u64::from(bytes.next()), script));
    }
    settle(&mut reactor);
    assert_eq!((reactor.connections(), reactor.net().open_streams()), (0, 0));
    assert_eq!(reactor.app().ends.len() as u64, reactor.counters().closed);
    assert_eq!(reactor.app().ws.rooms().count(), 0, "nobody is left in a room");
    // What panics below a handler's call would end a connection, and no more.
    assert!(!reactor.app().reasons().contains(&Reason::HandlerFailed));
    for id in peers {
        check_sent(reactor.net(), id, deflate);
    }
}
