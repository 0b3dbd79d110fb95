//! Existing Kubernetes clusters and Kind clusters, through the API server.

pub mod bundles;
