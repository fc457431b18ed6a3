//! Who may do how much: what one peer may cost the others, and all of them the machine.
//!
//! | file | what it bounds |
//! |---|---|
//! | `clients` | connections of one client |
//! | `memory` | bytes held for all connections of the process |
//! | `queue` | what waits for somebody who is slow, or away, and what is lost when that is too much |
//! | `gate` | what is on its way from those who speak to those who listen |
//! | `fanout` | one message to many, encoded once |
//! | `backlog` | what waits for those of the many who read too slowly |
//! | `contain` | a handler of the program's that panics |
//! | `backoff` | how often a connection that was lost is tried again |

mod backlog;
mod backoff;
pub mod clients;
mod contain;
mod fanout;
mod gate;
pub mod memory;
mod queue;

pub use backlog::{Backlog, Delivery};
pub use backoff::{Backoff, Retry};
pub use clients::{Client, Clients};
pub use contain::contain;
pub use fanout::{Arrivals, Batch, Gather, Member, Spares};
pub use gate::{Flights, Gate, Refused};
pub use memory::{Budget, Pressure, Share};
pub use queue::{Bounds, LONGEST, Pushed, Queue, Slow, WATER};
