//! Consumer groups: which there are, who is in them, what they have read.

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, GroupId,
    ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
    consumer_group_describe_response as modern, describe_groups_response as classic,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::OffsetFetchRequestGroup,
};

use super::{
    client::{KafkaClient, Target, group_subject, partition_subject, text, topic_name},
    connection::Deadline,
    error::{ErrorCode, KafkaError},
    topics::DeleteOutcome,
    wire::Api,
};

/// The state of a group that does not exist, in Kafka's spelling.
const DEAD: &str = "Dead";

/// A topic's name and a partition's index.
pub type TopicPartition = (String, i32);

/// A group in the list of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// The group's id.
    pub id: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Assigning`,
    /// `Reconciling`, `Dead`.
    pub state: String,
    /// `consumer`, `connect`; empty for groups that only ever stored offsets.
    pub protocol_type: String,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The group's id.
    pub id: String,
    /// Like [`GroupListing::state`]; `Dead` if there is no such group.
    pub state: String,
    /// Like [`GroupListing::protocol_type`].
    pub protocol_type: String,
    /// The members, by id.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id that the coordinator or the client gave.
    pub id: String,
    /// The client's `client.id`.
    pub client_id: String,
    /// The address that the broker saw, for example `/10.0.0.7`.
    pub host: String,
    /// The partitions that the member reads. Empty for other protocols than `consumer`: what a
    /// Connect worker is assigned is not made of partitions.
    pub assigned: Vec<TopicPartition>,
}

impl KafkaClient {
    /// All groups of the cluster, by id.
    pub async fn groups(&self) -> Result<Vec<GroupListing>, KafkaError> {
        let deadline = self.deadline();
        // Each broker lists the groups that it coordinates, so the brokers must be known afresh.
        self.metadata(Some(&[]), deadline).await?;
        let mut groups = Vec::new();
        for broker in self.brokers() {
            let request = ListGroupsRequest::default();
            let target = Target::Broker(broker.id);
            let response = self.call(target, &request, deadline).await?;
            let subject = || format!("broker {}", broker.id);
            ListGroupsRequest::check(response.error_code, subject, None)?;
            groups.extend(response.groups.iter().map(|group| GroupListing {
                id: group.group_id.to_string(),
                state: group.group_state.to_string(),
                protocol_type: group.protocol_type.to_string(),
            }));
        }
        groups.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(groups)
    }

    /// A group's state and members. A group that does not exist is `Dead` and empty.
    pub async fn describe_group(&self, group: &str) -> Result<Group, KafkaError> {
        let deadline = self.deadline();
        let ask = |coordinator| self.describe_at(coordinator, group, deadline);
        self.at_coordinator(group, deadline, ask).await
    }

    /// Asks for a classic group, and if there is none for one of the newer protocol (KIP-848),
    /// which brokers do not describe through the classic API.
    async fn describe_at(
        &self,
        target: Target,
        group: &str,
        deadline: Deadline,
    ) -> Result<Group, KafkaError> {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let response = self.call(target, &request, deadline).await?;
        let subject = || group_subject(group);
        let Some(found) = response.groups.into_iter().next() else {
            return Err(self.incomplete(DescribeGroupsRequest::NAME, &subject()));
        };
        if !absent(found.error_code) {
            let message = found.error_message.as_deref();
            DescribeGroupsRequest::check(found.error_code, subject, message)?;
            if found.group_state.as_str() != DEAD {
                return Ok(from_classic(&found));
            }
        }
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
        let dead = described(group, DEAD, "", Vec::new());
        let response = match self.call(target, &request, deadline).await {
            // Older brokers have no groups of that kind either.
            Err(KafkaError::Unsupported(_)) => return Ok(dead),
            other => other?,
        };
        match response.groups.first() {
            Some(found) if !absent(found.error_code) => {
                let message = found.error_message.as_deref();
                ConsumerGroupDescribeRequest::check(found.error_code, subject, message)?;
                Ok(from_modern(found))
            }
            _ => Ok(dead),
        }
    }

    /// The offsets that a group has committed: of each partition the next one that it will read.
    /// Empty if there is no such group.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let deadline = self.deadline();
        let wanted = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_topics(None); // All of them.
        let request = OffsetFetchRequest::default().with_groups(vec![wanted]);
        let ask = async |coordinator| {
            let response = self.call(coordinator, &request, deadline).await?;
            let code = response.groups.first().map_or(0, |group| group.error_code);
            OffsetFetchRequest::check(code, || group_subject(group), None)?;
            Ok(response)
        };
        let response = self.at_coordinator(group, deadline, ask).await?;
        let mut offsets = BTreeMap::new();
        for topic in response.groups.iter().flat_map(|group| &group.topics) {
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let subject =
                    || format!("{} in group {group}", partition_subject(&topic.name, index));
                OffsetFetchRequest::check(partition.error_code, subject, None)?;
                // -1: nothing committed.
                if partition.committed_offset >= 0 {
                    offsets.insert((topic.name.to_string(), index), partition.committed_offset);
                }
            }
        }
        Ok(offsets)
    }

    /// Sets the offsets of a group without members, which need not exist before; partitions that
    /// are not named keep theirs.
    ///
    /// A group with members refuses ([`ErrorCode::UnknownMemberId`]). The coordinator decides
    /// that, so there is no moment between the check and the change.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), KafkaError> {
        let deadline = self.deadline();
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition), offset) in offsets {
            topics.entry(topic).or_default().push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(*offset)
                    .with_committed_metadata(None),
            );
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(group))
            // No generation and no member: an administrator's commit.
            .with_generation_id_or_member_epoch(-1)
            .with_topics(topics.collect());
        let ask = async |coordinator| {
            let response = self.call(coordinator, &request, deadline).await?;
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let of = partition_subject(&topic.name, partition.partition_index);
                    let subject = || format!("{of} in group {group}");
                    OffsetCommitRequest::check(partition.error_code, subject, None)?;
                }
            }
            Ok(())
        };
        self.at_coordinator(group, deadline, ask).await
    }

    /// Deletes a group without members, with its offsets. One with members refuses
    /// ([`ErrorCode::NonEmptyGroup`]).
    pub async fn delete_group(&self, group: &str) -> Result<DeleteOutcome, KafkaError> {
        let deadline = self.deadline();
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
        let subject = || group_subject(group);
        let ask = async |coordinator| {
            let response = self.call(coordinator, &request, deadline).await?;
            let Some(result) = response.results.first() else {
                return Err(self.incomplete(DeleteGroupsRequest::NAME, &subject()));
            };
            if absent(result.error_code) {
                return Ok(DeleteOutcome::NotFound);
            }
            DeleteGroupsRequest::check(result.error_code, subject, None)?;
            Ok(DeleteOutcome::Deleted)
        };
        self.at_coordinator(group, deadline, ask).await
    }
}

fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

fn absent(code: i16) -> bool {
    ErrorCode::try_from_code(code) == Some(ErrorCode::GroupIdNotFound)
}

/// A group with its members in their order.
fn described(id: &str, state: &str, protocol: &str, mut members: Vec<GroupMember>) -> Group {
    members.sort_by(|one, other| one.id.cmp(&other.id));
    Group {
        id: id.to_owned(),
        state: state.to_owned(),
        protocol_type: protocol.to_owned(),
        members,
    }
}

fn from_classic(group: &classic::DescribedGroup) -> Group {
    let members = group.members.iter().map(|member| GroupMember {
        id: member.member_id.to_string(),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assigned: match group.protocol_type.as_str() {
            // Written by whatever client leads the group, so it may be anything: a member
            // whose assignment cannot be read is shown without one.
            "consumer" => assignment(&member.member_assignment).unwrap_or_default(),
            _ => Vec::new(),
        },
    });
    let (id, state) = (&group.group_id, &group.group_state);
    described(id, state, &group.protocol_type, members.collect())
}

fn from_modern(group: &modern::DescribedGroup) -> Group {
    let members = group.members.iter().map(|member| {
        let topics = member.assignment.topic_partitions.iter();
        let assigned = topics.flat_map(|topic| {
            let name = topic.topic_name.to_string();
            topic
                .partitions
                .iter()
                .map(move |index| (name.clone(), *index))
        });
        GroupMember {
            id: member.member_id.to_string(),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assigned: assigned.collect(),
        }
    });
    let (id, state) = (&group.group_id, &group.group_state);
    described(id, state, "consumer", members.collect())
}

/// Reads a `ConsumerProtocolAssignment`: a version, then topics with their partitions, in the old
/// encoding with fixed-size lengths. Not left to the codec, which trusts such lengths (see
/// `wire::Guarded`). `None` if it is damaged.
fn assignment(mut bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    fn int(bytes: &mut &[u8]) -> Option<i32> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(i32::from_be_bytes(*head))
    }
    fn short(bytes: &mut &[u8]) -> Option<i16> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        *bytes = rest;
        Some(i16::from_be_bytes(*head))
    }
    let mut assigned = Vec::new();
    // A member that was assigned nothing yet sends nothing.
    if bytes.is_empty() {
        return Some(assigned);
    }
    let _version = short(&mut bytes)?;
    for _ in 0..int(&mut bytes)? {
        let length = usize::try_from(short(&mut bytes)?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..int(&mut bytes)? {
            assigned.push((name.to_owned(), int(&mut bytes)?));
        }
    }
    Some(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSIGNMENT: [u8; 28] = [
        0, 1, // version
        0, 0, 0, 1, // topics
        0, 2, b'o', b'k', // name
        0, 0, 0, 2, // partitions
        0, 0, 0, 0, //
        0, 0, 0, 5, //
        0xff, 0xff, 0xff, 0xff, // no user data
        0, 0, // what later versions may add
    ];

    #[test]
    fn an_assignment_lists_its_partitions() {
        let expected = vec![("ok".to_owned(), 0), ("ok".to_owned(), 5)];
        assert_eq!(assignment(&ASSIGNMENT), Some(expected));
        assert_eq!(assignment(&[]), Some(vec![]));
    }

    #[test]
    fn a_damaged_assignment_is_none() {
        // The last six bytes are not needed.
        for length in 1..ASSIGNMENT.len() - 6 {
            assert_eq!(assignment(&ASSIGNMENT[..length]), None, "{length}");
        }
        let mut absurd = ASSIGNMENT;
        absurd[2] = 0x7f;
        assert_eq!(assignment(&absurd), None);
    }
}
