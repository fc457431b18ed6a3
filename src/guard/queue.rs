//! A queue of whole messages with a bound, and what is lost when it is full.

use std::collections::VecDeque;

/// What happens to those who take messages slower than they come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Slow {
    /// It is closed. (A client's own queue takes no more.)
    #[default]
    Close,
    /// It loses the oldest message that has not begun to leave.
    DropOldest,
    /// It does not get the new message.
    DropNewest,
    /// It gets only the latest of those that wait.
    Latest,
}

/// How much may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Messages. Default 4,096.
    pub messages: usize,
    /// Bytes. Default 256 KiB. A single longer message may wait alone.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { messages: 4096, bytes: 256 << 10 }
    }
}

/// Output of a client that waits above which its messages are queued instead, in bytes.
pub const WATER: usize = 128 << 10;
/// The longest message that a client sends, unless its options say otherwise: the hard cap of a reactor less half a MiB, twice the high
/// water that may wait before it.
pub const LONGEST: usize = (4 << 20) - (512 << 10);

/// What came of a push.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It waits; so many older ones were lost for it.
    Waits(u32),
    /// It was itself lost.
    Lost,
    /// It was not taken, and the policy is [`Slow::Close`].
    Full,
}

/// Messages that wait, oldest first.
#[derive(Debug)]
pub struct Queue<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { messages: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Queue<T> {
    /// Appends a message of `len` bytes.
    pub fn push(&mut self, message: T, len: usize, slow: Slow, bounds: Bounds) -> Pushed {
        let full = |queue: &Queue<T>| {
            !queue.messages.is_empty()
                && (queue.bytes + len > bounds.bytes || queue.messages.len() >= bounds.messages)
        };
        let mut lost = 0;
        match slow {
            Slow::Close if full(self) => return Pushed::Full,
            Slow::DropNewest if full(self) => return Pushed::Lost,
            Slow::Close | Slow::DropNewest => {}
            Slow::DropOldest => {
                while full(self) {
                    lost += u32::from(self.pop().is_some());
                }
            }
            Slow::Latest => {
                while self.pop().is_some() {
                    lost += 1;
                }
            }
        }
        self.bytes += len;
        self.messages.push_back((message, len));
        Pushed::Waits(lost)
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<T> {
        let (message, len) = self.messages.pop_front()?;
        self.bytes -= len;
        Some(message)
    }

    /// The newest that wait, at most so many, to be put in other words.
    pub(super) fn newest_mut(&mut self, count: usize) -> impl Iterator<Item = &mut T> {
        let first = self.messages.len().saturating_sub(count);
        self.messages.range_mut(first..).map(|(message, _)| message)
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory for the queue itself.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.messages.capacity() * size_of::<(T, usize)>()
    }

    /// What waits, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.messages.iter().map(|(message, _)| message)
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(slow: Slow, count: usize) -> (Vec<usize>, u32, bool) {
        let bounds = Bounds { messages: 4, bytes: 100 };
        let (mut queue, mut lost) = (Queue::default(), 0);
        for n in 0..count {
            match queue.push(n, 1, slow, bounds) {
                Pushed::Waits(dropped) => lost += dropped,
                Pushed::Lost => lost += 1,
                Pushed::Full => return (Vec::new(), lost, true),
            }
        }
        (std::iter::from_fn(|| queue.pop()).collect(), lost, false)
    }

    #[test]
    fn each_policy_loses_what_it_says() {
        assert_eq!(wait(Slow::Close, 4), (vec![0, 1, 2, 3], 0, false));
        assert_eq!(wait(Slow::Close, 5), (vec![], 0, true));
        assert_eq!(wait(Slow::DropOldest, 7), (vec![3, 4, 5, 6], 3, false));
        assert_eq!(wait(Slow::DropNewest, 7), (vec![0, 1, 2, 3], 3, false));
        assert_eq!(wait(Slow::Latest, 7), (vec![6], 6, false));
    }

    #[test]
    fn just_as_many_bytes_as_may_wait_fit_and_their_places_are_held() {
        let bounds = Bounds { messages: 4, bytes: 100 };
        let mut queue = Queue::default();
        assert_eq!(queue.push('a', 60, Slow::Close, bounds), Pushed::Waits(0));
        assert_eq!(queue.push('b', 41, Slow::Close, bounds), Pushed::Full);
        assert_eq!(queue.push('b', 40, Slow::Close, bounds), Pushed::Waits(0));
        assert!(queue.held() >= size_of::<Queue<char>>() + 2 * size_of::<(char, usize)>());
        queue.newest_mut(1).for_each(|newest| *newest = 'c');
        assert_eq!((queue.pop(), queue.pop()), (Some('a'), Some('c')));
    }

    #[test]
    fn a_message_longer_than_the_bound_waits_alone() {
        let bounds = Bounds { messages: 4, bytes: 100 };
        let mut queue = Queue::default();
        assert_eq!(queue.push('a', 500, Slow::Close, bounds), Pushed::Waits(0));
        assert_eq!(queue.push('b', 1, Slow::Close, bounds), Pushed::Full);
        assert_eq!(queue.push('b', 1, Slow::DropOldest, bounds), Pushed::Waits(1));
        assert_eq!((queue.len(), queue.bytes(), queue.pop(), queue.is_empty()), (1, 1, Some('b'), true));
    }
}
