//! Bytes to values and back. No I/O, no clock, no policy.

pub mod http;
#[cfg(feature = "ws")]
pub mod ws;
