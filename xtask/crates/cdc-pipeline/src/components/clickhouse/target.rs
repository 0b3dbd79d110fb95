//! ClickHouse as the target: it reads the topics itself, into a flow's silver.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::leftovers;
use super::names::Names;
use super::settings::{CLUSTER, ClickhouseSettings};
use super::silver::Silver;
use super::statements::{WAITING, statements};
use super::tables;
use super::types;
use crate::clients::clickhouse::{Clickhouse as Client, ident, literal};
use crate::components::columns::Arriving;
use crate::components::target::{Drift, End, Leftover, Target, TargetTable};
use crate::environment::Environment;
use crate::error::Result;
use crate::flows::types::Kind;
use crate::plan::{Outcome, Progress};
use crate::profile::schema::Flow;
use crate::readiness::Status;

#[async_trait]
impl Target for ClickhouseSettings {
    async fn create_tables(&self, env: &Environment, progress: &Progress) -> Result<Outcome> {
        tables::create(self, env, progress).await
    }

    fn suited(&self, kind: Kind, is_nullable: bool) -> Option<String> {
        types::suited(kind, is_nullable)
    }

    fn holds(&self, declared: &str, kind: Kind, is_nullable: bool) -> bool {
        types::holds(declared, kind, is_nullable)
    }

    fn statements(&self, env: &Environment, name: &str, flow: &Flow) -> Result<Vec<String>> {
        Ok(statements(self, env, name, &Arriving::given(flow), 0)?.made())
    }

    async fn probe_tables(&self, env: &Environment) -> Status {
        tables::probe(self, env).await
    }

    async fn leave_group(&self, env: &Environment, group: &str) -> Result<()> {
        tables::leave_group(self, env, group).await
    }

    /// One flow after the other, over the same connection.
    async fn ends(&self, env: &Environment, within: Duration) -> BTreeMap<String, End> {
        let client = self.client(env);
        let mut found = BTreeMap::new();
        let ask = async {
            for (flow, _) in env.profile.flows_to(&self.name) {
                if let Some(end) = end(self, env, &client, flow).await {
                    found.insert(flow.clone(), end);
                }
            }
        };
        let _late = tokio::time::timeout(within, ask).await;
        found
    }

    async fn drift(&self, env: &Environment, name: &str, flow: &Flow) -> Result<Drift> {
        tables::drift(self, env, name, flow).await
    }

    async fn leftovers(&self, env: &Environment) -> Result<Vec<Leftover>> {
        leftovers::find(self, env).await
    }

    async fn remove(&self, env: &Environment, left: &Leftover) -> Result<()> {
        leftovers::remove(self, env, left).await
    }

    fn name(&self, env: &Environment, flow: &str) -> String {
        Names::of(self, env, flow).silver
    }

    fn table<'a>(
        &'a self,
        env: &'a Environment,
        name: &str,
        flow: &'a Flow,
    ) -> Box<dyn TargetTable + 'a> {
        Box::new(Silver::of(self, env, name, flow))
    }
}

/// What is at a flow's end; none while it does not answer.
pub async fn end(
    own: &ClickhouseSettings,
    env: &Environment,
    client: &Client,
    flow: &str,
) -> Option<End> {
    let names = Names::of(own, env, flow);
    let silver = ident(&names.silver);
    // One replica of each shard; each server sees its own parts only.
    let parts = match own.are_several(env) {
        true => format!("cluster({}, system.parts)", literal(CLUSTER)),
        false => "system.parts".to_owned(),
    };
    // Row counts come from the parts: counting with FINAL would read a large table whole.
    let sql = format!(
        "SELECT (SELECT toUInt64(sum(rows)) FROM {parts} WHERE active AND database = {database} \
                 AND table = {silver_name}) AS rows, \
                (SELECT toUInt64(toUnixTimestamp64Milli(max(_ingested_at))) FROM {silver}) AS newest, \
                toUInt64(counted.1) AS errors, toUInt64(counted.2) AS waiting, \
                (SELECT (count(), countIf({WAITING})) FROM {errors}) AS counted",
        database = literal(&own.database),
        silver_name = literal(&names.silver_rows),
        errors = ident(&names.errors),
    );
    let rows: Vec<End> = client.rows(&sql).await.ok()?;
    rows.into_iter().next()
}
