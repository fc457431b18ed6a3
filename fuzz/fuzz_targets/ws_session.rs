#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../../tests/talk/mod.rs"]
mod talk;

#[path = "../logic/ws_session.rs"]
mod logic;

libfuzzer_sys::fuzz_target!(|data: &[u8]| logic::run(data));
