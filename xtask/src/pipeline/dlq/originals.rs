//! What came after failed records in the topics that they are of: newer records of their keys, and
//! what this tool has sent back already.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::decide::{Later, Originals};
use super::edit::Edit;
use super::{Entry, Place, headers, scan};
use crate::clients::kafka::{KafkaClient, KafkaError};
use crate::pipeline::topics::ranges;

/// The end of each partition when it was looked at.
pub(super) type Ends = BTreeMap<(String, i32), i64>;

/// Reads the original topics of these records from the oldest of them on.
///
/// # Errors
/// The broker does not answer.
pub(super) async fn gather(
    client: &KafkaClient,
    entries: &[Entry],
    edits: Option<&BTreeMap<Place, Edit>>,
) -> Result<(Originals, Ends), KafkaError> {
    let mut oldest: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut keys: BTreeMap<(String, i32), BTreeSet<Bytes>> = BTreeMap::new();
    for entry in entries {
        let Some(origin) = &entry.failure.origin else {
            continue;
        };
        let partition = (origin.topic.clone(), origin.partition);
        let edited = edits.and_then(|edits| edits.get(&entry.at)?.key.clone());
        let wanted = keys.entry(partition.clone()).or_default();
        wanted.extend(entry.record.key.iter().cloned().chain(edited));
        let from = oldest.entry(partition).or_insert(origin.offset);
        *from = origin.offset.min(*from);
    }
    let names: BTreeSet<&str> = oldest.keys().map(|(topic, _)| topic.as_str()).collect();
    if names.is_empty() {
        return Ok((Originals::new(), Ends::new()));
    }
    let names: Vec<&str> = names.into_iter().collect();
    let topics = client.topics(Some(&names)).await?;
    let ranges = ranges(client, &topics).await?;
    let mut originals = Originals::new();
    let mut ends = Ends::new();
    for (partition, from) in oldest {
        let range = ranges
            .get(&partition.0)
            .and_then(|ranges| ranges.get(&partition.1));
        let Some(&(begin, end)) = range else { continue };
        let wanted = keys.remove(&partition).unwrap_or_default();
        let mut later = Later {
            begin,
            ..Later::default()
        };
        let span = ((from + 1).max(begin), end);
        scan::each(client, &partition.0, partition.1, span, |record| {
            if let Some(origin) = headers::repeats(&record.headers)
                && (&origin.topic, origin.partition) == (&partition.0, partition.1)
            {
                later.copies.insert(origin.offset, record.offset);
            }
            if let Some(key) = record.key.and_then(|key| wanted.get(&key)) {
                later.last.insert(key.clone(), record.offset);
            }
        })
        .await?;
        ends.insert(partition.clone(), end);
        originals.insert(partition, later);
    }
    Ok((originals, ends))
}

/// What this tool has written behind these ends: where each record's copy is.
///
/// # Errors
/// The broker does not answer.
pub(super) async fn written(
    client: &KafkaClient,
    since: &Ends,
) -> Result<HashMap<Place, Place>, KafkaError> {
    let names: BTreeSet<&str> = since.keys().map(|(topic, _)| topic.as_str()).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<&str> = names.into_iter().collect();
    let topics = client.topics(Some(&names)).await?;
    let ranges = ranges(client, &topics).await?;
    let mut found = HashMap::new();
    for ((topic, partition), from) in since {
        let range = ranges.get(topic).and_then(|ranges| ranges.get(partition));
        let Some(&(_, end)) = range else { continue };
        scan::each(client, topic, *partition, (*from, end), |record| {
            if let Some(origin) = headers::repeats(&record.headers) {
                let copy = Place {
                    topic: topic.clone(),
                    partition: *partition,
                    offset: record.offset,
                };
                found.insert(origin, copy);
            }
        })
        .await?;
    }
    Ok(found)
}
