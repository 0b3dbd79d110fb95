//! The Kubernetes road against a real API server: `KUBEBUILDER_ASSETS` names a directory with `etcd`
//! and `kube-apiserver`, and `kube-controller-manager` for what needs garbage collection.
//! Without it every test here is ignored, and counted so.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc
)]

mod access;
mod apply;
mod connect;
mod diff;
mod kinds;
mod lease;
mod lost;
mod members;
mod owners;
mod prune;
mod restricted;
mod retries;
mod server;
#[path = "../support/mod.rs"]
mod support;
