//! PostgreSQL over its own protocol.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::answer::{Answer, Row};
use crate::endpoint::Endpoint;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No connection: not there, or not accepting.
    #[error("PostgreSQL at {address} does not answer: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server answered with an error.
    #[error("PostgreSQL refused: {message} (SQLSTATE {sqlstate})")]
    Server {
        /// The five characters that classify it.
        sqlstate: String,
        /// Its message.
        message: String,
        /// Where in the statement, in characters from 1.
        position: Option<u32>,
        /// What the server adds: its detail and its hint.
        more: Vec<String>,
    },
}

impl PostgresError {
    /// The SQLSTATE, if the server answered.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            PostgresError::Server { sqlstate, .. } => Some(sqlstate),
            PostgresError::Connect { .. } => None,
        }
    }
}

/// One session.
#[derive(Debug)]
pub struct Postgres {
    client: Client,
    address: String,
}

impl Postgres {
    /// Logs in.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn connect(endpoint: &Endpoint, database: &str) -> Result<Self, PostgresError> {
        let address = endpoint.address();
        let (client, connection) = Config::new()
            .host(&endpoint.host)
            .port(endpoint.port)
            .user(&endpoint.user)
            .password(endpoint.password.expose())
            .dbname(database)
            .application_name("cargo xtask")
            .connect_timeout(Duration::from_secs(5))
            .connect(NoTls)
            .await
            .map_err(|error| failed(&address, &error))?;
        // The connection ends with its client; what it has to say, the client's calls say too.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Postgres { client, address })
    }

    /// Runs statements and returns the rows of all of them.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn query(&self, sql: &str) -> Result<Vec<Row>, PostgresError> {
        let messages = self
            .client
            .simple_query(sql)
            .await
            .map_err(|error| failed(&self.address, &error))?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|column| row.get(column).map(str::to_owned))
                        .collect(),
                ),
                _ => None,
            })
            .collect())
    }

    /// Runs statements and returns what each of them gave.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn answers(&self, sql: &str) -> Result<Vec<Answer>, PostgresError> {
        let messages = self
            .client
            .simple_query(sql)
            .await
            .map_err(|error| failed(&self.address, &error))?;
        let mut answers = Vec::new();
        let mut answer = Answer::default();
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    let names = columns.iter().map(|column| column.name().to_owned());
                    answer.columns = names.collect();
                }
                SimpleQueryMessage::Row(row) => answer.rows.push(
                    (0..row.len())
                        .map(|column| row.get(column).map(str::to_owned))
                        .collect(),
                ),
                SimpleQueryMessage::CommandComplete(count) => {
                    answer.count = count;
                    answers.push(std::mem::take(&mut answer));
                }
                _ => {}
            }
        }
        Ok(answers)
    }

    /// The first column of the first row.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn value(&self, sql: &str) -> Result<Option<String>, PostgresError> {
        Ok(self
            .query(sql)
            .await?
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next().flatten()))
    }

    /// Runs statements and returns how many rows they changed.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn execute(&self, sql: &str) -> Result<u64, PostgresError> {
        let messages = self
            .client
            .simple_query(sql)
            .await
            .map_err(|error| failed(&self.address, &error))?;
        Ok(messages
            .iter()
            .map(|message| match message {
                SimpleQueryMessage::CommandComplete(rows) => *rows,
                _ => 0,
            })
            .sum())
    }
}

fn failed(address: &str, error: &tokio_postgres::Error) -> PostgresError {
    match error.as_db_error() {
        Some(db) => PostgresError::Server {
            sqlstate: db.code().code().to_owned(),
            message: db.message().to_owned(),
            position: match db.position() {
                Some(tokio_postgres::error::ErrorPosition::Original(position)) => Some(*position),
                _ => None,
            },
            more: db
                .detail()
                .into_iter()
                .chain(db.hint())
                .map(str::to_owned)
                .collect(),
        },
        None => PostgresError::Connect {
            address: address.to_owned(),
            reason: crate::error::reason(error),
        },
    }
}

/// A text as a literal. `standard_conforming_strings` has been on since PostgreSQL 9.1.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as a quoted identifier.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `schema.table` as a quoted identifier.
pub fn table(name: &str) -> String {
    name.split('.').map(ident).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(literal("O'Hara"), "'O''Hara'");
        assert_eq!(table("public.us\"ers"), "\"public\".\"us\"\"ers\"");
    }
}
