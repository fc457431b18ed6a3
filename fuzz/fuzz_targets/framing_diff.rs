//! Our verdicts beside httparse's. We are stricter: whatever we take, httparse takes and understands alike. The
//! chunk sizes that both read are equal.
#![no_main]
use evenkeel::wire::http::{Parsed, Scan, Version, chunked::Decoder, head};
use evenkeel::wire::limits::Limits;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    // Both through the incremental reader (a first look at nothing but the first byte) and the fast one.
    for first in [data.len().min(1), data.len()] {
        let mut scan = Scan::default();
        let _ = head::parse(&data[..first], &mut scan, &limits);
        if first == data.len() {
            scan = Scan::default();
        }
        let Ok(Parsed::Complete(ours, len)) = head::parse(data, &mut scan, &limits) else { continue };
        let mut storage = [httparse::EMPTY_HEADER; Limits::MAX_FIELDS];
        let mut theirs = httparse::Request::new(&mut storage);
        assert_eq!(theirs.parse(data), Ok(httparse::Status::Complete(len)));
        assert_eq!(theirs.method, Some(ours.method.as_str()));
        assert_eq!(theirs.path.map(str::as_bytes), Some(ours.raw_target));
        assert_eq!(theirs.version, Some(u8::from(ours.version == Version::Http11)));
        let fields: Vec<_> = theirs.headers.iter().map(|h| (h.name.as_bytes(), h.value.trim_ascii())).collect();
        let mine: Vec<_> = ours.fields.iter().map(|(n, v)| (n, v.trim_ascii())).collect();
        assert_eq!(mine, fields);
    }
    // The first chunk, where both take its size line.
    let mut line = data.iter().take_while(|&&b| b != b'\n').copied().collect::<Vec<u8>>();
    line.extend_from_slice(b"\n");
    if let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(&line)
        && at == line.len()
        && (1..1 << 20).contains(&size)
    {
        let head = line.len();
        line.resize(head + size as usize, b'x');
        if let Ok(step) = Decoder::new().advance(&line, &limits) {
            assert_eq!(step.data.len() as u64, size);
        }
    }
});
