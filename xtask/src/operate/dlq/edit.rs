//! Records in a file that a person fixes: one JSON object for each, with key and value as JSON, text
//! or base64.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::decide::Outgoing;
use super::{Entry, Place};
use crate::error::{Code, Error, Location, Result};
use crate::files::write_atomic;

/// What a record's key and value shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
}

/// A file that was read.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    file: PathBuf,
    /// By their places in the queue.
    pub records: BTreeMap<Place, Edit>,
    /// Where in the file each stands, and of which record it says that it is.
    lines: BTreeMap<Place, (Location, String)>,
}

/// One object of the file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Place in the queue.
    dlq: String,
    /// The record that failed; for people, and held against the queue.
    from: String,
    /// Why it failed; for people alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
    key: Option<Content>,
    value: Option<Content>,
}

/// Bytes as people can change them.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    Json(serde_json::Value),
    Text(String),
    Base64(#[serde(serialize_with = "encoded", deserialize_with = "decoded")] Vec<u8>),
}

fn encoded<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn decoded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Base64;
    impl serde::de::Visitor<'_> for Base64 {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("base64")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            STANDARD
                .decode(text)
                .map_err(|error| E::custom(format!("this is no base64: {error}")))
        }
    }
    deserializer.deserialize_str(Base64)
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Content::Base64(bytes.to_vec());
        };
        // As JSON only where what nobody changes comes back byte by byte.
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) if serde_json::to_string(&value).is_ok_and(|same| same == text) => {
                Content::Json(value)
            }
            _ => Content::Text(text.to_owned()),
        }
    }

    fn bytes(self) -> Bytes {
        match self {
            Content::Json(value) => value.to_string().into(),
            Content::Text(text) => text.into(),
            Content::Base64(bytes) => bytes.into(),
        }
    }
}

/// Writes records for a person to fix. Values may be anybody's data: the file is the owner's alone.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, records: &[Outgoing]) -> Result<()> {
    let content = |bytes: &Option<Bytes>| bytes.as_deref().map(Content::of);
    let mut text = String::new();
    for one in records {
        let why = [one.exception.as_deref(), one.message.as_deref()];
        let line = Line {
            dlq: one.from.to_string(),
            from: one.origin.to_string(),
            why: why.into_iter().flatten().collect::<Vec<_>>().join(": "),
            key: content(&one.record.key),
            value: content(&one.record.value),
        };
        text += &format!("{}\n", serde_json::json!(line));
    }
    write_atomic(path, text.as_bytes(), 0o600)
}

/// Reads a file back.
///
/// # Errors
/// It cannot be read, or something in it is wrong; with its place.
pub fn read(path: &Path) -> Result<Edits> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::io("read", path, &source))?;
    parse(path, &text)
}

/// Reads a file's text.
///
/// # Errors
/// Something in it is wrong; with its place.
pub fn parse(path: &Path, text: &str) -> Result<Edits> {
    let mut edits = Edits {
        file: path.to_owned(),
        ..Edits::default()
    };
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Line>();
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let begin = text.len() - rest.trim_start().len();
        let Some(line) = stream.next() else { break };
        let line = line.map_err(|error| {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
            Error::new(Code::Usage, what)
                .at(Location {
                    file: path.display().to_string(),
                    line: error.line(),
                    column: error.column(),
                })
                .hint("an object has dlq, from, why, key and value; these are null, {\"json\": ...}, {\"text\": \"...\"} or {\"base64\": \"...\"}")
        })?;
        let location = edits.location(text, begin);
        let place: Place = line.dlq.parse().map_err(|error: super::headers::NoPlace| {
            Error::new(Code::Usage, error.to_string()).at(location.clone())
        })?;
        let edit = Edit {
            key: line.key.map(Content::bytes),
            value: line.value.map(Content::bytes),
        };
        if edits.records.insert(place.clone(), edit).is_some() {
            let what = format!("{place} is there twice");
            return Err(Error::new(Code::Usage, what).at(location));
        }
        edits.lines.insert(place, (location, line.from));
    }
    Ok(edits)
}

impl Edits {
    fn location(&self, text: &str, at: usize) -> Location {
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or(before);
        Location {
            file: self.file.display().to_string(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }

    /// Holds the file against the queues' records.
    ///
    /// # Errors
    /// It has a record that no queue has, or that is another one by now.
    pub fn check(&self, entries: &[Entry]) -> Result<()> {
        let there: BTreeMap<&Place, &Entry> =
            entries.iter().map(|entry| (&entry.at, entry)).collect();
        for (place, (location, from)) in &self.lines {
            let wrong = |what: String| Err(Error::new(Code::Usage, what).at(location.clone()));
            let Some(entry) = there.get(place) else {
                return wrong(format!("{place} is in none of the chosen queues"));
            };
            match &entry.failure.origin {
                Some(origin) if origin.to_string() == *from => {}
                Some(origin) => {
                    return wrong(format!(
                        "{place} is from {origin}, not from {from}: only key and value can be changed"
                    ));
                }
                None => {
                    return wrong(format!("{place} does not name its origin"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clients::kafka::Record;

    fn outgoing(offset: i64, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Outgoing {
        let place = |topic: &str| Place {
            topic: topic.into(),
            partition: 0,
            offset,
        };
        Outgoing {
            from: place("dlq"),
            origin: place("t"),
            connector: "sink".into(),
            round: 1,
            exception: Some("E".into()),
            message: Some("no".into()),
            edited: false,
            superseded: false,
            record: Record::new(key.map(Bytes::from), value.map(Bytes::from)),
        }
    }

    fn parsed(text: &str) -> Result<Edits> {
        parse(Path::new("e.jsonl"), text)
    }

    #[test]
    fn a_file_shows_json_as_json_and_bytes_as_base64() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.jsonl");
        let records = [
            outgoing(0, Some(b"{\"id\":7}".into()), Some(b"\xff".into())),
            outgoing(1, Some(b"k".into()), None),
        ];
        write(&path, &records).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"dlq\":\"dlq/0@0\",\"from\":\"t/0@0\",\"why\":\"E: no\",\"key\":{\"json\":{\"id\":7}},\"value\":{\"base64\":\"/w==\"}}\n\
             {\"dlq\":\"dlq/0@1\",\"from\":\"t/0@1\",\"why\":\"E: no\",\"key\":{\"text\":\"k\"},\"value\":null}\n"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let good = r#"{"dlq":"d/0@1","from":"t/0@1","key":null,"value":{"text":"x"}}"#;
        assert_eq!(parsed(good).unwrap().records.len(), 1);
        assert!(parsed(" \n\n").unwrap().records.is_empty());
        for (text, place, words) in [
            (
                format!("{good}\n{{\"dlq\":1"),
                "e.jsonl:2:8",
                "expected a string",
            ),
            (format!("{good}\n{good}"), "e.jsonl:2:1", "there twice"),
            (good.replace("d/0@1", "d"), "e.jsonl:1:1", "not a position"),
            (
                good.replace("value", "valeu"),
                "e.jsonl:1:48",
                "unknown field",
            ),
            (
                good.replace(r#"{"text":"x"}"#, r#"{"base64":"%"}"#),
                "e.jsonl:1:62",
                "no base64",
            ),
            (good.replace("text", "hex"), "e.jsonl:1:", "unknown variant"),
            (format!("\n  {good} x"), "e.jsonl:2:", "expected"),
        ] {
            let error = parsed(&text).unwrap_err();
            assert_eq!(error.code, Code::Usage);
            let at = error.at.unwrap().to_string();
            assert!(at.starts_with(place), "{at}: {text}");
            assert!(error.message.contains(words), "{}: {text}", error.message);
        }
    }

    #[test]
    fn a_file_of_other_records_is_refused() {
        use crate::clients::kafka::Header;
        let headers = [("topic", "t"), ("partition", "0"), ("offset", "1")];
        let headers = headers.map(|(key, value)| Header {
            key: format!("__connect.errors.{key}"),
            value: Some(Bytes::from_static(value.as_bytes())),
        });
        let record = Record {
            offset: 1,
            headers: headers.into(),
            ..Record::new(None, None)
        };
        let entries = [Entry::of("d", 0, record)];
        let check = |dlq: &str, from: &str| {
            let text = format!(r#"{{"dlq":"{dlq}","from":"{from}","key":null,"value":null}}"#);
            parsed(&text).unwrap().check(&entries)
        };
        check("d/0@1", "t/0@1").unwrap();
        let error = check("d/0@2", "t/0@1").unwrap_err();
        assert!(error.message.contains("none of the chosen queues"));
        let error = check("d/0@1", "t/0@2").unwrap_err();
        assert!(error.message.contains("only key and value"));
        assert_eq!(error.at.unwrap().to_string(), "e.jsonl:1:1");
    }

    fn content() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            ".{0,12}".prop_map(String::into_bytes),
            any::<f64>()
                .prop_map(|number| format!("{{\"a\":{number},\"b\":[1.0, 2]}}").into_bytes()),
            any::<u64>().prop_map(|number| format!("{{\"b\":{number},\"a\":null}}").into_bytes()),
        ])
    }

    proptest! {
        #[test]
        fn what_nobody_changes_comes_back_byte_by_byte(parts in prop::collection::vec((content(), content()), 0..5)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("e.jsonl");
            let records: Vec<Outgoing> = (0..).zip(parts).map(|(at, (key, value))| outgoing(at, key, value)).collect();
            write(&path, &records).unwrap();
            let edits = read(&path).unwrap();
            prop_assert_eq!(edits.records.len(), records.len());
            for one in &records {
                let edit = &edits.records[&one.from];
                prop_assert_eq!((&edit.key, &edit.value), (&one.record.key, &one.record.value));
            }
        }

        #[test]
        fn any_text_is_read_or_refused_at_a_place(text in ".*") {
            if let Err(error) = parsed(&text) {
                prop_assert!(error.at.is_some());
            }
        }
    }
}
