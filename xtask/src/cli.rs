//! The whole command tree on one page.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod chaos;
mod connector;
mod diagnose;
mod dlq;
mod flow;
mod heal;
mod machine;
mod names;
mod numbers;
mod projection;
mod reconcile;
mod repeat;
mod restart;
mod services;
mod topic;

pub use chaos::*;
pub use connector::*;
pub use diagnose::*;
pub use dlq::*;
pub use flow::*;
pub use heal::*;
pub use machine::*;
pub use names::Names;
use numbers::number;
pub use projection::*;
pub use reconcile::*;
pub use repeat::*;
pub use restart::*;
pub use services::*;
pub use topic::*;

use crate::observe::logline::Level;
use crate::profile::schema::PlatformChoice;
use crate::report::Output;

/// Stand up change-data-capture pipelines, prove that they work, and keep them right.
#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    version,
    propagate_version = true,
    after_help = "Examples:
  cargo xtask up                        bring the default pipeline up and prove it
  cargo xtask verify --latency 100      send changes through and time them
  cargo xtask status --watch            components, endpoints and lag at a glance
  cargo xtask diagnose                  what is wrong, why, and the next command
  cargo xtask logs connect -f           follow a component's log
  cargo xtask down                      stop everything and remove its data

Exit codes: 0 fine, 1 failed, 2 differences found, 3 bad input or profile,
            4 something is missing on this machine, 5 timed out, 130 interrupted"
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The profile of a command line that names none.
pub const DEFAULT_PROFILE: &str = "clickhouse";

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Profile: a name in profiles/, or a path to a YAML file.
    #[arg(
        long,
        global = true,
        value_name = "NAME|PATH",
        default_value = DEFAULT_PROFILE,
        env = "CDC_PROFILE",
        add = Names::Profiles
    )]
    pub profile: String,
    /// Override a key of the profile; may be repeated. A password need not stand in the command: KEY=@- asks for
    /// it, or reads it from standard input, KEY=@FILE from a file.
    #[arg(long, global = true, value_name = "KEY=VALUE", add = Names::Keys)]
    pub set: Vec<String>,
    /// Where components run.
    #[arg(long, global = true, value_enum)]
    pub platform: Option<PlatformChoice>,
    /// Context of your kubeconfig, for the platform `kubernetes`.
    #[arg(long, global = true, value_name = "NAME", add = Names::Contexts)]
    pub context: Option<String>,
    /// Results as text or as JSON on standard output.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the pipeline up, or prove that it is up.
    Up(Up),
    /// Stop the pipeline and remove its data.
    Down(Down),
    /// Show what `up` would change on the cluster; exit code 2 on differences.
    Diff(Diff),
    /// Show components, versions, endpoints and lag.
    Status(StatusArgs),
    /// Name what is wrong, why, and the next command.
    Diagnose(Diagnose),
    /// Restart what a restart can fix, prove it, and report everything else.
    Heal(Heal),
    /// Explain the code of a finding or an error.
    Explain(Explain),
    /// Prove that changes travel from each source to silver.
    Verify(Verify),
    /// Compare source and target row by row while changes flow; exit code 2 on differences.
    Reconcile(Box<Reconcile>),
    /// Break a pipeline of its own again and again, and prove that no row is lost.
    Chaos(Chaos),
    /// Print what would be used on the chosen platform; secrets are masked.
    Render(Render),
    /// Print the graph of steps and gates that `up` runs.
    Plan(PlanArgs),
    /// Inspect profiles.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// List every pin: what it runs with, known advisories, what its update changes.
    Versions(VersionsArgs),
    /// Check this machine's prerequisites.
    Doctor(Doctor),
    /// List the environments on this machine.
    #[command(subcommand)]
    Env(EnvCommand),
    /// Free what the cache holds for nobody.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Print a component's log.
    Logs(Logs),
    /// List, pause, stop, resume and restart connectors.
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// Take a full new snapshot of a connector's tables, with the deletes that were missed, and prove it.
    ResetConnector(ResetConnector),
    /// Restart a component, and prove that changes flow.
    Restart(Restart),
    /// Restart workers or brokers one at a time, each only after the work of the one before has moved.
    RollingRestart(RollingRestart),
    /// Show how far behind each part of each flow is, from the source's log to the newest row.
    Lag(Lag),
    /// List flows, show their types, and add one.
    #[command(subcommand)]
    Flow(FlowCommand),
    /// List the sources' replication slots, and drop one.
    #[command(subcommand)]
    Slot(SlotCommand),
    /// Add the events of an outbox up in a table, and prove that it is right.
    #[command(subcommand)]
    Projection(ProjectionCommand),
    /// Write as an application would.
    #[command(subcommand)]
    Workload(WorkloadCommand),
    /// Save and restore the positions of connectors and of the target's consumer groups.
    #[command(subcommand)]
    Offsets(OffsetsCommand),
    /// List, read, create and check topics.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// List and describe consumer groups.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Show, send back and delete what sinks could not process.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Run a statement in a database, and print its rows.
    Query(Query),
    /// Run statements interactively, in a database or about Kafka.
    Shell(ShellArgs),
    /// Keep loopback ports to a cluster's services open, or print where services listen.
    Forward(Forward),
    /// Open a service's page in the browser.
    Open(Open),
    /// Insert the seed rows that are missing at the sources.
    Seed(Seed),
    /// Print a shell completion script.
    Completions(Completions),
    /// Run the product's own checks: format, lint, unit, snapshot and end-to-end tests.
    Test(Test),
    /// Lock the digests of the pinned versions' artifacts.
    Lock,
    /// Build, load, push and list the image of Connect's workers.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Write the image's tags, which are computed from its content, to a committed file.
    ImageBump(ImageBump),
    /// Run a daemon. For the tool's own use.
    #[command(hide = true)]
    Launch {
        /// What to run.
        spec: PathBuf,
    },
}

/// Options of `up`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask up
  cargo xtask up --ports auto
  cargo xtask up --set postgres.port=5433 --timeline up.html
  cargo xtask up --require mongodb
  cargo xtask up --prune                remove what flows left behind that the profile no longer has
  cargo xtask up --platform kind
  cargo xtask up --platform kubernetes --context my-cluster

Running it on a pipeline that is up changes nothing and proves that it works.
After a kill at any point, running it again finishes the work.")]
pub struct Up {
    /// `profile` takes the profile's ports; `auto` picks another where one is taken.
    #[arg(long, value_enum, default_value_t = Ports::Profile)]
    pub ports: Ports,
    /// Fail if this component is not available, instead of leaving it out; may be repeated.
    #[arg(long, value_name = "COMPONENT", add = Names::Components)]
    pub require: Vec<String>,
    /// Write a page that shows when each step ran.
    #[arg(long, value_name = "FILE.html", value_hint = clap::ValueHint::FilePath)]
    pub timeline: Option<PathBuf>,
    /// Read the operators' bundles from this directory instead of fetching them (air-gapped).
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub bundle_dir: Option<PathBuf>,
    /// Remove the tables, consumer groups and topics of flows that the profile no longer has, after asking.
    #[arg(long)]
    pub prune: bool,
    /// Do not ask before a cluster is changed for the first time, before something is pruned, or before what this
    /// machine lacks is installed.
    #[arg(long)]
    pub yes: bool,
    /// On a cluster, overwrite fields that others have changed since (`diff` shows them).
    #[arg(long)]
    pub force: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Where ports come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ports {
    /// The profile's.
    Profile,
    /// The profile's where they are free, else others.
    Auto,
}

/// Options of `diff`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask diff
  cargo xtask diff --platform kubernetes --context my-cluster --profile clickhouse-production

Values of Secrets are masked. The server answers each change as if it were made, and makes none.")]
pub struct Diff {
    /// Read the operators' bundles from this directory instead of fetching them.
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub bundle_dir: Option<PathBuf>,
}

/// Options of `down`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask down --keep-data          stop; the next `up` continues where this one ended
  cargo xtask down --yes                stop and remove all data without asking")]
pub struct Down {
    /// Keep databases, topics, logs and passwords.
    #[arg(long)]
    pub keep_data: bool,
    /// Do not ask before data is removed.
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Refresh until `q` or Ctrl-C is pressed.
    #[arg(long)]
    pub watch: bool,
}

/// Options of `verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask verify
  cargo xtask verify --latency 200      one row at a time; p50, p95 and p99 of each hop
  cargo xtask verify --data             and that each target has its source's rows; exit code 2 if it has not")]
pub struct Verify {
    /// Also compare all rows of each flow, as `reconcile` does.
    #[arg(long)]
    pub data: bool,
    /// Also insert this many rows, one at a time, and print the latency of each hop.
    #[arg(long, value_name = "N", value_parser = number(1, u32::MAX), allow_negative_numbers = true)]
    pub latency: Option<u32>,
}

/// Options of `render`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask render
  cargo xtask render --platform kind --dir rendered
  cargo xtask render --platform kubernetes --profile clickhouse-production

On `host` these are the processes' commands and files, on clusters the objects, everywhere the SQL.
The operators' own objects are left out: they come from their releases as they are.")]
pub struct Render {
    /// Write files below this directory instead of printing them.
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// `tree` for people, `mermaid` for documents; `--output json` for programs.
    #[arg(long, value_enum, default_value_t = PlanFormat::Tree)]
    pub format: PlanFormat,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PlanFormat {
    /// Text.
    Tree,
    /// A Mermaid flowchart.
    Mermaid,
}

/// Subcommands of `profile`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ProfileCommand {
    /// Print the merged profile with the origin of each value.
    Show,
    /// Print the names of the repository's profiles.
    List,
}

/// Options of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// Run the install commands after asking.
    #[arg(long)]
    pub fix: bool,
    /// Do not ask.
    #[arg(long, requires = "fix")]
    pub yes: bool,
}

/// Options of `logs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask logs connect --tail 200
  cargo xtask logs kafka -f
  cargo xtask logs connect --level warn --since 10m
  cargo xtask logs postgres --previous  the log of the run before the last start

A line with neither a level nor a time belongs to the line above: a stack trace comes with its error.
`--tail` counts the lines that `--level` and `--since` leave.")]
pub struct Logs {
    /// kafka, connect, postgres, mongodb or clickhouse.
    #[arg(add = Names::Components)]
    pub component: String,
    /// Follow the log.
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines to print.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = number(0, usize::MAX), allow_negative_numbers = true)]
    pub tail: usize,
    /// The log of the run before the last start.
    #[arg(long, conflicts_with = "follow")]
    pub previous: bool,
    /// Only lines of at least this level.
    #[arg(long, value_enum, default_value_t = Level::Trace, hide_default_value = true)]
    pub level: Level,
    /// Only lines written since: 30s, 10m, 2h, 1d ago, or a time such as 2026-11-21T06:54:15Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// Options of `seed`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Seed {
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `completions`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask completions bash > ~/.cdc-xtask.bash     then in ~/.bashrc: source ~/.cdc-xtask.bash
  cargo xtask completions zsh > ~/.cdc-xtask.zsh       then in ~/.zshrc, after compinit: source ~/.cdc-xtask.zsh
  cargo xtask completions fish > ~/.config/fish/conf.d/cdc-xtask.fish")]
pub struct Completions {
    /// Shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that completions are there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// Bash, 4.4 or newer for the best of it.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// Options of `test`.
#[derive(Clone, Debug, Args)]
pub struct Test {
    /// Leave out the end-to-end tests, which start the real components.
    #[arg(long)]
    pub quick: bool,
}

/// Subcommands of `image`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:
  cargo xtask image build               build it, unless it is there, and check it
  cargo xtask image update              build it, and have the workers run it
  cargo xtask image load                load it onto every node of the profile's Kind cluster
  cargo xtask image list                images that this tool built, and which profiles use them")]
pub enum ImageCommand {
    /// Build the profile's image, unless it is there, and check its content.
    Build,
    /// Build it and load it onto every node of the profile's Kind cluster.
    Load,
    /// Build it and push it to the profile's registry (connect.registry).
    Push,
    /// Build it, bring it to the cluster, have the workers run it, and prove that they do.
    Update(ImageUpdate),
    /// List the images that this tool built.
    List,
}

/// Options of `versions`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask versions
  cargo xtask versions --profile clickhouse-manual --output json
  cargo xtask versions --check          exit code 2 if a version in use has a known advisory

Advisories are those of profiles/advisories.yaml, which names their sources and the day of the last check.")]
pub struct VersionsArgs {
    /// Exit code 2 if the profile, or a default that any profile here uses, is known to be vulnerable.
    #[arg(long)]
    pub check: bool,
}

/// Options of `image-bump`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask image-bump                write images/connect/tags.yaml and print old -> new
  cargo xtask image-bump --check        change nothing; exit code 2 if a committed tag is stale")]
pub struct ImageBump {
    /// Change nothing; exit code 2 if a committed tag is stale.
    #[arg(long)]
    pub check: bool,
}
