//! The operators that run Kafka, Connect and the databases on clusters.

use std::path::Path;

use kube::core::DynamicObject;
use serde_json::Value;

use crate::components::{Component, Operator, Stage, of};
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Progress;
use crate::platform::Secret;
use crate::platform::kubernetes::bundles::{self, install};

/// Every object of the operators' installations, and which of them were fetched for it. With a
/// directory of bundles nothing is fetched.
///
/// # Errors
/// A bundle cannot be had, or is not the locked one.
pub async fn objects(
    env: &Environment,
    bundle_dir: Option<&Path>,
    progress: &Progress,
) -> Result<(Vec<DynamicObject>, Vec<String>)> {
    let versions = &env.profile.versions;
    let operators = operators(env);
    let bundles = operators
        .iter()
        .map(|it| bundles::bundle(&env.root, it.name, versions.of(it.part)))
        .collect::<Result<Vec<_>>>()?;
    let fetched = match bundle_dir {
        Some(_) => Vec::new(),
        None => bundles::fetch(&bundles, &env.dirs.cache, progress).await?,
    };
    let mut all = Vec::new();
    for (operator, bundle) in operators.into_iter().zip(&bundles) {
        let files = match bundle_dir {
            Some(dir) => bundle.read_from(dir)?,
            None => bundle.read_cached(&env.dirs.cache)?,
        };
        let (namespace, password) = ((operator.namespace)(&env.profile), password(env, operator));
        let fit = |object: &mut Value| (operator.fit)(object, namespace, password.expose());
        let objects = install::objects(bundle, &files, &env.name, fit)?;
        all.extend(objects.into_iter().map(|object| object.object));
    }
    Ok((all, fetched))
}

/// The operators that an environment needs, each once.
pub fn operators(env: &Environment) -> Vec<&'static Operator> {
    let mut all: Vec<&'static Operator> = Vec::new();
    // Those of the databases that changes are read from come last.
    let mut components: Vec<&dyn Component> = env.running().map(of).collect();
    components.sort_by_key(|it| it.stage() == Stage::Source);
    for operator in components.into_iter().filter_map(|it| it.operator()) {
        if all.iter().all(|other| other.name != operator.name) {
            all.push(operator);
        }
    }
    all
}

/// What an operator logs in with at what it runs; empty for one that does not.
fn password(env: &Environment, operator: &Operator) -> Secret {
    let is_its = |own: &Operator| own.name == operator.name;
    let run = env
        .running()
        .find(|it| of(it).operator().is_some_and(is_its));
    run.map_or_else(
        || Secret::new(""),
        |it| env.password(&format!("{}-operator", it.name)),
    )
}
