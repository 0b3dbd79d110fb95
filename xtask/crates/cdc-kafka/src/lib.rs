//! A native Kafka client: plain data in and out, one error type, no JVM.
//!
//! Built on the codec of the crate `kafka-protocol`; connections are its own, for one reason: Kafka
//! tells its clients to connect to the addresses that brokers *advertise*, and those are of no use
//! behind a port-forward. With one bootstrap address and one broker everything goes to the given
//! address; for larger clusters the caller maps brokers to addresses ([`Config::route`]).
//!
//! | file | concern |
//! |---|---|
//! | `client.rs` | configuration, connection pool, routing of requests |
//! | `routing.rs` | which broker leads what, and where it is dialled (pure) |
//! | `connection.rs` | one connection: dialling, versions, deadlines, frame limits |
//! | `tls.rs`, `sasl.rs` | what lies below and before the requests: TLS and the login |
//! | `scram.rs` | the mathematics of the login (pure) |
//! | `wire.rs` | API versions, encoding and guarded decoding (pure) |
//! | `topics.rs`, `offsets.rs`, `groups.rs` | metadata, topics, configs; positions; consumer groups |
//! | `fetch.rs`, `produce.rs`, `delete.rs` | records |
//! | `records.rs`, `compression.rs` | record batches (pure) |
//!
//! The client never sleeps. A request that reached the wrong broker, because a leader or
//! coordinator moved, is repeated once at the right one; everything else that time may heal
//! is an error with [`KafkaError::is_retriable`], and waiting is the caller's business.
//!
//! Brokers from 3.0 on are spoken to.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod client;
mod compression;
mod connection;
mod delete;
mod elections;
mod error;
mod fetch;
mod groups;
mod offsets;
mod produce;
mod records;
mod routing;
mod sasl;
pub mod scram;
mod tls;
mod topics;
mod wire;

#[cfg(test)]
mod broker_tests;
#[cfg(test)]
mod security_tests;

pub use client::{Config, KafkaClient, Route};
pub use error::{ErrorCode, KafkaError, code_name};
pub use fetch::{FetchBatch, FetchOptions, Isolation};
pub use groups::{Group, GroupListing, GroupMember, TopicPartition};
pub use offsets::OffsetAt;
pub use records::{Header, NO_TIMESTAMP, Record};
pub use routing::Broker;
pub use sasl::{LoginProblem, Mechanism, Sasl};
pub use scram::ScramError;
pub use tls::{Tls, TlsProblem};
pub use topics::{
    ClusterInfo, ConfigSource, ConfigValue, CreateOutcome, DeleteOutcome, PartitionInfo, TopicInfo,
    TopicSpec,
};
