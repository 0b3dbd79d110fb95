//! The upper half of `up`'s plan, which is the same on every platform: what proves that a component
//! answers, what it needs before changes can flow, and the proof that they do.

mod running;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::cluster;
use crate::components::{Component, Stage, connect, of};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::readiness::Status;
use crate::render::objects::Object;
use crate::up::{canary, rereads};
use crate::wait::{self, Patience};

/// For each component that the platform runs, the node after which it may begin to answer. What is
/// not named is the user's own and runs already.
pub(super) type Starts = BTreeMap<String, String>;

/// The gate on the operator of Kafka and Connect, on clusters: what it says before it leads may be long
/// past, and what it does next makes ready what was not, and the other way round.
const OPERATOR_LEADS: &str = "operator/leads";

/// Waits until a pod of the operator leads that was not there `before`.
///
/// # Errors
/// It does not come, and why.
pub async fn operator_leads(
    env: &Environment,
    before: &BTreeMap<String, String>,
    progress: &Progress,
) -> Result<Outcome> {
    // Each look is a request.
    let patience = Patience {
        slowest: Duration::from_millis(500),
        ..env.patience()
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
pub(super) fn add(
    plan: &mut Plan,
    env: &Arc<Environment>,
    starts: &Starts,
    objects: &Arc<Vec<Object>>,
) {
    let mut components: Vec<&dyn Component> = env.profile.components.values().map(of).collect();
    // What changes are read from is the longest to wait for.
    components.sort_by_key(|it| it.stage() != Stage::Source);
    for component in components {
        let name = component.name();
        let needs = match starts.get(name) {
            Some(start) => component.before_ready(plan, env, start),
            None => Vec::new(),
        };
        ready(plan, env, name, &needs);
        if let (true, Some(start)) = (component.serving(&env.profile).is_some(), starts.get(name))
            && env.platform != Platform::Host
        {
            operated(plan, env, name, start);
        }
        component.after_ready(plan, env);
    }
    connectors(plan, env, objects);
}

/// A gate on all of a component whose clients are served before it is whole.
fn operated(plan: &mut Plan, env: &Arc<Environment>, name: &str, start: &str) {
    let (at, own) = (env.clone(), name.to_owned());
    let title = "all that the operator runs beside the brokers";
    plan.gate(
        &format!("{name}/operated"),
        title,
        &[start, OPERATOR_LEADS],
        async move |progress| {
            let look = || async {
                let blocked = match at.still_blocked_by(&own).await {
                    None => at.unseen_by_operator().await,
                    blocked => blocked,
                };
                blocked.unwrap_or_else(|| Status::current("ready"))
            };
            wait::until("Kafka's resource is ready", at.patience(), &progress, look)
                .await
                .map(Outcome::Unchanged)
        },
    );
}

/// A gate on one component: its probe, and the end of its process if it has one.
pub fn ready(plan: &mut Plan, env: &Arc<Environment>, name: &str, needs: &[String]) {
    let Some(instance) = env.profile.component(name).cloned() else {
        return;
    };
    let at = env.clone();
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    let title = of(&instance).proof();
    plan.gate(
        &format!("{name}/ready"),
        title,
        &needs,
        async move |progress| {
            let name = &instance.name;
            let what = format!("{name} is ready");
            wait::until(&what, at.patience(), &progress, || async {
                match at.still_unserved_by(name).await {
                    Some(blocked) => blocked,
                    None => of(&instance).probe(&at).await,
                }
            })
            .await
            .map(Outcome::Unchanged)
        },
    );
}

/// Adds the step that registers a connector; returns its name.
fn register(
    plan: &mut Plan,
    env: &Arc<Environment>,
    objects: &Arc<Vec<Object>>,
    name: &str,
    title: &str,
    needs: &[&str],
) -> String {
    let step = format!("{name}/register");
    let (at, own, name) = (env.clone(), objects.clone(), name.to_owned());
    plan.step(&step, title, needs, async move |progress| {
        match at.platform {
            Platform::Host => connect::register(at, name, progress).await,
            Platform::Kind | Platform::Kubernetes => {
                cluster::register(&at, &own, name, &progress).await
            }
        }
    });
    step
}

fn connectors(plan: &mut Plan, env: &Arc<Environment>, objects: &Arc<Vec<Object>>) {
    // An operator waits by itself for the worker to be ready.
    let before = match env.platform {
        Platform::Host => "connect/ready",
        Platform::Kind | Platform::Kubernetes => "connect/apply",
    };
    let read = env.profile.components.values();
    let read = read.filter(|it| env.is_joined(it));
    let permitted: BTreeMap<&str, Vec<String>> = read
        .map(|it| (it.name.as_str(), of(it).permit(plan, env)))
        .collect();
    for (name, connector) in &env.profile.connectors {
        let mut needs = vec![before];
        let permitted = permitted.get(connector.source.as_str());
        needs.extend(permitted.into_iter().flatten().map(String::as_str));
        needs.push("kafka/topics");
        let joins = format!("{name}/joins");
        let (at, connector_name, spec) = (env.clone(), name.clone(), connector.clone());
        let mut before_joins = vec!["kafka/topics"];
        if env.platform == Platform::Host {
            before_joins.push(before);
        }
        plan.step(
            &joins,
            "tables that it gets while it runs",
            &before_joins,
            async move |progress| rereads::note(&at, &connector_name, &spec, &progress).await,
        );
        needs.push(&joins);
        let mut registered = register(plan, env, objects, name, "register the connector", &needs);
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
            env.runs_as(connector),
            &needs,
            async move |progress| running::gate(&at, &connector_name, &spec, &progress).await,
        );
    }
    for (name, sink) in &env.profile.sinks {
        let mut needs = vec![before, "kafka/topics"];
        let permitted = permitted.get(sink.sink.as_str());
        needs.extend(permitted.into_iter().flatten().map(String::as_str));
        let registered = register(plan, env, objects, name, "register the sink", &needs);
        let (at, sink_name) = (env.clone(), name.clone());
        plan.gate(
            &format!("{name}/running"),
            "tasks run",
            &[&registered, "connect/ready"],
            async move |progress| running::sink(&at, &sink_name, &progress).await,
        );
    }
    let targets = env.profile.components.values().map(of);
    let targets = targets.filter(|it| it.stage() == Stage::Target);
    let tables: Vec<String> = targets.map(|it| format!("{}/tables", it.name())).collect();
    for (name, connector) in &env.profile.connectors {
        if env.profile.rereads(connector).is_none() {
            continue;
        }
        let (at, connector_name, spec) = (env.clone(), name.clone(), connector.clone());
        let mut needs = vec![format!("{name}/running")];
        needs.extend(tables.iter().cloned());
        let flows = env.profile.flows.values();
        let written = flows.filter(|flow| flow.connector == *name);
        needs.extend(written.filter_map(|flow| Some(format!("{}/running", flow.to.as_ref()?))));
        needs.dedup();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        let begun = format!("{name}/begin");
        plan.step(
            &begun,
            "have it read tables that joined",
            &needs,
            async move |progress| rereads::begin(&at, &connector_name, &spec, &progress).await,
        );
        let (at, connector_name, spec) = (env.clone(), name.clone(), connector.clone());
        plan.step(
            &format!("{name}/snapshot"),
            "tables that joined are read whole",
            &[&begun],
            async move |progress| rereads::read(&at, &connector_name, &spec, &progress).await,
        );
    }
    for (name, flow) in &env.profile.flows {
        if flow.canary.is_none() {
            continue;
        }
        let (at, flow_name) = (env.clone(), name.clone());
        let connector = env.profile.connectors.get(&flow.connector);
        // A connector that is told what to read is stopped for a moment.
        let runs = match connector.and_then(|it| env.profile.rereads(it)) {
            Some(_) => format!("{}/begin", flow.connector),
            None => format!("{}/running", flow.connector),
        };
        let mut needs = vec![runs.as_str()];
        let written = flow.to.as_ref().map(|to| format!("{to}/running"));
        let title = match &written {
            Some(_) => "a row travels to the target and is removed again",
            None => "a row travels to silver and is removed again",
        };
        match &written {
            Some(written) => needs.push(written),
            None => needs.extend(tables.iter().map(String::as_str)),
        }
        let work = async move |progress| canary::gate(&at, &flow_name, &progress).await;
        plan.gate(&format!("{name}/canary"), title, &needs, work);
    }
}
