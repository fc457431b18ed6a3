//! The connection table: slots on [`slab`], each with the token that names it now.

use super::token::Token;
use slab::Slab;

/// Slots below which the table never bothers to shrink.
const SMALL: usize = 256;

/// Values by [`Token`]. A stale token finds nothing.
#[derive(Debug)]
pub struct Table<T> {
    slots: Slab<(Token, T)>,
    next_generation: u64,
    /// Try to shrink when no more than this many are left.
    shrink_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { slots: Slab::new(), next_generation: 1, shrink_at: 0 }
    }
}

impl<T> Table<T> {
    /// Puts a value in and names it. The caller keeps [`len`](Self::len) under [`Token::MAX_SLOTS`].
    pub fn insert(&mut self, value: T) -> Token {
        let entry = self.slots.vacant_entry();
        let token = Token::new(entry.key(), self.next_generation);
        self.next_generation += 1;
        entry.insert((token, value));
        self.shrink_at = self.shrink_at.max(self.slots.len() / 2);
        token
    }

    /// The value, unless the token is stale.
    pub fn get(&self, token: Token) -> Option<&T> {
        self.slots.get(token.index()).filter(|(t, _)| *t == token).map(|(_, value)| value)
    }

    /// The value, unless the token is stale.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.slots.get_mut(token.index()).filter(|(t, _)| *t == token).map(|(_, value)| value)
    }

    /// The name of a slot that is in use.
    pub fn token_at(&self, index: usize) -> Option<Token> {
        self.slots.get(index).map(|(token, _)| *token)
    }

    /// Takes a value out.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        self.slots.try_remove(index).map(|(_, value)| value)
    }

    /// Before every name that will be given, and behind all that were.
    pub fn next(&self) -> Token {
        Token::new(0, self.next_generation)
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Every slot in use: its name and value.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.slots.iter().map(|(_, (token, value))| (*token, value))
    }

    /// Gives memory back when far fewer are left than there were. Says how many slots remain if it did, so that parallel tables
    /// can follow. Costs nothing but a comparison most of the time.
    pub fn shrink(&mut self) -> Option<usize> {
        if self.slots.len() > self.shrink_at || self.slots.capacity() <= SMALL {
            return None;
        }
        self.shrink_at = self.slots.len() / 2;
        self.slots.shrink_to_fit();
        Some(self.slots.iter().next_back().map_or(0, |(index, _)| index + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_token_finds_nothing_even_after_the_table_shrank() {
        let mut table = Table::default();
        let old: Vec<Token> = (0..1000).map(|n| table.insert(n)).collect();
        for token in &old {
            assert!(table.remove(token.index()).is_some());
        }
        assert_eq!(table.shrink(), Some(0));
        let new: Vec<Token> = (0..1000).map(|n| table.insert(n)).collect();
        for (old, new) in old.iter().zip(&new) {
            assert!(table.get(*old).is_none() && table.get_mut(*old).is_none());
            assert!(table.get(*new).is_some());
        }
    }

    #[test]
    fn shrinking_keeps_what_is_left() {
        let mut table = Table::default();
        let tokens: Vec<Token> = (0..1000).map(|n| table.insert(n)).collect();
        for token in &tokens[10..] {
            table.remove(token.index());
        }
        assert_eq!(table.shrink(), Some(10));
        assert_eq!(table.shrink(), None);
        assert_eq!(table.get(tokens[9]), Some(&9));
        assert!(table.slots.capacity() < 100);
    }
}
