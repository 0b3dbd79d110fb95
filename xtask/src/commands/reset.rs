//! `reset-connector`: a full snapshot, from the beginning.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::stdout::say;
use super::{confirm, context, steps};
use crate::cli::{Global, ResetConnector};
use crate::clock;
use crate::error::{Code, Result};
use crate::observe::connectors::one;
use crate::operate::reset::journal::Choice;
use crate::operate::reset::{Reset, Summary};
use crate::platform::host::lock;
use crate::report::Output;

/// How many keys a person is shown.
const SHOWN: usize = 20;

pub(super) async fn run(global: &Global, args: &ResetConnector) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let name = one(&env, &args.name).await?;
    let choice = Choice {
        truncate_target: args.truncate_target,
        drop_publication: args.drop_publication,
    };
    let (reset, goes_on) = Reset::open(&env, &name, choice)?;
    if args.dry_run {
        let words = reset.words().await?;
        match global.output {
            Output::Json => say!("{}", json!({ "connector": name, "dry_run": words })),
            Output::Text => {
                say!("would reset {name}:");
                for word in words {
                    say!("  {word}");
                }
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !goes_on {
        let words = reset.words().await?.join("\n  ");
        let way = format!("if that is what you want: cargo xtask reset-connector {name} --yes");
        confirm::typed(&name, &format!("reset {name}:\n  {words}"), &way)?;
    }
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask reset-connector")?;
    // Another run may have finished it, or begun one, while this one asked.
    let (reset, goes_on) = Reset::open(&env, &name, choice)?;
    if goes_on && global.output == Output::Text {
        eprintln!("going on with a reset that was not finished");
    }
    let reset = Arc::new(reset);
    steps::run(global, reset.plan()).await.map_err(|error| {
        let again = format!("fix the cause, then: cargo xtask reset-connector {name}");
        match error.hint.is_some() || error.code == Code::Interrupted {
            true => error,
            false => error.hint(again),
        }
    })?;
    let summary = reset.finish().await?;
    match global.output {
        Output::Json => say!("{}", json!(summary)),
        Output::Text => print(&summary),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(summary: &Summary) {
    say!(
        "{} reads from its new snapshot, {} after the confirmation",
        summary.connector,
        clock::span(summary.took_ms)
    );
    for flow in &summary.flows {
        let first = flow.first_row_ms.map_or(String::new(), |ms| {
            format!(", the first after {}", clock::span(ms))
        });
        say!(
            "  {}: {} rows from the snapshot{first}",
            flow.flow,
            flow.rows
        );
        if flow.deleted.is_empty() {
            continue;
        }
        say!(
            "  {}: {} rows that the source no longer has, now marked as deleted:",
            flow.flow,
            flow.deleted.len()
        );
        for key in flow.deleted.iter().take(SHOWN) {
            say!("    {key}");
        }
        if flow.deleted.len() > SHOWN {
            say!(
                "    and {} more: --output json lists all",
                flow.deleted.len() - SHOWN
            );
        }
    }
    say!("  saved before: {}", summary.backup.display());
}
