//! The commands that talk to one service.

use clap::{Args, ValueEnum};

use super::Names;

/// Options of `query`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask query postgres \"SELECT * FROM users\"
  cargo xtask query clickhouse \"SELECT count() FROM users_silver FINAL\"
  cargo xtask query clickhouse \"SELECT * FROM users_silver FORMAT CSV\"   ClickHouse's own formats
  echo \"SELECT 1; SELECT 2\" | cargo xtask query postgres -
  cargo xtask query postgres \"SELECT 1 AS n\" --output json

It logs in as the profile's user, in the profile's database. PostgreSQL runs several statements as one
transaction, ClickHouse one at a time. In JSON, PostgreSQL's values are texts as its protocol gives
them, ClickHouse's are of their types.")]
pub struct Query {
    /// Which one.
    #[arg(value_enum)]
    pub service: QueryService,
    /// The statement; `-` reads it from standard input.
    #[arg(value_name = "SQL", allow_hyphen_values = true)]
    pub sql: String,
}

/// What `query` can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueryService {
    /// The relational source.
    Postgres,
    /// The target.
    Clickhouse,
}

/// Options of `shell`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask shell postgres
  cargo xtask shell clickhouse
  cargo xtask shell kafka
  echo 'SELECT 1;' | cargo xtask shell postgres

PostgreSQL and ClickHouse take SQL, ended by `;` (PostgreSQL in one session, so that transactions
work), Kafka the subcommands of `topic` and `group`, MongoDB commands as JSON. This tool itself reads and
answers, on every platform: psql's backslash commands are not supported. Errors are printed and the shell
continues; a script ends with its first error. `exit` or Ctrl-D ends it.")]
pub struct ShellArgs {
    /// postgres, mongodb, clickhouse or kafka.
    #[arg(add = Names::Components)]
    pub component: String,
}

/// Options of `forward`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask forward                   loopback ports to every service, until Ctrl-C
  cargo xtask forward postgres          one of them; psql -h 127.0.0.1 -p PORT

On a cluster the ports lead through the API server and are free ones of this machine. On `host` the
services listen already: their addresses are printed, and the command ends. Kafka's port leads to
whichever broker answers first; clients then follow the addresses that brokers advertise, which lead
nowhere from here: use `topic` and `group`.")]
pub struct Forward {
    /// kafka, connect, postgres, mongodb or clickhouse; all of them by default.
    #[arg(add = Names::Components)]
    pub service: Option<String>,
}

/// Options of `open`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask open clickhouse           ClickHouse's own page for queries, in the browser
  cargo xtask open connect --print      the address only

On a cluster a loopback port leads there until Ctrl-C.")]
pub struct Open {
    /// clickhouse or connect; the others have no page.
    #[arg(add = Names::Components)]
    pub service: String,
    /// Print the address and open nothing.
    #[arg(long)]
    pub print: bool,
}
