//! What is done with a pipeline that is there: decisions over clients.

pub mod canary;
pub mod envelope;
pub mod groups;
pub mod latency;
pub mod names;
pub mod status;
pub mod topics;
pub mod verify;
