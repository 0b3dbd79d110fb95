//! Where components run.

pub mod docker;
pub mod host;
pub mod kind;
pub mod kubernetes;

use serde::{Deserialize, Serialize};

pub use crate::endpoint::{Endpoint, Secret};

/// Where components run, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Processes on this machine.
    Host,
    /// A Kind cluster that the tool creates.
    Kind,
    /// An existing cluster.
    Kubernetes,
}

impl Platform {
    /// The name, as `--platform` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Platform::Host => "host",
            Platform::Kind => "kind",
            Platform::Kubernetes => "kubernetes",
        }
    }
}
