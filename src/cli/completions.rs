//! `evenkeel completions SHELL`.

use super::{World, answered, command};

/// Writes the script to standard output.
pub(super) fn run(shell: clap_complete::Shell, world: &mut World<'_>) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "evenkeel", &mut script);
    let written = world.stdout.write_all(&script);
    answered(written, world)
}
