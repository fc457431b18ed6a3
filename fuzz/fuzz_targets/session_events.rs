#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

#[path = "../logic/session_events.rs"]
mod logic;

libfuzzer_sys::fuzz_target!(|data: &[u8]| logic::run(data));
