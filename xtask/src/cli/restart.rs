//! The commands that have components begin again.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::commands::complete;

/// Options of `restart`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask restart connect
  cargo xtask restart postgres --dry-run
  cargo xtask restart operator --platform kind

On `host` the process is stopped cleanly and started again. On clusters Strimzi rolls Kafka and
Connect, and the pods of everything else are replaced by their own controllers; the command waits until
each pod is a new one and ready. `operator` means the operators themselves; what they run goes on.

It ends with proof: the component answers by its protocol, connectors that are to run do, and a canary
row travels to silver. A connector that was paused or stopped stays so; one that failed over the restart
is started once.

After a kill at any point the same command restarts what is left and proves it.")]
pub struct Restart {
    /// kafka, connect, postgres, mongodb, clickhouse, or operator.
    #[arg(value_name = "COMPONENT", add = ArgValueCompleter::new(complete::restartable))]
    pub component: String,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
