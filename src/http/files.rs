//! Files below a folder.
//!
//! 1. Nothing outside the root is ever read: paths are relative and without dot segments, and [`Host::open`] confines them.
//! 2. Hidden names, special files and (unless wished for) symbolic links do not exist: 404, no different from what is not there.
//! 3. What is remembered is bounded ([`FilesOptions`]) and at most a second behind the disk.
//! 4. A file that nobody asked for in the last 10 s, nor is being sent, is not held open: whoever deletes it gets its space back.
//! 5. The length announced is that of the bytes in memory, or of the file as it was opened.
//! 6. Where somebody looks ahead ([`FilesOptions::ahead`]), no request waits for the disk before its answer begins: it is put off, and others
//!    have their turn. What is sent from a large file is fetched by the reactor before it is sent.
//!
//! [`Host::open`]: crate::reactor::Host::open

mod ahead;
mod answer;
mod cache;
mod listing;
mod load;
mod negotiate;
mod representation;
#[cfg(target_os = "linux")]
mod threads;

use super::escape;
use super::pages;
use super::router::REST;
use super::{BodyPolicy, Handler, Reply, Request, Responder};
use crate::reactor::{Links, OpenError};
use crate::wire::http::Method;
use crate::wire::http::accept::media_weight;
pub use ahead::{Errand, LookAhead};
use load::{Found, Now, Shelf};
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(target_os = "linux")]
pub use threads::DiskThreads;

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
    /// Who looks at the disk so that the worker need not wait for it, such as `DiskThreads`. Default none: it waits.
    pub ahead: Option<Arc<dyn LookAhead>>,
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
            ahead: None,
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

    fn get(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        let path = request.param(REST).unwrap_or(request.path());
        // `/docs`, where a route has `/docs/*`.
        let bare_root = path.is_empty() && request.path().last().is_some_and(|b| *b != b'/');
        if bare_root {
            return to_slash(request, reply);
        }
        self.try_get(path, request, reply).unwrap_or_else(|reply| self.put_off(path, request, reply))
    }

    /// Answers with what is there. `Err`: the disk would have to be waited for.
    fn try_get<'r>(
        &mut self,
        path: &[u8],
        request: &Request<'_>,
        mut reply: Responder<'r>,
    ) -> Result<Reply, Responder<'r>> {
        let hurried = self.options.ahead.is_some() && !reply.sent.waited;
        let mut now = Now::of(&mut reply, hurried);
        let shown = path.split(|b| *b == b'/').all(|name| self.options.shows(name));
        let mut found =
            if shown { self.shelf.find(&self.options, path, &mut now) } else { Err(OpenError::NotFound) };
        let mut lines: &[u8] = b"";
        let unlisted = matches!(found, Ok(Found::Folder(_))) && !self.options.listing;
        if (unlisted || matches!(found, Err(OpenError::NotFound)))
            && let Some(fallback) = self.options.fallback.as_ref().filter(|_| takes_html(request))
        {
            found = self.shelf.find(&self.options, fallback.as_bytes(), &mut now);
            // Who does not take HTML gets 404.
            lines = b"Vary: Accept\r\n";
        }
        let mut listed = None;
        match found {
            Ok(Found::File(plain)) => {
                found = Ok(Found::File(self.shelf.negotiate(&self.options, request, plain, &mut now)));
            }
            Ok(Found::Folder(ref folder)) if self.options.listing && lines.is_empty() => {
                let (paths, json) = ((path, request.path()), listing::wants_json(request));
                listed = Some((self.shelf.listing(&self.options, folder, paths, json, &mut now), json));
            }
            Ok(Found::Bare | Found::Folder(_)) | Err(_) => {}
        }
        let Now { blocked, work, .. } = now;
        if blocked {
            return Err(reply);
        }
        let reply = reply.work(work);
        Ok(match (found, listed) {
            (Ok(Found::File(found)), _) => answer::send(request, reply, &found, lines),
            (Ok(Found::Bare), _) if lines.is_empty() => to_slash(request, reply),
            (Ok(Found::Folder(_)), Some((Ok(body), json))) => listing::send(reply, &body, json),
            (Ok(Found::Folder(_)), Some((Err(error), _))) | (Err(error), _) => refuse(request, reply, error),
            (Ok(Found::Bare | Found::Folder(_)), _) => refuse(request, reply, OpenError::NotFound),
        })
    }

    /// The disk would have to be waited for: somebody else does.
    fn put_off(&self, path: &[u8], request: &Request<'_>, reply: Responder<'_>) -> Reply {
        let errand = Errand::new(&self.options, self.shelf.held_root(), path, reply.ticket());
        if self.options.ahead.as_ref().is_some_and(|ahead| ahead.look(errand)) {
            return reply.later();
        }
        pages::error(reply, Some(request), 503, "The disk is busy. Try again.")
    }
}

fn takes_html(request: &Request<'_>) -> bool {
    media_weight(request.head().fields.all("accept"), "text/html") > 0
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
        self.options.ahead.iter().for_each(|ahead| ahead.idle());
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
        OpenError::Failed | OpenError::WouldBlock => {
            pages::error(reply, Some(request), 500, "This could not be read.")
        }
    }
}

#[cfg(test)]
mod tests;
