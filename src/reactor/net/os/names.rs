//! Tokens on their way through the kernel and back.
//!
//! An event carries 64 bits, but mio hands on a `usize`. Where that has 64 bits, too, a token goes as it is, and nothing is kept
//! here. On a machine of 32 bits there is room for its index alone (and a listener's token is no more than that): the token that was
//! watched last under an index is kept, 8 bytes each. It is the one that an event is for: of an earlier one under the same
//! index the descriptor was closed, and the kernel reports nothing of what is closed.

use crate::reactor::token::Token;

const WHOLE: bool = usize::BITS >= u64::BITS;

/// The tokens that do not fit, by index.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Token>);

impl Names {
    /// What the kernel is given.
    pub fn give(&mut self, token: Token) -> mio::Token {
        if !WHOLE && token.listener().is_none() {
            let index = token.index();
            if self.0.len() <= index {
                self.0.resize(index + 1, token);
            }
            self.0[index] = token;
        }
        mio::Token(token.to_bits() as usize)
    }

    /// Whose event it is.
    #[inline]
    pub fn back(&self, given: mio::Token) -> Token {
        let token = Token::from_bits(given.0 as u64);
        if WHOLE { token } else { self.0.get(token.index()).copied().unwrap_or(token) }
    }
}
