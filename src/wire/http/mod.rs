//! HTTP/1.1 syntax: bytes to values and back (RFC 9110, RFC 9112).
//!
//! Strict: what the grammar does not allow is refused with a [`Reject`], never repaired, because two parties that
//! repair a message differently disagree on where it ends. After a `Reject` the connection has no known position
//! in its input and can only be answered and closed.
//!
//! | file | bytes | value |
//! |---|---|---|
//! | [`head`] | a request head | [`head::Head`] |
//! | [`response`] | a response head (we are the client) | [`response::ResponseHead`] |
//! | [`framing`] | the fields that say how long a body is | [`framing::Framing`]: the only place that decides it |
//! | [`chunked`] | a chunked body | runs of data, then the end |
//! | [`target`] | a request-target, a path | [`target::Target`], a normalised relative path |
//! | [`range`], [`conditional`], [`accept`], [`date`] | the fields of these names | what they ask for |
//! | [`emit`] | | writes heads, chunks, fields; cannot write an illegal one |
//!
//! Invariants, each with a property test: no parser consumes more than it was given; any split of the input gives
//! the same verdict as the whole at once; work is linear in the bytes received, however they arrive.

pub mod accept;
pub mod chunked;
pub mod conditional;
pub mod date;
pub mod emit;
pub mod framing;
pub mod head;
pub mod method;
pub mod range;
mod reject;
pub mod response;
mod scan;
pub mod target;
pub mod text;

pub use head::{Head, Parsed, Version};
pub use method::Method;
pub use reject::Reject;
pub use scan::Scan;
