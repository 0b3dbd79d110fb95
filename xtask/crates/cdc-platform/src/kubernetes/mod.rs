//! Existing Kubernetes clusters and Kind clusters, through the API server.
//!
//! `cluster` is the connection; `apply`, `diff`, `inventory`, `remove` and `access` are what is done
//! with it. `order`, `owned`, `desired` and `unified` are pure.

pub mod access;
pub mod apply;
pub mod bundles;
pub mod cluster;
mod connector;
pub mod desired;
pub mod diff;
mod escalation;
pub mod forward;
pub mod inventory;
pub mod lease;
mod live;
pub mod manifest;
pub mod object;
pub mod order;
pub mod owned;
mod owners;
pub mod preflight;
pub mod prerequisites;
mod refusals;
pub mod remove;
pub mod resources;
pub mod restart;
pub mod retry;
pub mod unified;
pub mod watch;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};

pub use apply::{Applied, Change, Options};
pub use cluster::Cluster;
pub use diff::{Action, Difference};
pub use inventory::{Inventory, Owned};
pub use live::Situation;
pub use manifest::{COMPONENT, ENVIRONMENT, MANAGED_BY};
pub use object::ObjectRef;
pub use remove::Removed;

/// Owns every field that this tool sets (server-side apply).
pub const FIELD_MANAGER: &str = manifest::MANAGER;
/// Annotation on every object of ours: names what was applied last. See `owned`.
pub const APPLIED: &str = "cdc-xtask.dev/applied";
/// Annotation on namespaces and resource definitions that did not exist before this tool made them.
pub const CREATED: &str = "cdc-xtask.dev/created";

/// The objects of a kind, in one namespace or in all.
fn objects(client: &Client, kind: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
        None => Api::all_with(client.clone(), kind),
    }
}

/// The objects of a core kind in a namespace.
fn core_objects(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
    objects(client, &kind, Some(namespace))
}

/// What the server said of a request that it refused, without what only programs read.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => crate::error::reason(other),
    }
}

/// Requests in flight at once. kube speaks HTTP/1.1, so this is also the number of connections.
pub const IN_FLIGHT: usize = 16;
