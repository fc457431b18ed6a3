//! Raw TCP: echo, lines, and machines of one's own; and a client that comes back.
//!
//! | file | what it knows |
//! |---|---|
//! | `hub` | the services of one worker: options, handlers, who is connected, what goes to all |
//! | `connection` | the machine of one connection |
//! | `fault` | what it does in each state when something other than bytes comes: one table |
//! | `client` | the other end: connects, and connects again |
//!
//! Invariants:
//! 1. Output that waits above high water stops reading: a peer that does not take its answers cannot make us hold more.
//! 2. A peer that shuts down its writing side still gets all that it was owed; then we close.
//! 3. An idle connection owns nothing but its [`Connection`], 24 bytes.
//! 4. One connection never delays another: a line goes to all by one note and one write each, and who is too slow loses by its
//!    service's policy ([`Slow`](crate::guard::Slow)).
//! 5. What is on its way to others is bounded for each service by a [`Gate`](crate::guard::Gate): over it speakers wait for a later
//!    turn, and what a program publishes is refused.
//! 6. A handler that panics costs its own connection, which is reset; it is told its end, and nothing else of it.
//!
//! Imports `reactor`, `guard` and `observe` only.

pub mod client;
mod connection;
pub mod fault;
mod hub;

pub use connection::Connection;
pub use hub::{Counters, Handler, Hub, Kind, Note, Options, Peer, Remote, Service, ServiceId};
