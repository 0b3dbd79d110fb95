//! What a component's state means: pure functions from what was observed to a [`Status`].
//!
//! The words are kstatus's. Nothing in here does IO.

pub mod connect;
pub mod kubernetes;

pub use crate::status::{Cause, State, Status};
