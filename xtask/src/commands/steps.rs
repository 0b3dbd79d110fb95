//! Running a plan in front of the user.

use crate::cli::Global;
use crate::error::{Error, Result};
use crate::plan::run::RunReport;
use crate::plan::{self, Plan};
use crate::report::Reporter;

/// Runs a plan and tells how it goes; a failure becomes one error that holds all of them.
///
/// # Errors
/// The plan cannot run, or a step failed.
pub(super) async fn run(global: &Global, plan: Plan) -> Result<RunReport> {
    let (graph, actions) = plan.build()?;
    let reporter = Reporter::choose(global.output);
    let mut report = plan::run(graph, actions, |graph, event| {
        reporter.on_event(graph, event)
    })
    .await;
    reporter.finish();
    let errors = std::mem::take(&mut report.errors);
    Error::together(errors).map_or(Ok(report), Err)
}
