//! A request as a handler sees it: meaning, not version.

use super::router::host_name;
use crate::reactor::Peer;
use crate::wire::http::head::Head;
use crate::wire::http::{Method, Version};

/// Most parameters that a route can have.
pub const MAX_PARAMS: usize = 8;

/// The parts of the path that a route's pattern named. Kept small, since every request is handed one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    names: &'a [Box<str>],
    path: &'a [u8],
    /// Where in the path each begins and ends.
    spans: [(u32, u32); MAX_PARAMS],
    len: u32,
}

impl<'a> Params<'a> {
    /// None yet, of this path, which is shorter than 4 GiB.
    pub(super) fn of(path: &'a [u8]) -> Params<'a> {
        Params { names: &[], path, spans: [(0, 0); MAX_PARAMS], len: 0 }
    }

    /// Appends a part of the path; the router refuses patterns with more than [`MAX_PARAMS`], so none is ever lost.
    pub(super) fn push(&mut self, from: usize, to: usize) {
        debug_assert!(self.len() < MAX_PARAMS && from <= to && to <= self.path.len());
        if let Some(place) = self.spans.get_mut(self.len as usize) {
            *place = (from as u32, to as u32);
            self.len += 1;
        }
    }

    /// Takes back what was pushed after there were `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len as u32);
    }

    /// Gives them their names, in order.
    pub(super) fn name(&mut self, names: &'a [Box<str>]) {
        self.names = names;
    }

    /// The value of a parameter, decoded.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// All of them, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        let values = self.spans[..self.len()]
            .iter()
            .map(|&(from, to)| self.path.get(from as usize..to as usize).unwrap_or_default());
        self.names.iter().map(|name| &**name).zip(values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A request. Borrowed for the length of a handler's call.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(crate) head: &'a Head<'a>,
    pub(crate) path: &'a [u8],
    pub(crate) params: &'a Params<'a>,
    pub(crate) body: &'a [u8],
    pub(crate) peer: Peer,
    pub(crate) secure: bool,
}

impl<'a> Request<'a> {
    /// The method.
    pub fn method(&self) -> Method<'a> {
        self.head.method
    }

    /// The path: percent-decoded, dot segments removed, without the slash at the front. `/` is empty; a slash at the end is kept.
    pub fn path(&self) -> &'a [u8] {
        self.path
    }

    /// The host that is asked for, as routes are matched with it: without a port and without the dot at its end, in the case it came in.
    pub fn host(&self) -> Option<&'a [u8]> {
        self.head.authority().map(host_name)
    }

    /// The request-target as it came.
    pub fn raw_target(&self) -> &'a [u8] {
        self.head.raw_target
    }

    /// What stands behind the `?`, as it came.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.head.target.query()
    }

    /// The parameter that the route's pattern calls `name`, decoded.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params.get(name)
    }

    /// The value of the first field of this name, whatever its case.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.head.field(name)
    }

    /// The whole head: every field, framing, host.
    pub fn head(&self) -> &'a Head<'a> {
        self.head
    }

    /// The body, collected up to the limit; empty where the handler streams it ([`Upload`](super::Upload)).
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Who asks.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// It came over TLS.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// The version it came in; the answer's own version is not the handler's business.
    pub fn version(&self) -> Version {
        self.head.version
    }
}
