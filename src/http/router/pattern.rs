//! Patterns of paths and sets of methods, checked.

use super::{MAX_SEGMENTS, REST, RouteError};
use crate::http::request::MAX_PARAMS;
use crate::wire::http::Method;

/// Names of the methods that have a bit, in its order, which is also that of Allow.
pub(super) const NAMES: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
pub(super) const GET: u16 = 1;
pub(super) const HEAD: u16 = 2;

/// A set of methods; one that names none takes any.
#[derive(Debug, Default)]
pub(super) struct Methods {
    pub(super) named: u16,
    /// With HEAD where GET brings it along.
    pub(super) taken: u16,
    pub(super) others: Vec<Box<str>>,
}

impl Methods {
    pub(super) fn new(names: &[&str]) -> Result<Methods, RouteError> {
        let mut methods = Methods::default();
        for &name in names {
            let legal = crate::wire::http::text::is_token_text(name.as_bytes());
            if !legal || name.len() > Method::MAX_LEN {
                return Err(RouteError::BadMethod);
            }
            match NAMES.iter().position(|known| *known == name) {
                Some(bit) => methods.named |= 1 << bit,
                None if methods.others.iter().all(|known| **known != *name) => {
                    methods.others.push(name.into())
                }
                None => {}
            }
        }
        Ok(methods)
    }

    pub(super) fn is_any(&self) -> bool {
        self.named == 0 && self.others.is_empty()
    }

    pub(super) fn clashes(&self, other: &Methods) -> bool {
        let both_any = self.is_any() && other.is_any();
        both_any
            || self.named & other.named != 0
            || self.others.iter().any(|name| other.others.contains(name))
    }

    #[inline]
    pub(super) fn take(&self, method: Method<'_>) -> bool {
        let bit = match method {
            Method::Get => GET,
            Method::Head => HEAD,
            Method::Post => 4,
            Method::Put => 8,
            Method::Delete => 16,
            Method::Patch => 32,
            Method::Options => 64,
            Method::Connect => 128,
            Method::Trace => 256,
            Method::Other(name) => return self.is_any() || self.others.iter().any(|known| **known == *name),
        };
        self.taken & bit != 0 || self.is_any()
    }
}

/// A path pattern, taken apart.
pub(super) struct Pattern<'p> {
    pub(super) segments: Vec<Segment<'p>>,
    pub(super) rest: bool,
    /// Of the parameters, in order; [`REST`] last.
    pub(super) names: Vec<&'p str>,
}

pub(super) enum Segment<'p> {
    Literal(&'p str),
    Param(&'p str),
}

impl<'p> Pattern<'p> {
    pub(super) fn parse(text: &'p str) -> Result<Pattern<'p>, RouteError> {
        let path = text.strip_prefix('/').ok_or(RouteError::BadPattern)?;
        let (path, rest) = match path.strip_suffix('*') {
            Some("") => ("", true),
            Some(before) => (before.strip_suffix('/').ok_or(RouteError::BadPattern)?, true),
            None => (path, false),
        };
        let mut segments = Vec::new();
        // `//*` has an empty segment before its star, as `/*` has none.
        if !path.is_empty() || text == "//*" {
            let mut parts = path.split('/').peekable();
            while let Some(part) = parts.next() {
                let last = parts.peek().is_none() && !rest;
                segments.push(Segment::parse(part, last)?);
            }
        }
        let names = segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(*name),
            Segment::Literal(_) => None,
        });
        let names: Vec<&str> = names.chain(rest.then_some(REST)).collect();
        if segments.len() > MAX_SEGMENTS {
            return Err(RouteError::TooLong);
        }
        if names.len() > MAX_PARAMS {
            return Err(RouteError::TooManyParams);
        }
        if names.iter().enumerate().any(|(i, name)| names[..i].contains(name)) {
            return Err(RouteError::RepeatedName);
        }
        Ok(Pattern { segments, rest, names })
    }
}

impl<'p> Segment<'p> {
    /// An empty one is legal as the last: a path that ends in a slash.
    fn parse(text: &'p str, last: bool) -> Result<Segment<'p>, RouteError> {
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            let good = !name.is_empty() && name.bytes().all(legal);
            return if good { Ok(Segment::Param(name)) } else { Err(RouteError::BadPattern) };
        }
        let stray = text.contains(['{', '}', '*', '\0', '\\']) || text == "." || text == "..";
        if stray || (text.is_empty() && !last) {
            return Err(RouteError::BadPattern);
        }
        Ok(Segment::Literal(text))
    }
}
