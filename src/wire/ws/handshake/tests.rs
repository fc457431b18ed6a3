use super::client::{Accepted, Illegal, Opening, Refused, key_text, verify};
use super::*;
use crate::wire::ws::extension::Policy;

type Field = (&'static str, &'static str);

const GOOD: [Field; 5] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];
const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn bytes<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn get<'a>(fields: &'a [(&'a str, &'a str)]) -> Result<Offer<'a>, HandshakeError> {
    read(b"GET", true, bytes(fields))
}

/// The good request with one field replaced (or taken away, with `None`).
fn with(name: &'static str, value: Option<&'static str>) -> Vec<Field> {
    let mut fields: Vec<Field> = GOOD.iter().copied().filter(|(n, _)| *n != name).collect();
    fields.extend(value.map(|value| (name, value)));
    fields
}

fn also(name: &'static str, value: &'static str) -> Vec<Field> {
    let mut fields = GOOD.to_vec();
    fields.push((name, value));
    fields
}

#[test]
fn the_sample_of_rfc_6455_1_3_is_answered() {
    let fields = also("Sec-WebSocket-Protocol", "chat, superchat");
    let offer = get(&fields).unwrap();
    assert_eq!(&offer.accept, ACCEPT);
    assert_eq!(offer.protocols, ["chat", "superchat"]);
    assert_eq!(offer.origin, None);
    let mut out = Vec::new();
    emit(&offer.accept, offer.protocol(&["superchat", "chat"]), None, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn tokens_are_found_in_lists_and_in_any_case() {
    assert!(get(&with("Connection", Some("keep-alive, uPGRADE"))).is_ok());
    assert!(get(&with("Upgrade", Some("h2c, WebSocket"))).is_ok());
    let lower: Vec<(String, &str)> = GOOD.iter().map(|(n, v)| (n.to_ascii_lowercase(), *v)).collect();
    let lower: Vec<(&str, &str)> = lower.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    assert!(get(&lower).is_ok());
}

#[test]
fn each_missing_or_wrong_part_has_its_error_and_status() {
    use HandshakeError as E;
    assert_eq!(read(b"POST", true, bytes(&GOOD)).unwrap_err(), E::Method);
    assert_eq!(read(b"GET", false, bytes(&GOOD)).unwrap_err(), E::HttpVersion);
    for (name, value, error, status) in [
        ("Host", None, E::Host, 400),
        ("Upgrade", None, E::NotAnUpgrade, 426),
        ("Upgrade", Some("websockets"), E::NotAnUpgrade, 426),
        ("Connection", None, E::NotAnUpgrade, 426),
        ("Connection", Some("keep-alive"), E::NotAnUpgrade, 426),
        ("Sec-WebSocket-Version", None, E::Version, 426),
        ("Sec-WebSocket-Version", Some("8"), E::Version, 426),
        ("Sec-WebSocket-Version", Some("13, 8"), E::Version, 426),
        ("Sec-WebSocket-Key", None, E::Key, 400),
        ("Sec-WebSocket-Key", Some(""), E::Key, 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ="), E::Key, 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZXh4"), E::Key, 400),
        ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25j!Q=="), E::Key, 400),
        ("Sec-WebSocket-Protocol", Some("a b"), E::Protocols, 400),
        ("Sec-WebSocket-Protocol", Some("a, a"), E::Protocols, 400),
        ("Sec-WebSocket-Extensions", Some("a;;"), E::Extensions, 400),
    ] {
        let error_was = get(&with(name, value)).unwrap_err();
        assert_eq!((error_was, error_was.status()), (error, status), "{name} {value:?}");
    }
    for (name, value) in &GOOD[3..] {
        assert!(get(&also(name, value)).is_err(), "{name} twice");
    }
    let version = E::Version.fields();
    assert!(
        version.contains(&("Sec-WebSocket-Version", "13")) && version.contains(&("Upgrade", "websocket"))
    );
    assert_eq!(E::Origin.status(), 403);
    assert_eq!(E::Method.fields(), [("Allow", "GET")]);
}

#[test]
fn the_clients_favourite_protocol_is_chosen_over_several_fields() {
    let mut fields = also("Sec-WebSocket-Protocol", "v2, v1");
    fields.push(("Sec-WebSocket-Protocol", "v0"));
    let offer = get(&fields).unwrap();
    assert_eq!(offer.protocols, ["v2", "v1", "v0"]);
    assert_eq!(offer.protocol(&["v0", "v1"]), Some("v1"));
    assert_eq!(offer.protocol(&["V1"]), None);
    assert_eq!(offer.protocol::<&str>(&[]), None);
}

#[test]
fn deflate_offers_of_several_fields_are_all_seen_in_order() {
    let mut fields = also("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=8, foo");
    fields.push(("Sec-WebSocket-Extensions", "permessage-deflate"));
    let offer = get(&fields).unwrap();
    assert_eq!(offer.deflate.len(), 2);
    let agreed = Agreed::choose(&offer.deflate, &Policy::default());
    let mut out = Vec::new();
    emit_fields(&offer.accept, None, agreed, &mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with(
        "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
    ));
}

#[test]
fn an_origin_enters_if_it_is_listed_or_there_is_none() {
    let list = ["https://example.org", "http://localhost:8080"];
    assert!(origin_allowed(None, &list));
    assert!(origin_allowed(Some(b"https://EXAMPLE.org"), &list));
    for bad in [
        &b"https://example.org.evil.net"[..],
        b"http://example.org",
        b"https://example.org:8443",
        b"null",
        b"",
    ] {
        assert!(!origin_allowed(Some(bad), &list));
    }
    assert!(!origin_allowed(Some(b"https://example.org"), &[] as &[&str]));
    assert!(origin_allowed(Some(b"null"), &["*"]));
    let mut fields = also("Origin", "https://example.org");
    fields.push(("Origin", "https://evil.net"));
    assert_eq!(get(&fields).unwrap().origin, Some(&b""[..]));
}

fn opening<'a>() -> Opening<'a> {
    Opening { host: "h:1", target: "/x?y", protocols: &["a", "b"], deflate: None, origin: None, fields: &[] }
}

/// Splits an emitted head into fields.
fn fields_of(head: &str) -> Vec<(&str, &str)> {
    let (_, fields) = head.split_once("\r\n").unwrap();
    fields.trim_end().split("\r\n").map(|line| line.split_once(": ").unwrap()).collect()
}

#[test]
fn a_server_reads_what_a_client_emits_and_the_client_its_answer() {
    let key = key_text(*b"the sample nonce");
    assert_eq!(&key, b"dGhlIHNhbXBsZSBub25jZQ==");
    let deflate = DeflateOffer { client_bits: Some(None), ..DeflateOffer::default() };
    let client = Opening {
        deflate: Some(deflate),
        origin: Some("http://o"),
        fields: &[("Authorization", "Bearer x y")],
        ..opening()
    };
    let mut head = Vec::new();
    client.emit(&key, &mut head).unwrap();
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /x?y HTTP/1.1\r\nHost: h:1\r\n") && head.ends_with("\r\n\r\n"));
    let fields = fields_of(&head);
    assert!(fields.contains(&("Authorization", "Bearer x y")));
    let offer = get(&fields).unwrap();
    assert_eq!((offer.origin, &offer.protocols[..]), (Some(&b"http://o"[..]), &["a", "b"][..]));

    let agreed = Agreed::choose(&offer.deflate, &Policy::default());
    let mut answer = Vec::new();
    emit(&offer.accept, offer.protocol(&["b"]), agreed, &mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let fields = fields_of(&answer);
    let accepted = verify(101, bytes(&fields), &key, &["a", "b"], Some(&deflate)).unwrap();
    assert_eq!(accepted.protocol, Some("b"));
    assert_eq!(accepted.deflate.unwrap().sending(crate::wire::ws::Role::Client), (15, false));
}

#[test]
fn a_client_refuses_what_it_did_not_ask_for() {
    let key = key_text(*b"the sample nonce");
    let accept = std::str::from_utf8(ACCEPT).unwrap();
    let good = [("Upgrade", "WebSocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)];
    let check = |status, fields: &[(&str, &str)], deflate: Option<DeflateOffer>| {
        verify(status, bytes(fields), &key, &["a", "b"], deflate.as_ref())
            .map(|a| (a.protocol.is_some(), a.deflate.is_some()))
    };
    assert_eq!(check(101, &good, None), Ok((false, false)));
    assert_eq!(check(200, &good, None), Err(Refused::Status(200)));
    assert_eq!(check(101, &good[1..], None), Err(Refused::Upgrade));
    assert_eq!(check(101, &[good[0], good[2]], None), Err(Refused::Connection));
    assert_eq!(check(101, &good[..2], None), Err(Refused::Accept));
    assert_eq!(check(101, &[good[0], good[1], good[2], good[2]], None), Err(Refused::Accept));
    let wrong = ("Sec-WebSocket-Accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(check(101, &[good[0], good[1], wrong], None), Err(Refused::Accept));
    let plus =
        |more: &[(&'static str, &'static str)], deflate| check(101, &[&good[..], more].concat(), deflate);
    let some = Some(DeflateOffer::default());
    let extension = |value| [("Sec-WebSocket-Extensions", value)];
    assert_eq!(plus(&[("Sec-WebSocket-Protocol", "a")], None), Ok((true, false)));
    assert_eq!(plus(&[("Sec-WebSocket-Protocol", "c")], None), Err(Refused::Protocol));
    assert_eq!(plus(&[("Sec-WebSocket-Protocol", "a, b")], None), Err(Refused::Protocol));
    assert_eq!(
        plus(&[("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b")], None),
        Err(Refused::Protocol)
    );
    assert_eq!(plus(&extension("permessage-deflate"), some), Ok((false, true)));
    assert_eq!(plus(&extension("permessage-deflate"), None), Err(Refused::Extension));
    assert_eq!(plus(&extension("permessage-deflate, permessage-deflate"), some), Err(Refused::Extension));
    assert_eq!(plus(&extension("foo"), some), Err(Refused::Extension));
    assert_eq!(plus(&extension(";"), some), Err(Refused::Extension));
    let nothing: Accepted<'_> = verify(101, bytes(&good), &key, &[], None).unwrap();
    assert_eq!(nothing, Accepted { protocol: None, deflate: None });
}

#[test]
fn an_opening_that_would_break_its_line_is_illegal() {
    let key = key_text([0; 16]);
    for bad in [
        Opening { host: "h\r\nX: y", ..opening() },
        Opening { host: "", ..opening() },
        Opening { target: "/a b", ..opening() },
        Opening { target: "x", ..opening() },
        Opening { protocols: &["a", "a"], ..opening() },
        Opening { protocols: &["a,b"], ..opening() },
        Opening { origin: Some("http://o\n"), ..opening() },
        Opening { fields: &[("X", "y\r\nZ: 1")], ..opening() },
        Opening { fields: &[("X ", "y")], ..opening() },
    ] {
        let mut out = b"kept".to_vec();
        assert_eq!(bad.emit(&key, &mut out), Err(Illegal));
        assert_eq!(out, b"kept");
    }
}
