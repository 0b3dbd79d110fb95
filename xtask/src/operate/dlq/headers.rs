//! What a record of a dead letter queue says about itself. Pure: any bytes are read.
//!
//! Connect adds `__connect.errors.*` behind the record's own headers, each a text, if the connector
//! has `errors.deadletterqueue.context.headers.enable=true`. A record that this tool sent back
//! carries headers of its own, which Connect keeps when it fails again.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::clients::kafka::Header;

/// What Connect's headers begin with.
pub const CONNECT: &str = "__connect.errors.";
/// What this tool's headers begin with.
pub const OURS: &str = "__cdc-xtask.redrive.";
/// How many times the record was sent back.
pub const ROUND: &str = "__cdc-xtask.redrive.round";
/// Where in a dead letter queue it was sent back from.
pub const FROM: &str = "__cdc-xtask.redrive.from";
/// Which record of its topic it repeats.
pub const ORIGIN: &str = "__cdc-xtask.redrive.origin";

/// A record's place: `topic/partition@offset`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no place.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a position: topic/partition@offset")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let read = || {
            let (topic, rest) = text.rsplit_once('/')?;
            let (partition, offset) = rest.split_once('@')?;
            let partition = partition.parse().ok().filter(|number| *number >= 0)?;
            let offset = offset.parse().ok().filter(|number| *number >= 0)?;
            (!topic.is_empty()).then(|| Place {
                topic: topic.to_owned(),
                partition,
                offset,
            })
        };
        read().ok_or_else(|| NoPlace(text.to_owned()))
    }
}

/// What a record says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The record that failed; none where the headers do not tell.
    pub origin: Option<Place>,
    /// Connector that could not process it.
    pub connector: Option<String>,
    /// Its task.
    pub task: Option<i32>,
    /// Where in the task: `KEY_CONVERTER`, `VALUE_CONVERTER`, `TRANSFORMATION`, `TASK_PUT`, ...
    pub stage: Option<String>,
    /// The class that was at work.
    pub class: Option<String>,
    /// Class of the exception.
    pub exception: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// Its stack trace.
    #[serde(skip)]
    pub stack: Option<String>,
    /// How many times this tool has sent the record back before.
    pub rounds: u32,
    /// Where it was sent back from the last time.
    pub from: Option<Place>,
    /// Headers that cannot be read, and why.
    pub damaged: Vec<String>,
    /// Whether there is any header of Connect's.
    pub has_context: bool,
}

/// Reads a record's headers. Of headers that repeat, the last one counts: it is the newest.
pub fn decode(headers: &[Header]) -> Failure {
    let mut reader = Reader {
        headers,
        damaged: Vec::new(),
    };
    let has_context = headers.iter().any(|header| header.key.starts_with(CONNECT));
    let topic = reader.text("__connect.errors.topic");
    let partition = reader.number::<i32>("__connect.errors.partition");
    let offset = reader.number::<i64>("__connect.errors.offset");
    let origin = match (topic, partition, offset) {
        (Some(topic), Some(partition), Some(offset)) if !topic.is_empty() => Some(Place {
            topic,
            partition,
            offset,
        }),
        _ => None,
    };
    Failure {
        origin,
        connector: reader.text("__connect.errors.connector.name"),
        task: reader.number("__connect.errors.task.id"),
        stage: reader.text("__connect.errors.stage"),
        class: reader.text("__connect.errors.class.name"),
        exception: reader.text("__connect.errors.exception.class.name"),
        message: reader.text("__connect.errors.exception.message"),
        stack: reader.text("__connect.errors.exception.stacktrace"),
        rounds: reader.number(ROUND).unwrap_or(0),
        from: reader.place(FROM),
        damaged: reader.damaged,
        has_context,
    }
}

/// The headers that are the record's own: neither Connect's nor this tool's.
pub fn own(headers: &[Header]) -> impl Iterator<Item = &Header> {
    headers
        .iter()
        .filter(|header| !header.key.starts_with(CONNECT) && !header.key.starts_with(OURS))
}

/// The place that a record repeats, if this tool sent it.
pub fn repeats(headers: &[Header]) -> Option<Place> {
    let value = headers.iter().rev().find(|header| header.key == ORIGIN);
    std::str::from_utf8(value?.value.as_deref()?)
        .ok()?
        .parse()
        .ok()
}

/// The headers with which a record is sent back.
pub fn sent_back(headers: &[Header], from: &Place, origin: &Place, round: u32) -> Vec<Header> {
    let ours = [
        (ROUND, round.to_string()),
        (FROM, from.to_string()),
        (ORIGIN, origin.to_string()),
    ];
    let ours = ours.map(|(key, value)| Header {
        key: key.to_owned(),
        value: Some(value.into()),
    });
    own(headers).cloned().chain(ours).collect()
}

struct Reader<'a> {
    headers: &'a [Header],
    damaged: Vec<String>,
}

impl Reader<'_> {
    fn bytes(&self, key: &str) -> Option<&[u8]> {
        let found = self.headers.iter().rev().find(|header| header.key == key);
        found?.value.as_deref()
    }

    fn text(&self, key: &str) -> Option<String> {
        let bytes = self.bytes(key)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A number that is not negative: places and counts have no others.
    fn number<T: FromStr + PartialOrd + Default>(&mut self, key: &str) -> Option<T> {
        self.parsed(key, "is no number", |text| {
            text.parse().ok().filter(|number| *number >= T::default())
        })
    }

    fn place(&mut self, key: &str) -> Option<Place> {
        self.parsed(key, "is not a position", |text| text.parse().ok())
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        fault: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let bytes = self.bytes(key)?;
        let parsed = std::str::from_utf8(bytes).ok().and_then(parse);
        if parsed.is_none() {
            let text = String::from_utf8_lossy(bytes);
            let text: String = text.chars().take(40).collect();
            self.damaged.push(format!("{key} `{text}` {fault}"));
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn header(key: &str, value: &str) -> Header {
        Header {
            key: key.into(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        }
    }

    /// As Connect 4.0 writes them.
    fn connects() -> Vec<Header> {
        [
            ("topic", "orders"),
            ("partition", "2"),
            ("offset", "17"),
            ("connector.name", "sink"),
            ("task.id", "0"),
            ("stage", "VALUE_CONVERTER"),
            ("class.name", "org.apache.kafka.connect.json.JsonConverter"),
            (
                "exception.class.name",
                "org.apache.kafka.connect.errors.DataException",
            ),
            ("exception.message", "no"),
            ("exception.stacktrace", "x\n\tat y"),
        ]
        .map(|(key, value)| header(&format!("{CONNECT}{key}"), value))
        .into()
    }

    #[test]
    fn connect_s_headers_are_read() {
        let found = decode(&connects());
        assert_eq!(found.origin.unwrap().to_string(), "orders/2@17");
        assert_eq!((found.task, found.rounds, found.from), (Some(0), 0, None));
        assert_eq!(found.stage.as_deref(), Some("VALUE_CONVERTER"));
        assert_eq!(found.stack.as_deref(), Some("x\n\tat y"));
        assert!(found.has_context && found.damaged.is_empty());
        let none = decode(&[header("mine", "1")]);
        assert_eq!(none, Failure::default());
    }

    #[test]
    fn the_newest_of_repeated_headers_counts() {
        let mut headers = connects();
        headers.push(header("__connect.errors.offset", "90"));
        assert_eq!(decode(&headers).origin.unwrap().offset, 90);
        headers.push(Header {
            key: "__connect.errors.exception.message".into(),
            value: None,
        });
        assert_eq!(decode(&headers).message, None);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_no_place_is_made_of_it() {
        for wrong in ["-1", "x", "", "1.5", "99999999999999999999"] {
            let mut headers = connects();
            headers.push(header("__connect.errors.partition", wrong));
            let found = decode(&headers);
            assert_eq!(found.origin, None, "{wrong}");
            assert_eq!(found.damaged.len(), 1, "{wrong}");
        }
        let found = decode(&[header(ROUND, "many"), header(FROM, "nowhere")]);
        assert_eq!((found.rounds, found.damaged.len()), (0, 2));
    }

    #[test]
    fn sent_back_it_has_its_own_headers_and_ours_once() {
        let mut headers = connects();
        headers.insert(0, header("mine", "1"));
        headers.insert(1, header("mine", "2"));
        let from: Place = "dlq/0@3".parse().unwrap();
        let origin: Place = "orders/2@17".parse().unwrap();
        let once = sent_back(&headers, &from, &origin, 1);
        let twice = sent_back(&once, &from, &origin, 2);
        let keys: Vec<&str> = twice.iter().map(|header| header.key.as_str()).collect();
        assert_eq!(keys, ["mine", "mine", ROUND, FROM, ORIGIN]);
        assert_eq!(decode(&twice).rounds, 2);
        assert_eq!(decode(&twice).from, Some(from));
        assert_eq!(repeats(&twice), Some(origin));
        assert_eq!(repeats(&headers), None);
    }

    fn any_headers() -> impl Strategy<Value = Vec<Header>> {
        let key = prop_oneof![
            Just("__connect.errors.topic".to_owned()),
            Just("__connect.errors.partition".to_owned()),
            Just("__connect.errors.offset".to_owned()),
            Just(ROUND.to_owned()),
            Just(FROM.to_owned()),
            Just(ORIGIN.to_owned()),
            ".*",
        ];
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            "[a-z/@0-9]{0,8}".prop_map(String::into_bytes),
        ];
        let header = (key, prop::option::of(value)).prop_map(|(key, value)| Header {
            key,
            value: value.map(Bytes::from),
        });
        prop::collection::vec(header, 0..12)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_places_are_never_negative(headers in any_headers()) {
            let found = decode(&headers);
            for place in found.origin.iter().chain(&found.from) {
                prop_assert!(place.partition >= 0 && place.offset >= 0 && !place.topic.is_empty());
            }
            prop_assert!(own(&headers).count() <= headers.len());
            let from = Place { topic: "d".into(), partition: 0, offset: 1 };
            let sent = sent_back(&headers, &from, &from, 1);
            prop_assert_eq!(decode(&sent).rounds, 1);
            prop_assert!(!decode(&sent).has_context);
        }

        #[test]
        fn a_place_is_read_back(topic in "[a-zA-Z0-9._/@-]{1,20}", partition in 0..i32::MAX, offset in 0..i64::MAX) {
            let place = Place { topic, partition, offset };
            prop_assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
    }
}
