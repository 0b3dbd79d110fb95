//! Any bytes as a dead letter queue record's headers, and any text as the file of a person who mends
//! records: places are never negative, what is sent back has our headers once, and a wrong file is
//! refused at a place.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use xtask::clients::kafka::Header;
use xtask::operate::dlq::{edit, headers};

fuzz_target!(|input: (Vec<(&str, Option<&[u8]>)>, &str)| {
    let (pairs, text) = input;
    let all: Vec<Header> = pairs
        .into_iter()
        .map(|(key, value)| Header {
            key: key.to_owned(),
            value: value.map(|value| value.to_vec().into()),
        })
        .collect();
    let found = headers::decode(&all);
    for place in found.origin.iter().chain(&found.from) {
        assert!(place.partition >= 0 && place.offset >= 0);
        assert_eq!(place.to_string().parse::<headers::Place>().ok().as_ref(), Some(place));
    }
    let origin: headers::Place = "t/0@1".parse().expect("a place");
    let sent = headers::sent_back(&all, &origin, &origin, 1);
    assert_eq!(headers::repeats(&sent), Some(origin));
    if let Err(error) = edit::parse(Path::new("e.jsonl"), text) {
        assert!(error.at.is_some(), "{error}");
    }
});
