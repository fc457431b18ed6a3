//! Kinds of values, and how each is read from TOML and from text.
//!
//! A kind states what is legal; a value of a kind has been checked against it. Reading never yields a value that its
//! kind does not allow.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{Reason, shown};
use super::units;
use crate::observe::Peers;

/// What may stand for a setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true`, `false`.
    Bool,
    /// A whole number in a range.
    Whole(u64, u64),
    /// A duration in a range of milliseconds.
    Time(u64, u64),
    /// A size in a range of bytes.
    Size(u64, u64),
    /// The same, or 0.
    SizeOrZero(u64, u64),
    /// Bytes a second, up to so many.
    Rate(u64),
    /// An IP address, or `localhost`.
    Host,
    /// A path; this text stands for none.
    Path(&'static str),
    /// A list of networks, or `unix`.
    Peers,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A legal value of a [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Whole`].
    Whole(u64),
    /// Of [`Kind::Time`].
    Time(Duration),
    /// Of [`Kind::Size`] and [`Kind::SizeOrZero`].
    Size(u64),
    /// Of [`Kind::Rate`].
    Rate(u64),
    /// Of [`Kind::Host`].
    Host(IpAddr),
    /// Of [`Kind::Path`]; not yet joined to anything.
    Path(Option<PathBuf>),
    /// Of [`Kind::Peers`].
    Peers(Vec<Peers>),
    /// Of [`Kind::Choice`].
    Choice(&'static str),
}

/// What a value without a unit means in a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// Milliseconds, for times: the unprefixed variables.
    Millis,
    /// Nothing, for times: they need a unit.
    Refused,
}

/// Why a TOML value is refused, and the byte of the document where.
pub(super) struct Refusal {
    pub at: usize,
    pub reason: Reason,
}

impl Kind {
    /// What should stand here, in words.
    pub fn expected(self) -> String {
        match self {
            Kind::Bool => "true or false".to_owned(),
            Kind::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Time(..) => "a duration such as \"30s\", \"500ms\" or \"2m\"".to_owned(),
            Kind::Size(..) => "a size such as \"64KiB\" or \"4MiB\"".to_owned(),
            Kind::SizeOrZero(least, _) => format!("0 or a size of at least \"{}\"", units::show_size(least)),
            Kind::Rate(_) => "a rate such as \"1KiB/s\"".to_owned(),
            Kind::Host => "an IP address such as \"127.0.0.1\" or \"::\"".to_owned(),
            Kind::Path("") => "a path in quotes".to_owned(),
            Kind::Path(none) => format!("a path in quotes, or \"{none}\""),
            Kind::Peers => "a list such as [\"10.0.0.0/8\", \"unix\"]".to_owned(),
            Kind::Choice(words) => match words {
                [] => "nothing".to_owned(),
                [one] => format!("\"{one}\""),
                [most @ .., last] => {
                    let most: Vec<String> = most.iter().map(|word| format!("\"{word}\"")).collect();
                    format!("{} or \"{last}\"", most.join(", "))
                }
            },
        }
    }

    #[cold]
    fn bad(self, text: &str) -> Reason {
        Reason::BadValue { found: shown(text), expected: self.expected() }
    }

    /// Reads a value of this kind from text, as a variable or a flag holds it.
    pub fn read_text(self, text: &str, bare: Bare) -> Result<Value, Reason> {
        let text = text.trim();
        match self {
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Value::Bool(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Bool(false)),
                _ => Err(self.bad(text)),
            },
            Kind::Whole(..) => {
                let number = units::whole(text).ok_or_else(|| self.bad(text))?;
                self.in_range(Value::Whole(number))
            }
            Kind::Time(..) if bare == Bare::Millis && units::whole(text).is_some() => {
                let millis = units::whole(text).unwrap_or(0);
                self.in_range(Value::Time(Duration::from_millis(millis)))
            }
            Kind::Peers => {
                let words =
                    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
                let expected =
                    || "networks such as 10.0.0.0/8, or unix, with commas or blanks between them".to_owned();
                let bad = |word| Reason::BadValue { found: shown(word), expected: expected() };
                let peers: Result<_, _> = words.map(|word| word.parse().map_err(|_| bad(word))).collect();
                Ok(Value::Peers(peers?))
            }
            Kind::Choice(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .map(|word| Value::Choice(word))
                .ok_or_else(|| self.bad(text)),
            _ => self.read_string(text),
        }
    }

    /// Reads a value of this kind from a TOML document.
    pub(super) fn read_toml(self, value: &Spanned<DeValue<'_>>) -> Result<Value, Refusal> {
        let at = value.span().start;
        let wrong = || Reason::WrongType { expected: self.expected(), found: type_name(value.get_ref()) };
        let read = match (self, value.get_ref()) {
            (Kind::Bool, DeValue::Boolean(flag)) => Ok(Value::Bool(*flag)),
            (Kind::Whole(..), value) => match integer(value) {
                Some(number) => self.whole_in_range(number),
                None => Err(wrong()),
            },
            (Kind::Size(..) | Kind::SizeOrZero(..) | Kind::Rate(_), number @ DeValue::Integer(_)) => {
                match integer(number) {
                    Some(number) => self.whole_in_range(number),
                    None => Err(wrong()),
                }
            }
            (Kind::Peers, DeValue::Array(items)) => return self.read_peers(items),
            (Kind::Choice(words), DeValue::String(text)) => {
                words.iter().find(|word| **word == text.as_ref()).map(|word| Value::Choice(word)).ok_or_else(
                    || match super::suggest::nearest(text, words.iter().copied()) {
                        Some(near) => Reason::BadValue {
                            found: format!("{}; did you mean \"{near}\"?", shown(text)),
                            expected: self.expected(),
                        },
                        None => self.bad(text),
                    },
                )
            }
            (
                Kind::Time(..)
                | Kind::Size(..)
                | Kind::SizeOrZero(..)
                | Kind::Rate(_)
                | Kind::Host
                | Kind::Path(_),
                DeValue::String(text),
            ) => self.read_string(text),
            _ => Err(wrong()),
        };
        read.map_err(|reason| Refusal { at, reason })
    }

    fn read_peers(self, items: &[Spanned<DeValue<'_>>]) -> Result<Value, Refusal> {
        let mut peers = Vec::new();
        for item in items {
            let read = match item.get_ref() {
                DeValue::String(text) => text.parse().map_err(|_| self.bad(text)),
                other => Err(Reason::WrongType { expected: self.expected(), found: type_name(other) }),
            };
            peers.push(read.map_err(|reason| Refusal { at: item.span().start, reason })?);
        }
        Ok(Value::Peers(peers))
    }

    /// What is written alike in a string of the file and in a variable.
    fn read_string(self, text: &str) -> Result<Value, Reason> {
        let value = match self {
            Kind::Time(..) => units::duration(text).map(Value::Time),
            Kind::Size(..) | Kind::SizeOrZero(..) => units::size(text).map(Value::Size),
            Kind::Rate(_) => units::rate(text).map(Value::Rate),
            Kind::Host => host(text).map(Value::Host),
            Kind::Path(none) => {
                let path = if text == none { None } else { Some(PathBuf::from(text)) };
                let is_path = text == none || !text.is_empty() && !text.contains('\0');
                is_path.then_some(Value::Path(path))
            }
            Kind::Bool | Kind::Whole(..) | Kind::Peers | Kind::Choice(_) => None,
        };
        self.in_range(value.ok_or_else(|| self.bad(text))?)
    }

    fn whole_in_range(self, number: i128) -> Result<Value, Reason> {
        match u64::try_from(number) {
            Ok(number) => self.in_range(match self {
                Kind::Size(..) | Kind::SizeOrZero(..) => Value::Size(number),
                Kind::Rate(_) => Value::Rate(number),
                _ => Value::Whole(number),
            }),
            Err(_) if number == i128::MAX => Err(self.out_of_range("the number".to_owned())),
            Err(_) => Err(self.out_of_range(number.to_string())),
        }
    }

    fn in_range(self, value: Value) -> Result<Value, Reason> {
        let fits = match (self, &value) {
            (Kind::Whole(least, most), Value::Whole(n)) | (Kind::Size(least, most), Value::Size(n)) => {
                (least..=most).contains(n)
            }
            (Kind::SizeOrZero(least, most), Value::Size(n)) => *n == 0 || (least..=most).contains(n),
            (Kind::Time(least, most), Value::Time(time)) => {
                (u128::from(least)..=u128::from(most)).contains(&time.as_millis())
            }
            (Kind::Rate(most), Value::Rate(n)) => *n <= most,
            _ => true,
        };
        if fits { Ok(value) } else { Err(self.out_of_range(value.bare_text())) }
    }

    fn out_of_range(self, found: String) -> Reason {
        let (least, most) = match self {
            Kind::Time(least, most) => {
                let show = |millis| units::show_duration(Duration::from_millis(millis));
                (show(least), show(most))
            }
            Kind::Size(least, most) => (units::show_size(least), units::show_size(most)),
            Kind::SizeOrZero(least, most) => {
                (format!("0, or {}", units::show_size(least)), units::show_size(most))
            }
            Kind::Rate(most) => ("0".to_owned(), units::show_rate(most)),
            Kind::Whole(least, most) => (least.to_string(), most.to_string()),
            Kind::Bool | Kind::Host | Kind::Path(_) | Kind::Peers | Kind::Choice(_) => Default::default(),
        };
        Reason::OutOfRange { found, least, most }
    }
}

impl Value {
    /// As it would stand in a variable: without quotes.
    pub fn bare_text(&self) -> String {
        match self {
            Value::Bool(flag) => flag.to_string(),
            Value::Whole(n) => n.to_string(),
            Value::Time(time) => units::show_duration(*time),
            Value::Size(n) => units::show_size(*n),
            Value::Rate(n) => units::show_rate(*n),
            Value::Host(ip) => ip.to_string(),
            Value::Path(path) => path.as_deref().map(|p| p.display().to_string()).unwrap_or_default(),
            Value::Peers(peers) => peers.iter().map(Peers::to_string).collect::<Vec<_>>().join(","),
            Value::Choice(word) => (*word).to_owned(),
        }
    }

    /// As it would stand in the file; `kind` is its own.
    pub fn toml_text(&self, kind: Kind) -> String {
        match self {
            Value::Bool(_) | Value::Whole(_) => self.bare_text(),
            Value::Peers(peers) => list(peers.iter().map(Peers::to_string)),
            Value::Path(None) => match kind {
                Kind::Path(none) => quote(none),
                _ => quote(""),
            },
            _ => quote(&self.bare_text()),
        }
    }

    /// Whether it is neither false, zero, empty nor none.
    pub fn is_something(&self) -> bool {
        match self {
            Value::Bool(flag) => *flag,
            Value::Whole(n) | Value::Size(n) | Value::Rate(n) => *n != 0,
            Value::Time(time) => !time.is_zero(),
            Value::Path(path) => path.is_some(),
            Value::Peers(peers) => !peers.is_empty(),
            Value::Host(_) | Value::Choice(_) => true,
        }
    }
}

/// An IP address, in brackets too, or `localhost` for 127.0.0.1.
pub(super) fn host(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    bare.parse().ok()
}

/// A TOML integer of any radix; one that is out of all bounds is `i128::MAX`. `None`: not an integer.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i128> {
    let number = value.as_integer()?;
    Some(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
}

/// The type of a TOML value, with its article.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A TOML basic string.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A TOML array of strings.
pub(super) fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}
