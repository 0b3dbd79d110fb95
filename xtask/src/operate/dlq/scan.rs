//! Reading queues: all of one, or its newest records.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::filter::Filter;
use super::{Entry, Place};
use crate::clients::kafka::{FetchOptions, Isolation, KafkaClient, KafkaError, Record, TopicInfo};
use crate::observe::topics::{self, Ranges};

/// How many records before the end are looked at for a list, in each partition.
pub const LOOKED_AT: i64 = 10_000;
/// How many records a look backwards reads at a time.
const WINDOW: i64 = 1_000;

/// Hands on every record of a partition from one offset to before another. What retention removes
/// meanwhile is left out.
///
/// Transactions are not waited for: a queue has none, and of an original topic it is better to see a
/// record that is undone later than to miss one that this tool wrote behind an open transaction.
///
/// # Errors
/// The broker does not answer or refuses.
pub async fn each(
    client: &KafkaClient,
    topic: &str,
    partition: i32,
    (from, end): (i64, i64),
    mut take: impl FnMut(Record),
) -> Result<(), KafkaError> {
    let options = FetchOptions {
        isolation: Isolation::ReadUncommitted,
        ..FetchOptions::default()
    };
    let mut next = from;
    while next < end {
        let batch = topics::fetch(client, (topic, partition), &mut next, &options).await?;
        if batch.next_offset <= next && batch.end <= next {
            return Ok(());
        }
        next = batch.next_offset;
        let records = batch.records.into_iter();
        records
            .filter(|record| record.offset < end)
            .for_each(&mut take);
    }
    Ok(())
}

/// Where the partitions of a topic begin and end.
///
/// # Errors
/// The broker does not answer.
pub async fn ranges(client: &KafkaClient, topic: &TopicInfo) -> Result<Ranges, KafkaError> {
    let mut found = topics::ranges(client, std::slice::from_ref(topic)).await?;
    Ok(found.remove(&topic.name).unwrap_or_default())
}

/// What a whole queue holds.
#[derive(Debug, Default)]
pub struct Whole {
    /// The records that are meant.
    pub entries: Vec<Entry>,
    /// Whether more are meant than were wanted.
    pub more: bool,
    /// Of which records all of its records are that were sent back before, meant or not.
    pub returned: BTreeSet<Place>,
}

/// Reads a queue; of the records that are meant, `most` at the most.
///
/// # Errors
/// The broker does not answer.
pub async fn all(
    client: &KafkaClient,
    topic: &str,
    ranges: &Ranges,
    filter: &Filter,
    most: usize,
) -> Result<Whole, KafkaError> {
    let mut whole = Whole::default();
    for (&partition, &range) in ranges {
        each(client, topic, partition, range, |record| {
            let entry = Entry::of(topic, partition, record);
            if entry.failure.rounds > 0 {
                whole.returned.extend(entry.failure.origin.clone());
            }
            if filter.wants(&entry.at, &entry.failure, &entry.record) {
                match whole.entries.len() < most {
                    true => whole.entries.push(owned(entry)),
                    false => whole.more = true,
                }
            }
        })
        .await?;
    }
    Ok(whole)
}

/// The newest records of a queue that are meant, the newest last.
///
/// # Errors
/// The broker does not answer.
pub async fn newest(
    client: &KafkaClient,
    topic: &str,
    ranges: &Ranges,
    filter: &Filter,
    most: usize,
) -> Result<Vec<Entry>, KafkaError> {
    let mut found = Vec::new();
    for (&partition, &(begin, end)) in ranges {
        let mut high = end;
        // The windows' records, the newest window first.
        let mut windows: Vec<Vec<Entry>> = Vec::new();
        while high > begin && windows.iter().map(Vec::len).sum::<usize>() < most {
            let low = (high - WINDOW).max(begin);
            let mut window = Vec::new();
            each(client, topic, partition, (low, high), |record| {
                let entry = Entry::of(topic, partition, record);
                if filter.wants(&entry.at, &entry.failure, &entry.record) {
                    window.push(owned(entry));
                }
            })
            .await?;
            windows.push(window);
            high = low;
        }
        found.extend(windows.into_iter().rev().flatten());
    }
    found.sort_by(|one: &Entry, other| order(one).cmp(&order(other)));
    let left_out = found.len().saturating_sub(most);
    found.drain(..left_out);
    Ok(found)
}

fn order(entry: &Entry) -> (i64, &Place) {
    (entry.record.timestamp, &entry.at)
}

/// The entry with memory of its own: few of many are kept.
fn owned(mut entry: Entry) -> Entry {
    let own = |bytes: &mut Option<Bytes>| {
        if let Some(bytes) = bytes {
            *bytes = Bytes::copy_from_slice(bytes);
        }
    };
    own(&mut entry.record.key);
    own(&mut entry.record.value);
    for header in &mut entry.record.headers {
        own(&mut header.value);
    }
    entry
}

/// What the newest records of a queue have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// How many records there are.
    pub records: i64,
    /// How many of them were looked at, the newest.
    pub looked_at: i64,
    /// Of these, how many are of each exception; `?` where the record does not say.
    pub exceptions: BTreeMap<String, u64>,
    /// How many of these have been sent back before.
    pub redriven: u64,
    /// How many of these say nothing about where they come from.
    pub without_context: u64,
    /// Timestamps of the oldest and the newest record, in milliseconds since the epoch.
    pub oldest_ms: Option<i64>,
    /// See [`Summary::oldest_ms`].
    pub newest_ms: Option<i64>,
}

/// Looks at a queue's newest records.
///
/// # Errors
/// The broker does not answer.
pub async fn summary(client: &KafkaClient, topic: &TopicInfo) -> Result<Summary, KafkaError> {
    let ranges = ranges(client, topic).await?;
    let mut summary = Summary::default();
    for (&partition, &(begin, end)) in &ranges {
        summary.records += end - begin;
        let from = (end - LOOKED_AT).max(begin);
        let name = topic.name.as_str();
        if from > begin {
            // The oldest record lies before what is looked at.
            each(client, name, partition, (begin, begin + 1), |record| {
                summary.time(record.timestamp);
            })
            .await?;
        }
        each(client, name, partition, (from, end), |record| {
            summary.add(&record);
        })
        .await?;
    }
    Ok(summary)
}

impl Summary {
    fn time(&mut self, at: i64) {
        if at >= 0 {
            self.oldest_ms = Some(self.oldest_ms.map_or(at, |oldest| oldest.min(at)));
            self.newest_ms = Some(self.newest_ms.map_or(at, |newest| newest.max(at)));
        }
    }

    fn add(&mut self, record: &Record) {
        self.time(record.timestamp);
        self.looked_at += 1;
        let failure = super::headers::decode(&record.headers);
        let class = failure.exception.unwrap_or_else(|| "?".to_owned());
        *self.exceptions.entry(class).or_default() += 1;
        self.redriven += u64::from(failure.rounds > 0);
        self.without_context += u64::from(failure.origin.is_none());
    }
}
