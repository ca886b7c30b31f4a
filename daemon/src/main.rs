//! `chinwagd`: the daemon alone.
fn main() {}
