//! What commands do with the cluster of an environment before their own work.
//!
//! Later commands connect to a Kind cluster without asking the Docker engine whether it runs; the
//! engine is asked why a cluster does not answer.

use bollard::Docker;
use k8s_openapi::api::core::v1::Secret as ClusterSecret;
use kube::Api;

use super::confirm;
use crate::components::of;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::host::{Dirs, secrets};
use crate::platform::kind::{self, found};
use crate::platform::kubernetes::Cluster;
use crate::platform::{Platform, Secret, docker};
use crate::profile::combinations::{InUse, refuse};
use crate::up::cluster::kind_name;

/// Refuses versions that do not work together on the platform that was chosen, and on this machine.
///
/// # Errors
/// A combination is known to be bad, or no engine answers.
pub(super) async fn refuse_bad_versions(env: &Environment) -> Result<()> {
    let cgroup = match env.platform {
        Platform::Host | Platform::Kubernetes => None,
        Platform::Kind => Some(docker::facts(env.docker().await?).await?.cgroup_version),
    };
    let used = InUse::of(&env.profile, env.platform_choice(), cgroup);
    refuse(&env.tree, &used)
}

/// The cluster that the environment is on; none for `host`, and for a Kind cluster that does not
/// run yet.
///
/// # Errors
/// No context is named, or its server does not answer.
pub(super) async fn find(env: &Environment) -> Result<Option<Cluster>> {
    match env.platform {
        Platform::Host => Ok(None),
        Platform::Kind => {
            let name = kind_name(env);
            match runs(env.docker().await?, &name).await? {
                true => Cluster::connect(&kind::context(&name)).await.map(Some),
                false => Ok(None),
            }
        }
        Platform::Kubernetes => {
            let Some(context) = &env.profile.kubernetes.context else {
                return Err(Error::new(
                    Code::Platform,
                    "the platform `kubernetes` needs a context by name: the current one is never used by accident",
                )
                .details(
                    Cluster::contexts()
                        .ok()
                        .map(|names| format!("there are: {}", names.join(", "))),
                )
                .hint("cargo xtask up --platform kubernetes --context NAME"));
            };
            Cluster::connect(context).await.map(Some)
        }
    }
}

/// As [`find`]; the API server of a Kind cluster that is just coming back, as after a reboot, is
/// waited for.
///
/// # Errors
/// As [`find`], or it does not answer in time.
pub(super) async fn find_patiently(env: &Environment) -> Result<Option<Cluster>> {
    let found = find(env).await;
    if env.platform != Platform::Kind {
        return found;
    }
    match found {
        Ok(None) => return Ok(None),
        Ok(Some(cluster)) if cluster.is_ready().await => return Ok(Some(cluster)),
        // Whatever is wrong with it is reported by the second try, if it is still wrong then.
        Ok(Some(_)) | Err(_) => {}
    }
    let docker = env.docker().await?;
    let name = kind_name(env);
    if runs(docker, &name).await? {
        kind::answers(docker, &name, &Progress::silent()).await?;
    }
    find(env).await
}

/// Whether there is a complete Kind cluster of this name and all its nodes run.
async fn runs(docker: &Docker, name: &str) -> Result<bool> {
    let found = found::find(docker, name).await?;
    Ok(found.is_some_and(|found| found.complete && found.nodes.iter().all(|node| node.running)))
}

/// Connects an environment that is up with its cluster.
///
/// # Errors
/// There is no cluster.
pub(super) async fn attach(env: &Environment) -> Result<()> {
    // A cluster that answers runs. The engine, which takes longer, is asked why one does not.
    if env.platform == Platform::Kind
        && let Ok(cluster) = Cluster::connect(&kind::context(&kind_name(env))).await
    {
        return env.attach(cluster).await;
    }
    match find(env).await? {
        Some(cluster) => env.attach(cluster).await,
        None if env.platform == Platform::Host => Ok(()),
        None => {
            let what = format!("the Kind cluster `{}` does not run", kind_name(env));
            Err(Error::new(Code::NotUp, what).hint("cargo xtask up"))
        }
    }
}

/// Takes over the passwords that the cluster's services have: they count, not what this machine
/// remembers, which may be another one than made them.
///
/// # Errors
/// A Secret cannot be read, or a file not be written.
pub(super) async fn adopt_passwords(
    cluster: &Cluster,
    env: &Environment,
    dirs: &Dirs,
) -> Result<()> {
    for instance in env.running() {
        for kept in of(instance).kept(&env.profile) {
            let namespace = env.profile.namespace(kept.space);
            let api: Api<ClusterSecret> = Api::namespaced(cluster.client.clone(), namespace);
            let name = &kept.secret;
            let secret = api.get_opt(name).await.map_err(|error| {
                Error::new(Code::Service, format!("Secret {namespace}/{name}: {error}"))
            })?;
            let value = secret.and_then(|secret| secret.data?.remove(&kept.key));
            if let Some(text) = value.and_then(|bytes| String::from_utf8(bytes.0).ok()) {
                secrets::adopt(dirs, &kept.name, &Secret::new(text))?;
            }
        }
    }
    Ok(())
}

/// Asks before a cluster of the user's own is changed for the first time.
///
/// # Errors
/// It was not confirmed.
pub(super) fn confirm_first(
    cluster: &Cluster,
    env: &Environment,
    first: bool,
    yes: bool,
) -> Result<()> {
    if env.platform != Platform::Kubernetes || !first || yes {
        return Ok(());
    }
    let spaces = &env.profile.kubernetes;
    confirm::typed(
        &cluster.context,
        &format!(
            "`up` will change the cluster of context {} ({}), in the namespaces {} and {}, and install operators",
            cluster.context, cluster.server, spaces.kafka_namespace, spaces.database_namespace
        ),
        "if that is the one: add --yes",
    )
}
