//! Any bytes as a frame header, and as the payload of a close frame: no panic, nothing claimed that was not given, a
//! prefix never disagrees with the whole, and what was read emits the same bytes.
#![no_main]

use evenkeel::wire::ws::{Role, close, frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&how, bytes)) = data.split_first() else { return };
    let role = if how & 1 == 0 { Role::Server } else { Role::Client };
    let rsv1 = how & 2 != 0;
    let whole = frame::parse(bytes, role, rsv1);
    if let Ok(Some((header, n))) = whole {
        let mut out = Vec::new();
        frame::emit(&header, &mut out);
        assert_eq!(out, bytes[..n]);
        assert_eq!(header.mask().is_some(), role == Role::Server);
    }
    for cut in 0..bytes.len().min(frame::MAX_HEADER) {
        match frame::parse(&bytes[..cut], role, rsv1) {
            Ok(None) => {}
            decided => assert_eq!(decided, whole),
        }
    }
    if let Ok(Some((code, reason))) = close::parse(bytes) {
        let mut out = Vec::new();
        close::emit(code, reason, &mut out);
        assert!(bytes.starts_with(&out) && out.len() <= frame::MAX_CONTROL);
    }
});
