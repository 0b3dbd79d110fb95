//! The commands about flows.

use clap::{Args, Subcommand};

use super::Names;

/// Subcommands of `flow`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask flow list
  cargo xtask flow show users
  cargo xtask flow add public.orders --profile shop.yaml --dry-run
  cargo xtask flow add public.orders --profile shop.yaml
  cargo xtask flow add commerce.orders --connector mongo-connector --profile shop.yaml")]
pub enum FlowCommand {
    /// List the profile's flows: table, connector, target, key.
    List,
    /// Show each column's type at the source, on the way, and at the target.
    Show(FlowShow),
    /// Write a flow for a table of a source into the profile; `up` then brings it to the target.
    Add(FlowAdd),
}

/// Arguments of `flow show`.
#[derive(Clone, Debug, Args)]
pub struct FlowShow {
    /// Which ones; all without a name.
    #[arg(value_name = "FLOW", add = Names::Flows)]
    pub names: Vec<String>,
}

/// Arguments of `flow add`.
#[derive(Clone, Debug, Args)]
pub struct FlowAdd {
    /// The table at the source with its schema, `public.orders`, or the collection with its database,
    /// `commerce.orders`, of which up to 1000 documents are sampled for `columns`
    pub table: String,
    /// The connector that captures it; needed where the profile has several that could.
    #[arg(long, value_name = "NAME", add = Names::ProfileConnectors)]
    pub connector: Option<String>,
    /// The flow's name; the table's without one.
    #[arg(long)]
    pub name: Option<String>,
    /// Print what would be written, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
