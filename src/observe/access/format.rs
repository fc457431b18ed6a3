//! The forms of a line, and how what clients sent is escaped in each.

use super::Entry;
use crate::wire::http::date;
use std::io::Write as _;
use std::net::IpAddr;

/// Of a target no more bytes are logged.
const TARGET: usize = 8 << 10;
/// Of any other text no more bytes are logged.
const TEXT: usize = 1 << 10;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The second that is being logged, formatted.
#[derive(Debug)]
pub(super) struct Stamp {
    second: u64,
    /// `06/Nov/1994:08:49:37 +0000`
    common: [u8; 26],
    /// `1994-11-06T08:49:37`
    iso: [u8; 19],
}

impl Default for Stamp {
    fn default() -> Stamp {
        let mut stamp = Stamp { second: 0, common: [0; 26], iso: [0; 19] };
        stamp.write(0);
        stamp
    }
}

impl Stamp {
    fn tick(&mut self, unix_ms: u64) {
        let second = unix_ms / 1000;
        if second != self.second {
            self.write(second);
        }
    }

    fn write(&mut self, second: u64) {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        // `Sun, 06 Nov 1994 08:49:37 GMT`: both forms are made of its parts.
        let http = date::format(second);
        let (day, month, year, time) = (&http[5..7], &http[8..11], &http[12..16], &http[17..25]);
        let number = 1 + MONTHS.chunks(3).position(|name| name == month).unwrap_or(0);
        self.second = second;
        self.common = *b"06/Nov/1994:08:49:37 +0000";
        self.common[..2].copy_from_slice(day);
        self.common[3..6].copy_from_slice(month);
        self.common[7..11].copy_from_slice(year);
        self.common[12..20].copy_from_slice(time);
        self.iso = *b"1994-11-06T08:49:37";
        self.iso[..4].copy_from_slice(year);
        self.iso[5] = b'0' + (number / 10) as u8;
        self.iso[6] = b'0' + (number % 10) as u8;
        self.iso[8..10].copy_from_slice(day);
        self.iso[11..].copy_from_slice(time);
    }
}

/// Stands for the status where no answer was sent, as with nginx: readers of these forms drop a line whose status is none.
const UNANSWERED: u64 = 499;

/// `192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] "GET / HTTP/1.1" 200 1234`
pub(super) fn common(out: &mut Vec<u8>, stamp: &mut Stamp, entry: &Entry<'_>) {
    stamp.tick(entry.unix_ms);
    match entry.client_ip.or(entry.peer.ip()) {
        Some(ip) => address(out, ip),
        None => out.extend_from_slice(b"unix:"),
    }
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(&stamp.common);
    out.extend_from_slice(b"] \"");
    match entry.method {
        Some(method) => {
            escape_hex(out, method.as_bytes(), TEXT);
            out.push(b' ');
            escape_hex(out, entry.target, TARGET);
            if !entry.protocol.is_empty() {
                out.push(b' ');
                escape_hex(out, entry.protocol.as_bytes(), TEXT);
            }
        }
        None if entry.target.is_empty() => out.push(b'-'),
        None => escape_hex(out, entry.target, TARGET),
    }
    out.extend_from_slice(b"\" ");
    three(out, if entry.status == 0 { UNANSWERED } else { entry.status.into() });
    out.push(b' ');
    decimal(out, entry.bytes_out);
}

/// The common form, then `"referer" "user agent"`.
pub(super) fn combined(out: &mut Vec<u8>, stamp: &mut Stamp, entry: &Entry<'_>) {
    common(out, stamp, entry);
    for field in [entry.referer, entry.user_agent] {
        out.extend_from_slice(b" \"");
        match field {
            Some(value) if !value.is_empty() => escape_hex(out, value, TEXT),
            Some(_) | None => out.push(b'-'),
        }
        out.push(b'"');
    }
}

/// One object, without line ends.
pub(super) fn json(out: &mut Vec<u8>, stamp: &mut Stamp, entry: &Entry<'_>) {
    stamp.tick(entry.unix_ms);
    out.extend_from_slice(b"{\"ts\":\"");
    out.extend_from_slice(&stamp.iso);
    out.push(b'.');
    three(out, entry.unix_ms % 1000);
    out.extend_from_slice(b"Z\",\"client_ip\":");
    address_or_null(out, entry.client_ip.or(entry.peer.ip()));
    out.extend_from_slice(b",\"peer_ip\":");
    address_or_null(out, entry.peer.ip());
    text(out, b",\"method\":", entry.method.map(str::as_bytes), TEXT);
    text(out, b",\"host\":", entry.host, TEXT);
    text(out, b",\"path\":", some(entry.target), TARGET);
    text(out, b",\"proto\":", some(entry.protocol.as_bytes()), TEXT);
    out.extend_from_slice(b",\"status\":");
    decimal(out, entry.status.into());
    out.extend_from_slice(b",\"bytes_in\":");
    decimal(out, entry.bytes_in);
    out.extend_from_slice(b",\"bytes_out\":");
    decimal(out, entry.bytes_out);
    out.extend_from_slice(b",\"dur_s\":");
    seconds(out, entry.duration_ms);
    text(out, b",\"request_id\":", entry.request_id.map(str::as_bytes), TEXT);
    text(out, b",\"close_reason\":", entry.close_reason.map(|reason| reason.label().as_bytes()), TEXT);
    text(out, b",\"route\":", entry.route.map(str::as_bytes), TEXT);
    out.extend_from_slice(if entry.tls { b",\"tls\":true" } else { b",\"tls\":false" });
    text(out, b",\"upstream\":", entry.upstream.map(|up| up.name.as_bytes()), TEXT);
    out.extend_from_slice(b",\"upstream_dur_s\":");
    match entry.upstream {
        Some(upstream) => seconds(out, upstream.duration_ms),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"retries\":");
    decimal(out, entry.upstream.map_or(0, |up| up.retries.into()));
    out.push(b'}');
}

fn some(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            decimal(out, a.into());
            for part in [b, c, d] {
                out.push(b'.');
                decimal(out, part.into());
            }
        }
        // Writing to memory cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

fn address_or_null(out: &mut Vec<u8>, ip: Option<IpAddr>) {
    let Some(ip) = ip else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    address(out, ip);
    out.push(b'"');
}

fn text(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>, most: usize) {
    out.extend_from_slice(key);
    let Some(value) = value else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    escape_json(out, value, most);
    out.push(b'"');
}

fn seconds(out: &mut Vec<u8>, ms: u64) {
    decimal(out, ms / 1000);
    out.push(b'.');
    three(out, ms % 1000);
}

fn three(out: &mut Vec<u8>, n: u64) {
    for unit in [100, 10, 1] {
        out.push(b'0' + (n / unit % 10) as u8);
    }
}

fn decimal(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break out.extend_from_slice(&digits[at..]);
        }
    }
}

/// May stand in a quoted text of any form as it is: printable ASCII without quote and backslash.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut b = 0x20;
    while b < 0x7f {
        plain[b] = b != b'"' as usize && b != b'\\' as usize;
        b += 1;
    }
    plain
};

/// The plain bytes at the start are written; the rest is returned.
fn plain_start<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let end = bytes.iter().position(|b| !PLAIN[*b as usize]).unwrap_or(bytes.len());
    out.extend_from_slice(&bytes[..end]);
    &bytes[end..]
}

/// As nginx does it: `\xHH` for whatever is not plain.
fn escape_hex(out: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let mut rest = plain_start(out, &bytes[..bytes.len().min(most)]);
    while let [b, after @ ..] = rest {
        out.extend_from_slice(&[b'\\', b'x', HEX[(b >> 4) as usize], HEX[(b & 15) as usize]]);
        rest = plain_start(out, after);
    }
}

/// As RFC 8259, section 7 wants it. UTF-8 stays but for control characters; a byte that is not UTF-8 is written as the
/// character of its number.
fn escape_json(out: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let rest = plain_start(out, &bytes[..bytes.len().min(most)]);
    for chunk in rest.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                c if c.is_control() => escape_number(out, c as u8),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for b in chunk.invalid() {
            escape_number(out, *b);
        }
    }
}

/// Control characters are all below U+00A0, so a byte is enough.
fn escape_number(out: &mut Vec<u8>, n: u8) {
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[(n >> 4) as usize], HEX[(n & 15) as usize]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_whole() {
        let mut out = Vec::new();
        for n in [0, 9, 10, 12_345, u64::MAX] {
            decimal(&mut out, n);
            out.push(b' ');
        }
        assert_eq!(out, b"0 9 10 12345 18446744073709551615 ");
    }

    #[test]
    fn both_dates_are_right_in_every_month() {
        let mut stamp = Stamp::default();
        for (second, common, iso) in [
            (0, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000", "2000-02-29T00:00:00"),
            (1_735_689_599, "31/Dec/2024:23:59:59 +0000", "2024-12-31T23:59:59"),
            (784_111_777, "06/Nov/1994:08:49:37 +0000", "1994-11-06T08:49:37"),
        ] {
            stamp.tick(second * 1000 + 999);
            assert_eq!(stamp.common, *common.as_bytes());
            assert_eq!(stamp.iso, *iso.as_bytes());
        }
        stamp.tick(u64::MAX);
    }

    #[test]
    fn json_keeps_utf8_and_escapes_its_control_characters() {
        let mut out = Vec::new();
        escape_json(&mut out, "ä \u{9b}31m \u{7f} \u{1f600}".as_bytes(), 100);
        out.push(b'|');
        escape_json(&mut out, b"\xff\xc3", 100);
        assert_eq!(String::from_utf8(out).unwrap(), "ä \\u009B31m \\u007F \u{1f600}|\\u00FF\\u00C3");
    }

    proptest::proptest! {
        #[test]
        fn an_escaped_text_can_be_read_back(bytes in proptest::collection::vec(0u8.., 0..60)) {
            let mut out = Vec::new();
            escape_hex(&mut out, &bytes, 1000);
            let (mut read, mut rest) = (Vec::new(), &out[..]);
            while let [first, after @ ..] = rest {
                assert!(PLAIN[*first as usize] || *first == b'\\');
                rest = match first {
                    b'\\' => {
                        let digits = std::str::from_utf8(&after[1..3]).unwrap();
                        read.push(u8::from_str_radix(digits, 16).unwrap());
                        &after[3..]
                    }
                    plain => {
                        read.push(*plain);
                        after
                    }
                };
            }
            assert_eq!(read, bytes);
        }
    }
}
