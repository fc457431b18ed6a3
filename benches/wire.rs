//! What it costs to read a head, a chunked body, a path, and to write a response head. Run with
//! `cargo bench --bench wire`; times are for one element, `pipelined` for one of 16 requests.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evenkeel::wire::http::{Parsed, Scan, chunked::Decoder, date, emit, head, range, target};
use evenkeel::wire::limits::Limits;

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:18100\r\n\r\n";
const BROWSER: &[u8] = b"GET /assets/app.3f9c.js?v=12 HTTP/1.1\r\nHost: www.example.org\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: */*\r\n\
Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n\
Referer: https://www.example.org/\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
If-None-Match: \"5f3a-61c0\"\r\nSec-Fetch-Dest: script\r\nSec-Fetch-Mode: no-cors\r\n\r\n";

fn one(buf: &[u8], limits: &Limits) -> usize {
    match head::parse(black_box(buf), &mut Scan::default(), limits) {
        Ok(Parsed::Complete(head, len)) => {
            black_box(&head);
            len
        }
        other => panic!("{other:?}"),
    }
}

fn heads(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("head");
    group.bench_function("small", |b| b.iter(|| one(SMALL, &limits)));
    group.bench_function("browser", |b| b.iter(|| one(BROWSER, &limits)));
    let pipeline = SMALL.repeat(16);
    group.throughput(Throughput::Elements(16));
    group.bench_function("pipelined", |b| {
        b.iter(|| {
            let mut rest = &pipeline[..];
            while !rest.is_empty() {
                rest = &rest[one(rest, &limits)..];
            }
        })
    });
    group.throughput(Throughput::Bytes(BROWSER.len() as u64));
    group.bench_function("browser byte by byte", |b| {
        b.iter(|| {
            let mut scan = Scan::default();
            for n in 1..=BROWSER.len() {
                let _ = black_box(head::parse(&BROWSER[..n], &mut scan, &limits));
            }
        })
    });
    let head = match head::parse(BROWSER, &mut Scan::default(), &limits) {
        Ok(Parsed::Complete(head, _)) => head,
        other => panic!("{other:?}"),
    };
    group.bench_function("field that is there", |b| {
        b.iter(|| black_box(&head).field(black_box("if-none-match")))
    });
    group.bench_function("field that is not", |b| {
        b.iter(|| black_box(&head).field(black_box("if-modified-since")))
    });
    group.finish();
}

fn rest(c: &mut Criterion) {
    let limits = Limits::default();
    let mut body = Vec::new();
    for _ in 0..64 {
        emit::chunk(&mut body, &[b'x'; 1000]);
    }
    body.extend_from_slice(emit::LAST_CHUNK);
    let mut group = c.benchmark_group("chunked");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("64 chunks of 1000", |b| {
        b.iter(|| {
            let (mut decoder, mut rest) = (Decoder::new(), &body[..]);
            while !decoder.is_done() {
                match decoder.advance(rest, &limits) {
                    Ok(step) => rest = &rest[step.consumed..],
                    Err(reject) => panic!("{reject}"),
                }
            }
        })
    });
    group.finish();
    let mut scratch = Vec::new();
    c.bench_function("path/plain", |b| {
        b.iter(|| target::normalise(black_box(b"/assets/img/logo.svg"), &mut scratch).map(<[u8]>::len))
    });
    c.bench_function("path/encoded", |b| {
        b.iter(|| target::normalise(black_box(b"/a%20b/../img/./logo.svg"), &mut scratch).map(<[u8]>::len))
    });
    c.bench_function("range", |b| b.iter(|| range::parse(black_box(b"bytes=100-199"), 10_000)));
    c.bench_function("date/format", |b| b.iter(|| date::format(black_box(784_111_777))));
    const SERVER: emit::FieldName<'_> = emit::FieldName::from_static("Server");
    const NAME: emit::FieldValue<'_> = emit::FieldValue::from_static("evenkeel");
    let mut out = Vec::with_capacity(1024);
    c.bench_function("emit", |b| {
        b.iter(|| {
            out.clear();
            emit::status_line(&mut out, 200);
            emit::field(&mut out, SERVER, NAME);
            emit::content_length(&mut out, black_box(12345));
            emit::end(&mut out);
            black_box(out.len())
        })
    });
}

criterion_group!(benches, heads, rest);
criterion_main!(benches);
