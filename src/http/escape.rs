//! Text that is put into a URI, a page or JSON: what could mean something there is escaped.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What stays as it is in one segment of a path: `unreserved` and the `sub-delims` that mean nothing (RFC 3986, 3.3). Not `:`, so
/// that no segment can be taken for a scheme.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b'@');

/// The same, and slashes.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// Appends one segment of a path, percent-encoded; a slash in it, too.
pub(super) fn segment(out: &mut Vec<u8>, decoded: &[u8]) {
    percent_encode(decoded, SEGMENT).for_each(|piece| out.extend_from_slice(piece.as_bytes()));
}

/// Appends a path, percent-encoded but for its slashes.
pub(super) fn path(out: &mut Vec<u8>, decoded: &[u8]) {
    percent_encode(decoded, PATH).for_each(|piece| out.extend_from_slice(piece.as_bytes()));
}

/// Appends text for a page, also for an attribute in quotes. What is not UTF-8 is shown as U+FFFD.
pub(super) fn html(out: &mut Vec<u8>, text: &[u8]) {
    for c in String::from_utf8_lossy(text).bytes() {
        match c {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            0..0x20 | 0x7f => out.extend_from_slice("\u{fffd}".as_bytes()),
            _ => out.push(c),
        }
    }
}

/// Appends a JSON string with its quotes (RFC 8259, 7). What is not UTF-8 becomes U+FFFD.
pub(super) fn json(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for c in String::from_utf8_lossy(text).bytes() {
        match c {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', c]),
            0..0x20 | 0x7f => {
                out.extend_from_slice(b"\\u00");
                out.extend([c >> 4, c & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
            }
            _ => out.push(c),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(write: fn(&mut Vec<u8>, &[u8]), text: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_means_something_is_escaped() {
        assert_eq!(made(segment, b"a/b:c?d#e%f\r\n\xff.~"), "a%2Fb%3Ac%3Fd%23e%25f%0D%0A%FF.~");
        assert_eq!(made(path, b"a/b c\\\""), "a/b%20c%5C%22");
        assert_eq!(made(html, b"<a href=\"'&\xff\n>"), "&lt;a href=&quot;&#39;&amp;\u{fffd}\u{fffd}&gt;");
        assert_eq!(made(json, b"a\"\\\n\x7f\xff"), "\"a\\\"\\\\\\u000a\\u007f\u{fffd}\"");
    }
}
