//! The commands about an outbox: its projections, and a workload that fills it.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::Names;
use super::heal::interval;

/// Subcommands of `projection`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask projection run --profile outbox
  cargo xtask projection status --profile outbox
  cargo xtask projection verify --profile outbox
  cargo xtask projection replay --profile outbox --yes")]
pub enum ProjectionCommand {
    /// Read the outbox's events and add them up, until it is ended.
    Run(ProjectionRun),
    /// Show how far it is: unread events, rows, messages in its queue.
    Status(ProjectionName),
    /// Add all events up again beside the table, then replace its rows.
    Replay(ProjectionReplay),
    /// Compare its table with what the outbox's database says itself.
    Verify(ProjectionVerify),
}

/// Which projection.
#[derive(Clone, Debug, Args)]
pub struct ProjectionName {
    /// The projection; needed where the profile has several.
    #[arg(value_name = "PROJECTION", add = Names::Projections)]
    pub name: Option<String>,
}

/// Options of `projection run`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "It may be killed anywhere: positions and totals are written in one transaction. One process at a
time runs a projection. What cannot be added up goes to the projection's queue, with the reason in its
headers: cargo xtask topic tail QUEUE --headers"
)]
pub struct ProjectionRun {
    /// Which one.
    #[command(flatten)]
    pub of: ProjectionName,
    /// End where the topic ends now.
    #[arg(long)]
    pub once: bool,
}

/// Options of `projection replay`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Whoever reads the table sees the old rows until all of the new ones are there."
)]
pub struct ProjectionReplay {
    /// Which one.
    #[command(flatten)]
    pub of: ProjectionName,
    /// Say how many events there are, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// Options of `projection verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Exit code 0: the same. 2: rows differ, which is printed.")]
pub struct ProjectionVerify {
    /// Which one.
    #[command(flatten)]
    pub of: ProjectionName,
    /// How long rows that differ may take to become the same: events may be on their way.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = interval)]
    pub settle: Duration,
}

/// Subcommands of `workload`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask workload orders --profile outbox
  cargo xtask workload orders --profile outbox --rate 200 --duration 1m")]
pub enum WorkloadCommand {
    /// Place orders: order, items and outbox event in one transaction each.
    Orders(WorkloadOrders),
}

/// Options of `workload orders`.
#[derive(Clone, Debug, Args)]
pub struct WorkloadOrders {
    /// Orders a second.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// For how long.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = interval)]
    pub duration: Duration,
}
