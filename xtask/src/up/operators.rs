//! The operators that run Kafka, Connect and the databases on clusters.

use std::path::Path;

use kube::core::DynamicObject;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::kubernetes::bundles::{self, Bundle, install};
use crate::profile::schema::Versions;
use crate::render::kubernetes;

/// The operator's pinned version.
///
/// # Errors
/// There is no such operator.
pub fn pinned<'a>(operator: &str, versions: &'a Versions) -> Result<&'a str> {
    match operator {
        "strimzi" => Ok(&versions.strimzi),
        "altinity" => Ok(&versions.altinity_operator),
        "cloudnative-pg" => Ok(&versions.cloudnative_pg),
        other => Err(Error::new(
            Code::Plan,
            format!("there is no operator `{other}`"),
        )),
    }
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
    let bundles: Vec<Bundle> = kubernetes::operators(&env.profile)
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
    let password = env.cluster_passwords().clickhouse_operator;
    let mut all = Vec::new();
    for bundle in &bundles {
        let files = match bundle_dir {
            Some(dir) => bundle.read_from(dir)?,
            None => bundle.read_cached(&env.dirs.cache)?,
        };
        let objects = install::objects(bundle, &files, place, &password)?;
        all.extend(objects.into_iter().map(|object| object.object));
    }
    Ok((all, fetched))
}
