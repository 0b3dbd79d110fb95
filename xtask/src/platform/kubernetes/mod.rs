//! Clusters: what exists in them, what changes, and ways into them.

pub mod forward;
pub mod preflight;
pub mod watch;
