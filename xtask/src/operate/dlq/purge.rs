//! Deleting the oldest records of a queue.

use serde::Serialize;

use super::queues::Queue;
use super::{refused, scan};
use crate::clients::kafka::{KafkaClient, OffsetAt, TopicInfo};
use crate::error::{Code, Error, Result};
use crate::observe::topics::from::From;
use crate::observe::topics::lost;

/// Up to where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// All that are there now.
    End,
    /// Those before this offset of each partition.
    Offset(i64),
    /// Those before the first one that is not older, in milliseconds since the epoch.
    Time(i64),
}

impl Before {
    /// Reads an offset, a time, or how long ago.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: Option<&str>, now_ms: u64) -> Result<Self> {
        let Some(text) = text else {
            return Ok(Before::End);
        };
        if let Ok(offset) = text.parse::<i64>()
            && offset >= 0
        {
            return Ok(Before::Offset(offset));
        }
        match From::parse(text, now_ms) {
            Ok(From::Time(time)) => Ok(Before::Time(time)),
            _ => Err(Error::new(
                Code::Usage,
                format!("`--before {text}` is neither a time nor an offset"),
            )
            .hint(
                "an offset, a time (2026-11-21T08:00 or 2026-11-21T08:00:00+01:00) or how long ago (15m, 2h, 7d)",
            )),
        }
    }
}

/// What goes from a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Queue.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Its first offset now.
    pub begin: i64,
    /// Its first offset afterwards.
    pub to: i64,
    /// Its end.
    pub end: i64,
}

impl Cut {
    /// How many records go.
    pub fn records(&self) -> i64 {
        self.to - self.begin
    }
}

/// What would go.
///
/// # Errors
/// The broker does not answer.
pub async fn cuts(client: &KafkaClient, queues: &[&Queue], before: Before) -> Result<Vec<Cut>> {
    let mut cuts = Vec::new();
    for topic in queues.iter().filter_map(|queue| queue.topic.as_ref()) {
        cuts.extend(of(client, topic, before).await?);
    }
    Ok(cuts)
}

async fn of(client: &KafkaClient, topic: &TopicInfo, before: Before) -> Result<Vec<Cut>> {
    let ranges = scan::ranges(client, topic).await.map_err(lost)?;
    let topics = std::slice::from_ref(topic);
    let timed = match before {
        Before::Time(ms) => {
            let at = OffsetAt::Timestamp(ms);
            client.offsets_of(topics, at).await.map_err(lost)?
        }
        _ => Default::default(),
    };
    Ok(ranges
        .into_iter()
        .map(|(partition, (begin, end))| {
            let to = match before {
                Before::End => end,
                Before::Offset(offset) => offset,
                Before::Time(_) => {
                    let found = timed.get(&(topic.name.clone(), partition));
                    found.copied().unwrap_or(begin)
                }
            };
            Cut {
                topic: topic.name.clone(),
                partition,
                begin,
                to: to.clamp(begin, end),
                end,
            }
        })
        .filter(|cut| cut.records() > 0)
        .collect())
}

/// Deletes. What is gone already stays so: after a kill the same command does the rest.
///
/// # Errors
/// The broker refuses.
pub async fn purge(client: &KafkaClient, cuts: &[Cut]) -> Result<()> {
    for cut in cuts {
        client
            .delete_records(&cut.topic, cut.partition, cut.to)
            .await
            .map_err(|error| refused(error, "Delete"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn an_offset_a_time_or_all() {
        let now = 1_795_330_455_000;
        let read = |text: &str| Before::parse(Some(text), now);
        assert_eq!(Before::parse(None, now).unwrap(), Before::End);
        assert_eq!(read("0").unwrap(), Before::Offset(0));
        assert_eq!(read("17").unwrap(), Before::Offset(17));
        assert_eq!(read("1h").unwrap(), Before::Time(1_795_326_855_000));
        assert_eq!(
            read("2026-11-21").unwrap(),
            Before::Time(clock::parse("2026-11-21").unwrap())
        );
        for wrong in ["-1", "end", "beginning", "x", ""] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.code, Code::Usage, "{wrong}");
            assert!(error.message.contains("--before"), "{error}");
        }
    }
}
