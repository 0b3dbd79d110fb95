//! PostgreSQL's SQL in `query` and `shell`: one session, so that transactions work.

use async_trait::async_trait;

use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, PostgresError, literal};
use crate::components::console::{Form, Session, Talk, answered};
use crate::environment::Environment;
use crate::error::{Code, Error, Location, Result};

#[async_trait]
impl Talk for PostgresSettings {
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>> {
        let session = self.session(env).await;
        Ok(Box::new(session.map_err(|error| refused("", &error))?))
    }

    fn described(&self, table: Option<&str>) -> String {
        match table {
            None => "SELECT table_schema AS schema, table_name AS name, lower(table_type) AS kind FROM information_schema.tables \
                     WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
                .to_owned(),
            Some(table) => format!(
                "SELECT a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable, \
                 pg_get_expr(d.adbin, d.adrelid) AS default, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid \
                 AND i.indisprimary AND a.attnum = ANY (i.indkey)) AS key \
                 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                literal(table)
            ),
        }
    }
}

#[async_trait]
impl Session for Postgres {
    async fn run(&mut self, sql: &str, form: Form) -> Result<String> {
        let answers = self.answers(sql).await;
        let answers = answers.map_err(|error| refused(sql, &error))?;
        Ok(answered(&answers, form))
    }
}

fn refused(sql: &str, error: &PostgresError) -> Error {
    let found = Error::new(Code::Service, error.to_string());
    let PostgresError::Server { position, more, .. } = error else {
        return found;
    };
    let found = found.details(more.clone());
    match position.and_then(|position| place(sql, position)) {
        Some(location) => found.at(location),
        None => found,
    }
}

/// Line and column of a character of the statement, both from 1.
fn place(sql: &str, position: u32) -> Option<Location> {
    let before = usize::try_from(position).ok()?.checked_sub(1)?;
    let before: String = sql.chars().take(before).collect();
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    Some(Location {
        file: "statement".into(),
        line,
        column: last.chars().count() + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place_in_the_statement() {
        let error = refused(
            "SELECT 1,\n  fom x",
            &PostgresError::Server {
                sqlstate: "42601".into(),
                message: "syntax error".into(),
                position: Some(13),
                more: vec!["more".into()],
            },
        );
        assert!(error.to_string().starts_with("statement:2:3: "), "{error}");
        assert_eq!(error.details, ["more"]);
    }
}
