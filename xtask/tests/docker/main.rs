//! Images and Kind clusters on a real Docker engine.
//!
//! `KIND_NODE_IMAGE` names the image of the nodes; `CDC_TEST_REGISTRY=host:port` a registry that
//! anybody may push to. Without them the tests are ignored, and counted as such. Every image is
//! made here, so that none has to be pulled. What a test makes is named `cdc-test-...` and removed.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, missing_docs)]

mod clusters;
mod images;
mod lab;
mod loads;
mod registry;
