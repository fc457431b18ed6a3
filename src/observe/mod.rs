//! Seeing what happens: close reasons, counters, logs, health.

mod reason;

pub use reason::Reason;
