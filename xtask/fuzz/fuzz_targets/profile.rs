//! Any text as a profile: it is read, or refused with exit code 3 at a place.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use xtask::error::Exit;
use xtask::profile::{self, Node};

static DEFAULTS: LazyLock<Node> = LazyLock::new(|| {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    profile::defaults(root).expect("the repository's own defaults")
});

fuzz_target!(|text: &str| {
    if let Err(error) = profile::check_text(&DEFAULTS, "p.yaml", text, xtask::components::TYPES) {
        assert_eq!(error.code.exit(), Exit::BadInput);
        assert!(error.at.is_some(), "{error}");
    }
});
