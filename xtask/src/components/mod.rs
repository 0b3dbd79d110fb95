//! The deployable things, one file each: how it is run on `host`, what proves that it works, what
//! it needs before changes can flow. `host_plan` puts them together.

pub mod clickhouse;
pub mod connect;
pub mod kafka;
pub mod mongodb;
pub mod postgres;

mod host;

pub use host::{artifacts, host_plan, processes};

use crate::error::{Code, Error};

/// A typed error of a client as the user reads it.
fn service(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Service, error.to_string())
}
