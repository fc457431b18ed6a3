//! Randomness from a seed, and how much of it the world makes use of.

/// SplitMix64 (Steele, Lea and Flood 2014): small, good enough, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)] // an endless iterator would say more than is meant
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        match n {
            0 => 0,
            n => self.next() % n,
        }
    }

    /// A number from 1 to `n`, small ones more often; 0 if `n` is 0.
    pub fn up_to(&mut self, n: usize) -> usize {
        let cap = match self.below(3) {
            0 => n.min(3),
            1 => n.min(200),
            _ => n,
        };
        self.below(cap as u64) as usize + usize::from(n > 0)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u8) -> bool {
        percent > 0 && self.below(100) < percent as u64
    }

    /// Puts them in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            items.swap(n, self.below(n as u64 + 1) as usize);
        }
    }
}

/// What the world does that it need not, each in percent of the occasions. All of it is allowed by the contract of [`Net`](super::super::Net).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Chaos {
    /// Reads and writes move fewer bytes than they could.
    pub short: u8,
    /// Reads and writes would block for no reason; an edge follows.
    pub would_block: u8,
    /// Events come in any order, and not all at once.
    pub shuffle: u8,
    /// Events that mean nothing, for streams that are open, and for streams that are closed.
    pub spurious: u8,
    /// Edges come late.
    pub late: u8,
    /// Most milliseconds by which they are late.
    pub late_by: u64,
    /// Things happen in the middle of a turn, between two calls.
    pub mid_turn: u8,
}

impl Chaos {
    /// A quiet world.
    pub const NONE: Chaos =
        Chaos { short: 0, would_block: 0, shuffle: 0, spurious: 0, late: 0, late_by: 0, mid_turn: 0 };
    /// Some of everything.
    pub const SOME: Chaos =
        Chaos { short: 40, would_block: 10, shuffle: 50, spurious: 20, late: 15, late_by: 40, mid_turn: 30 };
}
