//! A file ready to be sent: its bytes or its handle, its validators, and the fields that go with it, written once.

use super::super::mime::Kind;
use crate::reactor::{FileHandle, Part, Stat};
use crate::wire::http::conditional::{EntityTag, Validators};
use crate::wire::http::date;
use crate::wire::http::emit::{self, FieldName};
use flate2::Crc;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

/// How far ahead of ours a file system's clock may be, in seconds.
const FAR_AHEAD: u64 = 60;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Identity,
    Brotli,
    Zstd,
    /// A `.gz` that lay beside the file.
    Gzip,
    /// Made by us.
    MadeGzip,
}

impl Coding {
    /// The value of Content-Encoding.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Coding::Identity => None,
            Coding::Brotli => Some("br"),
            Coding::Zstd => Some("zstd"),
            Coding::Gzip | Coding::MadeGzip => Some("gzip"),
        }
    }

    /// What tells it from the others in a cache's key, and in a tag.
    pub fn mark(self) -> u8 {
        match self {
            Coding::Identity => b'i',
            Coding::Brotli => b'b',
            Coding::Zstd => b'z',
            Coding::Gzip => b'g',
            Coding::MadeGzip => b'm',
        }
    }
}

/// Where the bytes are.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Memory(Arc<[u8]>),
    Open(Arc<FileHandle>),
}

/// See the module page.
#[derive(Debug)]
pub(super) struct Representation {
    /// Where it lies, for looking whether it changed.
    pub path: Box<[u8]>,
    /// As it was when it was opened.
    pub stat: Stat,
    pub content: Content,
    /// Bytes in the content.
    pub len: u64,
    pub kind: Kind,
    /// It was changed in the second before it was read: a further change may not show in its times.
    pub young: bool,
    tag: Box<[u8]>,
    modified: Option<u64>,
    /// Field lines: first those that a 304 has, too.
    fields: Vec<u8>,
    in_304: usize,
}

/// What a representation is made of.
pub(super) struct Source {
    pub path: Box<[u8]>,
    pub stat: Stat,
    pub content: Content,
    pub kind: Kind,
    pub coding: Coding,
    /// Seconds since 1970.
    pub now: u64,
}

impl Representation {
    pub fn new(source: Source) -> Representation {
        let Source { path, stat, content, kind, coding, now } = source;
        let seconds = whole_seconds(stat.modified_ns);
        // A time that has not come yet is not told (RFC 9110, 8.8.2.1).
        let modified = seconds.filter(|modified| *modified <= now);
        let tag = tag(&stat, coding, &content);
        let mut fields = Vec::with_capacity(320);
        line(&mut fields, "ETag", &tag);
        if let Some(modified) = modified {
            line(&mut fields, "Last-Modified", &date::format(modified));
        }
        if kind.page {
            line(&mut fields, "Cache-Control", b"no-cache");
        }
        if kind.compressible {
            line(&mut fields, "Vary", b"Accept-Encoding");
        }
        let in_304 = fields.len();
        line(&mut fields, "X-Content-Type-Options", b"nosniff");
        if let Some(coding) = coding.name().or_else(|| kind.gzipped.then_some("gzip")) {
            line(&mut fields, "Content-Encoding", coding.as_bytes());
        }
        line(&mut fields, "Accept-Ranges", b"bytes");
        let len = match &content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Open(_) => stat.len,
        };
        // A time far ahead, or before 1970, was set by hand: what is written later is given another.
        let recent =
            |seconds: u64| seconds.saturating_add(1) >= now && seconds <= now.saturating_add(FAR_AHEAD);
        let young = seconds.is_some_and(recent) || whole_seconds(stat.changed_ns).is_some_and(recent);
        fields.shrink_to_fit();
        Representation { path, stat, content, len, kind, young, tag, modified, fields, in_304 }
    }

    /// The tag and the time, as preconditions are weighed against.
    pub fn validators(&self) -> Validators<'_> {
        Validators { exists: true, tag: EntityTag::parse(&self.tag), modified: self.modified }
    }

    /// All field lines but Content-Type.
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The field lines of a 304 (RFC 9110, 15.4.5).
    pub fn fields_of_304(&self) -> &[u8] {
        &self.fields[..self.in_304]
    }

    /// Appends Content-Type, as a field of the answer or of a part of it.
    pub fn content_type(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(self.kind.essence.as_bytes());
        out.extend_from_slice(if self.kind.text { b"; charset=utf-8\r\n" } else { b"\r\n" });
    }

    /// A run of its bytes, which must lie within its length.
    pub fn part(&self, range: Range<u64>) -> Part {
        match &self.content {
            Content::Memory(bytes) => Part::Shared(bytes.clone(), range.start as usize..range.end as usize),
            Content::Open(file) => Part::File(file.clone(), range),
        }
    }

    /// About how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        let body = match &self.content {
            Content::Memory(bytes) => bytes.len(),
            Content::Open(_) => 0,
        };
        body + self.path.len() + self.tag.len() + self.fields.len() + size_of::<Representation>()
    }
}

/// None of a time before 1970.
fn whole_seconds(ns: i128) -> Option<u64> {
    u64::try_from(ns.div_euclid(1_000_000_000)).ok()
}

/// A strong entity tag: time and length on the disk, a checksum of what is in memory, and a mark of its coding. It is the same wherever
/// the same files lie, and after they were copied back. The checksum tells apart what a build gives one time to all that it makes.
fn tag(stat: &Stat, coding: Coding, content: &Content) -> Box<[u8]> {
    let mut tag = String::with_capacity(64);
    // Times before 1970 wrap to large numbers: still one tag for one time.
    let _ = write!(tag, "\"{:x}-{:x}", stat.modified_ns as u128 as u64, stat.len);
    if let Content::Memory(bytes) = content {
        let mut crc = Crc::new();
        crc.update(bytes);
        let _ = write!(tag, "-{:x}", crc.sum());
    }
    if coding != Coding::Identity {
        tag.extend(['-', char::from(coding.mark())]);
    }
    tag.push('"');
    tag.into_bytes().into()
}

/// Appends a field line.
pub(super) fn line(out: &mut Vec<u8>, name: &'static str, value: &[u8]) {
    emit::field_cleaned(out, FieldName::from_static(name), value);
}
