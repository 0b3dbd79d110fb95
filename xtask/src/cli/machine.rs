//! What this machine has of all pipelines: environments, and the cache that they share.

use clap::{Args, Subcommand};

/// Subcommands of `env`.
#[derive(Clone, Copy, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask env list
  cargo xtask env list --output json | jq '.environments[] | select(.running)'

Disk is what an environment's directory takes on this machine, memory that of its processes or nodes.")]
pub enum EnvCommand {
    /// List the environments on this machine: whose they are, whether they run and what they cost.
    List,
}

/// Subcommands of `cache`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum CacheCommand {
    /// Remove from the cache what no environment on this machine uses.
    Clean(CacheClean),
}

/// Options of `cache clean`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask cache clean --dry-run     what would be removed, and how much room that is
  cargo xtask cache clean --yes

Whatever is removed is fetched again when it is needed.")]
pub struct CacheClean {
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
