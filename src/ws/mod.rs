//! WebSocket: connections, rooms, and a client that comes back (RFC 6455, RFC 7692).
//!
//! | file | what it knows |
//! |---|---|
//! | `upgrade` | the server's half of the opening handshake: a request's fields to an answer and a [`Setup`] |
//! | `hub` | what the connections of one worker share: routes, handlers, rooms, codecs |
//! | `handler` | what a program says and hears: [`Handler`], [`Peer`], [`Message`] |
//! | `pace` | the times and sizes that a connection lives by |
//! | `talk` | the protocol itself, for both roles: frames, ping and pong, the closing handshake |
//! | `connection` | the machine of one server connection |
//! | `rooms` | who is in which room, on which worker, and what is on its way to them |
//! | `client` | the other end: connects, and connects again |
//! | `fault` | what a connection does in each state when something other than bytes comes: one table |
//!
//! Invariants:
//! 1. All messages of one read are answered in one write.
//! 2. Control frames pass data that waits for room: what waits is in a queue of whole messages, never half in an outbox.
//! 3. A message to a room is encoded once; all members share its bytes. A room has one order, that of its home worker.
//! 4. Each connection that began a message, or a closing handshake, has a deadline for its end.
//! 5. An idle connection owns nothing but its [`Connection`], 56 bytes.
//! 6. A handler that panics costs its own connection, which is told 1011; it is told its end, and nothing else of it.
//!
//! A program of one's own with all that it owes to these: `examples/chat.rs`. Imports `reactor`, `wire`, `guard` and `observe` only.

pub mod client;
mod connection;
pub mod fault;
mod handler;
mod hub;
mod pace;
mod rooms;
mod talk;
mod upgrade;

pub use connection::Connection;
pub use handler::{Handler, Message, Owned, Peer};
pub use hub::{Counters, Hub, Kind, Note, Options, RouteId, Service};
pub use pace::{Pace, Rules};
pub use rooms::{JoinError, Remote, RoomLimits, Rooms, home};
pub use upgrade::{Accepted, Setup, Terms, accept};
