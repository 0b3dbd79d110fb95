//! One worker or broker after the other, each only when what the one before had is in other hands.

use std::sync::Arc;

use super::moves::Moves;
use super::proof::Resting;
use super::{cluster, drain, host, proof, refuse_foreign};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::up::canary;
use crate::up::control;

/// A rolling restart.
pub struct Rolling {
    /// From the first look to the proof.
    pub plan: Plan,
    /// For how long positions rest meanwhile.
    pub moves: Arc<Moves>,
    /// What is restarted, in this order.
    pub units: Vec<String>,
}

/// Plans it. Nothing happens yet.
///
/// # Errors
/// The environment does not run the component, or its pods cannot be listed.
pub async fn plan(env: &Arc<Environment>, component: &'static str) -> Result<Rolling> {
    refuse_foreign(env, component)?;
    let moves = Moves::new();
    let mut plan = Plan::default();
    let (at, watched) = (env.clone(), moves.clone());
    let before = format!("{component}/before");
    plan.gate(
        &before,
        "changes flow, and nothing speaks against it",
        &[],
        async move |progress| sound(&at, component, &watched, &progress).await,
    );
    let mut units = Vec::new();
    let mut last = before;
    if env.platform == Platform::Host {
        last = add_unit(&mut plan, env, component, component, &last)?;
        units.push(component.to_owned());
    } else {
        for pod in pods(env, component).await? {
            last = add_unit(&mut plan, env, component, &pod, &last)?;
            units.push(pod);
        }
    }
    proof::add(&mut plan, env, component, &last);
    Ok(Rolling { plan, moves, units })
}

async fn pods(env: &Environment, component: &str) -> Result<Vec<String>> {
    let strimzi = strimzi(env, component)?;
    let pods = env.link()?.cluster.pods_of(&strimzi.pods).await?;
    let mut names: Vec<String> = pods.into_keys().collect();
    names.sort_by_key(|name| (ordinal(name), name.clone()));
    Ok(names)
}

/// The number that a pod's name ends with: `a-10` comes after `a-9`.
fn ordinal(name: &str) -> u64 {
    let digits = name.rsplit('-').next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn strimzi(env: &Environment, component: &str) -> Result<cluster::Strimzi> {
    cluster::Strimzi::of(env, component).ok_or_else(|| {
        let what = format!("{component} is not restarted one by one");
        Error::new(Code::Usage, what)
    })
}

/// Adds one worker or broker: it goes and comes, and what it had is in other hands. The node after
/// which the next one may go is returned.
fn add_unit(
    plan: &mut Plan,
    env: &Arc<Environment>,
    component: &'static str,
    unit: &str,
    after: &str,
) -> Result<String> {
    let back = if env.platform == Platform::Host {
        host::add(plan, env, component, &[after])?;
        format!("{component}/ready")
    } else {
        let (at, pod) = (env.clone(), unit.to_owned());
        let id = format!("{unit}/roll");
        plan.step(&id, "replace the pod", &[after], async move |progress| {
            let strimzi = strimzi(&at, component)?;
            cluster::replaced(&at, strimzi.pods.clone(), Some(&pod), &progress, || {
                strimzi.ask(&at, Some(&pod))
            })
            .await
        });
        id
    };
    let at = env.clone();
    let drained = format!("{unit}/drained");
    let title = match component {
        "kafka" => "replicas in sync, leaders back, positions move on",
        _ => "tasks run, positions move on",
    };
    plan.gate(&drained, title, &[&back], async move |progress| {
        let mut said = Vec::new();
        if component == "kafka" {
            said.push(drain::partitions(&at, &progress).await?);
        }
        said.push(drain::connectors(&at, &Resting::default(), &progress).await?);
        let said: Vec<&str> = said.iter().map(Outcome::message).collect();
        Ok(Outcome::Unchanged(said.join("; ")))
    });
    Ok(drained)
}

/// Sees changes flow before anything goes away, and begins to look at positions.
async fn sound(
    env: &Arc<Environment>,
    component: &str,
    moves: &Arc<Moves>,
    progress: &Progress,
) -> Result<Outcome> {
    let mut resting = Vec::new();
    for name in env.profile.connectors.keys() {
        let status = control::status(env, name, progress).await?;
        match status.connector.state.as_str() {
            "PAUSED" | "STOPPED" => resting.push(name.clone()),
            _ => {
                let failed = status.tasks.iter().any(|task| task.state == "FAILED");
                if failed || status.connector.state == "FAILED" {
                    let what = format!("{name} has failed: a restart would hide why");
                    return Err(Error::new(Code::Service, what)
                        .hint(format!("cargo xtask connector status {name}")));
                }
            }
        }
    }
    let mut said = Vec::new();
    if component == "kafka" {
        said.push(drain::refuse_out_of_sync(env).await?);
    }
    let flows = env.profile.flows.iter();
    let flows: Vec<(&String, _)> = flows
        .filter(|(_, flow)| !resting.contains(&flow.connector))
        .collect();
    let names = flows.iter().map(|(name, _)| (*name).clone()).collect();
    moves.watch(env, names);
    for (name, flow) in flows {
        if flow.canary.is_some() {
            let outcome = canary::gate(env, name, progress).await?;
            said.push(format!("{name}: {}", outcome.message()));
        }
    }
    if !resting.is_empty() {
        said.push(format!("{} is paused", resting.join(", ")));
    }
    moves.count();
    Ok(Outcome::Unchanged(said.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_go_by_their_number() {
        let mut names = ["k-10", "k-9", "k-0", "other"].map(str::to_owned);
        names.sort_by_key(|name| (ordinal(name), name.clone()));
        assert_eq!(names, ["k-0", "other", "k-9", "k-10"]);
    }
}
