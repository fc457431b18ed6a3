//! What waits for one member of many, and what becomes of those who read too slowly.
//!
//! 1. What a member cannot take yet waits in its own [`Backlog`]; what is lost is lost from there, never from an outbox that has
//!    begun to leave: a peer never sees half a message.
//! 2. Of a member who kept up nobody knows yet how fast it is: what comes in the turn in which it first cannot take all waits however
//!    much it is, and so does, up to [`BURST`], what comes soon after. It is lost or held against the member only by what comes later,
//!    which is bounded in bytes and messages.
//! 3. The bytes are shared by all members. Where less than half of a batch waits for a member, it has a copy of that: so a backlog keeps
//!    alive at most twice its bound, the rest of one batch, and what came in one turn.
//! 4. A member who keeps up owns no backlog: 8 bytes, empty.

use super::fanout::{Batch, Entry, Member, cost};
use super::queue::{Bounds, Pushed, Queue, Slow};
use crate::reactor::{App, Cx, Millis, Part, Pressure};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// For so long after something first had to wait, and up to so many bytes that wait, with all that belongs to them, a member is given
/// the time to take it.
const BURST: (Duration, usize) = (Duration::from_millis(100), 4 << 20);
/// Up to this many bytes are copied: cheaper than a shared piece, and many of them fill one packet.
const COPIED: usize = 1024;
/// So many of the messages that wait are looked at to tell what all of them take.
const SAMPLE: usize = 64;
/// A batch of up to this many bytes goes out whole to a member who keeps up.
const WHOLE: usize = 64 << 10;

/// How a delivery went.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Sent, or waiting; so many messages were lost.
    Taken(u32),
    /// The member is too slow, and is to be closed.
    TooSlow,
}

/// What waits for one member. See the module page.
#[derive(Debug, Default)]
pub struct Backlog(Option<Box<Waiting>>);

const _: () = assert!(size_of::<Backlog>() == size_of::<usize>());

/// A message of a batch.
type Piece = (Arc<[u8]>, Range<usize>);

#[derive(Debug)]
struct Waiting {
    me: Member,
    /// When something first had to wait.
    since: Millis,
    /// What came then: the oldest. Each has a message for this member.
    burst: VecDeque<Rest>,
    /// What came later, within the bounds.
    queue: Queue<Piece>,
}

/// What a member has not got yet of a batch. It is not in flight any more: somebody slow would keep all from speaking.
#[derive(Debug)]
struct Rest {
    bytes: Arc<[u8]>,
    index: Arc<[Entry]>,
    place: Place,
}

/// A place between two messages of a batch.
#[derive(Clone, Copy, Default, Debug)]
struct Place {
    next: usize,
    begin: usize,
}

impl Place {
    /// Passes over what this member said itself; false at the end of the batch.
    fn skip(&mut self, index: &[Entry], me: Member) -> bool {
        while let Some(entry) = index.get(self.next) {
            if entry.from != Some(me) {
                return true;
            }
            self.pass(entry);
        }
        false
    }

    /// Passes over messages that are not from this member, which stand together: at least one, and not more than `most` bytes of
    /// several.
    fn run(&mut self, index: &[Entry], me: Member, most: usize) -> Range<usize> {
        let (first, begin) = (self.next, self.begin);
        while let Some(entry) = index.get(self.next) {
            let fits = self.next == first || entry.end - begin <= most;
            if !fits || entry.from == Some(me) {
                break;
            }
            self.pass(entry);
        }
        begin..self.begin
    }

    fn pass(&mut self, entry: &Entry) {
        (self.next, self.begin) = (self.next + 1, entry.end);
    }
}

impl Rest {
    /// What stands behind this place, if there is anything for this member.
    fn of(batch: &Batch, mut place: Place, me: Member) -> Option<Rest> {
        place.skip(&batch.index, me).then(|| Rest {
            bytes: batch.bytes.clone(),
            index: batch.index.clone(),
            place,
        })
    }

    /// How many bytes it takes, with all that belongs to its messages.
    fn cost(&self) -> usize {
        cost(self.bytes.len() - self.place.begin, self.index.len() - self.place.next)
    }

    fn messages(&self, me: Member) -> usize {
        self.index[self.place.next..].iter().filter(|entry| entry.from != Some(me)).count()
    }
}

impl Waiting {
    fn new(rest: Rest, me: Member, since: Millis) -> Waiting {
        Waiting { me, since, burst: VecDeque::from([rest]), queue: Queue::default() }
    }

    /// A batch has come while something waits since an earlier turn.
    fn add(&mut self, batch: &Batch, slow: Slow, bounds: Bounds) -> Delivery {
        let (mut lost, mut taken, mut bytes) = (0, 0, 0);
        for range in batch.for_member(self.me) {
            let len = range.len();
            match self.queue.push((batch.bytes.clone(), range), len, slow, bounds) {
                Pushed::Waits(dropped) => {
                    (taken, bytes) = (taken + 1, bytes + len);
                    // What came in a burst is older than all that is in the queue.
                    if dropped > 0 || slow == Slow::Latest {
                        lost += dropped + self.drop_burst();
                    }
                }
                Pushed::Lost => lost += 1,
                Pushed::Full => return Delivery::TooSlow,
            }
        }
        // The latest alone keeps one batch alive, no more.
        if bytes < batch.len() / 2 && slow != Slow::Latest {
            self.take_out(taken);
        }
        Delivery::Taken(lost)
    }

    /// Copies the newest messages out of their batch: it is not kept alive for a small part of it.
    fn take_out(&mut self, count: usize) {
        let mut copy = Vec::new();
        for (bytes, range) in self.queue.newest_mut(count) {
            let begin = copy.len();
            copy.extend_from_slice(&bytes[range.clone()]);
            *range = begin..copy.len();
        }
        let copy: Arc<[u8]> = copy.into();
        self.queue.newest_mut(count).for_each(|(bytes, _)| *bytes = copy.clone());
    }

    /// A batch belongs to the burst: it has come in the same turn (or millisecond), or soon after, and behind nothing else.
    fn is_of_burst(&self, batch: &Batch, now: Millis) -> bool {
        let waits: usize = self.burst.iter().map(Rest::cost).sum();
        let soon = now < self.since.after(BURST.0) && waits + batch.cost() <= BURST.1;
        now == self.since || soon && self.queue.is_empty()
    }

    fn drop_burst(&mut self) -> u32 {
        let me = self.me;
        self.burst.drain(..).map(|rest| rest.messages(me) as u32).sum()
    }

    /// The oldest that waits: one message, or as many together as are not longer than `most` bytes.
    fn next(&mut self, most: usize) -> Option<Piece> {
        let Some(rest) = self.burst.front_mut() else { return self.queue.pop() };
        let range = rest.place.run(&rest.index, self.me, most);
        let piece = (rest.bytes.clone(), range);
        if !rest.place.skip(&rest.index, self.me) {
            self.burst.pop_front();
        }
        Some(piece)
    }

    fn len(&self) -> usize {
        self.burst.iter().map(|rest| rest.messages(self.me)).sum::<usize>() + self.queue.len()
    }

    fn is_empty(&self) -> bool {
        self.burst.is_empty() && self.queue.is_empty()
    }
}

impl Backlog {
    /// Sends a batch to the connection that is being run, which is `me`, as far as it can take it. What it cannot take waits. If
    /// something has waited for a while, it waits within these bounds, or is lost by this policy.
    pub fn deliver<A: App>(
        &mut self,
        batch: &Batch,
        me: Member,
        (slow, bounds): (Slow, Bounds),
        cx: &mut Cx<'_, A>,
    ) -> Delivery {
        let Some(waiting) = &mut self.0 else {
            self.0 = offer(batch, me, cx).map(|rest| Box::new(Waiting::new(rest, me, cx.now())));
            return Delivery::Taken(0);
        };
        if !waiting.is_of_burst(batch, cx.now()) {
            return waiting.add(batch, slow, bounds);
        }
        waiting.burst.extend(Rest::of(batch, Place::default(), me));
        Delivery::Taken(0)
    }

    /// There is room again: sends what waits, as far as it goes.
    pub fn drained<A: App>(&mut self, cx: &mut Cx<'_, A>) {
        let Some(waiting) = &mut self.0 else { return };
        while cx.pressure() == Pressure::Low {
            let Some((bytes, range)) = waiting.next(left(cx)) else { break };
            send(&bytes, range, cx);
        }
        if waiting.is_empty() {
            self.0 = None;
        }
    }

    /// Throws away what waits; says how many messages that was.
    pub fn clear(&mut self) -> usize {
        self.0.take().map_or(0, |waiting| waiting.len())
    }

    /// Bytes that it holds besides the messages: their places in the queue.
    pub fn held(&self) -> usize {
        let held = |waiting: &Waiting| {
            size_of::<Waiting>() + waiting.burst.capacity() * size_of::<Rest>() + waiting.queue.held()
        };
        self.0.as_deref().map_or(0, held)
    }

    /// Its part of the messages that wait, in bytes, about: each is stored once for all for whom it waits. Looks at a few of them.
    pub fn shared(&self) -> usize {
        let Some(waiting) = &self.0 else { return 0 };
        // A piece keeps the whole batch that it came in alive, together with all other pieces of it; what came in a burst its index, too.
        let part = |bytes: &Arc<[u8]>| bytes.len() / Arc::strong_count(bytes).max(1);
        let index = |index: &Arc<[Entry]>| size_of_val(&**index) / Arc::strong_count(index).max(1);
        let burst: usize = waiting.burst.iter().map(|rest| part(&rest.bytes) + index(&rest.index)).sum();
        let looked = waiting.queue.iter().take(SAMPLE).map(|(bytes, _)| part(bytes));
        let (count, sum) = looked.fold((0, 0), |(count, sum), part| (count + 1, sum + part));
        burst + (sum * waiting.queue.len()).checked_div(count).unwrap_or(0)
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Sends a batch to one for whom nothing waits, as far as it can take it; gives back what it cannot.
fn offer<A: App>(batch: &Batch, me: Member, cx: &mut Cx<'_, A>) -> Option<Rest> {
    let whole = batch.len() <= WHOLE && !batch.is_from(me);
    let mut place = Place::default();
    while place.skip(&batch.index, me) {
        match cx.pressure() {
            Pressure::Low if whole => {
                send(&batch.bytes, 0..batch.len(), cx);
                return None;
            }
            Pressure::Low => send(&batch.bytes, place.run(&batch.index, me, left(cx)), cx),
            Pressure::Gone => return None,
            Pressure::High => return Rest::of(batch, place, me),
        }
    }
    None
}

/// How many bytes more can be written before the pressure is high.
fn left<A: App>(cx: &mut Cx<'_, A>) -> usize {
    let room = cx.room();
    room.saturating_sub(cx.output().0.memory())
}

fn send<A: App>(bytes: &Arc<[u8]>, range: Range<usize>, cx: &mut Cx<'_, A>) {
    match range.len() {
        0..=COPIED => cx.write(&bytes[range]),
        _ => cx.write_part(Part::Shared(bytes.clone(), range)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fanout::Gather;
    use super::super::gate::Flights;
    use super::*;
    use crate::reactor::Token;

    const SINCE: Millis = Millis(1000);
    const BOUNDS: Bounds = Bounds { messages: 2, bytes: 1000 };

    fn batch(messages: &[&str]) -> Batch {
        let mut gather = Gather::default();
        for message in messages {
            gather.push(None, |out| out.extend_from_slice(message.as_bytes()));
        }
        gather.seal(&Flights::default())
    }

    fn me() -> Member {
        Member { worker: 0, token: Token::from_bits(1) }
    }

    /// Something has begun to wait.
    fn waiting(messages: &[&str]) -> Waiting {
        Waiting::new(Rest::of(&batch(messages), Place::default(), me()).unwrap(), me(), SINCE)
    }

    fn all(mut waiting: Waiting) -> Vec<String> {
        let pieces = std::iter::from_fn(|| waiting.next(0));
        pieces.map(|(bytes, range)| String::from_utf8(bytes[range].to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_came_in_a_burst_is_older_than_all_that_is_lost_later() {
        for (slow, lost, left) in [
            (Slow::Latest, [2, 1, 1], vec!["e"]),
            (Slow::DropOldest, [0, 0, 3], vec!["d", "e"]),
            (Slow::DropNewest, [0, 0, 1], vec!["a", "b", "c", "d"]),
        ] {
            let mut waiting = waiting(&["a", "b"]);
            let seen = ["c", "d", "e"].map(|message| waiting.add(&batch(&[message]), slow, BOUNDS));
            assert_eq!(
                (seen, all(waiting)),
                (lost.map(Delivery::Taken), left.into_iter().map(String::from).collect::<Vec<_>>()),
                "{slow:?}"
            );
        }
    }

    #[test]
    fn a_burst_is_what_comes_in_one_turn_or_soon_after_behind_nothing_else() {
        let (small, large) = (batch(&["x"]), batch(&["x".repeat(5 << 20).as_str()]));
        let mut waiting = waiting(&["a"]);
        let (soon, end) = (Millis(SINCE.0 + 1), SINCE.after(BURST.0));
        assert!(waiting.is_of_burst(&large, SINCE) && waiting.is_of_burst(&small, soon));
        assert!(!waiting.is_of_burst(&large, soon) && !waiting.is_of_burst(&small, end));
        assert_eq!(waiting.add(&small, Slow::Close, BOUNDS), Delivery::Taken(0));
        assert!(!waiting.is_of_burst(&small, soon), "it would go before what waits already");
    }

    #[test]
    fn what_waits_and_its_places_count_as_held() {
        assert_eq!((Backlog::default().held(), Backlog::default().shared()), (0, 0));
        let burst = Backlog(Some(Box::new(waiting(&["x".repeat(5000).as_str()]))));
        assert!(burst.held() > size_of::<Waiting>() && burst.shared() >= 5000);
        let mut later = waiting(&["a"]);
        let much = batch(&["x".repeat(300).as_str(), "y".repeat(300).as_str()]);
        assert_eq!(later.add(&much, Slow::Close, BOUNDS), Delivery::Taken(0));
        drop(much);
        assert!(Backlog(Some(Box::new(later))).shared() >= 600);
    }
}
