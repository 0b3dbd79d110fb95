//! `workload`: writes that look like an application's.

use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use super::{context, stdout};
use crate::cli::{Global, WorkloadCommand};
use crate::error::Result;
use crate::operate::workload;
use crate::report::text::duration;

pub(super) async fn run(global: &Global, command: &WorkloadCommand) -> Result<ExitCode> {
    let WorkloadCommand::Orders(args) = command;
    let env = context::existing(global).await?;
    let begun = Instant::now();
    let placed = workload::orders(&env, args.rate, args.duration).await?;
    let took = begun.elapsed();
    let object = json!({ "orders": placed, "took_ms": took.as_millis() as u64 });
    stdout::answer(global.output, object, || {
        format!("placed {placed} orders in {}\n", duration(took))
    })?;
    Ok(ExitCode::SUCCESS)
}
