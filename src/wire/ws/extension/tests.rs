use super::*;

fn parse(value: &str) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut list = Vec::new();
    parse_list(value.as_bytes(), &mut list).map(|()| list)
}

fn offers(value: &str) -> Vec<DeflateOffer> {
    parse(value).unwrap().iter().filter_map(DeflateOffer::read).collect()
}

/// The server's answer under `policy`, or "declined".
fn answer(value: &str, policy: &Policy) -> String {
    Agreed::choose(&offers(value), policy).map_or("declined".into(), |agreed| {
        let mut out = Vec::new();
        agreed.emit(&mut out);
        String::from_utf8(out).unwrap()
    })
}

const TAKEOVER: Policy =
    Policy { server_takeover: true, client_takeover: true, server_bits: 15, client_bits: 15 };

#[test]
fn the_grammar_is_read_with_spaces_quotes_and_empty_elements() {
    let list = parse(" , foo ; a = 1;b ,\t,bar;c=\"x\\y\" ; d=\"12\" ").unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!((list[0].name, &list[0].params[..]), ("foo", &[("a", Some("1".into())), ("b", None)][..]));
    assert_eq!(
        (list[1].name, &list[1].params[..]),
        ("bar", &[("c", Some("xy".into())), ("d", Some("12".into()))][..])
    );
    assert_eq!(parse(""), Ok(vec![]));
}

#[test]
fn what_breaks_the_grammar_is_malformed() {
    for bad in [
        "a b",
        ";",
        "a;",
        "a;=1",
        "a;b=",
        "a;b=\"",
        "a;b=\"\"",
        "a;b=\"x",
        "a;b=\"x y\"",
        "a;b=\"x\\",
        "a;b=\"x\"y",
        "=",
        "a,b c",
        "é",
        "a;b;",
        "a\0",
    ] {
        assert_eq!(parse(bad), Err(Malformed), "{bad:?}");
    }
    assert_eq!(parse(&"a,".repeat(16)).map(|l| l.len()), Ok(16));
    assert_eq!(parse(&"a,".repeat(17)), Err(Malformed));
    assert!(parse(&("a".to_string() + &";b".repeat(16))).is_ok());
    assert_eq!(parse(&("a".to_string() + &";b".repeat(17))), Err(Malformed));
}

#[test]
fn by_default_no_context_is_kept_either_way() {
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let default = Policy::default();
    assert_eq!(answer("permessage-deflate", &default), plain);
    assert_eq!(answer("permessage-deflate; client_max_window_bits", &default), plain);
    assert_eq!(answer("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", &default), plain);
    assert_eq!(
        answer("permessage-deflate; server_max_window_bits=10", &default),
        format!("{plain}; server_max_window_bits=10")
    );
    assert_eq!(
        answer("permessage-deflate; server_max_window_bits=\"15\"", &default),
        format!("{plain}; server_max_window_bits=15")
    );
}

#[test]
fn takeover_is_given_where_policy_and_offer_both_have_it() {
    assert_eq!(answer("permessage-deflate", &TAKEOVER), "permessage-deflate");
    assert_eq!(
        answer("permessage-deflate; server_no_context_takeover", &TAKEOVER),
        "permessage-deflate; server_no_context_takeover"
    );
    assert_eq!(
        answer("permessage-deflate; client_no_context_takeover", &TAKEOVER),
        "permessage-deflate; client_no_context_takeover"
    );
    let agreed = Agreed::choose(&offers("permessage-deflate; server_max_window_bits=9"), &TAKEOVER).unwrap();
    assert_eq!((agreed.sending(Role::Server), agreed.receiving(Role::Server)), ((9, true), (15, true)));
    assert_eq!((agreed.receiving(Role::Client), agreed.sending(Role::Client)), ((9, true), (15, true)));
}

#[test]
fn the_policys_windows_are_said_only_where_the_client_allows_it() {
    let policy = Policy { server_bits: 12, client_bits: 10, ..TAKEOVER };
    assert_eq!(answer("permessage-deflate", &policy), "permessage-deflate; server_max_window_bits=12");
    assert_eq!(
        answer("permessage-deflate; client_max_window_bits; server_max_window_bits=14", &policy),
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=10"
    );
    assert_eq!(
        answer("permessage-deflate; client_max_window_bits=8; server_max_window_bits=9", &policy),
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"
    );
}

#[test]
fn senseless_offers_are_declined_and_the_next_is_taken() {
    for bad in [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=100",
        "permessage-deflate; client_max_window_bits=0",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; unknown",
        "Permessage-Deflate",
        "permessage-bzip2",
    ] {
        assert_eq!(answer(bad, &TAKEOVER), "declined", "{bad}");
        assert_eq!(answer(&format!("{bad}, permessage-deflate"), &TAKEOVER), "permessage-deflate", "{bad}");
    }
}

#[test]
fn a_client_takes_only_an_answer_to_its_offer() {
    let view = |offer: &str, answer: &str| {
        let offer = offers(offer)[0];
        Agreed::from_answer(&parse(answer).unwrap()[0], &offer)
            .map(|agreed| (agreed.sending(Role::Client), agreed.receiving(Role::Client)))
    };
    let pd = "permessage-deflate";
    let with = |s: &str| format!("{pd}; {s}");
    assert_eq!(view(pd, pd), Some(((15, true), (15, true))));
    assert_eq!(view(pd, &with("server_no_context_takeover")), Some(((15, true), (15, false))));
    assert_eq!(view(pd, &with("client_no_context_takeover")), Some(((15, false), (15, true))));
    assert_eq!(view(&with("client_no_context_takeover"), pd), Some(((15, false), (15, true))));
    assert_eq!(view(pd, &with("server_max_window_bits=10")), Some(((15, true), (10, true))));
    assert_eq!(
        view(&with("client_max_window_bits"), &with("client_max_window_bits=8")),
        Some(((8, true), (15, true)))
    );
    assert_eq!(view(&with("client_max_window_bits=10"), &with("client_max_window_bits=11")), None);
    assert_eq!(view(pd, &with("client_max_window_bits=10")), None);
    assert_eq!(view(&with("client_max_window_bits"), &with("client_max_window_bits")), None);
    assert_eq!(view(&with("server_no_context_takeover"), pd), None);
    assert_eq!(view(&with("server_max_window_bits=10"), pd), None);
    assert_eq!(view(&with("server_max_window_bits=10"), &with("server_max_window_bits=11")), None);
    assert_eq!(view(pd, &with("foo")), None);
    assert_eq!(view(pd, "foo"), None);
}

#[test]
fn every_offer_emits_what_it_is_read_from() {
    for server_bits in [None, Some(8), Some(9), Some(10), Some(15)] {
        for client_bits in [None, Some(None), Some(Some(8)), Some(Some(15))] {
            for (server_no_takeover, client_no_takeover) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let offer = DeflateOffer { server_no_takeover, client_no_takeover, server_bits, client_bits };
                let mut out = Vec::new();
                offer.emit(&mut out);
                assert_eq!(offers(std::str::from_utf8(&out).unwrap()), [offer]);
            }
        }
    }
}
