//! Templates to what Kubernetes is given. Which templates there are, and what they may name, is
//! decided in `components` and `up::objects`.

pub mod objects;

pub use cdc_profile::render::Templates;
