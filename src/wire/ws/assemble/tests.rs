use super::*;
use crate::wire::ws::extension::{DeflateOffer, Policy};
use crate::wire::ws::{Deflater, frame};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SMALL: Limits = Limits { frame: 1000, message: 1500, ratio: u32::MAX };

#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Broken(Violation),
}

fn said(event: Event<'_>) -> Said {
    match event {
        Event::Text(t) => Said::Text(t.into()),
        Event::Binary(b) => Said::Binary(b.into()),
        Event::Ping(b) => Said::Ping(b.into()),
        Event::Pong(b) => Said::Pong(b.into()),
        Event::Close(c) => Said::Close(c.map(|(code, reason)| (code.get(), reason.into()))),
    }
}

/// Shows `wire` in pieces as a port does: what was not consumed comes again, longer.
fn run_pieces(mut assembler: Assembler, pieces: &[&[u8]], limits: &Limits) -> Vec<Said> {
    let (mut desk, mut log, mut kept) = (Desk::new(), Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let before = kept.clone();
            let (consumed, event) = match assembler.next(&mut kept, &mut desk, limits) {
                Ok((consumed, event)) => (consumed, event.map(said)),
                Err(violation) => {
                    log.push(Said::Broken(violation));
                    (0, None)
                }
            };
            if !matches!(log.last(), Some(Said::Broken(_))) {
                assert_eq!(before[consumed..], kept[consumed..], "what was not consumed is untouched");
            }
            kept.drain(..consumed);
            let Some(event) = event else { break };
            log.push(event);
        }
        if !assembler.finished {
            assert!(kept.len() < 14 + 125, "only a header or a control frame is left unread");
        }
        assert!(assembler.held() <= 2 * limits.message);
    }
    log
}

fn run(wire: &[u8], limits: &Limits) -> Vec<Said> {
    let new = || Assembler::new(Role::Server, Some(agreed()));
    let whole = run_pieces(new(), &[wire], limits);
    for cut in 0..=wire.len() {
        assert_eq!(run_pieces(new(), &[&wire[..cut], &wire[cut..]], limits), whole, "cut at {cut}");
    }
    for size in [1, 2, 3, 7] {
        let pieces: Vec<&[u8]> = wire.chunks(size).collect();
        assert_eq!(run_pieces(new(), &pieces, limits), whole, "pieces of {size}");
    }
    whole
}

fn agreed() -> Agreed {
    Agreed::choose(&[DeflateOffer::default()], &Policy::default()).unwrap()
}

fn put(wire: &mut Vec<u8>, opcode: Opcode, fin: bool, rsv1: bool, payload: &[u8]) {
    let header = Header::new(opcode, fin, rsv1, Some(MASK), payload.len() as u64).unwrap();
    frame::emit_frame(&header, payload, wire);
}

fn frames(list: &[(Opcode, bool, &[u8])]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (opcode, fin, payload) in list {
        put(&mut wire, *opcode, *fin, false, payload);
    }
    wire
}

fn text(s: &str) -> Said {
    Said::Text(s.into())
}

use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};

#[test]
fn messages_come_out_as_they_went_in_at_every_split() {
    let wire = frames(&[
        (Text, true, b"Hello"),
        (Binary, true, &[0, 255, 3]),
        (Text, true, b""),
        (Text, true, "κόσμε 😀".as_bytes()),
        (Ping, true, b"ping"),
        (Pong, true, b""),
        (Binary, true, &[7; 300]),
        (Close, true, b"\x03\xe8bye"),
    ]);
    let log = run(&wire, &SMALL);
    assert_eq!(
        log,
        [
            text("Hello"),
            Said::Binary(vec![0, 255, 3]),
            text(""),
            text("κόσμε 😀"),
            Said::Ping(b"ping".to_vec()),
            Said::Pong(vec![]),
            Said::Binary(vec![7; 300]),
            Said::Close(Some((1000, "bye".into()))),
        ]
    );
}

#[test]
fn control_frames_come_out_between_the_fragments_of_a_message() {
    let wire = frames(&[
        (Text, false, b"He"),
        (Ping, true, b"1"),
        (Continuation, false, b""),
        (Pong, true, &[9; 125]),
        (Continuation, false, b"ll"),
        (Continuation, true, b"o"),
        (Binary, false, b""),
        (Continuation, true, b""),
    ]);
    let log = run(&wire, &SMALL);
    assert_eq!(
        log,
        [Said::Ping(b"1".to_vec()), Said::Pong(vec![9; 125]), text("Hello"), Said::Binary(vec![])]
    );
}

#[test]
fn characters_may_be_cut_by_fragments_at_every_byte() {
    let s = "aé€😀z".as_bytes();
    for i in 0..=s.len() {
        for j in i..=s.len() {
            let wire = frames(&[
                (Text, false, &s[..i]),
                (Continuation, false, &s[i..j]),
                (Continuation, true, &s[j..]),
            ]);
            assert_eq!(run(&wire, &SMALL), [text("aé€😀z")]);
        }
    }
}

#[test]
fn a_hopeless_byte_is_reported_before_the_frame_ends() {
    // Autobahn 6.4.1 to 6.4.4: F4 is a good beginning, F4 90 is not.
    for (good, bad) in
        [(&b"\xce\xba\xf4"[..], 0x90), (b"", 0xff), (b"\xed", 0xa0), (b"\xe0", 0x80), (b"a\xc3", b'x')]
    {
        for first in [Text, Continuation] {
            let mut payload = good.to_vec();
            payload.extend_from_slice(&[bad; 50]);
            let mut wire = if first == Text { vec![] } else { frames(&[(Text, false, b"ok")]) };
            put(&mut wire, first, true, false, &payload);
            let end = wire.len() - 49;
            let mut assembler = Assembler::new(Role::Server, None);
            let mut desk = Desk::new();
            let mut before = wire[..end - 1].to_vec();
            let mut consumed = 0;
            loop {
                let (n, event) = assembler.next(&mut before[consumed..], &mut desk, &SMALL).unwrap();
                consumed += n;
                if event.is_none() {
                    break;
                }
            }
            let mut rest = wire[consumed..end].to_vec();
            assert_eq!(assembler.next(&mut rest, &mut desk, &SMALL), Err(Violation::Utf8));
            assert!(run(&wire, &SMALL).ends_with(&[Said::Broken(Violation::Utf8)]));
        }
    }
}

#[test]
fn text_is_taken_if_and_only_if_the_standard_library_takes_it() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let bits: [&[u8]; 12] = [
        b"a",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\x80",
        b"\xc0",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf4\x8f\xbf\xbf",
        b"\xe2\x82",
        b"\xf0\x9f",
        b"hello, world",
    ];
    for _ in 0..400 {
        let mut payload = Vec::new();
        for _ in 0..random() % 6 {
            let n = if random() % 5 == 0 { bits.len() } else { 4 };
            payload.extend_from_slice(bits[random() % n]);
        }
        let cut = random() % (payload.len() + 1);
        let whole = frames(&[(Text, true, &payload)]);
        let two = frames(&[(Text, false, &payload[..cut]), (Continuation, true, &payload[cut..])]);
        let naive = match std::str::from_utf8(&payload) {
            Ok(s) => text(s),
            Err(_) => Said::Broken(Violation::Utf8),
        };
        assert_eq!(run(&whole, &SMALL), std::slice::from_ref(&naive));
        assert_eq!(run(&two, &SMALL), [naive]);
    }
}

#[test]
fn the_order_of_frames_is_checked() {
    let broken = |list: &[(Opcode, bool, &[u8])]| run(&frames(list), &SMALL).pop();
    assert_eq!(broken(&[(Continuation, true, b"x")]), Some(Said::Broken(Violation::NothingToContinue)));
    assert_eq!(
        broken(&[(Text, false, b"x"), (Binary, true, b"y")]),
        Some(Said::Broken(Violation::MessageInterrupted))
    );
    assert_eq!(
        broken(&[(Text, true, b"x"), (Continuation, true, b"y")]),
        Some(Said::Broken(Violation::NothingToContinue))
    );
    assert_eq!(
        broken(&[(Text, false, b"\xc3"), (Continuation, true, b"")]),
        Some(Said::Broken(Violation::Utf8))
    );
    assert_eq!(broken(&[(Close, true, &[3, 0xee])]), Some(Said::Broken(Violation::CloseCode)));
}

#[test]
fn after_a_close_or_a_violation_everything_is_swallowed() {
    let log = run(&frames(&[(Close, true, b""), (Text, true, b"late"), (Continuation, true, b"")]), &SMALL);
    assert_eq!(log, [Said::Close(None)]);
    let log = run(&frames(&[(Continuation, true, b""), (Text, true, b"late")]), &SMALL);
    assert_eq!(log, [Said::Broken(Violation::NothingToContinue)]);
    let log = run(&frames(&[(Text, false, b"begun"), (Close, true, b"\x03\xe9")]), &SMALL);
    assert_eq!(log, [Said::Close(Some((1001, String::new())))]);
}

#[test]
fn limits_are_checked_on_the_announced_length_before_any_payload() {
    let limits = Limits { frame: 100, message: 150, ratio: u32::MAX };
    let head = |opcode, len| {
        let mut out = Vec::new();
        frame::emit(&Header::new(opcode, true, false, Some(MASK), len).unwrap(), &mut out);
        out
    };
    assert_eq!(run(&head(Text, 101), &limits), [Said::Broken(Violation::FrameTooBig)]);
    assert_eq!(run(&head(Binary, u64::MAX >> 1), &limits), [Said::Broken(Violation::FrameTooBig)]);
    let mut wire = frames(&[(Text, false, &[b'a'; 100])]);
    let exact = [wire.clone(), frames(&[(Continuation, true, &[b'a'; 50])])].concat();
    assert_eq!(run(&exact, &limits), [text(&"a".repeat(150))]);
    wire.extend(head(Continuation, 51));
    assert_eq!(run(&wire, &limits), [Said::Broken(Violation::MessageTooBig)]);
    assert_eq!(Violation::MessageTooBig.close_code().get(), 1009);
}

#[test]
fn a_buffer_grows_with_what_came_not_with_what_was_announced() {
    let limits = Limits { frame: u64::MAX, message: usize::MAX, ratio: u32::MAX };
    let (mut assembler, mut desk) = (Assembler::new(Role::Server, None), Desk::new());
    let mut wire = Vec::new();
    frame::emit(&Header::binary(usize::MAX / 2).masked(MASK), &mut wire);
    assert_eq!(assembler.next(&mut wire, &mut desk, &limits), Ok((14, None)));
    assert!(assembler.in_message());
    assert_eq!(assembler.held(), 0);
    for i in 1..100 {
        assembler.next(&mut [0; 1000], &mut desk, &limits).unwrap();
        assert!((1000 * i..=2000 * i).contains(&assembler.held()));
    }
    assembler.abandon(&mut desk);
    assert_eq!((assembler.held(), assembler.in_message()), (0, false));
}

#[test]
fn ten_thousand_tiny_fragments_cost_few_reallocations() {
    let (mut assembler, mut desk) = (Assembler::new(Role::Server, None), Desk::new());
    let limits = Limits::default();
    let mut capacities = vec![0];
    assembler.next(&mut frames(&[(Binary, false, b"")]), &mut desk, &limits).unwrap();
    for _ in 0..10_000 {
        assembler.next(&mut frames(&[(Continuation, false, b"x")]), &mut desk, &limits).unwrap();
        capacities.push(assembler.held());
    }
    capacities.dedup();
    assert!(capacities.len() < 20, "{capacities:?}");
}

#[test]
fn an_idle_connection_holds_nothing_and_the_desk_little() {
    let (mut assembler, mut desk) = (Assembler::new(Role::Server, None), Desk::new());
    let limits = Limits::default();
    let big = frames(&[(Binary, false, &[1; 500_000]), (Continuation, true, &[1; 500_000])]);
    for _ in 0..3 {
        let mut wire = big.clone();
        let (n, event) = assembler.next(&mut wire, &mut desk, &limits).unwrap();
        assert_eq!((n, event.is_some()), (big.len(), true));
        assert_eq!((assembler.held(), assembler.in_message()), (0, false));
        assert_eq!(assembler.next(&mut [], &mut desk, &limits), Ok((0, None)));
        assert!(desk.held() <= 17 * Desk::KEEP);
    }
    desk.clear();
    assert_eq!(desk.held(), 0);
}

#[test]
fn compressed_messages_whole_or_in_fragments_are_inflated() {
    let plain = "compress me, compress me, compress me".repeat(5);
    let mut packed = Vec::new();
    Deflater::new(6, 15, false).unwrap().deflate(plain.as_bytes(), &mut packed).unwrap();
    let mut wire = Vec::new();
    put(&mut wire, Text, true, true, &packed);
    put(&mut wire, Text, true, false, b"plain");
    put(&mut wire, Binary, false, true, &packed[..10]);
    put(&mut wire, Ping, true, false, b"");
    put(&mut wire, Continuation, true, false, &packed[10..]);
    put(&mut wire, Text, true, true, b"");
    let log = run(&wire, &SMALL);
    let binary = Said::Binary(plain.clone().into_bytes());
    assert_eq!(log, [text(&plain), text("plain"), Said::Ping(vec![]), binary, text("")]);
}

#[test]
fn compressed_text_that_is_not_utf8_and_broken_data_are_refused_with_1007() {
    let mut packed = Vec::new();
    Deflater::new(6, 15, false).unwrap().deflate(b"bad \xff text", &mut packed).unwrap();
    for (payload, violation) in [(&packed[..], Violation::Utf8), (b"\xff\xff\xff", Violation::Deflate)] {
        let mut wire = Vec::new();
        put(&mut wire, Text, true, true, payload);
        assert_eq!(run(&wire, &SMALL), [Said::Broken(violation)]);
        assert_eq!(violation.close_code().get(), 1007);
    }
}

#[test]
fn two_connections_in_the_middle_of_compressed_messages_share_a_desk() {
    let mut packed = [Vec::new(), Vec::new()];
    let plain = ["first ".repeat(20), "second ".repeat(20)];
    let mut deflater = Deflater::new(6, 15, false).unwrap();
    for (plain, packed) in plain.iter().zip(&mut packed) {
        let mut payload = Vec::new();
        deflater.deflate(plain.as_bytes(), &mut payload).unwrap();
        put(packed, Text, true, true, &payload);
    }
    let mut desk = Desk::new();
    let mut both = [(); 2].map(|()| Assembler::new(Role::Server, Some(agreed())));
    for (assembler, wire) in both.iter_mut().zip(&packed) {
        assert_eq!(assembler.next(&mut wire[..12].to_vec(), &mut desk, &SMALL), Ok((12, None)));
    }
    for ((assembler, wire), plain) in both.iter_mut().zip(&packed).zip(&plain) {
        let mut rest = wire[12..].to_vec();
        let (_, event) = assembler.next(&mut rest, &mut desk, &SMALL).unwrap();
        assert_eq!(event, Some(Event::Text(plain)));
    }
}

#[test]
fn with_takeover_a_message_may_refer_to_the_one_before() {
    let policy = Policy { server_takeover: true, client_takeover: true, ..Policy::default() };
    let agreed = Agreed::choose(&[DeflateOffer::default()], &policy).unwrap();
    let (bits, takeover) = agreed.sending(Role::Client);
    assert!(takeover);
    let mut deflater = Deflater::new(6, bits, takeover).unwrap();
    let (mut assembler, mut desk) = (Assembler::new(Role::Server, Some(agreed)), Desk::new());
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let (mut payload, mut wire) = (Vec::new(), Vec::new());
        deflater.deflate(b"the quick brown fox jumps over the lazy dog", &mut payload).unwrap();
        sizes.push(payload.len());
        put(&mut wire, Text, true, true, &payload);
        let (_, event) = assembler.next(&mut wire, &mut desk, &SMALL).unwrap();
        assert_eq!(event, Some(Event::Text("the quick brown fox jumps over the lazy dog")));
    }
    assert!(sizes[1] < sizes[0] / 2);
}

#[test]
fn a_client_reads_unmasked_frames() {
    let mut wire = Vec::new();
    frame::emit_frame(&Header::text(5), b"Hello", &mut wire);
    let log = run_pieces(Assembler::new(Role::Client, None), &[&wire], &SMALL);
    assert_eq!(log, [text("Hello")]);
    let masked = frames(&[(Text, true, b"Hello")]);
    let log = run_pieces(Assembler::new(Role::Client, None), &[&masked], &SMALL);
    assert_eq!(log, [Said::Broken(Violation::MaskForbidden)]);
}
