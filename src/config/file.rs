//! The file as a layer: finds sections and lists, and hands each to its reader.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::build::{Building, Section, bare};
use super::env::set_value;
use super::error::{Origin, Reason};
use super::schema::{LISTS, SECTIONS, SETTINGS, Setting, find};
use super::source::Source;
use super::suggest::nearest;
use super::value::Value;
use super::{routes, services};

/// Most mistakes of syntax that are told: after one, the next are often its echo.
const SYNTAX_MAX: usize = 10;

/// Reads the file over the defaults. If it is not TOML, that is told and nothing of it is used.
pub(super) fn apply(b: &mut Building<'_>, source: &Source) {
    let (document, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        for error in errors.iter().take(SYNTAX_MAX) {
            let at = error.span().map_or(0, |span| span.start);
            let what = bare_message(error.message());
            b.wrong(source.place(at), "", Reason::Syntax(what));
        }
        return;
    }
    for (name, value) in document.get_ref() {
        let name_at = name.span().start;
        match name.get_ref().as_ref() {
            "listener" => each(b, "listener", value, services::listener),
            "route" => each(b, "route", value, routes::read),
            "tcp" => each(b, "tcp", value, services::tcp),
            "upstream" => each(b, "upstream", value, services::upstream),
            name => match SECTIONS.iter().find(|section| **section == name) {
                Some(section) => scalars(b, section, value),
                None => {
                    let nearest = nearest_section(name, value.get_ref());
                    b.wrong(b.place(name_at), bare(name), Reason::UnknownKey { nearest });
                }
            },
        }
    }
}

/// A message of the parser, on one line.
fn bare_message(text: &str) -> String {
    text.chars()
        .take(200)
        .collect::<String>()
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

fn each<'t>(
    b: &mut Building<'_>,
    name: &'static str,
    value: &'t Spanned<DeValue<'t>>,
    read: fn(&mut Building<'_>, Section<'_>),
) {
    for section in Section::list(b, name, name, value) {
        read(b, section);
    }
}

/// A section of scalar settings; `[tls]` has a list as well.
fn scalars<'t>(b: &mut Building<'_>, name: &'static str, value: &'t Spanned<DeValue<'t>>) {
    let Some(mut section) = Section::new(b, name.to_owned(), name, value) else { return };
    for setting in SETTINGS.iter().filter(|setting| setting.parts().0 == name) {
        let (_, key) = setting.parts();
        let Some(field) = section.field(b, key) else { continue };
        let place = b.place(field.span().start);
        match setting.kind.read_toml(field) {
            Ok(value) => set(b, setting, place, value),
            Err(refusal) => b.wrong(b.place(refusal.at), setting.key, refusal.reason),
        }
    }
    if name == "tls"
        && let Some(field) = section.field(b, "certificate")
    {
        for certificate in Section::list(b, "tls.certificate", "tls.certificate", field) {
            services::certificate(b, certificate);
        }
    }
    unknown(b, name, &section);
}

fn set(b: &mut Building<'_>, setting: &'static Setting, place: Origin, value: Value) {
    let value = match value {
        Value::Path(Some(path)) => Value::Path(Some(b.join(&path))),
        other => other,
    };
    set_value(b, setting, place, value);
}

/// Unknown keys of a section: the nearest of its own, or the same name in another section.
fn unknown(b: &mut Building<'_>, name: &str, section: &Section<'_>) {
    let own: Vec<&str> = SETTINGS
        .iter()
        .filter(|setting| setting.parts().0 == name)
        .map(|setting| setting.parts().1)
        .chain((name == "tls").then_some("certificate"))
        .collect();
    for (key, at) in section.keys() {
        if own.contains(&key) {
            continue;
        }
        let nearest = elsewhere(key).or_else(|| nearest(key, own.iter().copied()).map(str::to_owned));
        b.wrong(b.place(at), section.key(&bare(key)), Reason::UnknownKey { nearest });
    }
}

/// A setting that has this name in some section, or this name as its contract variable in lower case.
fn elsewhere(key: &str) -> Option<String> {
    let of_section = SETTINGS.iter().find(|setting| setting.parts().1 == key);
    let of_contract =
        || SETTINGS.iter().find(|s| s.contract.is_some_and(|contract| contract.eq_ignore_ascii_case(key)));
    of_section.or_else(of_contract).map(|setting| setting.key.to_owned())
}

fn nearest_section(name: &str, value: &DeValue<'_>) -> Option<String> {
    if !value.is_table() && !value.is_array() {
        let dotted = find(name).map(|setting| setting.key.to_owned());
        return dotted.or_else(|| elsewhere(name));
    }
    nearest(name, SECTIONS.into_iter().chain(LISTS)).map(str::to_owned)
}
