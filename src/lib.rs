//! Evenkeel: a small server that stays on an even keel, and the machine it is made of.

#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(any(feature = "http", feature = "ws", feature = "tcp"))]
pub mod guard;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "http", feature = "ws", feature = "tcp"))]
pub mod observe;
pub mod reactor;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "tcp")]
pub mod tcp;
pub mod wire;
#[cfg(feature = "ws")]
pub mod ws;
