//! Projections: what a database must do for events to add up in a table of its own, exactly once each.
//!
//! How far the topic is read is written in the transaction that adds events up, so a runner that is killed anywhere goes on
//! where its last transaction was. Events that were added are remembered by their ids: a source connector that starts again
//! sends some twice, at offsets of their own.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::environment::Environment;
use crate::error::Result;
use crate::profile::schema::Projection;

/// A type that has projections. It is an error where the server does not answer or refuses.
#[async_trait]
pub trait Projections: Sync {
    /// A session for one projection.
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>>;
}

/// The next offset of each partition of the topic; none where nothing was read.
pub type Positions = BTreeMap<i32, i64>;

/// The table's rows by key: the count, then the sums, all as texts without trailing zeros.
pub type Rows = BTreeMap<String, Vec<Option<String>>>;

/// An event that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it is.
    pub partition: i32,
    /// Where it is.
    pub offset: i64,
    /// What tells it apart from all others.
    pub id: String,
    /// A JSON object.
    pub payload: String,
}

/// What became of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// They are added up, but for those that were before: so many were new.
    New(u64),
    /// One of them does not fit the table, for this reason; none is added.
    Refused(String),
    /// The positions are no longer those that were read before: another runner or a replay was here.
    Moved,
}

/// Who adds up: the projection, or what rebuilds it beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The projection's own table.
    Own,
    /// A table beside it, which takes its place when it is complete.
    Shadow,
}

/// A session for one projection.
#[async_trait]
pub trait Session: Send + Sync {
    /// Makes what positions and ids are kept in; an error if the table cannot hold sums without a loss.
    async fn prepare(&self, projection: &Projection) -> Result<()>;

    /// Has this session be the only one that runs the projection, for as long as it lasts.
    async fn claim(&self, name: &str) -> Result<bool>;

    /// Whether a session runs it.
    async fn is_claimed(&self, name: &str) -> Result<bool>;

    /// How far the topic is read.
    async fn positions(&self, name: &str, place: Place) -> Result<Positions>;

    /// Adds events up and moves the positions, in one transaction.
    async fn add(
        &self,
        name: &str,
        projection: &Projection,
        place: Place,
        events: &[Event],
        moves: &Moves,
    ) -> Result<Added>;

    /// The rows that are there; of a query, if there is one.
    async fn rows(&self, projection: &Projection, query: Option<&str>) -> Result<Rows>;

    /// Makes an empty table beside the projection's own.
    async fn begin_replay(&self, name: &str, projection: &Projection) -> Result<()>;

    /// Gives the projection's own table the rows, the positions and the ids of the one beside it.
    async fn end_replay(&self, name: &str, projection: &Projection) -> Result<()>;
}

/// Partitions with the positions before and after.
pub type Moves = BTreeMap<i32, (Option<i64>, i64)>;
