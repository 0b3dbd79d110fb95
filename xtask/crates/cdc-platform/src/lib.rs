//! Where components run: this machine's processes, Docker, Kind and Kubernetes. [`readiness`] judges
//! what is seen there, in pure functions. Nothing in here reads a profile or a template.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod docker;
pub mod host;
pub mod kind;
pub mod kubernetes;
pub mod readiness;
#[cfg(test)]
#[path = "../../../tests/support/releases.rs"]
mod releases;

use serde::{Deserialize, Serialize};

use cdc_base::{clock, error, files, plan, process, report, status, tls, units, wait};

pub use cdc_base::endpoint::{Endpoint, Secret};

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
