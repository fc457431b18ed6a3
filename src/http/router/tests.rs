use super::*;

fn router(routes: &[(Option<&str>, &[&str], &str)]) -> Router<usize> {
    let mut router = Router::new();
    for (i, (host, methods, pattern)) in routes.iter().enumerate() {
        assert_eq!(router.add(*host, methods, pattern, i), Ok(i), "{pattern}");
    }
    router
}

/// The index and the parameters, or the methods allowed, or a dash.
fn found(router: &Router<usize>, host: &str, path: &str, method: &str) -> String {
    match router.lookup(Some(host.as_bytes()), path.as_bytes(), Method::new(method)) {
        Lookup::Found(Found { index, route, params }) => {
            assert_eq!(index, *route);
            let params = params.iter().map(|(n, v)| format!(" {n}={}", String::from_utf8_lossy(v)));
            format!("{index}{}", params.collect::<String>())
        }
        Lookup::MethodNotAllowed { allow } => allow.to_string(),
        Lookup::NotFound => "-".to_string(),
    }
}

/// Every order of a few routes.
fn orders(n: usize) -> Vec<Vec<usize>> {
    match n {
        0 => vec![vec![]],
        _ => orders(n - 1)
            .into_iter()
            .flat_map(|order| {
                (0..n).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, n - 1);
                    order
                })
            })
            .collect(),
    }
}

#[test]
fn the_most_specific_path_wins_whatever_the_order() {
    let patterns = ["/a/{x}/c", "/a/b/*", "/a/b", "/{y}/b/c", "/*", "/a/"];
    for order in orders(patterns.len()) {
        let mut router = Router::new();
        for i in &order {
            router.add(None, &[], patterns[*i], patterns[*i]).unwrap();
        }
        for (path, want) in [
            ("", "/* rest="),
            ("a", "/* rest=a"),
            ("a/", "/a/"),
            ("a/b", "/a/b"),
            ("a/b/", "/a/b/* rest="),
            ("a/b/c", "/a/b/* rest=c"),
            ("a/b/c/d", "/a/b/* rest=c/d"),
            ("a/x/c", "/a/{x}/c x=x"),
            ("z/b/c", "/{y}/b/c y=z"),
            ("a/x/d", "/* rest=a/x/d"),
            ("z/b/c/", "/* rest=z/b/c/"),
            ("a//c", "/* rest=a//c"),
        ] {
            let Lookup::Found(found) = router.lookup(None, path.as_bytes(), Method::Get) else {
                panic!("{path}")
            };
            let params = found.params.iter().map(|(n, v)| format!(" {n}={}", str::from_utf8(v).unwrap()));
            assert_eq!(format!("{}{}", found.route, params.collect::<String>()), want, "{path}");
        }
    }
}

#[test]
fn an_exact_host_goes_before_the_longest_wildcard_before_any() {
    let router = router(&[
        (None, &[], "/*"),
        (Some("*.example.org"), &[], "/w"),
        (Some("*.b.Example.org"), &[], "/w"),
        (Some("a.b.example.org."), &[], "/w"),
        (Some("[::1]"), &[], "/w"),
    ]);
    for (host, want) in [
        ("example.org", "0 rest=w"),
        ("x.example.org", "1"),
        ("X.EXAMPLE.ORG:8080", "1"),
        ("x.y.example.org.", "1"),
        ("x.b.example.org", "2"),
        ("A.b.example.org.:80", "3"),
        ("[::1]:80", "4"),
        ("[::1", "0 rest=w"),
        ("xexample.org", "0 rest=w"),
        (".example.org", "1"),
        ("", "0 rest=w"),
    ] {
        assert_eq!(found(&router, host, "w", "GET"), want, "{host}");
    }
    assert_eq!(
        found(&router, "a.b.example.org", "v", "GET"),
        "0 rest=v",
        "a host without the path passes it on"
    );
    assert!(matches!(router.lookup(None, b"w", Method::Get), Lookup::Found(Found { index: 0, .. })));
    let long = "x.".repeat(5000) + "example.org";
    assert_eq!(found(&router, &long, "w", "GET"), "0 rest=w");
}

#[test]
fn a_method_that_is_named_goes_before_any_and_the_others_are_listed() {
    let routes = router(&[
        (None, &[], "/a"),
        (None, &["POST", "PURGE"], "/a"),
        (None, &["PUT", "GET", "MKCOL"], "/b/{x}"),
        (None, &["POST"], "/b/{y}"),
        (None, &[], "/*"),
        (None, &["GET"], "/c"),
        (None, &["HEAD"], "/c"),
        (None, &["HEAD"], "/d"),
        (None, &["GET"], "/d"),
        (None, &["GET"], "/e"),
        (None, &[], "/e"),
    ]);
    for (method, path, want) in [
        ("GET", "a", "0"),
        ("POST", "a", "1"),
        ("PURGE", "a", "1"),
        ("BREW", "a", "0"),
        ("GET", "b/1", "2 x=1"),
        ("HEAD", "b/1", "2 x=1"),
        ("MKCOL", "b/1", "2 x=1"),
        ("POST", "b/1", "3 y=1"),
        ("DELETE", "b/1", "GET, HEAD, POST, PUT, MKCOL"),
        ("BREW", "b/1", "GET, HEAD, POST, PUT, MKCOL"),
        ("GET", "c", "5"),
        ("HEAD", "c", "6"),
        ("POST", "c", "GET, HEAD"),
        ("HEAD", "d", "7"),
        ("GET", "e", "9"),
        ("HEAD", "e", "9"),
        ("POST", "e", "10"),
    ] {
        assert_eq!(found(&routes, "h", path, method), want, "{method} {path}");
    }
    assert_eq!(found(&router(&[]), "h", "", "GET"), "-");
    assert_eq!(found(&router(&[(None, &[], "/")]), "h", "x", "GET"), "-");
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    use RouteError::*;
    let many = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}";
    let (more, deep) = (format!("{many}/*"), "/a".repeat(MAX_SEGMENTS + 1));
    let long = "M".repeat(Method::MAX_LEN + 1);
    for (host, methods, pattern, want) in [
        (None, &[][..], "", BadPattern),
        (None, &[], "a", BadPattern),
        (None, &[], "//", BadPattern),
        (None, &[], "//*", BadPattern),
        (None, &[], "/a//b", BadPattern),
        (None, &[], "/a/../b", BadPattern),
        (None, &[], "/a*", BadPattern),
        (None, &[], "/*/a", BadPattern),
        (None, &[], "/{}", BadPattern),
        (None, &[], "/{a b}", BadPattern),
        (None, &[], "/x{a}", BadPattern),
        (None, &[], "/{a}/{a}", RepeatedName),
        (None, &[], "/{rest}/*", RepeatedName),
        (None, &[], &more, TooManyParams),
        (None, &[], &deep, TooLong),
        (None, &["GE T"], "/", BadMethod),
        (None, &[&long], "/", BadMethod),
        (Some(""), &[], "/", BadHost),
        (Some("a:80"), &[], "/", BadHost),
        (Some("a b"), &[], "/", BadHost),
        (Some("*"), &[], "/", BadHost),
        (Some("a.*.b"), &[], "/", BadHost),
    ] {
        assert_eq!(Router::new().add(host, methods, pattern, ()), Err(want), "{host:?} {pattern}");
    }
    assert_eq!(Router::new().add(None, &[], many, ()), Ok(0));
}

#[test]
fn the_same_host_path_and_method_twice_is_refused() {
    let mut router = Router::new();
    for (host, methods, pattern, good) in [
        (None, &[][..], "/{a}", true),
        (None, &["GET"], "/{b}", true),
        (None, &["POST", "GET"], "/{c}", false),
        (None, &["POST"], "/{c}", true),
        (None, &[], "/{c}", false),
        (None, &[], "/{c}/", true),
        (None, &[], "/{c}/*", true),
        (Some("h"), &[], "/{c}", true),
        (Some("H."), &[], "/{c}", false),
        (None, &["BREW"], "/{c}", true),
        (None, &["BREW"], "/{c}", false),
    ] {
        assert_eq!(router.add(host, methods, pattern, ()).is_ok(), good, "{host:?} {methods:?} {pattern}");
    }
}

#[test]
fn a_route_can_be_changed_when_it_is_found() {
    let mut router = router(&[(None, &[], "/*")]);
    *router.lookup_mut(|| None, b"x", Method::Get, &mut Params::of(b"x")).unwrap() = 7;
    assert_eq!(router.routes(), &[7]);
}

proptest::proptest! {
    #[test]
    fn no_path_makes_it_panic_and_parameters_are_parts_of_the_path(path in "[a-c/]{0,40}", host in "[a-c.:\\[\\]]{0,12}") {
        let router = router(&[
            (None, &[], "/{a}/{b}/{c}/*"),
            (None, &[], "/a/{b}/c"),
            (Some("*.a"), &[], "/a/b/*"),
        ]);
        if let Lookup::Found(found) = router.lookup(Some(host.as_bytes()), path.as_bytes(), Method::Get) {
            for (_, value) in found.params.iter() {
                proptest::prop_assert!(memchr::memmem::find(path.as_bytes(), value).is_some());
            }
        }
    }
}
