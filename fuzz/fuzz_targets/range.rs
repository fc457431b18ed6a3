//! Ranges and preferences: no panic; ranges are inside the length and no byte is sent twice.
#![no_main]
use evenkeel::wire::http::{accept, range};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((length, value)) = data.split_at_checked(8) else { return };
    let length = u64::from_le_bytes(length.try_into().unwrap());
    for length in [length, length & 0xff, u64::MAX, 0] {
        if let range::Ranges::Satisfiable(list) = range::parse(value, length) {
            assert!(list.len() >= 1 && list.iter().all(|r| r.start < r.end && r.end <= length));
            assert!(list.iter().map(|r| u128::from(r.end - r.start)).sum::<u128>() <= u128::from(length));
        }
    }
    assert!(accept::coding_weight(std::iter::once(value), "gzip") <= 1000);
    assert!(accept::media_weight(std::iter::once(value), "text/html") <= 1000);
});
