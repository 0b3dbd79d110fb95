//! Tables that join a connector which streams already: Debezium takes its snapshot once, and never of a table that
//! comes later. Such a table is read by an incremental snapshot, chunk by chunk between what is streamed, so that
//! nothing else waits for it.
//!
//! Which tables are captured is noted before the connector gets its new list, together with those that are to be
//! read and with the position of what it had read by then ([`note`]). So a kill at any point leaves a note that says
//! what is left to do, and [`read`] does it: it has the target put what comes after that position, tells the
//! connector, waits until it says that the table is read and until the target has it, and takes it off the note.
//!
//! A connector is told by its offsets, while it is stopped: it begins to read before it streams. A signal (Debezium
//! 3.7) is taken by a thread of its own while another streams, and both read chunks over one session and into one
//! buffer then: tables were skipped with an exception, and rows could be. The offsets also hold how far it is, so a
//! connector that is killed goes on where it was, and one that reads is not told twice.

mod first;
pub mod noted;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use self::noted::{Asked, Ended, Note, Seen};
use self::waiting::Waiting;
use super::{control, missing, unread};
use crate::clients::connect::{Offsets, TargetState};
use crate::clients::kafka::KafkaClient;
use crate::clock;
use crate::components::connect::settled;
use crate::components::position::{self, position, with_rereads};
use crate::components::{kafka, source, target};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Progress};
use crate::profile::schema::{Connector, Flow};
use crate::profile::topics::Rereads;
use crate::report::text::list;

/// How often a connector is told again.
const TOLD_AGAIN: u32 = 3;

/// What a connector is still to read, and where that is noted.
struct Pending {
    client: KafkaClient,
    topics: Rereads,
    note: Note,
    asked: Asked,
}

/// What is noted for a connector; none where nothing is, or it cannot read tables again.
async fn pending(env: &Environment, connector: &Connector) -> Result<Option<Pending>> {
    let Some(topics) = env.profile.rereads(connector) else {
        return Ok(None);
    };
    let client = kafka::client(env).await?;
    let Some(note) = noted::read(&client, &topics).await? else {
        return Ok(None);
    };
    let asked = note.asked.clone();
    Ok(asked.map(|asked| Pending {
        client,
        topics,
        note,
        asked,
    }))
}

impl Pending {
    /// Notes this instead.
    async fn write(&self, asked: Option<Asked>) -> Result<()> {
        let note = Note {
            asked,
            ..self.note.clone()
        };
        noted::write(&self.client, &self.topics, &note).await
    }
}

/// The flows that read one of these tables through a connector.
fn flows<'a>(
    env: &'a Environment,
    name: &str,
    tables: &BTreeSet<String>,
) -> impl Iterator<Item = (&'a String, &'a Flow)> {
    let flows = env.profile.flows.iter();
    flows.filter(move |(_, flow)| flow.connector == name && tables.contains(&flow.table))
}

/// The tables that the profile's flows read through a connector.
pub fn captured(env: &Environment, name: &str) -> BTreeSet<String> {
    let flows = env.profile.flows.values();
    let flows = flows.filter(|flow| flow.connector == name);
    flows.map(|flow| flow.table.clone()).collect()
}

/// How far a connector's first snapshot is; none where it is past it.
pub async fn first_snapshot(env: &Environment, name: &str) -> Option<Seen> {
    let client = kafka::client(env).await.ok()?;
    first::seen(env, &client, name).await
}

/// What a connector has committed.
async fn committed(env: &Environment, name: &str, progress: &Progress) -> Result<Offsets> {
    let client = env.connect_client();
    let found = settled(progress, || client.offsets(name)).await?;
    Ok(found.unwrap_or_default())
}

/// The position of all that a connector has read; none before it streams: what joins by then is read with all the
/// rest.
fn read_by(env: &Environment, connector: &Connector, committed: &Offsets) -> Option<u128> {
    let of = source(env, connector);
    let mut all = committed.offsets.iter();
    all.find_map(|it| {
        let streams = position(&it.offset).is_some_and(|it| !it.snapshot);
        of.read_by(&it.offset).filter(|_| streams)
    })
}

/// Whether a connector reads one of these tables again.
fn reads(committed: &Offsets, tables: &BTreeSet<String>) -> bool {
    let mut all = committed.offsets.iter();
    all.any(|it| {
        let mut reads = position::rereads(&it.offset).into_iter();
        reads.any(|table| tables.contains(&table))
    })
}

/// Notes which tables a connector captures, and which of them join while it streams.
///
/// # Errors
/// Kafka or Connect does not answer.
pub async fn note(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<Outcome> {
    let wanted = captured(env, name);
    let topics = env.profile.rereads(connector);
    let Some(topics) = topics else {
        return joins_unread(env, name, &wanted).await;
    };
    let client = kafka::client(env).await?;
    let known = match noted::read(&client, &topics).await? {
        Some(note) => note,
        // Before its first start there is none, and the snapshot reads all.
        None => match listed(env, name).await {
            Some(tables) => Note {
                tables,
                ..Note::default()
            },
            None => {
                let first = Note {
                    tables: wanted,
                    ..Note::default()
                };
                noted::write(&client, &topics, &first).await?;
                return Ok(Outcome::Unchanged(
                    "none: its first snapshot reads all".into(),
                ));
            }
        },
    };
    if let Some(asked) = known.asked.as_ref().filter(|it| it.stopped) {
        // An earlier run was killed meanwhile.
        tell(env, name, asked, &asked.tables, progress).await?;
    }
    if known.tables == wanted {
        return Ok(Outcome::Unchanged("none".into()));
    }
    let committed = committed(env, name, progress).await?;
    let after = read_by(env, connector, &committed);
    let new = renewed(&known, &wanted, after, clock::now_ms());
    noted::write(&client, &topics, &new).await?;
    let joined: Vec<&String> = wanted.difference(&known.tables).collect();
    let left: Vec<&String> = known.tables.difference(&wanted).collect();
    let mut words = Vec::new();
    if !joined.is_empty() {
        words.push(format!("{} joins", list(&joined)));
    }
    if !left.is_empty() {
        words.push(format!("{} leaves", list(&left)));
    }
    Ok(Outcome::Changed(words.join(", ")))
}

/// The note after a connector has got other tables. Where it does not stream yet (`after` is none) its first
/// snapshot reads what joins, too.
fn renewed(known: &Note, wanted: &BTreeSet<String>, after: Option<u128>, now: u64) -> Note {
    let pending = known.asked.iter().flat_map(|it| &it.tables);
    let compared = known.asked.iter().flat_map(|it| &it.compare);
    let joined = wanted.difference(&known.tables);
    let tables: BTreeSet<String> = joined
        .clone()
        .chain(pending)
        .filter(|it| wanted.contains(*it))
        .cloned()
        .collect();
    let compare: BTreeSet<String> = joined
        .filter(|it| known.left.contains(*it))
        .chain(compared)
        .filter(|it| tables.contains(*it))
        .cloned()
        .collect();
    let gone = known.tables.difference(wanted);
    let left = known
        .left
        .iter()
        .chain(gone)
        .filter(|it| !wanted.contains(*it));
    let asked = after.filter(|_| !tables.is_empty()).map(|after| Asked {
        id: id(now),
        at: now,
        // What was asked before came after that, and may be on its way.
        after: known
            .asked
            .as_ref()
            .map_or(after.to_string(), |it| it.after.clone()),
        tables,
        compare,
        conditions: known
            .asked
            .as_ref()
            .map(|it| it.conditions.clone())
            .unwrap_or_default(),
        stopped: false,
    });
    Note {
        tables: wanted.clone(),
        left: left.cloned().collect(),
        asked,
    }
}

fn id(now: u64) -> String {
    format!("cdc-xtask-{now}")
}

/// The tables of a connector that is registered; none of one that is not, or of which nobody tells.
async fn listed(env: &Environment, name: &str) -> Option<BTreeSet<String>> {
    let config = env.connect_client().config(name).await.ok()??;
    let lists = ["table.include.list", "collection.include.list"];
    let list = lists.iter().find_map(|key| config.get(*key))?;
    Some(list.split(',').map(str::to_owned).collect())
}

/// Of a connector that reads no table again: says so where one joins.
async fn joins_unread(env: &Environment, name: &str, wanted: &BTreeSet<String>) -> Result<Outcome> {
    let joined: Vec<String> = match listed(env, name).await {
        Some(known) => wanted.difference(&known).cloned().collect(),
        None => Vec::new(),
    };
    Ok(Outcome::Unchanged(match joined.is_empty() {
        true => "none".into(),
        false => format!(
            "{}: only what changes from now on; all rows with: cargo xtask reset-connector {name}",
            list(&joined)
        ),
    }))
}

/// Which tables are to be read again.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The tables.
    pub tables: BTreeSet<String>,
    /// Of which of them only the rows for which this holds, in the source's SQL. The others' rows that the source no
    /// longer has are marked as deleted.
    pub conditions: BTreeMap<String, String>,
}

/// Asks for tables to be read again; what is left of an earlier question is asked, too.
///
/// # Errors
/// The connector cannot, does not stream, or reads others already.
pub async fn ask(
    env: &Environment,
    name: &str,
    connector: &Connector,
    wanted: &Wanted,
    progress: &Progress,
) -> Result<Outcome> {
    let Wanted { tables, conditions } = wanted;
    let topics = topics(env, name, connector)?;
    let client = kafka::client(env).await?;
    let found = noted::read(&client, &topics).await?;
    let mut note = found.unwrap_or_else(|| Note {
        tables: captured(env, name),
        ..Note::default()
    });
    if let Some(asked) = &note.asked {
        if asked.tables == *tables && asked.conditions == *conditions {
            return Ok(Outcome::Unchanged("was asked for before".into()));
        }
        let asked: Vec<&String> = asked.tables.iter().collect();
        let what = format!("{name} reads {} already", list(&asked));
        return Err(Error::new(Code::Usage, what).hint("wait for it, or finish it: cargo xtask up"));
    }
    let committed = committed(env, name, progress).await?;
    let after = read_by(env, connector, &committed);
    let Some(after) = after else {
        let what = format!("{name} has not finished its first snapshot, which reads all tables");
        return Err(
            Error::new(Code::Usage, what).hint(format!("cargo xtask connector status {name}"))
        );
    };
    let now = clock::now_ms();
    note.asked = Some(Asked {
        id: id(now),
        at: now,
        after: after.to_string(),
        tables: tables.clone(),
        compare: tables
            .iter()
            .filter(|it| !conditions.contains_key(*it))
            .cloned()
            .collect(),
        conditions: conditions.clone(),
        stopped: false,
    });
    noted::write(&client, &topics, &note).await?;
    let tables: Vec<&String> = tables.iter().collect();
    Ok(Outcome::Changed(list(&tables)))
}

/// Whether a connector is stopped for the moment in which it is told what to read: it starts again by itself.
pub async fn has_stopped(env: &Environment, name: &str) -> bool {
    let Some(connector) = env.profile.connectors.get(name) else {
        return false;
    };
    let pending = pending(env, connector).await;
    pending.is_ok_and(|it| it.is_some_and(|it| it.asked.stopped))
}

/// The topics of a connector that can read tables again.
///
/// # Errors
/// It cannot, and what can be done instead.
pub fn topics(env: &Environment, name: &str, connector: &Connector) -> Result<Rereads> {
    env.profile.rereads(connector).ok_or_else(|| {
        let what = format!("{name} cannot read some of its tables again: not supported yet");
        Error::new(Code::Usage, what).hint(format!(
            "cargo xtask reset-connector {name} reads all of its tables again"
        ))
    })
}

/// Has the connector read the tables that are noted, unless it does or has. It is stopped for a moment.
///
/// # Errors
/// An end does not answer.
pub async fn begin(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<Outcome> {
    let Some(pending) = pending(env, connector).await? else {
        return Ok(Outcome::Unchanged("none".into()));
    };
    let asked = &pending.asked;
    let waiting = Waiting {
        env,
        name,
        pending: &pending,
    };
    let tables = waiting.untold(progress).await?;
    if tables.is_empty() {
        return Ok(Outcome::Unchanged("it was told before".into()));
    }
    let after: u128 = asked.after.parse().unwrap_or(0);
    for (flow_name, flow) in flows(env, name, &asked.tables) {
        if asked.compare.contains(&flow.table) {
            // What was read again for an earlier question must not take this one's position.
            unread::none(env, flow, progress).await?;
        }
        let table = target(env, flow)?.table(env, flow_name, flow);
        table.reread(after).await?;
    }
    let mark = |stopped| Asked {
        stopped,
        ..asked.clone()
    };
    pending.write(Some(mark(true))).await?;
    tell(env, name, asked, &tables, progress).await?;
    pending.write(Some(mark(false))).await?;
    let tables: Vec<&String> = tables.iter().collect();
    Ok(Outcome::Changed(list(&tables)))
}

/// Waits for the tables that are noted to be read, and proves that the target has them.
///
/// # Errors
/// A table cannot be read, or an end does not answer.
pub async fn read(
    env: &Environment,
    name: &str,
    connector: &Connector,
    progress: &Progress,
) -> Result<Outcome> {
    let Some(pending) = pending(env, connector).await? else {
        return Ok(Outcome::Unchanged("every table was read".into()));
    };
    let asked = &pending.asked;
    let waiting = Waiting {
        env,
        name,
        pending: &pending,
    };
    let mut told = 0;
    let seen = loop {
        if let Some(seen) = waiting.until_read(connector, progress).await? {
            break seen;
        }
        // It has lost what it was told.
        told += 1;
        if told > TOLD_AGAIN {
            let what = format!("{name} keeps losing which tables it is to read");
            return Err(Error::new(Code::Service, what).hint("cargo xtask logs connect"));
        }
        begin(env, name, connector, progress).await?;
    };
    let (mut words, mut failed) = (Vec::new(), BTreeSet::new());
    for (table, (ended, rows)) in &seen.ended {
        match ended {
            Ended::Whole => words.push(format!("{table}: {rows} rows")),
            Ended::Not(why) => {
                words.push(format!("{table}: {why}"));
                failed.insert(table.clone());
            }
        }
    }
    if !failed.is_empty() {
        // It is asked for anew by the next run.
        let now = clock::now_ms();
        let again = Asked {
            id: id(now),
            at: now,
            compare: asked.compare.intersection(&failed).cloned().collect(),
            tables: failed,
            ..asked.clone()
        };
        pending.write(Some(again)).await?;
        let what = format!("{name} did not read all: {}", words.join("; "));
        return Err(Error::new(Code::Service, what).hint(format!(
            "cargo xtask logs connect; all tables are read by: cargo xtask reset-connector {name}"
        )));
    }
    for (flow_name, flow) in flows(env, name, &asked.tables) {
        unread::none(env, flow, progress).await?;
        if asked.compare.contains(&flow.table) && missing::replaces(flow) {
            let mut marked = 0;
            missing::mark(env, flow_name, flow, progress, |keys| {
                marked += keys.len();
                Ok(())
            })
            .await?;
            if marked > 0 {
                words.push(format!("{flow_name}: {marked} marked as deleted"));
            }
        }
    }
    pending.write(None).await?;
    Ok(Outcome::Changed(words.join(", ")))
}

/// Has a connector read these tables: stopped, told by its offsets, and started again. Done twice, it tells once.
async fn tell(
    env: &Environment,
    name: &str,
    asked: &Asked,
    tables: &BTreeSet<String>,
    progress: &Progress,
) -> Result<()> {
    let client = env.connect_client();
    control::set_state(env, name, TargetState::Stopped, progress).await?;
    let mut offsets = committed(env, name, progress).await?;
    if !reads(&offsets, tables) {
        for one in &mut offsets.offsets {
            let tables = tables.iter().map(|it| (it, asked.conditions.get(it)));
            one.offset = with_rereads(&one.offset, tables, &asked.id);
        }
        settled(progress, || client.alter_offsets(name, &offsets)).await?;
    }
    control::set_state(env, name, TargetState::Running, progress).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    fn note(tables: &[&str]) -> Note {
        Note {
            tables: set(tables),
            ..Note::default()
        }
    }

    #[test]
    fn a_table_that_joins_is_asked_for_once() {
        let new = renewed(&note(&["a"]), &set(&["a", "b"]), Some(7), 5);
        let asked = new.asked.clone().expect("asked");
        assert_eq!((asked.tables, asked.after.as_str()), (set(&["b"]), "7"));
        assert!(asked.compare.is_empty());
        // Another one that joins before that is read is asked for with it, after the earlier position.
        let more = renewed(&new, &set(&["a", "b", "c"]), Some(9), 6)
            .asked
            .expect("asked");
        assert_eq!((more.tables, more.after.as_str()), (set(&["b", "c"]), "7"));
    }

    #[test]
    fn what_joins_during_the_first_snapshot_is_read_by_it() {
        let new = renewed(&note(&["a"]), &set(&["a", "b"]), None, 5);
        assert_eq!((new.tables, new.asked), (set(&["a", "b"]), None));
    }

    #[test]
    fn a_table_that_comes_back_is_compared() {
        let without = renewed(&note(&["a", "b"]), &set(&["a"]), Some(7), 5);
        assert_eq!((&without.left, &without.asked), (&set(&["b"]), &None));
        let again = renewed(&without, &set(&["a", "b"]), Some(9), 6);
        assert!(again.left.is_empty());
        assert_eq!(again.asked.expect("asked").compare, set(&["b"]));
    }

    #[test]
    fn a_table_that_leaves_is_not_read_any_more() {
        let asked = renewed(&note(&["a"]), &set(&["a", "b"]), Some(7), 5);
        assert_eq!(renewed(&asked, &set(&["a"]), Some(9), 6).asked, None);
    }
}
