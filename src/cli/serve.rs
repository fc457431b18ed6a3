//! `evenkeel [serve] [DIR]`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use signal_hook::consts::{SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::args::Options;
use super::{EXIT_DENIED, EXIT_FAILED, EXIT_FINE, EXIT_USAGE, World, command, load, refuse};
use crate::config::{Errors, Loaded, Origin, Reason, nearest};
use crate::observe::diagnostics::{self, Output};
use crate::observe::log_writer::LIMIT;
use crate::observe::{LogWriter, Sink};
use crate::reactor::net::os::Stopwatch;
use crate::server::Server;
use crate::server::settings::{AccessFormat, Address, Config, Log};

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

/// When a drain first says what it waits for, and how often then.
const FIRST_REPORT: Duration = Duration::from_secs(1);
const DRAIN_REPORT: Duration = Duration::from_secs(5);

/// How long the last lines of the logs may take to be written.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
/// How long workers may take to tell what they hold.
const SURVEY_PATIENCE: Duration = Duration::from_millis(200);

/// What a signal asks for.
enum Asked {
    /// To finish what is under way, and end.
    End,
    /// To begin new log files.
    Reopen,
    /// To say what there is.
    Summary,
}

/// Starts the server and waits for its end, or for a signal that asks for it.
fn start(loaded: Loaded, world: &mut World<'_>) -> u8 {
    let config = loaded.config;
    let logs = match Logs::start(&config.log) {
        Ok(logs) => logs,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: the logs cannot be opened: {error}");
            return if error.kind() == io::ErrorKind::PermissionDenied { EXIT_DENIED } else { EXIT_FAILED };
        }
    };
    let code = serve(&config, &logs, world);
    logs.close();
    code
}

/// The threads that write what workers log.
struct Logs {
    access: Option<LogWriter>,
    diagnostics: Option<LogWriter>,
}

impl Logs {
    fn start(log: &Log) -> io::Result<Logs> {
        let access = match (log.access, &log.access_path) {
            (AccessFormat::Off, _) => None,
            (_, None) => Some(LogWriter::start(Sink::Stdout, LIMIT)?),
            (_, Some(path)) => Some(LogWriter::start(Sink::File(path.clone()), LIMIT)?),
        };
        let mut diagnostics = None;
        let output = Output::for_stderr(|| {
            let writer = LogWriter::start(Sink::Stderr, LIMIT)?;
            let queue = writer.queue();
            diagnostics = Some(writer);
            Ok(queue)
        })?;
        // A logger that is there already belongs to the program around us.
        let _ = diagnostics::start(log.level, output);
        Ok(Logs { access, diagnostics })
    }

    /// Writes what is left.
    fn close(self) {
        for writer in [self.access, self.diagnostics].into_iter().flatten() {
            writer.close(LOG_PATIENCE);
        }
    }

    /// Begins new files, after the old ones were moved away.
    fn reopen(&self) {
        for writer in [&self.access, &self.diagnostics].into_iter().flatten() {
            if let Err(error) = writer.reopen() {
                log::error!("a log cannot be opened again; the old file is kept: {error}");
            }
        }
    }
}

fn serve(config: &Config, logs: &Logs, world: &mut World<'_>) -> u8 {
    // Before anybody is told that it runs: a signal that came earlier would end it without a word.
    let wakes = match signals() {
        Ok(wakes) => wakes,
        Err(error) => {
            let _ = writeln!(world.stderr, "error: signals cannot be handled: {error}");
            return EXIT_FAILED;
        }
    };
    let access = logs.access.as_ref().map(LogWriter::queue);
    let server = match Server::start(config, access) {
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
    supervise(&server, &wakes, logs, config);
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
fn supervise(server: &Server, wakes: &mpsc::Receiver<Asked>, logs: &Logs, config: &Config) {
    let (lag, limit) = (config.server.drain_lag, config.server.drain_timeout);
    loop {
        match wakes.recv_timeout(Duration::from_secs(1)) {
            Ok(Asked::End) => break,
            Ok(Asked::Reopen) => logs.reopen(),
            Ok(Asked::Summary) => log::info!("{}", server.survey(SURVEY_PATIENCE)),
            Err(_) if server.is_finished() => return,
            Err(_) => {}
        }
    }
    log::info!("draining: {} connections, at most {} s", server.connections(), limit.as_secs());
    server.turn_unready();
    if !lag.is_zero() && matches!(wakes.recv_timeout(lag), Ok(Asked::End)) {
        server.stop();
        return;
    }
    server.drain(limit);
    let watch = Stopwatch::start();
    let mut report_at = FIRST_REPORT;
    while !server.is_finished() {
        if let Ok(Asked::End) = wakes.recv_timeout(Duration::from_millis(20)) {
            log::warn!("a second signal: {} connections are cut", server.connections());
            server.stop();
            return;
        }
        if watch.elapsed() >= report_at {
            report_at += DRAIN_REPORT;
            let waits = server.survey(SURVEY_PATIENCE).to_string();
            log::info!("draining for {} s, waiting for {waits}", watch.elapsed().as_secs());
        }
    }
    log::info!("drained in {} ms", watch.elapsed().as_millis());
}

/// Ctrl-C by `ctrlc`; what a service manager sends by `signal-hook`. SIGPIPE is ignored by Rust's runtime.
fn signals() -> Result<mpsc::Receiver<Asked>, Box<dyn std::error::Error>> {
    let (to, from) = mpsc::channel();
    let interrupt = to.clone();
    ctrlc::set_handler(move || {
        let _ = interrupt.send(Asked::End);
    })?;
    let mut asked = signal_hook::iterator::Signals::new([SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in asked.forever() {
            let _ = to.send(match signal {
                SIGUSR1 => Asked::Reopen,
                SIGUSR2 => Asked::Summary,
                _ => Asked::End,
            });
        }
    })?;
    Ok(from)
}
