//! One message to many.
//!
//! Messages of one turn are gathered ([`Gather`]), encoded once, and go to each member as one [`Batch`]: one note and one write a
//! member, however many messages there are. A member does not get what it sent itself. What it cannot take yet is in
//! [`Backlog`](super::Backlog)'s hands.

use super::gate::{Flight, Flights};
use crate::reactor::Token;
use std::ops::Range;
use std::sync::Arc;

/// So many bytes and messages there is kept room for to gather in.
const KEPT: (usize, usize) = (64 << 10, 1024);

/// A connection, named across all workers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Member {
    /// The worker's number.
    pub worker: u16,
    /// Its name there.
    pub token: Token,
}

/// One message in a batch: where it ends, and who sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub end: usize,
    pub from: Option<Member>,
}

/// What a message takes besides its bytes: its entry, and its sender's place among those of the batch.
const PER_MESSAGE: usize = size_of::<Entry>() + size_of::<Member>();

/// Messages on their way into a [`Batch`].
#[derive(Debug, Default)]
pub struct Gather {
    bytes: Vec<u8>,
    index: Vec<Entry>,
    /// Flights of the batches that were appended.
    origins: Vec<Arc<Flight>>,
}

impl Gather {
    /// Adds the message that `compose` appends. `from` will not get it back. Says how many bytes it takes, with all that belongs
    /// to it.
    pub fn push(&mut self, from: Option<Member>, compose: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.bytes.len();
        compose(&mut self.bytes);
        self.index.push(Entry { end: self.bytes.len(), from });
        PER_MESSAGE + self.bytes.len() - before
    }

    /// Adds the messages of a batch, in its order. Where that was sealed it counts as in flight until what is gathered here has
    /// been delivered. Says how many bytes it takes.
    pub fn append(&mut self, batch: &Batch) -> usize {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&batch.bytes);
        self.index
            .extend(batch.index.iter().map(|entry| Entry { end: before + entry.end, from: entry.from }));
        self.origins.push(batch.flight.clone());
        self.origins.extend_from_slice(&batch.origins);
        batch.cost()
    }

    /// Nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes that were gathered.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it has to gather in.
    fn capacity(&self) -> usize {
        self.bytes.capacity() + self.index.capacity() * size_of::<Entry>()
    }

    /// What was gathered; nothing is left. The room to gather in is kept, unless it is large. Until the batch is dropped it counts
    /// as in flight.
    pub fn seal(&mut self, flights: &Flights) -> Batch {
        let bytes: Arc<[u8]> = Arc::from(self.bytes.as_slice());
        let index: Arc<[Entry]> = self.index.as_slice().into();
        let mut senders: Vec<Member> = index.iter().filter_map(|entry| entry.from).collect();
        senders.sort_unstable();
        senders.dedup();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT.0);
        self.index.clear();
        self.index.shrink_to(KEPT.1);
        let origins = std::mem::take(&mut self.origins).into();
        let flight = flights.begin(cost(bytes.len(), index.len()));
        Batch { flight, origins, bytes, index, senders: senders.into() }
    }
}

/// Gathers that nobody needs now: lent where something is said, and given back once it is sealed, so that many rooms in which it is
/// quiet hold nothing, and a busy one need not ask the allocator in each turn.
#[derive(Debug, Default)]
pub struct Spares {
    kept: Vec<Gather>,
    held: usize,
    quiet: u8,
}

impl Spares {
    /// Most that are kept, each of at most 96 KiB.
    const MOST: usize = 8;
    /// Turns without anything said after which none is.
    const QUIET: u8 = 100;

    /// One in which nothing is gathered yet.
    pub fn lend(&mut self) -> Gather {
        let gather = self.kept.pop().unwrap_or_default();
        self.held -= gather.capacity();
        gather
    }

    /// Takes one back, with nothing in it.
    pub fn give_back(&mut self, gather: Gather) {
        if self.kept.len() < Spares::MOST {
            self.held += gather.capacity();
            self.kept.push(gather);
        }
    }

    /// A turn is over, in which something was said or not.
    pub fn end_turn(&mut self, said: bool) {
        self.quiet = if said { 0 } else { self.quiet.saturating_add(1) };
        if self.quiet == Spares::QUIET {
            *self = Spares { quiet: self.quiet, ..Spares::default() };
        }
    }

    /// Bytes of memory that it holds.
    pub fn held(&self) -> usize {
        self.held
    }
}

/// The messages of one turn, encoded.
#[derive(Debug)]
pub struct Batch {
    pub(super) bytes: Arc<[u8]>,
    pub(super) index: Arc<[Entry]>,
    /// Sorted.
    senders: Box<[Member]>,
    flight: Arc<Flight>,
    /// What it was made of still counts where that came from.
    origins: Box<[Arc<Flight>]>,
}

/// Batches from elsewhere that have not been handed on yet.
#[derive(Debug, Default)]
pub struct Arrivals(Vec<Arc<Batch>>);

impl Arrivals {
    /// Adds one, the last in order.
    pub fn push(&mut self, batch: Arc<Batch>) {
        self.0.push(batch);
    }

    /// Nothing has come.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands them on, in their order: a single one as it is, several as one batch, or as some of about `most` bytes, gathered in
    /// `gather`. They go on counting where they were sealed; what they are copied to counts in `flights`.
    pub fn land(
        &mut self,
        most: usize,
        flights: &Flights,
        gather: &mut Gather,
        mut each: impl FnMut(&Arc<Batch>),
    ) {
        if let [batch] = &self.0[..] {
            each(batch);
        } else {
            let mut left = self.0.len();
            for batch in self.0.drain(..) {
                gather.append(&batch);
                left -= 1;
                if left == 0 || gather.len() >= most {
                    each(&Arc::new(gather.seal(flights)));
                }
            }
        }
        self.0.clear();
        self.0.shrink_to(1);
    }
}

/// What so many messages take, with all that belongs to them.
pub(super) fn cost(bytes: usize, messages: usize) -> usize {
    bytes.saturating_add(messages.saturating_mul(PER_MESSAGE))
}

impl Batch {
    /// How many messages.
    pub fn messages(&self) -> usize {
        self.index.len()
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// It has no message.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many bytes it takes, with all that belongs to its messages.
    pub(super) fn cost(&self) -> usize {
        cost(self.len(), self.messages())
    }

    pub(super) fn is_from(&self, me: Member) -> bool {
        self.senders.binary_search(&me).is_ok()
    }

    /// The messages that are not from `me`.
    pub(super) fn for_member(&self, me: Member) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut begin = 0;
        self.index.iter().filter_map(move |entry| {
            let range = begin..entry.end;
            begin = entry.end;
            (entry.from != Some(me)).then_some(range)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_leaves_out_what_a_member_sent_and_keeps_the_order() {
        let member = |n: u64| Member { worker: 0, token: Token::from_bits(n) };
        let mut gather = Gather::default();
        for (from, text) in
            [(Some(member(1)), "a"), (Some(member(2)), "bb"), (None, "ccc"), (Some(member(1)), "d")]
        {
            gather.push(from, |out| out.extend_from_slice(text.as_bytes()));
        }
        let first = gather.seal(&Flights::default());
        assert!(gather.is_empty());
        gather.append(&first);
        gather.push(Some(member(3)), |out| out.push(b'e'));
        let batch = gather.seal(&Flights::default());
        let seen =
            |me| -> Vec<u8> { batch.for_member(me).flat_map(|range| batch.bytes[range].to_vec()).collect() };
        assert_eq!(seen(member(1)), b"bbccce");
        assert_eq!(seen(member(9)), b"abbcccde");
        assert!(batch.is_from(member(3)) && !batch.is_from(member(9)));
        assert_eq!((batch.messages(), batch.len()), (5, 8));
    }

    #[test]
    fn what_is_in_flight_counts_where_it_was_said_until_it_has_landed_and_small_messages_count_whole() {
        let (here, home) = (Flights::default(), Flights::default());
        let mut gather = Gather::default();
        let taken: usize = (0..1000).map(|_| gather.push(None, |out| out.push(b'x'))).sum();
        assert!(taken >= 1000 * size_of::<Entry>());
        let said = gather.seal(&here);
        assert_eq!(here.bytes(), taken);
        let appended = gather.append(&said);
        drop(said);
        let passed_on = gather.seal(&home);
        assert_eq!((here.bytes(), home.bytes(), appended), (taken, taken, taken));
        drop(passed_on);
        assert_eq!((here.bytes(), home.bytes()), (0, 0));
    }
}
