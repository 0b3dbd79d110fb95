//! Sending records back to the topics that they are of, and proving what became of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::decide::{Allowed, Before, Decisions, Held, Outgoing, decide};
use super::edit::Edits;
use super::filter::Filter;
use super::originals::{self, Ends};
use super::proof::{Back, Proof, Sent};
use super::queues::{self, Queue, Sink};
use super::target::{self, Looked};
use super::{Entry, Place, refused, scan};
use crate::clients::kafka::{KafkaClient, Record};
use crate::components::service;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::pipeline::topics::{Ranges, lost};
use crate::plan::{Outcome, Plan, Progress};
use crate::readiness::State;

/// How many records are written at a time.
const BATCH: usize = 500;
/// How many records one run holds.
const MOST: usize = 100_000;

/// What the user wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A topic, a connector or a pattern; none means every queue.
    pub name: Option<String>,
    /// Which of their records.
    pub filter: Filter,
    /// What may pass.
    pub allowed: Allowed,
    /// The user's file; none without one.
    pub edits: Option<Edits>,
}

/// What a run would do.
#[derive(Debug)]
pub struct Prepared {
    /// Each record's fate.
    pub decisions: Decisions,
    /// Groups that read the topics beside the sinks: they get the records again too.
    pub readers: Vec<String>,
    /// Names of the queues.
    pub queues: Vec<String>,
    /// Sinks of what is sent and of what is still to be proven.
    sinks: Vec<Sink>,
    /// What an earlier run sent and its sink has not settled yet.
    open: Vec<Before>,
    /// What an earlier run sent and came back.
    pub back_before: usize,
    ends: Ends,
    read: BTreeMap<String, Ranges>,
}

/// Looks at the queues and the topics and decides. Nothing is changed.
///
/// # Errors
/// A name or the file does not fit, or something does not answer.
pub async fn prepare(env: &Environment, client: &KafkaClient, wanted: &Wanted) -> Result<Prepared> {
    let found = queues::find(env, client).await?;
    let chosen = found.choose(wanted.name.as_deref())?;
    let Read {
        entries,
        returned,
        read,
    } = entries(client, &chosen, &wanted.filter).await?;
    if let Some(edits) = &wanted.edits {
        edits.check(&entries)?;
    }
    let edits = wanted.edits.as_ref().map(|edits| &edits.records);
    let (originals, ends) = originals::gather(client, &entries, edits)
        .await
        .map_err(|error| lost(&error))?;
    let names: BTreeSet<&str> = found.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let decisions = decide(entries, edits, &originals, &names, wanted.allowed);
    let (back_before, open) = unsettled(client, &found.sinks, &decisions.before, &returned).await?;
    let concerned: BTreeSet<&String> = decisions
        .send
        .iter()
        .map(|one| &one.connector)
        .chain(open.iter().map(|one| &one.connector))
        .collect();
    let sinks: Vec<Sink> = found
        .sinks
        .iter()
        .filter(|sink| concerned.contains(&sink.name))
        .cloned()
        .collect();
    let readers = readers(client, &decisions.send, &sinks).await?;
    Ok(Prepared {
        readers,
        queues: chosen.iter().map(|queue| queue.name.clone()).collect(),
        sinks,
        open,
        back_before,
        decisions,
        ends,
        read,
    })
}

/// What the queues hold.
#[derive(Default)]
struct Read {
    /// Records that are meant.
    entries: Vec<Entry>,
    /// Of which records all that came back are, meant or not.
    returned: BTreeSet<Place>,
    /// How far each queue was read.
    read: BTreeMap<String, Ranges>,
}

async fn entries(client: &KafkaClient, queues: &[&Queue], filter: &Filter) -> Result<Read> {
    let mut all = Read::default();
    for topic in queues.iter().filter_map(|queue| queue.topic.as_ref()) {
        let answer = async {
            let ranges = scan::ranges(client, topic).await?;
            let left = MOST - all.entries.len();
            let whole = scan::all(client, &topic.name, &ranges, filter, left).await?;
            Ok((ranges, whole))
        };
        let (ranges, whole) = answer.await.map_err(|error| lost(&error))?;
        if whole.more {
            return Err(
                Error::new(Code::Usage, format!("{MOST} and more records are meant"))
                    .hint("take some at a time, such as --filter dlq-offset=0..50000"),
            );
        }
        all.entries.extend(whole.entries);
        all.returned.extend(whole.returned);
        all.read.insert(topic.name.clone(), ranges);
    }
    Ok(all)
}

/// Of what was sent before: how many came back, and those that their sinks have not settled.
async fn unsettled(
    client: &KafkaClient,
    sinks: &[Sink],
    before: &[Before],
    back: &BTreeSet<Place>,
) -> Result<(usize, Vec<Before>)> {
    let (came, rest): (Vec<&Before>, Vec<&Before>) =
        before.iter().partition(|one| back.contains(&one.copy));
    let mut open = Vec::new();
    for sink in sinks {
        let of = rest.iter().filter(|one| one.connector == sink.name);
        let of: Vec<&&Before> = of.collect();
        if of.is_empty() {
            continue;
        }
        let positions = client.group_offsets(&sink.group()).await;
        let positions = positions.map_err(|error| lost(&error))?;
        for one in of {
            let position = positions.get(&(one.copy.topic.clone(), one.copy.partition));
            if position.is_none_or(|position| *position <= one.copy.offset) {
                open.push((*one).clone());
            }
        }
    }
    Ok((came.len(), open))
}

/// The groups beside the sinks' own that have read the topics that records go to.
async fn readers(client: &KafkaClient, send: &[Outgoing], sinks: &[Sink]) -> Result<Vec<String>> {
    let topics: BTreeSet<&str> = send.iter().map(|one| one.origin.topic.as_str()).collect();
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let own: BTreeSet<String> = sinks.iter().map(Sink::group).collect();
    let groups = client.groups().await.map_err(|error| lost(&error))?;
    let mut readers = Vec::new();
    for group in groups.into_iter().filter(|group| !own.contains(&group.id)) {
        let positions = client.group_offsets(&group.id).await;
        let positions = positions.map_err(|error| lost(&error))?;
        if positions
            .keys()
            .any(|(topic, _)| topics.contains(topic.as_str()))
        {
            readers.push(group.id);
        }
    }
    Ok(readers)
}

impl Prepared {
    /// Whether there is nothing to send and nothing left to prove.
    pub fn is_idle(&self) -> bool {
        self.decisions.send.is_empty() && self.open.is_empty()
    }

    /// How many records an earlier run sent whose fate is not known yet.
    pub fn unproven(&self) -> usize {
        self.open.len()
    }

    /// Refuses while a sink that is to take the records does not run.
    ///
    /// # Errors
    /// One does not; with what to do about it.
    pub fn refuse_resting_sinks(&self) -> Result<()> {
        let resting = self
            .sinks
            .iter()
            .filter(|sink| sink.status.state != State::Current);
        let errors = resting.map(|sink| {
            let name = &sink.name;
            let next = match &sink.status.next {
                Some(next) if next.contains("connector resume") => next.clone(),
                _ => format!(
                    "cargo xtask connector status {name}; when the cause is mended: \
                     cargo xtask connector restart {name}"
                ),
            };
            Error::new(
                Code::Service,
                format!(
                    "{name} does not take records: {}; nothing was sent",
                    sink.status.message
                ),
            )
            .hint(next)
        });
        Error::together(errors).map_or(Ok(()), Err)
    }
}

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
    /// What was found at the targets, by sink.
    pub target: BTreeMap<String, Looked>,
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
            target: BTreeMap::new(),
        }
    }

    /// Whether each record is where it should be.
    pub fn is_fine(&self) -> bool {
        self.came_back.is_empty() && self.target.values().all(|looked| looked.missing.is_empty())
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
        for ((topic, partition), records) in partitions {
            for records in records.chunks(BATCH) {
                let batch: Vec<Record> = records.iter().map(|one| one.record.clone()).collect();
                let answer = self.client.produce(topic, partition, &batch).await;
                answer.map_err(|error| {
                    let all = send.len();
                    refused(&error, "Write").detail(format!(
                        "{written} of {all} records were written before; what else arrived is known by its \
                         headers: the same command goes on"
                    ))
                })?;
                written += batch.len();
                progress.observe(format!("{written} of {} written", send.len()));
            }
        }
        let copies = originals::written(&self.client, &self.prepared.ends)
            .await
            .map_err(|error| lost(&error))?;
        let sent = sent(send, &self.prepared.open, &copies)?;
        self.state().sent = sent;
        Ok(match written {
            0 => Outcome::Unchanged("nothing to send".into()),
            _ => Outcome::Changed(format!("{written} written, and read back")),
        })
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
                "{count} records are in their topics; the same command goes on from there"
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
        let back: BTreeSet<Place> = {
            let state = self.state();
            state.back.iter().map(|back| back.from.clone()).collect()
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
            let looked = target::look(&self.env, sink, &own).await;
            let mut looked = looked.map_err(|error| service(&error))?;
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
            sent: self.prepared.decisions.send.len(),
            sent_before: self.prepared.open.len(),
            delivered: done.sent.len() - done.back.len(),
            came_back: done.back,
            held: self.prepared.decisions.held.clone(),
            target: done.target,
        }
    }

    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, Done> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where everything stands that is to be proven.
fn sent(send: &[Outgoing], open: &[Before], copies: &HashMap<Place, Place>) -> Result<Vec<Sent>> {
    let now = send.iter().map(|one| match copies.get(&one.origin) {
        Some(copy) => Ok(Sent {
            from: one.from.clone(),
            origin: one.origin.clone(),
            copy: copy.clone(),
            connector: one.connector.clone(),
        }),
        None => Err(Error::new(
            Code::Service,
            format!(
                "{} was written to {}/{} and is not there",
                one.from, one.origin.topic, one.origin.partition
            ),
        )
        .hint(format!(
            "retention may be too short: cargo xtask topic config {}",
            one.origin.topic
        ))),
    });
    let before = open.iter().map(|one| {
        Ok(Sent {
            from: one.from.clone(),
            origin: one.origin.clone(),
            copy: one.copy.clone(),
            connector: one.connector.clone(),
        })
    });
    now.chain(before).collect()
}
