//! The XOR mask of RFC 6455, 5.3, by words. Masking and unmasking are the same operation.
//!
//! Byte `i` of a payload is XORed with `mask[(offset + i) % 4]`, where `offset` is how much of the payload came
//! before. Each function has a naive twin in the tests.

/// Masks `data` in place. `offset`: payload bytes that came before `data` (only its two lowest bits count).
#[inline]
pub fn apply(data: &mut [u8], mask: [u8; 4], offset: usize) {
    let key = doubled(mask, offset);
    let word = u64::from_ne_bytes(key);
    let (words, tail) = data.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, k) in tail.iter_mut().zip(key) {
        *byte ^= k;
    }
}

/// Appends `src`, masked, to `out`. `offset` as in [`apply`].
pub fn append(src: &[u8], out: &mut Vec<u8>, mask: [u8; 4], offset: usize) {
    /// Small enough that the second pass finds the copy in the first-level cache; a multiple of four.
    const BLOCK: usize = 8 * 1024;
    out.reserve(src.len());
    for block in src.chunks(BLOCK) {
        let from = out.len();
        out.extend_from_slice(block);
        apply(&mut out[from..], mask, offset);
    }
}

/// The mask twice, turned so that its first byte is for a payload byte at `offset`.
#[inline]
fn doubled(mask: [u8; 4], offset: usize) -> [u8; 8] {
    let word = u32::from_le_bytes(mask).rotate_right(8 * (offset as u32 & 3));
    (u64::from(word) << 32 | u64::from(word)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(data: &mut [u8], mask: [u8; 4], offset: usize) {
        for (i, b) in data.iter_mut().enumerate() {
            *b ^= mask[(offset + i) % 4];
        }
    }

    fn sample(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 167 + 13) as u8).collect()
    }

    #[test]
    fn words_equal_the_naive_twin_at_every_length_and_offset() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for n in (0..70).chain([4096, 8191, 8192, 8193, 20_001]) {
            for offset in [0, 1, 2, 3, 4, 7, usize::MAX, usize::MAX - 1] {
                let (mut fast, mut slow) = (sample(n), sample(n));
                apply(&mut fast, mask, offset);
                naive(&mut slow, mask, offset & 3);
                assert_eq!(fast, slow, "{n} {offset}");
                let mut copied = b"before".to_vec();
                append(&sample(n), &mut copied, mask, offset);
                assert_eq!(&copied[..6], b"before");
                assert_eq!(&copied[6..], &slow[..]);
            }
        }
    }

    #[test]
    fn pieces_with_their_offsets_equal_the_whole() {
        let mask = [1, 2, 3, 250];
        let mut whole = sample(97);
        apply(&mut whole, mask, 0);
        for cut in 0..=97 {
            let mut pieces = sample(97);
            let (a, b) = pieces.split_at_mut(cut);
            apply(a, mask, 0);
            apply(b, mask, cut);
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn masking_twice_gives_the_original() {
        let mut data = sample(1000);
        apply(&mut data, [9, 8, 7, 6], 0);
        apply(&mut data, [9, 8, 7, 6], 0);
        assert_eq!(data, sample(1000));
    }
}
