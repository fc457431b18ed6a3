//! The simulated world.
/// stub
#[derive(Debug)]
pub struct SimFile;
