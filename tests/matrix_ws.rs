//! Every state of a WebSocket connection, of a server and of a client, hit by every fault, by nothing, by the end and by silence.
#![cfg(feature = "ws")]

mod support;
mod talk;

#[path = "talk/subjects.rs"]
mod subjects;

use evenkeel::reactor::net::sim::Chaos;
use subjects::{WsClient, WsServer};
use support::matrix;

/// Chaos that changes lengths and order, but not by more time than a state lasts.
const MILD: Chaos = Chaos { late_by: 5, ..Chaos::SOME };

#[test]
fn a_server_does_on_each_hit_what_the_table_says() {
    assert!(matrix::run::<WsServer, true>(Chaos::NONE) > 60);
    matrix::run::<WsServer, false>(Chaos::NONE);
}

#[test]
fn a_client_does_on_each_hit_what_the_table_says() {
    assert!(matrix::run::<WsClient, true>(Chaos::NONE) > 100);
    matrix::run::<WsClient, false>(Chaos::NONE);
}

#[test]
fn under_chaos_the_tables_hold_as_well() {
    matrix::run::<WsServer, true>(MILD);
    matrix::run::<WsServer, false>(MILD);
    matrix::run::<WsClient, true>(MILD);
    matrix::run::<WsClient, false>(MILD);
}
