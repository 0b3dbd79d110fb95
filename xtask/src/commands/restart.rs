//! `restart`: a component is stopped, started, and proven to work.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::stdout::say;
use super::{context, steps};
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
        let words = [("restart", what.name())];
        return dry_run(global.output, &env, &words, plan);
    }
    let command = format!("cargo xtask restart {}", what.name());
    let _lock = lock::take(&env.dirs.lock(), &command)?;
    let report = steps::run(global, plan)
        .await
        .map_err(|error| again(error, &command))?;
    match global.output {
        Output::Json => {
            let mut summary = summary(&env, &report);
            summary["restarted"] = json!(what.name());
            say!("{summary}");
        }
        Output::Text => {
            let took = report::text::duration(report.wall);
            say!("restarted {} in {took}", what.name());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An error of a plan that a rerun finishes.
pub(super) fn again(error: Error, command: &str) -> Error {
    match error.hint.is_some() || error.code == Code::Interrupted {
        true => error,
        false => error.hint(format!("fix the cause, then: {command}")),
    }
}

/// Prints what a plan would do, node by node in an order in which it can.
pub(super) fn dry_run(
    output: Output,
    env: &Environment,
    words: &[(&str, &str)],
    plan: Plan,
) -> Result<ExitCode> {
    let (graph, _) = plan
        .build()
        .map_err(|error| Error::new(Code::Plan, error.to_string()))?;
    let nodes = graph.nodes();
    match output {
        Output::Json => {
            let list: Vec<_> = nodes
                .iter()
                .map(|node| json!({ "node": node.id, "kind": node.kind, "title": node.title }))
                .collect();
            let mut summary = json!({ "profile": env.name, "platform": env.platform });
            summary["dry_run"] = json!(list);
            for (key, value) in words {
                summary[key] = json!(value);
            }
            say!("{summary}");
        }
        Output::Text => {
            let what: Vec<String> = words.iter().map(|(a, b)| format!("{a} {b}")).collect();
            say!("would {}:", what.join(", "));
            let width = nodes.iter().map(|node| node.id.len()).max().unwrap_or(0);
            for node in nodes {
                say!("  {:<width$}  {}", node.id, node.title);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A run for programs.
pub(super) fn summary(env: &Environment, report: &RunReport) -> Value {
    let mut summary = report::summary::json(report);
    summary["profile"] = json!(env.name);
    summary["platform"] = json!(env.platform);
    summary
}
