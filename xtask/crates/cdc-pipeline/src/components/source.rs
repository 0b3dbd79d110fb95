//! What a database answers as a source of changes.
//!
//! The operations go over a profile's connectors and ask these questions; none of them knows which
//! databases there are. What a source answers is data wherever it can be, and the operation decides.

use std::fmt;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::position::Position;
use crate::clients::connect::PartitionOffset;
use crate::environment::Environment;
use crate::error::Result;
use crate::flows::types::{Column, Kind};
use crate::plan::{Outcome, Progress};
use crate::platform::{Endpoint, Secret};
use crate::profile::schema::{Connector, Flow, Settings};
use crate::readiness::Status;

/// A type of source, with the Debezium connector that reads it. It is an error where a database does not
/// answer or refuses.
#[async_trait]
pub trait Source: Sync {
    /// What the connector's template names beside prefix, tables and login.
    fn connection(&self, reader: &Reader<'_>) -> Value;

    /// The authorities of its certificate, given in PEM, in the form that its connector reads: a file's name and
    /// content. None where it reads PEM.
    ///
    /// # Errors
    /// The certificates are malformed.
    fn truststore(&self, pem: &str) -> Result<Option<(&'static str, Vec<u8>)>> {
        let _ = pem;
        Ok(None)
    }

    /// Whether it takes this login; none if it cannot be told.
    async fn takes(&self, env: &Environment, user: &str, password: Secret) -> Option<bool>;

    /// How the connector writes a change.
    fn changes(&self) -> Changes;

    /// What it keeps of its log, and for how long; none where that cannot be told.
    async fn retention(&self, env: &Environment, connector: &Connector) -> Option<Retention>;

    /// Opens the table that a flow reads.
    async fn table<'a>(
        &self,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Box<dyn SourceTable + 'a>>;

    /// The columns of the table that a flow reads; none where it has documents.
    async fn columns(&self, _env: &Environment, _flow: &Flow) -> Result<Option<Vec<Column>>> {
        Ok(None)
    }

    /// What fields its documents have, by a sample of this many; none where it has columns.
    async fn sample(&self, _env: &Environment, _flow: &Flow, _most: u16) -> Result<Option<Sample>> {
        Ok(None)
    }

    /// The position, as [`Changes::position`] has it, of all that its connector had read when it committed this
    /// offset: what it reads later comes after it. None where tables cannot be read again while it streams.
    fn read_by(&self, _offset: &Value) -> Option<u128> {
        None
    }

    // What follows is answered here for a source that remembers nothing of those who read it.

    /// Its clock, which its changes have their times from, in milliseconds since the epoch.
    async fn clock(&self, _env: &Environment) -> Result<Option<u64>> {
        Ok(None)
    }

    /// What it remembers of a connector.
    async fn mark(&self, _env: &Environment, _connector: &Connector) -> Result<Option<Mark>> {
        Ok(None)
    }

    /// Whether it sees a connector read.
    async fn reading(&self, _env: &Environment, _connector: &Connector) -> Option<Reading> {
        None
    }

    /// Writes to its log, where that is needed, and returns a position that [`Source::reached`] has come to once a
    /// connector has committed all that was committed at the source before this was asked for. None where that cannot
    /// be told.
    async fn marker(&self, _env: &Environment) -> Result<Option<u128>> {
        Ok(None)
    }

    /// How far a connector has come that committed this offset.
    fn reached(&self, _offset: &Value) -> Option<u128> {
        None
    }

    /// Why it has not written yet what these offsets have behind them: a connector that has committed them skips
    /// every change until then. None if it has, or cannot tell.
    async fn unwritten(
        &self,
        _env: &Environment,
        _offsets: &[PartitionOffset],
    ) -> Result<Option<String>> {
        Ok(None)
    }

    /// Why it no longer has what follows these offsets; none if it has, or cannot tell.
    async fn lost(
        &self,
        _env: &Environment,
        _connector: &Connector,
        _offsets: &[PartitionOffset],
    ) -> Result<Option<String>> {
        Ok(None)
    }

    /// The highest [`Changes::position`] that a change in its log can have now; none where those of a restored
    /// source are above all that were there before.
    async fn end(&self, _env: &Environment, _connector: &Connector) -> Result<Option<u128>> {
        Ok(None)
    }

    /// What a reset undoes at the source.
    fn undo_steps(&self, _connector: &Connector) -> Vec<UndoStep> {
        Vec::new()
    }

    /// Takes one of [`Source::undo_steps`]. Taken twice, it changes nothing.
    async fn undo(
        &self,
        _env: &Environment,
        _connector: &Connector,
        _undo: Undo,
        _progress: &Progress,
    ) -> Result<Outcome> {
        Ok(Outcome::Unchanged("nothing to undo".into()))
    }

    /// What the tool and a connector made at a server of the user's own, in the order in which it is removed.
    async fn left(&self, _env: &Environment, _connector: &Connector) -> Result<Vec<Left>> {
        Ok(Vec::new())
    }

    /// Goes on for as long as a connector reads tables again, and has what is streamed meanwhile not wait for that.
    async fn attend(&self, _env: &Environment) {
        std::future::pending().await
    }

    /// Makes what a connector needs before it starts from nothing and may not make itself.
    async fn prepare(&self, _env: &Environment, _connector: &Connector) -> Result<()> {
        Ok(())
    }
}

/// What a sample of documents has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many there are in it.
    pub documents: u64,
    /// Their fields as columns that hold all of their values, each with how many documents have it.
    pub fields: Vec<(Column, u64)>,
}

/// A connector that reads a source.
pub struct Reader<'a> {
    /// It.
    pub connector: &'a Connector,
    /// The tables that it captures.
    pub tables: &'a [&'a str],
    /// Where it finds the source.
    pub at: &'a Endpoint,
    /// The directory that its password is in, where the workers are.
    pub secrets: &'a str,
    /// Where it finds Kafka, `host:port`.
    pub kafka: String,
    /// How a client of its own reaches Kafka, by the client's settings.
    pub security: IndexMap<&'static str, String>,
}

/// The table that a flow reads, in a session at its source.
#[async_trait]
pub trait SourceTable: Send + Sync {
    /// Changes a canary row.
    async fn canary(&self, key: &CanaryKey, change: CanaryChange<'_>) -> Result<()>;

    /// Those of the keys that the table does not have.
    async fn absent(&self, keys: &[Key]) -> Result<Vec<Key>>;
}

/// A key's columns as texts, as the target shows them.
pub type Key = Vec<String>;

/// A canary's key; of several columns the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryKey {
    /// A number below zero: no real key is.
    Number(i64),
    /// A text that begins with [`CANARY`]: no real key does.
    Text(String),
    /// A UUID that begins with [`CANARY_UUID`]. It is one of the kind that anyone may make for a purpose of their own
    /// (RFC 9562, version 8).
    Uuid(String),
}

/// What canaries' keys begin with that are texts.
pub const CANARY: &str = "canary-";
/// What canaries' keys begin with that are UUIDs.
pub const CANARY_UUID: &str = "cdc0ca0a-0000-8000-8000-";

impl CanaryKey {
    /// That of the canary with this number, in a column that may hold this. The number's digits have a length at
    /// which texts are in the numbers' order.
    pub fn of(kind: Kind, id: i64) -> Self {
        let digits = format!("{:012}", id.min(0).unsigned_abs());
        match kind {
            Kind::Text => CanaryKey::Text(format!("{CANARY}{digits}")),
            Kind::Uuid => CanaryKey::Uuid(format!("{CANARY_UUID}{digits}")),
            _ => CanaryKey::Number(id),
        }
    }

    /// It as a value in SQL, where texts are written so.
    pub fn value(&self, literal: fn(&str) -> String) -> String {
        match self {
            CanaryKey::Number(id) => id.to_string(),
            CanaryKey::Text(text) | CanaryKey::Uuid(text) => literal(text),
        }
    }

    /// Whether there is one in a column that may hold this.
    pub fn fits(kind: Kind) -> bool {
        let number = |bits, signed| signed && bits >= 32;
        match kind {
            Kind::Integer { bits, signed } => number(bits, signed),
            Kind::Text | Kind::Uuid => true,
            _ => false,
        }
    }
}

impl fmt::Display for CanaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CanaryKey::Number(id) => write!(f, "{id}"),
            CanaryKey::Text(text) | CanaryKey::Uuid(text) => f.write_str(text),
        }
    }
}

/// What is done to a canary at its source.
#[derive(Clone, Copy, Debug)]
pub enum CanaryChange<'a> {
    /// Insert it with these values.
    Insert(&'a Settings),
    /// Set a column.
    Update {
        /// The column.
        column: &'a str,
        /// The value.
        value: &'a str,
    },
    /// Delete it.
    Delete,
    /// Delete those that killed commands left behind. Numbers count down: greater ones are older.
    DeleteOlder {
        /// The one with this number and lower ones stay.
        than: &'a CanaryKey,
        /// A column.
        column: &'a str,
        /// The column's value in every canary, with `{id}` for the number.
        template: &'a str,
    },
}

/// How a connector writes a change, in the SQL of the target that reads the topics itself: `raw` is a
/// message, `change` or `op` its operation, `_key` its key. None of it may throw: one bad message would stop
/// the consumer for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The row that a change is about, as the first arguments of a JSON function: for a delete the row as it was.
    /// A row that stands in the message is not cut out of it: ClickHouse rewrites the numbers then, and 2E19 as an
    /// integer that it does not read.
    pub image: &'static str,
    /// The change's position in the source's log, as a number that grows.
    pub position: &'static str,
    /// Whether a message is a row of a table that was read again while the connector streamed. What is streamed
    /// since it was told to wins over such a row, so it comes right after what the connector had read by then. None where tables
    /// cannot be read again so.
    pub reread: Option<&'static str>,
    /// Whether a message tells of nothing that is there any more.
    pub nothing: &'static str,
    /// How values stand in the row.
    pub values: Values,
}

/// How values stand in a row's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// As Debezium writes the columns of relational sources: a `timestamp` as microseconds, a
    /// `timestamp(3)` as milliseconds, a `timestamptz` as ISO 8601 text.
    Columns,
    /// As extended JSON: an object id or a long is an object, a date is `{"$date": milliseconds}`.
    ExtendedJson,
}

/// Debezium's word for a row that an incremental snapshot has read.
pub const INCREMENTAL: &str =
    "change = 'r' AND JSONExtractString(raw, 'source', 'snapshot') = 'incremental'";

/// The row image of relational sources.
pub const ROW: &str = "raw, if(change = 'd', 'before', 'after')";

/// What a source remembers of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The oldest position of the log that is kept for it, as the source writes it.
    pub kept_from: Option<String>,
    /// The position up to which it has confirmed, as the source writes it.
    pub confirmed: Option<String>,
    /// The same in bytes.
    pub confirmed_at: Option<u64>,
    /// Bytes of the log that are kept for it.
    pub retained: Option<u64>,
    /// Bytes of the log that it has not confirmed.
    pub unconfirmed: Option<u64>,
}

impl Mark {
    /// Where the log ends, in bytes as `confirmed_at`.
    pub fn end(&self) -> Option<u64> {
        Some(self.confirmed_at? + self.unconfirmed?)
    }
}

/// Whether a source sees a connector read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Current while it does.
    pub status: Status,
    /// The age of the session that reads, in seconds.
    pub session_s: Option<f64>,
    /// Whether any connector has a session, or this is unknown.
    pub is_busy: bool,
    /// What the source has to wait for before the connector can read at all.
    pub waits: Option<String>,
}

/// What a source keeps of its log.
#[derive(Clone, Debug, PartialEq)]
pub enum Retention {
    /// Everything that a connector has not confirmed, however much that becomes.
    Unconfirmed(Wal),
    /// The newest part, whether or not a connector still needs an older one.
    Newest(Oplog),
    /// The newest files, likewise.
    Files(Binlog),
}

/// A log that is kept until a connector has confirmed it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wal {
    /// Where the source writes now.
    pub position: String,
    /// The oldest position that is kept for the connector.
    pub restart_lsn: Option<String>,
    /// Up to where the connector has confirmed.
    pub confirmed_flush_lsn: Option<String>,
    /// Bytes that are kept for the connector.
    pub retained: Option<u64>,
    /// Bytes that the connector has not confirmed.
    pub unconfirmed: Option<u64>,
    /// By how much `retained` grows, in bytes a second; negative while it shrinks.
    pub growth: Option<f64>,
    /// Room on the log's volume, in bytes. On clusters it is what the profile asked for, less
    /// what the databases and the log take.
    pub free: Option<u64>,
    /// Seconds until that is full, if it goes on like this; none while nothing grows.
    pub full_in: Option<u64>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub status: Option<String>,
}

/// A log of which only the newest part is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oplog {
    /// Milliseconds since the epoch of its oldest entry.
    pub oldest: u64,
    /// Milliseconds since the epoch of its newest entry.
    pub newest: u64,
    /// Seconds of the log that lie before the connector's position: when they are used up, its position
    /// is lost. None where the position has no time.
    pub window_left: Option<u64>,
}

/// A log in files, of which the oldest are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binlog {
    /// Where the source writes now, `file:byte`.
    pub position: String,
    /// The oldest file that it keeps.
    pub oldest: String,
    /// Bytes that the connector has not committed; none where its file is not among those that are kept.
    pub unread: Option<u64>,
    /// The files with their sizes in bytes, the oldest first.
    #[serde(skip)]
    pub files: Vec<(String, u64)>,
}

impl Binlog {
    /// The same, with what lies behind a committed position.
    #[must_use]
    pub fn behind(mut self, committed: Option<&Position>) -> Self {
        let place = committed.and_then(|position| position.place.rsplit_once(':'));
        self.unread = place.and_then(|(file, byte)| {
            let from = self.files.iter().position(|(name, _)| name == file)?;
            let kept: u64 = self.files[from..].iter().map(|(_, bytes)| bytes).sum();
            Some(kept.saturating_sub(byte.parse().ok()?))
        });
        self
    }
}

/// A step of a reset at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoStep {
    /// What it does.
    pub undo: Undo,
    /// The step's name in the plan.
    pub id: &'static str,
    /// The step's title.
    pub title: &'static str,
    /// What it does, for the confirmation; none where it changes nothing.
    pub words: Option<String>,
}

/// Something that stays at a server of the user's own when an environment is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// What removes it.
    pub undo: Undo,
    /// What and where it is, for people.
    pub what: String,
    /// What removes it, as a statement for that server.
    pub sql: String,
}

/// What a reset undoes at a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Wait until nobody reads what is kept for the connector. It comes before its offsets are saved.
    Release,
    /// Drop what is kept for it. It comes after its offsets are deleted.
    Forget,
    /// Drop the list of its tables, if the user asks for it. [`Source::prepare`] makes it again.
    Unpublish,
}
