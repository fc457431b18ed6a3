//! The `evenkeel` binary: arguments in, exit code out.

fn main() {}
