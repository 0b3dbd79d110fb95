//! One partition, fetched ahead of whoever prints it.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::clients::kafka::{FetchOptions, KafkaClient, KafkaError, Record};
use crate::observe::topics::fetch;

/// The first fetch asks for little, so that a few messages are there at once; each later one for
/// twice as much.
pub(super) const FIRST_BYTES: i32 = 256 << 10;
/// The most that one asks for.
pub(super) const MOST_BYTES: i32 = 8 << 20;
/// What a partition's task brings.
pub(super) type Page = std::result::Result<Vec<Record>, KafkaError>;

/// A partition's place in the topic.
pub(super) struct Reader {
    pub(super) client: KafkaClient,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) next: i64,
    pub(super) bytes: i32,
    pub(super) most: i32,
}

impl Reader {
    /// Reads to `end` into `pages`, and then, if somebody wants it, on and on into `live`.
    pub(super) async fn run(
        mut self,
        end: i64,
        pages: mpsc::Sender<Page>,
        live: Option<mpsc::Sender<(i32, Page)>>,
    ) {
        loop {
            match self.bounded(end).await {
                Ok(Some(records)) => {
                    if pages.send(Ok(records)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                // The merge ends with the error, and the task with it.
                Err(error) => return drop(pages.send(Err(error)).await),
            }
        }
        drop(pages);
        let Some(live) = live else { return };
        loop {
            let page = self.fetch().await.map(|(records, _)| records);
            let failed = page.is_err();
            let empty = page.as_ref().is_ok_and(Vec::is_empty);
            if (!empty && live.send((self.partition, page)).await.is_err()) || failed {
                return;
            }
            if live.is_closed() {
                return;
            }
        }
    }

    /// The next records before `end`; none when all are read.
    pub(super) async fn bounded(
        &mut self,
        end: i64,
    ) -> std::result::Result<Option<Vec<Record>>, KafkaError> {
        if self.next >= end {
            return Ok(None);
        }
        let (mut records, readable) = self.fetch().await?;
        if records.last().is_some_and(|record| record.offset >= end) {
            records.retain(|record| record.offset < end);
        }
        if records.is_empty() && self.next >= readable {
            // What follows belongs to a transaction that is still open.
            return Ok(None);
        }
        Ok(Some(records))
    }

    /// Some records, and up to where there are any. Where retention was faster, reading goes on at
    /// what is left.
    async fn fetch(&mut self) -> std::result::Result<(Vec<Record>, i64), KafkaError> {
        let options = FetchOptions {
            max_wait: Duration::from_millis(500),
            max_bytes: self.bytes,
            ..FetchOptions::default()
        };
        self.bytes = self.bytes.saturating_mul(2).min(self.most);
        let place = (self.topic.as_str(), self.partition);
        let batch = fetch(&self.client, place, &mut self.next, &options).await?;
        self.next = batch.next_offset;
        Ok((batch.records, batch.end))
    }
}
