//! Parser cases as text: `tests/cases/<parser>/*.txt`, each the input and then the events it must give.
//!
//! ```text
//! # A comment. A case begins with its name after `== `.
//! == a plain request
//! > GET / HTTP/1.1\r\n
//! > Host: a\r\n\r\n
//! method GET
//! ```
//!
//! Lines with `> ` are joined to the input; `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` are escapes. All other lines are the
//! expected events. Head and chunked cases run whole and split at every byte, and byte by byte; all must agree.

use std::fmt::Write as _;
use std::path::Path;

use evenkeel::wire::http::{Method, Parsed, Scan, chunked::Decoder, head, range, target};
use evenkeel::wire::limits::Limits;

struct Case {
    name: String,
    input: Vec<u8>,
    events: Vec<String>,
}

fn unescape(text: &str, out: &mut Vec<u8>) {
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        match bytes.next() {
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'0') => out.push(0),
            Some(b'\\') => out.push(b'\\'),
            Some(b'x') => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => panic!("unknown escape {other:?} in {text}"),
        }
    }
}

fn read(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            if let Some(name) = line.strip_prefix("== ") {
                let name = format!("{}: {name}", file.file_name().unwrap().display());
                cases.push(Case { name, input: Vec::new(), events: Vec::new() });
            } else if let Some(text) = line.strip_prefix("> ") {
                unescape(text, &mut cases.last_mut().unwrap().input);
            } else if !line.is_empty() && !line.starts_with('#') {
                cases.last_mut().unwrap().events.push(line.to_string());
            }
        }
    }
    assert!(!cases.is_empty());
    cases
}

/// Runs each case whole, at every split, and byte by byte.
fn run_split(folder: &str, run: impl Fn(&[&[u8]]) -> String) {
    for case in read(folder) {
        let want = case.events.join("\n");
        assert_eq!(run(&[&case.input]).trim_end(), want, "{}", case.name);
        for at in 0..=case.input.len() {
            let (a, b) = case.input.split_at(at);
            assert_eq!(run(&[a, b]).trim_end(), want, "{}, split at {at}", case.name);
        }
        let single: Vec<&[u8]> = case.input.chunks(1).collect();
        assert_eq!(run(&single).trim_end(), want, "{}, byte by byte", case.name);
    }
}

fn run_head(pieces: &[&[u8]]) -> String {
    let (limits, mut scan, mut have, mut log) =
        (Limits::default(), Scan::default(), Vec::new(), String::new());
    for piece in pieces {
        have.extend_from_slice(piece);
        match head::parse(&have, &mut scan, &limits) {
            Ok(Parsed::Partial) => {}
            Err(reject) => return format!("reject {} {reject:?}", reject.status()),
            Ok(Parsed::Complete(head, len)) => {
                let text = |b: &[u8]| b.escape_ascii().to_string();
                writeln!(log, "method {}", head.method.as_str()).unwrap();
                writeln!(log, "target {}", text(head.raw_target)).unwrap();
                writeln!(log, "version {:?}", head.version).unwrap();
                for (name, value) in head.fields.iter() {
                    writeln!(log, "field {}={}", text(name), text(value)).unwrap();
                }
                writeln!(log, "framing {:?}", head.framing).unwrap();
                writeln!(log, "keep_alive {}", head.keep_alive).unwrap();
                if let Some(upgrade) = head.upgrade() {
                    writeln!(log, "upgrade {}", text(upgrade)).unwrap();
                }
                if head.expect_continue {
                    writeln!(log, "expect_continue").unwrap();
                }
                writeln!(log, "end {len}").unwrap();
                return log;
            }
        }
    }
    "partial".into()
}

fn run_chunked(pieces: &[&[u8]]) -> String {
    let (limits, mut decoder, mut data, mut total) = (Limits::default(), Decoder::new(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() && !decoder.is_done() {
            match decoder.advance(rest, &limits) {
                Err(reject) => {
                    return format!("data {}\nreject {} {reject:?}", data.escape_ascii(), reject.status());
                }
                Ok(step) => {
                    data.extend_from_slice(step.data);
                    total += step.consumed;
                    rest = &rest[step.consumed..];
                }
            }
        }
    }
    let end = if decoder.is_done() { format!("end {total}") } else { "partial".into() };
    format!("data {}\n{end}", data.escape_ascii())
}

fn run_target(input: &[u8]) -> String {
    let Some(space) = input.iter().position(|&b| b == b' ') else { panic!("no method in {input:?}") };
    let method = Method::new(std::str::from_utf8(&input[..space]).unwrap());
    let target = match target::Target::parse(method, &input[space + 1..]) {
        Ok(target) => target,
        Err(reject) => return format!("reject {} {reject:?}", reject.status()),
    };
    let mut log = match target {
        target::Target::Origin { .. } => "origin".to_string(),
        target::Target::Absolute { scheme, authority, .. } => {
            format!("absolute {} {}", scheme.escape_ascii(), authority.escape_ascii())
        }
        target::Target::Authority(authority) => return format!("authority {}", authority.escape_ascii()),
        target::Target::Asterisk => return "asterisk".into(),
    };
    if let Some(query) = target.query() {
        write!(log, "\nquery {}", query.escape_ascii()).unwrap();
    }
    match target::normalise(target.path(), &mut Vec::new()) {
        Ok(path) => write!(log, "\npath [{}]", path.escape_ascii()).unwrap(),
        Err(reject) => write!(log, "\nreject {} {reject:?}", reject.status()).unwrap(),
    }
    log
}

fn run_range(input: &[u8]) -> String {
    let space = input.iter().position(|&b| b == b' ').unwrap();
    let length = std::str::from_utf8(&input[..space]).unwrap().parse().unwrap();
    match range::parse(&input[space + 1..], length) {
        range::Ranges::Ignore => "ignore".into(),
        range::Ranges::Unsatisfiable => "unsatisfiable".into(),
        range::Ranges::Satisfiable(list) => {
            list.iter().map(|r| format!("{}..{}", r.start, r.end)).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn heads_give_their_events_at_every_split() {
    run_split("head", run_head);
}

#[test]
fn chunked_bodies_give_their_events_at_every_split() {
    run_split("chunked", run_chunked);
}

#[test]
fn targets_give_their_events() {
    for case in read("target") {
        assert_eq!(run_target(&case.input), case.events.join("\n"), "{}", case.name);
    }
}

#[test]
fn ranges_give_their_events() {
    for case in read("range") {
        assert_eq!(run_range(&case.input), case.events.join("\n"), "{}", case.name);
    }
}
