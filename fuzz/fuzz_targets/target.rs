//! Targets and paths: no panic; a normalised path is relative, never climbs, and is its own normal form.
#![no_main]
use evenkeel::wire::http::{Method, target};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for method in [Method::Get, Method::Connect, Method::Options] {
        if let Ok(found) = target::Target::parse(method, data) {
            let _ = target::normalise(found.path(), &mut Vec::new());
        }
    }
    let mut scratch = Vec::new();
    if let Ok(path) = target::normalise(data, &mut scratch) {
        let path = path.to_vec();
        assert!(!path.starts_with(b"/") && !path.contains(&0) && !path.windows(2).any(|w| w == b"//"));
        assert!(path.split(|&b| b == b'/').all(|s| s != b"." && s != b".."));
        if !path.iter().any(|b| b"%\\".contains(b)) {
            let again = [b"/", &path[..]].concat();
            assert_eq!(target::normalise(&again, &mut scratch).unwrap(), path);
        }
    }
});
