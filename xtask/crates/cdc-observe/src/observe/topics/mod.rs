//! Topics: what there is, what is in them, what they are for.

pub mod create;
pub mod from;
pub mod message;
pub mod owner;
pub mod roles;
pub mod settings;
pub mod tail;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clients::kafka::{
    ConfigValue, ErrorCode, FetchBatch, FetchOptions, KafkaClient, KafkaError, OffsetAt, TopicInfo,
};
use crate::environment::KAFKA_USER;
use crate::error::Error;
use crate::observe::names;
use crate::profile::Profile;
use roles::{Role, role};

/// One topic as a list shows it.
#[derive(Debug, Serialize)]
pub struct TopicRow {
    /// Name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Number of partitions.
    pub partitions: usize,
    /// Number of replicas of each; the lowest where they differ.
    pub replicas: usize,
    /// Partitions without a leader or with a replica out of sync.
    pub degraded: usize,
    /// What it holds; none while a partition has no leader.
    pub messages: Option<Count>,
    /// What becomes of old messages: `delete`, `compact`.
    pub cleanup: Option<String>,
    /// How long messages are kept, in milliseconds; -1 is for ever.
    pub retention_ms: Option<i64>,
}

/// How many messages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// End minus beginning offsets.
    pub count: i64,
    /// Whether the topic is compacted: the offsets of removed messages are counted too, so there
    /// may be fewer. (So are the markers of transactions, which cannot be told from messages.)
    pub compacted: bool,
}

/// Beginning and end of each partition that has a leader.
pub type Ranges = BTreeMap<i32, (i64, i64)>;

/// Whether a topic is Kafka's own, which lists leave out.
pub fn is_internal(topic: &TopicInfo) -> bool {
    topic.internal
}

/// Begin and end offsets of topics, by topic.
///
/// # Errors
/// The broker does not answer.
pub async fn ranges(
    client: &KafkaClient,
    topics: &[TopicInfo],
) -> Result<BTreeMap<String, Ranges>, KafkaError> {
    let (begins, ends) = tokio::try_join!(
        client.offsets_of(topics, OffsetAt::Earliest),
        client.offsets_of(topics, OffsetAt::Latest)
    )?;
    let mut ranges: BTreeMap<String, Ranges> = BTreeMap::new();
    for ((topic, partition), begin) in begins {
        let key = (topic, partition);
        if let Some(end) = ends.get(&key) {
            // What retention removes between the two questions is not less than nothing.
            let range = (begin.min(*end), *end);
            ranges.entry(key.0).or_default().insert(partition, range);
        }
    }
    Ok(ranges)
}

/// Some of a partition's records from `next` on. Where retention was faster, `next` moves to what is left.
///
/// # Errors
/// The broker does not answer or refuses.
pub async fn fetch(
    client: &KafkaClient,
    (topic, partition): (&str, i32),
    next: &mut i64,
    options: &FetchOptions,
) -> Result<FetchBatch, KafkaError> {
    loop {
        match client.fetch(topic, partition, *next, options).await {
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                let begins = client.offsets(topic, OffsetAt::Earliest).await?;
                match begins.get(&partition) {
                    Some(begin) if *begin > *next => *next = *begin,
                    _ => return Err(error),
                }
            }
            other => return other,
        }
    }
}

/// The rows of these topics.
///
/// # Errors
/// The broker does not answer.
pub async fn rows(
    client: &KafkaClient,
    profile: &Profile,
    topics: &[TopicInfo],
) -> Result<Vec<TopicRow>, KafkaError> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let (ranges, configs) = tokio::try_join!(ranges(client, topics), client.configs_of(&names))?;
    let nothing = BTreeMap::new();
    Ok(topics
        .iter()
        .map(|topic| {
            let config = configs.get(&topic.name).unwrap_or(&nothing);
            let cleanup = setting(config, "cleanup.policy").map(str::to_owned);
            TopicRow {
                role: role(profile, topic),
                partitions: topic.partitions.len(),
                replicas: replicas(topic),
                degraded: degraded(topic),
                messages: ranges
                    .get(&topic.name)
                    .and_then(|ranges| count(topic, ranges, cleanup.as_deref())),
                retention_ms: setting(config, "retention.ms").and_then(|text| text.parse().ok()),
                cleanup,
                name: topic.name.clone(),
            }
        })
        .collect())
}

/// The value that a setting has, wherever it comes from.
pub fn setting<'a>(config: &'a BTreeMap<String, ConfigValue>, key: &str) -> Option<&'a str> {
    config.get(key)?.value.as_deref()
}

/// The number of replicas; the lowest of all partitions.
pub fn replicas(topic: &TopicInfo) -> usize {
    let replicas = topic
        .partitions
        .iter()
        .map(|partition| partition.replicas.len());
    replicas.min().unwrap_or(0)
}

fn degraded(topic: &TopicInfo) -> usize {
    let bad = |partition: &&crate::clients::kafka::PartitionInfo| {
        partition.leader.is_none() || partition.isr.len() < partition.replicas.len()
    };
    topic.partitions.iter().filter(bad).count()
}

fn count(topic: &TopicInfo, ranges: &Ranges, cleanup: Option<&str>) -> Option<Count> {
    let count = ranges.values().map(|(begin, end)| end - begin).sum();
    (ranges.len() == topic.partitions.len()).then_some(Count {
        count,
        compacted: cleanup.is_some_and(|policy| policy.contains("compact")),
    })
}

/// The topics of these names and patterns; without any, all that are not Kafka's own.
///
/// # Errors
/// A name that no topic has, or the broker does not answer.
pub async fn choose(
    client: &KafkaClient,
    wanted: &[String],
) -> crate::error::Result<Vec<TopicInfo>> {
    let mut topics = client.topics(None).await.map_err(lost)?;
    if wanted.is_empty() {
        topics.retain(|topic| !is_internal(topic));
        return Ok(topics);
    }
    // A pattern means Kafka's own topics only if it says so.
    let known: Vec<&str> = topics
        .iter()
        .filter(|topic| !is_internal(topic) || wanted.iter().any(|text| text.starts_with("__")))
        .map(|topic| topic.name.as_str())
        .collect();
    let chosen = names::choose("topic", wanted, &known)?;
    Ok(chosen
        .iter()
        .filter_map(|name| topics.iter().find(|topic| topic.name == *name))
        .cloned()
        .collect())
}

/// What a failed request means for the user.
pub fn lost(error: KafkaError) -> Error {
    let hint = match error.code() {
        // Where clients log in.
        Some(ErrorCode::TopicAuthorizationFailed | ErrorCode::GroupAuthorizationFailed) => {
            format!("the tool's user may not do this: its rights are in the KafkaUser {KAFKA_USER}")
        }
        _ => "cargo xtask status".to_owned(),
    };
    crate::components::service(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::kafka::PartitionInfo;

    fn topic(partitions: i32) -> TopicInfo {
        let partition = |index| PartitionInfo {
            index,
            leader: Some(1),
            replicas: vec![1],
            isr: vec![1],
            error: None,
        };
        TopicInfo {
            name: "t".into(),
            internal: false,
            partitions: (0..partitions).map(partition).collect(),
        }
    }

    #[test]
    fn a_count_is_an_upper_bound_where_offsets_have_gaps() {
        let ranges = Ranges::from([(0, (5, 10)), (1, (0, 2))]);
        let counted = |cleanup| count(&topic(2), &ranges, cleanup);
        assert_eq!(
            counted(Some("delete")),
            Some(Count {
                count: 7,
                compacted: false
            })
        );
        assert_eq!(
            counted(Some("compact,delete")),
            Some(Count {
                count: 7,
                compacted: true
            })
        );
        assert_eq!(
            count(&topic(3), &ranges, None),
            None,
            "a partition without a leader"
        );
        let empty = Ranges::from([(0, (5, 5))]);
        let none = count(&topic(1), &empty, Some("compact"));
        assert_eq!(none.unwrap().count, 0);
    }
}
