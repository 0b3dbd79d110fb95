//! `offsets`: positions to a file, and back.

use std::process::ExitCode;

use serde_json::json;

use super::{confirm, context, stdout};
use crate::cli::{Global, OffsetsBackup, OffsetsCommand, OffsetsRestore};
use crate::components::reading_targets;
use crate::environment::Environment;
use crate::error::Result;
use crate::observe::connectors::view;
use crate::operate::backup;
use crate::operate::reset::refuse_unfinished;
use crate::plan::Progress;
use crate::platform::host::lock;
use crate::report::Output;
use crate::report::table::Table;

pub(super) async fn run(global: &Global, command: &OffsetsCommand) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    match command {
        OffsetsCommand::Backup(args) => save(global.output, &env, args).await,
        OffsetsCommand::Restore(args) => restore(global.output, &env, args).await,
    }
}

async fn save(output: Output, env: &Environment, args: &OffsetsBackup) -> Result<ExitCode> {
    let rows = view::list(env).await?;
    let sources: Vec<String> = rows
        .into_iter()
        .filter(|row| row.kind == "source")
        .map(|row| row.name)
        .collect();
    let groups: Vec<String> = env
        .profile
        .flows
        .values()
        .map(|flow| flow.group.clone())
        .collect();
    let saved = backup::gather(env, &sources, &groups).await?;
    let path = match &args.file {
        Some(path) => path.clone(),
        None => backup::directory(env).join(format!("offsets-{}.json", saved.at)),
    };
    backup::write(&path, &saved)?;
    stdout::answer(output, json!({ "file": path, "backup": saved }), || {
        let (connectors, groups) = (saved.connectors.len(), saved.groups.len());
        let file = path.display();
        format!("{file}: {connectors} connectors, {groups} groups\n")
    })
}

async fn restore(
    output: Output,
    env: &std::sync::Arc<Environment>,
    args: &OffsetsRestore,
) -> Result<ExitCode> {
    let saved = backup::read(&args.file)?;
    for name in saved.connectors.keys() {
        refuse_unfinished(env, name)?;
    }
    let changes = backup::compare(env, &saved).await?;
    let mut table = Table::titled("NAME  PARTITION  IS  WILL BE");
    for change in &changes {
        table.row([&change.name, &change.partition, &change.from, &change.to].map(String::clone));
    }
    let palette = stdout::palette();
    if args.dry_run || changes.is_empty() {
        let object = json!({ "dry_run": args.dry_run, "changes": changes });
        return stdout::answer(output, object, || match changes.is_empty() {
            true => "everything is already at the file's positions\n".into(),
            false => table.text(palette),
        });
    }
    if !args.yes {
        let what = format!(
            "set these offsets; changes in between are captured again, or never:\n{}",
            table.text(palette)
        );
        let way = "if that is what you want: add --yes";
        confirm::typed(&env.name, what.trim_end(), way)?;
    }
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask offsets restore")?;
    let progress = Progress::silent();
    for (name, connector) in &saved.connectors {
        if changes.iter().any(|change| change.name == *name) {
            backup::restore_connector(env, name, connector, &progress).await?;
        }
    }
    for (group, offsets) in &saved.groups {
        if changes.iter().any(|change| change.name == *group) {
            // The engine's consumer must leave the group before its offsets can be set.
            for target in reading_targets(env) {
                target.leave_group(env, group).await?;
            }
            backup::restore_group(env, group, offsets, &progress).await?;
        }
    }
    // Brings back what left; also after an earlier restore that was killed in between.
    for target in reading_targets(env) {
        target.create_tables(env, &progress).await?;
    }
    let object = json!({ "dry_run": false, "changes": changes });
    stdout::answer(output, object, || {
        format!("{} offsets set\n", changes.len())
    })
}
