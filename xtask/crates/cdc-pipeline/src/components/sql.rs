//! What the statements for relational sources have in common, and where their files are.

use std::path::Path;

use async_trait::async_trait;

use super::Seeded;
use super::source::{CANARY, CANARY_UUID, CanaryChange, CanaryKey, Key};
use crate::clients::answer::Row;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::plan::{Outcome, Progress};
use crate::profile::schema::Flow;

/// So many keys are looked up by one statement.
const KEYS: usize = 200;

/// A session of a relational server.
#[async_trait]
pub(super) trait Session: Sync {
    /// Runs statements; says how many rows they changed.
    async fn execute(&self, sql: &str) -> Result<u64>;

    /// Runs statements and returns their rows.
    async fn query(&self, sql: &str) -> Result<Vec<Row>>;
}

/// The files that make an instance's tables and fill them.
pub(super) struct Files<'a> {
    /// Its type.
    pub(super) kind: &'static str,
    /// Its name.
    pub(super) instance: &'a str,
    /// The files that its settings name.
    pub(super) schema: &'a [String],
}

impl Files<'_> {
    /// Makes the tables, whose number the statement asks for, and fills those that were not there before; says how many
    /// rows that took.
    ///
    /// # Errors
    /// The server refuses, or a file cannot be read.
    pub(super) async fn create(
        &self,
        env: &Environment,
        session: &dyn Session,
        tables: &str,
        progress: &Progress,
    ) -> Result<u64> {
        let mut seeded = 0;
        for file in self.schema {
            let schema = schema(env, self.instance, file)?;
            let before = session.query(tables).await?;
            let done = session.execute(&schema.sql).await;
            done.map_err(|error| error.detail(schema.shown))?;
            if session.query(tables).await? != before {
                progress.observe(format!("filling the tables of {file}"));
                seeded += self.fill(env, session, file).await?;
            }
        }
        Ok(seeded)
    }

    /// Inserts the seed rows that are missing.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub(super) async fn seed(
        &self,
        env: &Environment,
        session: &dyn Session,
    ) -> Result<Option<Seeded>> {
        let mut count = 0;
        for file in self.schema {
            count += self.fill(env, session, file).await?;
        }
        Ok(Some(Seeded {
            what: "rows",
            count,
        }))
    }

    async fn fill(&self, env: &Environment, session: &dyn Session, file: &str) -> Result<u64> {
        if !env.templates.has(&format!("{}/seed/{file}", self.kind)) {
            return Ok(0);
        }
        let seed = seed(env, self.kind, file)?;
        let done = session.execute(&seed.sql).await;
        done.map_err(|error| error.detail(seed.shown))
    }
}

/// What became of tables that are there now, filled with so many rows.
pub(super) fn created(seeded: u64) -> Outcome {
    match seeded {
        0 => Outcome::Unchanged("tables are there".into()),
        rows => Outcome::Changed(format!("tables created, {rows} seed rows")),
    }
}

/// Those of these keys that are in no row; the statement gives the numbers of those that are.
///
/// # Errors
/// The server does not answer.
pub(super) async fn absent(
    session: &dyn Session,
    keys: &[Key],
    present: impl Fn(&[Key]) -> String,
) -> Result<Vec<Key>> {
    let mut absent = Vec::new();
    for keys in keys.chunks(KEYS) {
        let rows = session.query(&present(keys)).await?;
        let present: Vec<usize> = rows
            .iter()
            .filter_map(|row| row[0].as_ref()?.parse().ok())
            .collect();
        let keys = keys.iter().enumerate();
        let gone = keys.filter(|(number, _)| !present.contains(number));
        absent.extend(gone.map(|(_, key)| key.clone()));
    }
    Ok(absent)
}

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
