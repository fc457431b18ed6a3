//! The wheel against a map: what fires, when, and what it says of its next wake.

use evenkeel::reactor::Millis;
use evenkeel::reactor::wheel::{TICK_MS, Wheel};
use std::collections::BTreeMap;

/// Three bytes an operation: which, on which node, how far ahead.
pub fn run(data: &[u8]) {
    let (mut wheel, mut naive, mut now) = (Wheel::default(), BTreeMap::new(), 0u64);
    for op in data.chunks_exact(3) {
        let index = usize::from(op[1] % 64);
        let far = u64::from(op[2]) << ((op[1] >> 6) * 8);
        match op[0] % 4 {
            0 | 1 => {
                wheel.arm(index, Millis(now.saturating_add(far)));
                let tick = (now + far).div_ceil(TICK_MS).max(now / TICK_MS + 1);
                naive.insert(index, tick);
                assert!(wheel.fires_by(index, Millis(tick * TICK_MS)));
            }
            2 => {
                wheel.disarm(index);
                naive.remove(&index);
            }
            _ => {
                now += far;
                let mut fired = Vec::new();
                wheel.advance(Millis(now), &mut fired);
                fired.sort();
                let due = |at: &u64| *at <= now / TICK_MS;
                let expected: Vec<usize> = naive.iter().filter(|(_, at)| due(at)).map(|(i, _)| *i).collect();
                naive.retain(|_, at| !due(at));
                assert_eq!(fired, expected);
            }
        }
        assert_eq!(wheel.len(), naive.len());
        match (wheel.next_wake(), naive.values().min()) {
            (None, None) => {}
            (Some(wake), Some(first)) => {
                assert!(wake.0 <= first * TICK_MS && wake.0 > now / TICK_MS * TICK_MS)
            }
            (wake, first) => panic!("{wake:?} for {first:?}"),
        }
    }
}
