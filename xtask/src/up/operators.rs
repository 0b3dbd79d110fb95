//! The operators that run Kafka, Connect and the databases on clusters.

use std::path::Path;

use kube::core::DynamicObject;

use crate::components::{Component, Stage, clickhouse, of, postgres};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::Secret;
use crate::platform::kubernetes::bundles::{self, Bundle, install};
use crate::profile::parts;
use crate::profile::schema::Versions;

/// The operator's pinned version.
///
/// # Errors
/// There is no such operator.
pub fn pinned<'a>(operator: &str, versions: &'a Versions) -> Result<&'a str> {
    let part = match operator {
        "strimzi" => &parts::STRIMZI,
        "altinity" => &clickhouse::settings::OPERATOR,
        "cloudnative-pg" => &postgres::settings::OPERATOR,
        other => {
            return Err(Error::new(
                Code::Plan,
                format!("there is no operator `{other}`"),
            ));
        }
    };
    Ok(versions.of(part))
}

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
    let bundles: Vec<Bundle> = operators(env)
        .into_iter()
        .map(|operator| bundles::bundle(&env.root, operator, pinned(operator, versions)?))
        .collect::<Result<_>>()?;
    let fetched = match bundle_dir {
        Some(_) => Vec::new(),
        None => bundles::fetch(&bundles, &env.dirs.cache, progress).await?,
    };
    let place = install::Install {
        environment: &env.name,
        kafka_namespace: &env.profile.kubernetes.kafka_namespace,
        database_namespace: &env.profile.kubernetes.database_namespace,
    };
    let mut all = Vec::new();
    for bundle in &bundles {
        let files = match bundle_dir {
            Some(dir) => bundle.read_from(dir)?,
            None => bundle.read_cached(&env.dirs.cache)?,
        };
        let password = password(env, bundle.operator);
        let objects = install::objects(bundle, &files, place, password.expose())?;
        all.extend(objects.into_iter().map(|object| object.object));
    }
    Ok((all, fetched))
}

/// The operators that an environment needs, by their folders in `manifests/`, each once.
pub fn operators(env: &Environment) -> Vec<&'static str> {
    let mut all = Vec::new();
    // Those of the databases that changes are read from come last.
    let mut components: Vec<&dyn Component> = env.running().map(of).collect();
    components.sort_by_key(|it| it.stage() == Stage::Source);
    for operator in components.into_iter().filter_map(|it| it.operator()) {
        if !all.contains(&operator) {
            all.push(operator);
        }
    }
    all
}

/// What an operator logs in with at what it runs; empty for one that does not.
fn password(env: &Environment, operator: &str) -> Secret {
    let run = env.running().find(|it| of(it).operator() == Some(operator));
    run.map_or_else(
        || Secret::new(""),
        |it| env.password(&format!("{}-operator", it.name)),
    )
}
