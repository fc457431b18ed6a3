use super::*;

fn whole(bytes: &[u8]) -> Result<Option<(Head<'_>, usize)>, Reject> {
    match parse(bytes, &mut Scan::default(), &Limits::default())? {
        Parsed::Complete(head, len) => Ok(Some((head, len))),
        Parsed::Partial => Ok(None),
    }
}

fn head(bytes: &'static [u8]) -> Head<'static> {
    whole(bytes).unwrap().unwrap().0
}

fn reject(bytes: &[u8]) -> Reject {
    whole(bytes).unwrap_err()
}

#[test]
fn a_plain_request_is_read() {
    let bytes = b"GET /a?b HTTP/1.1\r\nHost: h:1\r\nAccept:  */* \t\r\nX:\r\n\r\nGET";
    let (head, len) = whole(bytes).unwrap().unwrap();
    assert_eq!(len, bytes.len() - 3);
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target, Target::Origin { path: b"/a", query: Some(b"b") });
    assert_eq!(head.host, Some(&b"h:1"[..]));
    assert_eq!(head.field("accept"), Some(&b"*/*"[..]));
    assert_eq!(head.field("x"), Some(&b""[..]));
    assert_eq!(head.field("y"), None);
    assert_eq!(head.field("range"), None);
    assert!(head.keep_alive && head.framing == Framing::None);
    let fields: Vec<_> = head.fields.iter().collect();
    assert_eq!(fields, [(&b"Host"[..], &b"h:1"[..]), (b"Accept", b"*/*"), (b"X", b"")]);
}

#[test]
fn the_connection_rules_of_each_version_hold() {
    assert!(!head(b"GET / HTTP/1.0\r\n\r\n").keep_alive);
    assert!(head(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
    assert!(
        !head(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: x, CLOSE\r\n\r\n")
            .keep_alive
    );
    let h =
        head(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(h.upgrade(), Some(&b"websocket"[..]));
    let h = head(b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(h.upgrade(), None);
    assert!(head(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n").expect_continue);
    assert!(!head(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
}

#[test]
fn framing_is_one_thing_or_a_refusal() {
    let with = |fields: &str| {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        whole(bytes.as_bytes()).map(|done| done.unwrap().0.framing)
    };
    assert_eq!(with(""), Ok(Framing::None));
    assert_eq!(with("Content-Length: 003\r\n"), Ok(Framing::Length(3)));
    assert_eq!(with("Transfer-Encoding: Chunked\t\r\n"), Ok(Framing::Chunked));
    for bad in ["", "+1", "-1", "1 2", "1,1", "0x1", "9223372036854775808", "99999999999999999999999"] {
        assert_eq!(with(&format!("Content-Length: {bad}\r\n")), Err(Reject::BadContentLength), "{bad}");
    }
    assert_eq!(with("Content-Length: 1\r\nContent-Length: 1\r\n"), Err(Reject::BadContentLength));
    assert_eq!(with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), Err(Reject::ConflictingLength));
    assert_eq!(with("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), Err(Reject::ConflictingLength));
    for bad in [
        "",
        "identity",
        "chunked, gzip",
        "chunked, chunked",
        "'chunked'",
        "x y, chunked",
        ",chunked",
        "chunked;a",
    ] {
        assert_eq!(with(&format!("Transfer-Encoding: {bad}\r\n")), Err(Reject::BadTransferEncoding), "{bad}");
    }
    assert_eq!(with("Transfer-Encoding: gzip, chunked\r\n"), Err(Reject::UnknownTransferEncoding));
    assert_eq!(
        with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        Err(Reject::BadTransferEncoding)
    );
    assert_eq!(reject(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Reject::BadTransferEncoding);
}

#[test]
fn each_fault_has_its_name() {
    for (bytes, want) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Reject::MissingHost),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", Reject::DuplicateHost),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n", Reject::BadHost),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Reject::SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Reject::ObsFold),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b", Reject::ObsFold),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Reject::BareLf),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", Reject::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Reject::BareLf),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::BareLf),
        (b"GET / HTTP/1.1\r\nx:\nHost: a\r\n\r\n", Reject::BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Reject::BareCr),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\rZ", Reject::BareCr),
        (b"GET / HTTP/1.1\r\nHost: a\0b", Reject::BadFieldValue),
        (b"GET / HTTP/1.1\r\n: a", Reject::BadFieldName),
        (b"GET / HTTP/1.1\r\na@b: a", Reject::BadFieldName),
        (b"GET / HTTP/2.0", Reject::UnsupportedVersion),
        (b"GET / HTTP/1!", Reject::BadRequestLine),
        (b"GET  /", Reject::BadRequestLine),
        (b"GET /\r\n\r\n", Reject::BadRequestLine),
        (b" GET", Reject::BadRequestLine),
        (b"\x16\x03\x01\x02", Reject::BadRequestLine),
        (b"GET /\x80", Reject::BadTarget),
        (b"GET x HTTP/1.1", Reject::BadTarget),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", Reject::MethodTooLong),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", Reject::UnknownExpectation),
    ] {
        assert_eq!(reject(bytes), want, "{}", bytes.escape_ascii());
        assert!((400..=505).contains(&want.status()));
    }
}

#[test]
fn limits_are_inclusive_and_give_the_same_verdict_on_both_paths() {
    let limits = Limits { head_size: 64, head_fields: 2, target_size: 4, ..Limits::default() };
    let slow = |bytes: &[u8]| {
        let mut scan = Scan::default();
        for n in 0..=bytes.len() {
            if let Parsed::Complete(_, len) = parse(&bytes[..n], &mut scan, &limits)? {
                return Ok(len);
            }
        }
        Ok(0)
    };
    let fast = |bytes: &[u8]| match parse(bytes, &mut Scan::default(), &limits)? {
        Parsed::Complete(_, len) => Ok(len),
        Parsed::Partial => Ok(0),
    };
    let padded = |n: usize| {
        let mut s = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        s.resize(n - 4, b'x');
        s.extend_from_slice(b"\r\n\r\n");
        s
    };
    for (bytes, want) in [
        (padded(64), Ok(64)),
        (padded(65), Err(Reject::HeadTooLarge)),
        (b"GET /abc HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Ok(30)),
        (b"GET /abcd HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Err(Reject::TargetTooLong)),
        (b"GET / HTTP/1.1\r\nHost: a\r\nb:\r\nc:\r\n\r\n".to_vec(), Err(Reject::TooManyFields)),
        (b"GET / HTTP/1.1\r\na:\r\nb:\r\nHost: a\r\n\r\n".to_vec(), Err(Reject::TooManyFields)),
        (vec![b'\r'; 2], Err(Reject::BareCr)),
        (b"\r\n".repeat(33), Err(Reject::HeadTooLarge)),
    ] {
        assert_eq!(fast(&bytes), want, "{}", bytes.escape_ascii());
        assert_eq!(slow(&bytes), want, "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_host_is_a_field_as_any_other_and_that_of_an_absolute_target_goes_before_it() {
    let head = head(b"GET http://b:1/x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.field("host"), head.field("HOST")), (Some(&b"a"[..]), Some(&b"a"[..])));
    assert_eq!((head.host, head.authority()), (Some(&b"a"[..]), Some(&b"b:1"[..])));
}

#[test]
fn one_scan_reads_one_head_after_the_other() {
    let (mut scan, limits) = (Scan::default(), Limits::default());
    for bytes in [&b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PUT / HTTP/1.1\r\nHost: b\r\n\r\n"] {
        assert!(matches!(parse(&bytes[..9], &mut scan, &limits), Ok(Parsed::Partial)));
        let parsed = parse(bytes, &mut scan, &limits);
        assert!(matches!(parsed, Ok(Parsed::Complete(_, len)) if len == bytes.len()), "{parsed:?}");
        assert!(scan.is_fresh());
    }
}

#[test]
fn the_memory_of_a_slow_head_is_small() {
    assert!(size_of::<Scan>() <= 32);
}

/// What both ways of reading must agree on.
fn verdict(bytes: &[u8], split: usize) -> Result<Option<(String, usize)>, Reject> {
    let (limits, mut scan) = (Limits::default(), Scan::default());
    let mut parsed = parse(&bytes[..split], &mut scan, &limits)?;
    if matches!(parsed, Parsed::Partial) {
        parsed = parse(bytes, &mut scan, &limits)?;
    }
    Ok(match parsed {
        Parsed::Complete(head, len) => {
            assert!(len <= bytes.len());
            Some((format!("{head:?}"), len))
        }
        Parsed::Partial => None,
    })
}

proptest::proptest! {
    #[test]
    fn any_split_gives_the_verdict_of_the_whole(
        lines in proptest::collection::vec("(Host|Content-Length|Transfer-Encoding|Connection|X) ?: ?[ -~\t\r\n\0]{0,6}", 0..4),
        method in "[A-Z ]{1,4}", target in "(/[!-~]{0,6}|\\*|h:1|http://h/)", version in "HTTP/(1\\.1|1\\.0|2)",
        eol in "\r\n|\r\n|\r\n|\n|\r", at in 0usize..200,
    ) {
        let mut text = format!("{method} {target} {version}{eol}Host: a\r\n");
        for line in lines { text.push_str(&line); text.push_str("\r\n"); }
        text.push_str("\r\n");
        let bytes = text.as_bytes();
        let at = at.min(bytes.len());
        let whole = verdict(bytes, bytes.len());
        assert_eq!(verdict(bytes, at), whole);
        // Byte by byte through the scan alone, to hold the two readers against each other.
        assert_eq!(verdict(bytes, 1), whole);
    }
}
