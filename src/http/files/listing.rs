//! What is in a folder: a page, or JSON for who asks for it.

use super::super::escape;
use super::super::{Reply, Request, Responder};
use super::FilesOptions;
use super::load::Now;
use crate::reactor::{DirEntry, FileHandle, FileType, Links, RelPath, Root, Stat};
use crate::wire::http::accept::media_weight;
use crate::wire::http::{date, emit};
use std::io;
use std::sync::Arc;

/// The names in a folder, folders first.
pub(super) struct Listing {
    entries: Vec<(Vec<u8>, bool, Option<Stat>)>,
    /// There are more.
    cut: bool,
}

impl Listing {
    /// Reads it. Left out is what would not be served: hidden names, special files, links that are not followed, names with a backslash,
    /// which no path may have.
    pub fn read(
        options: &FilesOptions,
        root: &Root,
        folder: &FileHandle,
        path: &[u8],
        now: &mut Now<'_>,
    ) -> io::Result<Listing> {
        let found = now.list(folder, options.listing_max.saturating_add(1))?;
        let cut = found.len() > options.listing_max;
        let mut entries = Vec::with_capacity(found.len());
        for DirEntry { name, mut kind, mut stat } in found.into_iter().take(options.listing_max) {
            if !options.shows(&name) || name.contains(&b'\\') {
                continue;
            }
            if kind == FileType::Other && options.follow_symlinks {
                let target = [path, &name].concat();
                let looked = RelPath::new(&target).map(|rel| now.stat(root, rel, Links::Beneath));
                stat = looked.and_then(Result::ok);
                kind = stat.map_or(FileType::Other, |stat| stat.kind);
            }
            match kind {
                FileType::File => entries.push((name, false, stat)),
                FileType::Folder => entries.push((name, true, stat)),
                FileType::Other => {}
            }
        }
        entries.sort_unstable_by(|a, b| (!a.1, &a.0).cmp(&(!b.1, &b.0)));
        Ok(Listing { entries, cut })
    }

    /// All of it, as JSON or as a page.
    pub fn body(&self, path: &[u8], json: bool) -> Vec<u8> {
        let mut body = Vec::new();
        if json {
            self.json(path, &mut body)
        } else {
            self.page(path, &mut body)
        }
        body
    }

    fn json(&self, path: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"path\":");
        escape::json(out, &[b"/", path].concat());
        out.extend_from_slice(if self.cut { b",\"complete\":false" } else { b",\"complete\":true" });
        out.extend_from_slice(b",\"entries\":[");
        for (i, (name, folder, stat)) in self.entries.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"\n{\"name\":" } else { b",\n{\"name\":" });
            escape::json(out, name);
            out.extend_from_slice(if *folder { b",\"kind\":\"folder\"" } else { b",\"kind\":\"file\"" });
            if let Some(stat) = stat {
                if !folder {
                    out.extend_from_slice(b",\"size\":");
                    emit::number(out, stat.len);
                }
                out.extend_from_slice(b",\"modified\":");
                emit::number(out, seconds(stat));
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}\n");
    }

    fn page(&self, path: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">");
        out.extend_from_slice(b"<meta name=\"viewport\" content=\"width=device-width\"><title>/");
        escape::html(out, path);
        out.extend_from_slice(b"</title>");
        out.extend_from_slice(STYLE);
        out.extend_from_slice(b"<h1>/");
        escape::html(out, path);
        out.extend_from_slice(b"</h1>\n<table>\n");
        if !path.is_empty() {
            out.extend_from_slice(b"<tr><td><a href=\"../\">../</a><td><td>\n");
        }
        for (name, folder, stat) in &self.entries {
            let slash: &[u8] = if *folder { b"/" } else { b"" };
            // Plain names, as all servers list them: some who read listings take `./name` for no name. A segment has no colon, so that it
            // is no scheme.
            out.extend_from_slice(b"<tr><td><a href=\"");
            escape::segment(out, name);
            out.extend_from_slice(slash);
            out.extend_from_slice(b"\">");
            escape::html(out, name);
            out.extend_from_slice(slash);
            out.extend_from_slice(b"</a><td>");
            if let Some(stat) = stat {
                if !folder {
                    size(out, stat.len);
                }
                out.extend_from_slice(b"<td>");
                // `06 Nov 1994 08:49` of the whole date.
                out.extend_from_slice(&date::format(seconds(stat))[5..22]);
            }
            out.push(b'\n');
        }
        out.extend_from_slice(b"</table>\n");
        if self.cut {
            out.extend_from_slice(b"<p>There is more than is shown here.\n");
        }
    }
}

/// JSON is rather wanted than a page.
pub(super) fn wants_json(request: &Request<'_>) -> bool {
    let accept = || request.head().fields.all("accept");
    media_weight(accept(), "application/json") > media_weight(accept(), "text/html")
}

/// Answers with what [`Listing::body`] made.
pub(super) fn send(reply: Responder<'_>, body: &Arc<[u8]>, json: bool) -> Reply {
    let answer = reply.start(200).text("Cache-Control", "no-cache").text("Vary", "Accept");
    let answer = answer.text("X-Content-Type-Options", "nosniff");
    let answer = if json {
        answer.text("Content-Type", "application/json")
    } else {
        answer.text("Content-Type", "text/html; charset=utf-8").text(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        )
    };
    answer.shared(body, 0..body.len())
}

const STYLE: &[u8] =
    b"<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}h1{font-size:1.25rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}\
td{padding:.2rem .5rem;border-bottom:1px solid #8883;overflow-wrap:anywhere}td+td{text-align:right;\
white-space:nowrap;font-variant-numeric:tabular-nums}a{color:#06c;text-decoration:none}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}a{color:#6bf}}</style>";

fn seconds(stat: &Stat) -> u64 {
    u64::try_from(stat.modified_ns.div_euclid(1_000_000_000)).unwrap_or(0)
}

/// `512 B`, `1.5 KiB`.
fn size(out: &mut Vec<u8>, bytes: u64) {
    let (mut whole, mut tenths, mut unit) = (bytes, 0, 0);
    while whole >= 1024 {
        tenths = (whole % 1024) * 10 / 1024;
        (whole, unit) = (whole / 1024, unit + 1);
    }
    emit::number(out, whole);
    if unit > 0 && whole < 10 {
        out.push(b'.');
        emit::number(out, tenths);
    }
    out.push(b' ');
    out.extend_from_slice(["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][unit.min(6)].as_bytes());
}
