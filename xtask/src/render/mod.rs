//! Templates to what Kubernetes is given: which belong to a profile, what they may name, and the
//! objects that come of them.

pub mod objects;

pub use cdc_profile::render::Templates;
