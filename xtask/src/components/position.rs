//! The place that a connector has committed, as its offset tells it.

use serde::Serialize;
use serde_json::Value;

use crate::clients::mongodb::token;
use crate::clock;

/// A place in a source's log, and when what is there happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// PostgreSQL's LSN, MongoDB's time of the oplog, or the connector's words.
    pub place: String,
    /// Milliseconds since the epoch of the last event; none where the offset does not say.
    pub at: Option<u64>,
    /// Whether the snapshot is still being read.
    pub snapshot: bool,
}

/// Reads the place out of an offset as Debezium's connectors write them.
pub fn position(offset: &Value) -> Option<Position> {
    let number = |key: &str| offset.get(key).and_then(Value::as_u64);
    let snapshot = match offset.get("snapshot").or_else(|| offset.get("initsync")) {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("false"),
        _ => false,
    };
    if let Some(lsn) = number("lsn") {
        return Some(Position {
            place: lsn_text(lsn),
            at: number("ts_usec").map(|micros| micros / 1000),
            snapshot,
        });
    }
    // MongoDB: seconds and a count within the second, or after a heartbeat a resume token alone.
    let seconds = offset.get("sec").and_then(Value::as_i64)?;
    let by_token = || token::time(offset.get("resume_token")?.as_str()?);
    let seconds = u64::try_from(seconds).ok().or_else(by_token);
    let at = seconds.map(|seconds| seconds * 1000);
    Some(Position {
        place: match at {
            Some(at) => format!("{} #{}", clock::utc(at), number("ord").unwrap_or(0)),
            None => "resume token".into(),
        },
        at,
        snapshot,
    })
}

/// An LSN as PostgreSQL writes it.
pub fn lsn_text(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_of_both_sources() {
        let found = position(&json!({
            "lsn": 25_000_000_123_u64, "ts_usec": 1_700_000_000_123_456_u64, "snapshot": "INITIAL",
        }));
        let found = found.expect("a position");
        assert_eq!(found.place, "5/D21DBA7B");
        assert_eq!(found.at, Some(1_700_000_000_123));
        assert!(found.snapshot);
        let found = position(&json!({ "sec": 1_700_000_000, "ord": 3, "initsync": false }));
        let found = found.expect("a position");
        assert_eq!(found.place, "2023-11-14 22:13:20 UTC #3");
        assert!(!found.snapshot);
        let found = position(&json!({ "sec": -1, "ord": -1, "resume_token": "x" }));
        assert_eq!(
            found.map(|found| found.place).as_deref(),
            Some("resume token")
        );
        let token = "IwAAAAJfZGF0YQATAAAAODI2QjBDOEM3NDAwMDAwMDEwAAA=";
        let found = position(&json!({ "sec": -1, "ord": -1, "resume_token": token }));
        assert_eq!(found.and_then(|found| found.at), Some(0x6B0C_8C74 * 1000));
        assert_eq!(position(&json!({ "kafka_offset": 5 })), None);
    }
}
