//! Debezium's messages read as changes. What comes in was written by others: anything that is no
//! envelope is named as what it is, and nothing panics.
//!
//! Documents are read by `Value`'s own parser, which is compiled with serde_json and optimised;
//! generic readers would be compiled here, unoptimised.

mod text;

pub use text::{Style, write};

use serde_json::{Map, Value};

/// Columns or fields with their values, in the message's order.
pub type Fields = Map<String, Value>;

/// What Debezium writes for a large value that the update did not touch.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A change of a row or document.
    Change(Box<Change>),
    /// A key whose row is gone, for compaction.
    Tombstone(Fields),
    /// A connector's sign of life, made at this time.
    Heartbeat(Option<i64>),
    /// Begin or end of a transaction at the source.
    Transaction {
        /// `BEGIN` or `END`.
        status: String,
        /// The source's name for it.
        id: String,
    },
    /// A change of a table's definition.
    Schema(String),
    /// Something else; what it looks like.
    Other(String),
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new row.
    Insert,
    /// Another version of a row.
    Update,
    /// A row is gone.
    Delete,
    /// A row that was there when a snapshot read the table.
    Read,
    /// All rows are gone.
    Truncate,
    /// A message that the application wrote into the log (`pg_logical_emit_message`).
    Message,
}

impl Op {
    fn of(code: &str) -> Option<Self> {
        Some(match code {
            "c" => Op::Insert,
            "u" => Op::Update,
            "d" => Op::Delete,
            "r" => Op::Read,
            "t" => Op::Truncate,
            "m" => Op::Message,
            _ => return None,
        })
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Update => "update",
            Op::Delete => "delete",
            Op::Read => "snapshot",
            Op::Truncate => "truncate",
            Op::Message => "message",
        }
    }
}

/// A change of a row or document.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What happened.
    pub op: Op,
    /// The message's key.
    pub key: Fields,
    /// The row before; none for a new one, and where the source does not log it.
    pub before: Option<Fields>,
    /// The row after; none for one that is gone. Of a document that was updated it may be only what
    /// was set.
    pub after: Option<Fields>,
    /// Fields that an update of a document removed.
    pub removed: Vec<String>,
    /// Schema or database, and table or collection.
    pub table: Option<String>,
    /// Where in the source's log: `lsn 0/1A2B3C8`, `oplog 1763720000:1`.
    pub position: Option<String>,
    /// When the source committed it, in milliseconds since the epoch.
    pub committed_ms: Option<i64>,
}

impl Change {
    /// The columns that differ, with their values before and after. None where the source did not
    /// tell what was before.
    pub fn changed(&self) -> Option<Vec<(&str, &Value, &Value)>> {
        let (before, after) = (self.before.as_ref()?, self.after.as_ref()?);
        Some(
            after
                .iter()
                .filter_map(|(name, value)| {
                    let old = before.get(name).unwrap_or(&Value::Null);
                    let same = old == value || value.as_str() == Some(UNAVAILABLE);
                    (!same).then_some((name.as_str(), old, value))
                })
                .collect(),
        )
    }
}

/// Reads a message.
pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Event {
    let key = key.map_or_else(Fields::new, fields_of_key);
    let Some(bytes) = value else {
        return Event::Tombstone(key);
    };
    let Some(value) = json(bytes) else {
        return Event::Other(describe(bytes));
    };
    match without_schema(value) {
        Value::Object(mut fields) => match envelope(&key, &mut fields) {
            Some(change) => Event::Change(Box::new(change)),
            None => other_event(key, fields, bytes),
        },
        _ => Event::Other(describe(bytes)),
    }
}

/// Reads JSON. `Value`'s own reader is compiled with serde_json, and so optimised in every build of
/// this tool; `from_slice` would be compiled here, and take ten times as long in the usual one.
fn json(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The payload of a message that brings its schema along.
fn without_schema(value: Value) -> Value {
    match value {
        Value::Object(mut fields) if fields.len() == 2 && fields.contains_key("schema") => {
            match fields.remove("payload") {
                Some(payload) => payload,
                None => Value::Object(fields),
            }
        }
        other => other,
    }
}

fn fields_of_key(bytes: &[u8]) -> Fields {
    match json(bytes).map(without_schema) {
        // MongoDB's keys are documents as text.
        Some(Value::Object(fields)) => fields
            .into_iter()
            .map(|(name, value)| (name, parsed(value)))
            .collect(),
        Some(value) => Fields::from_iter([("key".to_owned(), value)]),
        None => Fields::from_iter([("key".to_owned(), Value::String(describe(bytes)))]),
    }
}

/// What a text holds, if that is a JSON document or literal; itself otherwise.
fn parsed(value: Value) -> Value {
    match &value {
        Value::String(text) if text.starts_with(['{', '"']) => {
            json(text.as_bytes()).unwrap_or(value)
        }
        _ => value,
    }
}

fn envelope(key: &Fields, fields: &mut Fields) -> Option<Change> {
    let Some(op) = fields.get("op").and_then(Value::as_str).and_then(Op::of) else {
        return flat(key, fields);
    };
    // A table may well have a column `op`; an envelope says where it comes from.
    let source = match fields.remove("source") {
        Some(Value::Object(source)) => source,
        _ => return flat(key, fields),
    };
    let mut row = |name: &str| match fields.remove(name).map(parsed) {
        Some(Value::Object(row)) => Some(row),
        _ => None,
    };
    let (before, mut after) = (row("before"), row("after"));
    let mut removed = Vec::new();
    if let Some(Value::Object(mut update)) = fields.remove("updateDescription") {
        if let Some(Value::Array(names)) = update.remove("removedFields") {
            removed.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        if after.is_none()
            && let Some(Value::Object(set)) = update.remove("updatedFields").map(parsed)
        {
            after = Some(set);
        }
    }
    if op == Op::Message
        && let Some(Value::Object(message)) = fields.remove("message")
    {
        after = Some(message);
    }
    Some(Change {
        op,
        key: key.clone(),
        before,
        after,
        removed,
        table: table(&source),
        position: position(&source),
        committed_ms: source
            .get("ts_ms")
            .and_then(Value::as_i64)
            .filter(|ms| *ms > 0),
    })
}

/// A row that Debezium's `ExtractNewRecordState` took out of its envelope, with what it was configured to
/// add to it.
fn flat(key: &Fields, fields: &mut Fields) -> Option<Change> {
    let added = |name: &str| fields.get(name).and_then(Value::as_str);
    let deleted = added("__deleted") == Some("true");
    let op = match added("__op").and_then(Op::of) {
        _ if deleted => Op::Delete,
        Some(op) => op,
        None if fields.contains_key("__deleted") => Op::Update,
        None => return None,
    };
    let source: Fields = fields
        .iter()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("__source_")?.to_owned(), value.clone()))
        })
        .collect();
    let row: Fields = fields
        .iter()
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let (before, after) = match op {
        Op::Delete => (Some(row), None),
        _ => (None, Some(row)),
    };
    Some(Change {
        op,
        key: key.clone(),
        before,
        after,
        removed: Vec::new(),
        table: table(&source),
        position: position(&source),
        committed_ms: source.get("ts_ms").and_then(Value::as_i64),
    })
}

fn table(source: &Fields) -> Option<String> {
    let text = |name: &str| {
        source
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let table = text("table").or_else(|| text("collection"))?;
    Some(match text("schema").or_else(|| text("db")) {
        Some(space) => format!("{space}.{table}"),
        None => table.to_owned(),
    })
}

/// Where in the source's log a change is, as the source's own tools write it.
fn position(source: &Fields) -> Option<String> {
    let number = |name: &str| source.get(name).and_then(Value::as_u64);
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    if let Some(lsn) = number("lsn") {
        return Some(format!("lsn {:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff));
    }
    if let Some(ord) = number("ord") {
        return Some(format!("oplog {}:{ord}", number("ts_ms")? / 1000));
    }
    if let Some(lsn) = text("change_lsn").or_else(|| text("commit_lsn")) {
        return Some(format!("lsn {lsn}"));
    }
    Some(format!("binlog {}:{}", text("file")?, number("pos")?))
}

fn other_event(key: Fields, fields: Fields, bytes: &[u8]) -> Event {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if let (Some(status @ ("BEGIN" | "END")), Some(id)) = (text("status"), text("id")) {
        return Event::Transaction {
            status: status.to_owned(),
            id: id.to_owned(),
        };
    }
    if fields.contains_key("ddl") || fields.contains_key("tableChanges") {
        return Event::Schema(text("ddl").unwrap_or("(without DDL)").to_owned());
    }
    if key.contains_key("serverName") && fields.contains_key("ts_ms") {
        return Event::Heartbeat(fields.get("ts_ms").and_then(Value::as_i64));
    }
    Event::Other(describe(bytes))
}

/// What bytes look like that are no envelope.
fn describe(bytes: &[u8]) -> String {
    match (bytes, std::str::from_utf8(bytes)) {
        // The wire format of schema registries: a zero and the schema's number.
        ([0, id @ ..], _) if id.len() >= 4 => {
            let id = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
            format!("{} bytes with schema {id} of a registry", bytes.len())
        }
        (_, Ok(text)) => text.to_owned(),
        (_, Err(_)) => format!("{} bytes that are no text", bytes.len()),
    }
}

#[cfg(test)]
mod tests;
