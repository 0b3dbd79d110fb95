//! The command line's contract: bad input is refused with exit code 3, the place, the nearest name,
//! and nothing started.

mod arguments;
mod files;
mod keys;
mod machine;
#[path = "../support/mod.rs"]
mod support;
