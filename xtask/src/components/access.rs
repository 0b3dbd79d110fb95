//! The steps of `up`'s plan that give connectors their rights at the sources.

use std::sync::Arc;

use super::{mongodb, postgres};
use crate::environment::Environment;
use crate::plan::Plan;
use crate::profile::schema::Source;

/// Adds the step of a source, and returns the node after which a connector may begin.
pub(crate) fn add(plan: &mut Plan, env: &Arc<Environment>, source: Source) -> &'static str {
    let at = env.clone();
    match source {
        Source::Postgres => {
            plan.step(
                "postgres/access",
                "the connectors' user, rights, publications",
                &["postgres/tables"],
                |progress| postgres::access::grant(at, progress),
            );
            "postgres/access"
        }
        Source::Mongodb if env.own_connector_user(source).is_some() => {
            plan.step(
                "mongodb/access",
                "the connectors' user and its roles",
                &["mongodb/ready"],
                async move |_| mongodb::access::grant(at).await,
            );
            "mongodb/access"
        }
        Source::Mongodb => "mongodb/ready",
    }
}
