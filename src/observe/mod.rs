//! Seeing what happens: close reasons, counters, logs, health.

pub mod access;
pub mod log_writer;
mod reason;
pub mod request_id;

pub use access::{AccessLog, Entry, Format};
pub use log_writer::{LogQueue, LogWriter, Sink};
pub use reason::Reason;
pub use request_id::{RequestId, RequestIds};
