//! What a session is shown of what came.

/// Bytes shown to a session, oldest first.
#[derive(Debug)]
pub struct Input<'a> {
    data: &'a mut [u8],
    taken: usize,
}

impl<'a> Input<'a> {
    /// An input of these bytes; for tests and for machines inside machines.
    pub fn new(data: &'a mut [u8]) -> Input<'a> {
        Input { data, taken: 0 }
    }

    /// What has not been taken.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.taken..]
    }

    /// What has not been taken; it may be changed in place (unmasking).
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.taken..]
    }

    /// Takes the first `n` bytes: they will not be shown again.
    pub fn take(&mut self, n: usize) {
        debug_assert!(n <= self.data.len() - self.taken);
        self.taken = (self.taken + n).min(self.data.len());
    }

    /// How many bytes have been taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// All has been taken.
    pub fn is_empty(&self) -> bool {
        self.taken == self.data.len()
    }
}
