//! The diagnostics of the binary: what goes through the `log` crate, to standard error, with UTC times in ISO 8601.
//!
//! On a terminal each line is written at once, in colour unless `NO_COLOR` says otherwise (no-color.org). Anywhere else lines go
//! through a [`LogQueue`], so that whoever stops reading them cannot stop a reactor. The library never calls this.

use super::LogQueue;
use log::LevelFilter;
use simplelog::{ColorChoice, Config, ConfigBuilder, TermLogger, TerminalMode, WriteLogger};
use std::io::{self, IsTerminal, Write};

/// Where lines go.
#[derive(Clone, Debug)]
pub enum Output {
    /// Straight to standard error, with or without colours.
    Terminal {
        /// Levels are coloured.
        colour: bool,
    },
    /// To the log thread.
    Queue(LogQueue),
}

impl Output {
    /// What fits standard error: a terminal, in colour if it is wanted; or else the queue.
    pub fn for_stderr(queue: impl FnOnce() -> io::Result<LogQueue>) -> io::Result<Output> {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        match io::stderr().is_terminal() {
            true => Ok(Output::Terminal { colour: !no_colour && !dumb }),
            false => Ok(Output::Queue(queue()?)),
        }
    }
}

/// Installs the logger of the process. Once; an error if there is one already. The level can be changed later: [`set_level`].
pub fn start(level: LevelFilter, output: Output) -> Result<(), log::SetLoggerError> {
    // The logger itself lets everything through: `log::max_level` is the filter, because it can change on a reload.
    let all = LevelFilter::Trace;
    match output {
        Output::Terminal { colour } => {
            let colour = if colour { ColorChoice::Always } else { ColorChoice::Never };
            TermLogger::init(all, config(), TerminalMode::Stderr, colour)?;
        }
        Output::Queue(queue) => WriteLogger::init(all, config(), Records { queue, record: Vec::new() })?,
    }
    set_level(level);
    Ok(())
}

/// Another level from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

fn config() -> Config {
    ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Error)
        // Its lines say only which descriptor it registers.
        .add_filter_ignore_str("mio")
        .build()
}

/// Gathers the pieces in which a record is written, and hands it on whole: its last piece, and no other, ends the line.
struct Records {
    queue: LogQueue,
    record: Vec<u8>,
}

/// A record is cut after so many bytes.
const LONGEST: usize = 16 << 10;

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LONGEST.saturating_sub(self.record.len());
        self.record.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.last() == Some(&b'\n') {
            if self.record.last() != Some(&b'\n') {
                self.record.push(b'\n');
            }
            self.queue.offer(&self.record, 1);
            self.record.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LogWriter;
    use crate::observe::log_writer::tests::Memory;
    use log::{Level, Log, Record};
    use std::time::Duration;

    #[test]
    fn a_record_is_one_line_with_a_utc_time_a_level_and_a_target() {
        let memory = Memory::default();
        let writer = LogWriter::start_with(Box::new(memory.clone()), 1 << 20).unwrap();
        // Not installed: other tests run in this process.
        let records = Records { queue: writer.queue(), record: Vec::new() };
        let logger = WriteLogger::new(LevelFilter::Trace, config(), records);
        let log = |level, target, args: std::fmt::Arguments<'_>| {
            logger.log(&Record::builder().level(level).target(target).args(args).build());
        };
        log(Level::Info, "evenkeel::server", format_args!("listening on {}", "127.0.0.1:8080"));
        log(Level::Trace, "mio::poll", format_args!("registering"));
        log(Level::Debug, "evenkeel", format_args!("{}", "x".repeat(1 << 20)));
        assert!(writer.close(Duration::from_secs(10)));
        let text = String::from_utf8(memory.bytes()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "mio is not heard");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        assert_eq!(rest, "[INFO] evenkeel::server: listening on 127.0.0.1:8080");
        assert!(lines[1].len() <= LONGEST, "a record has a largest length");
    }
}
