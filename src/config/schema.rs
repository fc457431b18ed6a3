//! The one table of scalar settings: key, kind, range, unprefixed variable, flag, and where the value lives.
//!
//! File, variables, flags and `config print` all walk this table, so a setting cannot be known to one of them and not
//! to another. Its `EVENKEEL_` name follows from its key ([`Setting::variable`]).

use std::path::PathBuf;
use std::sync::Arc;

use super::value::{Kind, Value};
use crate::guard::memory;
use crate::server::settings::{AccessFormat, Balance, Config, SlowConsumer, TlsVersion};
use crate::wire::limits::Limits;

/// One scalar setting.
#[derive(Debug)]
pub struct Setting {
    /// Section and name: `server.port`.
    pub key: &'static str,
    /// What may stand for it.
    pub kind: Kind,
    /// Its unprefixed variable, one of the twelve that are a contract.
    pub contract: Option<&'static str>,
    /// Its flag, with the dashes.
    pub flag: Option<&'static str>,
    /// Reads it.
    pub get: fn(&Config) -> Value,
    /// Sets it; a value of another kind changes nothing.
    pub set: fn(&mut Config, Value),
}

impl Setting {
    /// Section and name, apart.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// The name of its `EVENKEEL_` variable.
    pub fn variable(&self) -> String {
        format!("EVENKEEL_{}", self.key.to_ascii_uppercase().replace('.', "_"))
    }
}

/// The setting with this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The sections that hold scalar settings, in the order of the file.
pub const SECTIONS: [&str; 5] = ["server", "limits", "tls", "metrics", "log"];

/// The lists at the top of a file.
pub const LISTS: [&str; 4] = ["listener", "route", "tcp", "upstream"];

/// Words that stand for the values of a type.
pub trait Words: Copy + PartialEq + 'static {
    /// All of them, in the order in which they are listed to people.
    const ALL: &'static [Self];
    /// The same, as they are written.
    const WORDS: &'static [&'static str];

    /// How this one is written.
    fn word(self) -> &'static str {
        let at = Self::ALL.iter().position(|one| *one == self);
        at.and_then(|at| Self::WORDS.get(at)).copied().unwrap_or("")
    }

    /// What this word stands for.
    fn of(word: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|one| *one == word)?;
        Self::ALL.get(at).copied()
    }
}

macro_rules! words {
    ($($type:ty { $($word:literal => $value:path),+ $(,)? })+) => {$(
        impl Words for $type {
            const ALL: &'static [Self] = &[$($value),+];
            const WORDS: &'static [&'static str] = &[$($word),+];
        }
    )+};
}

words! {
    log::LevelFilter {
        "error" => log::LevelFilter::Error,
        "warn" => log::LevelFilter::Warn,
        "info" => log::LevelFilter::Info,
        "debug" => log::LevelFilter::Debug,
        "trace" => log::LevelFilter::Trace,
        "off" => log::LevelFilter::Off,
    }
    AccessFormat {
        "off" => AccessFormat::Off,
        "common" => AccessFormat::Common,
        "combined" => AccessFormat::Combined,
        "json" => AccessFormat::Json,
    }
    TlsVersion { "1.2" => TlsVersion::V1_2, "1.3" => TlsVersion::V1_3 }
    SlowConsumer {
        "close" => SlowConsumer::Close,
        "drop-oldest" => SlowConsumer::DropOldest,
        "drop-newest" => SlowConsumer::DropNewest,
        "latest" => SlowConsumer::Latest,
    }
    Balance {
        "round-robin" => Balance::RoundRobin,
        "least-connections" => Balance::LeastConnections,
        "two-choices" => Balance::TwoChoices,
        "hash" => Balance::Hash,
    }
}

/// A type that a [`Value`] can hold.
trait Held: Sized {
    fn held(&self, kind: Kind) -> Value;
    fn taken_from(value: Value) -> Option<Self>;
}

macro_rules! held_number {
    ($($type:ty),+) => {$(
        impl Held for $type {
            fn held(&self, kind: Kind) -> Value {
                let number = u64::try_from(*self).unwrap_or(u64::MAX);
                match kind {
                    Kind::Size(..) | Kind::SizeOrZero(..) => Value::Size(number),
                    Kind::Rate(_) => Value::Rate(number),
                    _ => Value::Whole(number),
                }
            }
            fn taken_from(value: Value) -> Option<Self> {
                match value {
                    Value::Whole(n) | Value::Size(n) | Value::Rate(n) => n.try_into().ok(),
                    _ => None,
                }
            }
        }
    )+};
}

macro_rules! held {
    ($($type:ty: $variant:ident),+) => {$(
        impl Held for $type {
            fn held(&self, _: Kind) -> Value {
                Value::$variant(self.clone())
            }
            fn taken_from(value: Value) -> Option<Self> {
                match value {
                    Value::$variant(inner) => Some(inner),
                    _ => None,
                }
            }
        }
    )+};
}

macro_rules! held_words {
    ($($type:ty),+) => {$(
        impl Held for $type {
            fn held(&self, _: Kind) -> Value {
                Value::Choice(self.word())
            }
            fn taken_from(value: Value) -> Option<Self> {
                match value {
                    Value::Choice(word) => Self::of(word),
                    _ => None,
                }
            }
        }
    )+};
}

held_number!(u16, u32, u64, usize);
held!(bool: Bool, std::time::Duration: Time, std::net::IpAddr: Host, Option<PathBuf>: Path);
held_words!(log::LevelFilter, AccessFormat, TlsVersion);

impl Held for Arc<[crate::observe::Peers]> {
    fn held(&self, _: Kind) -> Value {
        Value::Peers(self.to_vec())
    }
    fn taken_from(value: Value) -> Option<Self> {
        match value {
            Value::Peers(peers) => Some(peers.into()),
            _ => None,
        }
    }
}

const fn first(names: &[&'static str]) -> Option<&'static str> {
    match names {
        [name, ..] => Some(name),
        [] => None,
    }
}

macro_rules! settings {
    ($($section:ident.$name:ident: $kind:expr $(, env $contract:literal)? $(, flag $flag:literal)?;)+) => {
        /// Every scalar setting, in the order of the example file.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            key: concat!(stringify!($section), ".", stringify!($name)),
            kind: $kind,
            contract: first(&[$($contract)?]),
            flag: first(&[$($flag)?]),
            get: |config| config.$section.$name.held($kind),
            set: |config, value| {
                if let Some(value) = Held::taken_from(value) {
                    config.$section.$name = value;
                }
            },
        }),+];
    };
}

const PORT: Kind = Kind::Whole(0, 65_535);
const HOUR_MS: u64 = 3_600_000;
/// A wait that has to end: from a millisecond to a day.
pub(super) const WAIT: Kind = Kind::Time(1, 24 * HOUR_MS);
/// A wait that may be none.
pub(super) const WAIT_OR_NONE: Kind = Kind::Time(0, 24 * HOUR_MS);
/// The largest size that is believed: a pebibyte.
const HUGE: u64 = 1 << 50;
/// Kind of a body's limit, which a route may set too.
pub(super) const BODY: Kind = Kind::Size(0, HUGE);

settings! {
    server.host: Kind::Host, env "SERVER_HOST", flag "--host";
    server.port: PORT, env "SERVER_PORT", flag "--port";
    server.workers: Kind::Whole(0, 1024), flag "--workers";
    server.max_connections: Kind::Whole(1, 1 << 24), env "MAX_CONNECTIONS", flag "--max-connections";
    server.buffer_size: Kind::Size(1 << 10, 64 << 10), env "BUFFER_SIZE";
    server.read_timeout: WAIT, env "READ_TIMEOUT";
    server.write_timeout: WAIT, env "WRITE_TIMEOUT";
    server.idle_timeout: WAIT;
    server.drain_timeout: WAIT_OR_NONE;
    server.drain_lag: Kind::Time(0, HOUR_MS);
    server.header_server: Kind::Bool;
    server.health: Kind::Bool;
    server.trusted_proxies: Kind::Peers;
    server.error_pages: Kind::Path("");
    server.admin_socket: Kind::Path("");

    limits.head_size: Kind::Size(1 << 10, 64 << 10);
    limits.head_fields: Kind::Whole(1, Limits::MAX_FIELDS as u64);
    limits.head_timeout: WAIT;
    limits.body_size: BODY;
    limits.body_rate: Kind::Rate(1 << 30);
    limits.send_rate: Kind::Rate(1 << 30);
    limits.memory: Kind::SizeOrZero(memory::LEAST, HUGE);
    limits.per_client_connections: Kind::Whole(0, 1 << 24);
    limits.requests_per_second: Kind::Whole(0, 1_000_000);
    limits.burst: Kind::Whole(0, 1_000_000);

    tls.enable: Kind::Bool, env "ENABLE_TLS";
    tls.cert: Kind::Path(""), env "TLS_CERT_PATH";
    tls.key: Kind::Path(""), env "TLS_KEY_PATH";
    tls.min_version: Kind::Choice(TlsVersion::WORDS);
    tls.client_ca: Kind::Path("");

    metrics.enable: Kind::Bool, env "ENABLE_METRICS";
    metrics.host: Kind::Host;
    metrics.port: PORT, env "METRICS_PORT";

    log.level: Kind::Choice(log::LevelFilter::WORDS), env "LOG_LEVEL", flag "--log-level";
    log.access: Kind::Choice(AccessFormat::WORDS);
    log.access_path: Kind::Path("-");
    log.debug_peers: Kind::Peers;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        names.extend(SETTINGS.iter().map(|setting| format!("{}_FILE", setting.variable())));
        names.extend(SETTINGS.iter().filter_map(|setting| setting.contract).map(str::to_owned));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_contract_has_its_twelve_variables() {
        let mut contract: Vec<_> = SETTINGS.iter().filter_map(|setting| setting.contract).collect();
        contract.sort_unstable();
        assert_eq!(
            contract,
            [
                "BUFFER_SIZE",
                "ENABLE_METRICS",
                "ENABLE_TLS",
                "LOG_LEVEL",
                "MAX_CONNECTIONS",
                "METRICS_PORT",
                "READ_TIMEOUT",
                "SERVER_HOST",
                "SERVER_PORT",
                "TLS_CERT_PATH",
                "TLS_KEY_PATH",
                "WRITE_TIMEOUT",
            ]
        );
    }

    #[test]
    fn every_default_is_legal_and_survives_being_set() {
        let default = Config::default();
        for setting in SETTINGS {
            let value = (setting.get)(&default);
            if value.is_something() || !matches!(setting.kind, Kind::Path(_)) {
                let text = value.bare_text();
                assert_eq!(
                    setting.kind.read_text(&text, super::super::value::Bare::Refused),
                    Ok(value.clone()),
                    "{}",
                    setting.key
                );
            }
            let mut config = default.clone();
            (setting.set)(&mut config, value);
            assert_eq!(config, default, "{}", setting.key);
        }
    }

    #[test]
    fn words_and_values_stand_for_each_other() {
        fn all<T: Words + std::fmt::Debug>() {
            assert_eq!(T::ALL.len(), T::WORDS.len());
            for one in T::ALL {
                assert_eq!(T::of(one.word()), Some(*one));
            }
        }
        all::<log::LevelFilter>();
        all::<AccessFormat>();
        all::<TlsVersion>();
        all::<SlowConsumer>();
        all::<Balance>();
    }
}
