//! `env`: the environments on this machine, of all profiles.

use std::path::PathBuf;
use std::process::ExitCode;

use bollard::Docker;
use serde::Serialize;
use serde_json::json;

use super::{context, stdout};
use crate::cli::{EnvCommand, Global};
use crate::components;
use crate::error::Result;
use crate::platform::host::daemon::{self, Found};
use crate::platform::host::{Dirs, cache, dirs};
use crate::platform::kind::found;
use crate::platform::{Platform, docker};
use crate::report::table::Table;
use crate::report::text::bytes;

/// An environment as `env list` shows it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// The profile that made it; unknown of a cluster whose state is gone.
    profile: Option<String>,
    platform: Platform,
    /// Its Kind cluster, or the context of the cluster that it is on.
    cluster: Option<String>,
    /// Its directory.
    state: Option<PathBuf>,
    /// Whether all of it runs; unknown on a cluster that is not asked.
    running: Option<bool>,
    /// How much of it runs, for people.
    parts: String,
    /// Bytes of its directory.
    disk: Option<u64>,
    /// Bytes of its processes or nodes.
    memory: Option<u64>,
}

pub(super) async fn run(global: &Global, command: EnvCommand) -> Result<ExitCode> {
    match command {
        EnvCommand::List => {}
    }
    let docker = match docker::answers().await {
        true => Some(docker::connect().await?),
        false => None,
    };
    let mut rows = Vec::new();
    for name in dirs::environments()? {
        rows.extend(row(&name, docker.as_ref()).await?);
    }
    if let Some(docker) = &docker {
        for cluster in found::ours(docker).await? {
            if !rows
                .iter()
                .any(|row| row.cluster.as_ref() == Some(&cluster))
            {
                rows.push(without_state(docker, cluster).await?);
            }
        }
    }
    let object = json!({ "environments": rows });
    stdout::answer(global.output, object, || describe(&rows))
}

fn describe(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no environment on this machine\n".into();
    }
    let mut table = Table::titled("ENVIRONMENT  PLATFORM  RUNS  >DISK  >MEMORY  WHERE  PROFILE");
    let size = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), bytes);
    for row in rows {
        let state = row.state.as_ref().map(|it| it.display().to_string());
        table.row([
            row.name.clone(),
            row.platform.name().to_owned(),
            row.parts.clone(),
            size(row.disk),
            size(row.memory),
            row.cluster.clone().or(state).unwrap_or_default(),
            row.profile.clone().unwrap_or_else(|| "?".to_owned()),
        ]);
    }
    table.text(stdout::palette())
}

/// An environment that has a directory; none where nothing was finished in it.
async fn row(name: &str, docker: Option<&Docker>) -> Result<Option<Row>> {
    let dirs = Dirs::of(name)?;
    let Some((selection, platform)) = context::made_with(&dirs)? else {
        return Ok(None);
    };
    let mut row = Row {
        name: name.to_owned(),
        profile: Some(selection.profile.clone()),
        platform,
        cluster: None,
        disk: Some(cache::size(&dirs.state)),
        state: Some(dirs.state.clone()),
        running: None,
        parts: "?".into(),
        memory: None,
    };
    // A profile that is gone or wrong hides no environment.
    let profile = components::load(&context::root(), &selection).ok();
    match platform {
        Platform::Host => processes(&dirs, &mut row)?,
        Platform::Kind => {
            let cluster = profile.map(|it| it.profile.kind_name(name));
            if let (Some(cluster), Some(docker)) = (&cluster, docker) {
                nodes(docker, cluster, &mut row).await?;
            }
            row.cluster = cluster;
        }
        Platform::Kubernetes => {
            row.cluster = profile.and_then(|it| it.profile.kubernetes.context);
        }
    }
    Ok(Some(row))
}

/// A Kind cluster of this tool that no environment here knows.
async fn without_state(docker: &Docker, cluster: String) -> Result<Row> {
    let mut row = Row {
        name: cluster.strip_prefix("cdc-").unwrap_or(&cluster).to_owned(),
        profile: None,
        platform: Platform::Kind,
        cluster: Some(cluster.clone()),
        state: None,
        running: None,
        parts: "?".into(),
        disk: None,
        memory: None,
    };
    nodes(docker, &cluster, &mut row).await?;
    Ok(row)
}

fn processes(dirs: &Dirs, row: &mut Row) -> Result<()> {
    let components = daemon::recorded(dirs)?;
    let (mut running, mut memory) = (0, 0);
    for component in &components {
        if let Found::Running(_, seen) = daemon::find(dirs, component)? {
            running += 1;
            memory += seen.resident;
        }
    }
    count(row, running, components.len());
    row.memory = Some(memory);
    Ok(())
}

async fn nodes(docker: &Docker, cluster: &str, row: &mut Row) -> Result<()> {
    let found = found::find(docker, cluster).await?;
    let nodes = found.map(|it| it.nodes).unwrap_or_default();
    let running: Vec<_> = nodes.iter().filter(|node| node.running).collect();
    let mut memory = Some(0);
    for node in &running {
        let used = found::memory(docker, &node.name).await;
        memory = memory.zip(used).map(|(sum, used)| sum + used);
    }
    count(row, running.len(), nodes.len());
    row.memory = memory;
    Ok(())
}

fn count(row: &mut Row, running: usize, all: usize) {
    row.running = Some(running > 0 && running == all);
    row.parts = match (running, all) {
        (0, _) => "no".into(),
        (running, all) if running == all => "yes".into(),
        (running, all) => format!("{running} of {all}"),
    };
}
