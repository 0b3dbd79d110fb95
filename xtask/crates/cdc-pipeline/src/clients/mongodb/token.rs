//! Resume tokens of change streams, as Debezium keeps them: the token's BSON document in Base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::Document;

/// The time of the event that a token names, in seconds since 1970. Its `_data` is a KeyString in hex that begins
/// with the event's cluster time: `82`, then the timestamp's seconds (MongoDB, `resume_token.cpp`).
pub fn time(token: &str) -> Option<u64> {
    let bytes = STANDARD.decode(token).ok()?;
    let token = Document::from_reader(bytes.as_slice()).ok()?;
    let seconds = token.get_str("_data").ok()?.strip_prefix("82")?.get(..8)?;
    u64::from_str_radix(seconds, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that Debezium 3.5 kept.
    #[test]
    fn a_token_tells_its_time_and_anything_else_none() {
        let token = "IwAAAAJfZGF0YQATAAAAODI2QjBDOEM3NDAwMDAwMDEwAAA=";
        assert_eq!(time(token), Some(0x6B0C_8C74));
        for other in ["", "x", "AAAA", "IwAAAAJfZGF0YQATAAAA"] {
            assert_eq!(time(other), None, "{other}");
        }
    }
}
