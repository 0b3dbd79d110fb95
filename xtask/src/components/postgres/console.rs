//! PostgreSQL's SQL in `query` and `shell`: one session, so that transactions work.

use async_trait::async_trait;

use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, PostgresError};
use crate::components::console::{Form, Session, Talk, answered};
use crate::environment::Environment;
use crate::error::{Code, Error, Location, Result};

#[async_trait]
impl Talk for PostgresSettings {
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>> {
        let session = self.session(env).await;
        Ok(Box::new(session.map_err(|error| refused("", &error))?))
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
