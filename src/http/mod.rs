//! HTTP: requests to answers.
//!
//! Meaning and version are kept apart: `request.rs`, `reply.rs`, `router.rs` and `files.rs` know nothing of HTTP/1.1, whose
//! connection machine is `h1.rs`.

mod clock;
mod exchange;
pub mod fault;
mod h1;
mod late;
pub mod pages;
mod reply;
mod request;
pub mod router;
mod serve;
mod site;

pub use clock::Clock;
pub use h1::{Connection, Outcome};
pub use late::{Late, Post, Ticket};
pub use reply::{
    Accepting, Answer, Body, BodyPolicy, Flow, Handler, Prebuilt, Reply, Responder, Sent, Terms, Upload,
};
pub use request::{MAX_PARAMS, Params, Request};
pub use site::{Exchanged, Options, Service, Site};
