//! Reading records.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::AbortedTransaction,
};

use super::{
    client::{KafkaClient, Target, partition_subject, topic_name},
    connection::{Deadline, FRAME_LIMIT},
    error::KafkaError,
    records::{Batch, Record},
    wire::Api,
};

/// When a fetch stops unpacking batches, in unpacked bytes: compressed batches may grow a hundred
/// times. The batches after that are fetched again by the next call.
const UNPACKED_ENOUGH: usize = 64 << 20;

/// Which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Only committed ones, and nothing beyond the first open transaction. What ClickHouse reads.
    #[default]
    ReadCommitted,
    /// All of them. What Kafka's own consumers and sink connectors read unless told otherwise.
    ReadUncommitted,
}

/// How to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOptions {
    /// How long the broker may wait for `min_bytes` to arrive before it answers with less.
    pub max_wait: Duration,
    /// How many bytes are worth an answer. 0 answers at once, even with nothing.
    pub min_bytes: i32,
    /// How many bytes to answer with. A single batch that is larger is sent all the same.
    pub max_bytes: i32,
    /// Which records of transactions to read.
    pub isolation: Isolation,
}

impl Default for FetchOptions {
    /// Suits reading a lot (8 MiB at a time) as well as waiting for little (up to 500 ms).
    fn default() -> Self {
        Self {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 8 << 20,
            isolation: Isolation::default(),
        }
    }
}

/// What one fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchBatch {
    /// The records, by offset. There may be none although there is progress: markers of
    /// transactions and compacted records take offsets too.
    pub records: Vec<Record>,
    /// The offset to fetch from next. All is read when it reaches [`FetchBatch::end`].
    pub next_offset: i64,
    /// The offset after the last record that is replicated, the "end" that lag is measured from.
    pub high_watermark: i64,
    /// The offset up to which all transactions are decided.
    pub last_stable_offset: i64,
    /// The first offset that is still kept.
    pub log_start: i64,
    /// The offset up to which this fetch's isolation can read.
    pub end: i64,
}

impl KafkaClient {
    /// Reads records of a partition from `from` on, and waits for some if there are none.
    ///
    /// Several partitions can be fetched at the same time, each over a connection of its own. An
    /// offset that retention removed is [`OffsetOutOfRange`](super::ErrorCode::OffsetOutOfRange).
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        options: &FetchOptions,
    ) -> Result<FetchBatch, KafkaError> {
        let deadline = self.deadline_with(options.max_wait);
        let ask = |leader| self.fetch_from(leader, topic, partition, from, options, deadline);
        self.at_leader(topic, partition, deadline, ask).await
    }

    async fn fetch_from(
        &self,
        leader: Target,
        topic: &str,
        partition: i32,
        from: i64,
        options: &FetchOptions,
        deadline: Deadline,
    ) -> Result<FetchBatch, KafkaError> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(from)
            .with_partition_max_bytes(options.max_bytes);
        let wanted = FetchTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_replica_id((-1).into()) // A client, no replica.
            .with_max_wait_ms(i32::try_from(options.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(options.min_bytes)
            .with_max_bytes(options.max_bytes)
            .with_isolation_level(match options.isolation {
                Isolation::ReadUncommitted => 0,
                Isolation::ReadCommitted => 1,
            })
            .with_session_epoch(-1) // No fetch session: each request stands for itself.
            .with_topics(vec![wanted]);
        let limit = FRAME_LIMIT + usize::try_from(options.max_bytes).unwrap_or(0);
        let response = self.call_limited(leader, &request, limit, deadline).await?;

        let subject = || format!("{} from offset {from}", partition_subject(topic, partition));
        FetchRequest::check(response.error_code, subject, None)?;
        let answer = response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .find(|answer| answer.partition_index == partition)
            .ok_or_else(|| self.incomplete(FetchRequest::NAME, &subject()))?;
        FetchRequest::check(answer.error_code, subject, None)?;

        let aborted = answer.aborted_transactions.unwrap_or_default();
        let (records, next_offset) = unpack(answer.records.unwrap_or_default(), from, aborted)
            .map_err(|detail| {
                self.damaged(FetchRequest::NAME, format!("{}: {detail}", subject()))
            })?;
        Ok(FetchBatch {
            records,
            next_offset,
            high_watermark: answer.high_watermark,
            last_stable_offset: answer.last_stable_offset,
            log_start: answer.log_start_offset,
            end: match options.isolation {
                // -1: the broker knows of no transactions.
                Isolation::ReadCommitted if answer.last_stable_offset >= 0 => {
                    answer.last_stable_offset
                }
                _ => answer.high_watermark,
            },
        })
    }
}

/// Decodes batches into the records from offset `from` on that are no one's aborted work, and the
/// offset after the last batch.
fn unpack(
    mut bytes: Bytes,
    from: i64,
    mut aborted: Vec<AbortedTransaction>,
) -> Result<(Vec<Record>, i64), String> {
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    // The producers whose transaction at the present offset was aborted later.
    let mut aborting = HashSet::new();
    let mut records = Vec::new();
    let mut next_offset = from;
    let received = bytes.len();
    let mut unpacked = 0;
    while unpacked < UNPACKED_ENOUGH
        && let Some(batch) = Batch::take(&mut bytes)?
    {
        next_offset = next_offset.max(batch.last_offset.saturating_add(1));
        while let Some(transaction) = aborted.next_if(|t| t.first_offset <= batch.last_offset) {
            aborting.insert(transaction.producer_id.0);
        }
        if batch.is_control() {
            if aborting.contains(&batch.producer_id) && batch.is_abort()? {
                aborting.remove(&batch.producer_id);
            }
        } else if !(batch.is_transactional() && aborting.contains(&batch.producer_id)) {
            unpacked += batch.records(from, &mut records)?;
        }
    }
    // Brokers send the first batch whole (KIP-74). One who did not would make callers ask forever.
    if received > 0 && next_offset == from {
        return Err(format!("{received} bytes without a whole batch"));
    }
    Ok((records, next_offset))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{super::records::encode_batch, *};

    /// A batch with one record, at `offset`, with attributes and producer as given.
    fn batch(offset: i64, attributes: u8, producer: i64, key: &'static [u8]) -> Bytes {
        let record = Record::new(Some(Bytes::from_static(key)), None);
        let mut bytes = BytesMut::from(encode_batch(&[record], 1).expect("fits").as_ref());
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes[22] = attributes;
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        bytes.freeze()
    }

    const PLAIN: u8 = 0;
    const TRANSACTIONAL: u8 = 1 << 4;
    const CONTROL: u8 = TRANSACTIONAL | 1 << 5;
    const ABORT: &[u8] = &[0, 0, 0, 0];
    const COMMIT: &[u8] = &[0, 0, 0, 1];

    fn unpacked(batches: &[Bytes], aborted: &[(i64, i64)]) -> (Vec<i64>, i64) {
        let aborted = aborted.iter().map(|(producer, first)| {
            AbortedTransaction::default()
                .with_producer_id((*producer).into())
                .with_first_offset(*first)
        });
        let bytes = Bytes::from(batches.concat());
        let (records, next) = unpack(bytes, 0, aborted.collect()).expect("intact");
        (records.iter().map(|record| record.offset).collect(), next)
    }

    #[test]
    fn markers_are_no_records_but_progress() {
        let batches = [
            batch(0, TRANSACTIONAL, 7, b"k"),
            batch(1, CONTROL, 7, COMMIT),
        ];
        assert_eq!(unpacked(&batches, &[]), (vec![0], 2));
    }

    #[test]
    fn aborted_work_is_left_out_until_its_marker() {
        let batches = [
            batch(0, TRANSACTIONAL, 7, b"aborted"),
            batch(1, TRANSACTIONAL, 8, b"another producer's"),
            batch(2, PLAIN, -1, b"outside of transactions"),
            batch(3, CONTROL, 7, ABORT),
            batch(4, TRANSACTIONAL, 7, b"the next transaction"),
            batch(5, CONTROL, 8, COMMIT),
        ];
        assert_eq!(unpacked(&batches, &[(7, 0)]), (vec![1, 2, 4], 6));
    }

    #[test]
    fn a_transaction_that_aborts_twice_is_left_out_twice() {
        let batches = [
            batch(0, TRANSACTIONAL, 7, b"aborted"),
            batch(1, CONTROL, 7, ABORT),
            batch(2, TRANSACTIONAL, 7, b"aborted again"),
            batch(3, CONTROL, 7, ABORT),
        ];
        assert_eq!(unpacked(&batches, &[(7, 2), (7, 0)]), (vec![], 4));
    }

    #[test]
    fn nothing_is_no_progress() {
        assert_eq!(unpacked(&[], &[]), (vec![], 0));
    }

    #[test]
    fn a_first_batch_that_is_cut_is_an_error() {
        let cut = batch(0, PLAIN, -1, b"k").slice(..40);
        let error = unpack(cut, 0, vec![]).expect_err("no progress");
        assert_eq!(error, "40 bytes without a whole batch");
    }
}
