//! Answers that come later, and from elsewhere.

use super::reply::{Reply, Responder};
use crate::reactor::Token;
use std::fmt;
use std::sync::Arc;

/// Something for an exchange that is under way, or was.
pub struct Late {
    /// The connection.
    pub to: Token,
    /// Which exchange on it; a late word for another is dropped.
    pub(super) exchange: u32,
    pub(super) what: What,
}

pub(super) enum What {
    Answer(Box<dyn FnOnce(Responder<'_>) -> Reply + Send>),
    Nudge,
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Late({}, exchange {})", self.to, self.exchange)
    }
}

/// Carries [`Late`] words to the reactor that the connection lives on; gives one back if too many are waiting.
pub type Post = Arc<dyn Fn(Late) -> Result<(), Late> + Send + Sync>;

/// The name of one exchange, good in any thread. A word that comes too late, because the client has gone or was answered, is dropped.
#[derive(Clone)]
pub struct Ticket {
    pub(super) to: Token,
    pub(super) exchange: u32,
    pub(super) post: Post,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}, exchange {})", self.to, self.exchange)
    }
}

impl Ticket {
    /// Answers. `compose` runs on the reactor's thread and must not block. False if the reactor has too much waiting; then nothing
    /// was sent.
    pub fn answer(self, compose: impl FnOnce(Responder<'_>) -> Reply + Send + 'static) -> bool {
        let what = What::Answer(Box::new(compose));
        (self.post)(Late { to: self.to, exchange: self.exchange, what }).is_ok()
    }

    /// A [`Body`](super::Body) or an [`Upload`](super::Upload) that waits can go on.
    pub fn nudge(&self) -> bool {
        (self.post)(Late { to: self.to, exchange: self.exchange, what: What::Nudge }).is_ok()
    }
}
