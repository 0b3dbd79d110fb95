//! Looking at queues and topics, and what a run would do with what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Allowed, Decisions, Outgoing, Sent, decide};
use super::edit::Edits;
use super::filter::Filter;
use super::originals::{self, Ends};
use super::queues::{self, Queue, Sink};
use super::{Entry, Place, scan};
use crate::clients::kafka::KafkaClient;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::observe::topics::{Ranges, lost};
use crate::readiness::State;

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
    pub(super) sinks: Vec<Sink>,
    /// What an earlier run sent and its sink has not settled yet.
    pub(super) open: Vec<Sent>,
    /// What an earlier run sent and came back.
    pub back_before: usize,
    pub(super) ends: Ends,
    pub(super) read: BTreeMap<String, Ranges>,
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
        .map_err(lost)?;
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
        let (ranges, whole) = answer.await.map_err(lost)?;
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
    before: &[Sent],
    back: &BTreeSet<Place>,
) -> Result<(usize, Vec<Sent>)> {
    let (came, rest): (Vec<&Sent>, Vec<&Sent>) =
        before.iter().partition(|one| back.contains(&one.copy));
    let mut open = Vec::new();
    for sink in sinks {
        let of = rest.iter().filter(|one| one.connector == sink.name);
        let of: Vec<&&Sent> = of.collect();
        if of.is_empty() {
            continue;
        }
        let positions = client.group_offsets(&sink.group()).await.map_err(lost)?;
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
    let groups = client.groups().await.map_err(lost)?;
    let mut readers = Vec::new();
    for group in groups.into_iter().filter(|group| !own.contains(&group.id)) {
        let positions = client.group_offsets(&group.id).await.map_err(lost)?;
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
                    "cargo xtask connector status {name}; when the cause is fixed: cargo xtask connector restart \
                     {name}"
                ),
            };
            let why = &sink.status.message;
            let what = format!("{name} does not take records: {why}; nothing was sent");
            Error::new(Code::Service, what).hint(next)
        });
        Error::together(errors).map_or(Ok(()), Err)
    }
}
