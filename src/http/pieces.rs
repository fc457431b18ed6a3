//! Large answers from memory, handed out as the client takes them.

use super::reply::{Body, Flow};
use crate::reactor::Part;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most bytes of memory that are handed to a connection at once: a default high water. What is larger is handed out as the peer takes
/// it; all of it at once would be more than a connection may hold for a slow one.
pub(super) const AT_ONCE: usize = 256 << 10;

pub(super) fn is_in_memory(part: &Part) -> bool {
    match part {
        Part::Shared(..) | Part::Static(_) => true,
        Part::File(..) => false,
    }
}

/// A body that is in memory already. What was handed out is let go of, piece by piece.
pub(super) struct Pieces(VecDeque<Part>);

impl Pieces {
    /// None of them is a file.
    pub fn new(parts: Vec<Part>) -> Pieces {
        debug_assert!(parts.iter().all(is_in_memory));
        Pieces(parts.into())
    }
}

impl Body for Pieces {
    fn more(&mut self, out: &mut Vec<u8>) -> Flow {
        /// Bytes at a time.
        const RUN: usize = 64 << 10;
        let mut room = RUN;
        while let Some(part) = self.0.front_mut() {
            let rest = match part {
                Part::Shared(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
                Part::Static(bytes) => bytes,
                // None is put in.
                Part::File(..) => return Flow::Abort,
            };
            let n = rest.len().min(room);
            out.extend_from_slice(&rest[..n]);
            if n < rest.len() {
                match part {
                    Part::Shared(_, range) => range.start += n,
                    Part::Static(bytes) => *bytes = &bytes[n..],
                    Part::File(..) => {}
                }
                return Flow::More;
            }
            room -= n;
            self.0.pop_front();
        }
        Flow::End
    }

    fn held(&self) -> usize {
        let own = |part: &Part| match part {
            Part::Shared(bytes, _) => bytes.len() / Arc::strong_count(bytes).max(1),
            Part::Static(_) | Part::File(..) => 0,
        };
        self.0.iter().map(own).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_pieces_are_handed_out_a_run_at_a_time() {
        static SMALL: [u8; 1000] = [b's'; 1000];
        let mut pieces = Pieces::new(vec![Part::Static(&SMALL); 300]);
        let mut runs = Vec::new();
        loop {
            let mut out = Vec::new();
            let flow = pieces.more(&mut out);
            runs.push(out.len());
            if flow == Flow::End {
                break;
            }
        }
        assert_eq!(runs, [65_536, 65_536, 65_536, 65_536, 300_000 - 4 * 65_536]);
    }

    #[test]
    fn what_is_shared_is_held_in_equal_parts_by_those_who_share_it() {
        let bytes: Arc<[u8]> = vec![b'x'; 300_000].into();
        let pieces = Pieces::new(vec![Part::Shared(bytes.clone(), 0..10), Part::Static(b"static")]);
        assert_eq!(pieces.held(), 150_000);
        drop(bytes);
        assert_eq!(pieces.held(), 300_000);
    }
}
