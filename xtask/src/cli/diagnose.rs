//! The commands that say what is wrong.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Names;
use super::heal::interval;

/// Options of `diagnose`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask diagnose
  cargo xtask diagnose postgres-connector
  cargo xtask diagnose --fix
  cargo xtask diagnose --data                   whether the targets have the sources' rows, too
  cargo xtask diagnose --bundle report.tar.gz   a report to hand on, without secrets

Facts are gathered at once. The timeout for each follows the machine: two seconds where nothing else runs,
longer under load, never longer than --wait. Rules judge the facts. Causes come first, and consequences are
listed below their cause. What could not be seen is reported as unknown, never as fine.

--fix does what is safe: it starts and restarts, and never drops a slot, changes a password, resumes
what a person paused, or re-snapshots a table.

--data reads whole tables, as `verify --data` does: rows that differ are a finding with its repair.

Exit code 0: changes arrive, and no row differs where rows were compared. 1: not so, or something could
not be seen.")]
pub struct Diagnose {
    /// Only what concerns this component, connector or flow, with its causes.
    #[arg(value_name = "COMPONENT|CONNECTOR|FLOW", add = Names::Subjects)]
    pub subject: Option<String>,
    /// The longest timeout of a fact.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = interval)]
    pub wait: Duration,
    /// Compare all rows of the flows, or of the flow that is named, when changes arrive.
    #[arg(long)]
    pub data: bool,
    /// Apply the fix, where that is safe, and check again.
    #[arg(long)]
    pub fix: bool,
    /// Write facts, findings, statuses, configurations, versions and the ends of logs into an archive.
    #[arg(long, value_name = "FILE.tar.gz", value_hint = clap::ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
}

/// Options of `explain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask explain                   all codes, a line each
  cargo xtask explain SLOT_LOST")]
pub struct Explain {
    /// A code, as findings and errors show it.
    #[arg(add = Names::Codes)]
    pub code: Option<String>,
}
