//! Sending records back to the topics that they are of, and proving what became of them.
//!
//! The topic's new end is read before each batch, and after the batch it is checked whether a newer
//! record of a sent key arrived in between. A write to Kafka cannot be made to depend on that, so
//! what was overtaken in that moment is named, with exit code 1.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;

use super::decide::{Held, Outgoing, Sent};
use super::originals::Behind;
use super::prepare::Prepared;
use super::proof::{Back, Proof};
use super::queues::Sink;
use super::target::{self, Looked};
use super::{Place, refused};
use crate::clients::kafka::{KafkaClient, Record};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::observe::topics::lost;
use crate::plan::{Outcome, Plan, Progress};

/// How many records are written at a time.
const BATCH: usize = 500;
/// What a run did.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// How many records it sent.
    pub sent: usize,
    /// How many an earlier run sent, of which this one proved what became.
    pub sent_before: usize,
    /// How many of both their sinks have taken.
    pub delivered: usize,
    /// Those that came back.
    pub came_back: Vec<Back>,
    /// Those that stay, and why.
    pub held: Vec<(Place, Held)>,
    /// Those before which something newer of their key was written at the very moment.
    pub overtaken: Vec<Overtaken>,
    /// What was found at the targets, by sink.
    pub target: BTreeMap<String, Looked>,
}

/// A record that was written right behind a newer one of its key: the target has the older now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Overtaken {
    /// Where in a queue it is.
    pub from: Place,
    /// Where it was written.
    pub copy: Place,
    /// Offset of the newer one.
    pub by: i64,
}

impl Summary {
    /// That of a run that has nothing to do.
    pub fn idle(held: &[(Place, Held)]) -> Self {
        Summary {
            sent: 0,
            sent_before: 0,
            delivered: 0,
            came_back: Vec::new(),
            held: held.to_vec(),
            overtaken: Vec::new(),
            target: BTreeMap::new(),
        }
    }

    /// Whether each record is where it should be.
    pub fn is_fine(&self) -> bool {
        self.came_back.is_empty()
            && self.overtaken.is_empty()
            && self.target.values().all(|looked| looked.missing.is_empty())
    }
}

/// One run.
pub struct Redrive {
    env: Arc<Environment>,
    client: KafkaClient,
    prepared: Prepared,
    state: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    sent: Vec<Sent>,
    /// What turned out to be superseded just before it would have been written.
    late: Vec<(Place, Held)>,
    overtaken: Vec<Overtaken>,
    back: Vec<Back>,
    target: BTreeMap<String, Looked>,
}

impl Redrive {
    /// A run of what was prepared.
    pub fn new(env: Arc<Environment>, client: KafkaClient, prepared: Prepared) -> Self {
        Redrive {
            env,
            client,
            prepared,
            state: Mutex::default(),
        }
    }

    /// The steps.
    pub fn plan(self: &Arc<Self>) -> Plan {
        let mut plan = Plan::default();
        let run = self.clone();
        let send = move |progress: Progress| async move { run.send(&progress).await };
        plan.step("send", "records to their topics", &[], send);
        let run = self.clone();
        let settle = move |progress: Progress| async move { run.settle(&progress).await };
        plan.gate(
            "settled",
            "delivered, or back in the queue",
            &["send"],
            settle,
        );
        let run = self.clone();
        let look = move |_: Progress| async move { run.look().await };
        plan.gate("target", "rows of what was delivered", &["settled"], look);
        plan
    }

    async fn send(&self, progress: &Progress) -> Result<Outcome> {
        let send = &self.prepared.decisions.send;
        let mut partitions: BTreeMap<(&str, i32), Vec<&Outgoing>> = BTreeMap::new();
        for one in send {
            let key = (one.origin.topic.as_str(), one.origin.partition);
            partitions.entry(key).or_default().push(one);
        }
        let mut written = 0;
        let (mut copies, mut overtaken) = (HashMap::new(), HashMap::new());
        for (place, records) in partitions {
            let from = self.prepared.ends.get(&(place.0.to_owned(), place.1));
            let from = from.copied().unwrap_or_default();
            let mut behind = Behind::new(from, keys(&records));
            for records in records.chunks(BATCH) {
                behind.read_on(&self.client, place).await.map_err(lost)?;
                let records = self.still_newest(&behind, records);
                let batch: Vec<Record> = records.iter().map(|one| one.record.clone()).collect();
                let answer = self.client.produce(place.0, place.1, &batch).await;
                answer.map_err(|error| {
                    let all = send.len();
                    refused(error, "Write").detail(format!(
                        "{written} of {all} records were written before; what else arrived is known by its headers: \
                         the same command continues"
                    ))
                })?;
                written += batch.len();
                progress.observe(format!("{written} of {} written", send.len()));
            }
            behind.read_on(&self.client, place).await.map_err(lost)?;
            copies.extend(behind.copies);
            overtaken.extend(behind.overtaken);
        }
        let mut state = self.state();
        let late: BTreeSet<&Place> = state.late.iter().map(|(at, _)| at).collect();
        let now = send.iter().filter(|one| !late.contains(&one.from));
        let sent = sent(now, &self.prepared.open, &copies)?;
        state.overtaken = sent
            .iter()
            .filter_map(|sent| {
                Some(Overtaken {
                    from: sent.from.clone(),
                    copy: sent.copy.clone(),
                    by: *overtaken.get(&sent.origin)?,
                })
            })
            .collect();
        state.sent = sent;
        Ok(match written {
            0 => Outcome::Unchanged("nothing to send".into()),
            _ => Outcome::Changed(format!("{written} written, and read back")),
        })
    }

    /// Those of a batch for whose keys nothing came since the topic was looked at; the others stay.
    fn still_newest<'a>(&self, behind: &Behind, records: &[&'a Outgoing]) -> Vec<&'a Outgoing> {
        let mut rest = Vec::new();
        for one in records {
            let key = one.record.key.as_ref().filter(|_| !one.superseded);
            match key.and_then(|key| behind.newer.get(key)) {
                Some(&by) => {
                    let held = Held::Superseded { by };
                    self.state().late.push((one.from.clone(), held));
                }
                None => rest.push(*one),
            }
        }
        rest
    }

    async fn settle(&self, progress: &Progress) -> Result<Outcome> {
        let sent = self.state().sent.clone();
        let own: Vec<&str> = self.prepared.sinks.iter().filter_map(Sink::queue).collect();
        let queues = self.prepared.read.clone();
        let queues = queues
            .into_iter()
            .filter(|(name, _)| own.contains(&name.as_str()));
        let proof = Proof::new(
            &self.env,
            &self.client,
            &self.prepared.sinks,
            &sent,
            queues.collect(),
        );
        let back = proof.wait(progress).await.map_err(|error| {
            let count = sent.len();
            error.detail(format!(
                "{count} records are in their topics; the same command continues from there"
            ))
        })?;
        let message = format!(
            "{} delivered, {} came back",
            sent.len() - back.len(),
            back.len()
        );
        self.state().back = back;
        Ok(Outcome::Unchanged(message))
    }

    async fn look(&self) -> Result<Outcome> {
        // Neither what came back nor what was not sent after all.
        let back: BTreeSet<Place> = {
            let state = self.state();
            let back = state.back.iter().map(|back| &back.from);
            back.chain(state.late.iter().map(|(at, _)| at))
                .cloned()
                .collect()
        };
        let send = &self.prepared.decisions.send;
        let delivered = send.iter().filter(|one| !back.contains(&one.from));
        let delivered: Vec<&Outgoing> = delivered.collect();
        let mut found = 0;
        for sink in &self.prepared.sinks {
            let own = delivered.iter().filter(|one| one.connector == sink.name);
            let own: Vec<&Outgoing> = own.copied().collect();
            let open = self.prepared.open.iter();
            let open = open.filter(|one| one.connector == sink.name && !back.contains(&one.from));
            let open = open.count();
            if own.is_empty() && open == 0 {
                continue;
            }
            let mut looked = target::look(&self.env, sink, &own).await?;
            if open > 0 {
                let why = "an earlier run has written them".to_owned();
                looked.not_looked_up.insert(why, open);
            }
            found += looked.found;
            self.state().target.insert(sink.name.clone(), looked);
        }
        Ok(Outcome::Unchanged(match found {
            0 => "nothing to look up".into(),
            found => format!("{found} found"),
        }))
    }

    /// What was done.
    pub fn summary(&self) -> Summary {
        let mut state = self.state();
        let done = std::mem::take(&mut *state);
        Summary {
            sent: self.prepared.decisions.send.len() - done.late.len(),
            sent_before: self.prepared.open.len(),
            delivered: done.sent.len() - done.back.len(),
            came_back: done.back,
            held: [self.prepared.decisions.held.clone(), done.late].concat(),
            overtaken: done.overtaken,
            target: done.target,
        }
    }

    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, Done> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys that nothing newer may have; what the user lets pass although it is superseded may be
/// superseded again.
fn keys(records: &[&Outgoing]) -> impl Iterator<Item = Bytes> {
    let guarded = records.iter().filter(|one| !one.superseded);
    guarded.filter_map(|one| one.record.key.clone())
}

/// Where everything stands that is to be proven.
fn sent<'a>(
    send: impl Iterator<Item = &'a Outgoing>,
    open: &[Sent],
    copies: &HashMap<Place, Place>,
) -> Result<Vec<Sent>> {
    let now = send.map(|one| match copies.get(&one.origin) {
        Some(copy) => Ok(Sent {
            from: one.from.clone(),
            origin: one.origin.clone(),
            copy: copy.clone(),
            connector: one.connector.clone(),
        }),
        None => {
            let Place {
                topic, partition, ..
            } = &one.origin;
            let what = format!(
                "{} was written to {topic}/{partition} and is not there",
                one.from
            );
            let next = format!("retention may be too short: cargo xtask topic config {topic}");
            Err(Error::new(Code::Service, what).hint(next))
        }
    });
    now.chain(open.iter().cloned().map(Ok)).collect()
}
