//! Bytes become valid requests, how they are cut, and what several peers do, in a world with chaos: everybody sees the right
//! answers in the right order, and whoever behaves sees them all.

use super::support::http::{answer_all, responses, serving_in, site, tickets};
use evenkeel::reactor::net::sim::{Chaos, Script, SimId, SimNet};
use evenkeel::reactor::{Settings, Turn};
use std::io::ErrorKind;
use std::time::Duration;

const REQUESTS: [(&str, &str, u16, &str); 8] = [
    ("GET", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", 200, "ok"),
    ("HEAD", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", 200, ""),
    ("GET", "GET /late HTTP/1.1\r\nhost: a\r\n\r\n", 200, "late"),
    ("GET", "GET /stream HTTP/1.1\r\nhost: a\r\n\r\n", 200, "ab"),
    ("POST", "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", 200, "hello"),
    (
        "POST",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
        200,
        "abc",
    ),
    ("POST", "POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nxyz", 200, "took 3"),
    (
        "POST",
        "POST /upload HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwxyz\r\n0\r\n\r\n",
        200,
        "took 4",
    ),
];

struct Guest {
    id: SimId,
    asked: Vec<usize>,
    behaves: bool,
}

/// Eight bytes of settings; then two bytes an act: what, and how much.
pub fn run(data: &[u8]) {
    let Some((settings, acts)) = data.split_first_chunk::<8>() else { return };
    let [seed, low, high, short, block, late, spurious, mid] = *settings;
    let mut net = SimNet::new(u64::from(seed));
    net.chaos = Chaos {
        short: short % 90,
        would_block: block % 25,
        shuffle: 50,
        spurious: spurious % 50,
        late: late % 40,
        late_by: u64::from(late % 50),
        mid_turn: mid % 60,
    };
    let low_water = 1 + usize::from(low) * 8;
    let high_water = low_water + usize::from(high) * 8;
    tickets();
    let (mut reactor, listener) =
        serving_in(net, site(), Settings { low_water, high_water, ..Settings::default() });
    let mut guests = Vec::new();
    for acts in acts.chunks(64) {
        let (script, asked, behaves) = peer(acts);
        guests.push(Guest { id: reactor.net_mut().arrive(listener, script), asked, behaves });
    }
    loop {
        match reactor.turn(Some(Duration::from_secs(1))) {
            Ok(Turn::Finished) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Deadlock => {}
            Err(error) => panic!("a turn failed: {error}"),
        }
        reactor.check();
        answer_all();
        if reactor.net().is_over() && reactor.next() == Turn::Idle && reactor.connections() == 0 {
            break;
        }
        assert!(reactor.net().elapsed_ms() < 400_000, "no end");
    }
    for Guest { id, asked, behaves } in &guests {
        let methods: Vec<&str> = asked.iter().map(|n| REQUESTS[*n].0).collect();
        let seen = responses(reactor.net().sent(*id), &methods);
        for (seen, n) in seen.iter().zip(asked).filter(|(seen, _)| seen.whole && seen.status != 408) {
            assert_eq!(
                (seen.status, &seen.body[..]),
                (REQUESTS[*n].2, REQUESTS[*n].3.as_bytes()),
                "{}",
                REQUESTS[*n].1
            );
        }
        assert!(
            !behaves || seen.len() == asked.len() && seen.iter().all(|seen| seen.whole),
            "{id:?}: {seen:?}"
        );
    }
    assert_eq!(reactor.app().tape().closes.len() as u64, reactor.counters().accepted);
}

fn peer(acts: &[u8]) -> (Script, Vec<usize>, bool) {
    let (mut script, mut asked, mut waiting) = (Script::new(), Vec::new(), Vec::new());
    for act in acts.chunks_exact(2) {
        let n = usize::from(act[1]);
        match act[0] % 8 {
            0..4 => {
                asked.push(n % REQUESTS.len());
                waiting.extend_from_slice(REQUESTS[n % REQUESTS.len()].1.as_bytes());
            }
            4 => script = script.send(waiting.drain(..n.min(waiting.len())).collect::<Vec<u8>>()),
            5 => script = script.wait(n as u64 % 100),
            6 => script = script.window(n as u64 * 4),
            _ if act[0] >= 0xF0 => {
                let end = Script::new().send(&waiting[..n.min(waiting.len())]);
                return (script.then(end).reset(), asked, false);
            }
            _ => {}
        }
    }
    (script.send(waiting).window(u64::MAX).wait(1).fin(), asked, true)
}
