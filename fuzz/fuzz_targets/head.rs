//! Request and response heads: no panic, any split equals at once, never more consumed than given, lookups agree
//! with the walk. The first byte says where to split.
#![no_main]
use evenkeel::wire::http::{Method, Parsed, Reject, Scan, head, response};
use evenkeel::wire::limits::Limits;

fn verdict(bytes: &[u8], cuts: &[usize]) -> Result<Option<(String, usize)>, Reject> {
    let (limits, mut scan) = (Limits::default(), Scan::default());
    for &cut in cuts {
        if let Parsed::Complete(head, len) = head::parse(&bytes[..cut], &mut scan, &limits)? {
            assert!(len <= cut);
            for (name, value) in head.fields.iter() {
                let name = std::str::from_utf8(name).unwrap();
                assert!(head.fields.all(name).any(|v| v == value));
                assert!(!value.iter().any(|b| b"\r\n\0".contains(b)));
            }
            return Ok(Some((format!("{head:?}"), len)));
        }
    }
    Ok(None)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&at, bytes)) = data.split_first() else { return };
    let at = usize::from(at).min(bytes.len());
    let whole = verdict(bytes, &[bytes.len()]);
    assert_eq!(verdict(bytes, &[at, bytes.len()]), whole);
    let each: Vec<usize> = (0..=bytes.len()).collect();
    assert_eq!(verdict(bytes, &each), whole);

    let limits = Limits::default();
    let read = |cuts: &[usize]| {
        let mut scanned = 0;
        for &cut in cuts {
            match response::parse(&bytes[..cut], &mut scanned, Method::Get, &limits) {
                Ok(response::ParsedResponse::Partial) => {}
                Ok(response::ParsedResponse::Complete(head, len)) => return Ok(Some((format!("{head:?}"), len))),
                Err(reject) => return Err(reject),
            }
        }
        Ok(None)
    };
    assert_eq!(read(&[at, bytes.len()]), read(&[bytes.len()]));
});
