//! What a database answers as the target of flows.
//!
//! As with [`super::source`], the operations ask and decide; none of them knows which database it is.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::source::{CanaryKey, Key};
use crate::environment::Environment;
use crate::error::Result;
use crate::flows::types::Kind;
use crate::plan::{Outcome, Progress};
use crate::profile::schema::Flow;
use crate::readiness::Status;

/// A type of target. It is an error where a database does not answer or refuses.
#[async_trait]
pub trait Target: Sync {
    /// Has every flow's tables as the profile wants them. Rows are never touched: a table with rows that is
    /// not as the profile wants it is an error.
    async fn create_tables(&self, env: &Environment, progress: &Progress) -> Result<Outcome>;

    /// The type of its own that holds all values of a source's column; none where the connector chooses.
    fn suited(&self, kind: Kind, is_nullable: bool) -> Option<String>;

    /// Whether a type that a profile declares does.
    fn holds(&self, declared: &str, kind: Kind, is_nullable: bool) -> bool;

    /// The statements that make a flow's tables.
    fn statements(&self, env: &Environment, name: &str, flow: &Flow) -> Result<Vec<String>>;

    /// Whether every flow's tables are there.
    async fn probe_tables(&self, env: &Environment) -> Status;

    /// Removes its consumers from a group. [`Target::create_tables`] brings them back, and nothing is lost
    /// meanwhile: the group keeps its offsets.
    async fn leave_group(&self, env: &Environment, group: &str) -> Result<()>;

    /// What is at the ends of the flows, by their names. What does not answer in time is left out.
    async fn ends(&self, env: &Environment, within: Duration) -> BTreeMap<String, End>;

    /// What has to become of the columns of a flow's table, as its source's stand now. Nothing where a table is not
    /// there, and where its connector makes them.
    async fn drift(&self, _env: &Environment, _name: &str, _flow: &Flow) -> Result<Drift> {
        Ok(Drift::default())
    }

    /// What is here of flows that the profile no longer has. Nothing where connectors make the tables: they are not
    /// told from the user's own.
    async fn leftovers(&self, _env: &Environment) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }

    /// Removes it, with its rows. What was killed is found and removed again.
    async fn remove(&self, _env: &Environment, _left: &Leftover) -> Result<()> {
        Ok(())
    }

    /// The name of the table that a flow's rows are read from.
    fn name(&self, env: &Environment, flow: &str) -> String;

    /// The table that a flow's rows are in. Nothing is connected yet.
    fn table<'a>(
        &'a self,
        env: &'a Environment,
        name: &str,
        flow: &'a Flow,
    ) -> Box<dyn TargetTable + 'a>;
}

/// The table that a flow's rows are in.
#[async_trait]
pub trait TargetTable: Send + Sync {
    /// What a row shows in a column, its newest change counted; none where there is no row, or it is
    /// deleted. An error says what it means for who waits.
    async fn shown(&self, key: &CanaryKey, column: &str) -> Result<Option<String>, Status>;

    /// Removes canaries, with every change of theirs.
    async fn remove(&self, canaries: Canaries<'_>) -> Result<()>;

    /// The keys of its rows that are not deleted, in order, after this one; at most so many.
    async fn keys(&self, after: Option<&Key>, most: usize) -> Result<Vec<Live>>;

    /// Marks these as deleted, except for those that have changed since.
    async fn mark_deleted(&self, gone: &[&Live]) -> Result<()>;

    /// How many changes of it have a position above this one, which its source's log does not have.
    async fn above(&self, _position: u128) -> Result<u64> {
        Ok(0)
    }

    /// Removes these changes, which would win over all that comes.
    async fn remove_above(&self, _position: u128) -> Result<()> {
        Ok(())
    }

    /// Has what is read again from now on come right after this position. Where rows are taken in the order in
    /// which they come, there is nothing to do.
    async fn reread(&self, _after: u128) -> Result<()> {
        Ok(())
    }

    /// Removes all rows.
    async fn truncate(&self) -> Result<()>;

    /// What a snapshot has brought since this time, in milliseconds since the epoch.
    async fn snapshot(&self, since: u64) -> Result<Loaded>;

    /// The name of the table of messages that were no change.
    fn rejects(&self) -> &str;

    /// How many of these there are, by reason.
    async fn reasons(&self) -> Result<Vec<Reason>>;

    /// The newest of these, the newest first; at most so many.
    async fn rejected(&self, most: i64) -> Result<Vec<Rejected>>;
}

/// A flow's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct End {
    /// Rows, with those that a merge has not replaced yet.
    pub rows: u64,
    /// When the newest came, in milliseconds since the epoch; 0 where there is none.
    pub newest: u64,
    /// Messages that were no change.
    pub errors: u64,
    /// Those of them that wait for what becomes of a column.
    pub waiting: u64,
}

/// What has to become of a table's columns, as its source's stand now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Columns that `up` adds.
    pub added: Vec<String>,
    /// Columns of the source that the profile has reported, and that are not added.
    pub reported: Vec<String>,
    /// What only the user can decide.
    pub wrong: Vec<Wrong>,
}

impl Drift {
    /// Whether all of it is as the profile wants it.
    pub fn is_by_choice(&self) -> bool {
        self.added.is_empty() && self.wrong.is_empty()
    }

    /// Whether there is nothing to do.
    pub fn is_none(&self) -> bool {
        self.added.is_empty() && self.reported.is_empty() && self.wrong.is_empty()
    }
}

/// What is at a target of a flow that the profile no longer has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The flow.
    pub flow: String,
    /// Its tables and views, in the order in which they can be dropped.
    pub tables: Vec<String>,
    /// Rows of its table, with those that a merge has not replaced yet.
    pub rows: u64,
    /// The topics that it reads.
    pub topics: Vec<String>,
    /// The consumer group in which it does.
    pub group: Option<String>,
}

/// Something that only the user can decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// What is wrong.
    pub cause: String,
    /// What helps.
    pub next: String,
}

/// Which canaries are meant.
#[derive(Clone, Copy, Debug)]
pub enum Canaries<'a> {
    /// The one with this key.
    One(&'a CanaryKey),
    /// All with keys as this one's that are deleted at the source.
    Deleted(&'a CanaryKey),
}

/// A row that is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Live {
    /// Its key.
    pub key: Key,
    /// The position of its newest change.
    pub position: String,
}

/// What a snapshot has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Loaded {
    /// Rows.
    pub rows: u64,
    /// When the first came, in milliseconds since the epoch.
    pub first: u64,
    /// When the last came.
    pub last: u64,
}

/// Messages that were no change, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reason {
    /// The reason.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the oldest was seen, in milliseconds since the epoch.
    pub oldest: u64,
    /// When the newest was seen.
    pub newest: u64,
}

/// A message that was no change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rejected {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Why it is none.
    pub reason: String,
    /// Its key.
    pub key: String,
    /// Its value.
    pub raw: String,
    /// When it was seen, in milliseconds since the epoch.
    pub seen: i64,
}
