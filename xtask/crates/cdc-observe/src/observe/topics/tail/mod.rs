//! Reading a topic in order: from anywhere, to its end or on and on.
//!
//! Each partition has a task that fetches ahead while what it brought is printed. Up to the end that
//! the topic has at the beginning, records of several partitions are merged by their timestamps;
//! what comes later is handed on as it arrives.

mod last;
mod reader;

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use last::last;
use reader::{FIRST_BYTES, MOST_BYTES, Page, Reader};

use super::from::From;
use super::lost;
use crate::clients::kafka::{KafkaClient, OffsetAt, Record, TopicInfo};
use crate::error::{Code, Error, Result};

/// The most that the partitions together ask for at a time.
const ALL_BYTES: i32 = 16 << 20;
/// How many merged records are handed on at a time.
const CHUNK: usize = 1024;

/// What to read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only this partition.
    pub partition: Option<i32>,
    /// Where to begin.
    pub from: From,
    /// How many records at the most.
    pub max: Option<u64>,
    /// Whether to go on at the end.
    pub follow: bool,
}

/// Records in the order in which they are to be shown.
#[derive(Debug)]
pub enum Chunk {
    /// All of one partition.
    Page(i32, Vec<Record>),
    /// Each with its partition.
    Merged(Vec<(i32, Record)>),
}

/// Reads and hands on, until all is read, the receiver is gone, or for ever.
///
/// # Errors
/// No such partition; the broker does not answer or refuses.
pub async fn read(
    client: &KafkaClient,
    topic: &TopicInfo,
    wanted: &Wanted,
    out: mpsc::Sender<Chunk>,
) -> Result<()> {
    let spans = spans(client, topic, wanted).await?;
    let most = (ALL_BYTES / i32::try_from(spans.len().max(1)).unwrap_or(i32::MAX))
        .clamp(FIRST_BYTES, MOST_BYTES);
    let mut tasks = JoinSet::new();
    let (live, mut arriving) = mpsc::channel::<(i32, Page)>(4);
    let mut streams = Vec::new();
    for (partition, (begin, end)) in spans {
        let (pages, bounded) = mpsc::channel::<Page>(2);
        streams.push(Stream {
            partition,
            pages: bounded,
            records: Vec::new().into_iter(),
        });
        let live = wanted.follow.then(|| live.clone());
        let reader = Reader {
            client: client.clone(),
            topic: topic.name.clone(),
            partition,
            next: begin,
            bytes: FIRST_BYTES,
            most,
        };
        tasks.spawn(reader.run(end, pages, live));
    }
    drop(live);
    let mut out = Out {
        left: wanted.max,
        chunk: Vec::new(),
        to: out,
    };
    if !merge(&mut streams, &mut out).await? {
        return Ok(());
    }
    while let Some((partition, page)) = arriving.recv().await {
        let records = page.map_err(lost)?;
        if !out.page(partition, records).await {
            return Ok(());
        }
    }
    Ok(())
}

/// Where each partition is read from, and where its end is.
async fn spans(
    client: &KafkaClient,
    topic: &TopicInfo,
    wanted: &Wanted,
) -> Result<BTreeMap<i32, (i64, i64)>> {
    let mut topic = topic.clone();
    if let Some(only) = wanted.partition {
        let all = topic.partitions.len();
        topic.partitions.retain(|partition| partition.index == only);
        if topic.partitions.is_empty() {
            let what = format!("topic `{}` has no partition {only}", topic.name);
            return Err(Error::new(Code::Usage, what)
                .hint(format!("its partitions are 0 to {}", all.saturating_sub(1))));
        }
    }
    if let Some(without) = topic.partitions.iter().find(|one| one.leader.is_none()) {
        let (name, index) = (&topic.name, without.index);
        let what = format!("topic `{name}`, partition {index}: no broker leads it");
        let next = "cargo xtask status, or another one: --partition N";
        return Err(Error::new(Code::Service, what).hint(next));
    }
    let topics = std::slice::from_ref(&topic);
    let ends = client
        .offsets_of(topics, OffsetAt::Latest)
        .await
        .map_err(lost)?;
    let at = match wanted.from {
        From::End => None,
        From::Time(ms) => Some(OffsetAt::Timestamp(ms)),
        From::Beginning | From::Last(_) => Some(OffsetAt::Earliest),
    };
    let begins = match at {
        None => ends.clone(),
        Some(at) => client.offsets_of(topics, at).await.map_err(lost)?,
    };
    let spans: BTreeMap<i32, (i64, i64)> = begins
        .into_iter()
        .filter_map(|(key, begin)| Some((key.1, (begin, *ends.get(&key)?))))
        .collect();
    match wanted.from {
        From::Last(count) => last(client, &topic.name, spans, count).await.map_err(lost),
        _ => Ok(spans),
    }
}

/// A partition's records up to its end.
struct Stream {
    partition: i32,
    pages: mpsc::Receiver<Page>,
    records: std::vec::IntoIter<Record>,
}

impl Stream {
    /// Whether there is a record to look at; waits for one.
    async fn fill(&mut self, out: &mut Out) -> Result<bool> {
        while self.records.as_slice().is_empty() {
            let page = match self.pages.try_recv() {
                Ok(page) => Some(page),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
                Err(mpsc::error::TryRecvError::Empty) => {
                    // What is there need not wait for what comes.
                    if !out.flush().await {
                        return Ok(false);
                    }
                    self.pages.recv().await
                }
            };
            match page {
                Some(page) => self.records = page.map_err(lost)?.into_iter(),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn head(&self) -> Option<(i64, i32)> {
        let record = self.records.as_slice().first()?;
        Some((record.timestamp, self.partition))
    }
}

/// Hands on all records in the order of their timestamps. False if no more are wanted.
async fn merge(streams: &mut Vec<Stream>, out: &mut Out) -> Result<bool> {
    let mut index = 0;
    while let Some(stream) = streams.get_mut(index) {
        match stream.fill(out).await? {
            true => index += 1,
            false => drop(streams.remove(index)),
        }
    }
    // From here on none of them is empty: the one that becomes so is filled before the next choice.
    while streams.len() > 1 {
        let heads = streams.iter().enumerate();
        let heads = heads.filter_map(|(index, stream)| Some((stream.head()?, index)));
        let Some((_, index)) = heads.min() else { break };
        let stream = &mut streams[index];
        if let Some(record) = stream.records.next()
            && !out.push(stream.partition, record).await
        {
            return Ok(false);
        }
        if !streams[index].fill(out).await? {
            streams.remove(index);
        }
    }
    if let Some(last) = streams.first_mut() {
        while last.fill(out).await? {
            let records = std::mem::take(&mut last.records).collect();
            if !out.page(last.partition, records).await {
                return Ok(false);
            }
        }
    }
    Ok(out.flush().await)
}

/// Where records go.
struct Out {
    left: Option<u64>,
    chunk: Vec<(i32, Record)>,
    to: mpsc::Sender<Chunk>,
}

impl Out {
    /// False if no more records are wanted.
    async fn push(&mut self, partition: i32, record: Record) -> bool {
        self.chunk.push((partition, record));
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                self.flush().await;
                return false;
            }
        }
        self.chunk.len() < CHUNK || self.flush().await
    }

    /// Hands on records that nothing has to be merged with. False if no more are wanted.
    async fn page(&mut self, partition: i32, mut records: Vec<Record>) -> bool {
        if !self.flush().await {
            return false;
        }
        let mut wanted = true;
        if let Some(left) = &mut self.left {
            records.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= records.len() as u64;
            wanted = *left > 0;
        }
        let sent = records.is_empty() || self.send(Chunk::Page(partition, records)).await;
        sent && wanted
    }

    async fn flush(&mut self) -> bool {
        if self.chunk.is_empty() {
            return !self.to.is_closed();
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Chunk::Merged(chunk)).await
    }

    async fn send(&self, chunk: Chunk) -> bool {
        self.to.send(chunk).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(partition: i32, records: &[(i64, i64)]) -> Stream {
        let (pages, received) = mpsc::channel(1);
        let records: Vec<Record> = records
            .iter()
            .map(|(timestamp, offset)| Record {
                offset: *offset,
                timestamp: *timestamp,
                ..Record::new(None, None)
            })
            .collect();
        pages.try_send(Ok(records)).expect("room");
        Stream {
            partition,
            pages: received,
            records: Vec::new().into_iter(),
        }
    }

    #[tokio::test]
    async fn partitions_are_merged_by_time_and_cut_at_the_number_wanted() {
        for (max, expected) in [
            (None, vec![(0, 0), (1, 7), (0, 1), (1, 9), (0, 2)]),
            (Some(2), vec![(0, 0), (1, 7)]),
        ] {
            let mut streams = vec![
                stream(0, &[(10, 0), (30, 1), (50, 2)]),
                stream(1, &[(20, 7), (40, 9)]),
                stream(2, &[]),
            ];
            let (to, mut received) = mpsc::channel(8);
            let mut out = Out {
                left: max,
                chunk: Vec::new(),
                to,
            };
            assert_eq!(merge(&mut streams, &mut out).await.unwrap(), max.is_none());
            drop(out);
            let mut seen = Vec::new();
            while let Some(chunk) = received.recv().await {
                match chunk {
                    Chunk::Page(partition, records) => {
                        seen.extend(records.iter().map(|record| (partition, record.offset)));
                    }
                    Chunk::Merged(records) => {
                        seen.extend(
                            records
                                .iter()
                                .map(|(partition, one)| (*partition, one.offset)),
                        );
                    }
                }
            }
            assert_eq!(seen, expected);
        }
    }
}
