//! `restart`: a component is stopped, started, and proven to work.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{context, stdout, steps};
use crate::cli::{Global, Restart};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::operate::restart::{self, What};
use crate::plan::Plan;
use crate::plan::run::RunReport;
use crate::platform::host::lock;
use crate::report::{self, Output};

pub(super) async fn run(global: &Global, args: &Restart) -> Result<ExitCode> {
    let env = context::existing_for(global, |it| What::fits(it, &args.component)).await?;
    let what = What::named(&env, &args.component)?;
    let plan = restart::plan(&env, &what)?;
    if args.dry_run {
        return dry_run(global.output, &env, ("restart", what.name()), plan);
    }
    let command = format!("cargo xtask restart {}", what.name());
    let _lock = lock::take(&env.dirs.lock(), &command)?;
    let report = steps::run(global, plan)
        .await
        .map_err(|error| again(error, &command))?;
    let mut summary = summary(&env, &report);
    summary["restarted"] = json!(what.name());
    stdout::answer(global.output, summary, || {
        let took = report::text::duration(report.wall);
        format!("restarted {} in {took}\n", what.name())
    })
}

/// An error of a plan that a rerun finishes.
pub(super) fn again(error: Error, command: &str) -> Error {
    match error.hint.is_some() || error.code == Code::Interrupted {
        true => error,
        false => error.hint(format!("fix the cause, then: {command}")),
    }
}

/// Prints what a plan would do to something, node by node in an order in which it can.
pub(super) fn dry_run(
    output: Output,
    env: &Environment,
    (what, name): (&str, &str),
    plan: Plan,
) -> Result<ExitCode> {
    let (graph, _) = plan.build()?;
    let nodes = graph.nodes();
    let list = nodes.iter();
    let list = list.map(|it| json!({ "node": it.id, "kind": it.kind, "title": it.title }));
    let summary = json!({
        "profile": env.name,
        "platform": env.platform,
        "dry_run": list.collect::<Vec<_>>(),
        what: name,
    });
    stdout::answer(output, summary, || {
        let width = nodes.iter().map(|node| node.id.len()).max().unwrap_or(0);
        let mut text = format!("would {what} {name}:\n");
        for node in nodes {
            text += &format!("  {:<width$}  {}\n", node.id, node.title);
        }
        text
    })
}

/// A run for programs.
pub(super) fn summary(env: &Environment, report: &RunReport) -> Value {
    let mut summary = report::summary::json(report);
    summary["profile"] = json!(env.name);
    summary["platform"] = json!(env.platform);
    summary
}
