//! MySQL over its own protocol: statements as texts, values as texts.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, IoError, OptsBuilder, Row as Cells, Value};
use tokio::sync::Mutex;

use super::answer::{Answer, Row};
use crate::endpoint::Endpoint;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum MysqlError {
    /// No connection: not there, or not accepting.
    #[error("MySQL at {address} does not answer: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server wants a kind of login that is not spoken here. It asks for any kind where it does
    /// not know the user, so that users cannot be found out by trying.
    #[error("MySQL refused the login: there is no such user, or it logs in by {plugin}")]
    Plugin {
        /// The kind.
        plugin: String,
    },
    /// The server answered with an error.
    #[error("MySQL refused: {message} (error {code})")]
    Server {
        /// Its number, which classifies it.
        code: u16,
        /// Its message.
        message: String,
    },
}

impl MysqlError {
    /// Whether the server refused the login: 1045 a wrong password, 1130 a host that may not, 1698 a user
    /// without a password of its own.
    pub fn is_refused_login(&self) -> bool {
        matches!(
            self,
            MysqlError::Plugin { .. }
                | MysqlError::Server {
                    code: 1045 | 1130 | 1698,
                    ..
                }
        )
    }

    /// Whether a right is missing: 1044 in a database, 1142 on a table, 1143 on a column, 1227 on the server.
    pub fn is_missing_right(&self) -> bool {
        matches!(
            self,
            MysqlError::Server {
                code: 1044 | 1142 | 1143 | 1227,
                ..
            }
        )
    }
}

/// One session.
#[derive(Debug)]
pub struct Mysql {
    session: Mutex<Conn>,
    address: String,
}

impl Mysql {
    /// Logs in.
    ///
    /// # Errors
    /// See [`MysqlError`].
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, MysqlError> {
        let address = endpoint.address();
        let options = OptsBuilder::default()
            .ip_or_hostname(&endpoint.host)
            .tcp_port(endpoint.port)
            .user(Some(&endpoint.user))
            .pass(Some(endpoint.password.expose()))
            .prefer_socket(false);
        let unanswered = |reason: String| MysqlError::Connect {
            address: address.clone(),
            reason,
        };
        let session = tokio::time::timeout(Duration::from_secs(5), Conn::new(options))
            .await
            .map_err(|_| unanswered("no answer within 5 s".into()))?
            .map_err(|error| failed(&address, error))?;
        Ok(Mysql {
            session: Mutex::new(session),
            address,
        })
    }

    /// Runs statements and returns what each of them gave.
    ///
    /// # Errors
    /// See [`MysqlError`].
    pub async fn answers(&self, sql: &str) -> Result<Vec<Answer>, MysqlError> {
        let mut session = self.session.lock().await;
        let failed = |error| failed(&self.address, error);
        let mut result = session.query_iter(sql).await.map_err(failed)?;
        let mut answers = Vec::new();
        while !result.is_empty() || answers.is_empty() {
            let columns = result.columns();
            let columns = columns.iter().flat_map(|it| it.iter());
            let columns: Vec<String> = columns.map(|it| it.name_str().into_owned()).collect();
            let changed = result.affected_rows();
            let rows: Vec<Cells> = result.collect().await.map_err(failed)?;
            let rows: Vec<Row> = rows.into_iter().map(texts).collect();
            let count = match columns.is_empty() {
                true => changed,
                false => rows.len() as u64,
            };
            answers.push(Answer {
                columns,
                rows,
                count,
            });
        }
        Ok(answers)
    }

    /// Runs statements and returns the rows of all of them.
    ///
    /// # Errors
    /// See [`MysqlError`].
    pub async fn query(&self, sql: &str) -> Result<Vec<Row>, MysqlError> {
        let answers = self.answers(sql).await?.into_iter();
        Ok(answers.flat_map(|answer| answer.rows).collect())
    }

    /// The first column of the first row.
    ///
    /// # Errors
    /// See [`MysqlError`].
    pub async fn value(&self, sql: &str) -> Result<Option<String>, MysqlError> {
        let rows = self.query(sql).await?;
        Ok(rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next()?))
    }

    /// Runs statements; says how many rows they changed.
    ///
    /// # Errors
    /// See [`MysqlError`].
    pub async fn execute(&self, sql: &str) -> Result<u64, MysqlError> {
        let answers = self.answers(sql).await?;
        Ok(answers.iter().map(|answer| answer.count).sum())
    }
}

fn failed(address: &str, error: mysql_async::Error) -> MysqlError {
    match error {
        mysql_async::Error::Server(error) => MysqlError::Server {
            code: error.code,
            message: error.message,
        },
        mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
            MysqlError::Plugin { plugin: name }
        }
        mysql_async::Error::Io(IoError::Io(error)) => MysqlError::Connect {
            address: address.to_owned(),
            reason: error.to_string(),
        },
        other => MysqlError::Connect {
            address: address.to_owned(),
            reason: other.to_string(),
        },
    }
}

/// The protocol gives texts as bytes; what is none is shown as MySQL writes bytes.
fn texts(row: Cells) -> Row {
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap_or_else(|error| {
            let bytes = error.as_bytes().iter();
            let digits: String = bytes.map(|byte| format!("{byte:02X}")).collect();
            format!("0x{digits}")
        })),
        other => Some(other.as_sql(true)),
    };
    row.unwrap().into_iter().map(text).collect()
}

/// A name in SQL.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in SQL, the same in every `sql_mode`: a backslash means itself in one and not in another.
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        return format!("_utf8mb4 x'{digits}'");
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// `database.table` in SQL.
pub fn table(name: &str) -> String {
    let parts: Vec<String> = name.split('.').map(ident).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_in_every_mode() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), "_utf8mb4 x'615C2762'");
        assert_eq!(table("shop.o`rders"), "`shop`.`o``rders`");
    }
}
