//! Any bytes as a component's log: no line panics, and the lowest level wants all of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask::observe::logline::{Filter, Level, TimeZone};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut all = Filter::new(Level::Trace, None, TimeZone::UTC);
    let mut late = Filter::new(Level::Warn, Some(1_795_330_455_000), TimeZone::UTC);
    for line in text.lines() {
        assert!(all.wants(line));
        late.wants(line);
    }
});
