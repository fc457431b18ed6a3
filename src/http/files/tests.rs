use super::super::Work;
use super::super::harness::{Answered, Harness};
use super::*;
use crate::reactor::OpenError;
use std::collections::HashMap;
use std::io::Read;

const MODIFIED: i64 = 784_111_777;

fn harness(files: &[(&str, &[u8])]) -> Harness {
    let mut harness = Harness::default();
    for (path, bytes) in files {
        harness.world.files.file(path, *bytes, MODIFIED);
    }
    harness
}

fn files(set: impl FnOnce(&mut FilesOptions)) -> Files {
    let mut options = FilesOptions::new("/");
    set(&mut options);
    Files::new(options)
}

fn get(harness: &mut Harness, files: &mut Files, target: &str) -> Answered {
    ask(harness, files, target, "X: y")
}

fn ask(harness: &mut Harness, files: &mut Files, target: &str, fields: &str) -> Answered {
    harness.ask(files, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
}

fn digits(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'0' + (i % 10) as u8).collect()
}

/// Bytes that no compressor makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}

struct Table {
    harness: Harness,
    files: Files,
    content: HashMap<&'static str, Vec<u8>>,
    names: Vec<(&'static str, String)>,
}

impl Table {
    fn new() -> Table {
        let content = HashMap::from([
            ("a.txt", digits(10)),
            ("empty.txt", vec![]),
            ("docs/index.html", b"<p>docs".to_vec()),
            ("big.bin", digits(100_000)),
            ("lib.js", b"let x = 1;\n".repeat(300)),
            ("lib.js.br", b"BROTLI".to_vec()),
            ("lib.js.zst", b"ZSTANDARD".to_vec()),
            ("lib.js.gz", b"GZIP".to_vec()),
            ("page.html", b"<p>hello\n".repeat(300)),
            ("tiny.css", b"a{}".to_vec()),
            ("photo.png", vec![7; 3000]),
            ("drawing.svgz", vec![7; 2000]),
            ("noise.txt", noise(2000)),
            ("big.txt", digits(100_000)),
            ("huge.txt", digits(300_000)),
        ]);
        let mut table =
            Table { harness: Harness::default(), files: files(|_| {}), content, names: Vec::new() };
        for (path, bytes) in &table.content {
            table.harness.world.files.file(path, bytes.clone(), MODIFIED);
        }
        table.harness.world.files.file("future.txt", "later", 9_000_000_000);
        for (name, target, fields) in [
            ("{a}", "/a.txt", "X: y"),
            ("{br}", "/lib.js", "Accept-Encoding: br"),
            ("{zst}", "/lib.js", "Accept-Encoding: zstd"),
            ("{gz}", "/lib.js", "Accept-Encoding: gzip"),
            ("{page}", "/page.html", "X: y"),
            ("{made}", "/page.html", "Accept-Encoding: gzip"),
        ] {
            let answer = ask(&mut table.harness, &mut table.files, target, fields);
            table.names.push((name, answer.field("etag").unwrap().to_string()));
        }
        for (i, (name, tag)) in table.names.iter().enumerate() {
            assert!(table.names[..i].iter().all(|(_, other)| other != tag), "{name} is like another");
        }
        table
    }

    fn row(&mut self, row: &str) {
        let row = self.names.iter().fold(row.to_string(), |row, (name, tag)| row.replace(name, tag));
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let [request, fields, status, wanted, _section] = columns[..] else { panic!("five columns: {row}") };
        let version = if request.ends_with("HTTP/1.0") { "" } else { " HTTP/1.1" };
        let lines: String = words(fields).map(|field| format!("{field}\r\n")).collect();
        let request = format!("{request}{version}\r\nHost: a\r\n{lines}\r\n");
        let answer = self.harness.ask(&mut self.files, &request);
        assert_eq!(answer.status.to_string(), status, "{row}\n{answer:?}");
        words(wanted).for_each(|want| self.check(&answer, want, &row));
    }

    fn check(&self, answer: &Answered, want: &str, row: &str) {
        if let Some(name) = want.strip_prefix('!') {
            return assert_eq!(answer.field(name), None, "{row}");
        }
        if let Some((what, file)) = want.split_once(" = ") {
            let mut body = answer.body.clone();
            if what == "gunzip" {
                body.clear();
                flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut body).expect(row);
            }
            return assert!(body == self.content[file], "{row}");
        }
        let (name, value) = want.split_once(':').expect(row);
        let value = value.trim();
        match name {
            "body" => assert_eq!(answer.text(), value, "{row}"),
            "parts" => assert_eq!(parts(answer).join(", "), value, "{row}"),
            _ => match name.strip_prefix('~') {
                Some(name) => assert!(answer.field(name).is_some_and(|v| v.contains(value)), "{row}"),
                None => assert_eq!(answer.field(name), Some(value), "{row}"),
            },
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(";;").map(str::trim).filter(|word| !word.is_empty())
}

/// The parts of a multipart body, as `range text`.
fn parts(answer: &Answered) -> Vec<String> {
    let (_, boundary) = answer.field("content-type").unwrap().split_once("boundary=").unwrap();
    let text = answer.text();
    let body = text.strip_suffix("--\r\n").expect("the end");
    let mut pieces: Vec<&str> = body.split(&format!("\r\n--{boundary}")).collect();
    assert_eq!((pieces.remove(0), pieces.pop()), ("", Some("")));
    let part = |piece: &&str| {
        let (head, body) = piece.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nContent-Type: "), "{head}");
        let range = head.split_once("Content-Range: bytes ").unwrap().1;
        format!("{range} {body}")
    };
    pieces.iter().map(part).collect()
}

#[test]
fn every_row_of_the_table_is_answered_as_the_rfc_wants() {
    let rows = include_str!("../../../tests/cases/files/table.txt").lines();
    let rows: Vec<&str> =
        rows.filter(|row| !row.is_empty() && !row.starts_with('#') && !row.starts_with("==")).collect();
    assert!(rows.len() >= 60);
    // In order on one handler, so that the caches are warm, and each on a new one.
    let mut table = Table::new();
    for row in &rows {
        table.row(row);
    }
    for row in rows {
        let mut fresh = Table::new();
        fresh.harness.wait(5000);
        fresh.row(row);
    }
}

#[test]
fn a_hit_asks_the_disk_nothing_and_goes_out_as_one_run_of_bytes() {
    let (mut harness, mut files) = (harness(&[("a.bin", &[7; 1024])]), files(|_| {}));
    get(&mut harness, &mut files, "/a.bin");
    let before = harness.world.calls();
    for _ in 0..100 {
        let answer = get(&mut harness, &mut files, "/a.bin");
        assert!(answer.plain && answer.body == [7; 1024]);
    }
    let after = harness.world.calls();
    assert_eq!((after.opens, after.stats, after.file_reads), (before.opens, before.stats, before.file_reads));
    harness.wait(1000);
    for _ in 0..100 {
        get(&mut harness, &mut files, "/a.bin");
    }
    let later = harness.world.calls();
    assert_eq!(
        (later.opens, later.stats - after.stats, later.file_reads),
        (after.opens, 1, after.file_reads)
    );
}

#[test]
fn a_change_on_the_disk_is_noticed_within_a_second() {
    let (mut harness, mut files) = (harness(&[("a.bin", b"old"), ("b.bin", &digits(70_000))]), files(|_| {}));
    assert_eq!(get(&mut harness, &mut files, "/a.bin").text(), "old");
    assert_eq!(get(&mut harness, &mut files, "/b.bin").body.len(), 70_000);
    // In place, and by another file of the same name, length and time.
    harness.world.files.rewrite("a.bin", "new", MODIFIED + 1);
    harness.world.files.file("b.bin", vec![b'x'; 70_000], MODIFIED);
    assert_eq!(get(&mut harness, &mut files, "/a.bin").text(), "old");
    harness.wait(1000);
    assert_eq!(get(&mut harness, &mut files, "/a.bin").text(), "new");
    assert_eq!(get(&mut harness, &mut files, "/b.bin").body, vec![b'x'; 70_000]);
    harness.world.files.remove("a.bin");
    harness.wait(1000);
    assert_eq!(get(&mut harness, &mut files, "/a.bin").status, 404);
    harness.world.files.file("a.bin", "back", MODIFIED);
    assert_eq!(get(&mut harness, &mut files, "/a.bin").text(), "back", "absence is not remembered");
}

#[test]
fn a_file_that_changed_a_moment_ago_is_read_again_though_its_time_is_the_same() {
    let mut harness = Harness::default();
    let now = harness.clock.unix_seconds() as i64;
    harness.world.files.file("a.txt", "old", now);
    let mut files = files(|_| {});
    assert_eq!(get(&mut harness, &mut files, "/a.txt").text(), "old");
    harness.world.files.rewrite("a.txt", "new", now);
    harness.wait(1000);
    assert_eq!(get(&mut harness, &mut files, "/a.txt").text(), "new");
}

#[test]
fn a_file_whose_time_and_length_stay_as_they_were_when_it_is_rewritten_is_read_again() {
    let mut harness = harness(&[("a.js", &[b'a'; 2000])]);
    let mut files = files(|_| {});
    let mut sent = Vec::new();
    // The second time it changes twice within what the disk tells apart.
    let now = harness.clock.unix_seconds() as i64 + 1;
    for (what, changed) in [(b'b', MODIFIED + 9), (b'c', now), (b'd', now)] {
        for coding in ["identity", "gzip"] {
            let answer = ask(&mut harness, &mut files, "/a.js", &format!("Accept-Encoding: {coding}"));
            sent.push(answer.body);
        }
        harness.world.files.rewrite("a.js", [what; 2000], MODIFIED);
        harness.world.files.change("a.js", changed);
        harness.wait(1000);
    }
    sent.push(get(&mut harness, &mut files, "/a.js").body);
    let plain: Vec<u8> = sent.iter().step_by(2).map(|body| body[0]).collect();
    assert_eq!(plain, b"abcd");
    assert!(sent[1] != sent[3] && sent[3] != sent[5]);
}

#[test]
fn a_file_whose_time_lies_far_ahead_is_read_and_compressed_once() {
    let mut harness = Harness::default();
    let tomorrow = harness.clock.unix_seconds() as i64 + 86_400;
    harness.world.files.file("a.js", "let x = 1;\n".repeat(300), tomorrow);
    let mut files = files(|_| {});
    let mut reads = Vec::new();
    for _ in 0..3 {
        let answer = ask(&mut harness, &mut files, "/a.js", "Accept-Encoding: gzip");
        assert_eq!(answer.field("content-encoding"), Some("gzip"));
        reads.push((files.shelf.size(), harness.world.calls().file_reads));
        harness.wait(1000);
    }
    assert!(reads[1..].iter().all(|later| *later == reads[0]), "{reads:?}");
    assert_eq!(reads[0].0.0, 3, "the file, what was made of it, and a sibling that is not there");
}

#[test]
fn a_file_from_before_1970_is_read_and_compressed_once() {
    let mut harness = Harness::default();
    harness.world.files.file("a.js", "let x = 1;\n".repeat(300), -86_400);
    let mut files = files(|_| {});
    let mut reads = Vec::new();
    for _ in 0..3 {
        let answer = ask(&mut harness, &mut files, "/a.js", "Accept-Encoding: gzip");
        assert_eq!(answer.field("content-encoding"), Some("gzip"));
        reads.push((files.shelf.size(), harness.world.calls().file_reads));
        harness.wait(1000);
    }
    assert!(reads[1..].iter().all(|later| *later == reads[0]), "{reads:?}");
}

#[test]
fn a_tag_is_the_same_wherever_the_same_file_lies_and_another_for_other_bytes_and_codings() {
    let tags = |bytes: &[u8], modified: i64, others: usize| {
        let mut harness = Harness::default();
        // Inodes are given out in order.
        for other in 0..others {
            harness.world.files.file(&format!("other{other}"), "x", modified);
        }
        for name in ["a.js", "a.js.br", "a.js.zst", "b.js", "b.js.gz", "c.js"] {
            harness.world.files.file(name, bytes, modified);
        }
        let mut files = files(|_| {});
        let asked =
            [("/a.js", "x"), ("/a.js", "br"), ("/a.js", "zstd"), ("/b.js", "gzip"), ("/c.js", "gzip")];
        asked.map(|(target, coding)| {
            let answer = ask(&mut harness, &mut files, target, &format!("Accept-Encoding: {coding}"));
            assert_eq!(answer.field("content-encoding").unwrap_or("x"), coding);
            answer.field("etag").unwrap().to_string()
        })
    };
    for len in [2000, 100_000] {
        let first = tags(&digits(len), MODIFIED, 0);
        assert_eq!(first, tags(&digits(len), MODIFIED, 5));
        let mut all =
            [first, tags(&digits(len), MODIFIED + 1, 0), tags(&digits(len + 1), MODIFIED, 0)].concat();
        if len == 2000 {
            // Builds that can be repeated give one time to all that they make.
            all.extend(tags(&vec![b'x'; len], MODIFIED, 0));
        }
        let len = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), len);
    }
}

#[test]
fn siblings_and_what_was_compressed_change_with_the_disk() {
    let (mut harness, mut files) = (harness(&[("a.js", &digits(2000))]), files(|_| {}));
    let mut coded = |harness: &mut Harness| {
        let answer = ask(harness, &mut files, "/a.js", "Accept-Encoding: br, gzip");
        (answer.field("content-encoding").map(str::to_string), answer.body)
    };
    let first = coded(&mut harness);
    assert_eq!(first.0.as_deref(), Some("gzip"));
    assert!(first == coded(&mut harness));
    harness.world.files.rewrite("a.js", digits(3000), MODIFIED + 1);
    harness.wait(1000);
    assert!(first.1 != coded(&mut harness).1, "compressed anew");
    harness.world.files.file("a.js.br", "B", MODIFIED);
    harness.wait(1000);
    assert_eq!(coded(&mut harness), (Some("br".into()), b"B".to_vec()));
    harness.world.files.remove("a.js.br");
    harness.wait(1000);
    assert_eq!(coded(&mut harness).0.as_deref(), Some("gzip"));
}

#[test]
fn nothing_is_compressed_when_that_is_switched_off_but_siblings_are_served() {
    let mut harness = harness(&[("a.js", &digits(2000)), ("b.js", &digits(2000)), ("b.js.gz", b"G")]);
    let mut files = files(|options| options.compress = false);
    let a = ask(&mut harness, &mut files, "/a.js", "Accept-Encoding: gzip");
    assert_eq!((a.field("content-encoding"), a.body.len()), (None, 2000));
    assert_eq!(ask(&mut harness, &mut files, "/b.js", "Accept-Encoding: gzip").text(), "G");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut harness = Harness::default();
    let mut files = files(|options| {
        (options.cache_bytes, options.cache_entries, options.open_files) = (100_000, 50, 8);
        options.small_max = 10_000;
    });
    for i in 0..300usize {
        let len = if i % 3 == 0 { 20_000 } else { i * 20 };
        harness.world.files.file(&format!("{i}.bin"), digits(len), MODIFIED);
    }
    for i in (0..300usize).chain((0..300).rev()) {
        let answer = get(&mut harness, &mut files, &format!("/{i}.bin"));
        assert_eq!(answer.body.len(), if i % 3 == 0 { 20_000 } else { i * 20 });
        let (bytes, entries, open) = {
            let (entries, bytes, open) = files.shelf.size();
            (bytes, entries, open)
        };
        assert!(bytes <= 100_000 && entries <= 50 && open <= 8 && harness.world.files.handles() <= 8);
    }
    assert!(harness.world.files.handles() > 0);
}

#[test]
fn of_small_files_no_more_are_kept_than_their_bytes_fit_into() {
    let mut harness = Harness::default();
    let mut files = files(|options| options.cache_bytes = 30_000);
    for i in 0..20 {
        harness.world.files.file(&format!("{i}.bin"), digits(5000), MODIFIED);
        assert_eq!(get(&mut harness, &mut files, &format!("/{i}.bin")).body.len(), 5000);
    }
    assert_eq!(files.shelf.size().0, 5);
}

#[test]
fn a_large_file_is_opened_once_for_all_who_ask() {
    let (mut harness, mut files) = (harness(&[("big.bin", &digits(100_000))]), files(|_| {}));
    for _ in 0..20 {
        assert_eq!(get(&mut harness, &mut files, "/big.bin").body.len(), 100_000);
    }
    assert_eq!((harness.world.calls().opens, harness.world.files.handles()), (1, 1));
}

#[test]
fn what_nobody_asks_for_is_not_held_open() {
    let (mut harness, mut files) = (harness(&[("big.bin", &digits(100_000))]), files(|_| {}));
    for asked in [true, true, false] {
        if asked {
            assert_eq!(get(&mut harness, &mut files, "/big.bin").body.len(), 100_000);
        }
        harness.wait(9_000);
        files.idle(harness.now);
        assert_eq!((harness.world.files.handles(), files.shelf.held_root().is_some()), (asked.into(), asked));
    }
    assert_eq!(get(&mut harness, &mut files, "/big.bin").body.len(), 100_000);
}

#[test]
fn what_must_not_be_seen_does_not_exist() {
    let mut harness = harness(&[
        (".env", b"secret"),
        ("a/.git/config", b"secret"),
        (".well-known/x", b"public"),
        ("a/b.txt", b"b"),
        ("real/x", b"x"),
    ]);
    harness.world.files.other("pipe");
    harness.world.files.link("link", "real");
    harness.world.files.link("out", "../etc");
    let mut strict = files(|_| {});
    let mut open = files(|options| (options.hidden, options.follow_symlinks) = (true, true));
    for (target, shut, wide) in [
        ("/.env", 404, 200),
        ("/a/.git/config", 404, 200),
        ("/%2eenv", 404, 200),
        ("/.well-known/x", 200, 200),
        ("/a/b.txt", 200, 200),
        ("/a/b.txt/", 404, 404),
        ("/a/b.txt/c", 404, 404),
        ("/a/", 404, 404),
        ("/pipe", 404, 404),
        ("/pipe/", 404, 404),
        ("/link/x", 404, 200),
        ("/out/passwd", 404, 404),
        ("/none", 404, 404),
        ("/..;/", 404, 404),
    ] {
        assert_eq!(get(&mut harness, &mut strict, target).status, shut, "{target}");
        assert_eq!(get(&mut harness, &mut open, target).status, wide, "{target}");
    }
}

#[test]
fn a_folder_has_its_slash_and_the_way_there_stays_on_this_host() {
    let mut harness = harness(&[("docs/index.html", b"i"), ("evil.example/x", b"x"), ("a b\"/c", b"c")]);
    let mut files = files(|_| {});
    for (target, location) in [
        ("/docs", "/docs/"),
        ("/docs?a=b&c", "/docs/?a=b&c"),
        ("//evil.example", "/evil.example/"),
        ("//evil.example/..//evil.example", "/evil.example/"),
        ("/a%20b%22", "/a%20b%22/"),
        ("http://other.example/docs?x", "/docs/?x"),
    ] {
        let answer = get(&mut harness, &mut files, target);
        assert_eq!((answer.status, answer.field("location")), (301, Some(location)), "{target}");
    }
    assert_eq!(get(&mut harness, &mut files, "/docs/").text(), "i");
}

#[test]
fn below_a_route_the_rest_of_the_path_counts() {
    let (mut harness, mut files) = (harness(&[("index.html", b"top"), ("a/b.txt", b"b")]), files(|_| {}));
    harness.pattern = "/files/*".into();
    assert_eq!(get(&mut harness, &mut files, "/files/").text(), "top");
    assert_eq!(get(&mut harness, &mut files, "/files/a/b.txt").text(), "b");
    assert_eq!(get(&mut harness, &mut files, "/files").field("location"), Some("/files/"));
    assert_eq!(get(&mut harness, &mut files, "/files/a").field("location"), Some("/files/a/"));
    harness.pattern = "/a/b.txt".into();
    assert_eq!(get(&mut harness, &mut files, "/a/b.txt").text(), "b");
}

#[test]
fn a_failing_disk_has_its_statuses_and_what_is_in_memory_is_still_sent() {
    let mut harness = harness(&[("a.bin", b"a"), ("b.bin", b"b")]);
    let mut files = files(|_| {});
    for (error, status) in [
        (OpenError::Denied, 403),
        (OpenError::Exhausted, 503),
        (OpenError::Failed, 500),
        (OpenError::NotFound, 404),
    ] {
        harness.world.files.fail_open("a.bin", Some(error));
        let answer = get(&mut harness, &mut files, "/a.bin");
        assert_eq!((answer.status, answer.field("retry-after").is_some()), (status, status == 503));
    }
    assert_eq!(get(&mut harness, &mut files, "/b.bin").text(), "b");
    harness.world.files.fail_open("b.bin", Some(OpenError::Exhausted));
    harness.wait(1000);
    assert_eq!(get(&mut harness, &mut files, "/b.bin").text(), "b");
}

#[test]
fn a_fallback_is_sent_for_what_does_not_exist_to_who_takes_html() {
    let mut harness = harness(&[("index.html", b"app"), ("a.txt", b"a"), ("docs/x", b"x")]);
    let mut files = files(|options| options.fallback = Some("index.html".into()));
    for (target, accept, want) in [
        ("/", "*/*", "app"),
        ("/users/7", "text/html,*/*;q=0.8", "app"),
        ("/users/7", "*/*", "app"),
        ("/users/7", "application/json", ""),
        ("/users/7", "image/*", ""),
        ("/docs/", "text/html", "app"),
        ("/.env", "text/html", "app"),
        ("/a.txt", "text/html", "a"),
    ] {
        let answer = ask(&mut harness, &mut files, target, &format!("Accept: {accept}"));
        match want {
            "" => assert_eq!(answer.status, 404, "{target} {accept}"),
            want => assert_eq!((answer.status, answer.text().as_str()), (200, want), "{target} {accept}"),
        }
    }
    let mut broken = self::files(|options| options.fallback = Some("none.html".into()));
    assert_eq!(get(&mut harness, &mut broken, "/x").status, 404);
}

#[test]
fn what_a_fallback_is_sent_for_depends_on_accept() {
    let mut harness = harness(&[("index.html", &digits(2000))]);
    let mut files = files(|options| options.fallback = Some("index.html".into()));
    let tag = get(&mut harness, &mut files, "/").field("etag").unwrap().to_string();
    let mut varies = |target: &str, field: &str| {
        let answer = ask(&mut harness, &mut files, target, &format!("Accept: text/html\r\n{field}"));
        let vary = answer.fields.iter().filter(|(name, _)| name == "vary").map(|(_, value)| value.clone());
        (answer.status, vary.collect::<Vec<_>>().join(", "))
    };
    for (field, status) in [
        ("X: y", 200),
        ("Accept-Encoding: gzip", 200),
        (&format!("If-None-Match: {tag}"), 304),
        ("Range: bytes=0-9", 206),
        ("Range: bytes=0-9,20-29", 206),
    ] {
        assert_eq!(varies("/nothing", field), (status, "Accept-Encoding, Accept".into()), "{field}");
        assert_eq!(varies("/", field), (status, "Accept-Encoding".into()), "{field}");
    }
}

#[test]
fn a_listing_has_what_would_be_served_escaped_and_in_order() {
    let mut harness = harness(&[
        ("d/b.txt", &digits(1536)),
        ("d/<script>\"&.txt", b""),
        ("d/sub/x", b""),
        ("d/tel:1", b""),
        ("d/.hidden", b""),
        ("d/back\\slash", b""),
    ]);
    harness.world.files.other("d/pipe");
    harness.world.files.link("d/link", "d/b.txt");
    let mut files = files(|options| options.listing = true);
    let page = ask(&mut harness, &mut files, "/d/", "Accept: text/html");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    let order = [
        "=\"sub/\"",
        "=\"%3Cscript%3E%22%26.txt\"",
        "&lt;script&gt;&quot;&amp;.txt<",
        "=\"b.txt\"",
        "1.5 KiB",
    ];
    let places: Vec<usize> = order.iter().map(|piece| text.find(piece).expect(piece)).collect();
    assert!(places.is_sorted() && text.contains("06 Nov 1994 08:49"));
    assert!(!text.contains("hidden") && !text.contains("pipe") && !text.contains("link"));
    assert!(!text.contains("slash"));
    assert!(text.contains("=\"tel%3A1\">tel:1<"), "a name is no scheme: {text}");
    let json = ask(&mut harness, &mut files, "/d/", "Accept: application/json");
    assert_eq!(json.field("content-type"), Some("application/json"));
    assert_eq!(
        json.text(),
        "{\"path\":\"/d/\",\"complete\":true,\"entries\":[\n\
         {\"name\":\"sub\",\"kind\":\"folder\",\"modified\":0},\n\
         {\"name\":\"<script>\\\"&.txt\",\"kind\":\"file\",\"size\":0,\"modified\":784111777},\n\
         {\"name\":\"b.txt\",\"kind\":\"file\",\"size\":1536,\"modified\":784111777},\n\
         {\"name\":\"tel:1\",\"kind\":\"file\",\"size\":0,\"modified\":784111777}]}\n"
    );
    let mut short = self::files(|options| (options.listing, options.listing_max) = (true, 2));
    assert!(get(&mut harness, &mut short, "/d/").text().contains("There is more"));
    let mut linked = self::files(|options| (options.listing, options.follow_symlinks) = (true, true));
    assert!(get(&mut harness, &mut linked, "/d/").text().contains("=\"link\""));
}

#[test]
fn a_listing_is_made_once_a_second_however_often_it_is_asked_for() {
    let mut harness = harness(&[("d/a.txt", b"a"), ("e/b.txt", b"b")]);
    let mut files = files(|options| options.listing = true);
    let page = get(&mut harness, &mut files, "/d/");
    let (held, body) = (files.shelf.size().1, page.text().len());
    assert!(held >= body && page.text().contains("=\"a.txt\""));
    harness.world.files.file("d/new.txt", b"n", MODIFIED);
    harness.wait(999);
    let again = get(&mut harness, &mut files, "/d/");
    assert_eq!((again.text(), again.work), (page.text(), Work::Disk), "the same, and little work");
    assert_eq!(page.work, Work::Much);
    let json = ask(&mut harness, &mut files, "/d/", "Accept: application/json").text();
    assert!(json.contains("new.txt") && json.starts_with('{'), "the page is not taken for it");
    assert!(get(&mut harness, &mut files, "/e/").text().contains("=\"b.txt\""), "nor for another folder");
    harness.wait(1);
    assert!(get(&mut harness, &mut files, "/d/").text().contains("=\"new.txt\""));
    let mut none = self::files(|options| (options.listing, options.cache_bytes) = (true, 0));
    assert!(get(&mut harness, &mut none, "/d/").text().contains("=\"new.txt\""));
    assert_eq!(none.shelf.size(), (0, 0, 0));
}

#[test]
fn a_small_file_that_cannot_be_read_whole_is_sent_from_the_disk_and_not_remembered() {
    let (mut harness, mut files) = (harness(&[("a.bin", &digits(1000))]), files(|_| {}));
    harness.world.files.fail_file("a.bin", 2000, crate::reactor::Fault::Other);
    harness.world.files.piece("a.bin", 7);
    assert_eq!(get(&mut harness, &mut files, "/a.bin").body, digits(1000));
    assert_eq!(files.shelf.size().0, 1);
    let mut fresh = self::files(|_| {});
    harness.world.files.fail_file("a.bin", 500, crate::reactor::Fault::Other);
    let request = "HEAD /a.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(harness.ask(&mut fresh, request).field("content-length"), Some("1000"));
    assert_eq!(fresh.shelf.size(), (0, 0, 0));
}

#[test]
fn a_range_of_an_empty_file_is_no_error() {
    for range in ["bytes=0-", "bytes=-5", "bytes=0-99"] {
        let (mut harness, mut files) = (harness(&[("empty.txt", b"")]), files(|_| {}));
        let answer = ask(&mut harness, &mut files, "/empty.txt", &format!("Range: {range}"));
        assert_eq!(answer.status, 200, "{range}");
    }
}

#[test]
fn the_limits_of_what_is_small_and_of_what_is_compressed_are_inclusive() {
    let names = ["a999.txt", "a1000.txt", "a2000.txt", "a2001.txt"];
    let all = [999, 1000, 2000, 2001].map(digits);
    let all: Vec<(&str, &[u8])> = names.into_iter().zip(all.iter().map(|bytes| &bytes[..])).collect();
    let mut harness = harness(&all);
    let mut files = files(|options| {
        (options.compress_min, options.compress_max, options.small_max) = (1000, 2000, 2000);
    });
    let mut coded = |name: &str| {
        let answer = ask(&mut harness, &mut files, &format!("/{name}"), "Accept-Encoding: gzip");
        answer.field("content-encoding").is_some()
    };
    assert_eq!(names.map(&mut coded), [false, true, true, false]);
    assert_eq!(files.shelf.size().2, 1, "the last is held open, the others are in memory");
}

#[test]
fn whether_a_file_is_worth_compressing_is_found_out_once_and_again_when_it_has_changed() {
    let (mut harness, mut files) = (harness(&[("a.txt", &noise(2000))]), files(|_| {}));
    let request = "GET /a.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut coded = |harness: &mut Harness| {
        let answer = harness.ask(&mut files, request);
        (answer.work, answer.field("content-encoding").is_some())
    };
    let (much, little) = (Work::Much, Work::Little);
    assert_eq!([coded(&mut harness), coded(&mut harness)], [(much, false), (little, false)]);
    harness.world.files.rewrite("a.txt", digits(2000), MODIFIED + 1);
    harness.wait(1000);
    assert_eq!([coded(&mut harness), coded(&mut harness)], [(much, true), (little, true)]);
}

#[test]
fn what_was_compressed_of_a_file_that_changed_a_moment_ago_is_not_sent_for_what_it_became() {
    let mut harness = Harness::default();
    let text = |what: u8| [digits(2000), vec![what; 100]].concat();
    let mut files = files(|_| {});
    for ago in [0, 1] {
        let modified = harness.clock.unix_seconds() as i64 - ago;
        let mut sent = Vec::new();
        harness.world.files.file("a.txt", text(b'a'), modified);
        for what in [b'a', b'b'] {
            harness.world.files.rewrite("a.txt", text(what), modified);
            let answer = ask(&mut harness, &mut files, "/a.txt", "Accept-Encoding: gzip");
            sent.push(answer.body);
            harness.wait(1000);
        }
        assert!(sent[0] != sent[1]);
    }
}

#[test]
fn where_descriptors_run_out_those_that_are_only_remembered_go_and_it_is_tried_once_more() {
    let (mut harness, mut files) =
        (harness(&[("big.bin", &digits(100_000)), ("b.bin", b"b")]), files(|_| {}));
    get(&mut harness, &mut files, "/big.bin");
    assert_eq!((files.shelf.size().2, harness.world.calls().opens), (1, 1));
    harness.world.files.fail_open("b.bin", Some(OpenError::Exhausted));
    assert_eq!(get(&mut harness, &mut files, "/b.bin").status, 503);
    assert_eq!((files.shelf.size().2, harness.world.calls().opens), (0, 3));
}

#[test]
fn what_is_gone_is_not_remembered() {
    let (mut harness, mut files) =
        (harness(&[("a.bin", b"a"), ("big.bin", &digits(100_000))]), files(|_| {}));
    for name in ["a.bin", "big.bin"] {
        assert_eq!(get(&mut harness, &mut files, &format!("/{name}")).status, 200);
        harness.world.files.remove(name);
    }
    harness.wait(1000);
    for name in ["a.bin", "big.bin"] {
        assert_eq!(get(&mut harness, &mut files, &format!("/{name}")).status, 404);
    }
    assert_eq!((files.shelf.size(), harness.world.files.handles()), ((0, 0, 0), 0));
}

#[test]
fn an_index_that_may_not_be_read_is_not_answered_by_a_listing() {
    let mut harness = harness(&[("d/index.html", b"i"), ("d/a.txt", b"a")]);
    let mut files = files(|options| options.listing = true);
    assert_eq!(get(&mut harness, &mut files, "/d/").text(), "i");
    harness.world.files.fail_open("d/index.html", Some(OpenError::Denied));
    harness.wait(1000);
    assert_eq!(get(&mut harness, &mut files, "/d/").status, 403);
}

#[test]
fn a_listing_of_just_the_most_is_whole_and_only_below_the_root_there_is_a_way_up() {
    let mut harness = harness(&[("a.txt", b"a"), ("d/b.txt", b"b")]);
    let mut files = files(|options| (options.listing, options.listing_max) = (true, 2));
    let [root, below] = ["/", "/d/"].map(|path| get(&mut harness, &mut files, path).text());
    assert!(
        root.contains("=\"a.txt\"") && root.contains("=\"d/\"") && !root.contains("There is more"),
        "{root}"
    );
    assert_eq!((root.contains("\"../\""), below.contains("\"../\"")), (false, true));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn no_request_makes_it_panic_or_announce_another_length(
        path in "[ad./%2e]{0,12}",
        range in "bytes=[0-9,-]{0,12}",
        coding in "[gzipbr*;q=0.1, ]{0,16}",
        big in proptest::bool::ANY,
    ) {
        let mut harness = harness(&[("a", &digits(if big { 90_000 } else { 90 })), ("d/index.html", &digits(5000))]);
        let mut files = files(|_| {});
        let target = format!("/{path}");
        if target::normalise(target.as_bytes(), &mut Vec::new()).is_ok() {
            let fields = format!("Range: {range}\r\nAccept-Encoding: {coding}");
            ask(&mut harness, &mut files, &target, &fields);
        }
    }
}

use crate::wire::http::target;
