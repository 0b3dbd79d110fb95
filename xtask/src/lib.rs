//! Provisions change-data-capture pipelines and keeps them right. See `xtask/README.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod cli;
pub mod clients;
pub mod clock;
pub mod commands;
pub mod components;
pub mod diagnose;
pub mod endpoint;
pub mod environment;
pub mod error;
pub mod files;
pub mod image;
pub mod observe;
pub mod operate;
pub mod plan;
pub mod platform;
pub mod process;
pub mod profile;
pub mod readiness;
pub mod render;
pub mod report;
pub mod status;
pub mod tls;
pub mod up;
pub mod wait;
