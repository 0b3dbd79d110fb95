//! Profiles and templates as such: YAML with places, decoded and merged, and strict templates.
//! Nothing in here knows what a profile may hold.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod decode;
pub mod node;
pub mod parse;
pub mod render;
pub mod version;

use cdc_base::error;
