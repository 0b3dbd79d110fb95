//! Deleting records from a partition's beginning.

use kafka_protocol::messages::{
    DeleteRecordsRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
};

use super::{
    client::{KafkaClient, Target, partition_subject, topic_name},
    connection::Deadline,
    error::KafkaError,
    wire::Api,
};

impl KafkaClient {
    /// Deletes the records of a partition that lie before `offset`, and returns where it begins
    /// afterwards. What is deleted already stays so: the call may be repeated.
    ///
    /// Kafka refuses an offset behind the partition's end
    /// ([`OffsetOutOfRange`](super::ErrorCode::OffsetOutOfRange)), and topics that are only compacted.
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<i64, KafkaError> {
        let deadline = self.deadline();
        let ask = |leader| self.delete_at(leader, topic, partition, offset, deadline);
        self.at_leader(topic, partition, deadline, ask).await
    }

    async fn delete_at(
        &self,
        leader: Target,
        topic: &str,
        partition: i32,
        offset: i64,
        deadline: Deadline,
    ) -> Result<i64, KafkaError> {
        let before = DeleteRecordsPartition::default()
            .with_partition_index(partition)
            .with_offset(offset);
        let wanted = DeleteRecordsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![before]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(deadline.left_ms());
        let response = self.call(leader, &request, deadline).await?;
        let subject = || partition_subject(topic, partition);
        let mut answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        let Some(answer) = answers.next() else {
            return Err(self.incomplete(DeleteRecordsRequest::NAME, &subject()));
        };
        DeleteRecordsRequest::check(answer.error_code, subject, None)?;
        Ok(answer.low_watermark)
    }
}
