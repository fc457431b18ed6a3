//! Which coding of a file is sent (RFC 9110, 12.5.3).
//!
//! Only files whose type is worth compressing come in several codings, and all answers for them say `Vary`. The coding with the
//! largest weight is sent; of equal ones brotli, zstd, gzip, then none. A client that refuses even `identity`, and wants nothing that
//! there is, gets the plain file: better than a 406 that nobody can use.

use super::super::Request;
use super::FilesOptions;
use super::load::{Now, Shelf};
use super::representation::{Coding, Representation};
use crate::wire::http::accept::coding_weights;
use std::sync::Arc;

impl Shelf {
    /// The file in the coding that the client wants most, of those that there are.
    pub fn negotiate(
        &mut self,
        options: &FilesOptions,
        request: &Request<'_>,
        plain: Arc<Representation>,
        now: &mut Now<'_>,
    ) -> Arc<Representation> {
        let fields = &request.head().fields;
        if !plain.kind.compressible || fields.get("accept-encoding").is_none() {
            return plain;
        }
        let names = ["br", "zstd", "gzip", "identity"];
        let [br, zstd, gzip, identity] = coding_weights(fields.all("accept-encoding"), names);
        let mut wanted = [(br, Coding::Brotli), (zstd, Coding::Zstd), (gzip, Coding::Gzip)];
        // Stable: equals stay in the order of preference.
        wanted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let least = identity.max(1);
        for (weight, coding) in wanted {
            if weight < least {
                break;
            }
            if let Some(found) = self.sibling(options, &plain, coding, now) {
                return found;
            }
            if coding == Coding::Gzip
                && options.compress
                && let Some(made) = self.gzipped(options, &plain, now)
            {
                return made;
            }
        }
        plain
    }
}
