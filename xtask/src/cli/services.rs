//! The commands that talk to one service.

use clap::Args;

use super::Names;

/// Options of `query`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask query postgres \"SELECT * FROM users\"
  cargo xtask query clickhouse \"SELECT count() FROM users_silver FINAL\"
  cargo xtask query clickhouse \"SELECT * FROM users_silver FORMAT CSV\"   ClickHouse's own formats
  echo \"SELECT 1; SELECT 2\" | cargo xtask query postgres -
  cargo xtask query postgres \"SELECT 1 AS n\" --output json

It logs in as the profile's user, in the profile's database. Several statements run as one transaction
where the database takes several at a time. In JSON, values are as the database's protocol gives them:
texts, or of their types.")]
pub struct Query {
    /// A component of the profile that takes SQL, by its name.
    #[arg(value_name = "COMPONENT", add = Names::Queried)]
    pub component: String,
    /// The statement; `-` reads it from standard input.
    #[arg(value_name = "SQL", allow_hyphen_values = true)]
    pub sql: String,
}

/// Options of `shell`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask shell postgres
  cargo xtask shell clickhouse
  cargo xtask shell kafka
  echo 'SELECT 1;' | cargo xtask shell postgres

Databases take SQL, ended by `;`, in one session, so that transactions work where the database has them, or
commands as JSON; Kafka takes the subcommands of `topic` and `group`. This tool itself reads and answers, on
every platform: psql's backslash commands are not supported. Errors are printed and the shell continues; a
script ends with its first error. `exit` or Ctrl-D ends it.")]
pub struct ShellArgs {
    /// A component of the profile, by its name.
    #[arg(add = Names::Typed)]
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
    /// A component of the profile, by its name; all of them by default.
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
    /// A component of the profile that has a page, by its name.
    #[arg(add = Names::Components)]
    pub service: String,
    /// Print the address and open nothing.
    #[arg(long)]
    pub print: bool,
}
