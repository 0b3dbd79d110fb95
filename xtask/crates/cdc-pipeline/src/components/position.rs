//! The place that a connector has committed, as its offset tells it.

use serde::Serialize;
use serde_json::{Value, json};

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

/// Whether an offset was committed before its connector had read its first snapshot to its end. One that reads some
/// tables again goes on streaming meanwhile.
pub(super) fn is_of_snapshot(offset: &Value) -> bool {
    match offset.get("snapshot").or_else(|| offset.get("initsync")) {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => !["false", "incremental"]
            .iter()
            .any(|it| text.eq_ignore_ascii_case(it)),
        _ => false,
    }
}

/// The tables that a connector reads again while it streams, and those that wait for it: Debezium keeps them in its
/// offset.
const TABLES: &str = "incremental_snapshot_collections";

/// The tables that a connector which committed this offset reads again.
pub fn rereads(offset: &Value) -> Vec<String> {
    let text = offset.get(TABLES).and_then(Value::as_str);
    let found: Option<Vec<Value>> = text.and_then(|text| serde_json::from_str(text).ok());
    let found = found.into_iter().flatten();
    found
        .filter_map(|it| Some(it.get(format!("{TABLES}_id"))?.as_str()?.to_owned()))
        .collect()
}

/// The offset with which a connector reads these tables, too, after those that it reads already: whole, or only rows
/// for which a condition in the source's SQL holds. It calls them `id` in its notifications.
pub fn with_rereads<'a>(
    offset: &Value,
    tables: impl Iterator<Item = (&'a String, Option<&'a String>)>,
    id: &str,
) -> Value {
    let text = offset.get(TABLES).and_then(Value::as_str);
    let mut all: Vec<Value> = text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    all.extend(tables.map(|(table, condition)| {
        json!({
            format!("{TABLES}_id"): table,
            format!("{TABLES}_additional_condition"): condition,
            format!("{TABLES}_surrogate_key"): null,
            format!("{TABLES}_correlation_id"): id,
        })
    }));
    let mut offset = offset.clone();
    offset[TABLES] = Value::String(Value::from(all).to_string());
    offset["incremental_snapshot_correlation_id"] = id.into();
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_both_sources() {
        let found = position(&json!({
            "lsn": 25_000_000_123_u64, "ts_usec": 1_700_000_000_123_456_u64, "snapshot": "INITIAL",
        }));
        let found = found.expect("a position");
        assert_eq!(found.place, "5/D21DBA7B");
        assert_eq!(found.at, Some(1_700_000_000_123));
        assert!(found.snapshot);
        let found = position(&json!({ "lsn": 1_u64, "snapshot": "INCREMENTAL" }));
        assert!(!found.expect("a position").snapshot);
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

    #[test]
    fn tables_are_read_again_one_after_the_other() {
        let offset = json!({ "lsn": 7 });
        let first = with_rereads(&offset, [(&"public.a".to_owned(), None)].into_iter(), "one");
        let both = with_rereads(
            &first,
            [(&"public.b".to_owned(), Some(&"id = 7".to_owned()))].into_iter(),
            "two",
        );
        assert!(
            both[TABLES]
                .as_str()
                .is_some_and(|it| it.contains("\"id = 7\"")),
            "{both}"
        );
        assert_eq!(rereads(&both), ["public.a", "public.b"]);
        assert_eq!(both["lsn"], 7);
        assert_eq!(rereads(&offset), Vec::<String>::new());
        assert_eq!(rereads(&json!({ TABLES: "no JSON" })), Vec::<String>::new());
    }
}
