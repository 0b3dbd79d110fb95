//! MongoDB: its member, its set, its oplog.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::{Gather, Log, ServerFacts, Wanted};
use crate::components::mongodb::settings::MongodbSettings;
use crate::components::service;
use crate::environment::Environment;

/// A server.
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

impl ServerFacts for Mongodb {
    fn log(&self, _: &str, _: &Wanted) -> Option<Log> {
        Some(Log {
            end: self.oplog.map(|(_, newest)| newest),
            ..Log::default()
        })
    }
}

#[async_trait]
impl Gather for Mongodb {
    type Own = MongodbSettings;

    /// Asks the member.
    async fn ask(env: &Arc<Environment>, own: &MongodbSettings) -> Result<Self, String> {
        let said = |error| service(error).to_string();
        let client = own.client(env);
        let (standing, oplog) = tokio::join!(client.standing(), client.oplog_window());
        let standing = standing.map_err(said)?;
        Ok(Mongodb {
            primary: standing.primary,
            replicated: standing.replicated,
            // The name service's answer is right by itself.
            wanted_set: own.set().unwrap_or(&standing.set).to_owned(),
            set: standing.set,
            // Nobody but members of a set has one, and a login may not be allowed to read it.
            oplog: oplog.ok().flatten(),
        })
    }
}
