//! What acts on a pipeline that is there: restarts, resets, healing, dead letters, backups.

pub mod backup;
pub mod bundle;
pub mod chaos;
pub mod dlq;
pub mod fix;
pub mod heal;
pub mod leftovers;
mod outside;
pub mod projection;
pub mod pushgateway;
pub mod reset;
pub mod restart;
pub mod webhook;
pub mod workload;
