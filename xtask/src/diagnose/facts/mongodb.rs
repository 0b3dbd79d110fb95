//! The document source.

use std::sync::Arc;

use super::Mongodb;
use crate::components::mongodb::settings::MongodbSettings;
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;

/// Asks the member.
pub(super) async fn gather(env: &Arc<Environment>, own: &MongodbSettings) -> Result<Mongodb> {
    let client = own.client(env).map_err(|error| service(&error))?;
    let (standing, oplog) = tokio::join!(client.standing(), client.oplog_window());
    let standing = standing.map_err(|error| service(&error))?;
    Ok(Mongodb {
        primary: standing.primary,
        replicated: standing.replicated,
        set: standing.set,
        wanted_set: own.replica_set.clone(),
        // Nobody but members of a set has one, and a login may not be allowed to read it.
        oplog: oplog.ok().flatten(),
    })
}
