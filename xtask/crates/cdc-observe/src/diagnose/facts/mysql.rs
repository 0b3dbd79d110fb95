//! MySQL: what it writes into its binary log, and which files of it are kept.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::{Gather, ServerFacts};
use crate::components::mysql::settings::MysqlSettings;
use crate::environment::Environment;

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mysql {
    /// Its clock, in milliseconds since the epoch.
    pub clock_ms: Option<u64>,
    /// Whether it writes a binary log.
    pub logs: bool,
    /// `binlog_format`.
    pub format: String,
    /// `binlog_row_image`.
    pub image: String,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// The files of its log, the oldest first.
    pub files: Vec<String>,
}

impl ServerFacts for Mysql {
    fn clock_ms(&self) -> Option<u64> {
        self.clock_ms
    }
}

const SERVER: &str = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED), @@log_bin, \
     @@binlog_format, @@binlog_row_image, @@read_only";

#[async_trait]
impl Gather for Mysql {
    type Own = MysqlSettings;

    async fn ask(env: &Arc<Environment>, own: &MysqlSettings) -> Result<Self, String> {
        let session = own.session(env).await.map_err(|error| error.to_string())?;
        let rows = session.query(SERVER).await;
        let rows = rows.map_err(|error| error.to_string())?;
        let mut cells = rows.into_iter().flatten();
        let mut text = || cells.next().flatten().unwrap_or_default();
        let mut seen = Mysql {
            clock_ms: text().parse().ok(),
            logs: text() == "1",
            format: text(),
            image: text(),
            read_only: text() == "1",
            files: Vec::new(),
        };
        if seen.logs {
            let files = session.query("SHOW BINARY LOGS").await;
            let files = files.map_err(|error| error.to_string())?.into_iter();
            seen.files = files.filter_map(|row| row.into_iter().next()?).collect();
        }
        Ok(seen)
    }
}
