//! The real components on this machine: brought up, broken, mended, and asked for their rows.
//!
//! Each test has an environment of its own with free ports, and leaves nothing behind. Rows are
//! read from PostgreSQL and ClickHouse themselves, not from what the tool says about them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)]

mod big_rows;
mod chaos;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/commands.rs"]
mod commands;
mod diagnosis;
mod dlq;
mod external;
mod external_mongodb;
mod external_table;
mod external_tls;
mod faults;
mod first_snapshot;
mod heal;
mod healer;
mod kills;
mod life;
mod mongodb;
mod mysql;
mod operations;
mod outbox;
mod own_tables;
#[path = "../support/ports.rs"]
mod ports;
mod proxy;
mod readme;
mod rebalance;
mod reconcile;
mod reconcile_schedule;
mod removed;
mod restarts;
mod restored;
mod rights;
mod rotation;
mod sandbox;
mod schema;
mod silver;
mod sqlserver;
mod stuck;
mod topics;
mod unassigned;
mod unfit;
mod warehouse;
