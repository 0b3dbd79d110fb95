//! The deployable things, one file each: how it is run on `host`, what proves that it works, what
//! it needs before changes can flow. `host_plan` puts them together.

pub(crate) mod access;
pub mod clickhouse;
pub mod connect;
pub mod kafka;
pub mod mongodb;
pub mod position;
pub mod postgres;
pub mod source;
pub mod target;

use self::source::Source;
use self::target::Target;
use crate::error::{Code, Error, Result, nearest};
use crate::profile::logins::component;
use crate::profile::schema;

/// Rows that a JDBC sink writes to a database of the environment.
pub use postgres::jdbc_sink::Rows as SinkRows;

/// Every component's name, which is also its folder's and its key's in a profile.
pub const NAMES: [&str; 5] = ["kafka", "connect", "postgres", "mongodb", "clickhouse"];

/// What stands for the operator of Kafka and Connect beside the components' names.
pub const OPERATOR: &str = "operator";

/// The component of this name.
///
/// # Errors
/// There is none; with the nearest name.
pub fn named(name: &str) -> Result<&'static str> {
    NAMES
        .into_iter()
        .find(|component| *component == name)
        .ok_or_else(|| {
            let error = Error::new(Code::Usage, format!("there is no component `{name}`"));
            match nearest(name, NAMES) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("components: {}", NAMES.join(", "))),
            }
        })
}

/// The types of sources.
pub const SOURCES: [schema::Source; 2] = [schema::Source::Postgres, schema::Source::Mongodb];

/// What a type of source answers.
pub fn source(of: schema::Source) -> &'static dyn Source {
    match of {
        schema::Source::Postgres => &postgres::source::Postgres,
        schema::Source::Mongodb => &mongodb::source::Mongodb,
    }
}

/// The type of source that a component is, by the component's name or one of its short forms.
pub fn source_named(name: &str) -> Option<schema::Source> {
    let mut sources = SOURCES.into_iter();
    sources.find(|of| component(*of) == name || source(*of).aliases().contains(&name))
}

/// What the target answers.
pub fn target() -> &'static dyn Target {
    &clickhouse::target::Clickhouse
}

/// A typed error of a client as the user reads it.
pub(crate) fn service(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Service, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_exact_and_typos_are_answered() {
        assert_eq!(named("kafka").expect("known"), "kafka");
        let error = named("konnect").expect_err("unknown");
        assert_eq!(error.code, Code::Usage);
        assert!(error.hint.expect("a hint").contains("`connect`"));
        assert!(named("kaf").is_err());
    }

    #[test]
    fn a_source_is_named_by_its_type_or_a_short_form() {
        assert_eq!(source_named("postgres"), Some(schema::Source::Postgres));
        assert_eq!(source_named("mongodb"), Some(schema::Source::Mongodb));
        assert_eq!(source_named("mongo"), Some(schema::Source::Mongodb));
        assert_eq!(source_named("kafka"), None);
    }
}
