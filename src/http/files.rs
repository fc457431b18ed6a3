//! Files below a folder.
//!
//! 1. Nothing outside the root is ever read: paths are relative and without dot segments, and [`Host::open`] confines them.
//! 2. Hidden names, special files and (unless wished for) symbolic links do not exist: 404, no different from what is not there.
//! 3. What is remembered is bounded ([`FilesOptions`]) and at most a second behind the disk.
//! 4. A file that nobody asked for in the last 10 s, nor is being sent, is not held open: whoever deletes it gets its space back.
//! 5. The length announced is that of the bytes in memory, or of the file as it was opened.
//!
//! [`Host::open`]: crate::reactor::Host::open

mod answer;
mod cache;
mod listing;
mod load;
mod negotiate;
mod representation;

use super::escape;
use super::pages;
use super::router::REST;
use super::{BodyPolicy, Handler, Reply, Request, Responder, Work};
use crate::reactor::{Links, OpenError};
use crate::wire::http::Method;
use crate::wire::http::accept::media_weight;
use load::{Found, Now, Shelf};
use std::path::PathBuf;

/// The value of Allow.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// What is served, and how much of it is remembered.
#[derive(Clone, Debug)]
pub struct FilesOptions {
    /// The folder. Opened at the first request, and again at most once a second.
    pub root: PathBuf,
    /// A folder without an index file is listed, as it was at most a second ago. Default false: 404.
    pub listing: bool,
    /// This file below the root is sent, with 200, for what does not exist, to clients that take HTML. Default none.
    pub fallback: Option<String>,
    /// Names that begin with a dot are served. Default false; `.well-known` (RFC 8615) is served in any case.
    pub hidden: bool,
    /// Symbolic links are followed, where they stay below the root. Default false.
    pub follow_symlinks: bool,
    /// Text is compressed with gzip. Siblings `.br`, `.zst` and `.gz` are served in any case. Default true.
    pub compress: bool,
    /// The file that stands for its folder. Default `index.html`.
    pub index: String,
    /// Files up to this many bytes are kept in memory. Default 64 KiB.
    pub small_max: u64,
    /// Bytes in memory, all told. Default 16 MiB a worker.
    pub cache_bytes: usize,
    /// Files in memory. Default 8,192 a worker.
    pub cache_entries: usize,
    /// Larger files held open for the next who asks, for 10 s. Default 64 a worker.
    pub open_files: usize,
    /// Text shorter than this many bytes is not compressed. Default 1 KiB.
    pub compress_min: u64,
    /// Nor is text longer than this, since it would hold up the reactor. Default 256 KiB.
    pub compress_max: u64,
    /// Most names in a listing. Default 4,096.
    pub listing_max: usize,
}

impl FilesOptions {
    /// That folder, with the defaults.
    pub fn new(root: impl Into<PathBuf>) -> FilesOptions {
        FilesOptions {
            root: root.into(),
            listing: false,
            fallback: None,
            hidden: false,
            follow_symlinks: false,
            compress: true,
            index: "index.html".into(),
            small_max: 64 << 10,
            cache_bytes: 16 << 20,
            cache_entries: 8192,
            open_files: 64,
            compress_min: 1 << 10,
            compress_max: 256 << 10,
            listing_max: 4096,
        }
    }

    fn links(&self) -> Links {
        if self.follow_symlinks { Links::Beneath } else { Links::Refuse }
    }

    /// A name is not hidden.
    fn shows(&self, name: &[u8]) -> bool {
        self.hidden || name.first() != Some(&b'.') || name == b".well-known"
    }
}

/// The handler: GET, HEAD and OPTIONS for what the route's `/*` matched, or, in a route without it, for the whole path.
#[derive(Debug)]
pub struct Files {
    options: FilesOptions,
    shelf: Shelf,
}

impl Files {
    /// Nothing is read before the first request.
    pub fn new(options: FilesOptions) -> Files {
        let shelf = Shelf::new(&options);
        Files { options, shelf }
    }

    fn get(&mut self, request: &Request<'_>, mut reply: Responder<'_>) -> Reply {
        let path = request.param(REST).unwrap_or(request.path());
        // `/docs`, where a route has `/docs/*`.
        let bare_root = path.is_empty() && request.path().last().is_some_and(|b| *b != b'/');
        if bare_root {
            return to_slash(request, reply);
        }
        let mut now = Now::of(&mut reply);
        let shown = path.split(|b| *b == b'/').all(|name| self.options.shows(name));
        let found =
            if shown { self.shelf.find(&self.options, path, &mut now) } else { Err(OpenError::NotFound) };
        let work = now.work;
        match found {
            Ok(Found::File(plain)) => {
                let found = self.shelf.negotiate(&self.options, request, plain, &mut now);
                let work = now.work;
                answer::send(request, reply.work(work), &found, b"")
            }
            Ok(Found::Bare) => to_slash(request, reply.work(work)),
            Ok(Found::Folder(folder)) if self.options.listing => {
                let (paths, json) = ((path, request.path()), listing::wants_json(request));
                let listed = self.shelf.listing(&self.options, &folder, paths, json, &mut now);
                let work = now.work;
                match listed {
                    Ok(body) => listing::send(reply.work(work), &body, json),
                    Err(error) => refuse(request, reply.work(work), error),
                }
            }
            Ok(Found::Folder(_)) | Err(OpenError::NotFound) => self.fall_back(request, reply, work),
            Err(error) => refuse(request, reply.work(work), error),
        }
    }

    /// Nothing is there; to find that was so much work.
    fn fall_back(&mut self, request: &Request<'_>, mut reply: Responder<'_>, work: Work) -> Reply {
        let wanted = || media_weight(request.head().fields.all("accept"), "text/html") > 0;
        let Some(fallback) = self.options.fallback.as_ref().filter(|_| wanted()) else {
            return refuse(request, reply.work(work), OpenError::NotFound);
        };
        let mut now = Now::of(&mut reply);
        now.work = work;
        match self.shelf.find(&self.options, fallback.as_bytes(), &mut now) {
            Ok(Found::File(plain)) => {
                let found = self.shelf.negotiate(&self.options, request, plain, &mut now);
                let work = now.work;
                // Who does not take HTML gets 404.
                answer::send(request, reply.work(work), &found, b"Vary: Accept\r\n")
            }
            Ok(Found::Bare | Found::Folder(_)) => refuse(request, reply.work(work), OpenError::NotFound),
            Err(error) => refuse(request, reply.work(work), error),
        }
    }
}

impl Handler for Files {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        match request.method() {
            Method::Get | Method::Head => self.get(request, reply),
            Method::Options => reply.start(204).text("Allow", ALLOW).empty(),
            Method::Post
            | Method::Put
            | Method::Delete
            | Method::Connect
            | Method::Trace
            | Method::Patch
            | Method::Other(_) => pages::not_allowed(reply, request, ALLOW),
        }
    }

    fn body(&self) -> BodyPolicy {
        BodyPolicy::Discard
    }

    fn allow(&self) -> &'static str {
        ALLOW
    }

    fn idle(&mut self, now_ms: u64) {
        self.shelf.idle(now_ms);
    }
}

/// A folder was named without its slash. The new address is made from the normal form of the path: it begins with one slash,
/// so that it cannot name another host.
fn to_slash(request: &Request<'_>, reply: Responder<'_>) -> Reply {
    let answer = reply.start(301).raw(|out| {
        out.extend_from_slice(b"Location: /");
        escape::path(out, request.path());
        out.push(b'/');
        if let Some(query) = request.query() {
            out.push(b'?');
            // It was checked when it was read: no target has a byte that a field cannot have.
            out.extend_from_slice(query);
        }
        out.extend_from_slice(b"\r\n");
    });
    answer.empty()
}

fn refuse(request: &Request<'_>, reply: Responder<'_>, error: OpenError) -> Reply {
    match error {
        OpenError::NotFound => pages::error(reply, Some(request), 404, "Nothing is here under this name."),
        OpenError::Denied => pages::error(reply, Some(request), 403, "This may not be read."),
        OpenError::Exhausted => pages::error(reply, Some(request), 503, "Too much is open. Try again."),
        OpenError::Failed => pages::error(reply, Some(request), 500, "This could not be read."),
    }
}

#[cfg(test)]
mod tests;
