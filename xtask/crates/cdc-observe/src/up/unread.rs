//! What of a topic a consumer group has still to read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clients::kafka::{
    ErrorCode, FetchOptions, KafkaClient, KafkaError, OffsetAt, TopicInfo, TopicPartition,
};
use crate::components::{kafka, service};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Progress;
use crate::profile::schema::Flow;
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// A topic's size beside a group's place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Messages from the topic's beginning to its end.
    pub messages: i64,
    /// Changes that the group has not read.
    pub changes: i64,
}

/// Whole tables are read, and a target may be far behind: only a failure ends such a wait before a day is over.
pub const READS: Duration = Duration::from_secs(24 * 3600);

/// Waits until a flow's target has read of its topic what is there now. Of a topic that somebody deleted there is
/// nothing to read.
///
/// # Errors
/// Kafka does not answer, or a day is over.
pub async fn none(env: &Environment, flow: &Flow, progress: &Progress) -> Result<()> {
    let client = kafka::client(env).await?;
    let topic = env.profile.topic(flow);
    let ends = match client.offsets(&topic, OffsetAt::Latest).await {
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => return Ok(()),
        ends => ends.map_err(service)?,
    };
    let patience = Patience::local(READS);
    let what = format!("the target has read {topic}");
    let read = wait::until(&what, patience, progress, || async {
        match unread_before(&client, &topic, &flow.group, &ends).await {
            Ok(0) => Status::current("read"),
            Ok(changes) => Status::in_progress(format!("{}: {changes} changes to go", flow.table)),
            Err(error) => Status::in_progress(error.to_string()),
        }
    });
    read.await.map(drop)
}

/// Asks the broker about topics and the groups that read them, in their order. None for a topic that
/// is not there, that has a partition without a leader, or whose group gives no answer.
///
/// One question after the other, so that all go over the same connection; about all topics together
/// where the protocol has it so.
///
/// # Errors
/// See [`KafkaError`].
pub async fn unread(
    client: &KafkaClient,
    read: &[(String, String)],
) -> Result<Vec<Option<Unread>>, KafkaError> {
    let names: BTreeSet<&str> = read.iter().map(|(topic, _)| topic.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut topics = client.topics(Some(&names)).await?;
    let led = |topic: &TopicInfo| topic.partitions.iter().all(|it| it.leader.is_some());
    topics.retain(led);
    let firsts = client.offsets_of(&topics, OffsetAt::Earliest).await?;
    let ends = client.offsets_of(&topics, OffsetAt::Latest).await?;
    let mut found = Vec::with_capacity(read.len());
    for (topic, group) in read {
        let of = |all: &BTreeMap<TopicPartition, i64>| -> BTreeMap<i32, i64> {
            let mine = all.iter().filter(|((name, _), _)| name == topic);
            mine.map(|((_, partition), offset)| (*partition, *offset))
                .collect()
        };
        let (first, end) = (of(&firsts), of(&ends));
        if end.is_empty() {
            found.push(None);
            continue;
        }
        let sizes = end
            .iter()
            .map(|(partition, end)| end - first.get(partition).unwrap_or(end));
        let messages = sizes.sum();
        let changes = async {
            let read = client.group_offsets(group).await?;
            changes(client, topic, &first, &read, &end).await
        };
        let changes = changes.await.ok();
        found.push(changes.map(|changes| Unread { messages, changes }));
    }
    Ok(found)
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
    changes(client, topic, &first?, &read?, ends).await
}

/// The changes between what a group has read and these ends.
async fn changes(
    client: &KafkaClient,
    topic: &str,
    first: &BTreeMap<i32, i64>,
    read: &BTreeMap<TopicPartition, i64>,
    ends: &BTreeMap<i32, i64>,
) -> Result<i64, KafkaError> {
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
