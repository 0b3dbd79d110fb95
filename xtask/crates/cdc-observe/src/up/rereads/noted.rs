//! Tables that a connector reads again while it streams: what is noted of it, and how far it is.
//!
//! State is in Kafka. A compacted topic holds this tool's note of the tables that a connector captures and of those
//! that are still to be read. The connector tells in the topic of notifications how far it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clients::kafka::{FetchOptions, KafkaClient, KafkaError, OffsetAt, Record};
use crate::clock;
use crate::components::{kafka, service};
use crate::environment::Environment;
use crate::error::Result;
use crate::profile::topics::Rereads;
use crate::wait;

use super::{captured, first};

/// How soon a topic has a leader.
const LEADS_WITHIN: Duration = Duration::from_secs(30);
/// The note's key.
const NOTE: &str = "tables";

/// What is noted of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Note {
    /// The tables that it captures.
    pub tables: BTreeSet<String>,
    /// Those that it captured once: their rows at the target may be out of date.
    #[serde(default)]
    pub left: BTreeSet<String>,
    /// What is still to be read.
    #[serde(default)]
    pub asked: Option<Asked>,
}

/// Tables that are to be read again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Asked {
    /// What the connector calls it in its notifications.
    pub id: String,
    /// When it was asked for, in milliseconds since the epoch.
    pub at: u64,
    /// The position of what the connector had read by then.
    pub after: String,
    /// The tables.
    pub tables: BTreeSet<String>,
    /// Those of which the target has older rows. What the source no longer has is not told by a snapshot.
    #[serde(default)]
    pub compare: BTreeSet<String>,
    /// Of which tables only the rows are read for which this holds, in the source's SQL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, String>,
    /// Whether the connector is stopped to be told.
    #[serde(default)]
    pub stopped: bool,
}

/// Reads the note; none of a connector of which there is none.
///
/// # Errors
/// Kafka does not answer, or refuses.
pub async fn read(client: &KafkaClient, topics: &Rereads) -> Result<Option<Note>> {
    let all = led(|| async {
        let mut from = client.offsets(&topics.tables, OffsetAt::Earliest).await?;
        records(client, &topics.tables, &mut from).await
    });
    let all = all.await.map_err(service)?;
    let last = all.into_iter().rev().find_map(|record| record.value);
    Ok(last.and_then(|value| serde_json::from_slice(&value).ok()))
}

/// Writes the note.
///
/// # Errors
/// Kafka does not answer, or refuses.
pub async fn write(client: &KafkaClient, topics: &Rereads, note: &Note) -> Result<()> {
    let text = |text: String| Some(Bytes::from(text));
    let record = Record::new(text(NOTE.to_owned()), text(json!(note).to_string()));
    let sent = led(|| client.produce(&topics.tables, 0, std::slice::from_ref(&record))).await;
    sent.map(drop).map_err(service)
}

/// Asks Kafka, again while what it refuses passes by itself: a topic that was just made has no leader for a moment.
async fn led<T, F>(ask: impl Fn() -> F) -> Result<T, KafkaError>
where
    F: Future<Output = Result<T, KafkaError>>,
{
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.is_retriable() && begun.elapsed() < LEADS_WITHIN => {
                wait::before_retry(Duration::from_millis(100)).await;
            }
            other => return other,
        }
    }
}

/// The records of a topic from these offsets to its end, which become the next ones to read. What has the same key
/// is in one partition, and comes in its order.
async fn records(
    client: &KafkaClient,
    topic: &str,
    from: &mut BTreeMap<i32, i64>,
) -> Result<Vec<Record>, KafkaError> {
    let options = FetchOptions {
        max_wait: Duration::ZERO,
        min_bytes: 0,
        ..FetchOptions::default()
    };
    let ends = client.offsets(topic, OffsetAt::Latest).await?;
    let mut found = Vec::new();
    for (partition, from) in from {
        let end = ends.get(partition).copied().unwrap_or(0);
        while *from < end {
            let batch = client.fetch(topic, *partition, *from, &options).await?;
            if batch.next_offset <= *from {
                break;
            }
            *from = batch.next_offset;
            found.extend(batch.records);
        }
    }
    Ok(found)
}

/// A notification of Debezium's.
#[derive(Clone, Debug, Deserialize)]
struct Notice {
    id: String,
    r#type: String,
    #[serde(default)]
    additional_data: BTreeMap<String, String>,
    #[serde(default)]
    timestamp: u64,
}

/// Reads a notification; none where the value is no such thing.
fn notice(value: &[u8]) -> Option<Notice> {
    let value: Value = serde_json::from_slice(value).ok()?;
    // Connectors whose topics a sink reads write schemas.
    let inner = value.get("payload").cloned();
    serde_json::from_value(inner.unwrap_or(value)).ok()
}

/// How far tables are that are read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The one that is being read.
    pub table: Option<String>,
    /// How many of its rows are.
    pub rows: u64,
    /// How many it has; none where that is not told.
    pub of: Option<u64>,
    /// Rows in a second.
    pub rate: Option<u64>,
    /// What became of those that have ended, with their rows.
    pub ended: BTreeMap<String, (Ended, u64)>,
    /// When the connector told something last, in milliseconds since the epoch.
    pub last: u64,
    /// When it began with the table, and how many rows it had read then.
    #[serde(skip)]
    pub(super) since: Option<(u64, u64)>,
}

/// How the reading of a table ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Ended {
    /// It is read.
    Whole,
    /// It is not, and why.
    Not(String),
}

impl Seen {
    fn add(&mut self, notice: &Notice) {
        let text = |key: &str| notice.additional_data.get(key);
        let number = |key: &str| text(key).and_then(|it| it.parse::<u64>().ok());
        self.last = self.last.max(notice.timestamp);
        match notice.r#type.as_str() {
            "IN_PROGRESS" => {
                let table = text("current_collection_in_progress");
                if self.table.as_ref() != table {
                    *self = Seen {
                        table: table.cloned(),
                        ended: std::mem::take(&mut self.ended),
                        last: self.last,
                        ..Seen::default()
                    };
                }
                self.of = number("total_rows");
                let chunks = (number("chunk_index"), number("total_chunks"));
                if let (Some(rows), (Some(chunk), Some(chunks @ 1..))) = (self.of, chunks) {
                    self.rows = (rows.saturating_mul(chunk) / chunks).min(rows);
                }
                // After a restart it counts anew.
                if self.since.is_none_or(|(_, rows)| rows > self.rows) {
                    self.since = Some((notice.timestamp, self.rows));
                }
                self.rate = self.since.and_then(|(at, rows)| {
                    let took = notice.timestamp.saturating_sub(at);
                    ((self.rows - rows) * 1000).checked_div(took)
                });
            }
            "TABLE_SCAN_COMPLETED" => {
                let Some(table) = text("scanned_collection") else {
                    return;
                };
                let ended = match text("status").map_or("", String::as_str) {
                    "SUCCEEDED" | "EMPTY" => Ended::Whole,
                    "NO_PRIMARY_KEY" => Ended::Not("it has no primary key".into()),
                    "SQL_EXCEPTION" => Ended::Not("the source refused the query".into()),
                    "UNKNOWN_SCHEMA" => Ended::Not("the connector does not capture it".into()),
                    other => Ended::Not(other.to_lowercase()),
                };
                let rows = number("total_rows_scanned").unwrap_or(0);
                self.ended.insert(table.clone(), (ended, rows));
                self.table = None;
            }
            _ => {}
        }
    }

    /// For people.
    pub fn words(&self) -> Option<String> {
        let table = self.table.as_ref()?;
        Some(match self.of {
            Some(_) => format!("{table}: {}", self.count()),
            None => format!("{table} is being read"),
        })
    }

    /// The rows for people.
    pub fn count(&self) -> String {
        let mut words = match self.of {
            Some(of) => format!("{} of {of} rows", self.rows),
            None => format!("{} rows", self.rows),
        };
        if let Some(rate @ 1..) = self.rate {
            words += &format!(", {rate} a second");
            if let Some(of) = self.of {
                let left = of.saturating_sub(self.rows) * 1000 / rate;
                words += &format!(", {} left", clock::span(left));
            }
        }
        words
    }
}

/// Follows the notifications about what was asked.
pub struct Follower<'a> {
    client: &'a KafkaClient,
    topics: &'a Rereads,
    id: &'a str,
    next: BTreeMap<i32, i64>,
    seen: Seen,
}

impl<'a> Follower<'a> {
    /// From when it was asked on.
    ///
    /// # Errors
    /// See [`KafkaError`].
    pub async fn begin(
        client: &'a KafkaClient,
        topics: &'a Rereads,
        asked: &'a Asked,
    ) -> Result<Self, KafkaError> {
        // The connector may have another clock.
        let at = asked.at.saturating_sub(600_000);
        let at = OffsetAt::Timestamp(i64::try_from(at).unwrap_or(0));
        Ok(Follower {
            client,
            topics,
            id: &asked.id,
            next: led(|| client.offsets(&topics.notifications, at)).await?,
            seen: Seen::default(),
        })
    }

    /// Reads on.
    ///
    /// # Errors
    /// See [`KafkaError`].
    pub async fn look(&mut self) -> Result<&Seen, KafkaError> {
        let new = records(self.client, &self.topics.notifications, &mut self.next).await?;
        let notices = new.into_iter().filter_map(|it| notice(&it.value?));
        for notice in notices.filter(|it| it.id == self.id) {
            self.seen.add(&notice);
        }
        Ok(&self.seen)
    }
}

/// Tables of a connector that are being read whole.
#[derive(Clone, Debug, Serialize)]
pub struct UnderWay {
    /// Whether it is the connector's first snapshot, of all of them.
    pub first: bool,
    /// Those that are to be read.
    pub tables: BTreeSet<String>,
    /// How far they are.
    pub seen: Seen,
}

impl UnderWay {
    /// For people.
    pub fn words(&self) -> String {
        match self.first {
            true => format!("its first snapshot: {}", self.seen.count()),
            false => format!("again: {}", self.again()),
        }
    }

    fn again(&self) -> String {
        self.seen.words().unwrap_or_else(|| {
            let ended = self.seen.ended.keys();
            let left: Vec<&String> = self
                .tables
                .iter()
                .filter(|it| !ended.clone().any(|t| t == *it))
                .collect();
            match left.is_empty() {
                true => "read, not checked yet: cargo xtask up does it".into(),
                false => format!("{} waits to be read", crate::report::text::list(&left)),
            }
        })
    }
}

/// What is being read for the first time or again, by connector. What does not answer is left out.
pub async fn under_way(env: &Environment) -> BTreeMap<String, UnderWay> {
    let mut found = BTreeMap::new();
    let Ok(client) = kafka::client(env).await else {
        return found;
    };
    for (name, connector) in &env.profile.connectors {
        if let Some(seen) = first::seen(env, &client, name).await {
            let tables = captured(env, name);
            let first = true;
            found.insert(
                name.clone(),
                UnderWay {
                    first,
                    tables,
                    seen,
                },
            );
            continue;
        }
        let Some(topics) = env.profile.rereads(connector) else {
            continue;
        };
        let seen = async {
            let asked = read(&client, &topics).await.ok()??.asked?;
            let mut follower = Follower::begin(&client, &topics, &asked).await.ok()?;
            let seen = follower.look().await.ok()?.clone();
            Some(UnderWay {
                first: false,
                tables: asked.tables,
                seen,
            })
        };
        if let Some(seen) = seen.await {
            found.insert(name.clone(), seen);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(notices: &[Value]) -> Seen {
        let mut seen = Seen::default();
        for value in notices {
            seen.add(&notice(value.to_string().as_bytes()).expect("a notification"));
        }
        seen
    }

    fn chunk(at: u64, index: u64) -> Value {
        json!({
            "id": "a", "type": "IN_PROGRESS", "aggregate_type": "Incremental Snapshot", "timestamp": at,
            "additional_data": {
                "current_collection_in_progress": "public.orders", "total_rows": "50000",
                "chunk_index": index.to_string(), "total_chunks": "50",
            },
        })
    }

    fn ended(status: &str) -> Value {
        json!({
            "id": "a", "type": "TABLE_SCAN_COMPLETED", "timestamp": 9000,
            "additional_data": {
                "scanned_collection": "public.orders", "total_rows_scanned": "50000", "status": status,
            },
        })
    }

    #[test]
    fn chunks_tell_rows_rate_and_time() {
        let seen = seen(&[chunk(1000, 1), chunk(3000, 21)]);
        assert_eq!(
            (seen.rows, seen.of, seen.rate),
            (21_000, Some(50_000), Some(10_000))
        );
        let words = seen.words().expect("words");
        assert_eq!(
            words,
            "public.orders: 21000 of 50000 rows, 10000 a second, 2.9 s left"
        );
    }

    #[test]
    fn a_connector_that_was_restarted_counts_anew() {
        let seen = seen(&[chunk(1000, 30), chunk(5000, 1), chunk(6000, 2)]);
        assert_eq!((seen.rows, seen.rate), (2000, Some(1000)));
    }

    #[test]
    fn a_table_is_read_or_is_not() {
        let whole = seen(&[chunk(1000, 50), ended("SUCCEEDED")]);
        assert_eq!(whole.table, None);
        assert_eq!(whole.ended["public.orders"], (Ended::Whole, 50_000));
        let not = seen(&[ended("NO_PRIMARY_KEY")]);
        assert!(matches!(&not.ended["public.orders"].0, Ended::Not(why) if why.contains("key")));
    }

    #[test]
    fn a_message_with_its_schema_is_one_too() {
        let with = json!({ "schema": {}, "payload": ended("EMPTY") });
        assert_eq!(notice(with.to_string().as_bytes()).expect("one").id, "a");
        assert!(notice(b"{}").is_none());
    }
}
