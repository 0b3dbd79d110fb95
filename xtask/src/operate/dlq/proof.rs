//! Seeing what became of records that were sent back: their sink has read past them, or they are in
//! its queue again.
//!
//! A record that came back settles itself: a sink need not commit a place behind a record that it gave
//! up (Debezium's JDBC sink commits only what it has written). And a task does not wait for its queue's
//! answer before it commits, so that a look is repeated for a moment after all is settled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::decide::Sent;
use super::queues::Sink;
use super::{Entry, Place, headers, scan};
use crate::clients::kafka::{KafkaClient, KafkaError};
use crate::components::connect;
use crate::environment::Environment;
use crate::error::Result;
use crate::observe::topics::Ranges;
use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// How long a sink may take to read what lies before the records and the records: workers commit
/// places once a minute unless told otherwise.
const PROVES: Duration = Duration::from_secs(300);
/// How many looks must show the same.
const STEADY: u32 = 4;

/// A record that came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Back {
    /// Where it was sent back from.
    pub from: Place,
    /// Where it was written.
    pub copy: Place,
    /// Where in a queue it is now.
    pub at: Place,
    /// How many times it was sent back by now.
    pub rounds: u32,
    /// Class of the exception.
    pub exception: Option<String>,
    /// Its message.
    pub message: Option<String>,
}

/// What is looked at.
pub(super) struct Proof<'a> {
    env: &'a Environment,
    client: &'a KafkaClient,
    sinks: &'a [Sink],
    sent: &'a [Sent],
    by_copy: HashMap<&'a Place, &'a Sent>,
    by_origin: HashMap<&'a Place, &'a Sent>,
    /// Queues of the sinks, and how far each is read.
    read: Mutex<BTreeMap<String, Ranges>>,
    /// What came back, by where it was written.
    back: Mutex<BTreeMap<Place, Back>>,
}

impl<'a> Proof<'a> {
    /// What became of `sent`; `queues` are their sinks' queues, as far as they are read.
    pub(super) fn new(
        env: &'a Environment,
        client: &'a KafkaClient,
        sinks: &'a [Sink],
        sent: &'a [Sent],
        queues: BTreeMap<String, Ranges>,
    ) -> Self {
        Proof {
            env,
            client,
            sinks,
            sent,
            by_copy: sent.iter().map(|sent| (&sent.copy, sent)).collect(),
            by_origin: sent.iter().map(|sent| (&sent.origin, sent)).collect(),
            read: Mutex::new(queues),
            back: Mutex::default(),
        }
    }

    /// Waits until every record is settled; returns what came back.
    ///
    /// # Errors
    /// A sink fails or is stopped, or does not get there in time.
    pub(super) async fn wait(self, progress: &Progress) -> Result<Vec<Back>> {
        let patience = Patience {
            deadline: PROVES,
            first: Duration::from_millis(300),
            slowest: Duration::from_millis(300),
        };
        let steady = std::sync::atomic::AtomicU32::new(0);
        let order = std::sync::atomic::Ordering::Relaxed;
        wait::until_or_stopped(
            "every record is delivered or back",
            patience,
            progress,
            || async {
                let before = lock(&self.back).len();
                let open = match self.look().await {
                    Ok(open) => open,
                    Err(error) => return Status::in_progress(error.to_string()),
                };
                let back = lock(&self.back).len();
                let all = self.sent.len();
                if open > 0 || back != before {
                    steady.store(0, order);
                    return Status::in_progress(format!("{} of {all} settled", all - open));
                }
                match steady.fetch_add(1, order) {
                    looks if looks + 1 < STEADY => Status::in_progress(format!(
                        "all {all} settled; looking whether it stays so"
                    )),
                    _ => Status::current(format!("{} delivered, {back} came back", all - back)),
                }
            },
            || async {
                for sink in self.sinks {
                    let stopped = connect::hindrance(self.env, &sink.name).await;
                    if stopped.is_some() {
                        return stopped;
                    }
                }
                None
            },
        )
        .await?;
        let back = self.back.into_inner();
        Ok(back
            .unwrap_or_else(PoisonError::into_inner)
            .into_values()
            .collect())
    }

    /// Looks once; returns how many records are neither delivered nor back.
    async fn look(&self) -> std::result::Result<usize, KafkaError> {
        let mut passed: BTreeSet<&Place> = BTreeSet::new();
        for sink in self.sinks {
            let positions = self.client.group_offsets(&sink.group()).await?;
            for sent in self.sent.iter().filter(|sent| sent.connector == sink.name) {
                let copy = &sent.copy;
                let position = positions.get(&(copy.topic.clone(), copy.partition));
                if position.is_some_and(|position| *position > copy.offset) {
                    passed.insert(copy);
                }
            }
        }
        // After the positions: what a sink gave up before it committed is more likely there by now.
        self.read_queues().await?;
        let back = lock(&self.back);
        let open = self
            .sent
            .iter()
            .filter(|sent| !passed.contains(&sent.copy) && !back.contains_key(&sent.copy));
        Ok(open.count())
    }

    async fn read_queues(&self) -> std::result::Result<(), KafkaError> {
        let queues = lock(&self.read).clone();
        let names: Vec<&str> = queues.keys().map(String::as_str).collect();
        for topic in self.client.topics(Some(&names)).await? {
            let Some(before) = queues.get(&topic.name) else {
                continue;
            };
            let mut now = scan::ranges(self.client, &topic).await?;
            for (partition, (begin, end)) in &mut now {
                // A partition that was not there has all of its records from after that.
                *begin = before.get(partition).map_or(*begin, |(_, read)| *read);
                scan::each(
                    self.client,
                    &topic.name,
                    *partition,
                    (*begin, *end),
                    |record| self.came(Entry::of(&topic.name, *partition, record)),
                )
                .await?;
            }
            lock(&self.read).insert(topic.name, now);
        }
        Ok(())
    }

    fn came(&self, entry: Entry) {
        let failure = &entry.failure;
        let repeats = headers::repeats(&entry.record.headers);
        let of = match &failure.origin {
            Some(origin) => self
                .by_copy
                .get(origin)
                .filter(|sent| failure.connector.as_ref() == Some(&sent.connector)),
            // Its sink no longer says where a record comes from; our own header still does.
            None => repeats.and_then(|origin| self.by_origin.get(&origin)),
        };
        if let Some(sent) = of {
            let back = Back {
                from: sent.from.clone(),
                copy: sent.copy.clone(),
                rounds: failure.rounds,
                exception: entry.failure.exception,
                message: entry.failure.message,
                at: entry.at,
            };
            lock(&self.back).entry(back.copy.clone()).or_insert(back);
        }
    }
}

/// Never held across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
