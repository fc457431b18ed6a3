//! What the fuzz target of WebSocket sessions checks, over its seeds and a few hundred random inputs.
#![cfg(all(feature = "ws", feature = "tcp"))]

mod support;
mod talk;

#[path = "../fuzz/logic/ws_session.rs"]
mod ws_session;

use evenkeel::reactor::net::sim::Random;
use std::panic::catch_unwind;

#[test]
fn any_bytes_make_sessions_that_end_and_send_only_what_is_legal() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/ws_session");
    for seed in std::fs::read_dir(folder).unwrap() {
        ws_session::run(&std::fs::read(seed.unwrap().path()).unwrap());
    }
    for round in 0..2000 {
        let mut random = Random::new(round);
        let len = random.up_to(1500);
        let data: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        assert!(catch_unwind(|| ws_session::run(&data)).is_ok(), "round {round}");
    }
}
