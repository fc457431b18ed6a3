//! A configuration under construction: values, their origins, and everything found wrong on the way.
//!
//! [`Section`] reads the keys of one table. It never stops at a mistake: each is noted with its place, the default
//! stands in for the value, and reading goes on, so that all mistakes are told at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, Origin, Reason};
use super::source::Source;
use super::suggest::nearest;
use super::unbuilt::{Row, refused};
use super::value::{Kind, Refusal, Value, integer, type_name};
use crate::server::settings::{Certificate, Config, Listener, Route, Tcp, Upstream};

/// Where the parts of one item of a list came from. Keys that are not there have their default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemOrigins {
    /// What it is called, as `route[0]` (counted in the file from 0); empty for what is in no file.
    pub name: String,
    /// The item itself.
    pub at: Origin,
    /// Its keys.
    pub keys: BTreeMap<&'static str, Origin>,
}

impl ItemOrigins {
    /// Where the value of a key came from.
    pub fn of(&self, key: &str) -> Origin {
        self.keys.get(key).cloned().unwrap_or_default()
    }
}

/// Most items of a list: what compares items with each other stays bounded.
const ITEMS_MAX: usize = 10_000;

/// The items of a list, each with its origins.
pub(super) type Items<T> = Vec<(T, ItemOrigins)>;

/// A configuration under construction.
#[derive(Debug)]
pub(super) struct Building<'a> {
    /// The scalar settings; its lists are filled at the end.
    pub config: Config,
    /// Origins of scalar settings that are not at their default.
    pub scalars: BTreeMap<&'static str, Origin>,
    pub listeners: Items<Listener>,
    pub certificates: Items<Certificate>,
    pub routes: Items<Route>,
    pub tcp: Items<Tcp>,
    pub upstreams: Items<Upstream>,
    pub errors: Vec<Error>,
    pub warnings: Vec<Error>,
    pub source: Option<&'a Source>,
    pub unbuilt: &'static [Row],
}

impl<'a> Building<'a> {
    pub fn new(source: Option<&'a Source>, unbuilt: &'static [Row]) -> Self {
        Building {
            config: Config::default(),
            scalars: BTreeMap::new(),
            listeners: Vec::new(),
            certificates: Vec::new(),
            routes: Vec::new(),
            tcp: Vec::new(),
            upstreams: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            source,
            unbuilt,
        }
    }

    /// Notes a mistake.
    #[cold]
    pub fn wrong(&mut self, place: Origin, key: impl Into<String>, reason: Reason) {
        self.errors.push(Error { place, key: key.into(), reason });
    }

    /// Notes something that works but is probably not meant.
    #[cold]
    pub fn warn(&mut self, place: Origin, key: impl Into<String>, what: String) {
        self.warnings.push(Error { place, key: key.into(), reason: Reason::Conflict(what) });
    }

    /// The place of a byte of the file.
    pub fn place(&self, at: usize) -> Origin {
        self.source.map(|source| source.place(at)).unwrap_or_default()
    }

    /// Where a scalar setting came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.scalars.get(key).cloned().unwrap_or_default()
    }

    /// A path that stands in the file, joined to its folder.
    pub fn join(&self, path: &Path) -> PathBuf {
        self.source.map_or_else(|| path.to_path_buf(), |source| source.join(path))
    }

    /// Whether this key is refused whatever its value is.
    pub fn is_unbuilt(&self, key: &str) -> bool {
        refused(self.unbuilt, key, "", false).is_some()
    }

    /// Refuses a value that stands for something not built yet.
    pub fn check_built(&mut self, place: &Origin, plain: &str, key: &str, word: &str, something: bool) {
        if let Some(what) = refused(self.unbuilt, plain, word, something) {
            self.wrong(place.clone(), key, Reason::NotBuilt(what));
        }
    }
}

/// One table of the file, and which of its keys were read.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    /// What it is called to people: `route[0]`.
    path: String,
    /// What it is called in tables of this program: `route`.
    plain: &'static str,
    /// The byte where it begins.
    at: usize,
    taken: Vec<&'static str>,
    origins: ItemOrigins,
}

impl<'t> Section<'t> {
    /// A table; anything else is an error and `None`.
    pub fn new(
        building: &mut Building<'_>,
        path: String,
        plain: &'static str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Section<'t>> {
        let at = value.span().start;
        let place = building.place(at);
        match value.get_ref() {
            DeValue::Table(table) => {
                let origins = ItemOrigins { name: path.clone(), at: place, keys: BTreeMap::new() };
                Some(Section { table, path, plain, at, taken: Vec::new(), origins })
            }
            other => {
                let expected = match path.ends_with(']') {
                    true => "a table in braces or under its own heading".to_owned(),
                    false => format!("a table: write [{path}] above its keys"),
                };
                building.wrong(place, path, Reason::WrongType { expected, found: type_name(other) });
                None
            }
        }
    }

    /// The items of a list of tables, each as a section; what is not a list is an error.
    pub fn list(
        building: &mut Building<'_>,
        path: &str,
        plain: &'static str,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Vec<Section<'t>> {
        match value.get_ref() {
            DeValue::Array(items) if items.len() > ITEMS_MAX => {
                let what = format!("at most {ITEMS_MAX} of these; this has {}", items.len());
                building.wrong(building.place(value.span().start), path, Reason::Conflict(what));
                Vec::new()
            }
            DeValue::Array(items) => items
                .iter()
                .enumerate()
                .filter_map(|(i, item)| Section::new(building, format!("{path}[{i}]"), plain, item))
                .collect(),
            other => {
                let place = building.place(value.span().start);
                let expected = format!("a list of tables: write [[{path}]] above the keys of each");
                building.wrong(place, path, Reason::WrongType { expected, found: type_name(other) });
                Vec::new()
            }
        }
    }

    /// Where it begins.
    pub fn place(&self) -> Origin {
        self.origins.at.clone()
    }

    /// What it is called to people.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A key of it, as it is called to people.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// The byte where the value of a key begins, if the key is there.
    pub fn at(&self, key: &str) -> Option<usize> {
        self.table.get(key).map(|value| value.span().start)
    }

    /// Where the value of a key is, or else where the section begins.
    pub fn place_of(&self, building: &Building<'_>, key: &str) -> Origin {
        building.place(self.at(key).unwrap_or(self.at))
    }

    /// The keys of it, with the byte where each is written.
    pub fn keys(&self) -> Vec<(&'t str, usize)> {
        self.table.iter().map(|(key, _)| (key.get_ref().as_ref(), key.span().start)).collect()
    }

    /// The value of a key, which counts as read from now on.
    pub fn field(&mut self, building: &Building<'_>, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = self.table.get(key)?;
        self.taken.push(key);
        self.origins.keys.insert(key, building.place(value.span().start));
        Some(value)
    }

    /// The value of a key, of that kind. `None`: not there, or wrong and noted.
    pub fn value(&mut self, building: &mut Building<'_>, key: &'static str, kind: Kind) -> Option<Value> {
        let value = self.field(building, key)?;
        match kind.read_toml(value) {
            Ok(read) => {
                let place = building.place(value.span().start);
                let plain = format!("{}.{key}", self.plain);
                let (word, something) = (read.bare_text(), read.is_something());
                building.check_built(&place, &plain, &self.key(key), &word, something);
                Some(read)
            }
            Err(Refusal { at, reason }) => {
                building.wrong(building.place(at), self.key(key), reason);
                None
            }
        }
    }

    /// A switch.
    pub fn flag(&mut self, building: &mut Building<'_>, key: &'static str, default: bool) -> bool {
        match self.value(building, key, Kind::Bool) {
            Some(Value::Bool(flag)) => flag,
            _ => default,
        }
    }

    /// A whole number.
    pub fn number<T: TryFrom<u64>>(
        &mut self,
        building: &mut Building<'_>,
        key: &'static str,
        range: (u64, u64),
        default: T,
    ) -> T {
        match self.value(building, key, Kind::Whole(range.0, range.1)) {
            Some(Value::Whole(n)) => T::try_from(n).unwrap_or(default),
            _ => default,
        }
    }

    /// A string that `read` understands.
    pub fn text<T>(
        &mut self,
        building: &mut Building<'_>,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, Reason>,
    ) -> Option<T> {
        let value = self.field(building, key)?;
        read_text(building, &self.key(key), value, read)
    }

    /// A list of strings that `read` understands. `None`: not there, or something wrong in it.
    pub fn texts<T>(
        &mut self,
        building: &mut Building<'_>,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Reason>,
    ) -> Option<Vec<T>> {
        let value = self.field(building, key)?;
        match value.get_ref() {
            DeValue::Array(items) => {
                let path = self.key(key);
                let read: Vec<Option<T>> =
                    items.iter().map(|item| read_text(building, &path, item, &read)).collect();
                read.into_iter().collect()
            }
            other => {
                let expected = "a list of strings".to_owned();
                let place = building.place(value.span().start);
                let found = type_name(other);
                building.wrong(place, self.key(key), Reason::WrongType { expected, found });
                None
            }
        }
    }

    /// Notes that a key has to be there.
    pub fn missing(&self, building: &mut Building<'_>, key: &str, what: &str) {
        if self.table.get(key).is_none() {
            building.wrong(self.place(), self.key(key), Reason::Missing(what.to_owned()));
        }
    }

    /// Notes every key that was not read as unknown, with the nearest of `names`. Gives the origins of the rest.
    pub fn finish(self, building: &mut Building<'_>, names: &[&'static str]) -> ItemOrigins {
        for (key, at) in self.keys() {
            if !self.taken.contains(&key) {
                let nearest = nearest(key, names.iter().copied()).map(str::to_owned);
                building.wrong(building.place(at), self.key(&bare(key)), Reason::UnknownKey { nearest });
            }
        }
        self.origins
    }
}

fn read_text<T>(
    building: &mut Building<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    read: impl FnOnce(&str) -> Result<T, Reason>,
) -> Option<T> {
    let result = string(value.get_ref()).and_then(read);
    result.map_err(|reason| building.wrong(building.place(value.span().start), key, reason)).ok()
}

fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Reason> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(Reason::WrongType { expected: "a string".to_owned(), found: type_name(other) }),
    }
}

/// A whole number in a range out of a TOML value, where no section is at hand.
pub(super) fn whole(value: &DeValue<'_>) -> Option<u64> {
    integer(value).and_then(|number| u64::try_from(number).ok())
}

/// A key as it may stand in an error: what could forge a line is escaped, and it is cut.
pub(super) fn bare(key: &str) -> String {
    key.chars().take(60).collect::<String>().escape_debug().to_string()
}
