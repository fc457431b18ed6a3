//! The threads that write what workers log.

use crate::observe::diagnostics::{self, Output};
use crate::observe::log_writer::LIMIT;
use crate::observe::{LogQueue, LogWriter, Sink};
use crate::server::settings::{AccessFormat, Log};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the last lines of the logs may take to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module page.
pub(super) struct Logs {
    /// There even while there is no access log: a reload may ask for one.
    access: LogWriter,
    diagnostics: Option<LogWriter>,
}

impl Logs {
    pub(super) fn start(log: &Log) -> io::Result<Logs> {
        let access = LogWriter::start_named("the access log", sink(log), LIMIT)?;
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

    /// Where lines of the access log go.
    pub(super) fn queue(&self) -> LogQueue {
        self.access.queue()
    }

    /// Where diagnostics go, if not straight to a terminal.
    pub(super) fn diagnostics(&self) -> Option<LogQueue> {
        self.diagnostics.as_ref().map(LogWriter::queue)
    }

    /// Another level and another place from now on. On an error nothing has changed.
    pub(super) fn reload(&self, old: &Log, new: &Log) -> io::Result<()> {
        if place(old) != place(new) {
            self.access.redirect(sink(new))?;
        }
        diagnostics::set_level(new.level);
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn close(self) {
        for writer in [Some(self.access), self.diagnostics].into_iter().flatten() {
            writer.close(PATIENCE);
        }
    }

    /// Begins new files, after the old ones were moved away.
    pub(super) fn reopen(&self) {
        for writer in [Some(&self.access), self.diagnostics.as_ref()].into_iter().flatten() {
            if let Err(error) = writer.reopen() {
                log::error!("a log cannot be opened again; the old file is kept: {error}");
            }
        }
    }
}

/// The file that the access log goes to.
fn place(log: &Log) -> Option<&PathBuf> {
    log.access_path.as_ref().filter(|_| log.access != AccessFormat::Off)
}

/// Standard output is a log of JSON: whoever reads it expects nothing else there.
pub(super) fn is_json_on_stdout(log: &Log) -> bool {
    log.access == AccessFormat::Json && place(log).is_none_or(|path| path == Path::new("/dev/stdout"))
}

fn sink(log: &Log) -> Sink {
    place(log).map_or(Sink::Stdout, |path| Sink::File(path.clone()))
}
