//! Consumer groups: who reads what, and how far behind.

use std::collections::BTreeMap;

use serde::Serialize;

use super::topics::{self, lost};
use crate::clients::kafka::{Group, KafkaClient, KafkaError, TopicPartition};
use crate::error::{Result, unknown};

/// One group as a list shows it.
#[derive(Debug, Serialize)]
pub struct GroupRow {
    /// Name.
    pub name: String,
    /// State, in Kafka's words.
    pub state: String,
    /// `consumer`, `connect`; empty for a group that only stored offsets.
    pub protocol: String,
    /// Number of members.
    pub members: usize,
    /// Topics that it has read.
    pub topics: Vec<String>,
    /// Messages that it has not read; none if it committed nothing.
    pub lag: Option<i64>,
}

/// A group with what it reads.
#[derive(Debug, Serialize)]
pub struct Described {
    /// Name.
    pub name: String,
    /// State, in Kafka's words.
    pub state: String,
    /// `consumer`, `connect`; empty for a group that only stored offsets.
    pub protocol: String,
    /// Members.
    pub members: Vec<Member>,
    /// Partitions that it has read or that a member reads.
    pub partitions: Vec<Partition>,
    /// Messages that it has not read, of all partitions with a known lag.
    pub lag: Option<i64>,
}

/// A member of a group.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// What its client calls itself.
    pub client: String,
    /// Where it connects from.
    pub host: String,
    /// How many partitions it reads.
    pub partitions: usize,
}

/// How far a group is in a partition.
#[derive(Debug, Serialize)]
pub struct Partition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The next offset that it will read; none if it committed nothing.
    pub position: Option<i64>,
    /// The partition's end; none if the topic is gone or has no leader.
    pub end: Option<i64>,
    /// Messages that it has not read.
    pub lag: Option<i64>,
    /// Whether the position is one that retention has removed.
    pub lost: bool,
    /// The client of the member that reads it.
    pub client: Option<String>,
}

/// All groups, by name.
///
/// # Errors
/// The broker does not answer.
pub async fn list(client: &KafkaClient) -> Result<Vec<GroupRow>> {
    let groups = client.groups().await.map_err(lost)?;
    let mut rows = Vec::new();
    for group in groups {
        let described = describe_known(client, &group.id).await.map_err(lost)?;
        let mut topics: Vec<String> = described
            .partitions
            .iter()
            .map(|partition| partition.topic.clone())
            .collect();
        topics.dedup();
        rows.push(GroupRow {
            name: group.id,
            state: described.state,
            protocol: group.protocol_type,
            members: described.members.len(),
            topics,
            lag: described.lag,
        });
    }
    Ok(rows)
}

/// One group.
///
/// # Errors
/// There is none of this name; the broker does not answer.
pub async fn describe(client: &KafkaClient, name: &str) -> Result<Described> {
    let groups = client.groups().await.map_err(lost)?;
    if !groups.iter().any(|group| group.id == name) {
        let known: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
        return Err(unknown("group", name, &known));
    }
    describe_known(client, name).await.map_err(lost)
}

async fn describe_known(
    client: &KafkaClient,
    name: &str,
) -> std::result::Result<Described, KafkaError> {
    let (group, positions) =
        tokio::try_join!(client.describe_group(name), client.group_offsets(name))?;
    let assigned = group
        .members
        .iter()
        .flat_map(|member| member.assigned.iter());
    let mut names: Vec<&str> = positions
        .keys()
        .chain(assigned)
        .map(|(topic, _)| topic.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let ranges = match names.is_empty() {
        true => BTreeMap::new(),
        false => topics::ranges(client, &client.topics(Some(&names)).await?).await?,
    };
    Ok(described(group, &positions, &ranges))
}

fn described(
    group: Group,
    positions: &BTreeMap<TopicPartition, i64>,
    ranges: &BTreeMap<String, topics::Ranges>,
) -> Described {
    let mut readers: BTreeMap<&TopicPartition, &str> = BTreeMap::new();
    for member in &group.members {
        for partition in &member.assigned {
            readers.insert(partition, &member.client_id);
        }
    }
    let mut all: Vec<&TopicPartition> = positions.keys().chain(readers.keys().copied()).collect();
    all.sort();
    all.dedup();
    let partitions: Vec<Partition> = all
        .into_iter()
        .map(|key| {
            let range = ranges.get(&key.0).and_then(|ranges| ranges.get(&key.1));
            let position = positions.get(key).copied();
            let lag = |(begin, end): &(i64, i64)| {
                // What retention removed cannot be read any more.
                Some((end - position?.max(*begin)).max(0))
            };
            Partition {
                topic: key.0.clone(),
                partition: key.1,
                position,
                end: range.map(|(_, end)| *end),
                lag: range.and_then(lag),
                lost: matches!((position, range), (Some(at), Some((begin, end))) if at < *begin || at > *end),
                client: readers.get(key).map(|client| (*client).to_owned()),
            }
        })
        .collect();
    let lags: Vec<i64> = partitions
        .iter()
        .filter_map(|partition| partition.lag)
        .collect();
    Described {
        name: group.id,
        state: group.state,
        protocol: group.protocol_type,
        lag: (!lags.is_empty()).then(|| lags.iter().sum()),
        members: group
            .members
            .into_iter()
            .map(|member| Member {
                partitions: member.assigned.len(),
                id: member.id,
                client: member.client_id,
                host: member.host.trim_start_matches('/').to_owned(),
            })
            .collect(),
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::kafka::GroupMember;

    #[test]
    fn lag_counts_what_can_still_be_read() {
        let key = |partition| ("t".to_owned(), partition);
        let group = Group {
            id: "g".into(),
            state: "Stable".into(),
            protocol_type: "consumer".into(),
            members: vec![GroupMember {
                id: "m-1".into(),
                client_id: "m".into(),
                host: "/127.0.0.1".into(),
                assigned: vec![key(0), key(3)],
            }],
        };
        let positions = BTreeMap::from([(key(0), 7), (key(1), 2), (key(2), 5)]);
        let ranges = BTreeMap::from([(
            "t".to_owned(),
            topics::Ranges::from([(0, (0, 10)), (1, (5, 10)), (3, (0, 4))]),
        )]);
        let found = described(group, &positions, &ranges);
        let seen: Vec<_> = found
            .partitions
            .iter()
            .map(|one| {
                (
                    one.partition,
                    one.position,
                    one.lag,
                    one.lost,
                    one.client.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (0, Some(7), Some(3), false, Some("m")),
                (1, Some(2), Some(5), true, None),
                (2, Some(5), None, false, None),
                (3, None, None, false, Some("m")),
            ]
        );
        assert_eq!(found.lag, Some(8));
        assert_eq!(found.members[0].host, "127.0.0.1");
    }
}
