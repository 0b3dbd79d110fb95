//! Which records go back, and why the others do not. Pure: what is known of the original topics in,
//! a decision for each record out.
//!
//! A record whose later history was removed by retention counts as overtaken: a newer record of its
//! key may have been there. Records without a key have no order to lose. A copy from an aborted
//! transaction counts as a newer record: holding one back for nothing is better than setting a row
//! back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use serde::Serialize;

use super::Entry;
use super::edit::Edit;
use super::headers::{Place, sent_back};
use crate::clients::kafka::Record;

/// What is known of an original topic's partition, from the oldest failed record's offset on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Later {
    /// The partition's first offset that is still kept.
    pub begin: i64,
    /// The last offset at which a key stands.
    pub last: HashMap<Bytes, i64>,
    /// Where this tool wrote a record that repeats the one at an offset; the last one.
    pub copies: HashMap<i64, i64>,
}

/// Original topics by topic and partition; a partition that is not there is missing.
pub type Originals = BTreeMap<(String, i32), Later>;

/// What the user lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// How many times a record is sent back at the most.
    pub rounds: u32,
    /// Also records after which something newer came, or may have come, for their key.
    pub superseded: bool,
}

/// Why a record stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Held {
    /// It has no headers of Connect's.
    NoContext,
    /// Its headers cannot be read.
    Damaged {
        /// Which, and why.
        headers: Vec<String>,
    },
    /// It was sent back as often as is allowed, and came back each time.
    CameBack {
        /// How often.
        rounds: u32,
    },
    /// The sink that could not process it is not there any more.
    NoConnector {
        /// Its name; none where the record does not say.
        connector: Option<String>,
    },
    /// Its topic or partition is not there any more.
    NoTopic,
    /// A later record of the topic has the same key.
    Superseded {
        /// The last such record's offset.
        by: i64,
    },
    /// Retention has removed what came after it: there may be a newer record of its key, and it may
    /// have been sent back before.
    Unknown {
        /// The topic's first offset that is still there.
        begins: i64,
    },
    /// The same record is in the queues more than once.
    Twin {
        /// Which of them is sent.
        of: Place,
    },
}

impl Held {
    /// As people read it.
    pub fn words(&self) -> String {
        match self {
            Held::NoContext => format!(
                "it does not say where it comes from: its sink ran without {}=true",
                super::queues::CONTEXT
            ),
            Held::Damaged { headers } => format!("its headers are damaged: {}", headers.join(", ")),
            Held::CameBack { rounds: 1 } => "it was sent back once and came back".into(),
            Held::CameBack { rounds: 2 } => "it was sent back twice and came back twice".into(),
            Held::CameBack { rounds } => {
                format!("it was sent back {rounds} times and came back each time")
            }
            Held::NoConnector {
                connector: Some(name),
            } => format!("there is no sink {name} any more"),
            Held::NoConnector { connector: None } => {
                "it does not say which sink it failed in".into()
            }
            Held::NoTopic => "the topic or partition that it comes from is gone".into(),
            Held::Superseded { by } => {
                format!("superseded: offset {by} of its topic has a newer record of its key")
            }
            Held::Unknown { begins } => format!(
                "retention has removed what came after it, up to offset {begins}: there may have been a newer \
                 record of its key, or its own copy"
            ),
            Held::Twin { of } => format!("the same record is sent for {of}"),
        }
    }
}

/// A record that goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where in a queue it is.
    pub from: Place,
    /// The record that it repeats.
    pub origin: Place,
    /// The sink that could not process it.
    pub connector: String,
    /// Which time this is, from 1.
    pub round: u32,
    /// Class of the exception.
    pub exception: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// Whether the user changed it.
    pub edited: bool,
    /// Whether something newer of its key came, or may have come, after it.
    pub superseded: bool,
    /// What is written.
    pub record: Record,
}

/// A record that was sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Where in a queue it is.
    pub from: Place,
    /// The record that it repeats.
    pub origin: Place,
    /// The sink that could not process it.
    pub connector: String,
    /// Where it was written.
    pub copy: Place,
}

/// What becomes of the records.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// Those that go back, in the order in which they stood in their topics.
    pub send: Vec<Outgoing>,
    /// Those that stay.
    pub held: Vec<(Place, Held)>,
    /// Those that went back before.
    pub before: Vec<Sent>,
}

/// Decides. `sinks` are those that there are; `edits` is what the user's file says, by place: then
/// nothing that is not in it is sent, or named.
pub fn decide(
    mut entries: Vec<Entry>,
    edits: Option<&BTreeMap<Place, Edit>>,
    originals: &Originals,
    sinks: &BTreeSet<&str>,
    allowed: Allowed,
) -> Decisions {
    let mut decisions = Decisions::default();
    // Of records that are there twice, the newest counts: it has the higher round.
    entries.sort_by(|one, other| {
        (&one.failure.origin, other.failure.rounds, &one.at).cmp(&(
            &other.failure.origin,
            one.failure.rounds,
            &other.at,
        ))
    });
    let mut chosen: BTreeMap<Place, Place> = BTreeMap::new();
    for entry in entries {
        let edit = match edits {
            None => None,
            Some(edits) => match edits.get(&entry.at) {
                None => continue,
                edit => edit,
            },
        };
        match one(entry, edit, originals, sinks, allowed, &chosen) {
            Verdict::Send(outgoing) => {
                chosen.insert(outgoing.origin.clone(), outgoing.from.clone());
                decisions.send.push(*outgoing);
            }
            Verdict::Held(at, held) => decisions.held.push((at, held)),
            Verdict::Before(before) => decisions.before.push(before),
        }
    }
    decisions
}

enum Verdict {
    Send(Box<Outgoing>),
    Held(Place, Held),
    Before(Sent),
}

fn one(
    entry: Entry,
    edit: Option<&Edit>,
    originals: &Originals,
    sinks: &BTreeSet<&str>,
    allowed: Allowed,
    chosen: &BTreeMap<Place, Place>,
) -> Verdict {
    let Entry {
        at,
        failure,
        record,
    } = entry;
    if !failure.damaged.is_empty() {
        let headers = failure.damaged;
        return Verdict::Held(at, Held::Damaged { headers });
    }
    let Some(origin) = failure.origin else {
        return Verdict::Held(at, Held::NoContext);
    };
    let Some(later) = originals.get(&(origin.topic.clone(), origin.partition)) else {
        return Verdict::Held(at, Held::NoTopic);
    };
    let connector = match failure.connector {
        Some(name) if sinks.contains(name.as_str()) => name,
        connector => return Verdict::Held(at, Held::NoConnector { connector }),
    };
    if let Some(copy) = later.copies.get(&origin.offset) {
        return Verdict::Before(Sent {
            from: at,
            connector,
            copy: Place {
                offset: *copy,
                ..origin.clone()
            },
            origin,
        });
    }
    if failure.rounds >= allowed.rounds {
        let rounds = failure.rounds;
        return Verdict::Held(at, Held::CameBack { rounds });
    }
    if let Some(of) = chosen.get(&origin) {
        return Verdict::Held(at, Held::Twin { of: of.clone() });
    }
    let (key, value, edited) = match edit {
        Some(edit) => {
            let edited = edit.key != record.key || edit.value != record.value;
            (edit.key.clone(), edit.value.clone(), edited)
        }
        None => (record.key, record.value, false),
    };
    let newer = key.as_ref().and_then(|key| later.last.get(key));
    let superseded = match newer {
        Some(by) if *by > origin.offset => Some(Held::Superseded { by: *by }),
        _ if later.begin > origin.offset + 1 => Some(Held::Unknown {
            begins: later.begin,
        }),
        _ => None,
    };
    match superseded {
        Some(held) if !allowed.superseded => Verdict::Held(at, held),
        superseded => {
            let round = failure.rounds + 1;
            let headers = sent_back(&record.headers, &at, &origin, round);
            Verdict::Send(Box::new(Outgoing {
                superseded: superseded.is_some(),
                exception: failure.exception,
                message: failure.message,
                record: Record {
                    headers,
                    ..Record::new(key, value)
                },
                from: at,
                origin,
                connector,
                round,
                edited,
            }))
        }
    }
}

#[cfg(test)]
mod tests;
