//! The server: listeners, protocols, workers, drain and reload put together.

mod admin;
mod app;
mod attend;
mod bind;
mod build;
mod life;
mod peers;
mod record;
mod relief;
mod reload;
mod run;
mod session;
pub mod settings;
mod shared;
mod survey;
mod tick;
pub mod tls;
mod upgrade;
pub mod welcome;

pub use admin::{AdminRequest, CONFIG_FIELD};
#[doc(hidden)]
pub use app::Tape;
pub use app::{Message, Note, Worker};
pub(crate) use build::pages;
pub use reload::{Difference, Order, Reload, ReloadError, difference};
pub use run::{RunError, Server, Setup};
pub use session::Session;
pub use shared::Shared;
pub use survey::Survey;
pub use tick::Tick;
