//! Who may do how much: what one peer may cost the others.
//!
//! | file | what it bounds |
//! |---|---|
//! | `queue` | what waits for somebody who is slow, or away, and what is lost when that is too much |
//! | `fanout` | one message to many, encoded once, and what waits for those who read too slowly |
//! | `backoff` | how often a connection that was lost is tried again |
//!
//! Imports `reactor` only.

mod backoff;
mod fanout;
mod queue;

pub use backoff::{Backoff, Retry};
pub use fanout::{Backlog, Batch, Delivery, Gather, Member};
pub use queue::{Bounds, Pushed, Queue, Slow};
