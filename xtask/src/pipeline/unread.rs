//! What of a topic a consumer group has still to read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clients::kafka::{FetchOptions, KafkaClient, KafkaError, OffsetAt};

/// A topic's size beside a group's place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Messages from the topic's beginning to its end.
    pub messages: i64,
    /// Changes that the group has not read.
    pub changes: i64,
}

/// Asks the broker.
///
/// # Errors
/// See [`KafkaError`].
pub async fn unread(client: &KafkaClient, topic: &str, group: &str) -> Result<Unread, KafkaError> {
    let (first, end) = tokio::join!(
        client.offsets(topic, OffsetAt::Earliest),
        client.offsets(topic, OffsetAt::Latest),
    );
    let (first, end) = (first?, end?);
    let sizes = end
        .iter()
        .map(|(partition, end)| end - first.get(partition).unwrap_or(end));
    Ok(Unread {
        messages: sizes.sum(),
        changes: unread_before(client, topic, group, &end).await?,
    })
}

/// The changes before these ends, by partition, that the group has not read.
///
/// # Errors
/// See [`KafkaError`].
pub async fn unread_before(
    client: &KafkaClient,
    topic: &str,
    group: &str,
    ends: &BTreeMap<i32, i64>,
) -> Result<i64, KafkaError> {
    let (first, read) = tokio::join!(
        client.offsets(topic, OffsetAt::Earliest),
        client.group_offsets(group)
    );
    let (first, read) = (first?, read?);
    let mut changes = 0;
    for (&partition, &end) in ends {
        let start = first.get(&partition).copied().unwrap_or(0);
        let read = read.get(&(topic.to_owned(), partition)).copied();
        changes += waiting(client, topic, partition, read.unwrap_or(start), end).await?;
    }
    Ok(changes)
}

/// How many changes between two offsets wait to be read. The target skips tombstones and does not
/// commit past them: a tombstone at the end of a topic is no lag.
async fn waiting(
    client: &KafkaClient,
    topic: &str,
    partition: i32,
    read: i64,
    end: i64,
) -> Result<i64, KafkaError> {
    /// Beyond this, a tombstone more or less does not matter.
    const FEW: i64 = 16;
    if !(1..=FEW).contains(&(end - read)) {
        return Ok((end - read).max(0));
    }
    let options = FetchOptions {
        max_wait: Duration::ZERO,
        ..FetchOptions::default()
    };
    let batch = client.fetch(topic, partition, read, &options).await?;
    let changes = batch.records.iter().filter(|record| record.value.is_some());
    Ok(i64::try_from(changes.count()).unwrap_or(i64::MAX))
}
