//! Existing Kubernetes clusters and Kind clusters, through the API server.
//!
//! `cluster` is the connection; `apply`, `diff`, `inventory`, `remove` and `access` are what is done
//! with it. `order`, `owned`, `desired` and `unified` are pure.

pub mod access;
pub mod apply;
pub mod bundles;
pub mod cluster;
pub mod desired;
pub mod diff;
pub mod forward;
pub mod inventory;
mod live;
pub mod object;
pub mod order;
pub mod owned;
pub mod preflight;
mod refusals;
pub mod remove;
pub mod resources;
pub mod retry;
pub mod unified;
pub mod watch;

pub use apply::{Applied, Change, Options};
pub use cluster::Cluster;
pub use diff::{Action, Difference};
pub use inventory::{Inventory, Owned};
pub use object::ObjectRef;
pub use remove::Removed;

/// Owns every field that this tool sets (server-side apply).
pub const FIELD_MANAGER: &str = "cdc-xtask";
/// Label on every object of ours, with [`FIELD_MANAGER`] as its value.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label on every object of ours: the environment it belongs to.
pub const ENVIRONMENT: &str = "cdc-xtask.dev/environment";
/// Label on every object of ours: the component it belongs to.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Annotation on every object of ours: names what was applied last. See `owned`.
pub const APPLIED: &str = "cdc-xtask.dev/applied";
/// Annotation on namespaces and resource definitions that did not exist before this tool made them.
pub const CREATED: &str = "cdc-xtask.dev/created";

/// Requests in flight at once. kube speaks HTTP/1.1, so this is also the number of connections.
pub const IN_FLIGHT: usize = 16;
