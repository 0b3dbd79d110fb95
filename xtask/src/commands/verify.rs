//! `verify`: prove that changes travel from each source to silver.

use std::process::ExitCode;

use serde_json::json;

use super::{context, reconcile, reconcile_text, stdout};
use crate::cli::{Global, Verify};
use crate::error::{Error, Result};
use crate::observe::latency::{self, Distribution, Latency};
use crate::observe::verify::{self, Proof};
use crate::plan::Progress;
use crate::reconcile::report::Report;
use crate::report::Output;

pub(super) async fn run(global: &Global, args: &Verify) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let (with_canary, not_proven): (Vec<&String>, Vec<&String>) = {
        let has_canary = |name: &&String| env.profile.flows[*name].canary.is_some();
        env.profile.flows.keys().partition(has_canary)
    };
    let progress = Progress::silent();
    let mut proofs = Vec::new();
    let mut errors = Vec::new();
    let flows = with_canary
        .iter()
        .map(|name| verify::flow(&env, name, &progress));
    for result in futures_util::future::join_all(flows).await {
        match result {
            Ok(found) => proofs.extend(found),
            Err(error) => errors.push(error),
        }
    }
    let mut latencies = Vec::new();
    if let Some(rows) = args.latency.filter(|_| errors.is_empty()) {
        // One flow after the other: together they would time each other.
        for name in &with_canary {
            latencies.push(latency::measure(&env, name, rows, &progress).await?);
        }
    }
    let data = match args.data {
        true => Some(reconcile::flows(&env, env.profile.flows.keys()).await?),
        false => None,
    };
    if errors.is_empty() || global.output == Output::Text {
        let object = json!({
            "profile": env.name,
            "proofs": proofs,
            "not_proven": not_proven,
            "latency": latencies,
            "data": data.as_ref().map(Report::to_json),
            "left_out": env.left_out,
        });
        stdout::answer(global.output, object, || {
            let left_out = env.left_out.iter();
            let left_out = left_out.map(|it| format!("  - {}: {}\n", it.component, it.reason));
            let not_proven = not_proven.iter().map(|it| {
                format!("  - {it}: not proven, as it has no canary (flows.{it}.canary)\n")
            });
            let proofs = proofs.iter().map(proven);
            proofs
                .chain(not_proven)
                .chain(left_out)
                .chain(latencies.iter().map(timed))
                .chain(
                    data.iter()
                        .map(|it| format!("\n{}", reconcile_text::console(it, stdout::palette()))),
                )
                .collect()
        })?;
    }
    let same = data.as_ref().map_or(ExitCode::SUCCESS, reconcile::code);
    Error::together(errors).map_or(Ok(same), Err)
}

fn proven(proof: &Proof) -> String {
    let (flow, change, ms) = (&proof.flow, proof.change, proof.took_ms);
    format!("  ✓ {flow:<10} {change:<7} source -> silver in {ms} ms\n")
}

fn timed(latency: &Latency) -> String {
    let mut text = format!(
        "\n{}: {} rows, one at a time        p50      p95      p99      max\n",
        latency.flow, latency.rows
    );
    for (hop, found) in [
        ("source -> topic", latency.source_to_topic),
        ("topic -> silver", latency.topic_to_silver),
        ("source -> silver", latency.total),
    ] {
        let Distribution { p50, p95, p99, max } = found;
        text += &format!("  {hop:<30} {p50:>5.0} ms {p95:>5.0} ms {p99:>5.0} ms {max:>5.0} ms\n");
    }
    text
}
