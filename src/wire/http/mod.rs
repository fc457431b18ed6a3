//! HTTP/1.1 syntax.
