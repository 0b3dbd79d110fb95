//! The lower half of `up`'s plan on the `host` platform: what is fetched and started.
//!
//! A step waits for what it uses and for nothing else: Connect's JVM loads its classes while the
//! broker still starts, and the engine makes its database meanwhile.

use std::sync::Arc;

use super::gates::{self, Starts};
use crate::components::{Component, Stage, of};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::{Outcome, Plan};
use crate::platform::host::apply::{self, Rendered};
use crate::platform::host::artifacts::{MavenArtifact, maven, pypi};
use crate::profile::parts;

/// Everything that Maven brings, each once.
///
/// # Errors
/// A version has no digests.
pub fn artifacts(env: &Environment) -> Result<Vec<MavenArtifact>> {
    let mut all: Vec<MavenArtifact> = Vec::new();
    for component in env.running().map(of) {
        for artifact in component.artifacts(env)? {
            if all.iter().all(|other| other.name != artifact.name) {
                all.push(artifact);
            }
        }
    }
    Ok(all)
}

/// Every process of the environment, rendered; those that changes are read from first.
///
/// # Errors
/// A prerequisite is missing or a template is wrong.
pub fn processes(env: &Environment) -> Result<Vec<Rendered>> {
    let mut components: Vec<&dyn Component> = env.running().map(of).collect();
    components.sort_by_key(|it| it.stage() != Stage::Source);
    let processes = components
        .into_iter()
        .map(|it| it.process(env)?.refusing_root(it.needs().refuses_root));
    processes.collect()
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
        let name = process.component.clone();
        let needs = fetched(env, &name)?;
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        start(&mut plan, env, process, &needs);
        let id = format!("{name}/start");
        starts.insert(name, id);
    }
    gates::add(&mut plan, env, &starts, &Arc::default());
    Ok(plan)
}

/// Adds the steps that have everything in the cache.
///
/// # Errors
/// A version has no digests.
pub fn fetch(plan: &mut Plan, env: &Arc<Environment>) -> Result<()> {
    let wanted = artifacts(env)?;
    let at = env.clone();
    let work = async move |progress| {
        let plugin = at.profile.versions.of(&parts::MAVEN_PLUGIN);
        let fetched = maven::fetch(&wanted, plugin, &at.dirs.cache, &progress).await?;
        Ok(if fetched.is_empty() {
            Outcome::Unchanged("in the cache".into())
        } else {
            Outcome::Changed(format!("fetched and verified {}", fetched.join(", ")))
        })
    };
    plan.step("host/artifacts", "what Maven brings", &[], work);
    for component in env.running().map(of) {
        let Some(engine) = component.engine(env) else {
            continue;
        };
        let at = env.clone();
        let title = "the embedded engine";
        plan.step(
            &format!("{}/engine", component.name()),
            title,
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
///
/// # Errors
/// A version has no digests.
pub fn fetched(env: &Environment, name: &str) -> Result<Vec<String>> {
    let Some(component) = env.runs(name).map(of) else {
        return Ok(Vec::new());
    };
    let mut needs = Vec::new();
    if !component.artifacts(env)?.is_empty() {
        needs.push("host/artifacts".to_owned());
    }
    if component.engine(env).is_some() {
        needs.push(format!("{name}/engine"));
    }
    Ok(needs)
}

/// Adds the step after which the component's process runs.
pub fn start(plan: &mut Plan, env: &Arc<Environment>, process: Rendered, needs: &[&str]) {
    let at = env.clone();
    let id = format!("{}/start", process.component);
    plan.step(&id, "start the process", needs, async move |progress| {
        if let Some(instance) = at.runs(&process.component) {
            of(instance).before_start(&at)?;
        }
        apply::ensure(&at.dirs, &process, &progress).await
    });
}
