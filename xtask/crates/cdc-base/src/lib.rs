//! What everything else stands on: errors, time, files, processes, endpoints, plans and waits, and
//! what a run reports. Nothing in here knows a component.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod clock;
pub mod endpoint;
pub mod error;
pub mod files;
pub mod plan;
pub mod printed;
pub mod process;
pub mod report;
pub mod status;
pub mod tls;
pub mod units;
pub mod wait;
