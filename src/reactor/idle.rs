//! The list of connections that may be let go first: those idle longest at the front. Linked by index, like the wheel.

const NIL: u32 = u32::MAX;
/// Marks a node that is in no list.
const OUT: u32 = u32::MAX - 1;

/// Indexes in order of joining.
#[derive(Debug)]
pub struct IdleList {
    links: Vec<(u32, u32)>,
    head: u32,
    tail: u32,
    len: usize,
}

impl Default for IdleList {
    fn default() -> IdleList {
        IdleList { links: Vec::new(), head: NIL, tail: NIL, len: 0 }
    }
}

impl IdleList {
    /// Puts `index` at the end: it is idle from now on. One that is in already moves to the end.
    pub fn join(&mut self, index: usize) {
        self.leave(index);
        if self.links.len() <= index {
            self.links.resize(index + 1, (OUT, OUT));
        }
        self.links[index] = (self.tail, NIL);
        match self.tail {
            NIL => self.head = index as u32,
            tail => self.links[tail as usize].1 = index as u32,
        }
        self.tail = index as u32;
        self.len += 1;
    }

    /// Takes `index` out, if it is in.
    pub fn leave(&mut self, index: usize) {
        let Some(&(prev, next)) = self.links.get(index).filter(|(prev, _)| *prev != OUT) else { return };
        match prev {
            NIL => self.head = next,
            prev => self.links[prev as usize].1 = next,
        }
        match next {
            NIL => self.tail = prev,
            next => self.links[next as usize].0 = prev,
        }
        self.links[index] = (OUT, OUT);
        self.len -= 1;
    }

    /// The one that joined first.
    pub fn longest(&self) -> Option<usize> {
        (self.head != NIL).then_some(self.head as usize)
    }

    /// How many are in.
    pub fn len(&self) -> usize {
        self.len
    }

    /// None is in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the nodes from `len` up; they must be out.
    pub fn shrink(&mut self, len: usize) {
        debug_assert!(self.links.iter().skip(len).all(|(prev, _)| *prev == OUT));
        self.links.truncate(len);
        self.links.shrink_to(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_idle_longest_come_first() {
        let mut list = IdleList::default();
        for index in [5, 2, 9, 2] {
            list.join(index);
        }
        list.leave(7);
        list.leave(1000);
        let mut order = Vec::new();
        while let Some(index) = list.longest() {
            order.push(index);
            list.leave(index);
        }
        assert_eq!((order, list.len()), (vec![5, 9, 2], 0));
    }
}
