//! The nearest right name for a wrong one.

/// The candidate that `word` was probably meant to be: the fewest edits away, at most a third of its length (at least
/// one, at most three). `-` counts as `_`, and case does not count. `None` if nothing is near.
///
/// Words over 64 bytes are not looked at: the work is bounded by 64 x 64 a candidate.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_of(word, &mut candidates.into_iter())
}

/// Built once for all who ask: nobody asks often.
fn nearest_of<'a>(word: &str, candidates: &mut dyn Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let most = (word.len() / 3).clamp(1, 3);
    candidates
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| (distance(word.as_bytes(), candidate.replace('-', "_").as_bytes()), candidate))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two words: Damerau-Levenshtein, restricted.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut least = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_with_swaps_as_one() {
        assert_eq!(distance(b"port", b"port"), 0);
        assert_eq!(distance(b"prot", b"port"), 1);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let keys = ["host", "port", "max_connections", "drain_lag"];
        assert_eq!(nearest("prot", keys), Some("port"));
        assert_eq!(nearest("max-connection", keys), Some("max_connections"));
        assert_eq!(nearest("HOST", keys), Some("host"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest(&"x".repeat(5000), keys), None);
    }
}
