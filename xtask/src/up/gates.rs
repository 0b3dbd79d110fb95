//! The upper half of `up`'s plan, which is the same on every platform: what proves that a component
//! answers, what it needs before changes can flow, and the proof that they do.

mod running;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::cluster;
use crate::components::{access, clickhouse, connect, kafka, mongodb, postgres, target};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::profile::logins::component;
use crate::profile::schema::Source;
use crate::readiness::{State, Status};
use crate::render::objects::Object;
use crate::up::canary;
use crate::wait::{self, Patience};

/// For each component that the platform runs, the node after which it may begin to answer. What is
/// not named is the user's own and runs already.
pub(super) type Starts = BTreeMap<&'static str, String>;

/// The gate on the operator of Kafka and Connect, on clusters: what it says before it leads may be long
/// past, and what it does next makes ready what was not, and the other way round.
const OPERATOR_LEADS: &str = "operator/leads";

/// How long a component may take to be ready. A slow machine under load takes several times the
/// usual few seconds; a cluster may pull images first.
pub(crate) fn patience(env: &Environment) -> Patience {
    Patience::local(match env.platform {
        Platform::Host => Duration::from_secs(120),
        Platform::Kind | Platform::Kubernetes => Duration::from_secs(600),
    })
}

/// Waits until a pod of the operator leads that was not there `before`.
///
/// # Errors
/// It does not come, and why.
pub(crate) async fn operator_leads(
    env: &Environment,
    before: &BTreeMap<String, String>,
    progress: &Progress,
) -> Result<Outcome> {
    // Each look is a request.
    let patience = Patience {
        slowest: Duration::from_millis(500),
        ..patience(env)
    };
    let look = || env.operator_leads(before);
    wait::until("the operator leads", patience, progress, look)
        .await
        .map(Outcome::Unchanged)
}

/// Adds the gate on the operator, once its Deployment is applied.
pub(super) fn operator(plan: &mut Plan, env: &Arc<Environment>, applied: &str) {
    let at = env.clone();
    plan.gate(
        OPERATOR_LEADS,
        "the operator of Kafka and Connect is at work",
        &[applied],
        async move |progress| operator_leads(&at, &BTreeMap::new(), &progress).await,
    );
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
            &[start, OPERATOR_LEADS],
            async move |progress| {
                let look = || async {
                    let blocked = match blocked_by(&at, "kafka").await {
                        None => at.unseen_by_operator().await,
                        blocked => blocked,
                    };
                    blocked.unwrap_or_else(|| Status::current("ready"))
                };
                wait::until("Kafka's resource is ready", patience(&at), &progress, look)
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
            let outcome = target().create_tables(&at, &progress).await?;
            wait::until("tables are present", patience(&at), &progress, || async {
                target().probe_tables(&at).await
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
                let waits = at.not_started("connect").await;
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
                    if let Some(blocked) = unserved_by(&at, component).await {
                        return blocked;
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

/// As [`Environment::blocked_by`], for those who wait until nothing does: an operator that may be of an
/// old opinion is asked to look again.
pub(crate) async fn blocked_by(env: &Environment, component: &str) -> Option<Status> {
    let blocked = env.blocked_by(component).await?;
    Some(nudged(env, component, blocked).await)
}

/// As [`Environment::unserved_by`], with what [`blocked_by`] does.
pub(crate) async fn unserved_by(env: &Environment, component: &str) -> Option<Status> {
    let blocked = env.unserved_by(component).await?;
    Some(nudged(env, component, blocked).await)
}

async fn nudged(env: &Environment, component: &str, blocked: Status) -> Status {
    if blocked.state == State::Failed {
        return blocked;
    }
    said_too(blocked, env.nudge_operator(component).await)
}

/// With what was done about it.
fn said_too(status: Status, nudged: Result<Option<String>>) -> Status {
    let said = match nudged {
        Ok(None) => return status,
        Ok(Some(said)) => said,
        Err(error) => format!(
            "its operator cannot be asked to look again: {}",
            error.message
        ),
    };
    Status {
        message: format!("{}; {said}", status.message),
        ..status
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
        let mut needs = vec![registered.as_str()];
        if env.platform != Platform::Host {
            needs.push(OPERATOR_LEADS);
        }
        plan.gate(
            &format!("{name}/running"),
            "tasks run, slot active",
            &needs,
            async move |progress| running::gate(&at, &connector_name, &spec, &progress).await,
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
