//! Seeing what happens: close reasons, counters, logs, health.
//!
//! Nothing here acts on a connection. A worker counts into its [`Tally`] and writes into its [`AccessLog`]; both are handed on at the
//! end of a turn, so that nobody who looks ever waits for a worker, or a worker for anybody.

pub mod access;
pub mod counters;
#[cfg(feature = "cli")]
pub mod diagnostics;
#[cfg(feature = "server")]
pub mod forwarded;
pub mod health;
pub mod histogram;
pub mod hub;
#[cfg(feature = "server")]
pub mod lifecycle;
pub mod log_writer;
#[cfg(feature = "server")]
pub mod peers;
pub mod process;
#[cfg(feature = "server")]
pub mod prometheus;
mod reason;
pub mod request_id;
pub mod summary;

pub use access::{AccessLog, Entry, Format};
pub use counters::{DropPolicy, Handshake, Refusal, Tally};
pub use health::{Health, HealthStatus, Lag, ResponseTime, Vitals};
pub use hub::{Hub, Publisher, Silence};
#[cfg(feature = "server")]
pub use lifecycle::Lifecycle;
pub use log_writer::{LogQueue, LogWriter, Sink};
#[cfg(feature = "server")]
pub use peers::Peers;
pub use process::Process;
#[cfg(feature = "server")]
pub use prometheus::{Exposition, MetricsSnapshot, Reloads, render};
pub use reason::Reason;
pub use request_id::{RequestId, RequestIds};
