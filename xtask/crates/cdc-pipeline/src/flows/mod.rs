//! Tables on their way from a source to a target, as data: nothing here asks a database.

pub mod types;
