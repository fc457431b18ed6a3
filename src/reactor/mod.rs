//! Sockets, time, memory. No protocol.
//!
//! A [`Reactor`] owns everything, in parallel tables under one index: transport state ([`port`]), stream, protocol state
//! ([`Session`]). A [`Token`] is the only name of a connection. One turn of it:
//!
//! 1. wait: not at all if anything is runnable, else until the wheel's next wake; the clock is read once;
//! 2. each event is looked up by its token, remembered in its port, and the port queued, once;
//! 3. messages from other threads; up to 64 accepts a listener;
//! 4. each queued port is run: flush what waits, read into one scratch buffer, [`Session::on_data`], then one write straight from
//!    the cork. Only what the kernel refused is copied into a pooled outbox;
//! 5. notes between sessions; 6. timers; and the ports that these two queued.
//!
//! Invariants, each with a test and a mutant that the test kills:
//!
//! 1. Readiness is remembered; only `WouldBlock` clears it (or a short read, where the world says so and no hang-up was hinted).
//! 2. Whoever removes a reason not to read queues the port again: no wake-up comes for free.
//! 3. READABLE is registered once; WRITABLE once, at the first `WouldBlock`.
//! 4. A port gets 4 reads and 1 MiB out a turn; what is left, and what a session wants shown again, goes to the back of the queue, whose
//!    length at the start bounds the turn.
//! 5. An idle connection holds no buffer.
//! 6. The wheel's node of a port is armed no later than its nearest deadline.
//! 7. A connection ends exactly once, with exactly one reason.
//! 8. Nobody waits for the disk: of a file leaves what is at hand, and who waits for more is run again by the wheel (`fetch.rs`).
//!
//! TLS is a filter between 4's read and `on_data`, and between the cork and the socket: see `tls.rs`, and `secure.rs` for its phase.
//!
//! Read on in `outcome.rs`, `port.rs`, `pump.rs`, `send.rs`. This module imports no other of the crate.

mod accept;
mod birth;
pub mod buffer;
mod context;
mod ending;
mod fetch;
mod handle;
pub mod idle;
mod input;
mod later;
#[doc(hidden)]
pub mod mutant;
pub mod net;
pub mod outbox;
mod outcome;
mod patience;
pub mod port;
mod pump;
mod room;
mod secure;
mod send;
mod survey;
mod table;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/off.rs"]
mod tls;
mod token;
mod turn;
pub mod wheel;
mod worker;

pub use accept::Gauge;
pub use context::{
    Admit, App, AppCx, Close, Cx, Deadline, End, Event, EventOf, Hit, Pressure, Session, Step, StepOf, Timer,
};
pub use handle::Handle;
pub use input::Input;
#[cfg(target_os = "linux")]
pub use net::os::{OsListener, OsNet};
pub use net::{
    DirEntry, FileHandle, FileType, Host, Links, Net, OpenError, Peer, RelPath, Root, Stat, Target,
};
pub use outbox::Part;
pub use outcome::{CloseHow, Failure, Fault, Io, Op, PortReason, TlsFault};
pub use port::{Phase, Settings};
pub use survey::Surveyed;
pub use tls::{TlsInfo, TlsSide};
pub use token::{ListenerId, Millis, Token};
pub use turn::{Counters, Reactor, Turn};
pub use worker::Workers;
