//! The paths of one host, as a trie of segments.

use super::pattern::{GET, HEAD, Methods, NAMES, Pattern, Segment};
use super::{Found, Lookup, RouteError};
use crate::http::request::{MAX_PARAMS, Params};
use crate::wire::http::Method;

/// The paths of one host. Node 0 is the root.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// By literal, sorted.
    literals: Vec<(Box<[u8]>, usize)>,
    param: Option<usize>,
    /// The routes whose pattern ends here.
    here: Leaf,
    /// The routes whose pattern ends here in `/*`.
    rest: Leaf,
}

/// The routes of one pattern.
#[derive(Debug, Default)]
struct Leaf {
    /// Those that take any method last.
    entries: Vec<Entry>,
    allow: String,
}

#[derive(Debug)]
struct Entry {
    methods: Methods,
    names: Vec<Box<str>>,
    index: usize,
}

/// What the walk caught, by position.
#[derive(Default)]
struct Caught<'a> {
    values: [&'a [u8]; MAX_PARAMS],
    len: usize,
}

impl<'a> Caught<'a> {
    fn push(&mut self, value: &'a [u8]) {
        // There is room: no pattern has more parameters.
        if let Some(place) = self.values.get_mut(self.len) {
            *place = value;
            self.len += 1;
        }
    }
}

impl Trie {
    pub(super) fn add(
        &mut self,
        pattern: &Pattern<'_>,
        methods: Methods,
        index: usize,
    ) -> Result<(), RouteError> {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in &pattern.segments {
            let fresh = self.nodes.len();
            let next = match segment {
                Segment::Param(_) => *self.nodes[at].param.get_or_insert(fresh),
                Segment::Literal(text) => {
                    let literals = &mut self.nodes[at].literals;
                    match literals.binary_search_by(|(known, _)| known[..].cmp(text.as_bytes())) {
                        Ok(place) => literals[place].1,
                        Err(place) => {
                            literals.insert(place, (text.as_bytes().into(), fresh));
                            fresh
                        }
                    }
                }
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        let names = pattern.names.iter().map(|&name| name.into()).collect();
        let node = &mut self.nodes[at];
        let leaf = if pattern.rest { &mut node.rest } else { &mut node.here };
        leaf.add(Entry { methods, names, index })
    }

    /// `None` if there is no such path.
    #[inline]
    pub(super) fn lookup<'a>(&'a self, path: &'a [u8], method: Method<'_>) -> Option<Lookup<'a, ()>> {
        let root = self.nodes.first()?;
        let mut caught = Caught::default();
        let leaf = self.walk(root, (!path.is_empty()).then_some(path), &mut caught)?;
        Some(leaf.pick(method, &caught))
    }

    /// The leaf for what is left of the path below `node`; `None` is a path that ended there. The depth is that of the trie.
    fn walk<'a>(
        &'a self,
        node: &'a Node,
        path: Option<&'a [u8]>,
        caught: &mut Caught<'a>,
    ) -> Option<&'a Leaf> {
        let len = caught.len;
        let Some(left) = path else {
            if !node.here.entries.is_empty() {
                return Some(&node.here);
            }
            return node.catch_all(b"", caught);
        };
        if !node.literals.is_empty() || node.param.is_some() {
            let (segment, after) = match memchr::memchr(b'/', left) {
                Some(slash) => (&left[..slash], Some(&left[slash + 1..])),
                None => (left, None),
            };
            if let Ok(place) = node.literals.binary_search_by(|(known, _)| known[..].cmp(segment))
                && let Some(leaf) = self.walk(&self.nodes[node.literals[place].1], after, caught)
            {
                return Some(leaf);
            }
            if let (Some(param), false) = (node.param, segment.is_empty()) {
                caught.push(segment);
                if let Some(leaf) = self.walk(&self.nodes[param], after, caught) {
                    return Some(leaf);
                }
                caught.len = len;
            }
        }
        node.catch_all(left, caught)
    }
}

impl Node {
    #[inline]
    fn catch_all<'a>(&'a self, left: &'a [u8], caught: &mut Caught<'a>) -> Option<&'a Leaf> {
        if self.rest.entries.is_empty() {
            return None;
        }
        caught.push(left);
        Some(&self.rest)
    }
}

impl Leaf {
    fn add(&mut self, entry: Entry) -> Result<(), RouteError> {
        if self.entries.iter().any(|known| known.methods.clashes(&entry.methods)) {
            return Err(RouteError::Duplicate);
        }
        match entry.methods.is_any() {
            true => self.entries.push(entry),
            false => self.entries.insert(0, entry),
        }
        let named = self.entries.iter().any(|entry| entry.methods.named & HEAD != 0);
        let mut all = 0;
        for methods in self.entries.iter_mut().map(|entry| &mut entry.methods) {
            let with_head = !named && methods.named & GET != 0;
            methods.taken = methods.named | if with_head { HEAD } else { 0 };
            all |= methods.taken;
        }
        let known = NAMES.iter().enumerate().filter(|(i, _)| all & (1 << i) != 0).map(|(_, name)| *name);
        let others = self.entries.iter().flat_map(|entry| &entry.methods.others).map(|name| &**name);
        self.allow = known.chain(others).collect::<Vec<_>>().join(", ");
        Ok(())
    }

    #[inline]
    fn pick<'a>(&'a self, method: Method<'_>, caught: &Caught<'a>) -> Lookup<'a, ()> {
        let Some(entry) = self.entries.iter().find(|entry| entry.methods.take(method)) else {
            return Lookup::MethodNotAllowed { allow: &self.allow };
        };
        let mut params = Params::default();
        for (name, value) in entry.names.iter().zip(&caught.values[..caught.len]) {
            params.push(name, value);
        }
        Lookup::Found(Found { index: entry.index, route: (), params })
    }
}
