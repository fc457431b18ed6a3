//! The command line: arguments in, exit code out.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 usage, 77 not permitted, 78 bad configuration. Help and whatever was
//! asked for go to standard output, mistakes to standard error. All that a command reads or writes is passed in as
//! [`World`], so that tests run commands without a process.

mod admin;
mod args;
mod check;
mod completions;
mod config_print;
mod descriptors;
mod logs;
mod narrow;
mod pinch;
mod serve;
mod supervise;
mod systemd;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::config::{self, Env, Errors, Flags, Loaded, Source};
use args::{Cli, Command, ConfigCommand, Options};

pub use args::command;

/// It went well.
pub const EXIT_FINE: u8 = 0;
/// It failed while running.
pub const EXIT_FAILED: u8 = 1;
/// The arguments are wrong.
pub const EXIT_USAGE: u8 = 2;
/// A port, a file or a folder is not permitted (EX_NOPERM).
pub const EXIT_DENIED: u8 = 77;
/// The configuration is wrong (EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;

/// What a command may read and write.
pub struct World<'a> {
    /// The environment.
    pub env: &'a dyn Env,
    /// Standard input, for `-c -`.
    pub stdin: &'a mut dyn Read,
    /// Standard output.
    pub stdout: &'a mut dyn Write,
    /// Standard error.
    pub stderr: &'a mut dyn Write,
    /// The file that is read when none is named and it exists.
    pub default_file: &'a Path,
}

/// Runs the command line of this process, and gives its exit code.
pub fn main() -> u8 {
    narrow::share_one_arena();
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut world = World {
        env: &config::ProcessEnv,
        stdin: &mut stdin.lock(),
        stdout: &mut stdout.lock(),
        stderr: &mut io::LineWriter::new(stderr),
        default_file: Path::new(config::DEFAULT_FILE),
    };
    run(std::env::args_os(), &mut world)
}

/// Runs one command line (the program's name first), and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, world: &mut World<'_>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let _ = write!(world.stderr, "{}", error.render());
            return EXIT_USAGE;
        }
        Err(help) => {
            let written = write!(world.stdout, "{}", help.render());
            return answered(written, world);
        }
    };
    let code = match (cli.command, cli.dir) {
        (None, dir) | (Some(Command::Serve { dir }), None) => serve::run(&cli.options, dir, world),
        (Some(_), Some(dir)) => {
            let _ = writeln!(
                world.stderr,
                "error: a folder ({}) stands before the command; write it after `serve`",
                dir.display()
            );
            EXIT_USAGE
        }
        (Some(Command::Reload), None) => admin::reload(&cli.options, world),
        (Some(Command::Check), None) => check::run(&cli.options, world),
        (Some(Command::Config { command: ConfigCommand::Print }), None) => {
            config_print::run(&cli.options, world)
        }
        (Some(Command::Completions { shell }), None) => completions::run(shell, world),
    };
    let _ = world.stdout.flush();
    code
}

/// The file of the configuration, if there is one; what is wrong has been written to standard error when a code comes back.
fn open(options: &Options, world: &mut World<'_>) -> Result<Option<Source>, u8> {
    let opened = Source::open(options.config.as_deref(), world.default_file, world.stdin);
    opened.map_err(|errors| refuse(&errors, world))
}

/// Reads all layers of the configuration; what is wrong has been written to standard error when a code comes back.
fn load(
    source: Option<&Source>,
    options: &Options,
    dir: Option<PathBuf>,
    world: &mut World<'_>,
) -> Result<Loaded, u8> {
    let flags = Flags { settings: options.settings(), dir };
    let loaded = config::load(source, world.env, &flags).map_err(|errors| refuse(&errors, world))?;
    for warning in &loaded.warnings {
        let _ = writeln!(world.stderr, "warning: {warning}");
    }
    Ok(loaded)
}

/// Writes what is wrong, and gives the exit code for it.
fn refuse(errors: &Errors, world: &mut World<'_>) -> u8 {
    for error in &errors.0 {
        let _ = writeln!(world.stderr, "error: {error}");
    }
    if errors.is_denied() { EXIT_DENIED } else { EXIT_CONFIG }
}

/// The exit code of a command whose answer was written, or was not: a reader that has gone away (`evenkeel config print | head`) has
/// seen enough, a file on a full disk has not.
fn answered(written: io::Result<()>, world: &mut World<'_>) -> u8 {
    match written.and_then(|()| world.stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(world.stderr, "error: standard output cannot be written: {error}");
            EXIT_FAILED
        }
        Ok(()) | Err(_) => EXIT_FINE,
    }
}

/// Whether output may be coloured: only on a terminal, and not with a `NO_COLOR` that is not empty (no-color.org).
pub fn colour(env: &dyn Env, is_terminal: bool) -> bool {
    is_terminal && env.var("NO_COLOR").is_none_or(|value| value.is_empty())
}
