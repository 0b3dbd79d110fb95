//! Where a topic's partitions begin and end, and what offset a time has.

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    ListOffsetsRequest, MetadataRequest, MetadataResponse,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

use super::{
    client::{KafkaClient, Target, partition_subject, topic_name, topic_subject},
    connection::Deadline,
    error::KafkaError,
    groups::TopicPartition,
    topics::TopicInfo,
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
    /// The offset of every partition of these topics at a position, in one request for each
    /// leader. Partitions without a leader are left out.
    pub async fn offsets_of(
        &self,
        topics: &[TopicInfo],
        at: OffsetAt,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let deadline = self.deadline();
        match self.offsets_led(&leaders(topics), at, deadline).await {
            Err(error) if error.is_misrouted() => {
                let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
                let found = self.topics(Some(&names)).await?;
                self.offsets_led(&leaders(&found), at, deadline).await
            }
            other => other,
        }
    }

    async fn offsets_led(
        &self,
        led: &Led<'_>,
        at: OffsetAt,
        deadline: Deadline,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let mut offsets = BTreeMap::new();
        for (leader, topics) in led {
            let found = self.offsets_at(*leader, topics, at, deadline).await?;
            // -1: no record is as young as the timestamp.
            let mut past_end: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for (topic, partitions) in topics {
                for partition in partitions {
                    let offset = found.get(&((*topic).to_owned(), *partition));
                    if offset.is_some_and(|offset| *offset < 0) {
                        past_end.entry(topic).or_default().push(*partition);
                    }
                }
            }
            offsets.extend(found);
            if !past_end.is_empty() {
                offsets.extend(
                    self.offsets_at(*leader, &past_end, OffsetAt::Latest, deadline)
                        .await?,
                );
            }
        }
        Ok(offsets)
    }

    async fn offsets_at(
        &self,
        leader: i32,
        topics: &BTreeMap<&str, Vec<i32>>,
        at: OffsetAt,
        deadline: Deadline,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let partition = |index: &i32| {
            ListOffsetsPartition::default()
                .with_partition_index(*index)
                .with_timestamp(at.to_wire())
        };
        let wanted = topics.iter().map(|(name, partitions)| {
            ListOffsetsTopic::default()
                .with_name(topic_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into()) // A client, no replica.
            .with_topics(wanted.collect());
        let response = self
            .call(Target::Broker(leader), &request, deadline)
            .await?;
        let mut offsets = BTreeMap::new();
        for topic in &response.topics {
            for answer in &topic.partitions {
                let index = answer.partition_index;
                let subject = || partition_subject(&topic.name, index);
                ListOffsetsRequest::check(answer.error_code, subject, None)?;
                offsets.insert((topic.name.to_string(), index), answer.offset);
            }
        }
        for (topic, partitions) in topics {
            for index in partitions {
                if !offsets.contains_key(&((*topic).to_owned(), *index)) {
                    let subject = partition_subject(topic, *index);
                    return Err(self.incomplete(ListOffsetsRequest::NAME, &subject));
                }
            }
        }
        Ok(offsets)
    }

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
        let mut by_leader = Led::new();
        for found in &metadata.topics {
            let subject = || topic_subject(topic);
            MetadataRequest::check(found.error_code, subject, None)?;
            for partition in &found.partitions {
                let index = partition.partition_index;
                let leader = self.leader(topic, index, deadline).await?;
                let topics = by_leader.entry(leader).or_default();
                topics.entry(topic).or_default().push(index);
            }
        }
        let offsets = self.offsets_led(&by_leader, at, deadline).await?;
        let partitions = offsets.into_iter();
        Ok(partitions
            .map(|((_, partition), offset)| (partition, offset))
            .collect())
    }
}

/// Partitions by topic, by the broker that leads them.
type Led<'a> = BTreeMap<i32, BTreeMap<&'a str, Vec<i32>>>;

fn leaders(topics: &[TopicInfo]) -> Led<'_> {
    let mut led = Led::new();
    for topic in topics {
        for partition in &topic.partitions {
            if let Some(leader) = partition.leader {
                let topics = led.entry(leader).or_default();
                topics.entry(&topic.name).or_default().push(partition.index);
            }
        }
    }
    led
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
