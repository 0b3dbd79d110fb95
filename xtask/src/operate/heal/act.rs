//! Doing what was decided: each act is a plan that ends with evidence.

use std::sync::Arc;

use super::decide::Act;
use crate::diagnose::Fix;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::operate::fix;
use crate::operate::restart;
use crate::plan::run::Ended;
use crate::plan::{self, Outcome, Plan, Progress};
use crate::up::control::{self, Restart};

/// Restarts what the act says, and returns what it says of that.
///
/// # Errors
/// It does not work afterwards, or the environment does not have it.
pub(super) async fn run(env: &Arc<Environment>, act: &Act) -> Result<String> {
    let (graph, actions) = plan(env, act)?.build()?;
    let report = plan::run(graph, actions, |_, _| {}).await;
    let changed = report.nodes.iter().filter_map(|node| match &node.ended {
        Ended::Done(Outcome::Changed(said)) => Some(said.as_str()),
        _ => None,
    });
    let said = changed.collect::<Vec<_>>().join("; ");
    Error::together(report.errors).map_or(Ok(said), Err)
}

fn plan(env: &Arc<Environment>, act: &Act) -> Result<Plan> {
    let name = match act {
        Act::Fix(fix) => return fix::plan(env, fix),
        Act::Connector(name) => return fix::plan(env, &Fix::RestartConnector(name.clone())),
        Act::Start(component) => return restart::begin(env, component),
        Act::Tasks(name) => name.clone(),
    };
    let mut plan = Plan::default();
    let (id, at) = (format!("{name}/restart"), env.clone());
    plan.step(&id, "it restarts", &[], async move |progress| {
        tasks(&at, &name, &progress).await
    });
    Ok(plan)
}

/// Restarts what failed of a connector. Where nothing did, each task that is said to run.
async fn tasks(env: &Environment, name: &str, progress: &Progress) -> Result<Outcome> {
    let outcome = control::restart(env, name, Restart::Failed, progress).await?;
    if let Outcome::Changed(_) = outcome {
        return Ok(outcome);
    }
    let status = control::status(env, name, progress).await?;
    let mut last = outcome;
    for task in status.tasks.iter().filter_map(|task| task.id) {
        last = control::restart(env, name, Restart::Task(task), progress).await?;
    }
    Ok(last)
}
