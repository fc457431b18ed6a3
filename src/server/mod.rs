//! The server: listeners, protocols, workers, drain and reload put together.

mod admin;
mod app;
mod build;
mod peers;
mod run;
mod session;
pub mod settings;
mod shared;
mod tick;
pub mod tls;
mod upgrade;
pub mod welcome;

#[doc(hidden)]
pub use app::Tape;
pub use app::{Message, Note, Worker};
pub use run::{RunError, Server};
pub use session::Session;
pub use shared::Shared;
pub use tick::Tick;
