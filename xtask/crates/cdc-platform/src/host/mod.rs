//! The `host` platform: the real components as plain processes of this machine.

pub mod apply;
pub mod artifacts;
pub mod cache;
pub mod daemon;
pub mod dirs;
pub mod java;
pub mod lock;
pub mod ports;
pub mod prerequisites;
pub mod secrets;
pub mod user;

pub use dirs::Dirs;
