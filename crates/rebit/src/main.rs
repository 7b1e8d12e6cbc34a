//! The `rebit` command line.
fn main() {}
