//! `evenkeel check`: whether `serve` would start with this configuration, as far as it can be told without opening a socket, and
//! whether clients will have its certificates: it would start with such as have expired or are for another host.

use super::args::Options;
use super::{World, answered, load, open, refuse};
use crate::config::Errors;
use crate::server::settings::Config;

/// Reads and judges everything; opens no socket.
pub(super) fn run(options: &Options, world: &mut World<'_>) -> u8 {
    let loaded = match open(options, world).and_then(|source| load(source.as_ref(), options, None, world)) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let mut errors = loaded.check_disk();
    errors.extend(loaded.doubtful());
    if !errors.is_empty() {
        return refuse(&Errors(errors), world);
    }
    let written = writeln!(world.stdout, "the configuration is good: {}", summary(&loaded.config));
    answered(written, world)
}

/// One line: what would be served where.
fn summary(config: &Config) -> String {
    let http: Vec<String> = config
        .http_listeners()
        .iter()
        .map(|listener| format!("{}://{}", if listener.tls { "https" } else { "http" }, listener.address))
        .collect();
    let tcp: Vec<String> = config.tcp.iter().map(|tcp| format!("tcp://{}", tcp.listen)).collect();
    let count = config.routes.len();
    let routes = if count == 1 { "1 route".to_owned() } else { format!("{count} routes") };
    format!("{routes} on {}", [http, tcp].concat().join(", "))
}
