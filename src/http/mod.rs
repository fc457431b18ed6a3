//! HTTP: requests to answers.
//!
//! Meaning and version are kept apart: `request.rs`, `reply.rs`, `router.rs` and `files.rs` know nothing of HTTP/1.1, whose
//! connection machine is `h1.rs`.

mod clock;
mod escape;
mod exchange;
pub mod fault;
pub mod files;
mod h1;
#[cfg(test)]
#[path = "harness/tests.rs"]
mod harness;
mod late;
mod mime;
pub mod pages;
mod pieces;
mod redirect;
mod reply;
mod request;
mod respond;
pub mod router;
mod serve;
#[cfg(target_os = "linux")]
pub mod server;
mod site;

pub use clock::Clock;
#[cfg(target_os = "linux")]
pub use files::DiskThreads;
pub use files::{Errand, Files, FilesOptions, LookAhead};
pub use h1::{Connection, Outcome};
pub use late::{Late, Post, Ticket};
pub use pages::Pages;
pub use redirect::{Redirect, RedirectError};
pub use reply::{
    Accepting, Answer, Body, BodyPolicy, Flow, Handler, Prebuilt, Reply, Responder, Sent, Terms, Upload, Work,
};
pub use request::{MAX_PARAMS, Params, Request};
pub use respond::Respond;
#[cfg(target_os = "linux")]
pub use server::Server;
pub use site::{Exchanged, Options, RouteId, Service, Site};
