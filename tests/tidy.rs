//! The house rules, checked over `src/`: who may import whom, how long things may get, and what is never written.

use std::path::{Path, PathBuf};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Each folder (or file of `src/`) and what it may import from this crate. `crate::x` of any other is a violation.
const LAYERS: &[(&str, &[&str])] = &[
    ("wire", &["wire"]),
    ("reactor", &["reactor"]),
    ("guard", &["guard", "reactor", "wire"]),
    ("observe", &["observe", "reactor", "wire"]),
    ("http", &["http", "guard", "observe", "reactor", "wire"]),
    ("ws", &["ws", "guard", "observe", "reactor", "wire"]),
    ("tcp", &["tcp", "guard", "observe", "reactor", "wire"]),
    // Of `http`, only its meaning: see `violations_of_imports`.
    ("proxy", &["proxy", "http", "guard", "observe", "reactor", "wire"]),
    ("server", &["server", "http", "ws", "tcp", "proxy", "guard", "observe", "reactor", "wire"]),
    ("config", &["config", "server", "http", "ws", "tcp", "proxy", "guard", "observe", "reactor", "wire"]),
    (
        "cli",
        &["cli", "config", "server", "http", "ws", "tcp", "proxy", "guard", "observe", "reactor", "wire"],
    ),
];

/// What is never written, and the only places where it is.
const BANNED: &[(&str, &[&str])] = &[
    ("Rc<", &[]),
    ("Rc::", &[]),
    ("RefCell", &[]),
    ("unsafe ", &[]),
    ("unsafe{", &[]),
    ("Instant::now", &["reactor/net/os"]),
    ("SystemTime::now", &["reactor/net/os"]),
];

/// Words in the head of a `match` that say it is over a state, a fault or an event: then `_ =>` is not allowed.
const CLOSED: &[&str] = &["fault", "event", "phase", "state", "deadline", "hit"];

fn sources(folder: &Path, out: &mut Vec<(String, String)>, root: &Path) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, out, root);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            out.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The lines that count: without the tests at the end.
fn counted(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ") && pair[1].ends_with('{')
    });
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

/// A line without its strings, characters and comment. Strings over several lines are not understood: they are rare here.
fn code(line: &str) -> String {
    let (mut out, mut quoted, mut chars) = (String::new(), false, line.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            _ if quoted => {}
            '\'' => {
                // A character, not a lifetime: '{' and its like would unsettle the count of braces.
                let rest: String = chars.clone().take(3).collect();
                match rest.as_bytes() {
                    [b'\\', _, b'\'', ..] => drop(chars.by_ref().take(3).count()),
                    [_, b'\'', ..] => drop(chars.by_ref().take(2).count()),
                    _ => {}
                }
            }
            '/' if chars.peek() == Some(&'/') => break,
            _ => out.push(c),
        }
    }
    out
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

/// Everything in a file that breaks a rule, each with its place and what to do.
fn violations(name: &str, text: &str) -> Vec<String> {
    if is_test(name) {
        return Vec::new();
    }
    let lines = counted(text);
    let mut found = Vec::new();
    if lines.len() > FILE_LINES {
        found.push(format!("{name}: {} lines; split it: {FILE_LINES} is the most", lines.len()));
    }
    for (n, line) in lines.iter().enumerate() {
        let place = format!("{name}:{}", n + 1);
        let code = code(line);
        violations_of_imports(name, &place, &code, &mut found);
        for (banned, places) in BANNED {
            let begins_a_word = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let there = code.match_indices(banned).any(|(at, _)| begins_a_word(at));
            if there && !places.iter().any(|place| name.starts_with(place)) {
                found.push(format!("{place}: `{}` is not used here", banned.trim()));
            }
        }
        let proved = || {
            let above = lines[..n].iter().rev().take_while(|line| {
                // A chain of calls is one statement: its proof stands above its first line.
                line.trim_start().starts_with("//")
                    || line.trim_start().starts_with('.')
                    || !ends_statement(line)
            });
            line.contains("// proof:")
                || above.take(12).any(|line| line.trim_start().starts_with("// proof:"))
        };
        if (code.contains(".unwrap()") || code.contains(".expect(")) && !proved() {
            found.push(format!("{place}: unwrap or expect without `// proof:` above it"));
        }
    }
    violations_of_length(name, &lines, &mut found);
    violations_of_matches(name, &lines, &mut found);
    found
}

fn ends_statement(line: &str) -> bool {
    let code = code(line);
    let code = code.trim_end();
    code.is_empty() || code.ends_with([';', '{', '}'])
}

fn layer_of(name: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    let top = name.split('/').next()?.trim_end_matches(".rs");
    LAYERS.iter().find(|(layer, _)| *layer == top)
}

fn violations_of_imports(name: &str, place: &str, code: &str, found: &mut Vec<String>) {
    let Some((layer, may)) = layer_of(name) else { return };
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let groups = rest.strip_prefix('{').map(|inner| inner.split(',').map(str::trim).collect::<Vec<_>>());
        for path in groups.unwrap_or_else(|| vec![rest]) {
            let target: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let known = LAYERS.iter().any(|(layer, _)| *layer == target);
            if known && !may.contains(&target.as_str()) {
                found.push(format!("{place}: `{layer}` may not import `{target}`: imports point down"));
            }
            let meaning = ["http::request", "http::reply"].iter().any(|ok| path.starts_with(ok));
            if *layer == "proxy" && target == "http" && !meaning {
                found.push(format!("{place}: `proxy` may import `http::request` and `http::reply`, no more"));
            }
        }
    }
}

/// The indentation of a line, in spaces.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// rustfmt closes a block at the indentation of the line that began it: enough to find where things end.
fn violations_of_length(name: &str, lines: &[&str], found: &mut Vec<String>) {
    for (n, line) in lines.iter().enumerate() {
        let code = code(line);
        let begins =
            code.trim_start().split(' ').take(6).any(|word| word == "fn") && !code.trim_end().ends_with(';');
        // A method without a body ends in a semicolon, be it lines below.
        let signature = lines[n..]
            .iter()
            .map(|line| self::code(line))
            .find(|code| code.trim_end().ends_with(['{', ';', '}']));
        if !begins || signature.is_some_and(|end| end.trim_end().ends_with(';')) {
            continue;
        }
        let close = |later: &&str| {
            indent(later) == indent(line) && later.trim_end() == format!("{}}}", " ".repeat(indent(line)))
        };
        if code.trim_end().ends_with('}') {
            continue;
        }
        if let Some(len) = lines[n..].iter().position(close)
            && len + 1 > FUNCTION_LINES
        {
            found.push(format!(
                "{name}:{}: a function of {} lines; {FUNCTION_LINES} is the most",
                n + 1,
                len + 1
            ));
        }
    }
}

fn violations_of_matches(name: &str, lines: &[&str], found: &mut Vec<String>) {
    let in_fault_file = name.ends_with("fault.rs");
    for (n, line) in lines.iter().enumerate() {
        let head = code(line);
        let Some(at) = head.find("match ") else { continue };
        if !head.trim_end().ends_with('{') {
            continue;
        }
        let matched = head[at + 6..].to_lowercase();
        let words: Vec<&str> = matched.split(|c: char| !c.is_alphanumeric()).collect();
        let closed = words.iter().any(|word| CLOSED.contains(word));
        if !closed && !in_fault_file {
            continue;
        }
        let arms =
            lines[n + 1..].iter().take_while(|arm| indent(arm) > indent(line) || arm.trim().is_empty());
        for (more, arm) in arms.enumerate() {
            if indent(arm) == indent(line) + 4 && code(arm).trim_start().starts_with("_ ") {
                let place = format!("{name}:{}", n + more + 2);
                found.push(format!(
                    "{place}: `_` in a match over `{}`: decide each case",
                    matched.trim_end_matches(" {")
                ));
            }
        }
    }
}

#[test]
fn the_sources_keep_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files, &root);
    assert!(files.len() > 10);
    let found: Vec<String> = files.iter().flat_map(|(name, text)| violations(name, text)).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn each_planted_violation_is_found() {
    let long_file = "\n".repeat(501);
    let long_function = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(70));
    let planted: &[(&str, &str, &str)] = &[
        ("wire/a.rs", "use crate::reactor::Token;", "may not import `reactor`"),
        ("reactor/a.rs", "use crate::wire::limits;", "may not import `wire`"),
        ("http/a.rs", "use crate::{ws, wire};", "may not import `ws`"),
        ("tcp/a.rs", "    crate::http::h1::go();", "may not import `http`"),
        ("proxy/a.rs", "use crate::http::h1::H1;", "no more"),
        ("guard/a.rs", "use crate::server::App;", "may not import `server`"),
        ("http/a.rs", &long_file, "501 lines"),
        ("http/a.rs", &long_function, "a function of 72 lines"),
        ("http/a.rs", "use std::rc::Rc;\nlet a = Rc::new(1);", "`Rc::`"),
        ("http/a.rs", "    cell: RefCell<u8>,", "`RefCell`"),
        ("http/a.rs", "let a = unsafe { b() };", "`unsafe`"),
        ("http/a.rs", "let now = Instant::now();", "`Instant::now`"),
        ("http/a.rs", "let now = SystemTime::now();", "`SystemTime::now`"),
        ("http/a.rs", "let a = b.unwrap();", "without `// proof:`"),
        ("http/a.rs", "// it is there\nlet a = b.expect(\"c\");", "without `// proof:`"),
        ("http/fault.rs", "    match self {\n        A => 1,\n        _ => 2,\n    }", "`_` in a match"),
        ("ws/a.rs", "    match (state, x) {\n        _ if x => 2,\n    }", "`_` in a match"),
        ("ws/a.rs", "    let a = match failure.fault {\n        _ => 2,\n    };", "`_` in a match"),
    ];
    for (name, text, message) in planted {
        let found = violations(name, text);
        assert!(found.iter().any(|found| found.contains(message)), "{name}: {text}\n{found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    let long_tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f() {}\n".repeat(600));
    let allowed: &[(&str, &str)] = &[
        ("reactor/net/os.rs", "let now = Instant::now();"),
        ("reactor/net/os/clock.rs", "let now = SystemTime::now();"),
        ("http/a.rs", "use crate::wire::http::head;\nuse crate::reactor::Cx;"),
        ("proxy/a.rs", "use crate::http::request::Request;"),
        (
            "http/a.rs",
            "// Rc, RefCell and unsafe are not used, nor is Instant::now\nlet a: Arc<u8> = Arc::new(1);",
        ),
        ("http/a.rs", "// proof: it was just put in\nlet a = b.unwrap();"),
        ("http/a.rs", "// proof: it was just put in\nlet a = b\n    .c()\n    .unwrap();"),
        ("http/a.rs", "let a = \"x.unwrap() unsafe { Rc::new\";"),
        ("http/a.rs", "    match n {\n        1 => 1,\n        _ => 2,\n    }"),
        ("http/a.rs", "    match state {\n        A => match n {\n            _ => 1,\n        },\n    }"),
        ("http/a.rs", &long_tests),
        ("http/tests.rs", "let a = b.unwrap();"),
    ];
    for (name, text) in allowed {
        assert_eq!(violations(name, text), [""; 0], "{name}: {text}");
    }
}
