//! ClickHouse over its HTTP interface.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::tls::{TlsProblem, authorities};
use crate::endpoint::{Endpoint, Tls};

/// A server that hangs is found by who asks; one on a busy machine may take long for its first answer.
const PING_WITHIN: Duration = Duration::from_secs(20);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum ClickhouseError {
    /// No answer.
    #[error("ClickHouse at {address} does not answer: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// The transport's reason.
        reason: String,
    },
    /// No connection: it cannot be encrypted as is wanted.
    #[error("no TLS connection to ClickHouse at {address}: {problem}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        problem: TlsProblem,
    },
    /// An exception of the server.
    #[error("ClickHouse refused: {message}")]
    Server {
        /// ClickHouse's number of the exception; 0 if it gave none.
        code: i32,
        /// Its first line.
        message: String,
    },
    /// The answer is not what the query should give.
    #[error("ClickHouse at {address} gave an unexpected answer: {reason}")]
    Answer {
        /// Where.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClickhouseError {
    /// Whether the same query will be refused again: a wrong login, a missing right, or something
    /// that is not there.
    pub fn is_final(&self) -> bool {
        // 47: unknown column; 60: unknown table; 81: unknown database; 192: unknown user; 497: not
        // permitted; 516: wrong password.
        matches!(
            self,
            ClickhouseError::Tls { .. }
                | ClickhouseError::Server {
                    code: 47 | 60 | 81 | 192 | 497 | 516,
                    ..
                }
        )
    }

    /// Whether the login was refused, rather than a statement.
    pub fn is_refused_login(&self) -> bool {
        matches!(
            self,
            ClickhouseError::Server {
                code: 192 | 516,
                ..
            }
        )
    }
}

/// A connection pool to one server.
#[derive(Clone, Debug)]
pub struct Clickhouse {
    http: Result<reqwest::Client, TlsProblem>,
    endpoint: Endpoint,
    database: String,
}

impl Clickhouse {
    /// A client; nothing is connected yet.
    pub fn new(endpoint: Endpoint, database: &str) -> Self {
        Clickhouse {
            http: super::https(&endpoint.tls),
            endpoint,
            database: database.to_owned(),
        }
    }

    fn http(&self) -> Result<&reqwest::Client, ClickhouseError> {
        let http = self.http.as_ref();
        http.map_err(|problem| self.unencrypted(problem.clone()))
    }

    fn unencrypted(&self, problem: TlsProblem) -> ClickhouseError {
        ClickhouseError::Tls {
            address: self.endpoint.address(),
            problem,
        }
    }

    fn lost(&self, error: &reqwest::Error) -> ClickhouseError {
        match TlsProblem::of(error, authorities(&self.endpoint.tls)) {
            Some(problem) => self.unencrypted(problem),
            None => ClickhouseError::Connect {
                address: self.endpoint.address(),
                reason: crate::error::reason(error),
            },
        }
    }

    /// Whether the HTTP interface is up; needs no login.
    ///
    /// # Errors
    /// No answer, or not ClickHouse's.
    pub async fn ping(&self) -> Result<(), ClickhouseError> {
        let ping = self
            .http()?
            .get(format!("{}/ping", self.endpoint.url()))
            .timeout(PING_WITHIN);
        let answer = match ping.send().await {
            Ok(answer) => answer,
            Err(error) if self.endpoint.tls == Tls::Disable && !error.is_connect() => {
                // What is no answer of HTTP may be one of TLS.
                return Err(match self.wants_tls().await {
                    true => self.unencrypted(TlsProblem::Wanted),
                    false => self.lost(&error),
                });
            }
            Err(error) => return Err(self.lost(&error)),
        };
        let text = answer.text().await.map_err(|error| self.lost(&error))?;
        if text.trim() == "Ok." {
            return Ok(());
        }
        Err(ClickhouseError::Answer {
            address: self.endpoint.address(),
            reason: "its /ping is not ClickHouse's".into(),
        })
    }

    /// Whether the server that takes no unencrypted connection takes an encrypted one.
    async fn wants_tls(&self) -> bool {
        let mut encrypted = self.endpoint.clone();
        encrypted.tls = Tls::Require;
        let url = format!("{}/ping", encrypted.url());
        let Ok(http) = super::https(&encrypted.tls) else {
            return false;
        };
        http.get(url).timeout(PING_WITHIN).send().await.is_ok()
    }

    /// Runs one statement and returns what it prints.
    ///
    /// # Errors
    /// See [`ClickhouseError`].
    pub async fn text(&self, sql: &str) -> Result<String, ClickhouseError> {
        self.print(sql, None).await.map(|(text, _)| text)
    }

    /// Runs one statement and returns what it prints, in this format if it names no other, and the
    /// format that it is in.
    ///
    /// # Errors
    /// See [`ClickhouseError`].
    pub async fn formatted(
        &self,
        sql: &str,
        format: &str,
    ) -> Result<(String, Option<String>), ClickhouseError> {
        self.print(sql, Some(format)).await
    }

    async fn print(
        &self,
        sql: &str,
        format: Option<&str>,
    ) -> Result<(String, Option<String>), ClickhouseError> {
        let database = [("database", self.database.as_str())];
        let format = format.map(|format| ("default_format", format));
        let parameters: Vec<(&str, &str)> = database.into_iter().chain(format).collect();
        let password = self.endpoint.password.expose();
        let answer = self
            .http()?
            .post(self.endpoint.url())
            .query(&parameters)
            // A header of its own would lose blanks at the password's ends.
            .basic_auth(&self.endpoint.user, Some(password))
            .body(sql.to_owned())
            .send()
            .await
            .map_err(|error| self.lost(&error))?;
        let status = answer.status();
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let code = header("X-ClickHouse-Exception-Code");
        let code = code.and_then(|code| code.parse().ok()).unwrap_or(0);
        let format = header("X-ClickHouse-Format");
        let text = answer.text().await.map_err(|error| self.lost(&error))?;
        if status.is_success() && code == 0 {
            return Ok((text, format));
        }
        Err(ClickhouseError::Server {
            code,
            message: text.lines().next().unwrap_or_default().to_owned(),
        })
    }

    /// Runs a query without a `FORMAT` clause and returns its rows.
    ///
    /// # Errors
    /// See [`ClickhouseError`].
    pub async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, ClickhouseError> {
        let text = self
            .text(&format!(
                "{sql}\nSETTINGS output_format_json_quote_64bit_integers = 0\nFORMAT JSONEachRow"
            ))
            .await?;
        text.lines()
            .map(|line| {
                serde_json::from_str(line).map_err(|error| ClickhouseError::Answer {
                    address: self.endpoint.address(),
                    reason: error.to_string(),
                })
            })
            .collect()
    }
}

/// A name as a quoted identifier.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text as a literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
