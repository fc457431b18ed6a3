//! Evenkeel: a small server that stays on an even keel, and the machine it is made of.

#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "http")]
pub mod guard;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod observe;
pub mod reactor;
#[cfg(feature = "server")]
pub mod server;
pub mod wire;
