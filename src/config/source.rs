//! Where the text of a configuration comes from, and where in it a byte stands.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Error, Errors, Origin, Reason};

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/evenkeel/evenkeel.toml";

/// Largest configuration file in bytes.
const FILE_MAX: u64 = 4 << 20;

/// The text of a configuration, and what it is called.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in errors and origins.
    name: Arc<str>,
    /// Its text.
    text: String,
    /// The folder to which relative paths in it are joined; empty for the working folder.
    base: PathBuf,
    /// Byte offsets at which lines begin.
    lines: Vec<usize>,
}

impl Source {
    /// Some text; relative paths in it belong to `base`.
    pub fn new(name: &str, text: String, base: PathBuf) -> Source {
        let mut lines = vec![0];
        lines.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1));
        Source { name: name.into(), text, base, lines }
    }

    /// The file that was asked for (`-` is `stdin`), or else `default` if it exists, or else none.
    ///
    /// # Errors
    /// It cannot be read, is over 4 MiB, or is not UTF-8.
    pub fn open(
        asked: Option<&Path>,
        default: &Path,
        stdin: &mut dyn Read,
    ) -> Result<Option<Source>, Errors> {
        let (path, may_lack) = match asked {
            Some(path) if path == Path::new("-") => {
                return Source::read("<stdin>", PathBuf::new(), stdin).map(Some);
            }
            Some(path) => (path, false),
            None => (default, true),
        };
        let name = path.display().to_string();
        match File::open(path) {
            Ok(mut file) => {
                let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
                Source::read(&name, base, &mut file).map(Some)
            }
            Err(error) if may_lack && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&name, &error)),
        }
    }

    fn read(name: &str, base: PathBuf, from: &mut dyn Read) -> Result<Source, Errors> {
        let mut bytes = Vec::new();
        if let Err(error) = from.take(FILE_MAX + 1).read_to_end(&mut bytes) {
            return Err(unusable(name, &error));
        }
        if bytes.len() as u64 > FILE_MAX {
            let what = "the file is over 4 MiB; a configuration is smaller".to_owned();
            return Err(one(Origin::WholeFile(name.into()), Reason::Unusable { denied: false, what }));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source::new(name, text, base)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
                let place = Source::new(name, text, base).place(at);
                Err(one(place, Reason::Syntax("this byte is not UTF-8".to_owned())))
            }
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name in errors.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// A path that stands in this file, joined to its folder unless it is absolute.
    pub fn join(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Line and column of a byte.
    pub fn place(&self, at: usize) -> Origin {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.as_bytes().get(start..at.min(self.text.len())).unwrap_or(&[]);
        let column = 1 + String::from_utf8_lossy(before).chars().count();
        Origin::File { file: self.name.clone(), line, column }
    }
}

fn one(place: Origin, reason: Reason) -> Errors {
    Errors(vec![Error { place, key: String::new(), reason }])
}

fn unusable(name: &str, error: &io::Error) -> Errors {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let what = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; give another with --config".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "this user may not read the file; change its mode or owner".to_owned()
        }
        io::ErrorKind::IsADirectory => "this is a folder; name the file in it".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    };
    one(Origin::WholeFile(name.into()), Reason::Unusable { denied, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, byte: usize) -> (usize, usize) {
        match Source::new("x", text.to_owned(), PathBuf::new()).place(byte) {
            Origin::File { line, column, .. } => (line, column),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_byte_has_a_line_and_a_column_in_characters() {
        assert_eq!(at("", 0), (1, 1));
        assert_eq!(at("ab\ncd", 0), (1, 1));
        assert_eq!(at("ab\ncd", 2), (1, 3));
        assert_eq!(at("ab\ncd", 3), (2, 1));
        assert_eq!(at("éé=1", 4), (1, 3));
        assert_eq!(at("ab\n", 99), (2, 1));
    }

    #[test]
    fn standard_input_is_read_and_must_be_utf8_and_small() {
        let open = |mut bytes: &[u8]| Source::open(Some(Path::new("-")), Path::new("/x"), &mut bytes);
        let source = open(b"[server]").unwrap().unwrap();
        assert_eq!((source.text(), &**source.name()), ("[server]", "<stdin>"));
        let errors = open(b"a = 1\nb = \xff").unwrap_err();
        assert_eq!(errors.to_string(), "<stdin>:2:5: not valid TOML: this byte is not UTF-8");
        let errors = open(&vec![b'#'; (FILE_MAX + 1) as usize]).unwrap_err();
        assert!(errors.to_string().contains("over 4 MiB"), "{errors}");
    }

    #[test]
    fn a_default_file_may_be_absent_and_one_that_was_asked_for_may_not() {
        let gone = Path::new("/nonexistent/evenkeel.toml");
        let mut empty: &[u8] = b"";
        assert!(Source::open(None, gone, &mut empty).unwrap().is_none());
        let errors = Source::open(Some(gone), gone, &mut empty).unwrap_err();
        assert!(!errors.is_denied());
        assert_eq!(
            errors.to_string(),
            "/nonexistent/evenkeel.toml: there is no such file; give another with --config"
        );
        let errors = Source::open(Some(Path::new("/")), gone, &mut empty).unwrap_err();
        assert!(errors.to_string().contains("folder"), "{errors}");
    }
}
