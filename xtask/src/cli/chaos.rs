//! The command that breaks a pipeline of its own, and proves that nothing is lost.

use clap::Args;

use super::numbers::number;
use crate::operate::chaos::faults::Group;

/// Options of `chaos`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask chaos --dry-run --seed 7  the rounds that a seed gives
  cargo xtask chaos --yes               ten rounds with a random seed, which is printed
  cargo xtask chaos --yes --rounds 50 --seed 7
  cargo xtask chaos --yes --only kill,slot --rounds 3

It brings up an environment of its own (profiles/chaos.yaml, on `host`), with free ports, and takes it down at the end:
yours is not touched. Several sessions write rows whose values are known: inserts, updates, deletes, changed keys, large
and empty values. Each round breaks one thing, waits until `diagnose` names it, has `heal` or the printed command fix it,
and times how soon a row that was written after the fault is at every target. At the end of each round all rows are
compared: the source with what it acknowledged, the targets with the source (`reconcile`).

A round with a difference is the last. Ctrl-C ends it and takes the environment down.

Exit code 0: nothing lost, nothing extra, every fault named and fixed. 2: rows differ; their keys are named. 1: a fault
was not named or not fixed. 130: interrupted.")]
pub struct Chaos {
    /// What is written and broken follows from it; random by default.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many faults, one after the other.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = number(1, 10_000_usize), allow_negative_numbers = true)]
    pub rounds: usize,
    /// Only these kinds of faults.
    #[arg(long, value_enum, value_name = "KIND,...", value_delimiter = ',')]
    pub only: Vec<Group>,
    /// Leave the environment running where a row differs or a fault was not fixed.
    #[arg(long)]
    pub keep: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Print the rounds that the seed gives, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}
