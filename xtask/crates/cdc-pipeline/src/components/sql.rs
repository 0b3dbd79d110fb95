//! What the statements for relational sources have in common, and where their files are.

use std::path::Path;

use super::source::{CANARY, CANARY_UUID, CanaryChange, CanaryKey};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::profile::schema::Flow;

/// How a type's SQL quotes.
pub(super) struct Quoting {
    /// A name.
    pub(super) ident: fn(&str) -> String,
    /// A text.
    pub(super) literal: fn(&str) -> String,
    /// `schema.table`.
    pub(super) table: fn(&str) -> String,
    /// What stands before `VALUES` so that a key may be given which the server would make itself.
    pub(super) overriding: &'static str,
}

/// What is done to a canary, as a statement.
pub(super) fn canary(
    quoting: &Quoting,
    flow: &Flow,
    key: &CanaryKey,
    change: CanaryChange<'_>,
) -> String {
    let Quoting {
        ident,
        literal,
        table,
        overriding,
    } = quoting;
    let name = table(&flow.table);
    let column = ident(flow.key.first().map_or("", String::as_str));
    let is_it = format!("{column} = {}", key.value(*literal));
    match change {
        CanaryChange::Insert(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (ident(name), literal(value)));
            let (names, values): (Vec<String>, Vec<String>) =
                std::iter::once((column, key.value(*literal)))
                    .chain(fields)
                    .unzip();
            let (names, values) = (names.join(", "), values.join(", "));
            format!("INSERT INTO {name} ({names}) {overriding}VALUES ({values})")
        }
        CanaryChange::Update {
            column: seen,
            value,
        } => {
            let (seen, value) = (ident(seen), literal(value));
            format!("UPDATE {name} SET {seen} = {value} WHERE {is_it}")
        }
        CanaryChange::Delete => format!("DELETE FROM {name} WHERE {is_it}"),
        CanaryChange::DeleteOlder {
            than,
            column: seen,
            template,
        } => {
            let (seen, like) = (ident(seen), literal(&template.replace("{id}", "%")));
            let between = |prefix: &str| {
                let first = literal(&format!("{prefix}{:012}", 0));
                format!(
                    "{column} >= {first} AND {column} < {}",
                    than.value(*literal)
                )
            };
            let older = match than {
                CanaryKey::Number(than) => format!("{column} < 0 AND {column} > {than}"),
                CanaryKey::Text(_) => between(CANARY),
                CanaryKey::Uuid(_) => between(CANARY_UUID),
            };
            format!("DELETE FROM {name} WHERE {older} AND {seen} LIKE {like}")
        }
    }
}

/// Statements of a file.
pub(super) struct File {
    /// Where it is, for people.
    pub(super) shown: String,
    /// Its text without the last `;`.
    pub(super) sql: String,
}

/// A file that an instance's `schema` names.
///
/// # Errors
/// It cannot be read.
pub(super) fn schema(env: &Environment, instance: &str, file: &str) -> Result<File> {
    read(&env.named_file(instance, "schema", "sql", file))
}

/// A file below `manifests/<type>/seed`.
///
/// # Errors
/// It cannot be read.
pub(super) fn seed(env: &Environment, kind: &str, file: &str) -> Result<File> {
    read(&env.templates.root().join(kind).join("seed").join(file))
}

fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::io("read", path, &source))?;
    Ok(File {
        shown: path.display().to_string(),
        sql: text.trim().trim_end_matches(';').to_owned(),
    })
}
