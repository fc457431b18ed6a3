//! The arguments, as `clap` derives them. Values of settings are only checked here; `config` gives them meaning.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Bare, setting};

/// A small server that stays on an even keel: files, HTTP, WebSocket and TCP.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, about = "A small server that stays on an even keel: files, HTTP, WebSocket and TCP", max_term_width = 100, after_help = AFTER)]
pub(super) struct Cli {
    /// The flags, which every command takes.
    #[command(flatten)]
    pub options: Options,
    /// What to do; serve when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Folder to serve at /; it takes the place of the configured route "/*"
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

const AFTER: &str = "\
Settings come from flags, then EVENKEEL_... variables, then SERVER_PORT and its like, then the file, then defaults.
`evenkeel config print` shows each with where it came from.

Exit codes: 0 fine, 1 failed while running, 2 usage, 77 not permitted, 78 bad configuration.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve until told to stop (what happens when no command is given)
    Serve {
        /// Folder to serve at /; it takes the place of the configured route "/*"
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Say whether the configuration is good, without serving
    Check,
    /// Have the running server read its configuration again, through its admin socket
    Reload,
    /// Look at the configuration
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write a completion script for a shell
    Completions {
        /// Shell to write it for
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Write all settings as a file, each with where its value came from
    Print,
}

/// Flags that every command takes.
#[derive(Debug, Default, Args)]
pub(super) struct Options {
    /// Configuration file; "-" is standard input [default: /etc/evenkeel/evenkeel.toml, if it is there]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 0.0.0.0]
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = legal("server.host"))]
    pub host: Option<String>,
    /// Port to listen on; 0 is any free one [default: 8080]
    #[arg(short, long, global = true, value_name = "PORT", value_parser = legal("server.port"))]
    pub port: Option<String>,
    /// Least serious message to log: error, warn, info, debug, trace, off [default: info]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = legal("log.level"))]
    pub log_level: Option<String>,
    /// Threads that serve; 0 is one per core [default: 0]
    #[arg(long, global = true, value_name = "COUNT", value_parser = legal("server.workers"))]
    pub workers: Option<String>,
    /// Connections at one time [default: 10000]
    #[arg(long, global = true, value_name = "COUNT", value_parser = legal("server.max_connections"))]
    pub max_connections: Option<String>,
}

impl Options {
    /// The settings that were given, by key.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("server.host", &self.host),
            ("server.port", &self.port),
            ("log.level", &self.log_level),
            ("server.workers", &self.workers),
            ("server.max_connections", &self.max_connections),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))).collect()
    }
}

/// Lets through what the setting understands, so that a wrong flag is a mistake of usage.
fn legal(key: &'static str) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |text| match setting(key).map(|setting| setting.kind.read_text(text, Bare::Refused)) {
        Some(Err(reason)) => Err(reason.to_string()),
        _ => Ok(text.to_owned()),
    }
}

/// The whole command line, for completions and manuals.
pub fn command() -> clap::Command {
    Cli::command()
}
