//! What a file's name says of its content.

/// A media type and what follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    /// `text/html`, without parameters.
    pub essence: &'static str,
    /// `; charset=utf-8` goes with it.
    pub text: bool,
    /// It has not been compressed already, so that compressing is worth it.
    pub compressible: bool,
    /// It is a page, which names the versions of everything else: caches must ask each time.
    pub page: bool,
    /// It lies there under the coding gzip, though its name tells what it is without that.
    pub gzipped: bool,
}

/// Types that the table of `mime_guess` lacks or has otherwise than browsers want them.
const OWN: [(&str, &str); 16] = [
    ("cjs", "text/javascript"),
    ("js", "text/javascript"),
    ("m2ts", "video/mp2t"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("map", "application/json"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("mts", "video/mp2t"),
    ("otf", "font/otf"),
    ("rpm", "application/x-rpm"),
    ("tgz", "application/gzip"),
    ("ts", "video/mp2t"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
];

/// The kind of a file, by the extension of its name; without one, or with an unknown one, any bytes.
pub(super) fn kind(path: &[u8]) -> Kind {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    let extension = memchr::memrchr(b'.', name).filter(|dot| *dot > 0).map(|dot| &name[dot + 1..]);
    let extension = extension.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("");
    let own = OWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)).map(|(_, kind)| *kind);
    let guessed = || mime_guess::from_ext(extension).first_raw();
    let essence = own.or_else(guessed).unwrap_or("application/octet-stream");
    let text = essence.starts_with("text/");
    let structured = essence.ends_with("+xml") || essence.ends_with("+json");
    let known = matches!(
        essence,
        "application/json"
            | "application/javascript"
            | "application/xml"
            | "application/wasm"
            | "application/rtf"
            | "application/vnd.ms-fontobject"
            | "font/ttf"
            | "font/otf"
            | "font/sfnt"
            | "image/bmp"
            | "image/x-icon"
    );
    let page = matches!(essence, "text/html" | "application/xhtml+xml");
    let gzipped = extension.eq_ignore_ascii_case("svgz");
    Kind { essence, text, compressible: (text || structured || known) && !gzipped, page, gzipped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_types_that_browsers_want() {
        for (name, essence, text, compressible) in [
            ("a/index.html", "text/html", true, true),
            ("A.HTM", "text/html", true, true),
            ("x.js", "text/javascript", true, true),
            ("x.mjs", "text/javascript", true, true),
            ("x.css", "text/css", true, true),
            ("x.txt", "text/plain", true, true),
            ("x.json", "application/json", false, true),
            ("x.svg", "image/svg+xml", false, true),
            ("x.svgz", "image/svg+xml", false, false),
            ("x.wasm", "application/wasm", false, true),
            ("x.png", "image/png", false, false),
            ("x.ico", "image/x-icon", false, true),
            ("x.woff2", "font/woff2", false, false),
            ("x.pdf", "application/pdf", false, false),
            ("x.js.gz", "application/gzip", false, false),
            ("x.tgz", "application/gzip", false, false),
            ("x.rpm", "application/x-rpm", false, false),
            ("x.otf", "font/otf", false, true),
            ("x.woff", "font/woff", false, false),
            ("x.m3u8", "application/vnd.apple.mpegurl", false, false),
            ("x.ts", "video/mp2t", false, false),
            ("x.mp4", "video/mp4", false, false),
            ("x.webp", "image/webp", false, false),
            ("LICENSE", "application/octet-stream", false, false),
            ("a.b/LICENSE", "application/octet-stream", false, false),
            (".html", "application/octet-stream", false, false),
            ("x.", "application/octet-stream", false, false),
        ] {
            let kind = kind(name.as_bytes());
            assert_eq!((kind.essence, kind.text, kind.compressible), (essence, text, compressible), "{name}");
        }
        assert!(kind(b"x.xhtml").page && kind(b"x.html").page && !kind(b"x.js").page);
    }
}
