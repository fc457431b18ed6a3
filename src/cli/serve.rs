//! `evenkeel [serve] [DIR]`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::args::Options;
use super::logs::Logs;
use super::supervise::{self, Supervisor};
use super::{
    EXIT_DENIED, EXIT_FAILED, EXIT_FINE, EXIT_USAGE, World, admin, command, descriptors, load, refuse,
    systemd,
};
use crate::config::{self, Env, Errors, Flags, Loaded, Origin, Reason, Source, nearest};
use crate::server::settings::{Address, Config};
use crate::server::{Server, Setup};

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
    start(loaded, options, dir, world)
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
fn start(loaded: Loaded, options: &Options, dir: Option<PathBuf>, world: &mut World<'_>) -> u8 {
    let config = loaded.config;
    let logs = match Logs::start(&config.log) {
        Ok(logs) => logs,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: the logs cannot be opened: {error}");
            return if error.kind() == io::ErrorKind::PermissionDenied { EXIT_DENIED } else { EXIT_FAILED };
        }
    };
    descriptors::provide(&config).iter().for_each(|lacking| log::warn!("{lacking}"));
    let (env, default_file) = (world.env, world.default_file);
    let mut reread = || reread(options, dir.clone(), env, default_file);
    let code = serve(config, &logs, &mut reread, world);
    logs.close();
    code
}

/// All layers once more, for a reload.
fn reread(
    options: &Options,
    dir: Option<PathBuf>,
    env: &dyn Env,
    default_file: &Path,
) -> Result<Loaded, Vec<String>> {
    if options.config.as_deref() == Some(Path::new("-")) {
        return Err(vec!["the configuration came from standard input, which cannot be read again".into()]);
    }
    let lines = |errors: Errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>();
    let source = Source::open(options.config.as_deref(), default_file, &mut io::empty()).map_err(lines)?;
    let flags = Flags { settings: options.settings(), dir };
    let loaded = config::load(source.as_ref(), env, &flags).map_err(lines)?;
    let wrong = loaded.check_disk();
    if wrong.is_empty() { Ok(loaded) } else { Err(lines(Errors(wrong))) }
}

fn serve(
    config: Config,
    logs: &Logs,
    reread: &mut dyn FnMut() -> Result<Loaded, Vec<String>>,
    world: &mut World<'_>,
) -> u8 {
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
    let setup = Setup { access: Some(logs.queue()), inherited: systemd::inherited(), admin };
    let mut server = match Server::start_with(&config, setup) {
        Ok(server) => server,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: {error}");
            return if error.is_denied() { EXIT_DENIED } else { EXIT_FAILED };
        }
    };
    announce(&server, world);
    Supervisor { server: &mut server, wakes: &wakes, logs, config, reread }.run();
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
fn announce(server: &Server, world: &mut World<'_>) {
    for address in server.addresses() {
        log::info!("listening on {address}");
        let _ = writeln!(world.stdout, "listening on {address}");
        if let Address::Tcp(at) = address
            && at.ip().is_unspecified()
        {
            log::info!("{at} is open to the world: every network that this machine is in can reach it");
        }
    }
    let _ = world.stdout.flush();
}
