//! What came after failed records in the topics that they are of: newer records of their keys, and
//! what this tool has sent back already.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::decide::{Later, Originals};
use super::edit::Edit;
use super::{Entry, Place, headers, scan};
use crate::clients::kafka::{KafkaClient, KafkaError, OffsetAt, Record};
use crate::observe::topics::ranges;

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

/// What stands in a partition behind where it was looked at.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Where reading goes on.
    next: i64,
    /// Keys that are looked for.
    wanted: HashSet<Bytes>,
    /// The last offset at which somebody else wrote such a key.
    pub(super) newer: HashMap<Bytes, i64>,
    /// Where each record that this tool repeats was written.
    pub(super) copies: HashMap<Place, Place>,
    /// Of these, before which somebody wrote a newer record of the key, and where.
    pub(super) overtaken: HashMap<Place, i64>,
}

impl Behind {
    /// Looks for these keys from an offset on.
    pub(super) fn new(next: i64, keys: impl Iterator<Item = Bytes>) -> Self {
        Behind {
            next,
            wanted: keys.collect(),
            ..Behind::default()
        }
    }

    /// Reads on to the partition's present end.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(super) async fn read_on(
        &mut self,
        client: &KafkaClient,
        (topic, partition): (&str, i32),
    ) -> Result<(), KafkaError> {
        let ends = client.offsets(topic, OffsetAt::Latest).await?;
        let end = ends.get(&partition).copied().unwrap_or(self.next);
        let span = (self.next, end);
        scan::each(client, topic, partition, span, |record| {
            self.see(topic, partition, &record);
        })
        .await?;
        self.next = end;
        Ok(())
    }

    fn see(&mut self, topic: &str, partition: i32, record: &Record) {
        let wanted = record.key.as_ref().and_then(|key| self.wanted.get(key));
        match (headers::repeats(&record.headers), wanted) {
            (Some(origin), key) => {
                if let Some(by) = key.and_then(|key| self.newer.get(key)) {
                    self.overtaken.insert(origin.clone(), *by);
                }
                let copy = Place {
                    topic: topic.to_owned(),
                    partition,
                    offset: record.offset,
                };
                self.copies.insert(origin, copy);
            }
            (None, Some(key)) => {
                self.newer.insert(key.clone(), record.offset);
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_record_before_a_copy_overtakes_it_and_one_behind_it_does_not() {
        let mut behind = Behind::new(10, ["a".into(), "b".into()].into_iter());
        let from: Place = "dlq/0@0".parse().unwrap();
        let mut offset = 10;
        let mut see = |key: &'static str, repeats: Option<i64>| {
            let origin = |offset| Place {
                topic: "t".into(),
                partition: 0,
                offset,
            };
            let headers = repeats.map(|of| headers::sent_back(&[], &from, &origin(of), 1));
            let record = Record {
                offset,
                headers: headers.unwrap_or_default(),
                ..Record::new(Some(key.into()), None)
            };
            behind.see("t", 0, &record);
            offset += 1;
        };
        see("a", None);
        see("other", None);
        see("a", Some(3));
        see("b", Some(4));
        see("b", None);
        let of = |offset: i64| -> Place { format!("t/0@{offset}").parse().unwrap() };
        assert_eq!(behind.overtaken, HashMap::from([(of(3), 10)]));
        assert_eq!(behind.copies[&of(4)], of(13));
        assert_eq!(behind.newer["b".as_bytes()], 14);
        assert_eq!(behind.newer.len(), 2);
    }
}
