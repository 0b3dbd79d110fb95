//! The command that compares source and target.

use std::path::PathBuf;

use clap::Args;

use super::Names;
use super::numbers::number;
use super::repeat::{Monitoring, Repeat};

/// Options of `reconcile`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask reconcile                 every flow: the same rows, with the same values
  cargo xtask reconcile users --rows 10
  cargo xtask reconcile --counts        rows counted alone
  cargo xtask reconcile users --repair  show what would repair it; with --yes, repair it and compare again
  cargo xtask reconcile --format junit --output-file reconcile.xml
  cargo xtask reconcile users --where \"user_id > 1000\" --columns email
  cargo xtask reconcile --source postgres:public.a --target postgres:public.b --key id
  cargo xtask reconcile --schedule --interval 6h --output-dir /var/reconcile/reports
  cargo xtask reconcile --schedule --cron \"0 3 * * *\" --time-zone Europe/Berlin
  cargo xtask reconcile --schedule --interval 6h --print-systemd-unit
  cargo xtask reconcile --cron \"0 3 * * *\" --print-cronjob --image registry.example.com/cdc-xtask:1
  cargo xtask reconcile --pushgateway http://127.0.0.1:9091
  CDC_ALERT_WEBHOOK=https://hooks.example.com/TOKEN cargo xtask reconcile --schedule --interval 15m

Databases compute a hash of each row over a canonical text, and add these up by ranges of keys; only ranges that differ
are read. Nothing is locked. Changes that are on their way are no differences: what differs is read again behind a
marker that the source wrote and the target has passed. Two tables that no flow joins have no marker.

A schedule goes on when a run fails, and reads the profile and the environment again for each run. Times of --cron are
UTC without --time-zone. Interrupted between two runs it ends with exit code 0.

Exit code 0: the same. 2: they differ. 1: a table could not be compared, or metrics or an alert not delivered.
4: another schedule has the environment. 130: interrupted, with what was found until then.")]
pub struct Reconcile {
    /// Flows; without any, every flow of the profile.
    #[arg(value_name = "FLOW", add = Names::Flows)]
    pub flows: Vec<String>,
    /// A table that no flow reads, beside --target and --key.
    #[arg(long, value_name = "COMPONENT:TABLE", requires_all = ["target", "key"], conflicts_with = "flows")]
    pub source: Option<String>,
    /// The table that should have the rows of --source.
    #[arg(long, value_name = "COMPONENT:TABLE", requires = "source")]
    pub target: Option<String>,
    /// Columns that tell the rows of --source apart.
    #[arg(
        long,
        value_name = "COLUMN,...",
        value_delimiter = ',',
        requires = "source"
    )]
    pub key: Vec<String>,
    /// Compare these columns alone, as the source calls them, beside the key.
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Compare values: the default.
    #[arg(long, conflicts_with = "counts")]
    pub checksums: bool,
    /// Count rows alone, which is faster and proves less. What is on its way counts as a difference.
    #[arg(long, conflicts_with_all = ["columns", "rows"])]
    pub counts: bool,
    /// Print so many rows that differ with their values side by side.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number(0, 1_000_usize), allow_negative_numbers = true)]
    pub rows: usize,
    /// Compare about so many rows, chosen by a hash of their keys.
    #[arg(long, value_name = "N", value_parser = number(1, u64::MAX), allow_negative_numbers = true)]
    pub sample: Option<u64>,
    /// Compare only rows for which this SQL holds, at both sides.
    #[arg(long = "where", value_name = "SQL")]
    pub condition: Option<String>,
    /// How long to wait for rows that keep changing, and for the target to catch up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = number(0, 86_400_u64), allow_negative_numbers = true)]
    pub settle: u64,
    /// Show what repairs the tables of flows: missing and changed rows are sent again, extra ones marked as deleted.
    #[arg(long, conflicts_with_all = ["counts", "source", "sample", "condition", "columns"])]
    pub repair: bool,
    /// Repair, and compare again.
    #[arg(long, requires = "repair")]
    pub yes: bool,
    /// The report's form.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write the report to this file, in the form of --format (json without it), and print what people read.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "output_dir")]
    pub output_file: Option<PathBuf>,
    /// Write the report to a file of its own in this directory, one for each run.
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub output_dir: Option<PathBuf>,
    /// When it is repeated.
    #[command(flatten)]
    pub repeat: Repeat,
    /// Who hears of it.
    #[command(flatten)]
    pub monitoring: Monitoring,
}

/// A report's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Console,
    /// With all that is known.
    Json,
    /// A line for each table and each row that differs.
    Csv,
    /// A page.
    Html,
    /// A test case for each table.
    Junit,
}
