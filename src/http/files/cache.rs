//! A bounded store of what was found on the disk.
//!
//! 1. Never more entries, nor more bytes, than its limits; what would not fit alone is not taken in.
//! 2. What was not asked for since the hand came by last goes first (the clock algorithm): a hit writes one flag.
//! 3. It knows nothing of files: whoever asks decides whether an entry is still good.

use super::representation::Representation;
use crate::reactor::Stat;
use std::collections::HashMap;
use std::sync::Arc;

/// What is known under a key.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// This is there.
    Here(Arc<Representation>),
    /// Nothing is there.
    Absent,
    /// Compressing the file of this description is not worth it.
    Useless(Stat),
    /// The listing of a folder.
    Listed(Arc<[u8]>),
}

#[derive(Debug)]
struct Slot {
    key: Box<[u8]>,
    known: Known,
    /// When it was last compared with the disk, in milliseconds.
    checked_ms: u64,
    used: bool,
}

impl Slot {
    fn weight(&self) -> usize {
        let known = match &self.known {
            Known::Here(here) => here.weight(),
            Known::Listed(body) => body.len(),
            Known::Absent | Known::Useless(_) => 0,
        };
        // The key is held twice.
        known + 2 * self.key.len() + 2 * size_of::<Slot>()
    }
}

/// See the module page.
#[derive(Debug)]
pub(super) struct Cache {
    places: HashMap<Box<[u8]>, usize>,
    slots: Vec<Slot>,
    hand: usize,
    bytes: usize,
    most_bytes: usize,
    most_entries: usize,
}

impl Cache {
    pub fn new(most_entries: usize, most_bytes: usize) -> Cache {
        Cache { places: HashMap::new(), slots: Vec::new(), hand: 0, bytes: 0, most_bytes, most_entries }
    }

    /// What is known, and when it was last compared with the disk.
    pub fn get(&mut self, key: &[u8]) -> Option<(&Known, &mut u64)> {
        let slot = &mut self.slots[*self.places.get(key)?];
        slot.used = true;
        Some((&slot.known, &mut slot.checked_ms))
    }

    /// Takes in what was found at `now_ms`; others go.
    pub fn put(&mut self, key: &[u8], known: Known, now_ms: u64) {
        self.remove(key);
        let slot = Slot { key: key.into(), known, checked_ms: now_ms, used: false };
        let weight = slot.weight();
        if weight > self.most_bytes || self.most_entries == 0 {
            return;
        }
        while self.slots.len() >= self.most_entries || self.bytes + weight > self.most_bytes {
            self.evict();
        }
        self.bytes += weight;
        self.places.insert(slot.key.clone(), self.slots.len());
        self.slots.push(slot);
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &[u8]) {
        if let Some(place) = self.places.get(key) {
            self.take_out(*place);
        }
    }

    /// Forgets what was last compared with the disk then, or before.
    pub fn forget_until(&mut self, ms: u64) {
        for place in (0..self.slots.len()).rev() {
            if self.slots[place].checked_ms <= ms {
                self.take_out(place);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.places.clear();
        self.slots.clear();
        (self.hand, self.bytes) = (0, 0);
    }

    /// How many entries there are, and their bytes.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        assert_eq!(self.bytes, self.slots.iter().map(Slot::weight).sum::<usize>());
        assert_eq!(self.slots.len(), self.places.len());
        (self.slots.len(), self.bytes)
    }

    /// The hand goes round at most once before it meets one that it has passed already.
    fn evict(&mut self) {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            match self.slots.get_mut(self.hand) {
                Some(slot) if slot.used => slot.used = false,
                Some(_) => return self.take_out(self.hand),
                None => return,
            }
            self.hand += 1;
        }
    }

    fn take_out(&mut self, place: usize) {
        let slot = self.slots.swap_remove(place);
        self.bytes -= slot.weight();
        self.places.remove(&slot.key);
        if let Some(moved) = self.slots.get(place)
            && let Some(known) = self.places.get_mut(&moved.key)
        {
            *known = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_its_limits_and_keeps_what_is_used() {
        let mut cache = Cache::new(10, 1 << 20);
        for i in 0..100u32 {
            cache.put(&i.to_be_bytes(), Known::Absent, 1);
            assert!(cache.size().0 <= 10);
            // The first is asked for all the time.
            assert!(cache.get(&0u32.to_be_bytes()).is_some());
        }
        assert_eq!(cache.size().0, 10);
        let weight = cache.size().1;
        let mut tight = Cache::new(100, weight);
        for i in 0..100u32 {
            tight.put(&i.to_be_bytes(), Known::Absent, 1);
            assert!(tight.size().1 <= weight);
        }
        assert_eq!(tight.size().0, 10);
        tight.put(&99u32.to_be_bytes(), Known::Absent, 2);
        assert_eq!(tight.get(&99u32.to_be_bytes()).map(|(_, ms)| *ms), Some(2));
        tight.put(&vec![0; weight], Known::Absent, 1);
        assert!(tight.get(&vec![0; weight]).is_none(), "what does not fit alone is not taken in");
        assert_eq!(tight.size().0, 10);
        tight.put(b"later", Known::Absent, 3);
        tight.forget_until(2);
        assert_eq!((tight.size().0, tight.get(b"later").is_some()), (1, true));
        tight.clear();
        assert_eq!(tight.size(), (0, 0));
        Cache::new(0, 100).put(b"a", Known::Absent, 1);
    }
}
