//! Any bytes as a connection's input: the log of events is the same in one piece and in many, bytes that were not
//! consumed are untouched, and no buffer outgrows what came.
#![no_main]

use evenkeel::wire::ws::extension::DeflateOffer;
use evenkeel::wire::ws::{Agreed, Assembler, Desk, Event, Limits, Policy, Role};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { frame: 4000, message: 5000, ratio: 100 };

fn assembler(how: u8) -> Assembler {
    let takeover = how & 4 != 0;
    let policy = Policy { client_takeover: takeover, server_takeover: takeover, ..Policy::default() };
    let agreed = Agreed::choose(&[DeflateOffer::default()], &policy).filter(|_| how & 2 != 0);
    Assembler::new(if how & 1 == 0 { Role::Server } else { Role::Client }, agreed)
}

fn line(event: Event<'_>) -> String {
    if let Event::Text(text) = event {
        assert!(std::str::from_utf8(text.as_bytes()).is_ok());
    }
    format!("{event:?}")
}

fn run(mut assembler: Assembler, bytes: &[u8], sizes: &[u8]) -> Vec<String> {
    let (mut desk, mut log, mut kept) = (Desk::new(), Vec::new(), Vec::new());
    let (mut rest, mut turn, mut total) = (bytes, 0, 0);
    while !rest.is_empty() {
        let size = sizes.get(turn % sizes.len().max(1)).map_or(rest.len(), |n| usize::from(*n) + 1);
        let (piece, left) = rest.split_at(size.min(rest.len()));
        (rest, turn, total) = (left, turn + 1, total + piece.len());
        kept.extend_from_slice(piece);
        loop {
            let before = kept.clone();
            match assembler.next(&mut kept, &mut desk, &LIMITS) {
                Err(violation) => {
                    log.push(format!("{violation:?}"));
                    return log;
                }
                Ok((consumed, event)) => {
                    let event = event.map(line);
                    assert_eq!(before[consumed..], kept[consumed..]);
                    kept.drain(..consumed);
                    let Some(event) = event else { break };
                    log.push(event);
                }
            }
        }
        assert!(kept.len() < 14 + 125);
        assert!(assembler.held() <= (2 * total).max(64 * 1024));
    }
    log
}

fuzz_target!(|data: &[u8]| {
    let [how, sizes, bytes @ ..] = data else { return };
    let (sizes, bytes) = bytes.split_at(usize::from(*sizes % 8).min(bytes.len()));
    let whole = run(assembler(*how), bytes, &[]);
    assert_eq!(run(assembler(*how), bytes, sizes), whole);
    assert_eq!(run(assembler(*how), bytes, &[0]), whole);
});
