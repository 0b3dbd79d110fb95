//! The smallest repair of a flow's table: missing and changed rows are sent again, extra ones marked as deleted.
//!
//! Rows are sent again by an incremental snapshot of Debezium's with a condition, so that they come the way that
//! every row comes, and lose against what changes meanwhile. Which rows are extra is looked up at the source once
//! more before they are marked.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::{Found, Kind, NAMED, Tables};
use super::report::TableReport;
use crate::components::dialect::Key;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::profile::schema::Flow;
use crate::up::missing;
use crate::up::rereads::{self, Wanted};

/// A connector's offsets hold the condition, in one message of at most 1 MB.
const LONGEST: usize = 200_000;

/// What repairs a flow's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The connector that sends rows again.
    pub connector: String,
    /// The table that it reads.
    pub table: String,
    /// Which rows, in the source's SQL; none sends all of them, where too many differ to be named.
    pub condition: Option<String>,
    /// Rows that are sent again.
    pub sent: u64,
    /// Rows that are marked as deleted.
    pub marked: u64,
}

pub(super) fn of(
    env: &Environment,
    flow: &Flow,
    tables: &Tables<'_>,
    found: &Found,
) -> Result<Repair> {
    let connector = env.profile.connectors.get(&flow.connector).ok_or_else(|| {
        Error::new(
            Code::ProfileInvalid,
            format!("there is no connector `{}`", flow.connector),
        )
    })?;
    // It says what can be done instead.
    rereads::topics(env, &flow.connector, connector)?;
    let keys = found.named.iter().filter(|it| it.1 != Kind::Extra);
    let keys: Vec<Key> = keys.map(|it| it.0.clone()).collect();
    let sent = found.missing + found.changed;
    let condition =
        match usize::try_from(sent) == Ok(keys.len()) && sent + found.extra <= NAMED as u64 {
            true => Some(tables.source.has_key(&tables.plan.source, &keys)?),
            false => None,
        };
    Ok(Repair {
        connector: flow.connector.clone(),
        table: flow.table.clone(),
        condition: condition.filter(|it| it.len() <= LONGEST && sent > 0),
        sent,
        marked: found.extra,
    })
}

/// Repairs tables, connector by connector. Killed meanwhile, `up` finishes it.
///
/// # Errors
/// An end does not answer, or a connector cannot read a table again.
pub async fn perform(env: &Environment, tables: &[TableReport], progress: &Progress) -> Result<()> {
    let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
    for repair in tables
        .iter()
        .filter_map(|it| it.repair.as_ref())
        .filter(|it| it.sent > 0)
    {
        let of = wanted.entry(&repair.connector).or_default();
        of.tables.insert(repair.table.clone());
        if let Some(condition) = &repair.condition {
            of.conditions
                .insert(repair.table.clone(), condition.clone());
        }
    }
    for (name, wanted) in wanted {
        let connector = &env.profile.connectors[name];
        rereads::ask(env, name, connector, &wanted, progress).await?;
        rereads::begin(env, name, connector, progress).await?;
        rereads::read(env, name, connector, progress).await?;
    }
    let marks = |it: &&TableReport| it.repair.as_ref().is_some_and(|it| it.marked > 0);
    for table in tables.iter().filter(marks) {
        if let Some(flow) = env.profile.flows.get(&table.table) {
            missing::mark(env, &table.table, flow, progress, |_| Ok(())).await?;
        }
    }
    Ok(())
}
