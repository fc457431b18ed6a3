//! What the schema has and this version does not do yet. A row is removed when its feature lands.
//!
//! The values themselves are read and checked like all others, so that removing a row is all there is to do.

/// When a row applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// The key is there at all.
    Present,
    /// It is this word.
    Word(&'static str),
    /// It is neither false nor zero.
    Something,
}

/// One feature that is refused by name.
#[derive(Debug)]
pub(super) struct Row {
    /// The key, without indices: `route.proxy`.
    pub key: &'static str,
    /// When.
    pub when: When,
    /// What to call it.
    pub what: &'static str,
}

/// All of them.
pub(super) static UNBUILT: &[Row] = &[
    Row { key: "route.proxy", when: When::Present, what: "proxy routes" },
    Row { key: "upstream", when: When::Present, what: "upstreams" },
    Row { key: "tcp.handler", when: When::Word("proxy"), what: "TCP proxying" },
    Row { key: "limits.requests_per_second", when: When::Something, what: "request rate limits" },
    Row { key: "limits.burst", when: When::Something, what: "request rate limits" },
    Row { key: "listener.proxy_protocol", when: When::Something, what: "the PROXY protocol" },
];

/// The name of the feature, if a value for this key is refused. `word` is the value as bare text, `something` whether
/// it is neither false nor zero.
pub(super) fn refused(rows: &[Row], key: &str, word: &str, something: bool) -> Option<&'static str> {
    let applies = |row: &&Row| {
        row.key == key
            && match row.when {
                When::Present => true,
                When::Word(refused) => refused == word,
                When::Something => something,
            }
    };
    rows.iter().find(applies).map(|row| row.what)
}
