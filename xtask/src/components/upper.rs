//! The upper half of `up`'s plan, which is the same on every platform: what proves that a component
//! answers, what it needs before changes can flow, and the proof that they do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{access, clickhouse, cluster, connect, kafka, mongodb, postgres};
use crate::environment::Environment;
use crate::error::Result;
use crate::pipeline::canary;
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::profile::logins::component;
use crate::profile::schema::Source;
use crate::readiness::{State, Status};
use crate::render::objects::Object;
use crate::wait::{self, Patience};

/// For each component that the platform runs, the node after which it may begin to answer. What is
/// not named is the user's own and runs already.
pub(super) type Starts = BTreeMap<&'static str, String>;

/// How long a component may take to be ready. A slow machine under load takes several times the
/// usual few seconds; a cluster may pull images first.
pub(crate) fn patience(env: &Environment) -> Patience {
    Patience::local(match env.platform {
        Platform::Host => Duration::from_secs(120),
        Platform::Kind | Platform::Kubernetes => Duration::from_secs(600),
    })
}

/// Adds the upper half to a plan whose lower half starts the components. `objects` are those of the
/// environment, on a cluster.
///
/// # Errors
/// The list of plugins is malformed.
pub(super) fn add(
    plan: &mut Plan,
    env: &Arc<Environment>,
    starts: &Starts,
    objects: &Arc<Vec<Object>>,
) -> Result<()> {
    let after_start =
        |component: &str| -> Vec<String> { starts.get(component).cloned().into_iter().collect() };
    if env.profile.uses(Source::Postgres) {
        let mut needs = after_start("postgres");
        if !needs.is_empty() && env.profile.postgres.database != "postgres" {
            let at = env.clone();
            plan.step(
                "postgres/database",
                "create the database",
                &[starts["postgres"].as_str()],
                |progress| postgres::create_database(at, progress),
            );
            needs.push("postgres/database".into());
        }
        ready(plan, env, "postgres", &needs)?;
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
                &[starts["mongodb"].as_str()],
                async move |progress| match at.platform {
                    Platform::Host => mongodb::initiate(at, progress).await,
                    Platform::Kind | Platform::Kubernetes => {
                        mongodb::initiate_in_cluster(at, progress).await
                    }
                },
            );
            needs = vec!["mongodb/initiate".into()];
        }
        ready(plan, env, "mongodb", &needs)?;
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
    ready(plan, env, "kafka", &after_start("kafka"))?;
    if let (Platform::Kind | Platform::Kubernetes, Some(start)) =
        (env.platform, starts.get("kafka"))
    {
        let at = env.clone();
        plan.gate(
            "kafka/operated",
            "all that the operator runs beside the brokers",
            &[start],
            async move |progress| {
                wait::until(
                    "Kafka's resource is ready",
                    patience(&at),
                    &progress,
                    || async {
                        obstacle(&at, "kafka")
                            .await
                            .unwrap_or_else(|| Status::current("ready"))
                    },
                )
                .await
                .map(Outcome::Unchanged)
            },
        );
    }
    let at = env.clone();
    plan.step(
        "kafka/topics",
        "create the flows' topics",
        &["kafka/ready"],
        |progress| kafka::create_topics(at, progress),
    );
    let mut needs = after_start("connect");
    needs.push("kafka/ready".into());
    if let (Platform::Kind | Platform::Kubernetes, Some(start)) =
        (env.platform, starts.get("connect"))
    {
        started(plan, env, start);
        needs.push("connect/started".into());
    }
    ready(plan, env, "connect", &needs)?;
    ready(plan, env, "clickhouse", &after_start("clickhouse"))?;
    // The engine's consumers look for their topic at once and then only now and again.
    let at = env.clone();
    plan.step(
        "clickhouse/tables",
        "bronze and silver tables",
        &["clickhouse/ready", "kafka/topics"],
        async move |progress| {
            let outcome = clickhouse::create_tables(at.clone(), progress.clone()).await?;
            wait::until("tables are present", patience(&at), &progress, || async {
                clickhouse::probe_tables(&at).await
            })
            .await?;
            Ok(outcome)
        },
    );
    connectors(plan, env, objects);
    Ok(())
}

/// A gate on what the workers need before any broker: nodes, volumes, and an image that is there. What
/// is wrong with these is told while Kafka is still starting.
fn started(plan: &mut Plan, env: &Arc<Environment>, start: &str) {
    let at = env.clone();
    plan.gate(
        "connect/started",
        "a node, an image, volumes",
        &[start],
        async move |progress| {
            wait::until("the workers start", patience(&at), &progress, || async {
                let waits = at.beginning("connect").await;
                waits.unwrap_or_else(|| Status::current("their containers have started"))
            })
            .await
            .map(Outcome::Unchanged)
        },
    );
}

/// A gate on one component: its probe, and the end of its process if it has one.
///
/// # Errors
/// The list of plugins is malformed.
pub(crate) fn ready(
    plan: &mut Plan,
    env: &Arc<Environment>,
    component: &'static str,
    needs: &[String],
) -> Result<()> {
    let title = match component {
        "kafka" => "broker metadata",
        "connect" => "REST, plugin classes",
        "postgres" => "login, wal_level",
        "mongodb" => "primary of its replica set",
        _ => "ping, login, query",
    };
    let classes = connect::classes(env)?;
    let at = env.clone();
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    plan.gate(
        &format!("{component}/ready"),
        title,
        &needs,
        async move |progress| {
            wait::until(
                &format!("{component} is ready"),
                patience(&at),
                &progress,
                || async {
                    if let Some(obstacle) = hindrance(&at, component).await {
                        return obstacle;
                    }
                    match component {
                        "kafka" => kafka::probe(&at).await,
                        "connect" => connect::probe(&at, &classes).await,
                        "postgres" => postgres::probe(&at).await,
                        "mongodb" => mongodb::probe(&at).await,
                        _ => clickhouse::probe(&at).await,
                    }
                },
            )
            .await
            .map(Outcome::Unchanged)
        },
    );
    Ok(())
}

/// As [`Environment::obstacle`], for those who wait until there is none: others who may wait for
/// nothing any more are told so.
pub(crate) async fn obstacle(env: &Environment, component: &str) -> Option<Status> {
    let obstacle = env.obstacle(component).await?;
    Some(hastened(env, component, obstacle).await)
}

/// As [`Environment::hindrance`], with what [`obstacle`] does.
pub(crate) async fn hindrance(env: &Environment, component: &str) -> Option<Status> {
    let obstacle = env.hindrance(component).await?;
    Some(hastened(env, component, obstacle).await)
}

async fn hastened(env: &Environment, component: &str, obstacle: Status) -> Status {
    if obstacle.state == State::Failed {
        return obstacle;
    }
    let said = match env.hasten(component).await {
        Ok(None) => return obstacle,
        Ok(Some(said)) => said,
        Err(error) => format!("it cannot be hastened: {}", error.message),
    };
    Status {
        message: format!("{}; {said}", obstacle.message),
        ..obstacle
    }
}

fn connectors(plan: &mut Plan, env: &Arc<Environment>, objects: &Arc<Vec<Object>>) {
    // An operator waits by itself for the worker to be ready.
    let before = match env.platform {
        Platform::Host => "connect/ready",
        Platform::Kind | Platform::Kubernetes => "connect/apply",
    };
    let sources = [Source::Postgres, Source::Mongodb];
    let permitted: BTreeMap<&str, &str> = sources
        .into_iter()
        .filter(|source| env.profile.uses(*source))
        .map(|source| (component(source), access::add(plan, env, source)))
        .collect();
    for (name, connector) in &env.profile.connectors {
        let filled = match connector.source {
            Source::Postgres => "postgres/tables",
            Source::Mongodb => "mongodb/seed",
        };
        let (at, connector_name, own) = (env.clone(), name.clone(), objects.clone());
        plan.step(
            &format!("{name}/register"),
            "register the connector",
            &[
                before,
                filled,
                permitted[component(connector.source)],
                "kafka/topics",
            ],
            async move |progress| match at.platform {
                Platform::Host => connect::register(at, connector_name, progress).await,
                Platform::Kind | Platform::Kubernetes => {
                    cluster::register(&at, &own, connector_name, &progress).await
                }
            },
        );
        let mut registered = format!("{name}/register");
        if env.platform != Platform::Host {
            // The operator restarts nothing, and need not have registered what was there before.
            let (at, connector_name, spec) = (env.clone(), name.clone(), connector.clone());
            let mended = format!("{name}/mend");
            plan.step(
                &mended,
                "restart what had failed",
                &[registered.as_str(), "connect/ready"],
                async move |progress| {
                    connect::login::put_right(&at, &connector_name, &spec, &progress).await
                },
            );
            registered = mended;
        }
        let (at, connector_name, spec) = (env.clone(), name.clone(), connector.clone());
        plan.gate(
            &format!("{name}/running"),
            "tasks run, slot active",
            &[&registered],
            async move |progress: Progress| {
                let watcher = connect::Watcher::default();
                let message = wait::until(
                    &format!("{connector_name} runs"),
                    patience(&at),
                    &progress,
                    || async {
                        // The operator may find fault with it only now, after it looked again.
                        if let Some(obstacle) = obstacle(&at, "connect").await {
                            return obstacle;
                        }
                        let seen = watcher.look(&at, &connector_name, &spec, &progress).await;
                        if seen.state == State::NotFound
                            && let Some(refused) = at.refused_connector(&connector_name).await
                        {
                            return refused;
                        }
                        seen
                    },
                )
                .await?;
                Ok(watcher.outcome(message))
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
