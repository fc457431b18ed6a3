//! Bytes to values and back. No I/O, no clock, no policy.

pub mod http;
pub mod limits;
#[cfg(feature = "ws")]
pub mod ws;
