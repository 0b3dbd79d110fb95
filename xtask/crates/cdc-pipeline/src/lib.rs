//! What a pipeline is made of: the profile that describes it, the components that run, and the clients that speak to
//! them. What is done with a pipeline (`up`, `operate`, `observe`, `diagnose`) stands above, in `xtask`.
//!
//! It is a crate of its own so that a change above compiles what is above alone.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod clients;
pub mod components;
pub mod environment;
pub mod flows;
pub mod image;
pub mod profile;
pub mod render;

use cdc_base::{clock, endpoint, error, files, plan, printed, process, report, tls, units, wait};
use cdc_platform::{self as platform, readiness};

/// The repository, whose profiles and manifests tests read.
#[cfg(test)]
fn repository() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."))
}
