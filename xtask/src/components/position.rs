//! The place that a connector has committed, as its offset tells it.

use serde::Serialize;
use serde_json::Value;

use super::ALL;

/// A place in a source's log, and when what is there happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The place in the source's words, or the connector's.
    pub place: String,
    /// Milliseconds since the epoch of the last event; none where the offset does not say.
    pub at: Option<u64>,
    /// Whether the snapshot is still being read.
    pub snapshot: bool,
}

/// Reads the place out of an offset, whichever source's connector wrote it.
pub fn position(offset: &Value) -> Option<Position> {
    ALL.iter().find_map(|it| (it.position)(offset))
}

/// Whether an offset was committed before its connector had read the snapshot to its end.
pub(super) fn is_of_snapshot(offset: &Value) -> bool {
    match offset.get("snapshot").or_else(|| offset.get("initsync")) {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("false"),
        _ => false,
    }
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
