//! `verify`: prove that changes travel from each source to silver.

use std::process::ExitCode;

use serde_json::json;

use super::context;
use super::stdout::say;
use crate::cli::{Global, Verify};
use crate::error::{Code, Error, Result};
use crate::observe::latency::{self, Distribution, Latency};
use crate::observe::verify::{self, Proof};
use crate::plan::Progress;
use crate::report::Output;

pub(super) async fn run(global: &Global, args: &Verify) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let with_canary: Vec<&String> = env
        .profile
        .flows
        .iter()
        .filter(|(_, flow)| flow.canary.is_some())
        .map(|(name, _)| name)
        .collect();
    if with_canary.is_empty() {
        return Err(
            Error::new(Code::Verify, "no flow of the profile has a canary")
                .hint("give one to a flow: flows.NAME.canary"),
        );
    }
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
    match global.output {
        Output::Json if errors.is_empty() => say!(
            "{}",
            json!({
                "profile": env.name,
                "proofs": proofs,
                "latency": latencies,
                "left_out": context::left_out(&env),
            })
        ),
        Output::Json => {}
        Output::Text => {
            print_proofs(&proofs);
            for left_out in &env.left_out {
                say!("  - {}: {}", left_out.component, left_out.reason);
            }
            for latency in &latencies {
                print_latency(latency);
            }
        }
    }
    Error::together(errors).map_or(Ok(ExitCode::SUCCESS), Err)
}

fn print_proofs(proofs: &[Proof]) {
    for proof in proofs {
        say!(
            "  ✓ {:<10} {:<7} source -> silver in {} ms",
            proof.flow,
            proof.change,
            proof.took_ms
        );
    }
}

fn print_latency(latency: &Latency) {
    say!(
        "\n{}: {} rows, one at a time        p50      p95      p99      max",
        latency.flow,
        latency.rows
    );
    for (hop, found) in [
        ("source -> topic", latency.source_to_topic),
        ("topic -> silver", latency.topic_to_silver),
        ("source -> silver", latency.total),
    ] {
        let Distribution { p50, p95, p99, max } = found;
        say!("  {hop:<30} {p50:>5.0} ms {p95:>5.0} ms {p99:>5.0} ms {max:>5.0} ms");
    }
}
