//! Any bytes as a compressed payload: no panic, never beyond the limits. Any bytes as messages: what is deflated is
//! inflated again, with every window, level and takeover.
#![no_main]

use evenkeel::wire::ws::{Deflater, Inflater, Limits, Violation};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { frame: u64::MAX, message: 200_000, ratio: 500 };
const ALL: Limits = Limits { frame: u64::MAX, message: usize::MAX, ratio: u32::MAX };

fuzz_target!(|data: &[u8]| {
    let [bits, level, cut, bytes @ ..] = data else { return };
    let (bits, takeover) = (9 + bits % 7, bits & 0x80 != 0);
    let (first, second) = bytes.split_at((usize::from(*cut) * 8).min(bytes.len()));
    let mut out = Vec::new();

    let mut hostile = Inflater::new(bits, takeover);
    for payload in [first, second] {
        match hostile.inflate(payload, &mut out, &LIMITS) {
            Ok(()) => assert!(out.len() <= LIMITS.message),
            Err(Violation::Deflate | Violation::MessageTooBig | Violation::RatioTooBig) => break,
            Err(other) => panic!("{other:?}"),
        }
        assert!(out.capacity() <= LIMITS.message + 1);
    }

    let mut inflater = Inflater::new(bits, takeover);
    let mut deflater = Deflater::new(u32::from(level % 10), bits, takeover).expect("bits are in 9..=15");
    for message in [first, second, b"", first] {
        let mut payload = Vec::new();
        deflater.deflate(message, &mut payload).expect("deflating never fails");
        assert!(!payload.is_empty());
        inflater.inflate(&payload, &mut out, &ALL).expect("what was deflated is inflated");
        assert_eq!(out, message);
    }
});
