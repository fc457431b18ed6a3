//! `evenkeel config print`: every setting with where its value came from, as a file that reads as the same.

use super::args::Options;
use super::{World, answered, load, open};

/// Writes it to standard output.
pub(super) fn run(options: &Options, world: &mut World<'_>) -> u8 {
    match open(options, world).and_then(|source| load(source.as_ref(), options, None, world)) {
        Ok(loaded) => {
            let written = write!(world.stdout, "{loaded}");
            answered(written, world)
        }
        Err(code) => code,
    }
}
