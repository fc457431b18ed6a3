//! One schema, four layers: defaults < file < environment < flags.
//!
//! [`load`] reads all layers into [`crate::server::settings::Config`] and remembers for each value where it came from,
//! or tells everything that is wrong at once: each mistake with file, line, column, key, and what to do about it.
//! There is no half of a configuration: any mistake, and none is given.
//!
//! - `schema` is the table of scalar settings; every layer and `config print` walk it.
//! - `value` and `units` say what may stand for a setting; `pattern` holds the small languages inside strings.
//! - `file`, `routes`, `services` read the file; they walk the parsed TOML by hand, because a derived reader stops at
//!   its first mistake.
//! - `env` reads the variables; flags come in as [`Flags`].
//! - `conflicts` looks for what no value says by itself; `unbuilt` refuses by name what this version does not do.
//! - `print` writes it all out again (`Loaded` implements `Display`), `disk` looks whether what it names is there.
//!
//! Relative paths in a file belong to the folder of that file; in variables and flags, to the working folder.
//!
//! Must never import `cli`. Reads no clock and changes nothing; it reads the files that it is told to.

mod build;
mod conflicts;
mod disk;
mod env;
mod error;
mod file;
mod pattern;
mod print;
mod routes;
mod schema;
mod services;
mod source;
mod suggest;
mod unbuilt;
pub mod units;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use build::Building;
use unbuilt::{Row, UNBUILT};

pub use crate::server::settings::Config;
/// What people look for when they look for the configuration of a server.
pub use crate::server::settings::Config as ServerConfig;
pub use build::ItemOrigins;
pub use env::{Env, ProcessEnv};
pub use error::{Error, Errors, Origin, Reason};
pub use schema::{SECTIONS, SETTINGS, Setting, find as setting};
pub use source::{DEFAULT_FILE, Source};
pub use suggest::nearest;
pub use value::{Bare, Kind, Value};

use crate::server::settings::{Action, Files, HostPattern, Route};

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Key of a setting that has a flag, and the text given for it.
    pub settings: Vec<(&'static str, String)>,
    /// `DIR`: a folder that takes the place of the `/*` route.
    pub dir: Option<PathBuf>,
}

/// A configuration that was read and found good, and where each value came from.
///
/// `Display` writes all of it as a file with the origins as comments.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What works but is probably not meant: one line each.
    pub warnings: Vec<Error>,
    scalars: BTreeMap<&'static str, Origin>,
    listeners: Vec<ItemOrigins>,
    certificates: Vec<ItemOrigins>,
    routes: Vec<ItemOrigins>,
    tcp: Vec<ItemOrigins>,
    upstreams: Vec<ItemOrigins>,
}

impl Loaded {
    /// Where the value of a scalar setting (`server.port`) came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.scalars.get(key).cloned().unwrap_or_default()
    }

    /// Where the parts of a route came from, by its place in `config.routes`.
    pub fn route_origins(&self, index: usize) -> Option<&ItemOrigins> {
        self.routes.get(index)
    }
}

/// Reads all layers.
///
/// # Errors
/// Everything that is wrong in any layer, in the order of the file, then of variables, then of flags.
pub fn load(source: Option<&Source>, env: &dyn Env, flags: &Flags) -> Result<Loaded, Errors> {
    load_with(source, env, flags, UNBUILT)
}

/// `server.admin_socket` alone, whatever is wrong elsewhere: to find a server whose file is broken now.
pub fn admin_socket(source: Option<&Source>, env: &dyn Env) -> Option<PathBuf> {
    read(source, env, &Flags::default(), UNBUILT).config.server.admin_socket
}

/// The same as [`load`], with another table of what is not built.
fn load_with(
    source: Option<&Source>,
    env: &dyn Env,
    flags: &Flags,
    unbuilt: &'static [Row],
) -> Result<Loaded, Errors> {
    finish(read(source, env, flags, unbuilt))
}

fn read<'s>(
    source: Option<&'s Source>,
    env: &dyn Env,
    flags: &Flags,
    unbuilt: &'static [Row],
) -> Building<'s> {
    let mut b = Building::new(source, unbuilt);
    if let Some(source) = source {
        file::apply(&mut b, source);
    }
    env::apply(&mut b, env);
    for (key, text) in &flags.settings {
        if let Some(setting) = schema::find(key) {
            env::put(&mut b, setting, Origin::Flag(setting.flag.unwrap_or(key)), text, Bare::Refused);
        }
    }
    b.config.metrics.port_was_set = b.scalars.contains_key("metrics.port");
    if !b.errors.iter().any(|error| matches!(error.reason, Reason::Syntax(_))) {
        conflicts::find(&mut b);
    }
    if let Some(dir) = &flags.dir {
        replace_catch_all(&mut b, dir.clone());
    }
    b
}

/// Puts the folder in the place of every `/*` route for all hosts.
fn replace_catch_all(b: &mut Building<'_>, dir: PathBuf) {
    let path = build_catch_all();
    b.routes.retain(|(route, _)| route.host != HostPattern::Any || route.path != path);
    let origins = ItemOrigins { at: Origin::Flag("DIR"), ..ItemOrigins::default() };
    b.routes.push((Route::new(path, Action::Files(Files::new(dir))), origins));
}

fn build_catch_all() -> crate::server::settings::PathPattern {
    crate::server::settings::PathPattern { parts: Arc::default(), rest: true }
}

fn finish(mut b: Building<'_>) -> Result<Loaded, Errors> {
    if !b.errors.is_empty() {
        b.errors.sort_by_cached_key(|error| match &error.place {
            Origin::WholeFile(_) => (0, 0, 0),
            Origin::File { line, column, .. } => (1, *line, *column),
            Origin::Default => (2, 0, 0),
            Origin::Variable(_) => (3, 0, 0),
            Origin::Flag(_) => (4, 0, 0),
        });
        return Err(Errors(b.errors));
    }
    if b.routes.is_empty() {
        b.routes = Route::welcome().into_iter().map(|route| (route, ItemOrigins::default())).collect();
    }
    let (listeners, listener_origins): (Vec<_>, _) = b.listeners.into_iter().unzip();
    let (certificates, certificate_origins): (Vec<_>, _) = b.certificates.into_iter().unzip();
    let (routes, route_origins): (Vec<_>, _) = b.routes.into_iter().unzip();
    let (tcp, tcp_origins): (Vec<_>, _) = b.tcp.into_iter().unzip();
    let (upstreams, upstream_origins): (Vec<_>, _) = b.upstreams.into_iter().unzip();
    let mut config = b.config;
    config.listeners = listeners.into();
    config.tls.certificates = certificates.into();
    config.routes = routes.into();
    config.tcp = tcp.into();
    config.upstreams = upstreams.into();
    Ok(Loaded {
        config,
        warnings: b.warnings,
        scalars: b.scalars,
        listeners: listener_origins,
        certificates: certificate_origins,
        routes: route_origins,
        tcp: tcp_origins,
        upstreams: upstream_origins,
    })
}
