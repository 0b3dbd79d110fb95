//! `reset-connector`: a full snapshot, from the beginning.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::{confirm, context, reconcile, reconcile_text, restart, stdout, steps};
use crate::cli::{Global, ResetConnector};
use crate::clock;
use crate::error::Result;
use crate::observe::connectors::one;
use crate::operate::reset::journal::Choice;
use crate::operate::reset::{FlowSummary, Reset, Summary};
use crate::platform::host::lock;
use crate::report::Output;

/// Tables of up to so many rows are compared with their source at the end: it takes a few seconds.
const COMPARED: u64 = 1_000_000;
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
        let object = json!({ "connector": name, "dry_run": words });
        return stdout::answer(global.output, object, || {
            format!("would reset {name}:\n  {}\n", words.join("\n  "))
        });
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
    let again = format!("cargo xtask reset-connector {name}");
    let report = steps::run(global, reset.plan()).await;
    report.map_err(|error| restart::again(error, &again))?;
    let summary = reset.finish().await?;
    let (small, large): (Vec<&FlowSummary>, Vec<&FlowSummary>) =
        summary.flows.iter().partition(|it| it.rows <= COMPARED);
    let data = reconcile::flows(&env, small.iter().map(|it| &it.flow)).await?;
    let mut object = json!(summary);
    object["data"] = data.to_json();
    object["too_large_to_compare"] = large.iter().map(|it| it.flow.as_str()).collect();
    stdout::answer(global.output, object, || {
        let large = large.iter().map(|it| {
            let (flow, rows) = (&it.flow, it.rows);
            let next = crate::printed::ours(&format!("cargo xtask reconcile {flow}"));
            format!("  {flow}: {rows} rows are not compared here, as they are more than {COMPARED}: {next}\n")
        });
        let large: String = large.collect();
        let same = reconcile_text::console(&data, stdout::palette());
        format!("{}{large}\n{same}", text(&summary))
    })?;
    Ok(reconcile::code(&data))
}

fn text(summary: &Summary) -> String {
    let (name, took) = (&summary.connector, clock::span(summary.took_ms));
    let mut text = format!("{name} reads from its new snapshot, {took} after the confirmation\n");
    for flow in &summary.flows {
        let first = flow.first_row_ms.map(clock::span);
        let first = first.map_or(String::new(), |span| format!(", the first after {span}"));
        let (name, rows, deleted) = (&flow.flow, flow.rows, flow.deleted.len());
        text += &format!("  {name}: {rows} rows from the snapshot{first}\n");
        if deleted == 0 {
            continue;
        }
        text += &format!(
            "  {name}: {deleted} rows that the source no longer has, now marked as deleted:\n"
        );
        for key in flow.deleted.iter().take(SHOWN) {
            text += &format!("    {key}\n");
        }
        if deleted > SHOWN {
            let more = deleted - SHOWN;
            text += &format!("    and {more} more: --output json lists all\n");
        }
    }
    text + &format!("  saved before: {}\n", summary.backup.display())
}
