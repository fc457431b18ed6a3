//! Who may do how much: connections of one client, memory of the process.

pub mod clients;

pub use clients::{Client, Clients};
