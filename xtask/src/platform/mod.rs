//! Where components run.

pub mod docker;
pub mod endpoint;
pub mod host;
pub mod kind;

pub use endpoint::{Endpoint, Secret};
