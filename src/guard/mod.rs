//! Who may do how much: connections of one client, memory of the process.

pub mod clients;
pub mod memory;

pub use clients::{Client, Clients};
pub use memory::{Budget, Pressure, Share};
