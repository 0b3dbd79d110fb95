//! Bringing a pipeline up, and looking at one that runs: the plan of `up`, what is observed, and the diagnosis.
//! What acts on a running pipeline and the commands stand above, in `xtask`.
//!
//! It is a crate of its own so that a change above compiles what is above alone.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod diagnose;
pub mod observe;
pub mod reconcile;
pub mod up;

use cdc_base::{clock, endpoint, error, files, plan, printed, process, report, units, wait};
use cdc_pipeline::{clients, components, environment, flows, image, profile, render};
use cdc_platform::{self as platform, readiness};
