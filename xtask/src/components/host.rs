//! The plan of `up` on the `host` platform.
//!
//! A step waits for what it uses and for nothing else: Connect's JVM loads its classes while the
//! broker still starts, and the engine makes its database meanwhile.

use std::sync::Arc;
use std::time::Duration;

use super::{clickhouse, connect, kafka, mongodb, postgres};
use crate::environment::Environment;
use crate::error::Result;
use crate::pipeline::canary;
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::host::apply::{self, Rendered};
use crate::platform::host::artifacts::{MavenArtifact, maven, pypi};
use crate::platform::host::daemon;
use crate::profile::schema::Source;
use crate::readiness::Status;
use crate::wait::{self, Patience};

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

/// How long a component of this machine may take to be ready. A slow machine under load takes
/// several times the usual few seconds.
const READY: Duration = Duration::from_secs(120);

/// Builds the plan. Nothing happens yet, but what can be wrong with templates and prerequisites is
/// found here, before anything starts.
///
/// # Errors
/// A prerequisite is missing or a template is wrong.
pub fn host_plan(env: &Arc<Environment>) -> Result<Plan> {
    let mut plan = Plan::default();
    fetch(&mut plan, env)?;
    let mut started = Vec::new();
    for process in processes(env)? {
        let component = process.component.clone();
        let needs: &[&str] = match component.as_str() {
            "mongodb" => &[],
            "clickhouse" if clickhouse::engine(env).is_none() => &[],
            "clickhouse" => &["clickhouse/engine"],
            _ => &["host/artifacts"],
        };
        start(&mut plan, env, process, needs);
        started.push(component);
    }
    let after_start = |component: &str| -> Vec<String> {
        started
            .iter()
            .filter(|name| *name == component)
            .map(|name| format!("{name}/start"))
            .collect()
    };
    if env.profile.uses(Source::Postgres) {
        let mut needs = after_start("postgres");
        if !needs.is_empty() && env.profile.postgres.database != "postgres" {
            let at = env.clone();
            plan.step(
                "postgres/database",
                "create the database",
                &["postgres/start"],
                |progress| postgres::create_database(at, progress),
            );
            needs.push("postgres/database".into());
        }
        gate(
            &mut plan,
            env,
            "postgres",
            "login, wal_level",
            &needs,
            |env| async move { postgres::probe(&env).await },
        );
        let at = env.clone();
        plan.step(
            "postgres/tables",
            "create and fill the tables",
            &["postgres/ready"],
            |progress| postgres::create_tables(at, progress),
        );
    }
    if env.profile.uses(Source::Mongodb) {
        let mut needs = after_start("mongodb");
        if !needs.is_empty() {
            let at = env.clone();
            plan.step(
                "mongodb/initiate",
                "initiate the replica set",
                &["mongodb/start"],
                |progress| mongodb::initiate(at, progress),
            );
            needs = vec!["mongodb/initiate".into()];
        }
        gate(
            &mut plan,
            env,
            "mongodb",
            "primary of its replica set",
            &needs,
            |env| async move { mongodb::probe(&env).await },
        );
        let at = env.clone();
        plan.step(
            "mongodb/seed",
            "fill empty collections",
            &["mongodb/ready"],
            async move |_| {
                Ok(match mongodb::seed(&at).await? {
                    0 => Outcome::Unchanged("collections are there".into()),
                    count => Outcome::Changed(format!("{count} documents")),
                })
            },
        );
    }
    gate(
        &mut plan,
        env,
        "kafka",
        "broker metadata",
        &after_start("kafka"),
        |env| async move { kafka::probe(&env).await },
    );
    let at = env.clone();
    plan.step(
        "kafka/topics",
        "create the flows' topics",
        &["kafka/ready"],
        |progress| kafka::create_topics(at, progress),
    );
    let mut needs = after_start("connect");
    needs.push("kafka/ready".into());
    let classes = connect::classes(env)?;
    gate(
        &mut plan,
        env,
        "connect",
        "REST, plugin classes",
        &needs,
        move |env| {
            let classes = classes.clone();
            async move { connect::probe(&env, &classes).await }
        },
    );
    gate(
        &mut plan,
        env,
        "clickhouse",
        "ping, login, query",
        &after_start("clickhouse"),
        |env| async move { clickhouse::probe(&env).await },
    );
    // The engine's consumers look for their topic at once and then only now and again.
    let at = env.clone();
    plan.step(
        "clickhouse/tables",
        "bronze and silver tables",
        &["clickhouse/ready", "kafka/topics"],
        async move |progress| {
            let outcome = clickhouse::create_tables(at.clone(), progress.clone()).await?;
            wait::until(
                "tables are present",
                Patience::local(READY),
                &progress,
                || async { clickhouse::probe_tables(&at).await },
            )
            .await?;
            Ok(outcome)
        },
    );
    connectors(&mut plan, env);
    Ok(plan)
}

fn fetch(plan: &mut Plan, env: &Arc<Environment>) -> Result<()> {
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

fn start(plan: &mut Plan, env: &Arc<Environment>, process: Rendered, needs: &[&str]) {
    let at = env.clone();
    let id = format!("{}/start", process.component);
    plan.step(&id, "start the process", needs, async move |progress| {
        match process.component.as_str() {
            "clickhouse" => clickhouse::write_users(&at)?,
            "mongodb" => mongodb::write_key(&at)?,
            _ => {}
        }
        apply::ensure(&at.dirs, &process, &progress).await
    });
}

/// A gate on one component: its probe, and the end of its process if it has one.
fn gate<P, F>(
    plan: &mut Plan,
    env: &Arc<Environment>,
    component: &'static str,
    title: &str,
    needs: &[String],
    probe: P,
) where
    P: Fn(Arc<Environment>) -> F + Send + Sync + 'static,
    F: Future<Output = Status> + Send,
{
    let at = env.clone();
    let has_process = needs.iter().any(|need| need.starts_with(component));
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    plan.gate(
        &format!("{component}/ready"),
        title,
        &needs,
        async move |progress| {
            wait::until(
                &format!("{component} is ready"),
                Patience::local(READY),
                &progress,
                || async {
                    if has_process && let Some(end) = daemon::ended(&at.dirs, component) {
                        return end;
                    }
                    probe(at.clone()).await
                },
            )
            .await
            .map(Outcome::Unchanged)
        },
    );
}

fn connectors(plan: &mut Plan, env: &Arc<Environment>) {
    for (name, connector) in &env.profile.connectors {
        let filled = match connector.source {
            Source::Postgres => "postgres/tables",
            Source::Mongodb => "mongodb/seed",
        };
        let (at, connector_name) = (env.clone(), name.clone());
        plan.step(
            &format!("{name}/register"),
            "register the connector",
            &["connect/ready", filled, "kafka/topics"],
            |progress| connect::register(at, connector_name, progress),
        );
        let (at, connector_name, spec) = (env.clone(), name.clone(), connector.clone());
        plan.gate(
            &format!("{name}/running"),
            "tasks run, slot active",
            &[&format!("{name}/register")],
            async move |progress: Progress| {
                wait::until(
                    &format!("{connector_name} runs"),
                    Patience::local(READY),
                    &progress,
                    || async {
                        if let Some(end) = daemon::ended(&at.dirs, "connect") {
                            return end;
                        }
                        connect::probe_connector(&at, &connector_name, &spec).await
                    },
                )
                .await
                .map(Outcome::Unchanged)
            },
        );
    }
    for (name, flow) in &env.profile.flows {
        if flow.canary.is_none() {
            continue;
        }
        let (at, flow_name) = (env.clone(), name.clone());
        plan.gate(
            &format!("{name}/canary"),
            "a row travels to silver and is removed again",
            &[&format!("{}/running", flow.connector), "clickhouse/tables"],
            async move |progress| canary::gate(&at, &flow_name, &progress).await,
        );
    }
}
