//! Preconditions and dates: no panic; a date that is read is written as the same second.
#![no_main]
use evenkeel::wire::http::conditional::{EntityTag, Validators, evaluate, if_range};
use evenkeel::wire::http::{Parsed, Scan, date, head};
use evenkeel::wire::limits::Limits;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let now = 1_750_000_000;
    if let Some(seconds) = date::parse(data, now) {
        assert_eq!(date::parse(&date::format(seconds), now), Some(seconds.min(date::MAX)));
    }
    let have = Validators { exists: true, tag: EntityTag::parse(b"\"a\""), modified: Some(784_111_777) };
    let _ = if_range(data, &have, now);
    for name in ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"] {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: ").into_bytes();
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n\r\n");
        if let Ok(Parsed::Complete(head, _)) = head::parse(&bytes, &mut Scan::default(), &Limits::default()) {
            let _ = evaluate(head.method, &head.fields, &have, now);
        }
    }
});
