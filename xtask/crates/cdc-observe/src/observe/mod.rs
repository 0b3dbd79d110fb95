//! What looks at a pipeline that is there, and proves that it works.

pub mod connectors;
pub mod envelope;
pub mod groups;
pub mod lag;
pub mod latency;
pub mod logline;
pub mod names;
pub mod status;
pub mod topics;
pub mod verify;
