//! The plan of `up`: what is started where, the gates that prove it, and the row that proves the whole.

pub mod canary;
pub mod cluster;
pub mod control;
mod gates;
mod host;
pub mod image;
pub mod missing;
pub mod objects;
pub mod operators;
pub mod rereads;
pub mod unread;

use std::path::PathBuf;
use std::sync::Arc;

use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Plan;
use crate::platform::Platform;

pub use gates::{operator_leads, ready};
pub use host::{artifacts, processes};
pub use host::{fetch, fetched, start};

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
