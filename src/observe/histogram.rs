//! Durations in fixed buckets: one search of a short list and two additions each.

/// Upper bounds, inclusive, in milliseconds; longer ones fall into one last bucket.
pub const BOUNDS_MS: [u64; 15] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// How many durations fell into each bucket, and their sum.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Histogram {
    buckets: [u64; BOUNDS_MS.len() + 1],
    sum_ms: u64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, ms: u64) {
        // Most are in the first bucket, so walking beats halving.
        let bucket = BOUNDS_MS.iter().position(|bound| ms <= *bound).unwrap_or(BOUNDS_MS.len());
        self.buckets[bucket] += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    /// Adds another.
    pub fn add(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(to, from)| *to += from);
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }

    /// How many in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum in milliseconds.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// Upper bound in seconds (the last: infinity) and count of each bucket; not cumulative.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1000.0).chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_the_first_bucket_that_holds_it() {
        for (i, bound) in BOUNDS_MS.iter().enumerate() {
            let mut histogram = Histogram::default();
            histogram.record(*bound);
            histogram.record(bound + 1);
            assert_eq!((histogram.buckets[i], histogram.buckets[i + 1]), (1, 1));
            assert_eq!((histogram.count(), histogram.sum_ms()), (2, 2 * bound + 1));
        }
        let mut histogram = Histogram::default();
        histogram.record(0);
        histogram.record(u64::MAX);
        histogram.record(u64::MAX);
        assert_eq!(histogram.buckets().next(), Some((0.001, 1)));
        assert_eq!(histogram.buckets().last(), Some((f64::INFINITY, 2)));
    }
}
