//! `shell`: one statement after the other, through this tool's own clients: on `host` there is no
//! `psql`, and on a cluster nothing needs to be inside of a pod.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{context, group, query, stdout, topic};
use crate::cli::{Cli, Command, Global, QueryService, ShellArgs};
use crate::clients::mongodb::Mongodb;
use crate::clients::postgres::Postgres;
use crate::components;
use crate::components::mongodb::settings::MongodbSettings;
use crate::components::postgres::settings::PostgresSettings;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::Profile;
use crate::profile::component::Instance;

/// What is talked to.
enum Talk {
    Postgres(Postgres),
    Clickhouse,
    Mongodb { client: Mongodb, database: String },
    Kafka,
}

pub(super) async fn run(global: &Global, args: &ShellArgs) -> Result<ExitCode> {
    let fits = |profile: &Profile| match args.component == profile.connect.name {
        true => Err(silent()),
        false => components::fits(profile, &args.component),
    };
    let env = context::existing_for(global, fits).await?;
    let component = components::named(&env, &args.component)?.name();
    let mut talk = open(&env, component).await?;
    let typed = std::io::stdin().is_terminal();
    let (asks, mut asked) = mpsc::channel::<()>(1);
    let (says, mut lines) = mpsc::channel::<String>(1);
    // Reading blocks until somebody types.
    std::thread::spawn(move || {
        while asked.blocking_recv().is_some() {
            let mut line = String::new();
            match std::io::stdin().lock().read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if says.blocking_send(line).is_ok() => {}
                Ok(_) => return,
            }
        }
    });
    if typed {
        eprintln!("{component}: {}; exit or Ctrl-D ends", how(&talk));
    }
    let mut text = String::new();
    loop {
        if typed {
            let mark = if text.is_empty() { "> " } else { "… " };
            eprint!("{component}{mark}");
            let _ = std::io::stderr().flush();
        }
        let line = match asks.send(()).await {
            Ok(()) => lines.recv().await,
            Err(_) => None,
        };
        let ended = line.is_none();
        text.push_str(&line.unwrap_or_default());
        let word = text.trim().trim_end_matches(';');
        if ["exit", "quit", "\\q"].contains(&word) || (ended && word.is_empty()) {
            return Ok(ExitCode::SUCCESS);
        }
        if !ended && !is_whole(&talk, &text) {
            continue;
        }
        let statement = std::mem::take(&mut text);
        if statement.trim().is_empty() {
            continue;
        }
        match answer(&mut talk, &env, global, &statement).await {
            Ok(answer) => stdout::print(&answer)?,
            // Who types sees it and goes on; a script must not.
            Err(error) if typed && !ended => context::print_error(global.output, &error, &[]),
            Err(error) => return Err(error),
        }
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Connect has no language.
fn silent() -> Error {
    Error::new(Code::Usage, "connect has no statements to type")
        .hint("cargo xtask open connect --print, cargo xtask logs connect")
}

async fn open(env: &Environment, component: &str) -> Result<Talk> {
    let instance = env.profile.component(component);
    if let Some(own) = instance.and_then(Instance::get::<PostgresSettings>) {
        let session = own.session(env).await;
        return Ok(Talk::Postgres(
            session.map_err(|error| components::service(&error))?,
        ));
    }
    if let Some(own) = instance.and_then(Instance::get::<MongodbSettings>) {
        let client = own.client(env);
        return Ok(Talk::Mongodb {
            client: client.map_err(|error| components::service(&error))?,
            database: database(env, component),
        });
    }
    Ok(match component == env.profile.kafka.name {
        true => Talk::Kafka,
        false => Talk::Clickhouse,
    })
}

/// The database of the first collection that flows.
fn database(env: &Environment, component: &str) -> String {
    let flow = env.profile.flows_of(component).next();
    let table = flow.map_or("admin", |(_, flow)| flow.table.as_str());
    table.split('.').next().unwrap_or(table).to_owned()
}

fn how(talk: &Talk) -> &'static str {
    match talk {
        Talk::Postgres(_) | Talk::Clickhouse => "SQL, ended by `;`",
        Talk::Mongodb { .. } => {
            "a command as JSON on a line, such as {\"ping\": 1}; `use DATABASE`"
        }
        Talk::Kafka => "subcommands of topic and group, such as `topic list`",
    }
}

/// Whether a statement ends here. A line is one, but for SQL.
fn is_whole(talk: &Talk, text: &str) -> bool {
    match talk {
        Talk::Postgres(_) | Talk::Clickhouse => {
            text.trim().is_empty() || text.trim_end().ends_with(';')
        }
        Talk::Mongodb { .. } | Talk::Kafka => true,
    }
}

async fn answer(
    talk: &mut Talk,
    env: &Environment,
    global: &Global,
    statement: &str,
) -> Result<String> {
    match talk {
        Talk::Postgres(session) => query::postgres(session, statement, global.output).await,
        Talk::Clickhouse => {
            query::ask(env, QueryService::Clickhouse, statement, global.output).await
        }
        Talk::Mongodb { client, database } => {
            if let Some(name) = statement.trim().strip_prefix("use ") {
                name.trim().trim_end_matches(';').clone_into(database);
                return Ok(format!("database {database}\n"));
            }
            let command: Value = serde_json::from_str(statement.trim().trim_end_matches(';'))
                .map_err(|error| {
                    Error::new(Code::Usage, format!("no command as JSON: {error}"))
                        .hint("{\"find\": \"events\", \"limit\": 3}")
                })?;
            let answer = client.command(database, &command).await;
            answer
                .map(|answer| format!("{answer}\n"))
                .map_err(|error| components::service(&error))
        }
        Talk::Kafka => {
            kafka(global, statement).await?;
            Ok(String::new())
        }
    }
}

async fn kafka(global: &Global, line: &str) -> Result<()> {
    let words = line.trim().trim_end_matches(';').split_whitespace();
    let words = words.map(|word| word.trim_matches(['\'', '"']));
    let usage = |text: String| {
        Error::new(Code::Usage, text).hint("topic list, topic tail NAME --cdc, group list, ...")
    };
    let cli = match Cli::try_parse_from(std::iter::once("xtask").chain(words)) {
        Ok(cli) => cli,
        // A page that was asked for is no error.
        Err(page) if !page.use_stderr() => return stdout::print(&page.to_string()),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            return Err(usage(first.trim_start_matches("error: ").to_owned()));
        }
    };
    match cli.command {
        Command::Topic(command) => topic::run(global, &command).await.map(drop),
        Command::Group(command) => group::run(global, &command).await.map(drop),
        _ => Err(usage("only `topic` and `group` here".to_owned())),
    }
}
