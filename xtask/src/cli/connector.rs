//! The commands about connectors: what they do, their positions, and new snapshots.

use std::path::PathBuf;

use super::numbers::number;
use clap::{Args, Subcommand};

use super::Names;

/// Subcommands of `connector`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask connector list
  cargo xtask connector status postgres
  cargo xtask connector pause '*-connector'
  cargo xtask connector restart postgres-connector --only-failed
  cargo xtask connector snapshot postgres --tables public.orders
  cargo xtask connector validate postgres

A NAME is a connector's name, the source that it reads, or a pattern with `*` and `?`.
On clusters a state goes into the KafkaConnector resource, so that the operator does not undo it.")]
pub enum ConnectorCommand {
    /// List connectors with their states and tasks.
    List,
    /// Show states, tasks, the root cause of a failure, and the position in the source.
    Status(Connectors),
    /// Pause the tasks; offsets stay, and the source keeps its log for them meanwhile.
    Pause(ChangeConnectors),
    /// Resume a paused or stopped connector, and wait until it runs.
    Resume(ChangeConnectors),
    /// Stop the tasks; only a stopped connector's offsets can be changed.
    Stop(ChangeConnectors),
    /// Restart a connector and its tasks, and wait until they keep running.
    Restart(RestartConnectors),
    /// Read some tables again, whole, while everything goes on streaming; and prove that the target has them.
    Snapshot(SnapshotTables),
    /// Print the configuration as it runs; passwords are references.
    Config(Connectors),
    /// Have the plugin validate the profile's configuration; exit code 1 if anything is wrong.
    Validate(Connectors),
    /// List the plugin classes that the workers have loaded.
    Plugins,
    /// Print the committed offsets.
    Offsets(Connectors),
}

/// Connectors to show.
#[derive(Clone, Debug, Args)]
pub struct Connectors {
    /// Which ones; all without a name.
    #[arg(value_name = "NAME", add = Names::Connectors)]
    pub names: Vec<String>,
}

/// Connectors to change.
#[derive(Clone, Debug, Args)]
pub struct ChangeConnectors {
    /// Which ones.
    #[arg(value_name = "NAME", required = true, add = Names::Connectors)]
    pub names: Vec<String>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `connector restart`.
#[derive(Clone, Debug, Args)]
pub struct RestartConnectors {
    /// Which ones.
    #[command(flatten)]
    pub which: ChangeConnectors,
    /// Only this task.
    #[arg(long, value_name = "N", conflicts_with = "only_failed", value_parser = number(0, u32::MAX), allow_negative_numbers = true)]
    pub task: Option<u32>,
    /// Only what failed.
    #[arg(long)]
    pub only_failed: bool,
}

/// Options of `connector snapshot`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask connector snapshot postgres --tables public.orders --dry-run
  cargo xtask connector snapshot postgres-connector --tables public.orders,public.customers

Rows come between what is streamed (Debezium: an incremental snapshot); a row that has changed since wins over
what was read. Rows of the target that the source no longer has are then marked as deleted. A flow with
`keep: every` gets each row once more. After a kill at any point the same command, or `up`, continues where it was.
`reset-connector` reads all tables of a connector again.")]
pub struct SnapshotTables {
    /// A connector's name, or the source that it reads.
    #[arg(add = Names::ProfileConnectors)]
    pub name: String,
    /// The tables, as the profile's flows call them; or their flows.
    #[arg(long, value_name = "TABLE", value_delimiter = ',', required = true, add = Names::Flows)]
    pub tables: Vec<String>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Subcommands of `slot`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask slot list
  cargo xtask slot drop old_slot")]
pub enum SlotCommand {
    /// List the replication slots: who reads them, and how much of its log the source keeps for them.
    List(SlotKeeper),
    /// Drop a slot that nobody reads. Its connector loses what it had not read.
    Drop(SlotDrop),
}

/// Whose slots.
#[derive(Clone, Debug, Args)]
pub struct SlotKeeper {
    /// Only those of this component, where several keep slots.
    #[arg(long, value_name = "NAME", add = Names::SlotKeepers)]
    pub component: Option<String>,
}

/// Options of `slot drop`.
#[derive(Clone, Debug, Args)]
pub struct SlotDrop {
    /// The slot.
    #[arg(add = Names::Slots)]
    pub name: String,
    /// Whose.
    #[command(flatten)]
    pub of: SlotKeeper,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `reset-connector`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask reset-connector postgres --dry-run
  cargo xtask reset-connector postgres
  cargo xtask reset-connector mongo --truncate-target --yes

In this order: the connector is stopped until it has no task, its slot is checked to be free, its offsets
and positions are saved to a file, the offsets are deleted, the slot is dropped, the connector is started,
and a canary proves that the snapshot is read and that changes flow. A snapshot does not show rows that
were deleted meanwhile: rows of the target that the source no longer has are then found by their keys,
reported, and marked as deleted.

Offsets are deleted from the connector itself while it is stopped. (Deleting the connector first, as
older runbooks say, cannot work: Connect refuses it, because the offsets belong to no connector then.)
Connect is not restarted, and no other connector is touched.

After a kill at any point the same command continues where it was.")]
pub struct ResetConnector {
    /// A connector's name, or the source that it reads.
    #[arg(add = Names::ProfileConnectors)]
    pub name: String,
    /// Empty the target's tables of this connector's flows before the new snapshot.
    #[arg(long)]
    pub truncate_target: bool,
    /// Drop the publication too; a new one is made before the start.
    #[arg(long)]
    pub drop_publication: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Subcommands of `offsets`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask offsets backup
  cargo xtask offsets restore offsets.json --dry-run
  cargo xtask offsets restore offsets.json")]
pub enum OffsetsCommand {
    /// Save the offsets of all source connectors and consumer groups of the flows to a file.
    Backup(OffsetsBackup),
    /// Set them to what a file holds. A position that the source no longer has is refused.
    Restore(OffsetsRestore),
}

/// Options of `offsets backup`.
#[derive(Clone, Debug, Args)]
pub struct OffsetsBackup {
    /// The file to write; without it, one below the environment's directory.
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// Options of `offsets restore`.
#[derive(Clone, Debug, Args)]
pub struct OffsetsRestore {
    /// A file that `offsets backup` or `reset-connector` wrote.
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `lag`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask lag
  cargo xtask lag --watch
  cargo xtask lag --output json

The time until the disk is full is computed from how much the slot keeps, read twice a moment apart.")]
pub struct Lag {
    /// Refresh every second until `q` or Ctrl-C is pressed.
    #[arg(long)]
    pub watch: bool,
}
