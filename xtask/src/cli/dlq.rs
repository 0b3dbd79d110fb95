//! The commands about dead letter queues.

use std::path::PathBuf;

use super::numbers::number;
use clap::{Args, Subcommand};

use super::Names;

/// Subcommands of `dlq`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask dlq list
  cargo xtask dlq show dlq.orders --stack --max 3
  cargo xtask dlq redrive dlq.orders --dry-run
  cargo xtask dlq redrive orders-sink --filter exception=DataException --edit-file fix.jsonl
  cargo xtask dlq purge dlq.orders --before 7d

A NAME is a queue's topic, a sink connector, or a pattern with `*` and `?`. Dead letter queues are for
sink connectors: on a source the errors.deadletterqueue.* settings do nothing. What a target that reads
topics itself could not read is in its flow's own table; `list` and `show` read it too.")]
pub enum DlqCommand {
    /// List queues with their connectors, ages and exceptions, and sinks without a queue, which lose records.
    List,
    /// Show records: their origin, why they failed, their content.
    Show(DlqShow),
    /// Send records back to their own topics, and prove the result.
    Redrive(DlqRedrive),
    /// Delete the oldest records of a queue.
    Purge(DlqPurge),
}

/// Which records.
#[derive(Clone, Debug, Args)]
pub struct DlqFilter {
    /// Only records that match this: exception, message, key (a part of it), stage, connector,
    /// topic, partition, offset of the record that failed, dlq-offset (A..B, both included); may be
    /// repeated, and then all must match.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub filter: Vec<String>,
}

/// Options of `dlq show`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask dlq show
  cargo xtask dlq show dlq.orders --max 50 --filter exception=DataException --filter partition=0
  cargo xtask dlq show orders-sink --filter key=4711 --stack
  cargo xtask dlq show users            what the target could not read of the flow `users`

The newest records are shown, the newest last. Times are those of the records that failed, as Connect
keeps them. Keys and values are JSON or text where they are, else bytes with escapes; `--output json`
has them whole.")]
pub struct DlqShow {
    /// Which queues; without a name all. Also a flow.
    #[arg(value_name = "NAME", add = Names::Queues)]
    pub name: Option<String>,
    /// How many records of each queue.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = number(1, u32::MAX), allow_negative_numbers = true)]
    pub max: u32,
    /// Stack traces too.
    #[arg(long)]
    pub stack: bool,
    /// Which records.
    #[command(flatten)]
    pub which: DlqFilter,
}

/// Options of `dlq redrive`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask dlq redrive dlq.orders --dry-run
  cargo xtask dlq redrive orders-sink --filter exception=RetriableException --yes
  cargo xtask dlq redrive dlq.orders --edit-file fix.jsonl      writes the records; edit them, then run it again

A record is sent back to its own topic and partition with its key, value and headers, where every reader
of the topic reads it again. It stays in the queue, and is named, if

  it was sent back twice and came back twice (--rounds N allows more),
  a newer record of its key came after it, or may have come (--include-superseded): it would overwrite
    the newer row at the target,
  its headers do not name its origin, or its topic or sink no longer exists.

Sent records are marked in their topics: nothing is sent twice, also after a kill. The command then
waits until the sink has read past each record or has put it into its queue again, and looks up the rows of
Debezium's JDBC sinks that write to a database of this environment. Exit code 1 if some came back.")]
pub struct DlqRedrive {
    /// Which queues; without a name all.
    #[arg(value_name = "NAME", add = Names::Queues)]
    pub name: Option<String>,
    /// Which records.
    #[command(flatten)]
    pub which: DlqFilter,
    /// Write the records to this file, one JSON object on each line; if it is there, send what it
    /// holds.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub edit_file: Option<PathBuf>,
    /// How many times a record is sent back before it stays.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = number(1, u32::MAX), allow_negative_numbers = true)]
    pub rounds: u32,
    /// Also records that a newer record of their key has superseded.
    #[arg(long)]
    pub include_superseded: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `dlq purge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask dlq purge dlq.orders --dry-run
  cargo xtask dlq purge dlq.orders --before 7d
  cargo xtask dlq purge dlq.orders --before 1200 --yes

Kafka deletes only from the start of a partition: with a time, up to the first record that is not
older. Only queues are purged, never another topic.")]
pub struct DlqPurge {
    /// Which queue.
    #[arg(value_name = "NAME", add = Names::Queues)]
    pub name: String,
    /// Keep records from this offset, time (2026-11-21T08:00, UTC unless it says otherwise) or age
    /// (15m, 2h, 7d) on; without it all are deleted.
    #[arg(long, value_name = "TIME|OFFSET")]
    pub before: Option<String>,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
