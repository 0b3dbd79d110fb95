//! Projections in PostgreSQL.
//!
//! One statement adds a batch up: ids that are there already fall out, the rest is grouped by key. Numbers never leave
//! PostgreSQL: they go in as the text of the payload, and add up as `numeric`.
//!
//! A replay's rows are inserted into the projection's own table in one transaction: whoever reads it sees the old rows until the
//! new ones are there, and its grants and views stay. Renaming tables would take both away.

use async_trait::async_trait;
use serde_json::json;

use super::service;
use super::settings::PostgresSettings;
use crate::clients::postgres::{Postgres, ident, literal, table};
use crate::components::projections::{
    Added, Event, Moves, Place, Positions, Projections, Rows, Session,
};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::schema::Projection;

/// Where positions and ids are kept.
const MADE: &str = "CREATE SCHEMA IF NOT EXISTS cdc_projections; \
    CREATE TABLE IF NOT EXISTS cdc_projections.positions \
      (projection text, partition integer, next bigint NOT NULL, PRIMARY KEY (projection, partition)); \
    CREATE TABLE IF NOT EXISTS cdc_projections.events (projection text, id text, PRIMARY KEY (projection, id))";

/// The SQLSTATE that a batch ends with where the positions are others.
const MOVED: &str = "CDC01";

#[async_trait]
impl Projections for PostgresSettings {
    async fn open(&self, env: &Environment) -> Result<Box<dyn Session>> {
        let session = self.session(env).await;
        Ok(Box::new(session.map_err(|error| service(&error))?))
    }
}

#[async_trait]
impl Session for Postgres {
    async fn prepare(&self, projection: &Projection) -> Result<()> {
        run(self, MADE).await?;
        let rows = self.query(&columns(projection)).await;
        let rows = rows.map_err(|error| service(&error))?;
        let found: Vec<(String, String, bool)> = rows
            .into_iter()
            .map(|row| {
                let mut cells = row.into_iter().map(Option::unwrap_or_default);
                let mut next = || cells.next().unwrap_or_default();
                (next(), next(), next() == "t")
            })
            .collect();
        unfit(projection, &found).map_or(Ok(()), Err)
    }

    async fn claim(&self, name: &str) -> Result<bool> {
        let sql = format!("SELECT pg_try_advisory_lock({})", lock(name));
        truth(self, &sql).await
    }

    async fn is_claimed(&self, name: &str) -> Result<bool> {
        let key = lock(name);
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 \
             AND ((classid::bigint << 32) | objid::bigint) = {key} AND pid <> pg_backend_pid())"
        );
        truth(self, &sql).await
    }

    async fn positions(&self, name: &str, place: Place) -> Result<Positions> {
        let sql = format!(
            "SELECT partition, next FROM cdc_projections.positions WHERE projection = {}",
            literal(&kept(name, place))
        );
        let rows = self.query(&sql).await.map_err(|error| service(&error))?;
        let number = |cell: &Option<String>| cell.as_deref().unwrap_or_default().parse().ok();
        let rows = rows.iter().filter_map(|row| {
            let partition = number(&row[0])?;
            Some((i32::try_from(partition).ok()?, number(&row[1])?))
        });
        Ok(rows.collect())
    }

    async fn add(
        &self,
        name: &str,
        projection: &Projection,
        place: Place,
        events: &[Event],
        moves: &Moves,
    ) -> Result<Added> {
        match self
            .query(&added(name, projection, place, events, moves))
            .await
        {
            Ok(rows) => {
                let new = rows
                    .first()
                    .and_then(|row| row.first()?.as_deref()?.parse().ok());
                Ok(Added::New(new.unwrap_or_default()))
            }
            Err(error) => match error.sqlstate() {
                Some(MOVED) => Ok(Added::Moved),
                // Data that does not fit, or a constraint that it breaks.
                Some(state) if state.starts_with("22") || state.starts_with("23") => {
                    Ok(Added::Refused(error.to_string()))
                }
                _ => Err(service(&error)),
            },
        }
    }

    async fn rows(&self, projection: &Projection, query: Option<&str>) -> Result<Rows> {
        let rows = self.query(&selected(projection, query)).await;
        let rows = rows.map_err(|error| service(&error))?;
        let row = |row: Vec<Option<String>>| {
            let mut cells = row.into_iter();
            (cells.next().flatten().unwrap_or_default(), cells.collect())
        };
        Ok(rows.into_iter().map(row).collect())
    }

    async fn begin_replay(&self, name: &str, projection: &Projection) -> Result<()> {
        let shadow = kept(name, Place::Shadow);
        let sql = format!(
            "DROP TABLE IF EXISTS {beside}; CREATE TABLE {beside} (LIKE {own} INCLUDING ALL); {}",
            forget(&shadow),
            beside = at(projection, Place::Shadow),
            own = at(projection, Place::Own),
        );
        run(self, &sql).await
    }

    async fn end_replay(&self, name: &str, projection: &Projection) -> Result<()> {
        let (own, shadow) = (
            literal(&kept(name, Place::Own)),
            literal(&kept(name, Place::Shadow)),
        );
        let (into, beside) = (at(projection, Place::Own), at(projection, Place::Shadow));
        // A runner that adds up meanwhile has the rows of its positions locked, or finds them changed.
        let sql = format!(
            "SELECT FROM cdc_projections.positions WHERE projection = {own} FOR UPDATE; {} \
             DELETE FROM {into}; INSERT INTO {into} SELECT * FROM {beside}; \
             UPDATE cdc_projections.positions SET projection = {own} WHERE projection = {shadow}; \
             UPDATE cdc_projections.events SET projection = {own} WHERE projection = {shadow}; \
             DROP TABLE {beside}",
            forget(&kept(name, Place::Own)),
        );
        run(self, &sql).await
    }
}

/// Statements that are sent together are one transaction.
async fn run(session: &Postgres, sql: &str) -> Result<()> {
    let done = session.execute(sql).await;
    done.map(drop).map_err(|error| service(&error))
}

async fn truth(session: &Postgres, sql: &str) -> Result<bool> {
    let value = session.value(sql).await.map_err(|error| service(&error))?;
    Ok(value.as_deref() == Some("t"))
}

/// A number for a projection, of which a session has the lock.
fn lock(name: &str) -> String {
    format!(
        "hashtextextended({}, 0)",
        literal(&format!("cdc_projections {name}"))
    )
}

/// What its positions and ids are kept under.
fn kept(name: &str, place: Place) -> String {
    match place {
        Place::Own => name.to_owned(),
        Place::Shadow => format!("{name} replay"),
    }
}

fn forget(kept: &str) -> String {
    let kept = literal(kept);
    format!(
        "DELETE FROM cdc_projections.positions WHERE projection = {kept}; \
         DELETE FROM cdc_projections.events WHERE projection = {kept};"
    )
}

/// The table.
fn at(projection: &Projection, place: Place) -> String {
    match place {
        Place::Own => table(&projection.table),
        Place::Shadow => table(&format!("{}_replay", projection.table)),
    }
}

/// Its columns with their types, and whether a number keeps all of its digits there.
fn columns(projection: &Projection) -> String {
    format!(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), \
         a.atttypid IN ('int8'::regtype, 'numeric'::regtype) AND a.atttypmod = -1 \
         FROM pg_attribute a WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped",
        literal(&table(&projection.table))
    )
}

/// What keeps the table from holding counts and sums; none if nothing does.
fn unfit(projection: &Projection, found: &[(String, String, bool)]) -> Option<Error> {
    let own = &projection.table;
    if found.is_empty() {
        let what = format!("there is no table {own}");
        let hint =
            "create it, with a primary key, a bigint for the count and a numeric for each sum";
        return Some(Error::new(Code::Drift, what).hint(hint));
    }
    let names = [&projection.key, &projection.count];
    let names = names.into_iter().chain(projection.sum.keys());
    names.into_iter().find_map(|name| {
        let Some((_, kind, is_whole)) = found.iter().find(|(column, ..)| column == name) else {
            let what = format!("{own} has no column `{name}`");
            let known = found.iter().map(|(column, ..)| column.as_str());
            return Some(Error::new(Code::Drift, what).meant(name, known, "add it"));
        };
        let is_sum = projection.sum.contains_key(name);
        let wanted = match is_sum {
            true => kind == "numeric",
            false => name == &projection.key || *is_whole,
        };
        (!wanted).then(|| {
            let right = if is_sum { "numeric" } else { "bigint" };
            let what = format!("`{name}` of {own} is {kind}, which would round or overflow");
            Error::new(Code::Drift, what).hint(format!(
                "ALTER TABLE {} ALTER {} TYPE {right}",
                table(own),
                ident(name)
            ))
        })
    })
}

/// Adds events up and moves positions; gives how many were new.
fn added(
    name: &str,
    projection: &Projection,
    place: Place,
    events: &[Event],
    moves: &Moves,
) -> String {
    let own = literal(&kept(name, place));
    let wanted = moves
        .iter()
        .map(|(partition, (from, _))| format!("({partition}, {}::bigint)", from.unwrap_or(-1)));
    let moved = moves
        .iter()
        .map(|(partition, (_, to))| format!("({own}, {partition}, {to})"));
    let guard = format!(
        "DO $cdc$ BEGIN \
         PERFORM FROM cdc_projections.positions WHERE projection = {own} FOR UPDATE; \
         IF EXISTS (SELECT FROM (VALUES {}) AS wanted (partition, next) \
             LEFT JOIN cdc_projections.positions found ON found.projection = {own} AND found.partition = wanted.partition \
             WHERE coalesce(found.next, -1) <> wanted.next) THEN \
         RAISE EXCEPTION USING ERRCODE = '{MOVED}', MESSAGE = 'the positions are others'; END IF; END $cdc$; \
         INSERT INTO cdc_projections.positions VALUES {} \
         ON CONFLICT (projection, partition) DO UPDATE SET next = EXCLUDED.next; ",
        wanted.collect::<Vec<_>>().join(", "),
        moved.collect::<Vec<_>>().join(", "),
    );
    if events.is_empty() {
        return guard;
    }
    let batch = events
        .iter()
        .map(|it| json!({ "id": it.id, "payload": it.payload }));
    let batch = serde_json::Value::from_iter(batch).to_string();
    let (into, key) = (at(projection, place), ident(&projection.key));
    let columns: Vec<String> = [&projection.count]
        .into_iter()
        .chain(projection.sum.keys())
        .map(|it| ident(it))
        .collect();
    let sums = projection
        .sum
        .values()
        .map(|field| format!(", sum((payload ->> {})::numeric)", literal(field)));
    let grown = columns
        .iter()
        .map(|it| format!("{it} = own.{it} + EXCLUDED.{it}"));
    format!(
        "{guard}\
         WITH batch AS (SELECT id, payload::jsonb AS payload FROM json_to_recordset({}) AS it (id text, payload text)), \
         new AS (INSERT INTO cdc_projections.events SELECT DISTINCT {own}, id FROM batch ON CONFLICT DO NOTHING RETURNING id), \
         each AS (SELECT DISTINCT ON (id) id, payload FROM batch JOIN new USING (id)), \
         put AS (INSERT INTO {into} AS own ({key}, {}) \
           SELECT (json_populate_record(NULL::{into}, json_build_object({}, payload -> {}))).{key}, count(*){} \
           FROM each GROUP BY 1 ON CONFLICT ({key}) DO UPDATE SET {}) \
         SELECT count(*) FROM new",
        literal(&batch),
        columns.join(", "),
        literal(&projection.key),
        literal(&projection.key),
        sums.collect::<String>(),
        grown.collect::<Vec<_>>().join(", "),
    )
}

/// The rows of the table, or of a query that gives its columns.
fn selected(projection: &Projection, query: Option<&str>) -> String {
    let from = match query {
        Some(query) => format!("({query}) AS truth"),
        None => table(&projection.table),
    };
    let sums = projection.sum.keys();
    let sums = sums.map(|it| format!(", trim_scale({}::numeric)::text", ident(it)));
    format!(
        "SELECT {}::text, {}::text{} FROM {from}",
        ident(&projection.key),
        ident(&projection.count),
        sums.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projection() -> Projection {
        serde_json::from_value(json!({
            "topic": "outbox.events", "events": ["OrderPlaced"], "into": "postgres", "table": "public.order_totals",
            "key": "customer_id", "count": "orders", "sum": { "total": "amount" }, "queue": "dlq", "truth": "SELECT 1",
        }))
        .expect("a projection")
    }

    #[test]
    fn what_would_round_is_refused() {
        let found = |total: &str, whole: bool| {
            [
                ("customer_id", "bigint", true),
                ("orders", "bigint", true),
                ("total", total, whole),
            ]
            .map(|(name, kind, whole)| (name.to_owned(), kind.to_owned(), whole))
        };
        assert!(unfit(&projection(), &found("numeric", true)).is_none());
        for (kind, whole) in [
            ("numeric(12,2)", false),
            ("bigint", true),
            ("double precision", false),
        ] {
            let error = unfit(&projection(), &found(kind, whole)).expect("an error");
            assert!(error.to_string().contains(kind), "{error}");
        }
        assert!(
            unfit(&projection(), &[])
                .expect("an error")
                .to_string()
                .contains("no table")
        );
    }

    #[test]
    fn a_batch_is_one_transaction_that_quotes_what_it_is_given() {
        let event = Event {
            partition: 0,
            offset: 7,
            id: "it's".into(),
            payload: r#"{"customer_id": 1, "amount": 0.10}"#.into(),
        };
        let moves = Moves::from([(0, (Some(7), 8)), (1, (None, 0))]);
        let sql = added("order_totals", &projection(), Place::Own, &[event], &moves);
        assert!(
            sql.contains("(VALUES (0, 7::bigint), (1, -1::bigint))"),
            "{sql}"
        );
        assert!(
            sql.contains("VALUES ('order_totals', 0, 8), ('order_totals', 1, 0)"),
            "{sql}"
        );
        assert!(sql.contains(r#""id":"it''s""#), "{sql}");
        assert!(sql.contains(r#"\"amount\": 0.10"#), "{sql}");
        assert!(
            sql.contains("\"total\" = own.\"total\" + EXCLUDED.\"total\""),
            "{sql}"
        );
    }
}
