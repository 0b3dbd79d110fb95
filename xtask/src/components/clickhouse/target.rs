//! ClickHouse as the target: it reads the topics itself, into a flow's silver.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::silver::Silver;
use super::tables::{self, Names};
use crate::clients::clickhouse::{Clickhouse as Client, ident, literal};
use crate::components::target::{End, Target, TargetTable};
use crate::environment::{CLICKHOUSE_CLUSTER, Environment};
use crate::error::Result;
use crate::plan::{Outcome, Progress};
use crate::profile::schema::Flow;
use crate::readiness::Status;

/// The target.
pub struct Clickhouse;

#[async_trait]
impl Target for Clickhouse {
    fn component(&self) -> &'static str {
        "clickhouse"
    }

    async fn create_tables(&self, env: &Environment, progress: &Progress) -> Result<Outcome> {
        tables::create(env, progress).await
    }

    async fn probe_tables(&self, env: &Environment) -> Status {
        tables::probe(env).await
    }

    async fn leave_group(&self, env: &Environment, group: &str) -> Result<()> {
        tables::leave_group(env, group).await
    }

    /// One flow after the other, over the same connection.
    async fn ends(&self, env: &Environment, within: Duration) -> BTreeMap<String, End> {
        let client = env.clickhouse_client();
        let mut found = BTreeMap::new();
        let ask = async {
            for flow in env.profile.flows.keys() {
                if let Some(end) = end(env, &client, flow).await {
                    found.insert(flow.clone(), end);
                }
            }
        };
        let _late = tokio::time::timeout(within, ask).await;
        found
    }

    fn name(&self, env: &Environment, flow: &str) -> String {
        Names::of(env, flow).silver
    }

    fn table<'a>(
        &self,
        env: &'a Environment,
        name: &str,
        flow: &'a Flow,
    ) -> Box<dyn TargetTable + 'a> {
        Box::new(Silver::of(env, name, flow))
    }
}

/// What is at a flow's end; none while it does not answer.
pub(crate) async fn end(env: &Environment, client: &Client, flow: &str) -> Option<End> {
    let names = Names::of(env, flow);
    let silver = ident(&names.silver);
    // One replica of each shard; each server sees its own parts only.
    let parts = match env.several_clickhouse() {
        true => format!("cluster({}, system.parts)", literal(CLICKHOUSE_CLUSTER)),
        false => "system.parts".to_owned(),
    };
    // Row counts come from the parts: counting with FINAL would read a large table whole.
    let sql = format!(
        "SELECT (SELECT toUInt64(sum(rows)) FROM {parts} WHERE active AND database = {database} \
                 AND table = {silver_name}) AS rows, \
                (SELECT toUInt64(toUnixTimestamp64Milli(max(_ingested_at))) FROM {silver}) AS newest, \
                (SELECT toUInt64(count()) FROM {errors}) AS errors",
        database = literal(&env.profile.clickhouse.database),
        silver_name = literal(&names.silver_rows),
        errors = ident(&names.errors),
    );
    let rows: Vec<End> = client.rows(&sql).await.ok()?;
    rows.into_iter().next()
}
