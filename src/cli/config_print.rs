//! `evenkeel config print`: every setting with where its value came from, as a file that reads as the same.

use super::args::Options;
use super::{EXIT_FINE, World, load};

/// Writes it to standard output.
pub(super) fn run(options: &Options, world: &mut World<'_>) -> u8 {
    match load(options, None, world) {
        Ok(loaded) => {
            let _ = write!(world.stdout, "{loaded}");
            EXIT_FINE
        }
        Err(code) => code,
    }
}
