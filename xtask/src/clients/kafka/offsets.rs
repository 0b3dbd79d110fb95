//! Where a topic's partitions begin and end, and what offset a time has.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::{
    ListOffsetsRequest, MetadataRequest, MetadataResponse,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

use super::{
    client::{KafkaClient, Target, partition_subject, topic_name, topic_subject},
    connection::Deadline,
    error::{KafkaError, check},
    wire::Api,
};

/// A position in every partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first offset that is still kept.
    Earliest,
    /// The offset that the next record will get (the high watermark).
    Latest,
    /// The first record whose timestamp, in milliseconds since 1970, is not older; the end of the
    /// partition if there is none.
    Timestamp(i64),
}

impl OffsetAt {
    /// The protocol puts the two ends into the timestamp field (`ListOffsetsRequest.java`).
    fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::Timestamp(millis) => millis.max(0),
        }
    }
}

impl KafkaClient {
    /// The offset of every partition of a topic at a position.
    pub async fn offsets(
        &self,
        topic: &str,
        at: OffsetAt,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let deadline = self.deadline();
        let mut rerouted = false;
        loop {
            // Always fresh: partitions may have been added.
            let metadata = self.metadata(Some(&[topic]), deadline).await?;
            match self.offsets_once(topic, at, &metadata, deadline).await {
                Err(error) if !rerouted && self.reroute(topic, &error) => rerouted = true,
                other => return other,
            }
        }
    }

    async fn offsets_once(
        &self,
        topic: &str,
        at: OffsetAt,
        metadata: &MetadataResponse,
        deadline: Deadline,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let mut by_leader: HashMap<i32, Vec<i32>> = HashMap::new();
        for found in &metadata.topics {
            let subject = || topic_subject(topic);
            check(MetadataRequest::NAME, found.error_code, subject, None)?;
            for partition in &found.partitions {
                let index = partition.partition_index;
                let leader = self.leader(topic, index, deadline).await?;
                by_leader.entry(leader).or_default().push(index);
            }
        }
        let mut offsets = BTreeMap::new();
        for (leader, partitions) in by_leader {
            let mut found = self
                .leader_offsets(leader, topic, &partitions, at, deadline)
                .await?;
            // -1: no record is as young as the timestamp.
            let (past_end, _): (Vec<i32>, Vec<i64>) =
                found.iter().filter(|(_, offset)| **offset < 0).unzip();
            if !past_end.is_empty() {
                found.extend(
                    self.leader_offsets(leader, topic, &past_end, OffsetAt::Latest, deadline)
                        .await?,
                );
            }
            offsets.extend(found);
        }
        Ok(offsets)
    }

    /// The offsets of those partitions that `leader` leads.
    async fn leader_offsets(
        &self,
        leader: i32,
        topic: &str,
        partitions: &[i32],
        at: OffsetAt,
        deadline: Deadline,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let partition = |index: &i32| {
            ListOffsetsPartition::default()
                .with_partition_index(*index)
                .with_timestamp(at.to_wire())
        };
        let wanted = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions.iter().map(partition).collect());
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into()) // A client, no replica.
            .with_topics(vec![wanted]);
        let response = self
            .call(Target::Broker(leader), &request, deadline)
            .await?;
        let mut offsets = BTreeMap::new();
        for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let index = answer.partition_index;
            let subject = || partition_subject(topic, index);
            check(ListOffsetsRequest::NAME, answer.error_code, subject, None)?;
            offsets.insert(index, answer.offset);
        }
        match partitions.iter().find(|index| !offsets.contains_key(index)) {
            Some(index) => {
                let subject = partition_subject(topic, *index);
                Err(self.incomplete(ListOffsetsRequest::NAME, &subject))
            }
            None => Ok(offsets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_partition_are_special_timestamps() {
        assert_eq!(OffsetAt::Latest.to_wire(), -1);
        assert_eq!(OffsetAt::Earliest.to_wire(), -2);
        assert_eq!(
            OffsetAt::Timestamp(-2).to_wire(),
            0,
            "never an end by accident"
        );
    }
}
