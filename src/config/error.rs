//! What can be wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value came from; in an [`Error`], where the wrong one stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// Nobody said anything.
    #[default]
    Default,
    /// A place in the file; line and column (in characters) are counted from 1.
    File {
        /// The file as it was named; `<stdin>` for standard input.
        file: Arc<str>,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// The file as a whole.
    WholeFile(Arc<str>),
    /// An environment variable of this name.
    Variable(Box<str>),
    /// A flag, with its dashes, or an argument by its name in the usage (`DIR`).
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Origin::WholeFile(file) => f.write_str(file),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong. Prints as one line: `file:line:column: key: what, and what to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Where it stands.
    pub place: Origin,
    /// The setting, as `server.port` or `route[0].path` (counted from 0); empty for what concerns no one key.
    pub key: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is not TOML.
    Syntax(String),
    /// There is no such key; with the nearest that there is.
    UnknownKey {
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value of another type.
    WrongType {
        /// What should stand here.
        expected: String,
        /// What stands here.
        found: &'static str,
    },
    /// The right type, but it means nothing.
    BadValue {
        /// The value, shortened and escaped.
        found: String,
        /// What should stand here.
        expected: String,
    },
    /// A value that means something, but too little or too much.
    OutOfRange {
        /// The value.
        found: String,
        /// The least allowed.
        least: String,
        /// The most allowed.
        most: String,
    },
    /// A key that has to be there is not.
    Missing(String),
    /// Two settings contradict each other.
    Conflict(String),
    /// A part of the schema that this version does not do.
    NotBuilt(&'static str),
    /// A file that cannot be read or used.
    Unusable {
        /// Whether permission was denied.
        denied: bool,
        /// What happened and what to do.
        what: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Origin::Default {
            write!(f, "{}: ", self.place)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.reason.fmt(f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Syntax(what) => write!(f, "not valid TOML: {what}"),
            Reason::UnknownKey { nearest: Some(nearest) } => {
                write!(f, "unknown key; did you mean \"{nearest}\"?")
            }
            Reason::UnknownKey { nearest: None } => f.write_str("unknown key"),
            Reason::WrongType { expected, found } => write!(f, "expected {expected}, found {found}"),
            Reason::BadValue { found, expected } => write!(f, "expected {expected}, found {found}"),
            Reason::OutOfRange { found, least, most } => {
                write!(f, "{found} is out of range: {least} to {most}")
            }
            Reason::Missing(what) | Reason::Conflict(what) => f.write_str(what),
            Reason::NotBuilt(what) => write!(f, "this version does not do that yet: {what}"),
            Reason::Unusable { what, .. } => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// Everything that is wrong, in the order of the file, then of the environment. Never empty. Prints one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    /// Whether all of it is that something may not be read: the exit code is then 77 instead of 78.
    pub fn is_denied(&self) -> bool {
        self.0.iter().all(|error| matches!(error.reason, Reason::Unusable { denied: true, .. }))
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// A value as it may stand in an error: escaped, so that it cannot forge lines, and cut after 60 characters.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", cut.escape_debug())
}
