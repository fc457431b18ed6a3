//! Chunked bodies: no panic, any split equals at once, and what is emitted is read back.
#![no_main]
use evenkeel::wire::http::{Reject, chunked::Decoder, emit};
use evenkeel::wire::limits::Limits;

fn decode<'i>(pieces: impl Iterator<Item = &'i [u8]>) -> Result<(Vec<u8>, usize, bool), Reject> {
    let (limits, mut decoder, mut data, mut total) = (Limits::default(), Decoder::new(), Vec::new(), 0);
    for mut rest in pieces {
        while !rest.is_empty() && !decoder.is_done() {
            let step = decoder.advance(rest, &limits)?;
            assert!(step.consumed > 0 && step.consumed <= rest.len() && step.data.len() <= step.consumed);
            data.extend_from_slice(step.data);
            total += step.consumed;
            rest = &rest[step.consumed..];
        }
    }
    Ok((data, total, decoder.is_done()))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&step, bytes)) = data.split_first() else { return };
    let step = usize::from(step).max(1);
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(bytes.chunks(step)), whole);
    assert_eq!(decode(bytes.chunks(1)), whole);
    let mut wire = Vec::new();
    bytes.chunks(step).for_each(|piece| emit::chunk(&mut wire, piece));
    wire.extend_from_slice(emit::LAST_CHUNK);
    assert_eq!(decode(wire.chunks(step)), Ok((bytes.to_vec(), wire.len(), true)));
});
