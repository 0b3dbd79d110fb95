//! `diff`: what `up` would change on the cluster.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{cluster, context, stdout};
use crate::cli::{Diff, Global};
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Exit, Result};
use crate::plan::Progress;
use crate::platform::Platform;
use crate::platform::kubernetes::{Action, Cluster, Difference, Owned};
use crate::up::cluster::{Show, left, objects};
use crate::up::operators;

pub(super) async fn run(global: &Global, args: &Diff) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let platform = context::choose_platform(&loaded).await?.platform;
    if platform == Platform::Host {
        let what = "`diff` compares with a cluster; on `host` there is none";
        return Err(Error::new(Code::Platform, what)
            .hint("cargo xtask up --dry-run shows what `up` would do here"));
    }
    let env = Environment::new(&context::root(), loaded, platform, Secrets::Existing)?;
    let Some(cluster) = cluster::find(&env).await? else {
        let what = "there is no Kind cluster yet: `up` would make it, and everything in it";
        return Err(Error::new(Code::NotUp, what)
            .hint("cargo xtask render --platform kind shows the objects"));
    };
    env.read_kafka_ca(&cluster).await?;
    let (wanted, left) = compare(&env, &cluster, args).await?;
    stdout::answer(global.output, object(&wanted, &left), || {
        text(&wanted, &left)
    })?;
    let same = wanted.is_empty() && left.is_empty();
    Ok(stdout::ended(same, Exit::Differences))
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

fn object(wanted: &[Difference], left: &[Owned]) -> Value {
    let changes = wanted.iter().map(|difference| {
        json!({
            "object": difference.object.to_string(),
            "action": verb(difference.action),
            "diff": difference.text,
            "conflicts": difference.conflicts,
        })
    });
    let prune = left.iter().map(|owned| owned.object.to_string());
    json!({ "changes": changes.collect::<Vec<_>>(), "prune": prune.collect::<Vec<_>>() })
}

fn text(wanted: &[Difference], left: &[Owned]) -> String {
    if wanted.is_empty() && left.is_empty() {
        return "no differences\n".into();
    }
    let mut text = String::new();
    for difference in wanted {
        text += &format!("{} {}\n", verb(difference.action), difference.object);
        text += &format!("{}\n", difference.text.trim_end());
        for conflict in &difference.conflicts {
            text += &format!("  conflict: {conflict}\n");
        }
    }
    for owned in left {
        text += &format!("remove {}\n", owned.object);
    }
    text
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Configure => "change",
    }
}
