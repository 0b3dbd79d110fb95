//! What the statements for relational sources have in common, and where their files are.

use super::source::CanaryChange;
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
}

/// What is done to a canary, as a statement.
pub(super) fn canary(quoting: &Quoting, flow: &Flow, id: i64, change: CanaryChange<'_>) -> String {
    let Quoting {
        ident,
        literal,
        table,
    } = quoting;
    let name = table(&flow.table);
    let key = ident(flow.key.first().map_or("", String::as_str));
    match change {
        CanaryChange::Insert(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (ident(name), literal(value)));
            let (names, values): (Vec<String>, Vec<String>) =
                std::iter::once((key, id.to_string())).chain(fields).unzip();
            let (names, values) = (names.join(", "), values.join(", "));
            format!("INSERT INTO {name} ({names}) VALUES ({values})")
        }
        CanaryChange::Update { column, value } => {
            let (column, value) = (ident(column), literal(value));
            format!("UPDATE {name} SET {column} = {value} WHERE {key} = {id}")
        }
        CanaryChange::Delete => format!("DELETE FROM {name} WHERE {key} = {id}"),
        CanaryChange::DeleteOlder {
            than,
            column,
            template,
        } => {
            let (column, like) = (ident(column), literal(&template.replace("{id}", "%")));
            format!(
                "DELETE FROM {name} WHERE {key} < 0 AND {key} > {than} AND {column} LIKE {like}"
            )
        }
    }
}

/// A file of statements below `manifests/<type>/<folder>`, without the last `;`.
///
/// # Errors
/// It cannot be read.
pub(super) fn file(env: &Environment, kind: &str, folder: &str, file: &str) -> Result<String> {
    let path = env.templates.root().join(kind).join(folder).join(file);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::io("read", path, &source))?;
    Ok(text.trim().trim_end_matches(';').to_owned())
}
