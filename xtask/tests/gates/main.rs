//! Gates, forwards and preflight checks against real servers. Without them the tests are skipped,
//! and counted as such:
//!
//! - `KUBEBUILDER_ASSETS`: a directory with `etcd` and `kube-apiserver`. The tests write the
//!   statuses that controllers would. `cargo test --test gates -- --ignored apiserver`
//! - `CDC_TEST_KUBECONFIG`: a kubeconfig of a cluster whose nodes have the image of
//!   `CDC_TEST_IMAGE` (the lab's demo image: busybox as `/bin/sh`, and `/demo`, which serves HTTP on
//!   port 8080). `cargo test --test gates -- --ignored cluster`

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod apiserver;
mod cluster;
mod forward;
mod operator;
mod proofs;
mod replaced;
mod server;
mod support;
