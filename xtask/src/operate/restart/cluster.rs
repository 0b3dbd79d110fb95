//! On clusters whoever keeps the pods replaces them: Strimzi, CloudNativePG, or Kubernetes itself.
//! Each is asked in its own way; that they were replaced is seen at the pods.
//!
//! The operator's own pod is deleted: a rolled Deployment would keep the old pod, which holds the
//! lease, until the new one is ready half a minute later.

use std::sync::Arc;
use std::time::Duration;

use crate::components::{Operator, Replaced, of};
use crate::environment::{Environment, STRIMZI_DEPLOYMENT, targets};
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::kubernetes::restart::{LOOK, RESTARTED, ROLL, now};
use crate::platform::kubernetes::watch::Target;
use crate::readiness::Status;
use crate::readiness::kubernetes::rolled;
use crate::up;
use crate::up::operators::operators;
use crate::wait;

/// How long one pod may take to go and come again: its image may have to be pulled.
const A_POD: Duration = Duration::from_secs(600);

/// Adds the steps that have a component's pods replaced, and the gate of the component.
pub(super) fn add(plan: &mut Plan, env: &Arc<Environment>, component: &str) {
    let id = format!("{component}/roll");
    let (at, name) = (env.clone(), component.to_owned());
    plan.step(&id, "replace its pods", &[], async move |progress| {
        roll(&at, &name, &progress).await
    });
    up::ready(plan, env, component, &[id]);
}

/// Adds the steps that replace the operators' pods, and the gate on what they run.
pub(super) fn add_operators(plan: &mut Plan, env: &Arc<Environment>) {
    let mut rolled = Vec::new();
    for operator in operators(env) {
        let id = format!("{}/roll", operator.name);
        let at = env.clone();
        let work = async move |progress| operator_pods(&at, operator, &progress).await;
        plan.step(&id, "replace the operator's pods", &[], work);
        rolled.push(id);
    }
    let needs: Vec<&str> = rolled.iter().map(String::as_str).collect();
    let at = env.clone();
    let work = async move |progress| {
        wait::until(
            "what they run is as wanted",
            at.patience(),
            &progress,
            || async {
                for component in at.running().map(|it| it.name.as_str()) {
                    if let Some(blocked) = at.still_blocked_by(component).await {
                        return Status {
                            message: format!("{component}: {}", blocked.message),
                            ..blocked
                        };
                    }
                }
                Status::current("everything is as wanted")
            },
        )
        .await
        .map(Outcome::Unchanged)
    };
    plan.gate("operator/ready", "what they run is as wanted", &needs, work);
}

/// Replaces an operator's pods by deleting them: a rolled Deployment has the new pod wait until the old
/// one ends and gives up its lease, which it does only when the new one is ready.
async fn operator_pods(
    env: &Environment,
    operator: &Operator,
    progress: &Progress,
) -> Result<Outcome> {
    let cluster = &env.link()?.cluster;
    let target = operator.target(&env.profile);
    let before = cluster.pods_of(&target).await?;
    if target.name != STRIMZI_DEPLOYMENT {
        let ask = || cluster.delete_pods(&target, &before);
        return replaced(env, target.clone(), None, progress, ask).await;
    }
    cluster.delete_pods(&target, &before).await?;
    // It works as soon as it leads; its probe tells half a minute later.
    let leads = up::operator_leads(env, &before, progress).await?;
    Ok(Outcome::Changed(leads.message().to_owned()))
}

/// Whose pods Strimzi replaces, and the object that it looks at.
pub(super) struct Strimzi {
    /// What the pods belong to.
    pub(super) pods: Target,
    /// The set that Strimzi keeps them in.
    set: Target,
    /// What Strimzi looks at.
    resource: Target,
}

impl Strimzi {
    /// Those of a component, if Strimzi runs it.
    pub(super) fn of(env: &Environment, component: &str) -> Option<Self> {
        let resource = targets(&env.profile, component).into_iter().next()?;
        match of(env.profile.component(component)?).sets(env) {
            Replaced::ByStrimzi(own) => Some(Strimzi {
                pods: own.pods,
                set: own.set,
                resource,
            }),
            Replaced::ByTemplate | Replaced::ByRestartedAt | Replaced::BySets { .. } => None,
        }
    }

    /// Has the pods replaced: all of them, or one. It begins within seconds.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn ask(&self, env: &Environment, pod: Option<&str>) -> Result<()> {
        let cluster = &env.link()?.cluster;
        let marked = match pod {
            Some(pod) => {
                let space = self.set.namespace.as_deref().unwrap_or_default();
                Target::of("v1", "Pod", space, pod)
            }
            None => self.set.clone(),
        };
        cluster.annotate(&marked, ROLL, "true").await?;
        cluster.annotate(&self.resource, LOOK, &now()).await?;
        // A set that is older than what it is made of counts as one that is to change, and what is
        // wrong with its pods as fixed soon.
        cluster.annotate(&self.set, LOOK, &now()).await
    }
}

async fn roll(env: &Environment, component: &str, progress: &Progress) -> Result<Outcome> {
    let link = env.link()?;
    let cluster = &link.cluster;
    if let Some(strimzi) = Strimzi::of(env, component) {
        return replaced(env, strimzi.pods.clone(), None, progress, || {
            strimzi.ask(env, None)
        })
        .await;
    }
    let Some(target) = targets(&env.profile, component).into_iter().next() else {
        let what = format!("{component} has no pods of its own");
        return Err(Error::new(Code::Usage, what));
    };
    let space = target.namespace.clone().unwrap_or_default();
    let how = env.profile.component(component).map(|it| of(it).sets(env));
    match how.unwrap_or(Replaced::ByTemplate) {
        Replaced::ByRestartedAt => {
            let asked = target.clone();
            replaced(env, target, None, progress, || async move {
                cluster.annotate(&asked, RESTARTED, &now()).await
            })
            .await
        }
        // One after the other: at most one is away.
        Replaced::BySets { labels } => {
            let kind = Target::of("apps/v1", "StatefulSet", &space, "");
            let names = cluster.names_labelled(&kind, &labels).await?;
            if names.is_empty() {
                let what = format!("the installation {} has no StatefulSet", target.name);
                return Err(Error::new(Code::NotUp, what).hint("cargo xtask up"));
            }
            for name in &names {
                let set = Target::of("apps/v1", "StatefulSet", &space, name);
                by_template(env, &set, progress).await?;
            }
            Ok(Outcome::Changed(format!(
                "replaced in {}",
                names.join(", ")
            )))
        }
        Replaced::ByTemplate | Replaced::ByStrimzi(_) => by_template(env, &target, progress).await,
    }
}

async fn by_template(env: &Environment, target: &Target, progress: &Progress) -> Result<Outcome> {
    let cluster = &env.link()?.cluster;
    replaced(env, target.clone(), None, progress, || {
        cluster.restart_template(target)
    })
    .await
}

/// Asks for pods to be replaced, all of an object's or one, and waits until they are.
pub(super) async fn replaced<F>(
    env: &Environment,
    target: Target,
    only: Option<&str>,
    progress: &Progress,
    ask: impl FnOnce() -> F,
) -> Result<Outcome>
where
    F: Future<Output = Result<()>>,
{
    let link = env.link()?;
    let mut before = link.cluster.pods_of(&target).await?;
    if let Some(only) = only {
        before.retain(|name, _| name == only);
    }
    ask().await?;
    let what = format!("pods of {} are replaced", target.name);
    let count = u32::try_from(before.len()).unwrap_or(1).max(1);
    let judge = |pods: &[Arc<kube::core::DynamicObject>]| match only {
        None => rolled(&before, pods),
        Some(only) => {
            let named = |pod: &&Arc<_>| name_of(pod) == Some(only);
            let pods: Vec<_> = pods.iter().filter(named).cloned().collect();
            rolled(&before, &pods)
        }
    };
    link.watches
        .replaced(&what, target, judge, A_POD * count, progress)
        .await
        .map(Outcome::Changed)
}

fn name_of(pod: &kube::core::DynamicObject) -> Option<&str> {
    pod.metadata.name.as_deref()
}

/// The pods of an object.
///
/// # Errors
/// It is not there or has none, or the server refuses.
pub(super) async fn running(
    env: &Environment,
    target: &Target,
) -> Result<Vec<Arc<kube::core::DynamicObject>>> {
    let cluster = &env.link()?.cluster;
    let names = cluster.pods_of(target).await?;
    let space = target.namespace.as_deref().unwrap_or_default();
    let mut pods = Vec::new();
    for name in names.keys() {
        let pod = Target::of("v1", "Pod", space, name);
        pods.extend(cluster.object(&pod).await?.map(Arc::new));
    }
    Ok(pods)
}
