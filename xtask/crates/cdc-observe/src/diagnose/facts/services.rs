//! What Kafka, Connect and the machine say of themselves.

use serde::Serialize;

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

/// Room on a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Each file system once: a directory on it, free bytes, all bytes.
    pub rooms: Vec<(String, u64, u64)>,
}
