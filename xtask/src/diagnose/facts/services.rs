//! What each service says of itself.

use serde::{Deserialize, Serialize};

use super::Wanted;
use crate::components::postgres::slots::Slot;

/// The relational source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Postgres {
    /// What it says of itself.
    pub server: Server,
    /// Replication slots.
    pub slots: Vec<Slot>,
}

impl Postgres {
    /// The slot of this name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }

    /// The slot that the profile has a connector read.
    pub fn slot_of(&self, wanted: &Wanted) -> Option<&Slot> {
        self.slot(wanted.slot.as_deref()?)
    }
}

/// What PostgreSQL says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Server setting.
    pub wal_level: String,
    /// Whether it is a standby.
    pub recovery: bool,
    /// Whether transactions are read-only by default.
    pub read_only: bool,
    /// Where its log ends, in bytes; none on a standby.
    pub position: Option<u64>,
    /// Its clock, in milliseconds since the epoch.
    pub clock_ms: u64,
    /// Sessions, and how many there may be.
    pub connections: (u32, u32),
    /// Replication slots, and how many there may be.
    pub slot_use: (u32, u32),
    /// The captured tables.
    pub tables: Vec<Table>,
    /// Publications.
    pub publications: Vec<Publication>,
    /// Roles that connectors log in as.
    pub roles: Vec<Role>,
    /// The oldest transaction of a client that has lasted for a minute.
    pub old_transaction: Option<OldTransaction>,
}

/// A captured table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// With its schema.
    pub name: String,
    /// Whether it is there.
    pub exists: bool,
    /// What a deletion's or an update's event says of the row before: `d` its key, `f` all of it, `i`
    /// an index, `n` nothing.
    pub identity: Option<String>,
    /// Whether it has a primary key.
    pub key: bool,
    /// Of the connectors' users, those that may not read it.
    pub unreadable: Vec<String>,
}

/// A publication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Name.
    pub name: String,
    /// Its tables, with their schemas.
    pub tables: Vec<String>,
}

/// A role that a connector logs in as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Whether it may read the log.
    pub replication: bool,
    /// Whether it may log in.
    pub login: bool,
}

/// A transaction that has lasted long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldTransaction {
    /// Its server process.
    pub pid: u32,
    /// For how long, in seconds.
    pub seconds: u64,
    /// `active`, `idle in transaction`.
    pub state: String,
}

/// The document source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mongodb {
    /// Whether it takes writes.
    pub primary: bool,
    /// Whether it was started as a member of a set.
    pub replicated: bool,
    /// The set's name; empty while it is not initiated.
    pub set: String,
    /// The set's name in the profile.
    pub wanted_set: String,
    /// Times of the oplog's oldest and newest entries, in seconds since the epoch.
    pub oplog: Option<(u64, u64)>,
}

/// The worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connect {
    /// Plugin classes that it has loaded.
    pub plugins: Vec<String>,
    /// Plugin classes that the profile's connectors need.
    pub needed: Vec<String>,
    /// Whether it said that it is rebalancing.
    pub rebalancing: bool,
}

/// A node of the cluster that cannot take pods, or keep those that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Name.
    pub name: String,
    /// The condition that tells so: `Ready`, `DiskPressure`, `MemoryPressure` or `PIDPressure`.
    pub condition: String,
    /// Its message.
    pub message: String,
}

/// The broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kafka {
    /// Partitions without a leader, `topic-0`.
    pub leaderless: Vec<String>,
    /// Partitions with fewer replicas in sync than they have.
    pub behind: Vec<String>,
    /// Connect's own topics whose cleanup policy is not `compact`.
    pub uncompacted: Vec<String>,
    /// How many Connect workers its group has.
    pub workers: usize,
    /// The state of the workers' group, in Kafka's words.
    pub workers_state: String,
}

/// The target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clickhouse {
    /// Its clock, in milliseconds since the epoch.
    pub clock_ms: u64,
    /// Tables and views of the profile that are not there.
    pub missing: Vec<String>,
    /// What its Kafka consumers said last.
    pub consumers: Vec<Consumer>,
    /// Free and total bytes where it keeps its data.
    pub room: Option<(u64, u64)>,
}

/// A Kafka consumer of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Its table.
    pub table: String,
    /// Its newest exception.
    pub error: String,
    /// Seconds since then.
    pub age: u64,
}

/// Room on a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Each file system once: a directory on it, free bytes, all bytes.
    pub rooms: Vec<(String, u64, u64)>,
}
