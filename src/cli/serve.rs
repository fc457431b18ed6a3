//! `evenkeel [serve] [DIR]`.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use signal_hook::consts::{SIGQUIT, SIGTERM};

use super::args::Options;
use super::{EXIT_DENIED, EXIT_FAILED, EXIT_FINE, EXIT_USAGE, World, command, load, refuse};
use crate::config::{Errors, Loaded, Origin, Reason, nearest};
use crate::reactor::net::os::Stopwatch;
use crate::server::Server;
use crate::server::settings::Address;

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

/// How often a drain says what it waits for.
const DRAIN_REPORT: Duration = Duration::from_secs(5);

/// Somebody asks for the end.
struct Asked;

/// Starts the server and waits for its end, or for a signal that asks for it.
fn start(loaded: Loaded, world: &mut World<'_>) -> u8 {
    let config = loaded.config;
    let colour = super::colour(world.env, std::io::IsTerminal::is_terminal(&std::io::stderr()));
    start_log(config.log.level, colour);
    let server = match Server::start(&config) {
        Ok(server) => server,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: {error}");
            return if error.is_denied() { EXIT_DENIED } else { EXIT_FAILED };
        }
    };
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
    match supervise(&server, config.server.drain_lag, config.server.drain_timeout) {
        Ok(()) => {}
        Err(error) => {
            let _ = writeln!(world.stderr, "error: signals cannot be handled: {error}");
            return EXIT_FAILED;
        }
    }
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

/// Drains on the first signal, stops on the second; says what it waits for. Returns when every worker has ended.
fn supervise(server: &Server, lag: Duration, limit: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let wakes = signals()?;
    loop {
        match wakes.recv_timeout(Duration::from_secs(1)) {
            Ok(Asked) => break,
            Err(_) if server.is_finished() => return Ok(()),
            Err(_) => {}
        }
    }
    log::info!("draining: {} connections, at most {} s", server.connections(), limit.as_secs());
    if !lag.is_zero() && matches!(wakes.recv_timeout(lag), Ok(Asked)) {
        server.stop();
        return Ok(());
    }
    server.drain(limit);
    let watch = Stopwatch::start();
    let mut reported = Duration::ZERO;
    while !server.is_finished() {
        if let Ok(Asked) = wakes.recv_timeout(Duration::from_millis(20)) {
            log::warn!("a second signal: {} connections are cut", server.connections());
            server.stop();
            return Ok(());
        }
        if watch.elapsed() >= reported + DRAIN_REPORT {
            reported = watch.elapsed();
            let waits = server.survey(Duration::from_millis(200)).to_string();
            log::info!("draining for {} s, waiting for {waits}", reported.as_secs());
        }
    }
    log::info!("drained in {} ms", watch.elapsed().as_millis());
    Ok(())
}

/// Ctrl-C by `ctrlc`; what a service manager sends by `signal-hook`. SIGPIPE is ignored by Rust's runtime.
fn signals() -> Result<mpsc::Receiver<Asked>, Box<dyn std::error::Error>> {
    let (to, from) = mpsc::channel();
    let interrupt = to.clone();
    ctrlc::set_handler(move || {
        let _ = interrupt.send(Asked);
    })?;
    let mut asked = signal_hook::iterator::Signals::new([SIGTERM, SIGQUIT])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in asked.forever() {
            let _ = to.send(Asked);
        }
    })?;
    Ok(from)
}

fn start_log(level: log::LevelFilter, colour: bool) {
    let mut config = simplelog::ConfigBuilder::new();
    config
        .set_time_format_rfc3339()
        .set_target_level(log::LevelFilter::Off)
        .set_thread_level(log::LevelFilter::Off);
    let choice = if colour { simplelog::ColorChoice::Auto } else { simplelog::ColorChoice::Never };
    // A logger that is there already belongs to the program around us.
    let _ = simplelog::TermLogger::init(level, config.build(), simplelog::TerminalMode::Stderr, choice);
}
