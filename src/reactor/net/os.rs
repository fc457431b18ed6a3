//! The real world.
/// stub
#[derive(Debug)]
pub struct OsRoot;
/// stub
#[derive(Debug)]
pub struct OsNet;
