//! PostgreSQL over its own protocol.

mod tls;

use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::answer::{Answer, Row};
use super::tls::TlsProblem;
use crate::endpoint::{Endpoint, Tls};
use tls::{Connector, problem};

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
    /// No connection: it cannot be encrypted as is wanted.
    #[error("no TLS connection to PostgreSQL at {address}: {problem}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        problem: TlsProblem,
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
            PostgresError::Connect { .. } | PostgresError::Tls { .. } => None,
        }
    }
}

impl PostgresError {
    /// Whether another way of transport may do: the server's rules for TLS are its own (SQLSTATE 28000).
    fn is_of_transport(&self) -> bool {
        matches!(self, PostgresError::Tls { .. }) || self.sqlstate() == Some("28000")
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
        let mode = match endpoint.tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyFull { .. } => SslMode::Require,
        };
        let mut config = Config::new();
        config
            .host(&endpoint.host)
            .port(endpoint.port)
            .user(&endpoint.user)
            .password(endpoint.password.expose())
            .dbname(database)
            .application_name("cargo xtask")
            .connect_timeout(Duration::from_secs(5))
            .ssl_mode(mode);
        let client = match &endpoint.tls {
            Tls::Disable => plain(&config, &address).await,
            tls => {
                let unusable = |problem| PostgresError::Tls {
                    address: address.clone(),
                    problem,
                };
                let connector = Connector::new(tls).map_err(unusable)?;
                let encrypted = encrypted(&config, connector, &address).await;
                match (mode, encrypted) {
                    // A server that takes it unencrypted only.
                    (SslMode::Prefer, Err(error)) if error.is_of_transport() => {
                        let again = plain(config.ssl_mode(SslMode::Disable), &address).await;
                        again.map_err(|_| error)
                    }
                    (_, encrypted) => encrypted,
                }
            }
        }?;
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

// A connection ends with its client; what it has to say, the client's calls say too.
async fn plain(config: &Config, address: &str) -> Result<Client, PostgresError> {
    let (client, connection) = config
        .connect(NoTls)
        .await
        .map_err(|error| failed(address, &error))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

async fn encrypted(
    config: &Config,
    connector: Connector,
    address: &str,
) -> Result<Client, PostgresError> {
    let (client, connection) = config
        .connect(connector)
        .await
        .map_err(|error| failed(address, &error))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
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
        None => match problem(error) {
            Some(problem) => PostgresError::Tls {
                address: address.to_owned(),
                problem,
            },
            None => PostgresError::Connect {
                address: address.to_owned(),
                reason: crate::error::reason(error),
            },
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
