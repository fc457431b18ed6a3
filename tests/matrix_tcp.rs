//! Every state of a raw TCP connection hit by every fault, by nothing, by the end and by silence.
#![cfg(feature = "tcp")]

mod support;
mod talk;

#[path = "talk/subjects.rs"]
mod subjects;

use evenkeel::reactor::net::sim::Chaos;
use subjects::Tcp;
use support::matrix;

/// Chaos that changes lengths and order, but not by more time than a state lasts.
const MILD: Chaos = Chaos { late_by: 5, ..Chaos::SOME };

#[test]
fn a_connection_does_on_each_hit_what_the_table_says() {
    assert!(matrix::run::<Tcp, true>(Chaos::NONE) > 30);
    matrix::run::<Tcp, false>(Chaos::NONE);
}

#[test]
fn under_chaos_the_table_holds_as_well() {
    matrix::run::<Tcp, true>(MILD);
    matrix::run::<Tcp, false>(MILD);
}
