//! Cork and outbox against a plain queue of bytes: every byte once, in order, and every buffer given back.

use evenkeel::reactor::Part;
use evenkeel::reactor::buffer::BufferPool;
use evenkeel::reactor::outbox::{Cork, MAX_SLICES, Outbox};
use std::io::IoSlice;
use std::sync::Arc;

const STATIC: &[u8] = b"the quick brown fox jumps over the lazy dog";

/// Two bytes an operation: which, and how much.
pub fn run(data: &[u8]) {
    let (mut outbox, mut pool, mut cork) = (Outbox::default(), BufferPool::default(), Cork::default());
    let (mut naive, mut corked): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let shared: Arc<[u8]> = (0..=255).collect();
    for (step, op) in data.chunks_exact(2).enumerate() {
        let n = usize::from(op[1]);
        match op[0] % 8 {
            0 => {
                let bytes = vec![step as u8; n * (1 + usize::from(op[0] >> 3))];
                outbox.push_bytes(&bytes, &mut pool);
                naive.extend(&bytes);
            }
            1 => {
                outbox.push(Part::Shared(shared.clone(), n / 2..n));
                naive.extend(&shared[n / 2..n]);
            }
            2 => {
                let bytes = &STATIC[..n % STATIC.len()];
                outbox.push(Part::Static(bytes));
                naive.extend(bytes);
            }
            3 => {
                cork.bytes_mut().extend(std::iter::repeat_n(step as u8, n));
                corked.extend(std::iter::repeat_n(step as u8, n));
            }
            4 => {
                cork.push(Part::Shared(shared.clone(), n / 2..n));
                corked.extend(&shared[n / 2..n]);
            }
            5 => {
                assert_eq!(cork.memory(), corked.len());
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let (pieces, more) = cork.gather(&[], &mut slices);
                let seen: Vec<u8> = slices[..pieces].iter().flat_map(|slice| slice.to_vec()).collect();
                assert!(corked.starts_with(&seen) && (more || seen == corked));
                // Only if nothing else waits may a beginning have left directly.
                let sent = if outbox.is_empty() { n.min(seen.len()) } else { 0 };
                cork.spill(sent, &[], &mut outbox, &mut pool);
                naive.extend(&corked[sent..]);
                corked.clear();
                assert!(cork.is_empty());
            }
            _ => {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let (pieces, more) = outbox.gather(&mut slices);
                let seen: Vec<u8> = slices[..pieces].iter().flat_map(|slice| slice.to_vec()).collect();
                assert!(naive.starts_with(&seen) && (more || seen == naive));
                let taken = (n * (1 + usize::from(op[0] >> 3))).min(seen.len());
                outbox.advance(taken as u64, &mut pool);
                naive.drain(..taken);
            }
        }
        assert_eq!((outbox.memory(), outbox.len()), (naive.len(), naive.len() as u64));
        assert_eq!(outbox.is_empty(), naive.is_empty());
    }
    outbox.clear(&mut pool);
    assert_eq!((pool.lent(), pool.held()), (0, 0));
}
