//! `diff`: what `up` would change on the cluster.

use std::process::ExitCode;

use serde_json::json;

use super::stdout::say;
use super::{cluster, context};
use crate::cli::{Diff, Global};
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Exit, Result};
use crate::plan::Progress;
use crate::platform::Platform;
use crate::platform::kubernetes::{Action, Cluster, Difference, Owned};
use crate::report::Output;
use crate::up::cluster::{Show, left, objects};
use crate::up::operators;

pub(super) async fn run(global: &Global, args: &Diff) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let platform = context::choose_platform(&loaded).await?.platform;
    if platform == Platform::Host {
        return Err(Error::new(
            Code::Platform,
            "`diff` compares with a cluster; on `host` there is none",
        )
        .hint("cargo xtask up --dry-run shows what `up` would do here"));
    }
    let env = Environment::new(&context::root(), loaded, platform, Secrets::Existing)?;
    let Some(cluster) = cluster::find(&env).await? else {
        return Err(Error::new(
            Code::NotUp,
            "there is no Kind cluster yet: `up` would make it, and everything in it",
        )
        .hint("cargo xtask render --platform kind shows the objects"));
    };
    env.read_kafka_ca(&cluster).await?;
    let (wanted, left) = compare(&env, &cluster, args).await?;
    print(global.output, &wanted, &left);
    Ok(if wanted.is_empty() && left.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Differences as u8)
    })
}

async fn compare(
    env: &Environment,
    cluster: &Cluster,
    args: &Diff,
) -> Result<(Vec<Difference>, Vec<Owned>)> {
    let progress = Progress::silent();
    let (mut all, _) = operators::objects(env, args.bundle_dir.as_deref(), &progress).await?;
    all.extend(
        objects(env, Show::Secrets)?
            .into_iter()
            .map(|object| object.object),
    );
    let differences = cluster.diff(&all, &env.name).await?;
    let left = left(env, cluster, &all).await?;
    Ok((differences, left))
}

fn print(output: Output, wanted: &[Difference], left: &[Owned]) {
    match output {
        Output::Json => {
            let changes: Vec<_> = wanted
                .iter()
                .map(|difference| {
                    json!({
                        "object": difference.object.to_string(),
                        "action": verb(difference.action),
                        "diff": difference.text,
                        "conflicts": difference.conflicts,
                    })
                })
                .collect();
            let prune: Vec<_> = left.iter().map(|owned| owned.object.to_string()).collect();
            say!("{}", json!({ "changes": changes, "prune": prune }));
        }
        Output::Text => {
            for difference in wanted {
                say!("{} {}", verb(difference.action), difference.object);
                say!("{}", difference.text.trim_end());
                for conflict in &difference.conflicts {
                    say!("  conflict: {conflict}");
                }
            }
            for owned in left {
                say!("remove {}", owned.object);
            }
            if wanted.is_empty() && left.is_empty() {
                say!("no differences");
            }
        }
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Configure => "change",
    }
}
