//! WebSocket input as text: each case of `tests/cases/ws/*.txt` is shown to the assembler whole, cut at every byte, and
//! byte by byte; the log of events must be the expected one each time.
//!
//! A case: `== name`, then lines of input, then the log. Words of a line are separated by spaces.
//!
//! ```text
//! options deflate takeover client frame=100 message=150 ratio=10
//! frame text -fin rsv1 "pay\x6coad"*3     a frame; masked unless we are the client
//! deflated binary "payload"               the same with its payload compressed, and RSV1
//! raw c1 80                               bytes
//! > 11 text "Hello"                       an event, and how many bytes were consumed when it came
//! > broken 1002 reserved bit set          the violation: close code and reason
//! ```
#![cfg(feature = "ws")]

use evenkeel::wire::ws::extension::DeflateOffer;
use evenkeel::wire::ws::{
    Agreed, Assembler, Deflater, Desk, Event, Header, Limits, Opcode, Policy, Role, frame,
};

#[derive(Default)]
struct Case {
    name: String,
    limits: Limits,
    client: bool,
    deflate: bool,
    takeover: bool,
    wire: Vec<u8>,
    log: Vec<String>,
}

impl Case {
    fn options(&mut self, words: &str) {
        for word in words.split(' ') {
            match word.split_once('=') {
                None if word == "client" => self.client = true,
                None if word == "deflate" => self.deflate = true,
                None if word == "takeover" => self.takeover = true,
                Some(("frame", n)) => self.limits.frame = n.parse().unwrap(),
                Some(("message", n)) => self.limits.message = n.parse().unwrap(),
                Some(("ratio", n)) => self.limits.ratio = n.parse().unwrap(),
                _ => panic!("{}: option {word}", self.name),
            }
        }
    }

    fn frame(&mut self, words: &str, deflated: bool) {
        let (words, payload) = words.split_once('"').expect("a payload in quotes");
        let mut payload = unquote(payload);
        let opcode = match words.split(' ').next().unwrap() {
            "continuation" => Opcode::Continuation,
            "text" => Opcode::Text,
            "binary" => Opcode::Binary,
            "close" => Opcode::Close,
            "ping" => Opcode::Ping,
            "pong" => Opcode::Pong,
            other => panic!("{}: opcode {other}", self.name),
        };
        if deflated {
            let plain = std::mem::take(&mut payload);
            Deflater::new(6, 15, false).unwrap().deflate(&plain, &mut payload).unwrap();
        }
        let (fin, rsv1) = (!words.contains("-fin"), deflated || words.contains("rsv1"));
        let mask = (!self.client).then_some([0x37, 0xfa, 0x21, 0x3d]);
        let header = Header::new(opcode, fin, rsv1, mask, payload.len() as u64).expect("a legal frame");
        frame::emit_frame(&header, &payload, &mut self.wire);
    }

    fn assembler(&self) -> Assembler {
        let policy =
            Policy { client_takeover: self.takeover, server_takeover: self.takeover, ..Policy::default() };
        let agreed = Agreed::choose(&[DeflateOffer::default()], &policy).filter(|_| self.deflate);
        Assembler::new(if self.client { Role::Client } else { Role::Server }, agreed)
    }

    /// The log when the input comes in `pieces`.
    fn run<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut assembler, mut desk) = (self.assembler(), Desk::new());
        let (mut log, mut kept, mut total) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            kept.extend_from_slice(piece);
            loop {
                let (consumed, line) = match assembler.next(&mut kept, &mut desk, &self.limits) {
                    Ok((consumed, event)) => {
                        (consumed, event.map(|e| format!("{} {}", total + consumed, show(e))))
                    }
                    Err(v) => {
                        log.push(format!("broken {} {v}", v.close_code().get()));
                        return log;
                    }
                };
                total += consumed;
                kept.drain(..consumed);
                let Some(line) = line else { break };
                log.push(line);
            }
        }
        log
    }
}

fn show(event: Event<'_>) -> String {
    match event {
        Event::Text(text) => format!("text {}", quote(text.as_bytes())),
        Event::Binary(bytes) => format!("binary {}", quote(bytes)),
        Event::Ping(bytes) => format!("ping {}", quote(bytes)),
        Event::Pong(bytes) => format!("pong {}", quote(bytes)),
        Event::Close(None) => "close".into(),
        Event::Close(Some((code, reason))) => format!("close {} {}", code.get(), quote(reason.as_bytes())),
    }
}

/// `"..."`, or `"x"*n` for n > 8 times the same byte.
fn quote(bytes: &[u8]) -> String {
    match bytes {
        [first, rest @ ..] if bytes.len() > 8 && rest.iter().all(|b| b == first) => {
            format!("\"{}\"*{}", [*first].escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// What follows the opening quote.
fn unquote(text: &str) -> Vec<u8> {
    let (text, times) = text.rsplit_once('"').expect("a closing quote");
    let times = times.strip_prefix('*').map_or(1, |n| n.parse().expect("a number"));
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next().expect("an escaped byte") {
                b'x' => {
                    let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
                }
                b'n' => b'\n',
                other => other,
            },
            other => other,
        });
    }
    out.repeat(times)
}

fn read(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').expect("a word and more");
        if word == "==" {
            cases.push(Case { name: rest.into(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with ==");
        match word {
            "options" => case.options(rest),
            "frame" => case.frame(rest, false),
            "deflated" => case.frame(rest, true),
            "raw" => case.wire.extend(rest.split(' ').map(|hex| u8::from_str_radix(hex, 16).unwrap())),
            ">" => case.log.push(rest.into()),
            other => panic!("{}: {other}", case.name),
        }
    }
    cases
}

#[test]
fn every_case_has_its_log_whole_and_at_every_split() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/ws");
    let (mut seen, mut wrong) = (0, String::new());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        for case in read(&std::fs::read_to_string(&file).unwrap()) {
            seen += 1;
            let whole = case.run([&case.wire[..]].into_iter());
            if whole != case.log {
                wrong += &format!("{}: {}\n> {}\n", file.display(), case.name, whole.join("\n> "));
                continue;
            }
            let step = 1 + case.wire.len() / 500;
            for cut in (0..case.wire.len()).step_by(step) {
                let (a, b) = case.wire.split_at(cut);
                assert_eq!(case.run([a, b].into_iter()), whole, "{} cut at {cut}", case.name);
            }
            assert_eq!(case.run(case.wire.chunks(1)), whole, "{} byte by byte", case.name);
        }
    }
    assert!(wrong.is_empty(), "not as expected; what came:\n{wrong}");
    assert!(seen > 40, "{seen} cases");
}
