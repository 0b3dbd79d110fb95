//! `down` on clusters: a Kind cluster goes as a whole, if this tool made it; in a cluster of the
//! user's own, only what this tool applied.
//!
//! `--keep-data` stops a Kind cluster's nodes. On other clusters it needs
//! `kubernetes.keep_volumes`, since volumes are removed with their owners.

use std::process::ExitCode;

use bollard::query_parameters::StopContainerOptions;

use super::down::print;
use super::down_left::{self, Done};
use super::{cluster, confirm, context};
use crate::cli::{Down, Global};
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::Platform;
use crate::platform::docker::failed;
use crate::platform::host::{dirs, lock};
use crate::platform::kind::{self, Kind};
use crate::platform::kubernetes::Owned;
use crate::report;
use crate::up::cluster::{REMOVED_WITHIN, kind_name, kind_source, namespaces};

pub(super) async fn run(global: &Global, args: &Down, platform: Platform) -> Result<ExitCode> {
    let loaded = context::remembered_profile(global)?;
    let env = Environment::new(&context::root(), loaded, platform, Secrets::Existing)?;
    let removed = !args.keep_data && !args.dry_run;
    let found = match args.keep_data {
        true => down_left::Found::default(),
        false => down_left::find(global, platform).await,
    };
    let theirs = found.names();
    if !theirs.is_empty() {
        eprintln!(
            "at your own servers {} too: {}",
            if removed {
                "this drops"
            } else {
                "it would drop"
            },
            theirs.join(", ")
        );
    }
    let sentence = match platform {
        Platform::Kubernetes => existing(&env, args).await?,
        Platform::Kind | Platform::Host => own(&env, args).await?,
    };
    let done = match removed {
        true => found.drop().await,
        false => Done::default(),
    };
    let sentence = done.after(&sentence);
    if removed {
        dirs::remove(&env.dirs.state)?;
    }
    print(global.output, &env.name, &[], removed, &done, &sentence)
}

/// The Kind cluster, as a whole.
async fn own(env: &Environment, args: &Down) -> Result<String> {
    let name = kind_name(env);
    let docker = env.docker().await?;
    let Some(found) = kind::found::find(docker, &name).await? else {
        return Ok(format!("there is no Kind cluster {name}"));
    };
    if args.dry_run {
        let what = if args.keep_data { "stop" } else { "remove" };
        return Ok(format!("would {what} the Kind cluster {name}"));
    }
    env.dirs.create()?;
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask down")?;
    let begin = std::time::Instant::now();
    if args.keep_data {
        for node in found.nodes.iter().filter(|node| node.running) {
            docker
                .stop_container(&node.name, None::<StopContainerOptions>)
                .await
                .map_err(|error| failed(&format!("stop node {}", node.name), &error))?;
        }
    } else {
        if !args.yes {
            confirm::typed(
                &env.name,
                &format!("This removes the Kind cluster {name} with all its data"),
                "cargo xtask down --yes, or only stop it: cargo xtask down --keep-data",
            )?;
        }
        let kind = Kind::find(&kind_source(env), &Progress::silent()).await?;
        kind::delete(&kind, docker, &name).await?;
    }
    Ok(format!(
        "{} the Kind cluster {name} in {}",
        if args.keep_data { "stopped" } else { "removed" },
        report::text::duration(begin.elapsed())
    ))
}

/// What this tool applied to a cluster of the user's own.
async fn existing(env: &Environment, args: &Down) -> Result<String> {
    let Some(cluster) = cluster::find(env).await? else {
        return Ok("there is no cluster".into());
    };
    if args.keep_data && !env.profile.kubernetes.keep_volumes {
        return Err(Error::new(
            Code::Usage,
            "the profile has volumes removed together with what they belong to",
        )
        .hint(
            "cargo xtask up --set kubernetes.keep_volumes=true, then cargo xtask down --keep-data",
        ));
    }
    let inventory = cluster.inventory(&env.name, &namespaces(env)).await?;
    let mut objects = inventory.objects;
    if args.keep_data {
        objects.retain(|owned| !holds_data(owned));
    } else {
        objects.extend(inventory.volumes);
    }
    if objects.is_empty() {
        return Ok(format!("nothing of it is in {}", cluster.context));
    }
    let list: Vec<String> = objects
        .iter()
        .map(|owned| owned.object.to_string())
        .collect();
    cluster.check_removal(&objects).await?;
    if args.dry_run {
        return Ok(format!(
            "would remove from {}: {}",
            cluster.context,
            list.join(", ")
        ));
    }
    if !args.yes {
        confirm::typed(
            &env.name,
            &format!(
                "This removes from the cluster of context {}: {}",
                cluster.context,
                list.join(", ")
            ),
            "cargo xtask down --yes, or keep the volumes: cargo xtask down --keep-data",
        )?;
    }
    env.dirs.create()?;
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask down")?;
    let begin = std::time::Instant::now();
    let removed = cluster
        .remove(&objects, REMOVED_WITHIN, &Progress::silent())
        .await?;
    let mut sentence = format!(
        "removed {} objects from {} in {}",
        removed.gone.len(),
        cluster.context,
        report::text::duration(begin.elapsed())
    );
    for (object, why) in &removed.kept {
        sentence += &format!("; {object} is kept: {why}");
    }
    Ok(sentence)
}

/// What `--keep-data` keeps: volumes, the passwords of what is on them, and the namespaces of both.
fn holds_data(owned: &Owned) -> bool {
    matches!(
        owned.object.kind.as_str(),
        "PersistentVolumeClaim" | "Secret" | "Namespace"
    )
}
