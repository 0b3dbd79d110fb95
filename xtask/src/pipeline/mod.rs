//! What is done with a pipeline that is there: decisions over clients.

pub mod backup;
pub mod canary;
pub mod connectors;
pub mod dlq;
pub mod envelope;
pub mod groups;
pub mod heal;
pub mod lag;
pub mod latency;
pub mod logline;
pub mod names;
pub mod reset;
pub mod restart;
pub mod slots;
pub mod status;
pub mod topics;
pub mod unread;
pub mod verify;
