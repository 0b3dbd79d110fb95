//! The commands that restart components.

use clap::Args;

use super::Names;

/// Options of `restart`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask restart connect
  cargo xtask restart postgres --dry-run
  cargo xtask restart operator --platform kind

On `host` the process is stopped cleanly and started again. On clusters Strimzi rolls Kafka and
Connect, and the pods of everything else are replaced by their own controllers; the command waits until
each pod is a new one and ready. `operator` means the operators themselves; what they run keeps running.

It ends with proof: the component answers by its protocol, connectors that are to run do, and a canary
row travels to silver. A connector that was paused or stopped stays so; one that failed because of the
restart is restarted once.

After a kill at any point the same command restarts what is left and proves it.")]
pub struct Restart {
    /// A component of the profile, by its name, or `operator`.
    #[arg(value_name = "COMPONENT", add = Names::Restartable)]
    pub component: String,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `rolling-restart`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask rolling-restart connect
  cargo xtask rolling-restart kafka --platform kubernetes --context my-cluster

One worker or broker at a time. The next one is restarted only when positions prove that the work of the
one before has moved, not after a time that may be too short: for Connect, tasks run and each connector
has committed a position beyond where its source was when the worker was back; for Kafka, also every
replica is in sync and leads where it should. (Waiting a fixed time, or for a pod to be ready, as older
runbooks say, proves neither.) On `host` there is one of each.

It starts only if changes flow: a failed task or a replica that is out of sync is refused. At the end it
prints the longest pause: how late a change could be, beside the usual.

After a kill at any point the same command starts with the first one again.")]
pub struct RollingRestart {
    /// What to restart.
    #[arg(value_enum)]
    pub component: Rolled,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What there may be several of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rolled {
    /// Connect's workers.
    Connect,
    /// The brokers.
    Kafka,
}

/// Options of `image update`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask image update --dry-run
  cargo xtask image update --platform kind

Writes images/connect/tags.yaml, builds the image unless it is there, brings it to the nodes or the
profile's registry, has the operator replace the workers, and proves by its digest that the image that
was built is the one that every pod runs. Pods keep an image that was rebuilt under its old name:
those are replaced too.")]
pub struct ImageUpdate {
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
