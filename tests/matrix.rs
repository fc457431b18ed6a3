//! Every state hit by every fault, by nothing, by the end and by silence; and the page made of it.

mod support;
mod talk;

#[path = "talk/subjects.rs"]
mod subjects;

use evenkeel::reactor::net::sim::Chaos;
use subjects::{Tcp, WsClient, WsServer};
use support::http::Http;
use support::matrix;
use support::transport::Transport;

/// Chaos that changes lengths and order, but not by more time than a state lasts.
const MILD: Chaos = Chaos { late_by: 5, ..Chaos::SOME };

#[test]
fn the_transport_does_on_each_hit_what_the_table_says() {
    assert!(matrix::run::<Transport, true>(Chaos::NONE) > 200);
}

#[test]
fn http_does_on_each_hit_what_the_table_says() {
    assert!(matrix::run::<Http, true>(Chaos::NONE) > 200);
}

#[test]
fn where_a_short_read_proves_nothing_the_table_holds_as_well() {
    matrix::run::<Transport, false>(Chaos::NONE);
    matrix::run::<Http, false>(Chaos::NONE);
}

#[test]
fn under_chaos_the_table_holds_as_well() {
    matrix::run::<Transport, true>(MILD);
    matrix::run::<Transport, false>(MILD);
    matrix::run::<Http, true>(MILD);
    matrix::run::<Http, false>(MILD);
}

#[test]
fn the_page_of_faults_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/FAULTS.md");
    let mut page = String::from(
        "# What each state does on each fault\n\n\
         Made by `EVENKEEL_WRITE_FAULTS=1 cargo test --test matrix` from the tables that the test runs; do not edit.\n\
         A cell says the reason that is counted, how the stream ends, and all that the peer got.\n\n",
    );
    page.push_str(&matrix::page::<Transport>());
    page.push_str(&matrix::page::<Http>());
    page.push_str(&matrix::page::<WsServer>());
    page.push_str(&matrix::page::<WsClient>());
    page.push_str(&matrix::page::<Tcp>());
    if std::env::var_os("EVENKEEL_WRITE_FAULTS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == page, "src/FAULTS.md is stale: EVENKEEL_WRITE_FAULTS=1 cargo test --test matrix");
}
