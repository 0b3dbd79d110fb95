//! `connector`: what connectors do, and having them do something else.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::context;
use super::stdout::{self, palette, say};
use crate::cli::{ChangeConnectors, ConnectorCommand, Global, RestartConnectors};
use crate::clients::connect::TargetState;
use crate::clock;
use crate::components::connect::settled;
use crate::components::{connect, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::observe::connectors::named;
use crate::observe::connectors::view::{self, Detail, Row};
use crate::operate::control::{self, Restart};
use crate::operate::reset::refuse_unfinished;
use crate::plan::{Outcome, Progress};
use crate::report::Output;
use crate::report::table::{Side, Table};
use crate::report::text::{Ink, Palette, one_line};

pub(super) async fn run(global: &Global, command: &ConnectorCommand) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let output = global.output;
    match command {
        ConnectorCommand::List => list(output, &env).await,
        ConnectorCommand::Status(which) => status(output, &env, &which.names).await,
        ConnectorCommand::Pause(which) => change(output, &env, which, Change::Pause).await,
        ConnectorCommand::Resume(which) => change(output, &env, which, Change::Resume).await,
        ConnectorCommand::Stop(which) => change(output, &env, which, Change::Stop).await,
        ConnectorCommand::Restart(args) => {
            change(output, &env, &args.which, Change::Restart(what(args))).await
        }
        ConnectorCommand::Config(which) => config(output, &env, &which.names).await,
        ConnectorCommand::Validate(which) => validate(output, &env, &which.names).await,
        ConnectorCommand::Plugins => plugins(output, &env).await,
        ConnectorCommand::Offsets(which) => offsets(output, &env, &which.names).await,
    }
}

fn what(args: &RestartConnectors) -> Restart {
    match (args.task, args.only_failed) {
        (Some(task), _) => Restart::Task(task),
        (None, true) => Restart::Failed,
        (None, false) => Restart::All,
    }
}

/// What is done to connectors.
#[derive(Clone, Copy, Debug)]
enum Change {
    Pause,
    Resume,
    Stop,
    Restart(Restart),
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Change::Pause => "pause",
            Change::Resume => "resume",
            Change::Stop => "stop",
            Change::Restart(_) => "restart",
        }
    }
}

async fn change(
    output: Output,
    env: &Environment,
    which: &ChangeConnectors,
    change: Change,
) -> Result<ExitCode> {
    let names = named(env, &which.names).await?;
    for name in &names {
        refuse_unfinished(env, name)?;
    }
    if which.dry_run {
        match output {
            Output::Json => say!("{}", json!({ "dry_run": { change.word(): names } })),
            Output::Text => say!("would {} {}", change.word(), names.join(", ")),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Progress::silent();
    let all = names.iter().map(|name| one(env, name, change, &progress));
    let outcomes = futures_util::future::join_all(all).await;
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for (name, outcome) in names.into_iter().zip(outcomes) {
        match outcome {
            Ok(Outcome::Changed(message)) => done.push((name, true, message)),
            Ok(Outcome::Unchanged(message)) => done.push((name, false, message)),
            Err(error) => errors.push(error),
        }
    }
    match output {
        Output::Json if !errors.is_empty() => {}
        Output::Json => {
            let rows: Vec<Value> = done
                .iter()
                .map(|(name, changed, message)| {
                    json!({ "name": name, "changed": changed, "message": message })
                })
                .collect();
            say!("{}", json!({ "connectors": rows }));
        }
        Output::Text => {
            for (name, _, message) in &done {
                say!("{name}: {message}");
            }
        }
    }
    Error::together(errors).map_or(Ok(ExitCode::SUCCESS), Err)
}

async fn one(
    env: &Environment,
    name: &str,
    change: Change,
    progress: &Progress,
) -> Result<Outcome> {
    let target = match change {
        Change::Restart(what) => return control::restart(env, name, what, progress).await,
        Change::Pause => TargetState::Paused,
        Change::Resume => TargetState::Running,
        Change::Stop => TargetState::Stopped,
    };
    control::set_state(env, name, target, progress).await
}

fn ink(state: &str) -> Option<Ink> {
    match state {
        "RUNNING" => Some(Ink::Green),
        "FAILED" => Some(Ink::Red),
        _ => Some(Ink::Yellow),
    }
}

fn exit(rows: impl IntoIterator<Item = bool>) -> ExitCode {
    match rows.into_iter().all(|running| running) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Exit::Failed as u8),
    }
}

async fn list(output: Output, env: &Environment) -> Result<ExitCode> {
    let rows = view::list(env).await?;
    match output {
        Output::Json => say!("{}", json!({ "connectors": rows })),
        Output::Text if rows.is_empty() => say!("Connect has no connector"),
        Output::Text => stdout::print(&listed(&rows, palette()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(rows: &[Row], palette: Palette) -> String {
    let mut table = Table::new([
        ("CONNECTOR", Side::Left),
        ("TYPE", Side::Left),
        ("STATE", Side::Left),
        ("TASKS", Side::Right),
        ("WORKER", Side::Left),
        ("CAUSE", Side::Left),
    ]);
    for row in rows {
        let running = row.tasks.iter().filter(|task| task.state == "RUNNING");
        let tasks = format!("{}/{}", running.count(), row.tasks.len());
        let cause = row.cause.as_deref().map(one_line).unwrap_or_default();
        table.inked([
            (row.name.clone(), None),
            (row.kind.clone(), None),
            (row.state.clone(), ink(&row.state)),
            (tasks, (!row.is_running()).then_some(Ink::Yellow)),
            (row.worker.clone(), Some(Ink::Dim)),
            (cause.into_owned(), Some(Ink::Red)),
        ]);
    }
    table.text(palette)
}

async fn status(output: Output, env: &Environment, names: &[String]) -> Result<ExitCode> {
    let names = named(env, names).await?;
    let details = view::glance(env, &names).await?;
    match output {
        Output::Json => say!("{}", json!({ "connectors": details })),
        Output::Text => {
            for detail in &details {
                stdout::print(&described(detail, palette()))?;
            }
        }
    }
    // One that a user paused or stopped is as it should be.
    let is_well = |detail: &Detail| {
        let row = &detail.row;
        (row.is_running() || row.is_resting()) && detail.unknown.is_none()
    };
    Ok(exit(details.iter().map(is_well)))
}

fn described(detail: &Detail, palette: Palette) -> String {
    let row = &detail.row;
    let paint = |state: &str| match ink(state) {
        Some(ink) => palette.ink(ink, state.to_owned()).into_owned(),
        None => state.to_owned(),
    };
    let mut text = format!("{}  {}  {}\n", row.name, paint(&row.state), row.class);
    for task in &row.tasks {
        text += &format!(
            "  task {}  {}  {}\n",
            task.id,
            paint(&task.state),
            task.worker
        );
        if let Some(cause) = &task.cause {
            text += &format!("    {}\n", palette.ink(Ink::Red, one_line(cause)));
        }
    }
    if row.tasks.is_empty() {
        text += "  no task\n";
    }
    match (&detail.position, &detail.unknown) {
        (Some(position), _) => {
            text += &format!("  position  {}", position.place);
            if let Some(at) = position.at {
                let age = clock::now_ms().saturating_sub(at);
                text += &format!(", last event {} ago", clock::span(age));
            }
            if position.snapshot {
                text += ", snapshot under way";
            }
            text.push('\n');
        }
        (None, Some(why)) => {
            text +=
                &format!("  position  not known: {why}\n  next: cargo xtask diagnose connect\n");
        }
        (None, None) => text += "  position  none committed\n",
    }
    if !row.is_running() {
        let next = match row.state.as_str() {
            "PAUSED" | "STOPPED" => format!("cargo xtask connector resume {}", row.name),
            "UNASSIGNED" => format!(
                "cargo xtask connector restart {}, unless a worker has just come or gone",
                row.name
            ),
            _ => format!("cargo xtask connector restart {} --only-failed", row.name),
        };
        text += &format!("  next: {next}\n");
    }
    text
}

async fn config(output: Output, env: &Environment, names: &[String]) -> Result<ExitCode> {
    let mut all = serde_json::Map::new();
    for name in named(env, names).await? {
        let client = env.connect_client();
        let found = settled(&Progress::silent(), || client.config(&name)).await?;
        let config = connect::shown(found.unwrap_or_default());
        all.insert(name, json!(config));
    }
    match output {
        Output::Json => say!("{}", json!({ "connectors": all })),
        Output::Text => {
            for (name, config) in &all {
                say!("{name}");
                for (key, value) in config.as_object().into_iter().flatten() {
                    say!("  {key}={}", value.as_str().unwrap_or_default());
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn validate(output: Output, env: &Environment, names: &[String]) -> Result<ExitCode> {
    let profile = &env.profile.connectors;
    // What is not registered yet can be validated too: the profile counts.
    let names: Vec<String> = match names {
        [] => profile.keys().cloned().collect(),
        given => given.to_vec(),
    };
    let mut wrong = Vec::new();
    let mut fine = Vec::new();
    for given in &names {
        let name = match profile.contains_key(given) {
            true => given.clone(),
            false => crate::observe::connectors::one(env, given).await?,
        };
        let Some(connector) = profile.get(&name) else {
            return Err(Error::new(
                Code::Usage,
                format!("the profile has no connector `{name}`"),
            ));
        };
        let (class, config) = connect::wanted(env, &name, connector)?;
        let found = env.connect_client().validate(&class, &config).await;
        let found = found.map_err(|error| service(&error))?;
        let before = wrong.len();
        for (key, error) in found.errors() {
            wrong.push(json!({ "connector": name, "key": key, "error": error }));
        }
        if wrong.len() == before {
            fine.push(name);
        }
    }
    match output {
        Output::Json => say!("{}", json!({ "errors": wrong, "valid": fine })),
        Output::Text => {
            for name in &fine {
                say!("{name}: valid");
            }
            for error in &wrong {
                let text = |key: &str| error[key].as_str().unwrap_or_default();
                say!(
                    "{}: {}: {}",
                    text("connector"),
                    text("key"),
                    one_line(text("error"))
                );
            }
        }
    }
    Ok(exit([wrong.is_empty()]))
}

async fn plugins(output: Output, env: &Environment) -> Result<ExitCode> {
    let client = env.connect_client();
    let plugins = settled(&Progress::silent(), || client.plugins()).await?;
    match output {
        Output::Json => {
            let rows: Vec<Value> = plugins
                .iter()
                .map(|plugin| json!({ "class": plugin.class, "version": plugin.version }))
                .collect();
            say!("{}", json!({ "plugins": rows }));
        }
        Output::Text => {
            let mut table = Table::new([("CLASS", Side::Left), ("VERSION", Side::Left)]);
            for plugin in &plugins {
                table.row([
                    plugin.class.clone(),
                    plugin.version.clone().unwrap_or_default(),
                ]);
            }
            stdout::print(&table.text(palette()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn offsets(output: Output, env: &Environment, names: &[String]) -> Result<ExitCode> {
    let names = named(env, names).await?;
    let details = view::details(env, &names).await?;
    match output {
        Output::Json => {
            let all: serde_json::Map<String, Value> = details
                .iter()
                .map(|detail| (detail.row.name.clone(), json!(detail.offsets.offsets)))
                .collect();
            say!("{}", json!({ "connectors": all }));
        }
        Output::Text => {
            for detail in &details {
                say!("{}", detail.row.name);
                if detail.offsets.offsets.is_empty() {
                    say!("  none committed");
                }
                for offset in &detail.offsets.offsets {
                    say!("  {} -> {}", offset.partition, offset.offset);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
