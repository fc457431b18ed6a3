//! `evenkeel [serve] [DIR]`.

use std::path::{Path, PathBuf};

use super::args::Options;
use super::{EXIT_DENIED, EXIT_FAILED, EXIT_USAGE, World, command, load, refuse};
use crate::config::{Errors, Loaded, Origin, Reason, nearest};

/// Reads the configuration, looks whether what it names is there, and serves.
pub(super) fn run(options: &Options, dir: Option<PathBuf>, world: &mut World<'_>) -> u8 {
    let loaded = match load(options, dir.clone(), world) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let errors = loaded.check_disk();
    let (arguments, others): (Vec<_>, Vec<_>) =
        errors.into_iter().partition(|error| error.place == Origin::Flag("DIR"));
    if !others.is_empty() {
        let code = refuse(&Errors(others), world);
        for error in &arguments {
            let _ = writeln!(world.stderr, "error: {error}");
        }
        return code;
    }
    if let Some(error) = arguments.first() {
        let _ = writeln!(world.stderr, "error: {error}{}", command_hint(dir.as_deref()));
        let denied = matches!(error.reason, Reason::Unusable { denied: true, .. });
        return if denied { EXIT_DENIED } else { EXIT_USAGE };
    }
    start(loaded, world)
}

/// The command that a folder which is not there was perhaps meant to be.
fn command_hint(dir: Option<&Path>) -> String {
    let command = command();
    let names: Vec<&str> = command.get_subcommands().map(|one| one.get_name()).collect();
    match dir.and_then(Path::to_str).and_then(|word| nearest(word, names)) {
        Some(name) => format!(" (or was the command `{name}` meant?)"),
        None => String::new(),
    }
}

/// Hands the configuration to the server and waits for its end.
fn start(loaded: Loaded, world: &mut World<'_>) -> u8 {
    let _ = loaded.config;
    let _ = writeln!(world.stderr, "error: the server is not wired yet");
    EXIT_FAILED
}
