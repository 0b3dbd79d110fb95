//! The commands that read and create topics and consumer groups.

use super::numbers::number;
use clap::{Args, Subcommand, ValueEnum};

use super::Names;

/// Subcommands of `topic`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask topic list
  cargo xtask topic tail postgres.public.users --cdc -f
  cargo xtask topic count 'postgres.*'
  cargo xtask topic config --check      compare every topic with what its role needs

No JVM is started: the tool speaks Kafka's protocol itself, on clusters through the API server.")]
pub enum TopicCommand {
    /// List topics with their partitions, messages and roles.
    List(TopicList),
    /// Show a topic: its role, its partitions with leaders and offsets, the settings made for it.
    Describe(TopicDescribe),
    /// Print a topic's messages.
    Tail(TopicTail),
    /// Count messages: end minus start offset of each partition.
    Count(TopicCount),
    /// Create a topic, or prove that it is there with these settings.
    Create(TopicCreate),
    /// Show or change settings, or compare them with what the topics' roles need.
    Config(TopicConfig),
}

/// Options of `topic list`.
#[derive(Clone, Debug, Args)]
pub struct TopicList {
    /// Only topics of these names; `*` and `?` stand for any text and any character.
    #[arg(value_name = "NAME|GLOB", add = Names::Topics)]
    pub names: Vec<String>,
    /// Kafka's own topics too (`__consumer_offsets`).
    #[arg(long)]
    pub internal: bool,
}

/// Options of `topic describe`.
#[derive(Clone, Debug, Args)]
pub struct TopicDescribe {
    /// The topic.
    #[arg(add = Names::Topics)]
    pub name: String,
    /// Defaults too, not only what was set on the topic.
    #[arg(long)]
    pub all: bool,
}

/// Options of `topic tail`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask topic tail postgres.public.users                   the last 10 messages
  cargo xtask topic tail postgres.public.users --cdc -f          changes as they are made
  cargo xtask topic tail postgres.public.users --from beginning  everything
  cargo xtask topic tail postgres.public.users --from 15m --cdc  changes of the last 15 minutes
  cargo xtask topic tail dlq.orders --headers --from 2026-11-21T08:00 --max 100

Like `tail`, it ends at the end that the topic has when it starts; -f continues until Ctrl-C (exit code
130) or --max. Messages of several partitions come in the order of their timestamps up to that end,
after it as they arrive. Only committed messages are read.

Text is a message's value on a line, before it headers and key if asked for, separated by tabs; a
tombstone is `null`. JSON is one object per line. `--cdc` reads Debezium's envelopes:

  insert     user_id=7  email=\"a@b\" full_name=\"Eve\"   lsn 0/1A2B3C8  52 ms ago
  update     user_id=7  email: \"a@b\" -> \"c@d\"         lsn 0/1A2B4F0  40 ms ago
  delete     user_id=7  email=\"c@d\" full_name=\"Eve\"   lsn 0/1A2B5A8  12 ms ago
  tombstone  user_id=7")]
pub struct TopicTail {
    /// The topic.
    #[arg(add = Names::Topics)]
    pub name: String,
    /// `beginning`, `end`, the last N messages, a time (2026-11-21T08:00, UTC unless it says
    /// otherwise) or how long ago (90s, 15m, 2h, 1d).
    #[arg(long, value_name = "beginning|N|TIME", default_value = "10")]
    pub from: String,
    /// Print keys.
    #[arg(long)]
    pub keys: bool,
    /// Print headers.
    #[arg(long)]
    pub headers: bool,
    /// Stop after this many messages.
    #[arg(long, value_name = "N", value_parser = number(1, u64::MAX), allow_negative_numbers = true)]
    pub max: Option<u64>,
    /// Only this partition.
    #[arg(long, value_name = "N", value_parser = number(0, i32::MAX), allow_negative_numbers = true)]
    pub partition: Option<i32>,
    /// Print Debezium's envelopes as changes.
    #[arg(long)]
    pub cdc: bool,
    /// Follow the topic.
    #[arg(short, long)]
    pub follow: bool,
}

/// Options of `topic count`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask topic count postgres.public.users
  cargo xtask topic count 'postgres.*' '*heartbeat*'

A count is the sum over the partitions of end minus start offset. That is the number of messages
unless offsets have gaps. Compaction removes messages and keeps the others' offsets: the count of a
compacted topic is an upper bound, written `<= 7`. Markers of transactions take offsets too, and cannot
be distinguished from messages without reading them.")]
pub struct TopicCount {
    /// Topics; `*` and `?` stand for any text and any character.
    #[arg(required = true, value_name = "NAME|GLOB", add = Names::Topics)]
    pub names: Vec<String>,
}

/// Options of `topic create`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask topic create dlq.orders --role dlq
  cargo xtask topic create debezium.schema-history.orders --role schema-history
  cargo xtask topic create audit --partitions 3 --config retention.ms=-1 --dry-run

A topic that is there with these settings is left alone; one with others is refused, with the
differences, and not changed. On clusters too the broker is asked: Strimzi's operator leaves topics
alone that have no KafkaTopic, as those that Connect makes. A name that a KafkaTopic has is refused.")]
pub struct TopicCreate {
    /// The topic.
    pub name: String,
    /// The settings that topics of this role need; `--partitions` and `--config` override them.
    #[arg(long, value_enum)]
    pub role: Option<RoleChoice>,
    /// How many partitions; the role's or the broker's default otherwise.
    #[arg(long, value_name = "N", value_parser = number(1, i32::MAX), allow_negative_numbers = true)]
    pub partitions: Option<i32>,
    /// How many replicas; the broker's default otherwise.
    #[arg(long, value_name = "N", value_parser = number(1, i16::MAX), allow_negative_numbers = true)]
    pub replicas: Option<i16>,
    /// A setting by its Kafka name; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub config: Vec<String>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// The roles that `topic create` knows settings for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleChoice {
    /// Changes of a table.
    Cdc,
    /// Changes of a table with more than 10,000 changes per second.
    CdcHighVolume,
    /// The history of a source's table definitions.
    SchemaHistory,
    /// Messages that a sink could not process.
    Dlq,
    /// A connector's heartbeats.
    Heartbeat,
}

/// Options of `topic config`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask topic config postgres.public.users
  cargo xtask topic config --check                    exit code 2 on differences
  cargo xtask topic config --check 'dlq.*' --strict
  cargo xtask topic config dlq.orders --alter retention.ms=2592000000 --dry-run

What roles need (min.insync.replicas never more than the brokers allow with one of them down):

  role            cleanup.policy  retention.ms  delete.retention.ms  partitions  min.insync.replicas
  CDC data        compact         -1            48 h (7 d from 4     1 to 6      2
                                                partitions on)
  schema history  delete          -1            -                    1           2
  DLQ             delete          30 d or more  -                    1           2
  heartbeat       delete          1 h or less   -                    1           1

Two differences from the manual's page: its table wants 3 in-sync replicas for the schema history and
its own command sets 2; with three replicas, 3 would stop every schema change while one broker
restarts. And topics that the profile makes follow the profile (this tool keeps changes at the target,
so their topics expire): they are compared with it, and what differs from the table is a note. --strict
counts notes as differences.")]
pub struct TopicConfig {
    /// Topics; `*` and `?` stand for any text and any character. With --check: all by default.
    #[arg(value_name = "NAME|GLOB", add = Names::Topics)]
    pub names: Vec<String>,
    /// Compare the topics with what their roles need; exit code 2 on differences.
    #[arg(long)]
    pub check: bool,
    /// Count the profile's own choices that differ from the table as differences too.
    #[arg(long, requires = "check")]
    pub strict: bool,
    /// Set a setting, or with `KEY=` return it to the broker's default; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "check")]
    pub alter: Vec<String>,
    /// Show what would be done, and change nothing.
    #[arg(long, requires = "alter")]
    pub dry_run: bool,
    /// Defaults too, not only what was set on the topic.
    #[arg(long, conflicts_with_all = ["check", "alter"])]
    pub all: bool,
}

/// Subcommands of `group`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask group list
  cargo xtask group describe ch_users_consumer

Source connectors have no consumer group: their positions are Connect's own (connector offsets).")]
pub enum GroupCommand {
    /// List consumer groups with their state, members and lag.
    List,
    /// Show a group: its members, and position and lag of each partition.
    Describe(GroupDescribe),
}

/// Options of `group describe`.
#[derive(Clone, Debug, Args)]
pub struct GroupDescribe {
    /// The group.
    #[arg(add = Names::Groups)]
    pub name: String,
}
