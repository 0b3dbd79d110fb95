//! Where components run.

pub mod docker;
pub mod endpoint;
pub mod host;
pub mod kubernetes;

pub use endpoint::{Endpoint, Secret};
