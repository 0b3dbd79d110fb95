//! Where components run.

pub mod endpoint;
pub mod host;

pub use endpoint::{Endpoint, Secret};
