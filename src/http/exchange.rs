//! One request and its answer, while they take longer than one call.

use super::late::Watch;
use super::reply::{Body, Sent, Terms, Upload};
use crate::observe::Reason;
use crate::reactor::Millis;
use crate::wire::http::chunked::Decoder;
use crate::wire::http::{Reject, Scan, Version};
use crate::wire::limits::Limits;

/// Heads and bodies larger than this give their memory back.
const KEPT: usize = 16 << 10;

/// How the rest of a request's body is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Incoming {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Decoder),
}

/// A run of a body's bytes.
pub(super) struct Run<'i> {
    pub consumed: usize,
    pub data: &'i [u8],
    pub done: bool,
}

impl Incoming {
    /// The next run. Call it again with what is left while it consumes anything and is not done.
    pub fn advance<'i>(&mut self, input: &'i [u8], limits: &Limits) -> Result<Run<'i>, Reject> {
        match self {
            Incoming::Length(left) => {
                let n = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= n as u64;
                Ok(Run { consumed: n, data: &input[..n], done: *left == 0 })
            }
            Incoming::Chunked(decoder) => {
                let step = decoder.advance(input, limits)?;
                Ok(Run { consumed: step.consumed, data: step.data, done: step.done })
            }
        }
    }
}

/// Where a request's body goes.
#[derive(Default)]
pub(super) enum Sink {
    #[default]
    Discard,
    Collect,
    Upload(Box<dyn Upload>),
}

/// What had not come of a request's body when its handler was called.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Left {
    #[default]
    Nothing,
    /// All of it: an upload may still have it.
    Body,
    /// What an upload did not want: nobody has it.
    Rest,
}

/// The state of an exchange that outlives a call. Pooled by the [`Site`](super::Site).
pub(super) struct Exchange {
    /// How far an unfinished head was read.
    pub scan: Scan,
    /// The head, once it is whole.
    pub head: Vec<u8>,
    /// The body so far, if it is collected.
    pub body: Vec<u8>,
    pub incoming: Incoming,
    pub sink: Sink,
    /// Bytes of body so far, and how many are allowed.
    pub received: u64,
    pub limit: u64,
    /// Start of the window over which the body's rate is measured, and what of `received` counts no more.
    pub window: (Millis, u64),
    /// Since when the upload or the producer waits for a nudge.
    pub held: Option<Millis>,
    /// Since when the producer has had nothing to give, though it does not wait.
    pub dry: Option<Millis>,
    /// Who may nudge, or answer.
    pub ticket: Watch,
    pub left: Left,
    pub terms: Terms,
    pub sent: Sent,
    pub producer: Option<Box<dyn Body>>,
    /// Bytes of memory that the producer held when it was last asked.
    pub made: usize,
    /// Bytes that the producer still owes, if it announced a length.
    pub owed: Option<u64>,
    pub began: Millis,
    /// Why the connection closes when the peer has taken the answer, if it does.
    pub ending: Option<Reason>,
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange {
            scan: Scan::default(),
            head: Vec::new(),
            body: Vec::new(),
            incoming: Incoming::Length(0),
            sink: Sink::Discard,
            received: 0,
            limit: 0,
            window: (Millis(0), 0),
            held: None,
            dry: None,
            ticket: Watch::default(),
            left: Left::Nothing,
            terms: Terms {
                version: Version::Http11,
                head_only: false,
                keep_alive: false,
                server_field: false,
            },
            sent: Sent::default(),
            producer: None,
            made: 0,
            owed: None,
            began: Millis(0),
            ending: None,
        }
    }
}

impl Exchange {
    /// Ready for another request; small buffers are kept.
    pub fn reset(&mut self) {
        self.ticket.settle();
        let (mut head, mut body) = (std::mem::take(&mut self.head), std::mem::take(&mut self.body));
        head.clear();
        body.clear();
        head.shrink_to(KEPT);
        body.shrink_to(KEPT);
        *self = Exchange { head, body, ..Exchange::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_over_leaves_nothing_to_the_next_but_a_little_room() {
        let mut exchange = Exchange {
            head: vec![b'h'; 100_000],
            body: vec![b'b'; 1000],
            held: Some(Millis(1)),
            dry: Some(Millis(2)),
            left: Left::Rest,
            owed: Some(3),
            made: 4,
            ending: Some(Reason::Done),
            ..Exchange::default()
        };
        exchange.reset();
        assert!(exchange.head.is_empty() && exchange.body.is_empty());
        assert!(exchange.head.capacity() <= KEPT && exchange.body.capacity() >= 1000);
        assert_eq!((exchange.held, exchange.dry, exchange.left), (None, None, Left::Nothing));
        assert_eq!((exchange.owed, exchange.made, exchange.ending), (None, 0, None));
    }
}
