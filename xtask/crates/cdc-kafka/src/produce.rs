//! Writing records.

use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::{
    ProduceRequest,
    produce_request::{PartitionProduceData, TopicProduceData},
};

use super::{
    client::{KafkaClient, Target, partition_subject, topic_name},
    connection::Deadline,
    error::KafkaError,
    records::{Record, encode_batch},
    wire::Api,
};

/// How large a batch may get, in bytes, before the next one is begun. Below the default of
/// `max.message.bytes`, 1048588, which limits batches in spite of its name.
const BATCH_BYTES: usize = 1_000_000;

impl KafkaClient {
    /// Appends records to a partition, in their order, and returns the offset of the first one
    /// when all in-sync replicas have all of them.
    ///
    /// At least once: the records go out in batches, so an error may leave some of them written,
    /// and after [`KafkaError::Disconnected`] or [`KafkaError::Timeout`] it is unknown whether the
    /// last batch was. An empty list is written nowhere and returns `None`.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
    ) -> Result<Option<i64>, KafkaError> {
        let mut first = None;
        let mut rest = records;
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(batch_length(rest));
            let offset = self.produce_batch(topic, partition, batch).await?;
            first = first.or(Some(offset));
            rest = others;
        }
        Ok(first)
    }

    async fn produce_batch(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
    ) -> Result<i64, KafkaError> {
        let subject = || partition_subject(topic, partition);
        let batch = encode_batch(records, now()).map_err(|detail| {
            KafkaError::Unsupported(format!("cannot write to {}: {detail}", subject()))
        })?;
        let deadline = self.deadline();
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch));
        let data = TopicProduceData::default()
            .with_name(topic_name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1) // All replicas in sync.
            .with_timeout_ms(deadline.left_ms())
            .with_topic_data(vec![data]);
        let ask = |leader| self.produce_to(leader, &request, subject, deadline);
        self.at_leader(topic, partition, deadline, ask).await
    }

    async fn produce_to(
        &self,
        leader: Target,
        request: &ProduceRequest,
        subject: impl Fn() -> String,
        deadline: Deadline,
    ) -> Result<i64, KafkaError> {
        let response = self.call(leader, request, deadline).await?;
        let answers = response.responses.iter();
        let Some(answer) = answers.flat_map(|topic| &topic.partition_responses).next() else {
            return Err(self.incomplete(ProduceRequest::NAME, &subject()));
        };
        let reason = answer.record_errors.first();
        let reason = reason.and_then(|error| error.batch_index_error_message.as_deref());
        let message = answer.error_message.as_deref().or(reason);
        ProduceRequest::check(answer.error_code, subject, message)?;
        Ok(answer.base_offset)
    }
}

/// How many of `records` make up the next batch; at least one, however large.
fn batch_length(records: &[Record]) -> usize {
    let mut bytes = 0;
    let fitting = records.iter().take_while(|record| {
        bytes += record.size_bound();
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1)
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_size(bytes: usize) -> Record {
        Record::new(None, Some(vec![0; bytes].into()))
    }

    #[test]
    fn batches_end_before_the_limit() {
        let records = vec![of_size(300_000); 5];
        assert_eq!(batch_length(&records), 3);
        assert_eq!(batch_length(&records[3..]), 2);
    }

    #[test]
    fn a_record_over_the_limit_goes_alone_and_the_broker_decides() {
        assert_eq!(batch_length(&[of_size(BATCH_BYTES), of_size(1)]), 1);
    }
}
