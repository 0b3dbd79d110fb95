//! A message on one line.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::clients::kafka::{NO_TIMESTAMP, Record};
use crate::clock;
use crate::observe::envelope::{Change, Event};

/// What of a message is printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// The key before the value.
    pub keys: bool,
    /// Headers before that.
    pub headers: bool,
    /// Control characters are replaced, since they would command the terminal.
    pub harmless: bool,
}

/// Appends the message as text, with the end of its line.
pub fn text(line: &mut Vec<u8>, record: &Record, parts: Parts) {
    let begin = line.len();
    if parts.headers {
        for (index, header) in record.headers.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            line.extend_from_slice(header.key.as_bytes());
            line.push(b':');
            line.extend_from_slice(header.value.as_deref().unwrap_or(b"null"));
        }
        line.push(b'\t');
    }
    if parts.keys {
        line.extend_from_slice(record.key.as_deref().unwrap_or(b"null"));
        line.push(b'\t');
    }
    line.extend_from_slice(record.value.as_deref().unwrap_or(b"null"));
    if parts.harmless
        && line[begin..]
            .iter()
            .any(|byte| *byte != b'\t' && (*byte < b' ' || *byte > b'~'))
    {
        let text = String::from_utf8_lossy(&line[begin..]);
        let text = text.replace(|char: char| char != '\t' && char.is_control(), " ");
        line.truncate(begin);
        line.extend_from_slice(text.as_bytes());
    }
    line.push(b'\n');
}

/// Appends the message as an object, with the end of its line. Key and value are JSON where they
/// are JSON, texts where they are texts, and `{"base64": ...}` otherwise; none is null.
pub fn object(line: &mut Vec<u8>, partition: i32, record: &Record) {
    line.extend_from_slice(
        format!(
            "{{\"partition\":{partition},\"offset\":{},\"timestamp\":",
            record.offset
        )
        .as_bytes(),
    );
    match u64::try_from(record.timestamp) {
        Ok(ms) => line.extend_from_slice(ms.to_string().as_bytes()),
        Err(_) => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"key\":");
    bytes(line, record.key.as_deref());
    line.extend_from_slice(b",\"value\":");
    bytes(line, record.value.as_deref());
    line.extend_from_slice(b",\"tombstone\":");
    line.extend_from_slice(if record.value.is_none() {
        b"true"
    } else {
        b"false"
    });
    line.extend_from_slice(b",\"headers\":[");
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        line.extend_from_slice(b"{\"key\":");
        line.extend_from_slice(json!(header.key).to_string().as_bytes());
        line.extend_from_slice(b",\"value\":");
        bytes(line, header.value.as_deref());
        line.push(b'}');
    }
    line.extend_from_slice(b"]}\n");
}

fn bytes(line: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        return line.extend_from_slice(b"null");
    };
    // Most values are documents on one line, which go through as they are.
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    if is_json && !bytes.contains(&b'\n') {
        return line.extend_from_slice(bytes);
    }
    line.extend_from_slice(value(bytes).to_string().as_bytes());
}

/// A key or value: JSON where it is JSON, a text where it is a text, and `{"base64": ...}` otherwise.
pub fn value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Err(_) => {
            use base64::Engine as _;
            json!({ "base64": base64::engine::general_purpose::STANDARD.encode(bytes) })
        }
    }
}

/// What a message says, as an object.
pub fn change(partition: i32, record: &Record, event: &Event, now_ms: u64) -> Value {
    let mut object = json!({ "partition": partition, "offset": record.offset });
    if record.timestamp != NO_TIMESTAMP {
        object["timestamp"] = record.timestamp.into();
    }
    let (kind, more) = match event {
        Event::Change(change) => (change.op.name(), of_change(change, now_ms)),
        Event::Tombstone(key) => ("tombstone", json!({ "key": key })),
        Event::Heartbeat(made) => ("heartbeat", json!({ "made_ms": made })),
        Event::Transaction { status, id } => ("transaction", json!({ "status": status, "id": id })),
        Event::Schema(ddl) => ("schema", json!({ "ddl": ddl })),
        Event::Other(text) => ("other", json!({ "text": text })),
    };
    object["kind"] = kind.into();
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn of_change(change: &Change, now_ms: u64) -> Value {
    let changed = change.changed().map(|changed| {
        let pairs = changed
            .into_iter()
            .map(|(name, old, new)| (name.to_owned(), json!({ "before": old, "after": new })));
        Value::Object(pairs.collect())
    });
    let committed = change.committed_ms.and_then(|ms| u64::try_from(ms).ok());
    json!({
        "key": change.key,
        "table": change.table,
        "before": change.before,
        "after": change.after,
        "changed": changed,
        "removed": change.removed,
        "position": change.position,
        "committed_ms": change.committed_ms,
        "committed": committed.map(clock::utc),
        "age_ms": committed.map(|ms| now_ms.saturating_sub(ms)),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clients::kafka::Header;
    use crate::observe::envelope;

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Record {
        Record {
            offset: 7,
            timestamp: 1_000,
            headers: vec![Header {
                key: "h\"".into(),
                value: Some(Bytes::from_static(b"v")),
            }],
            ..Record::new(key.map(Bytes::from_static), value.map(Bytes::from_static))
        }
    }

    fn text_of(record: &Record, parts: Parts) -> String {
        let mut line = Vec::new();
        text(&mut line, record, parts);
        String::from_utf8_lossy(&line).into_owned()
    }

    fn object_of(record: &Record) -> String {
        let mut line = Vec::new();
        object(&mut line, 3, record);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn texts_are_what_the_message_holds() {
        let both = record(Some(b"k"), Some(b"v\x1b[2J"));
        let all = Parts {
            keys: true,
            headers: true,
            harmless: false,
        };
        assert_eq!(text_of(&both, all), "h\":v\tk\tv\x1b[2J\n");
        assert_eq!(text_of(&both, Parts::default()), "v\x1b[2J\n");
        let harmless = Parts {
            harmless: true,
            keys: true,
            headers: false,
        };
        assert_eq!(text_of(&both, harmless), "k\tv [2J\n");
        assert_eq!(text_of(&record(None, None), harmless), "null\tnull\n");
    }

    #[test]
    fn objects_are_json_whatever_the_message_holds() {
        for (value, shown) in [
            (Some(&b"{\"a\":  1}"[..]), "{\"a\":  1}"),
            (Some(b"{\n\"a\": 1}"), "{\"a\":1}"),
            (Some(b"text\n"), "\"text\\n\""),
            (Some(b""), "\"\""),
            (Some(b"\xff"), "{\"base64\":\"/w==\"}"),
            (None, "null"),
        ] {
            let line = object_of(&record(Some(b"1"), value));
            assert_eq!(
                line,
                format!(
                    "{{\"partition\":3,\"offset\":7,\"timestamp\":1000,\"key\":1,\"value\":{shown},\
                     \"tombstone\":{},\"headers\":[{{\"key\":\"h\\\"\",\"value\":\"v\"}}]}}\n",
                    value.is_none()
                )
            );
            assert!(serde_json::from_str::<Value>(&line).is_ok());
        }
    }

    #[test]
    fn a_change_as_an_object() {
        let value = json!({
            "op": "u", "before": { "id": 1, "n": 1 }, "after": { "id": 1, "n": 2 },
            "source": { "schema": "public", "table": "t", "lsn": 16, "ts_ms": 1000 },
        });
        let event = envelope::decode(Some(b"{\"id\":1}"), Some(value.to_string().as_bytes()));
        let object = change(0, &record(None, None), &event, 1_500);
        assert_eq!(object["kind"], "update");
        assert_eq!(object["key"], json!({ "id": 1 }));
        assert_eq!(
            object["changed"],
            json!({ "n": { "before": 1, "after": 2 } })
        );
        assert_eq!(object["position"], "lsn 0/10");
        assert_eq!(object["age_ms"], 500);
    }

    proptest::proptest! {
        #[test]
        fn an_object_is_one_line_of_json(key: Option<Vec<u8>>, value: Option<Vec<u8>>) {
            let record = Record::new(key.map(Bytes::from), value.map(Bytes::from));
            let line = object_of(&record);
            proptest::prop_assert_eq!(line.matches('\n').count(), 1);
            proptest::prop_assert!(serde_json::from_str::<Value>(&line).is_ok());
        }
    }
}
