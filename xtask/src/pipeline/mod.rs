//! What is done with a pipeline that is there: decisions over clients.

pub mod canary;
pub mod latency;
pub mod status;
pub mod verify;
