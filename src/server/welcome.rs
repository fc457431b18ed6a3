//! The built-in site: what a server shows that was told nothing.
//!
//! Everything is inside the binary and loads nothing from elsewhere; scripts and styles are files of their own, so that
//! the strict [`POLICY`] holds. The chat page speaks to `/rooms/welcome` and `/echo`, which
//! [`Route::welcome`](super::settings::Route::welcome) sets up beside it.

/// One page or part of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Value of `content-type`.
    pub content_type: &'static str,
    /// The body.
    pub body: &'static [u8],
}

/// Value of `content-security-policy` that goes with every page: only this site, and WebSockets to it.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";

/// All pages by their path.
pub static PAGES: &[(&str, Page)] = &[
    ("/", Page { content_type: HTML, body: include_bytes!("welcome/index.html") }),
    ("/index.html", Page { content_type: HTML, body: include_bytes!("welcome/index.html") }),
    ("/chat.html", Page { content_type: HTML, body: include_bytes!("welcome/chat.html") }),
    (
        "/chat.js",
        Page { content_type: "text/javascript; charset=utf-8", body: include_bytes!("welcome/chat.js") },
    ),
    (
        "/style.css",
        Page { content_type: "text/css; charset=utf-8", body: include_bytes!("welcome/style.css") },
    ),
    ("/favicon.svg", Page { content_type: "image/svg+xml", body: include_bytes!("welcome/favicon.svg") }),
];

/// The page at a path (decoded, without query). `None`: 404.
pub fn page(path: &str) -> Option<Page> {
    PAGES.iter().find(|(one, _)| *one == path).map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_a_page_leads_to_a_page_of_the_site() {
        for (path, page) in PAGES {
            let text = std::str::from_utf8(page.body).unwrap();
            for attribute in ["href=\"", "src=\""] {
                for after in text.split(attribute).skip(1) {
                    let target = after.split('"').next().unwrap();
                    assert!(super::page(target).is_some(), "{path} leads to {target}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_stands_inline() {
        for (path, page) in PAGES {
            let text = std::str::from_utf8(page.body).unwrap().replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
            assert!(
                !text.contains("<style") && !text.contains("style=") && !text.contains(" onclick"),
                "{path}"
            );
            assert!(!text.contains("<script>") && !text.contains("innerHTML"), "{path}");
        }
    }

    #[test]
    fn the_chat_page_has_the_ids_that_its_script_and_the_browser_tests_use() {
        let html = std::str::from_utf8(page("/chat.html").unwrap().body).unwrap();
        for id in ["log", "text", "send", "name", "status", "where", "form"] {
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(page("/nothing").is_none());
    }
}
