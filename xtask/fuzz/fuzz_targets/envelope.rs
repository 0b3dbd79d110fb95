//! Any bytes as a message's key and value: none panics, and the line has no control characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask::observe::envelope::{Style, decode, write};
use xtask::report::text::Palette;

fuzz_target!(|input: (Option<&[u8]>, Option<&[u8]>)| {
    let (key, value) = input;
    let mut line = String::new();
    let style = Style {
        palette: Palette { colour: false },
        now_ms: 1_763_720_000_000,
    };
    write(&mut line, &decode(key, value), style);
    assert!(!line.contains(char::is_control));
});
