//! The server: listeners, protocols, workers, drain and reload put together.

pub mod settings;
pub mod welcome;
