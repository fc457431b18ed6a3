//! A hierarchical timer wheel (Varghese and Lauck 1987, scheme 7) with one node per slot of the connection table.
//!
//! Six levels of 64 slots; a `u64` a level says which slots are occupied, so the next expiry is found without a scan. A tick is
//! [`TICK_MS`]; the levels span 256 ms, 16 s, 17 min, 18 h, 49 days and 8.7 years, and what is later is clamped and re-armed.
//!
//! 1. A node is in at most one list; arming it again moves it.
//! 2. A timer never fires early, and at most one tick late.
//! 3. Nodes are linked by index through one table: arming, disarming and firing allocate nothing.

use super::token::Millis;

/// Resolution in milliseconds.
pub const TICK_MS: u64 = 4;
const LEVELS: usize = 6;
const SLOTS: usize = 64;
const NIL: u32 = u32::MAX;
const OFF: u16 = u16::MAX;
/// What all levels together go round, in ticks.
const SPAN: u64 = 1 << (6 * LEVELS);
/// What a slot of the coarsest level is wide, in ticks.
const WIDEST: u64 = SPAN / SLOTS as u64;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Tick at which it fires.
    at: u64,
    next: u32,
    prev: u32,
    /// Which list it is in: `level * 64 + slot`, or `OFF`.
    list: u16,
}

const IDLE: Node = Node { at: 0, next: NIL, prev: NIL, list: OFF };

/// The wheel. Nodes are named by small indexes, those of the connection table.
#[derive(Debug)]
pub struct Wheel {
    nodes: Vec<Node>,
    heads: Box<[u32; LEVELS * SLOTS]>,
    occupied: [u64; LEVELS],
    /// All ticks up to this one have fired.
    elapsed: u64,
    armed: usize,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel::new(Millis(0))
    }
}

impl Wheel {
    /// An empty wheel that stands at `now`.
    pub fn new(now: Millis) -> Wheel {
        Wheel {
            nodes: Vec::new(),
            heads: Box::new([NIL; LEVELS * SLOTS]),
            occupied: [0; LEVELS],
            elapsed: now.0 / TICK_MS,
            armed: 0,
        }
    }

    /// Fires node `index` at `at`, rounded up to a tick; one that was armed is moved. The past is the next tick.
    pub fn arm(&mut self, index: usize, at: Millis) {
        self.disarm(index);
        if self.nodes.len() <= index {
            self.nodes.resize(index + 1, IDLE);
        }
        let tick = at.0.div_ceil(TICK_MS).max(self.elapsed + 1);
        self.nodes[index].at = tick;
        self.armed += 1;
        self.file(index);
    }

    /// Takes node `index` out, if it is armed.
    pub fn disarm(&mut self, index: usize) {
        if self.nodes.get(index).is_some_and(|node| node.list != OFF) {
            self.unlink(index);
            self.armed -= 1;
        }
    }

    /// When node `index` fires, if it is armed.
    pub fn armed_at(&self, index: usize) -> Option<Millis> {
        let node = self.nodes.get(index)?;
        (node.list != OFF).then(|| Millis(node.at.saturating_mul(TICK_MS)))
    }

    /// Node `index` is armed to fire no later than one armed for `at` would.
    pub fn fires_by(&self, index: usize, at: Millis) -> bool {
        let tick = at.0.div_ceil(TICK_MS).max(self.elapsed + 1);
        self.nodes.get(index).is_some_and(|node| node.list != OFF && node.at <= tick)
    }

    /// How many nodes are armed.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// No node is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// When [`advance`](Self::advance) wants to be called next: never later than the earliest node, possibly earlier (a slot of a
    /// coarse level has to be sorted into finer ones).
    pub fn next_wake(&self) -> Option<Millis> {
        let (level, slot) = self.next_slot()?;
        Some(Millis(self.start_of(level, slot).max(self.elapsed + 1).saturating_mul(TICK_MS)))
    }

    /// Moves the wheel to `now` and appends the nodes that fired, in order of their tick, each disarmed.
    pub fn advance(&mut self, now: Millis, fired: &mut Vec<usize>) {
        let target = now.0 / TICK_MS;
        while let Some((level, slot)) = self.next_slot() {
            let start = self.start_of(level, slot);
            if start > target {
                break;
            }
            self.elapsed = self.elapsed.max(start);
            let mut index = std::mem::replace(&mut self.heads[level * SLOTS + slot], NIL);
            self.occupied[level] &= !(1 << slot);
            while index != NIL {
                let node = &mut self.nodes[index as usize];
                let next = node.next;
                (node.next, node.prev, node.list) = (NIL, NIL, OFF);
                if node.at <= self.elapsed {
                    self.armed -= 1;
                    fired.push(index as usize);
                } else {
                    self.file(index as usize);
                }
                index = next;
            }
        }
        self.elapsed = self.elapsed.max(target);
    }

    /// Forgets the nodes from `len` up; they must not be armed.
    pub fn shrink(&mut self, len: usize) {
        debug_assert!(self.nodes.iter().skip(len).all(|node| node.list == OFF));
        self.nodes.truncate(len);
        self.nodes.shrink_to(len);
    }

    /// The occupied slot that comes up first. Lower levels always come up before higher ones.
    fn next_slot(&self) -> Option<(usize, usize)> {
        let level = (0..LEVELS).find(|level| self.occupied[*level] != 0)?;
        let here = (self.elapsed >> (6 * level)) % SLOTS as u64;
        let ahead = self.occupied[level].rotate_right(here as u32).trailing_zeros() as u64;
        Some((level, ((here + ahead) % SLOTS as u64) as usize))
    }

    /// The first tick of a slot of a level, as seen from `elapsed`.
    fn start_of(&self, level: usize, slot: usize) -> u64 {
        let shift = 6 * level;
        let here = self.elapsed >> shift;
        let round = here & !(SLOTS as u64 - 1);
        let at = round + slot as u64;
        let at = if at < here { at + SLOTS as u64 } else { at };
        at << shift
    }

    /// Puts a node whose tick is set into the list where it belongs.
    fn file(&mut self, index: usize) {
        // At the farthest it goes into the coarsest slot behind ours, a round ahead, and is filed again when it gets there. Never into
        // ours: that one has come up.
        let farthest = (self.elapsed | (WIDEST - 1)) + SPAN - WIDEST;
        let at = self.nodes[index].at.min(farthest);
        // The highest bit in which the tick differs from now says at which level it parts from us (as in Linux and tokio).
        let differing = (at ^ self.elapsed) | (SLOTS as u64 - 1);
        let level = ((63 - differing.leading_zeros() as usize) / 6).min(LEVELS - 1);
        let slot = (at >> (6 * level)) as usize % SLOTS;
        let list = level * SLOTS + slot;
        let head = std::mem::replace(&mut self.heads[list], index as u32);
        if head != NIL {
            self.nodes[head as usize].prev = index as u32;
        }
        let node = &mut self.nodes[index];
        (node.next, node.prev, node.list) = (head, NIL, list as u16);
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: usize) {
        let node = self.nodes[index];
        if node.next != NIL {
            self.nodes[node.next as usize].prev = node.prev;
        }
        if node.prev != NIL {
            self.nodes[node.prev as usize].next = node.next;
        } else {
            let list = node.list as usize;
            self.heads[list] = node.next;
            if node.next == NIL {
                self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
            }
        }
        self.nodes[index] = Node { at: node.at, ..IDLE };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn fire(wheel: &mut Wheel, now: u64) -> Vec<usize> {
        let mut fired = Vec::new();
        wheel.advance(Millis(now), &mut fired);
        fired
    }

    #[test]
    fn a_timer_fires_at_its_tick_and_not_before() {
        let mut wheel = Wheel::default();
        wheel.arm(3, Millis(1000));
        assert!(fire(&mut wheel, 999).is_empty());
        assert_eq!(wheel.armed_at(3), Some(Millis(1000)));
        assert_eq!(fire(&mut wheel, 1000), [3]);
        assert!(wheel.is_empty() && wheel.next_wake().is_none());
    }

    #[test]
    fn the_past_fires_at_the_next_tick() {
        let mut wheel = Wheel::new(Millis(8000));
        wheel.arm(0, Millis(5));
        assert_eq!(wheel.next_wake(), Some(Millis(8004)));
        assert_eq!(fire(&mut wheel, 8004), [0]);
    }

    #[test]
    fn a_deadline_that_is_due_already_is_met_by_the_next_tick() {
        let mut wheel = Wheel::new(Millis(8000));
        wheel.arm(0, Millis(8000));
        assert!(wheel.fires_by(0, Millis(8000)) && wheel.fires_by(0, Millis(5)));
        wheel.arm(0, Millis(8008));
        assert!(!wheel.fires_by(0, Millis(8000)));
    }

    #[test]
    fn a_timer_past_the_span_is_filed_again_until_it_is_due() {
        let mut wheel = Wheel::default();
        let due = SPAN * TICK_MS * 2 + 4;
        wheel.arm(0, Millis(due));
        let mut steps = 0;
        while wheel.next_wake().unwrap().0 < due {
            let wake = wheel.next_wake().unwrap().0;
            assert!(fire(&mut wheel, wake).is_empty());
            steps += 1;
            assert!(steps < 1000);
        }
        assert_eq!(fire(&mut wheel, due), [0]);
    }

    #[test]
    fn a_timer_past_the_span_is_filed_ahead_of_now_wherever_now_is() {
        for now in [4, 5000, TICK_MS << 30, (TICK_MS << 30) + 4, TICK_MS * SPAN - 4] {
            let mut wheel = Wheel::new(Millis(now));
            wheel.arm(0, Millis(now + 2 * SPAN * TICK_MS));
            let wake = wheel.next_wake().unwrap().0;
            assert!(wake - now > SPAN / 2 * TICK_MS, "{now}: asked to be called at {wake}");
            assert!(fire(&mut wheel, now + 1000).is_empty());
        }
    }

    #[test]
    fn the_wheel_does_what_a_sorted_map_does() {
        let mut seed = 1u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            seed >> 33
        };
        let (mut wheel, mut naive, mut now) = (Wheel::default(), BTreeMap::new(), 0u64);
        for _ in 0..20_000 {
            let index = (random() % 64) as usize;
            match random() % 4 {
                0 | 1 => {
                    let wait = random() % 10u64.pow(1 + (random() % 8) as u32);
                    wheel.arm(index, Millis(now + wait));
                    naive.insert(index, (now + wait).div_ceil(TICK_MS).max(now / TICK_MS + 1));
                }
                2 => {
                    wheel.disarm(index);
                    naive.remove(&index);
                }
                _ => {
                    let earliest = naive.values().min().copied();
                    assert_eq!(wheel.next_wake().is_some(), earliest.is_some());
                    if let (Some(wake), Some(tick)) = (wheel.next_wake(), earliest) {
                        assert!(wake.0 <= tick * TICK_MS && wake.0 > now / TICK_MS * TICK_MS);
                    }
                    now += random() % 10u64.pow(1 + (random() % 7) as u32);
                    let mut fired = fire(&mut wheel, now);
                    fired.sort();
                    let due: Vec<_> =
                        naive.iter().filter(|(_, at)| **at <= now / TICK_MS).map(|(i, _)| *i).collect();
                    naive.retain(|i, _| !due.contains(i));
                    assert_eq!(fired, due);
                }
            }
            assert_eq!(wheel.len(), naive.len());
        }
    }
}
