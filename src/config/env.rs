//! The environment as a layer: the twelve unprefixed variables of the contract, then `EVENKEEL_…` for every setting.
//!
//! 1. `EVENKEEL_SERVER_PORT` wins over `SERVER_PORT`, which is then not even read: something else may own that name.
//! 2. `EVENKEEL_SERVER_PORT_FILE` names a file that holds the value. With the plain one too it is a conflict.
//! 3. An empty variable counts as not set: that is what `SERVER_PORT=` in a compose file means.
//! 4. In the unprefixed ones times are milliseconds and sizes bytes (a unit is understood as well).
//! 5. An `EVENKEEL_` name that means nothing is a warning, not an error: Kubernetes makes such names by itself for a
//!    service called `evenkeel`.
//! 6. For one called `server` or `evenkeel-metrics` it makes the name of a port, with the address of that service as value: it
//!    counts as not set, with a warning.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;

use super::build::Building;
use super::error::{Origin, Reason, shown};
use super::schema::{SETTINGS, Setting};
use super::suggest::nearest;
use super::value::{Bare, Kind, Value};

/// Largest file that a `_FILE` variable may name, in bytes.
const VALUE_MAX: u64 = 64 << 10;

/// Where variables are read; tests bring their own, so that none of them changes the environment of the process.
pub trait Env {
    /// The variable of this name.
    fn var(&self, name: &str) -> Option<OsString>;
    /// The names of all of them, in any order.
    fn names(&self) -> Vec<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
    fn names(&self) -> Vec<OsString> {
        std::env::vars_os().map(|(name, _)| name).collect()
    }
}

impl Env for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }
    fn names(&self) -> Vec<OsString> {
        self.keys().map(OsString::from).collect()
    }
}

/// Puts the environment over what was read so far.
pub(super) fn apply(b: &mut Building<'_>, env: &dyn Env) {
    for setting in SETTINGS {
        let own = setting.variable();
        let in_file = format!("{own}_FILE");
        let plain = given(b, setting, env, &own);
        match (plain, set(env, &in_file)) {
            (Some(_), Some(_)) => {
                let what = format!("{own} is set as well; keep one of the two");
                b.wrong(Origin::Variable(in_file.into()), setting.key, Reason::Conflict(what));
            }
            (Some(text), None) => read(b, setting, &own, text, Bare::Refused),
            (None, Some(path)) => read_file(b, setting, &in_file, path),
            (None, None) => {
                if let Some(name) = setting.contract
                    && let Some(text) = given(b, setting, env, name)
                {
                    read(b, setting, name, text, Bare::Millis);
                }
            }
        }
    }
    warn_of_strangers(b, env);
}

/// A variable that is there and not empty.
fn set(env: &dyn Env, name: &str) -> Option<OsString> {
    env.var(name).filter(|value| !value.is_empty())
}

/// The same of a variable that may not be meant as the setting: then that is a warning.
fn given(b: &mut Building<'_>, setting: &Setting, env: &dyn Env, name: &str) -> Option<OsString> {
    let text = set(env, name)?;
    if setting.parts().1 == "port" && is_service_link(&text) {
        let what = "not used: Kubernetes makes this variable for a service of that name, and does not with \
                    enableServiceLinks: false in the pod's spec";
        b.warn(Origin::Variable(name.into()), setting.key, what.to_owned());
        return None;
    }
    Some(text)
}

/// The address of a service as Kubernetes writes it: `tcp://10.0.0.1:80`.
fn is_service_link(text: &OsStr) -> bool {
    let text = text.as_encoded_bytes();
    [&b"tcp://"[..], b"udp://", b"sctp://"].iter().any(|scheme| text.starts_with(scheme))
}

fn read(b: &mut Building<'_>, setting: &'static Setting, name: &str, text: OsString, bare: Bare) {
    let origin = Origin::Variable(name.into());
    match text.into_string() {
        Ok(text) => put(b, setting, origin, &text, bare),
        Err(_) => {
            let found = "bytes that are not UTF-8".to_owned();
            let reason = Reason::BadValue { found, expected: setting.kind.expected() };
            b.wrong(origin, setting.key, reason);
        }
    }
}

fn read_file(b: &mut Building<'_>, setting: &'static Setting, name: &str, path: OsString) {
    let origin = Origin::Variable(name.into());
    let mut text = String::new();
    let read = std::fs::File::open(Path::new(&path))
        .and_then(|file| file.take(VALUE_MAX + 1).read_to_string(&mut text));
    let shown_path = shown(&path.to_string_lossy());
    if let Err(error) = read {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let what = format!("cannot read the value from {shown_path}: {error}");
        return b.wrong(origin, setting.key, Reason::Unusable { denied, what });
    }
    if text.len() as u64 > VALUE_MAX {
        // Half of a list reads as well as the whole.
        let what = format!("{shown_path} holds more than 64 KiB; a value is shorter");
        return b.wrong(origin, setting.key, Reason::Unusable { denied: false, what });
    }
    let text = text.trim_end_matches(['\n', '\r']);
    if matches!(setting.kind, Kind::Path(_)) && text.contains('\n') {
        let what = format!(
            "{shown_path} should hold a path, and holds several lines; to name that file itself, set {}",
            setting.variable()
        );
        return b.wrong(origin, setting.key, Reason::Conflict(what));
    }
    put(b, setting, origin, text, Bare::Refused);
}

/// Reads a text and sets it, with its origin; what is wrong is noted.
pub(super) fn put(b: &mut Building<'_>, setting: &'static Setting, origin: Origin, text: &str, bare: Bare) {
    match setting.kind.read_text(text, bare) {
        Ok(value) => set_value(b, setting, origin, value),
        Err(reason) => b.wrong(origin, setting.key, reason),
    }
}

/// Sets a value, with its origin.
pub(super) fn set_value(b: &mut Building<'_>, setting: &'static Setting, origin: Origin, value: Value) {
    b.check_built(&origin, setting.key, setting.key, &value.bare_text(), value.is_something());
    (setting.set)(&mut b.config, value);
    b.scalars.insert(setting.key, origin);
}

fn warn_of_strangers(b: &mut Building<'_>, env: &dyn Env) {
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let mut names: Vec<String> = env.names().into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    for name in names.iter().filter(|name| name.starts_with("EVENKEEL_")) {
        let plain = name.strip_suffix("_FILE").unwrap_or(name);
        if known.iter().any(|known| known == plain) {
            continue;
        }
        let lower: Vec<String> = known.iter().map(|known| known.to_ascii_lowercase()).collect();
        let near = nearest(plain, lower.iter().map(String::as_str)).map(str::to_ascii_uppercase);
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let origin = Origin::Variable(super::build::bare(name).into());
        b.warn(origin, "", format!("no setting has this name{hint}"));
    }
}
