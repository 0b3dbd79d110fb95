//! The deployable things, one file each: how it is run on `host`, what proves that it works, what
//! it needs before changes can flow. `host_plan` puts them together.

mod access;
mod change_sql;
pub mod clickhouse;
pub mod connect;
pub mod kafka;
pub mod mongodb;
pub mod postgres;

pub mod cluster;
mod host;
pub mod image;
pub mod operators;
pub mod silver;
mod upper;

pub use host::{artifacts, processes};
pub(crate) use host::{fetch, fetched, start};
pub(crate) use upper::{blocked_by, operator_leads, patience, ready, unserved_by};

/// What only a plan on a cluster asks for.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Where the operators' bundles are read from; none fetches them.
    pub bundle_dir: Option<PathBuf>,
    /// Whether what left the profile is removed.
    pub prune: bool,
}

/// The plan of `up` on the environment's platform. Nothing happens yet, but what can be wrong with
/// templates and prerequisites is found here, before anything starts.
///
/// # Errors
/// A prerequisite is missing or a template is wrong.
pub fn plan(env: &Arc<Environment>, options: &ClusterOptions) -> Result<Plan> {
    match env.platform {
        Platform::Host => host::plan(env),
        Platform::Kind | Platform::Kubernetes => cluster::plan(env, options),
    }
}

use std::path::PathBuf;
use std::sync::Arc;

use crate::environment::Environment;
use crate::error::{Code, Error, Result, nearest};
use crate::plan::Plan;
use crate::platform::Platform;

/// Every component's name, which is also its folder's and its key's in a profile.
pub const NAMES: [&str; 5] = ["kafka", "connect", "postgres", "mongodb", "clickhouse"];

/// What stands for the operator of Kafka and Connect beside the components' names.
pub const OPERATOR: &str = "operator";

/// The component of this name.
///
/// # Errors
/// There is none; with the nearest name.
pub fn named(name: &str) -> Result<&'static str> {
    NAMES
        .into_iter()
        .find(|component| *component == name)
        .ok_or_else(|| {
            let error = Error::new(Code::Usage, format!("there is no component `{name}`"));
            match nearest(name, NAMES) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("components: {}", NAMES.join(", "))),
            }
        })
}

/// A typed error of a client as the user reads it.
pub(crate) fn service(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Service, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_exact_and_typos_are_answered() {
        assert_eq!(named("kafka").expect("known"), "kafka");
        let error = named("konnect").expect_err("unknown");
        assert_eq!(error.code, Code::Usage);
        assert!(error.hint.expect("a hint").contains("`connect`"));
        assert!(named("kaf").is_err());
    }
}
