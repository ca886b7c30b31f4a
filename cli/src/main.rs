//! `chinwag`: the peer CLI.
fn main() {}
