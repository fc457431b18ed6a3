//! HTTP: requests to answers.
//!
//! Meaning and version are kept apart: `request.rs`, `reply.rs`, `router.rs` and `files.rs` know nothing of HTTP/1.1, whose
//! connection machine is `h1.rs`.

mod clock;
mod late;
mod reply;
mod request;

pub use clock::Clock;
pub use late::{Late, Post, Ticket};
pub use reply::{
    Accepting, Answer, Body, BodyPolicy, Flow, Handler, Prebuilt, Reply, Responder, Sent, Terms, Upload,
};
pub use request::{Params, Request};
