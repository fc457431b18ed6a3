//! `evenkeel [serve] [DIR]`.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::args::Options;
use super::logs::{self, Logs};
use super::supervise::{self, Supervisor};
use super::{
    EXIT_DENIED, EXIT_FAILED, EXIT_FINE, EXIT_USAGE, World, admin, command, descriptors, load, open, refuse,
    systemd,
};
use crate::config::{self, Env, Errors, Flags, Loaded, Origin, Reason, Source, nearest};
use crate::server::settings::Config;
use crate::server::{Server, Setup};

/// Reads the configuration, looks whether what it names is there, and serves.
pub(super) fn run(options: &Options, dir: Option<PathBuf>, world: &mut World<'_>) -> u8 {
    let source = match open(options, world) {
        Ok(source) => source,
        Err(code) => return code,
    };
    let loaded = match load(source.as_ref(), options, dir.clone(), world) {
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
    let again =
        Again { options, dir, env: world.env, default_file: world.default_file, had_file: source.is_some() };
    start(loaded, again, world)
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

/// Starts the server and waits for its end, or for a signal that asks for it.
fn start(loaded: Loaded, mut again: Again<'_>, world: &mut World<'_>) -> u8 {
    let config = loaded.config;
    let logs = match Logs::start(&config.log) {
        Ok(logs) => logs,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: the logs cannot be opened: {error}");
            return if error.kind() == io::ErrorKind::PermissionDenied { EXIT_DENIED } else { EXIT_FAILED };
        }
    };
    descriptors::provide(&config).iter().for_each(|lacking| log::warn!("{lacking}"));
    let code = serve(config, &logs, &mut again, world);
    logs.close();
    code
}

/// All layers once more, for a reload.
struct Again<'a> {
    options: &'a Options,
    dir: Option<PathBuf>,
    env: &'a dyn Env,
    default_file: &'a Path,
    /// The configuration in force has a file.
    had_file: bool,
}

impl Again<'_> {
    fn read(&mut self) -> Result<Loaded, Vec<String>> {
        let lines = |errors: Errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        let asked = self.options.config.as_deref();
        if let Some(path) = asked
            && let Some(wrong) = spent(path)
        {
            return Err(vec![wrong]);
        }
        let source = Source::open(asked, self.default_file, &mut io::empty()).map_err(lines)?;
        // Without a file the defaults are in force: nobody means them by moving away what was read before.
        if source.is_none() && self.had_file {
            let path = self.default_file.display();
            return Err(vec![format!(
                "{path}: it was read before and is gone; an empty file asks for the defaults"
            )]);
        }
        let flags = Flags { settings: self.options.settings(), dir: self.dir.clone() };
        let loaded = config::load(source.as_ref(), self.env, &flags).map_err(lines)?;
        let wrong = loaded.check_disk();
        if !wrong.is_empty() {
            return Err(lines(Errors(wrong)));
        }
        self.had_file = source.is_some();
        Ok(loaded)
    }
}

/// Why this can be read but once: read again, standard input or a pipe (`-c <(decrypt evenkeel.toml)`) is empty, and empty text is a
/// good configuration, though not the one that was meant. None for a file, and for what is not there.
fn spent(path: &Path) -> Option<String> {
    if path == Path::new("-") {
        return Some("the configuration came from standard input, which cannot be read again".into());
    }
    let kind = std::fs::metadata(path).map(|meta| meta.file_type());
    let is_stream = kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket());
    let what = "the configuration came from a pipe, which cannot be read again; restart to apply a change";
    is_stream.then(|| format!("{}: {what}", path.display()))
}

fn serve(config: Config, logs: &Logs, again: &mut Again<'_>, world: &mut World<'_>) -> u8 {
    // Before anybody is told that it runs: a signal that came earlier would end it without a word.
    let (to, wakes) = mpsc::channel();
    if let Err(error) = supervise::signals(to.clone()) {
        let _ = writeln!(world.stderr, "error: signals cannot be handled: {error}");
        return EXIT_FAILED;
    }
    let admin = admin::listen(&config, world.env).and_then(|listener| {
        let Some(listener) = listener else { return Ok(None) };
        Ok(Some((listener, supervise::requests(to)?)))
    });
    let admin = match admin {
        Ok(admin) => admin,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: {error}");
            return if error.kind() == io::ErrorKind::PermissionDenied { EXIT_DENIED } else { EXIT_FAILED };
        }
    };
    let (access, diagnostics) = (Some(logs.queue()), logs.diagnostics());
    let setup = Setup { access, diagnostics, inherited: systemd::inherited(), admin };
    let mut server = match Server::start_with(&config, setup) {
        Ok(server) => server,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: {error}");
            return if error.is_denied() { EXIT_DENIED } else { EXIT_FAILED };
        }
    };
    announce(&server, &config, world);
    let file = again.options.config.as_deref();
    Supervisor { server: &mut server, wakes: &wakes, logs, config, file, reread: &mut || again.read() }.run();
    match server.wait() {
        Ok(()) => {
            log::info!("ended");
            EXIT_FINE
        }
        Err(error) => {
            let _ = writeln!(world.stderr, "error: {error}");
            EXIT_FAILED
        }
    }
}

/// Says where it listens.
fn announce(server: &Server, config: &Config, world: &mut World<'_>) {
    for address in server.addresses() {
        supervise::listening(&address).iter().for_each(|line| log::info!("{line}"));
        if !logs::is_json_on_stdout(&config.log) {
            let _ = writeln!(world.stdout, "listening on {address}");
        }
    }
    let _ = world.stdout.flush();
}

#[cfg(test)]
mod tests {
    use super::super::args::Cli;
    use super::*;
    use clap::Parser;
    use std::collections::BTreeMap;
    use std::os::fd::AsRawFd;

    fn again<'a>(options: &'a Options, env: &'a dyn Env, default_file: &'a Path) -> Again<'a> {
        Again { options, dir: None, env, default_file, had_file: true }
    }

    #[test]
    fn what_came_from_a_pipe_is_not_read_again_and_what_came_from_a_file_is() {
        let env = BTreeMap::<String, String>::new();
        let (pipe, _write) = io::pipe().unwrap();
        let pipe = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        for (path, word) in [("-", Some("standard input")), (&pipe, Some("a pipe")), ("/dev/null", None)] {
            let options = Cli::try_parse_from(["evenkeel", "-c", path]).unwrap().options;
            let read =
                again(&options, &env, Path::new("/nonexistent")).read().map_err(|wrong| wrong.concat());
            match word {
                Some(word) => assert!(read.as_ref().is_err_and(|wrong| wrong.contains(word)), "{read:?}"),
                None => assert!(read.is_ok(), "{read:?}"),
            }
        }
    }

    #[test]
    fn a_default_file_that_was_read_and_is_gone_is_no_wish_for_the_defaults() {
        let env = BTreeMap::<String, String>::new();
        let folder = std::env::temp_dir().join(format!("evenkeel-again-{}", std::process::id()));
        let (file, options) =
            (folder.join("evenkeel.toml"), Cli::try_parse_from(["evenkeel"]).unwrap().options);
        std::fs::create_dir_all(&folder).unwrap();
        let mut again = Again { had_file: false, ..again(&options, &env, &file) };
        assert!(again.read().is_ok(), "there was none, and is none");
        std::fs::write(&file, "").unwrap();
        assert!(again.read().is_ok() && again.had_file);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(again.read().unwrap_err().concat().contains("is gone"));
    }
}
