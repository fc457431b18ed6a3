//! Any lines as the fields of a handshake, for the server and for the client: no panic; an accepted offer is bounded,
//! and what is agreed on reads back as an answer to it.
#![no_main]

use evenkeel::wire::ws::extension::{Extension, parse_list};
use evenkeel::wire::ws::handshake::{self, client};
use evenkeel::wire::ws::{Agreed, Policy, Role};
use libfuzzer_sys::fuzz_target;

fn fields(data: &[u8]) -> Vec<(&[u8], &[u8])> {
    let split = |line: &'_ [u8]| line.iter().position(|b| *b == b':').unwrap_or(line.len());
    data.split(|b| *b == b'\n').map(|line| (&line[..split(line)], &line[(split(line) + 1).min(line.len())..])).collect()
}

fuzz_target!(|data: &[u8]| {
    let [how, bits, data @ ..] = data else { return };
    let policy = Policy {
        server_takeover: how & 1 != 0,
        client_takeover: how & 2 != 0,
        server_bits: bits & 15,
        client_bits: bits >> 4,
    };
    let fields = fields(data);
    if let Ok(offer) = handshake::read(b"GET", true, fields.iter().copied()) {
        assert!(offer.protocols.len() <= 32 && offer.deflate.len() <= 16);
        let _ = handshake::origin_allowed(offer.origin, &["https://example.org"]);
        let agreed = Agreed::choose(&offer.deflate, &policy);
        let mut out = Vec::new();
        handshake::emit(&offer.accept, offer.protocols.first().copied(), agreed, &mut out);
        if let Some(agreed) = agreed {
            let (bits, _) = agreed.sending(Role::Server);
            assert!((9..=15).contains(&bits));
            let mut value = Vec::new();
            agreed.emit(&mut value);
            let mut list: Vec<Extension<'_>> = Vec::new();
            parse_list(&value, &mut list).expect("our answer keeps the grammar");
            let fits = |offer| Agreed::from_answer(&list[0], offer).is_some_and(|theirs| {
                theirs.receiving(Role::Client) == agreed.sending(Role::Server)
                    && theirs.sending(Role::Client) == agreed.receiving(Role::Server)
            });
            assert!(offer.deflate.iter().any(fits), "our answer is one to an offer");
        }
    }
    let key = client::key_text([7; 16]);
    let mut offer = evenkeel::wire::ws::extension::DeflateOffer::default();
    offer.client_bits = (how & 4 != 0).then_some(None);
    let status = if how & 8 == 0 { 101 } else { 200 };
    let mut all = fields;
    let accept = handshake::accept_for(&key);
    if how & 16 == 0 {
        all.push((b"Sec-WebSocket-Accept", &accept));
    }
    let _ = client::verify(status, all.iter().copied(), &key, &["chat", "v2"], Some(&offer));
});
