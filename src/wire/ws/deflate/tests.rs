use super::*;

const LIMITS: Limits = Limits { frame: u64::MAX, message: 1 << 20, ratio: u32::MAX };

fn sample(n: usize) -> Vec<u8> {
    let mut seed = 7u32;
    let words: [&[u8]; 8] =
        [b"even ", b"keel ", b"socket ", b"{\"id\":", b"},", b"0123456789", b"\xff\x00", b"websocket "];
    let mut out = Vec::new();
    while out.len() < n {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(words[(seed >> 29) as usize]);
    }
    out.truncate(n);
    out
}

/// Bytes that nothing can shrink.
fn sha1_noise(n: usize) -> Vec<u8> {
    let hash = |i: usize| sha1_smol::Sha1::from(i.to_le_bytes()).digest().bytes();
    (0..).flat_map(hash).take(n).collect()
}

fn packed(level: u32, bits: u8, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new(level, bits, false).unwrap().deflate(message, &mut out).unwrap();
    out
}

fn inflated(payload: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut out = b"overwritten".to_vec();
    Inflater::new(15, false).inflate(payload, &mut out, &LIMITS).map(|()| out)
}

#[test]
fn every_window_and_level_round_trips() {
    for bits in 9..=15 {
        for level in [0, 1, 2, 3, 6, 9] {
            for n in [0, 1, 5, 300, 5000, 40_000] {
                let message = sample(n);
                assert_eq!(inflated(&packed(level, bits, &message)), Ok(message), "{bits} {level} {n}");
            }
        }
    }
}

#[test]
fn what_is_deflated_for_a_window_never_refers_beyond_it() {
    let message = sample(34_000);
    for bits in 9..=15 {
        for level in [0, 1, 2, 6, 9] {
            let mut payload = packed(level, bits, &message);
            payload.extend_from_slice(&TAIL);
            // One byte at a time, the inflater has nothing but its own window to look back at.
            let mut strict = Decompress::new_with_window_bits(false, bits);
            let (mut out, mut byte) = (Vec::new(), [0]);
            while out.len() < message.len() {
                let (read, written) = (strict.total_in() as usize, strict.total_out());
                strict.decompress(&payload[read..], &mut byte, FlushDecompress::None).unwrap();
                assert!(strict.total_out() > written || strict.total_in() as usize > read);
                if strict.total_out() > written {
                    out.push(byte[0]);
                }
            }
            assert_eq!(out, message, "{bits} {level}");
        }
    }
}

#[test]
fn the_examples_of_rfc_7692_7_2_3_are_read() {
    let one_block = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let no_compression = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    for payload in [&one_block[..], &no_compression, &final_block, &two_blocks] {
        assert_eq!(inflated(payload), Ok(b"Hello".to_vec()));
    }
    let mut inflater = Inflater::new(15, true);
    let mut out = Vec::new();
    for payload in [&one_block[..], &[0xf2, 0x00, 0x11, 0x00, 0x00]] {
        inflater.inflate(payload, &mut out, &LIMITS).unwrap();
        assert_eq!(out, b"Hello");
    }
}

#[test]
fn an_empty_message_is_one_byte_or_none() {
    assert_eq!(packed(6, 15, b""), [0]);
    assert_eq!(inflated(b"\0"), Ok(vec![]));
    assert_eq!(inflated(b""), Ok(vec![]));
    assert_eq!(inflated(b"\x03\0"), Ok(vec![]));
}

#[test]
fn a_final_block_without_the_zero_byte_after_it_is_a_message_too() {
    assert_eq!(inflated(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), Ok(b"Hello".to_vec()));
    let twice = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00].repeat(2);
    assert_eq!(inflated(&twice), Ok(b"HelloHello".to_vec()));
    assert_eq!(inflated(&[3, 0].repeat(10_000)), Err(Violation::Deflate));
}

#[test]
fn broken_and_truncated_data_are_refused_and_the_inflater_stays_usable() {
    let payload = packed(6, 15, &sample(3000));
    let mut inflater = Inflater::new(15, false);
    let mut out = Vec::new();
    let mut refused = 0;
    for cut in 1..payload.len() {
        refused += usize::from(inflater.inflate(&payload[..cut], &mut out, &LIMITS).is_err());
    }
    assert!(refused > payload.len() * 9 / 10, "{refused} of {}", payload.len());
    assert_eq!(inflated(&[0xff; 20]), Err(Violation::Deflate));
    inflater.inflate(&payload, &mut out, &LIMITS).unwrap();
    assert_eq!(out, sample(3000));
}

#[test]
fn a_bomb_stops_at_the_message_limit_and_reserves_no_more() {
    let bomb = packed(9, 15, &vec![0; 16 << 20]);
    assert!(bomb.len() < 17_000);
    let limits = Limits { message: 1 << 20, ..LIMITS };
    let mut out = Vec::new();
    let result = Inflater::new(15, false).inflate(&bomb, &mut out, &limits);
    assert_eq!(result, Err(Violation::MessageTooBig));
    assert!(out.capacity() <= (1 << 20) + 1, "{}", out.capacity());
}

#[test]
fn the_ratio_counts_above_64_kib_only() {
    let limits = Limits { message: 1 << 30, ratio: 10, ..LIMITS };
    let mut inflater = Inflater::new(15, false);
    let mut out = Vec::new();
    inflater.inflate(&packed(9, 15, &vec![0; RATIO_FLOOR]), &mut out, &limits).unwrap();
    let result = inflater.inflate(&packed(9, 15, &vec![0; RATIO_FLOOR + 1]), &mut out, &limits);
    assert_eq!(result, Err(Violation::RatioTooBig));
    let honest = sample(500_000);
    let payload = packed(1, 15, &honest);
    assert!(payload.len() * 10 > honest.len());
    inflater.inflate(&payload, &mut out, &limits).unwrap();
    assert_eq!(out, honest);
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    let limits = Limits { message: 5000, ..LIMITS };
    let mut out = Vec::new();
    let mut inflater = Inflater::new(15, false);
    assert_eq!(inflater.inflate(&packed(6, 15, &sample(5000)), &mut out, &limits), Ok(()));
    assert_eq!(
        inflater.inflate(&packed(6, 15, &sample(5001)), &mut out, &limits),
        Err(Violation::MessageTooBig)
    );
}

#[test]
fn takeover_keeps_the_window_over_many_messages_of_many_sizes() {
    for bits in [9, 12, 15] {
        let mut deflater = Deflater::new(6, bits, true).unwrap();
        let mut inflater = Inflater::new(bits, true);
        let mut out = Vec::new();
        for n in [0, 10, 0, 70_000, 3, 3, 0, 0, 1000, 40_000] {
            let mut payload = Vec::new();
            deflater.deflate(&sample(n), &mut payload).unwrap();
            inflater.inflate(&payload, &mut out, &LIMITS).unwrap();
            assert_eq!(out, sample(n));
        }
    }
}

#[test]
fn compressors_leave_short_and_incompressible_messages_and_windows_of_8_bits_alone() {
    let mut compressors = Compressors::new(6, 100);
    let mut out = b"head".to_vec();
    let noise = sha1_noise(2000);
    for (bits, message) in [(15, sample(99)), (15, noise), (8, sample(5000)), (16, sample(5000))] {
        assert!(!compressors.deflate((bits, false), &mut None, &message, &mut out));
        assert_eq!(out, b"head");
    }
    for bits in 9..=15 {
        assert!(compressors.deflate((bits, false), &mut None, &sample(5000), &mut out));
        assert_eq!(inflated(&out[4..]), Ok(sample(5000)));
        out.truncate(4);
    }
}

#[test]
fn short_messages_are_stored_where_all_are_to_be_compressed_and_need_no_deflater() {
    let mut compressors = Compressors::new(3, 0);
    let mut out = Vec::new();
    for n in 1..=STORED {
        out.clear();
        assert!(compressors.deflate((15, false), &mut None, &sample(n), &mut out));
        assert_eq!((out.len(), inflated(&out)), (n + 6, Ok(sample(n))));
    }
    assert!(compressors.deflated() == 0 && compressors.by_bits.iter().all(Option::is_none));
    assert!(compressors.deflate((15, false), &mut None, &sample(STORED + 1), &mut out));
    assert_eq!(compressors.deflated(), PER_MESSAGE + STORED + 1);
    out.clear();
    assert!(compressors.deflate((15, false), &mut None, b"Hello", &mut out));
    assert_eq!(out, b"\x00\x05\x00\xfa\xffHello\x00", "the example of RFC 7692, 7.2.3.3");
    let (mut own, mut inflater) = (None, Inflater::new(15, true));
    for _ in 0..2 {
        out.clear();
        assert!(compressors.deflate((15, true), &mut own, &sample(50), &mut out));
        assert_eq!(inflater.inflate(&out, &mut Vec::new(), &LIMITS), Ok(()));
    }
    assert!(own.is_some() && out.len() < 20, "what is taken over is referred to");
}

#[test]
fn with_takeover_the_connection_owns_the_deflater() {
    let mut compressors = Compressors::new(6, 0);
    let (mut own, mut out) = (None, Vec::new());
    assert!(compressors.deflate((12, true), &mut own, &sample(1000), &mut out));
    let first = out.len();
    assert!(own.is_some() && compressors.by_bits.iter().all(Option::is_none));
    assert!(compressors.deflate((12, true), &mut own, &sample(1000), &mut out));
    assert!(out.len() - first < first / 4);
    let mut inflater = Inflater::new(12, true);
    let mut plain = Vec::new();
    for payload in [&out[..first], &out[first..]] {
        inflater.inflate(payload, &mut plain, &LIMITS).unwrap();
        assert_eq!(plain, sample(1000));
    }
}
