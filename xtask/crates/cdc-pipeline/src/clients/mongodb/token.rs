//! Resume tokens of change streams, as Debezium keeps them: the token's BSON document in Base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::Document;

/// The time of the event that a token names, in seconds since 1970.
pub fn time(token: &str) -> Option<u64> {
    timestamp(token).map(|it| it >> 32)
}

/// The timestamp of the event that a token names: its seconds, and its number within them. The token's `_data` is a
/// KeyString in hex that begins with `82` and the event's cluster time (MongoDB, `resume_token.cpp`).
pub fn timestamp(token: &str) -> Option<u64> {
    let bytes = STANDARD.decode(token).ok()?;
    let token = Document::from_reader(bytes.as_slice()).ok()?;
    let time = token.get_str("_data").ok()?.strip_prefix("82")?.get(..16)?;
    u64::from_str_radix(time, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that Debezium 3.5 kept.
    #[test]
    fn a_token_tells_its_time_and_anything_else_none() {
        let token = "IwAAAAJfZGF0YQATAAAAODI2QjBDOEM3NDAwMDAwMDEwAAA=";
        assert_eq!(time(token), Some(0x6B0C_8C74));
        assert_eq!(timestamp(token), Some(0x6B0C_8C74_0000_0010));
        for other in ["", "x", "AAAA", "IwAAAAJfZGF0YQATAAAA"] {
            assert_eq!(time(other), None, "{other}");
        }
    }
}
