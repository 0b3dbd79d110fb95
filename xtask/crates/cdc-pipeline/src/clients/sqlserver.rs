//! SQL Server over TDS: statements as texts, values as texts.

use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Span};
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, QueryItem, error, time};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::answer::{Answer, Row};
use crate::endpoint::{Endpoint, Tls};

/// How long a connection may take, with its login.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
/// How long the server may be silent while it works on a statement: a table may be large.
const ANSWERS_WITHIN: Duration = Duration::from_secs(600);

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum SqlserverError {
    /// No connection: not there, not accepting, or with another certificate.
    #[error("SQL Server at {address} does not answer: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server answered with an error.
    #[error("SQL Server refused: {message} (error {code})")]
    Server {
        /// Its number, which classifies it.
        code: u32,
        /// Its message.
        message: String,
    },
}

impl SqlserverError {
    /// Whether the server refused the login: 18456 a wrong login, 18470 one that is disabled, 18487 and 18488 a password
    /// that is to be changed.
    pub fn is_refused_login(&self) -> bool {
        matches!(
            self,
            SqlserverError::Server {
                code: 18456 | 18470 | 18487 | 18488,
                ..
            }
        )
    }

    /// Whether the database is not there, or the login may not use it.
    pub fn is_missing_database(&self) -> bool {
        matches!(
            self,
            SqlserverError::Server {
                code: 911 | 916 | 4060,
                ..
            }
        )
    }

    /// Whether a right is missing: 229 on an object, 230 on a column, 262 in a database, 297 and 300 on the server, 15247
    /// for an action, 22902 and 22904 for change data capture.
    pub fn is_missing_right(&self) -> bool {
        matches!(
            self,
            SqlserverError::Server {
                code: 229 | 230 | 262 | 297 | 300 | 15247 | 22902 | 22904,
                ..
            }
        )
    }
}

/// One session.
#[derive(Debug)]
pub struct Sqlserver {
    session: Mutex<Client<Compat<TcpStream>>>,
    address: String,
}

impl Sqlserver {
    /// Logs in, and uses a database.
    ///
    /// # Errors
    /// See [`SqlserverError`].
    pub async fn connect(endpoint: &Endpoint, database: &str) -> Result<Self, SqlserverError> {
        let address = endpoint.address();
        let config = config(endpoint, database);
        let session = tokio::time::timeout(CONNECTS_WITHIN, async {
            let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
            stream.set_nodelay(true)?;
            Client::connect(config, stream.compat_write()).await
        });
        let session = session
            .await
            .map_err(|_| SqlserverError::Connect {
                address: address.clone(),
                reason: format!("no answer within {} s", CONNECTS_WITHIN.as_secs()),
            })?
            .map_err(|error| failed(&address, error))?;
        Ok(Sqlserver {
            session: Mutex::new(session),
            address,
        })
    }

    /// Runs statements, batch by batch, and returns what they gave.
    ///
    /// # Errors
    /// See [`SqlserverError`].
    pub async fn answers(&self, sql: &str) -> Result<Vec<Answer>, SqlserverError> {
        let mut session = self.session.lock().await;
        let mut answers = Vec::new();
        for batch in batches(sql) {
            let mut found = self.batch(&mut session, &batch).await?;
            if found.is_empty() {
                // The protocol's library keeps this to itself; the server remembers it for the next batch.
                let mut counted = self.batch(&mut session, "SELECT @@ROWCOUNT").await?;
                let count = counted.pop().and_then(|it| it.rows.into_iter().next());
                let count = count.and_then(|row| row.into_iter().next()?);
                found.push(Answer {
                    count: count.and_then(|it| it.parse().ok()).unwrap_or_default(),
                    ..Answer::default()
                });
            }
            answers.append(&mut found);
        }
        Ok(answers)
    }

    /// What one batch gave, for each statement that gives rows.
    async fn batch(
        &self,
        session: &mut Client<Compat<TcpStream>>,
        sql: &str,
    ) -> Result<Vec<Answer>, SqlserverError> {
        let failed = |error| failed(&self.address, error);
        let mut items = session.simple_query(sql).await.map_err(failed)?;
        let mut answers: Vec<Answer> = Vec::new();
        while let Some(item) = items.try_next().await.map_err(failed)? {
            match item {
                QueryItem::Metadata(found) => answers.push(Answer {
                    columns: found
                        .columns()
                        .iter()
                        .map(|it| it.name().to_owned())
                        .collect(),
                    ..Answer::default()
                }),
                QueryItem::Row(row) => {
                    if let Some(answer) = answers.last_mut() {
                        answer.rows.push(row.into_iter().map(text).collect());
                        answer.count += 1;
                    }
                }
            }
        }
        Ok(answers)
    }

    /// Runs statements and returns the rows of all of them.
    ///
    /// # Errors
    /// See [`SqlserverError`].
    pub async fn query(&self, sql: &str) -> Result<Vec<Row>, SqlserverError> {
        let answers = self.answers(sql).await?.into_iter();
        Ok(answers.flat_map(|answer| answer.rows).collect())
    }

    /// The first column of the first row.
    ///
    /// # Errors
    /// See [`SqlserverError`].
    pub async fn value(&self, sql: &str) -> Result<Option<String>, SqlserverError> {
        let rows = self.query(sql).await?;
        Ok(rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next()?))
    }

    /// Runs statements; says how many rows the last one of each batch changed.
    ///
    /// # Errors
    /// See [`SqlserverError`].
    pub async fn execute(&self, sql: &str) -> Result<u64, SqlserverError> {
        let answers = self.answers(sql).await?;
        Ok(answers.iter().map(|answer| answer.count).sum())
    }
}

fn config(endpoint: &Endpoint, database: &str) -> Config {
    let mut config = Config::new();
    config.host(&endpoint.host);
    config.port(endpoint.port);
    config.database(database);
    config.application_name("cargo xtask");
    config.authentication(AuthMethod::sql_server(
        &endpoint.user,
        endpoint.password.expose(),
    ));
    config.handshake_timeout(Some(CONNECTS_WITHIN));
    config.command_timeout(Some(ANSWERS_WITHIN));
    match &endpoint.tls {
        // The login is encrypted all the same, whoever the server is: it makes a certificate for itself.
        Tls::Disable => {
            config.encryption(EncryptionLevel::Off);
            config.trust_cert();
        }
        Tls::Prefer | Tls::Require => {
            config.encryption(EncryptionLevel::Required);
            config.trust_cert();
        }
        Tls::VerifyFull { ca } => {
            config.encryption(EncryptionLevel::Required);
            config.trust_cert_ca(ca.display());
        }
    }
    config
}

fn failed(address: &str, error: error::Error) -> SqlserverError {
    match error {
        error::Error::Server(error) => SqlserverError::Server {
            code: error.code(),
            message: error.message().to_owned(),
        },
        other => SqlserverError::Connect {
            address: address.to_owned(),
            reason: other.to_string(),
        },
    }
}

/// Batches: lines of `GO` stand between them, as in `sqlcmd`. The server itself does not know `GO`.
fn batches(sql: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in sql.lines() {
        let word = line.trim().trim_end_matches(';');
        match (word.eq_ignore_ascii_case("go"), all.last_mut()) {
            (false, Some(batch)) => {
                batch.push_str(line);
                batch.push('\n');
            }
            _ => all.push(String::new()),
        }
    }
    all.retain(|batch| !batch.trim().is_empty());
    all
}

/// A value as T-SQL writes it.
fn text(value: ColumnData<'static>) -> Option<String> {
    match value {
        ColumnData::U8(it) => it.map(|it| it.to_string()),
        ColumnData::I16(it) => it.map(|it| it.to_string()),
        ColumnData::I32(it) => it.map(|it| it.to_string()),
        ColumnData::I64(it) => it.map(|it| it.to_string()),
        ColumnData::F32(it) => it.map(|it| it.to_string()),
        ColumnData::F64(it) => it.map(|it| it.to_string()),
        ColumnData::Bit(it) => it.map(|it| u8::from(it).to_string()),
        ColumnData::String(it) => it.map(std::borrow::Cow::into_owned),
        ColumnData::Guid(it) => it.map(|it| it.to_string().to_uppercase()),
        ColumnData::Binary(it) => it.map(|it| binary(&it)),
        ColumnData::Numeric(it) => it.map(|it| decimal(it.value(), it.scale())),
        ColumnData::Xml(it) => it.map(|it| it.to_string()),
        ColumnData::DateTime(it) => it.and_then(|it| {
            // Of a second there are 300 parts.
            let millis = (i64::from(it.seconds_fragments()) * 10 + 1) / 3;
            let at = day(1900, i64::from(it.days()))?.at(0, 0, 0, 0);
            let at = at.checked_add(SignedDuration::from_millis(millis)).ok()?;
            Some(moment(at, 3))
        }),
        ColumnData::SmallDateTime(it) => it.and_then(|it| {
            let at = day(1900, i64::from(it.days()))?.at(0, 0, 0, 0);
            let minutes = i64::from(it.seconds_fragments());
            let at = at.checked_add(SignedDuration::from_mins(minutes)).ok()?;
            Some(moment(at, 0))
        }),
        ColumnData::Date(it) => it.and_then(|it| Some(day(1, i64::from(it.days()))?.to_string())),
        ColumnData::Time(it) => it.and_then(|it| {
            let at = day(1, 0)?
                .at(0, 0, 0, 0)
                .checked_add(since_midnight(it))
                .ok()?;
            let whole = moment(at, it.scale());
            Some(whole.split_once(' ')?.1.to_owned())
        }),
        ColumnData::DateTime2(it) => it.and_then(|it| Some(moment(joined(it)?, it.time().scale()))),
        ColumnData::DateTimeOffset(it) => it.and_then(|it| {
            let (utc, minutes) = (it.datetime2(), i64::from(it.offset()));
            let at = joined(utc)?;
            let at = at.checked_add(SignedDuration::from_mins(minutes)).ok()?;
            let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
            let sign = if minutes < 0 { '-' } else { '+' };
            let local = moment(at, utc.time().scale());
            Some(format!("{local} {sign}{hours:02}:{rest:02}"))
        }),
    }
}

/// So many days after the first one of a year.
fn day(year: i16, days: i64) -> Option<Date> {
    let first = jiff::civil::date(year, 1, 1);
    first.checked_add(Span::new().try_days(days).ok()?).ok()
}

fn since_midnight(time: time::Time) -> SignedDuration {
    let unit = 10_u64.pow(9_u32.saturating_sub(u32::from(time.scale())));
    let nanos = time.increments().saturating_mul(unit);
    SignedDuration::from_nanos(i64::try_from(nanos).unwrap_or_default())
}

fn joined(at: time::DateTime2) -> Option<DateTime> {
    let midnight = day(1, i64::from(at.date().days()))?.at(0, 0, 0, 0);
    midnight.checked_add(since_midnight(at.time())).ok()
}

/// A date and a time with so many digits of its seconds.
fn moment(at: DateTime, digits: u8) -> String {
    let whole = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    match usize::from(digits) {
        0 => whole,
        digits => format!(
            "{whole}.{}",
            &format!("{:09}", at.subsec_nanosecond())[..digits.min(9)]
        ),
    }
}

fn decimal(value: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    match fraction {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

fn binary(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("0x{digits}")
}

/// A name in SQL.
pub fn ident(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// A text in SQL.
pub fn literal(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// `database.schema.table` in SQL.
pub fn table(name: &str) -> String {
    let parts: Vec<String> = name.split('.').map(ident).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_end_where_they_end() {
        assert_eq!(literal("it's"), "N'it''s'");
        assert_eq!(table("shop.dbo.o]rders"), "[shop].[dbo].[o]]rders]");
    }

    #[test]
    fn go_ends_a_batch_and_is_no_statement() {
        let sql = "CREATE SCHEMA a\nGO\n\n go; \nSELECT 'GO'\nSELECT 1 AS ago\n";
        assert_eq!(
            batches(sql),
            ["CREATE SCHEMA a\n", "SELECT 'GO'\nSELECT 1 AS ago\n"]
        );
        assert_eq!(batches("  \nGO\n"), Vec::<String>::new());
    }

    #[test]
    fn values_are_written_as_the_server_writes_them() {
        let date = |days| time::Date::new(days);
        let at = |days, increments, scale| {
            time::DateTime2::new(date(days), time::Time::new(increments, scale))
        };
        let cases = [
            (ColumnData::Bit(Some(true)), "1"),
            (ColumnData::Binary(Some(vec![0, 171].into())), "0x00AB"),
            (
                ColumnData::Numeric(Some(tiberius::numeric::Numeric::new_with_scale(-5, 2))),
                "-0.05",
            ),
            (ColumnData::Date(Some(date(738_155))), "2022-01-01"),
            (
                ColumnData::DateTime(Some(time::DateTime::new(44_560, 299))),
                "2022-01-01 00:00:00.997",
            ),
            (
                ColumnData::SmallDateTime(Some(time::SmallDateTime::new(44_560, 61))),
                "2022-01-01 01:01:00",
            ),
            (
                ColumnData::DateTime2(Some(at(738_155, 12_345_678, 7))),
                "2022-01-01 00:00:01.2345678",
            ),
            (
                ColumnData::DateTimeOffset(Some(time::DateTimeOffset::new(at(738_155, 0, 0), -90))),
                "2021-12-31 22:30:00 -01:30",
            ),
            (
                ColumnData::Time(Some(time::Time::new(3_600_000, 3))),
                "01:00:00.000",
            ),
        ];
        for (value, written) in cases {
            assert_eq!(text(value).as_deref(), Some(written));
        }
        assert_eq!(text(ColumnData::I32(None)), None);
    }

    #[test]
    fn errors_are_told_apart_by_their_numbers() {
        let server = |code| SqlserverError::Server {
            code,
            message: String::new(),
        };
        assert!(server(18456).is_refused_login() && !server(4060).is_refused_login());
        assert!(server(4060).is_missing_database());
        assert!(server(229).is_missing_right() && !server(208).is_missing_right());
    }
}
