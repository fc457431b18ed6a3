//! How much of the peer's syntax is read before it is refused. Every parser of [`wire`](super) takes its
//! bounds from here, so nothing a peer sends can grow memory or work without a limit.

/// Bounds of the HTTP/1.1 parsers. All sizes are in bytes and inclusive: a value of exactly the limit is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A whole request or response head, its final empty line included. Beyond: 431. Default 16 KiB.
    pub head_size: usize,
    /// Field lines in a head. Beyond: 431. Default 100; values above [`MAX_FIELDS`](Self::MAX_FIELDS) count as that.
    pub head_fields: usize,
    /// The request-target. Beyond: 414. Default 8 KiB; meant to be smaller than `head_size`.
    pub target_size: usize,
    /// Chunk extensions of one body, all its chunks together. Beyond: 400. Default 4 KiB.
    pub chunk_extensions: usize,
    /// The trailer section of one chunked body. Beyond: 431. Default 4 KiB.
    pub trailer_size: usize,
    /// Field lines in a trailer section. Beyond: 431. Default 32.
    pub trailer_fields: usize,
}

impl Limits {
    /// The most field lines a head can be allowed to have.
    pub const MAX_FIELDS: usize = 128;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_size: 16 * 1024,
            head_fields: 100,
            target_size: 8 * 1024,
            chunk_extensions: 4 * 1024,
            trailer_size: 4 * 1024,
            trailer_fields: 32,
        }
    }
}
