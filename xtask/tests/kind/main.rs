//! The Kubernetes road on a real Kind cluster: a Docker engine and `KIND_NODE_IMAGE`, the name of a
//! node image, must be there. Without them every test here is ignored, and counted so.
//!
//! No image is pulled. Kafka, Connect with Debezium and PostgreSQL are the real ones in images of
//! ours; ClickHouse is its engine behind the product's own HTTP front; the operators and mongod are
//! stand-ins. See README.md.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)]

mod broker;
mod cluster;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/commands.rs"]
mod commands;
mod dlq;
mod faults;
mod genuine;
mod heal;
mod images;
mod life;
#[path = "../support/ports.rs"]
mod ports;
mod production;
mod recovery;
mod rotation;
mod trouble;
mod warehouse;

/// For trying things by hand: builds what is missing and says which node image to use.
#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn a_images_are_built_once() {
    let begin = std::time::Instant::now();
    let node = images::node();
    eprintln!("{node} after {:.1} s", begin.elapsed().as_secs_f64());
}
