//! Any bytes as a server's SCRAM messages: none panics, and none passes as a proof.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask::clients::kafka::scram::{ClientFirst, Hash};

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

fuzz_target!(|input: (&[u8], &[u8])| {
    let (challenge, proof) = input;
    let first = ClientFirst::new(Hash::Sha512, "user", NONCE.to_owned())
        .expect("a right user name");
    let continued = [b"r=".as_slice(), NONCE.as_bytes(), challenge].concat();
    for challenge in [challenge, &continued] {
        if let Ok(answer) = first.answer("pencil", challenge) {
            assert!(answer.message().starts_with(&format!("c=biws,r={NONCE}")));
            assert!(answer.verify(proof).is_err());
        }
    }
});
