//! Provisions change-data-capture pipelines and keeps them right. See `xtask/README.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod cli;
pub mod commands;
pub mod operate;

pub use cdc_base::{
    clock, endpoint, error, files, plan, printed, process, report, status, tls, units, wait,
};
pub use cdc_observe::{diagnose, observe, reconcile, up};
pub use cdc_pipeline::{clients, components, environment, flows, image, profile, render};
pub use cdc_platform::{self as platform, readiness};
