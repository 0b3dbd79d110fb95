//! Replication slots: what a server keeps of its log for each of those who read it. Not every type has them.

use async_trait::async_trait;
use serde::Serialize;

use super::of;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Outcome;
use crate::profile::component::Instance;

/// A type that keeps slots. It is an error where the server does not answer or refuses.
#[async_trait]
pub trait Slots: Sync {
    /// All of them.
    async fn list(&self, env: &Environment) -> Result<Vec<Slot>>;

    /// Refuses to drop a slot that is read, or soon will be; returns what is not known about its connector.
    async fn check_drop(&self, env: &Environment, slot: &Slot) -> Result<Option<String>>;

    /// Drops a slot that nobody reads.
    async fn drop_slot(&self, env: &Environment, name: &str) -> Result<Outcome>;
}

/// The components of an environment that keep slots.
pub fn keepers(env: &Environment) -> Vec<(&Instance, &dyn Slots)> {
    let components = env.profile.components.values();
    let keepers = components.filter_map(|it| Some((it, of(it).slots()?)));
    keepers.collect()
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Name.
    pub name: String,
    /// The connector of the profile that reads it.
    pub connector: Option<String>,
    /// The output plugin; none for a physical slot.
    pub plugin: Option<String>,
    /// Its database; none for a physical slot.
    pub database: Option<String>,
    /// Whether a connection reads it now.
    pub active: bool,
    /// Who does: process of the server, application, address.
    pub reader: Option<String>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// The oldest WAL that is kept for it.
    pub restart_lsn: Option<String>,
    /// Up to where its reader has confirmed.
    pub confirmed_flush_lsn: Option<String>,
    /// WAL in bytes that is kept for it.
    pub retained: Option<u64>,
    /// WAL in bytes that its reader has not confirmed.
    pub unconfirmed: Option<u64>,
    /// Committed transactions that the server has decoded for it.
    pub transactions: Option<u64>,
    /// WAL on disk in bytes that its sender leaves alone although it waits for some; none while it
    /// works.
    pub untouched: Option<u64>,
    /// For how many seconds nobody has read it; none while a connection does, and where the server does not say.
    pub unread_s: Option<u64>,
}
