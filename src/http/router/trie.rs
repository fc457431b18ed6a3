//! The paths of one host, as a trie of segments.

use super::RouteError;
use super::pattern::{GET, HEAD, Methods, NAMES, Pattern, Segment};
use crate::http::request::Params;
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
pub(super) struct Leaf {
    /// Those that take any method last.
    entries: Vec<Entry>,
    allow: String,
}

#[derive(Debug)]
pub(super) struct Entry {
    methods: Methods,
    pub(super) names: Vec<Box<str>>,
    pub(super) index: usize,
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

    /// The routes of the path, and its parameters. `None` if there is no such path.
    #[inline]
    pub(super) fn find<'a>(&'a self, path: &[u8], params: &mut Params<'_>) -> Option<&'a Leaf> {
        let root = self.nodes.first()?;
        // An empty path has ended before its first segment.
        self.walk(root, path, usize::from(path.is_empty()), params)
    }

    /// The leaf for what is left of the path from `at`, below `node`; a path that ended has `at` behind its end. The depth is that
    /// of the trie.
    fn walk<'a>(
        &'a self,
        node: &'a Node,
        path: &[u8],
        at: usize,
        params: &mut Params<'_>,
    ) -> Option<&'a Leaf> {
        let Some(left) = path.get(at..) else {
            if !node.here.entries.is_empty() {
                return Some(&node.here);
            }
            return node.catch_all(path.len(), path.len(), params);
        };
        if !node.literals.is_empty() || node.param.is_some() {
            let end = memchr::memchr(b'/', left).map_or(path.len(), |slash| at + slash);
            let segment = &path[at..end];
            if let Ok(place) = node.literals.binary_search_by(|(known, _)| known[..].cmp(segment))
                && let Some(leaf) = self.walk(&self.nodes[node.literals[place].1], path, end + 1, params)
            {
                return Some(leaf);
            }
            if let (Some(param), false) = (node.param, segment.is_empty()) {
                let len = params.len();
                params.push(at, end);
                if let Some(leaf) = self.walk(&self.nodes[param], path, end + 1, params) {
                    return Some(leaf);
                }
                params.truncate(len);
            }
        }
        node.catch_all(at, path.len(), params)
    }
}

impl Node {
    #[inline]
    fn catch_all(&self, from: usize, to: usize, params: &mut Params<'_>) -> Option<&Leaf> {
        if self.rest.entries.is_empty() {
            return None;
        }
        params.push(from, to);
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

    /// The route for a method.
    #[inline]
    pub(super) fn pick(&self, method: Method<'_>) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.methods.take(method))
    }

    /// The value of Allow.
    pub(super) fn allow(&self) -> &str {
        &self.allow
    }
}
