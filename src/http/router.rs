//! Which route a request is for.
//!
//! The most specific route wins, whatever the order in which routes were added:
//!
//! 1. host: exactly this one, then the longest `*.wildcard`, then any. A host whose routes do not have the path passes it on
//!    to the less specific one.
//! 2. path, segment by segment: literal, then `{param}`, then `/*`.
//! 3. method: a route that names it, then one that takes any. The path is decided first: a method that its routes do not take
//!    is [`Lookup::MethodNotAllowed`], also where a less specific path would take it.
//!
//! A look-up allocates nothing and visits no node twice, so that a path cannot make it work for longer than the table is large.

mod pattern;
mod trie;

use super::request::Params;
use crate::wire::http::Method;
use pattern::{Methods, Pattern};
use std::cmp::Ordering;
use std::fmt;
use trie::{Leaf, Trie};

/// Most segments that a pattern can have.
pub const MAX_SEGMENTS: usize = 32;

/// The name of what `/*` matched.
pub const REST: &str = "rest";

/// Why a route was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteError {
    /// The host is none: neither `name`, `*.name` nor an address.
    BadHost,
    /// The path does not begin with `/`, has an empty segment before its end, `.`, `..`, a stray brace or star.
    BadPattern,
    /// A name in braces stands there twice, or is `rest` together with `/*`.
    RepeatedName,
    /// More than [`MAX_PARAMS`](super::request::MAX_PARAMS) names, `rest` counted in.
    TooManyParams,
    /// More than [`MAX_SEGMENTS`] segments.
    TooLong,
    /// A method is no token of at most [`Method::MAX_LEN`] bytes.
    BadMethod,
    /// Another route has the same host and path, and a method of this one.
    Duplicate,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteError::BadHost => "the host is no name, *.name or address",
            RouteError::BadPattern => "the path is no pattern such as /, /a/{name}/b or /a/*",
            RouteError::RepeatedName => "a name in the path stands there twice",
            RouteError::TooManyParams => "the path has too many names",
            RouteError::TooLong => "the path has too many segments",
            RouteError::BadMethod => "a method is none",
            RouteError::Duplicate => "another route has this host, path and method",
        })
    }
}

impl std::error::Error for RouteError {}

/// What [`Router::lookup`] found.
#[derive(Debug)]
pub enum Lookup<'a, T> {
    /// A route.
    Found(Found<'a, T>),
    /// The path has routes, none of them for this method: 405 (RFC 9110, 15.5.6).
    MethodNotAllowed {
        /// The value of the Allow field: the methods there are, in a fixed order.
        allow: &'a str,
    },
    /// No route has this path: 404.
    NotFound,
}

/// Why [`Router::lookup_mut`] found no route: the other cases of [`Lookup`].
#[derive(Debug)]
pub enum Miss<'a> {
    /// As [`Lookup::MethodNotAllowed`].
    MethodNotAllowed {
        /// The value of the Allow field.
        allow: &'a str,
    },
    /// As [`Lookup::NotFound`].
    NotFound,
}

/// A route and the parts of the path that its pattern named.
#[derive(Debug)]
pub struct Found<'a, T> {
    /// The place of the route in the order of adding.
    pub index: usize,
    /// The route.
    pub route: T,
    /// The parts that were named, decoded; what `/*` matched is called [`REST`].
    pub params: Params<'a>,
}

/// A table of routes. See the module page.
#[derive(Debug)]
pub struct Router<T> {
    table: Table,
    routes: Vec<T>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Router { table: Table::default(), routes: Vec::new() }
    }
}

impl<T> Router<T> {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route and gives its index. `host`: `None` (any), a name, `*.name` (any name below it, at any depth), an address;
    /// case and a dot at the end do not matter. `methods`: none for any; GET takes HEAD with it unless another route of the same
    /// path names HEAD. `pattern`: `/`, `/a/{name}/b`, `/a/` (another path than `/a`), `/a/*` (also `/a` and `/a/`); literals are
    /// compared with the decoded path.
    pub fn add(
        &mut self,
        host: Option<&str>,
        methods: &[&str],
        pattern: &str,
        route: T,
    ) -> Result<usize, RouteError> {
        let index = self.routes.len();
        let methods = Methods::new(methods)?;
        let pattern = Pattern::parse(pattern)?;
        self.table.trie(host)?.add(&pattern, methods, index)?;
        self.routes.push(route);
        Ok(index)
    }

    /// Finds the route. `host`: the authority as received, port and all; `path` as
    /// [`Request::path`](super::Request::path) has it: decoded, without the slash at the front.
    #[inline]
    pub fn lookup<'a>(
        &'a self,
        host: Option<&[u8]>,
        path: &'a [u8],
        method: Method<'_>,
    ) -> Lookup<'a, &'a T> {
        let mut params = Params::of(path);
        let Some(leaf) = self.table.find(|| host, path, &mut params) else { return Lookup::NotFound };
        let Some(entry) = leaf.pick(method) else {
            return Lookup::MethodNotAllowed { allow: leaf.allow() };
        };
        params.name(&entry.names);
        Lookup::Found(Found { index: entry.index, route: &self.routes[entry.index], params })
    }

    /// [`lookup`](Self::lookup) where the route itself is to be changed, as a handler is when it is called, and the parameters are
    /// to be written in place. `params` are empty, and of this path. `host` is asked only if a route names one: telling it from a
    /// head that was just read makes the processor wait for that.
    #[inline]
    pub fn lookup_mut<'a, 'h>(
        &'a mut self,
        host: impl FnOnce() -> Option<&'h [u8]>,
        path: &'a [u8],
        method: Method<'_>,
        params: &mut Params<'a>,
    ) -> Result<&'a mut T, Miss<'a>> {
        let Some(leaf) = self.table.find(host, path, params) else { return Err(Miss::NotFound) };
        let Some(entry) = leaf.pick(method) else {
            return Err(Miss::MethodNotAllowed { allow: leaf.allow() });
        };
        params.name(&entry.names);
        Ok(&mut self.routes[entry.index])
    }

    /// The routes, in the order of adding.
    pub fn routes(&self) -> &[T] {
        &self.routes
    }

    /// The routes, in the order of adding.
    pub fn routes_mut(&mut self) -> &mut [T] {
        &mut self.routes
    }
}

/// The tries of all hosts. Names are in lower case, the lists sorted.
#[derive(Debug, Default)]
struct Table {
    exact: Vec<(Box<[u8]>, Trie)>,
    /// Without `*.`.
    below: Vec<(Box<[u8]>, Trie)>,
    any: Trie,
}

impl Table {
    /// The trie of a host pattern, made if there is none.
    fn trie(&mut self, host: Option<&str>) -> Result<&mut Trie, RouteError> {
        let Some(host) = host else { return Ok(&mut self.any) };
        let (list, name) = match host.strip_prefix("*.") {
            Some(name) => (&mut self.below, name),
            None => (&mut self.exact, host),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let authority = crate::wire::http::target::is_authority(name.as_bytes());
        if name.is_empty()
            || !authority
            || host_name(name.as_bytes()) != name.as_bytes()
            || name.contains('*')
        {
            return Err(RouteError::BadHost);
        }
        let at = match list.binary_search_by(|(known, _)| known[..].cmp(name.as_bytes())) {
            Ok(at) => at,
            Err(at) => {
                list.insert(at, (name.into_bytes().into(), Trie::default()));
                at
            }
        };
        Ok(&mut list[at].1)
    }

    #[inline]
    fn find<'a, 'h>(
        &'a self,
        host: impl FnOnce() -> Option<&'h [u8]>,
        path: &[u8],
        params: &mut Params<'_>,
    ) -> Option<&'a Leaf> {
        if self.exact.is_empty() && self.below.is_empty() {
            return self.any.find(path, params);
        }
        self.find_by_host(host(), path, params)
    }

    #[inline(never)]
    fn find_by_host<'a>(
        &'a self,
        host: Option<&[u8]>,
        path: &[u8],
        params: &mut Params<'_>,
    ) -> Option<&'a Leaf> {
        /// No name is longer (RFC 1035, 2.3.4).
        const LONGEST: usize = 255;
        let host = host_name(host.unwrap_or_default());
        if host.len() <= LONGEST {
            if let Some(leaf) = search(&self.exact, host).and_then(|trie| trie.find(path, params)) {
                return Some(leaf);
            }
            let mut rest = host;
            while let (false, Some(dot)) = (self.below.is_empty(), memchr::memchr(b'.', rest)) {
                rest = &rest[dot + 1..];
                if let Some(leaf) = search(&self.below, rest).and_then(|trie| trie.find(path, params)) {
                    return Some(leaf);
                }
            }
        }
        self.any.find(path, params)
    }
}

/// A host without port and without the dot at its end.
pub(super) fn host_name(host: &[u8]) -> &[u8] {
    let end = match host.first() {
        Some(b'[') => memchr::memchr(b']', host).map(|end| end + 1),
        _ => memchr::memchr(b':', host),
    };
    let name = &host[..end.unwrap_or(host.len())];
    name.strip_suffix(b".").unwrap_or(name)
}

fn search<'a>(list: &'a [(Box<[u8]>, Trie)], host: &[u8]) -> Option<&'a Trie> {
    let compare =
        |known: &[u8]| -> Ordering { known.iter().copied().cmp(host.iter().map(u8::to_ascii_lowercase)) };
    let at = list.binary_search_by(|(known, _)| compare(known)).ok()?;
    Some(&list[at].1)
}

#[cfg(test)]
mod tests;
