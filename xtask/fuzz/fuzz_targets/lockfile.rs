//! Any text as a lock file: what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask::platform::host::artifacts::lockfile;

fuzz_target!(|text: &str| {
    if let Ok(files) = lockfile::parse("x.lock", text) {
        let again = lockfile::parse("x.lock", &lockfile::format(files.clone())).expect("its own text");
        assert_eq!(files.len(), again.len());
    }
});
