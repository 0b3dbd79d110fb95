//! Provisions change-data-capture pipelines and keeps them right. See `xtask/README.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod cli;
pub mod clients;
pub mod commands;
pub mod components;
pub mod diagnose;
pub mod environment;
pub mod image;
pub mod observe;
pub mod operate;
pub mod profile;
pub mod render;
pub mod up;

pub use cdc_base::{
    clock, endpoint, error, files, plan, process, report, status, tls, units, wait,
};
pub use cdc_platform::{self as platform, readiness};
