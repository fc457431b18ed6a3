//! What the fuzz targets check, over their seeds and a few thousand random inputs: so that they keep compiling, and keep passing.

mod support;

#[path = "../fuzz/logic/http_sim.rs"]
mod http_sim;
#[path = "../fuzz/logic/outbox.rs"]
mod outbox;
#[path = "../fuzz/logic/session_events.rs"]
mod session_events;
#[path = "../fuzz/logic/sim_script.rs"]
mod sim_script;
#[path = "../fuzz/logic/wheel.rs"]
mod wheel;

use evenkeel::reactor::net::sim::Random;
use std::panic::catch_unwind;

fn replay(name: &str, rounds: u64, longest: usize, run: fn(&[u8])) {
    let folder = format!("{}/fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
    for seed in std::fs::read_dir(folder).unwrap() {
        run(&std::fs::read(seed.unwrap().path()).unwrap());
    }
    for round in 0..rounds {
        let mut random = Random::new(round);
        let len = random.up_to(longest);
        let data: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        assert!(catch_unwind(|| run(&data)).is_ok(), "{name}: round {round}");
    }
}

#[test]
fn the_wheel_fires_what_a_map_would_fire() {
    replay("wheel", 1000, 900, wheel::run);
}

#[test]
fn the_outbox_gives_every_byte_once() {
    replay("outbox", 300, 400, outbox::run);
}

#[test]
fn any_bytes_make_a_world_in_which_the_reactor_holds() {
    replay("sim_script", 300, 900, sim_script::run);
}

#[test]
fn any_bytes_and_events_leave_an_http_connection_ended_once() {
    replay("session_events", 300, 900, session_events::run);
}

#[test]
fn any_bytes_make_a_world_in_which_http_answers_in_order() {
    replay("http_sim", 300, 600, http_sim::run);
}
