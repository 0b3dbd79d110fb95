//! Where the last so many records of a topic begin.

use std::collections::BTreeMap;

use super::reader::{FIRST_BYTES, MOST_BYTES, Reader};
use crate::clients::kafka::{KafkaClient, KafkaError};

/// Moves the beginnings to where the last `count` records begin. Offsets have gaps, so records have
/// to be seen to be counted.
pub(super) async fn last(
    client: &KafkaClient,
    topic: &str,
    spans: BTreeMap<i32, (i64, i64)>,
    count: u64,
) -> std::result::Result<BTreeMap<i32, (i64, i64)>, KafkaError> {
    let all: u64 = spans
        .values()
        .map(|(begin, end)| u64::try_from(end - begin).unwrap_or(0))
        .sum();
    if all <= count {
        return Ok(spans);
    }
    let found =
        futures_util::future::try_join_all(spans.iter().map(async |(partition, (begin, end))| {
            let seen = seen(client, topic, *partition, (*begin, *end), count).await?;
            Ok::<_, KafkaError>((*partition, seen))
        }))
        .await?;
    let begins = suffix(&found, usize::try_from(count).unwrap_or(usize::MAX));
    Ok(spans
        .into_iter()
        .map(|(partition, (_, end))| {
            let begin = begins.get(&partition).copied().unwrap_or(end);
            (partition, (begin, end))
        })
        .collect())
}

/// Timestamp and offset of a record.
type Seen = (i64, i64);

/// The last records of a partition, `count` of them if there are so many.
async fn seen(
    client: &KafkaClient,
    topic: &str,
    partition: i32,
    (begin, end): (i64, i64),
    count: u64,
) -> std::result::Result<Vec<Seen>, KafkaError> {
    let mut window = i64::try_from(count).unwrap_or(i64::MAX);
    loop {
        let start = end.saturating_sub(window).max(begin);
        let mut seen = Vec::new();
        let mut reader = Reader {
            client: client.clone(),
            topic: topic.to_owned(),
            partition,
            next: start,
            bytes: FIRST_BYTES,
            most: MOST_BYTES,
        };
        while let Some(records) = reader.bounded(end).await? {
            seen.extend(
                records
                    .iter()
                    .map(|record| (record.timestamp, record.offset)),
            );
        }
        let enough = u64::try_from(seen.len()).unwrap_or(u64::MAX) >= count;
        if enough || start <= begin {
            return Ok(seen);
        }
        window = window.saturating_mul(8);
    }
}

/// Where the last `count` records begin, in the order in which they will be merged.
fn suffix(found: &[(i32, Vec<Seen>)], count: usize) -> BTreeMap<i32, i64> {
    let mut at = vec![0; found.len()];
    let mut order: Vec<(i32, i64)> = Vec::new();
    loop {
        let heads = found
            .iter()
            .enumerate()
            .filter_map(|(index, (partition, seen))| {
                let (timestamp, offset) = *seen.get(at[index])?;
                Some((timestamp, *partition, offset, index))
            });
        let Some((_, partition, offset, index)) = heads.min() else {
            break;
        };
        order.push((partition, offset));
        at[index] += 1;
    }
    let mut begins = BTreeMap::new();
    for (partition, offset) in order.iter().rev().take(count) {
        begins.insert(*partition, *offset);
    }
    begins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_of_all_partitions_together() {
        let found = vec![
            (0, vec![(10, 0), (30, 1), (50, 2)]),
            (1, vec![(20, 7), (40, 9)]),
        ];
        assert_eq!(suffix(&found, 2), BTreeMap::from([(0, 2), (1, 9)]));
        assert_eq!(suffix(&found, 1), BTreeMap::from([(0, 2)]));
        assert_eq!(suffix(&found, 9), BTreeMap::from([(0, 0), (1, 7)]));
        // A producer's clock went backwards: the order within a partition stays.
        let found = vec![(0, vec![(90, 0), (10, 1)]), (1, vec![(50, 5)])];
        assert_eq!(suffix(&found, 2), BTreeMap::from([(0, 0)]));
    }
}
