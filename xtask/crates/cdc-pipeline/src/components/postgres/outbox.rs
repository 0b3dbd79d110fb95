//! An outbox: what is wrong with the table whose rows Debezium's event router is to send on.

use super::catalogue::{Relation, relations};
use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, table};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::rules::invalid;

/// Columns that Debezium's event router reads.
const ROUTED: [&str; 5] = ["id", "aggregatetype", "aggregateid", "type", "payload"];

/// What is wrong with the outboxes of a server.
pub(super) async fn check(
    own: &PostgresSettings,
    env: &Environment,
    session: &Postgres,
) -> Result<Vec<Error>> {
    let outboxes = || {
        let connectors = env.connectors(&own.name);
        connectors.filter_map(|(name, it)| Some((name, it.outbox.as_ref()?)))
    };
    let tables = outboxes().map(|(_, outbox)| outbox.table.as_str());
    let found = relations(session, tables).await?;
    let wrong = outboxes().filter_map(|(name, outbox)| {
        let relation = found.get(&outbox.table).and_then(Option::as_ref);
        let (what, hint) = relation.map_or_else(
            || {
                Some((
                    format!("there is no table {} at the source", outbox.table),
                    "create it, then: cargo xtask up".to_owned(),
                ))
            },
            |it| it.unrouted(&outbox.table),
        )?;
        let path = ["connectors", name, "outbox", "table"];
        let mut error = invalid(
            &env.tree,
            &path,
            format!("connector `{name}`: its outbox: {what}"),
        );
        error.code = Code::Drift;
        Some(error.hint(hint))
    });
    Ok(wrong.collect())
}

impl Relation {
    /// Why the event router could not send the rows of this table on, with what helps; none if it can.
    fn unrouted(&self, name: &str) -> Option<(String, String)> {
        if let Some(unlogged) = self.unlogged(name) {
            return Some(unlogged);
        }
        let has = |column: &str| self.columns.iter().any(|it| it.name == column);
        let lacking: Vec<&str> = ROUTED.into_iter().filter(|it| !has(it)).collect();
        if !lacking.is_empty() {
            let what = format!("{name} has no column `{}`", lacking.join("`, `"));
            return Some((
                what,
                format!("an outbox has the columns {}", ROUTED.join(", ")),
            ));
        }
        if self.primary.is_empty() && self.identity != 'f' {
            let what = format!("{name} has no primary key: once it is published, its DELETE fails");
            let hint = format!(
                "as its owner: ALTER TABLE {} ADD PRIMARY KEY (id)",
                table(name)
            );
            return Some((what, hint));
        }
        None
    }
}
