//! The lower half of `up`'s plan on the `host` platform: what is fetched and started.
//!
//! A step waits for what it uses and for nothing else: Connect's JVM loads its classes while the
//! broker still starts, and the engine makes its database meanwhile.

use std::sync::Arc;

use super::gates::{self, Starts};
use crate::components::{self, clickhouse, connect, kafka, mongodb, postgres};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::{Outcome, Plan};
use crate::platform::host::apply::{self, Rendered};
use crate::platform::host::artifacts::{MavenArtifact, maven, pypi};

/// Everything that Maven brings.
///
/// # Errors
/// A version has no digests.
pub fn artifacts(env: &Environment) -> Result<Vec<MavenArtifact>> {
    let mut artifacts = vec![kafka::libraries(env)?];
    artifacts.extend(connect::plugins(env)?);
    artifacts.extend(postgres::binaries(env)?);
    Ok(artifacts)
}

/// Every process of the environment, rendered.
///
/// # Errors
/// A prerequisite is missing or a template is wrong.
pub fn processes(env: &Environment) -> Result<Vec<Rendered>> {
    let mut processes = Vec::new();
    processes.extend(postgres::process(env)?);
    processes.extend(mongodb::process(env)?);
    processes.extend(kafka::process(env)?);
    processes.push(connect::process(env)?);
    processes.extend(clickhouse::process(env)?);
    Ok(processes)
}

/// Builds the plan.
///
/// # Errors
/// A prerequisite is missing or a template is wrong.
pub(super) fn plan(env: &Arc<Environment>) -> Result<Plan> {
    let mut plan = Plan::default();
    fetch(&mut plan, env)?;
    let mut starts = Starts::new();
    for process in processes(env)? {
        let component = components::named(&process.component)?;
        start(&mut plan, env, process, fetched(env, component));
        starts.insert(component, format!("{component}/start"));
    }
    gates::add(&mut plan, env, &starts, &Arc::default())?;
    Ok(plan)
}

/// Adds the steps that have everything in the cache.
///
/// # Errors
/// A version has no digests.
pub(crate) fn fetch(plan: &mut Plan, env: &Arc<Environment>) -> Result<()> {
    let wanted = artifacts(env)?;
    let at = env.clone();
    plan.step(
        "host/artifacts",
        "Kafka, Debezium, PostgreSQL",
        &[],
        async move |progress| {
            let plugin = &at.profile.versions.maven_dependency_plugin;
            let fetched = maven::fetch(&wanted, plugin, &at.dirs.cache, &progress).await?;
            Ok(if fetched.is_empty() {
                Outcome::Unchanged("in the cache".into())
            } else {
                Outcome::Changed(format!("fetched and verified {}", fetched.join(", ")))
            })
        },
    );
    if let Some(engine) = clickhouse::engine(env) {
        let at = env.clone();
        plan.step(
            "clickhouse/engine",
            "the embedded engine",
            &[],
            async move |progress| {
                let fetched = pypi::fetch(&engine, &at.dirs.cache, &progress).await?;
                Ok(if fetched {
                    Outcome::Changed(format!("fetched and verified {}", engine.name))
                } else {
                    Outcome::Unchanged("in the cache".into())
                })
            },
        );
    }
    Ok(())
}

/// What has to be in the cache before a component's process can start.
pub(crate) fn fetched(env: &Environment, component: &str) -> &'static [&'static str] {
    match component {
        "mongodb" => &[],
        "clickhouse" if clickhouse::engine(env).is_none() => &[],
        "clickhouse" => &["clickhouse/engine"],
        _ => &["host/artifacts"],
    }
}

/// Adds the step after which the component's process runs.
pub(crate) fn start(plan: &mut Plan, env: &Arc<Environment>, process: Rendered, needs: &[&str]) {
    let at = env.clone();
    let id = format!("{}/start", process.component);
    plan.step(&id, "start the process", needs, async move |progress| {
        if process.component == "clickhouse" {
            clickhouse::write_users(&at)?;
        }
        apply::ensure(&at.dirs, &process, &progress).await
    });
}
