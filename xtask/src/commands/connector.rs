//! `connector`: what connectors do, and having them do something else.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::json;

use super::stdout::{self, palette};
use super::{context, restart, steps};
use crate::cli::{ChangeConnectors, ConnectorCommand, Global, RestartConnectors, SnapshotTables};
use crate::clients::connect::TargetState;
use crate::clock;
use crate::components::connect::settled;
use crate::components::{connect, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::observe::connectors::view::{self, Detail, Row};
use crate::observe::connectors::{named, one};
use crate::operate::reset::refuse_unfinished;
use crate::plan::Plan;
use crate::plan::{Outcome, Progress};
use crate::platform::host::lock;
use crate::printed;
use crate::profile::Profile;
use crate::report::Output;
use crate::report::table::Table;
use crate::report::text::{self, Ink, Palette, one_line};
use crate::up::control::{self, Restart};
use crate::up::rereads::{self, Wanted};

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
        ConnectorCommand::Snapshot(args) => snapshot(global, &env, args).await,
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
        let word = change.word();
        return stdout::answer(output, json!({ "dry_run": { word: names } }), || {
            format!("would {word} {}\n", names.join(", "))
        });
    }
    let progress = Progress::silent();
    let all = names
        .iter()
        .map(|name| change_one(env, name, change, &progress));
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
    if errors.is_empty() || output == Output::Text {
        let rows = done.iter().map(|(name, changed, message)| {
            json!({ "name": name, "changed": changed, "message": message })
        });
        let object = json!({ "connectors": rows.collect::<Vec<_>>() });
        stdout::answer(output, object, || {
            let lines = done
                .iter()
                .map(|(name, _, message)| format!("{name}: {message}\n"));
            lines.collect()
        })?;
    }
    Error::together(errors).map_or(Ok(ExitCode::SUCCESS), Err)
}

async fn change_one(
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

async fn snapshot(
    global: &Global,
    env: &Arc<Environment>,
    args: &SnapshotTables,
) -> Result<ExitCode> {
    let name = one(env, &args.name).await?;
    let connector = env.profile.connectors.get(&name).cloned().ok_or_else(|| {
        let what =
            format!("connector `{name}` is not of this profile: its tables are not known here");
        Error::new(Code::Usage, what)
    })?;
    rereads::topics(env, &name, &connector)?;
    refuse_unfinished(env, &name)?;
    let tables = tables(&env.profile, &name, &args.tables)?;
    let listed: Vec<&String> = tables.iter().collect();
    if args.dry_run {
        let object = json!({ "connector": name, "dry_run": listed });
        return stdout::answer(global.output, object, || {
            format!("would have {name} read {} again\n", text::list(&listed))
        });
    }
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask connector snapshot")?;
    let mut plan = Plan::default();
    let (at, connector_name, of, asked) = (
        env.clone(),
        name.clone(),
        connector.clone(),
        Wanted {
            tables: tables.clone(),
            ..Wanted::default()
        },
    );
    plan.step(
        "ask",
        "note what is to be read",
        &[],
        async move |progress| rereads::ask(&at, &connector_name, &of, &asked, &progress).await,
    );
    let (at, connector_name, of) = (env.clone(), name.clone(), connector.clone());
    plan.step(
        "begin",
        "have the connector read it",
        &["ask"],
        async move |progress| rereads::begin(&at, &connector_name, &of, &progress).await,
    );
    let (at, connector_name) = (env.clone(), name.clone());
    plan.step(
        "snapshot",
        "read, and at the target",
        &["begin"],
        async move |progress| rereads::read(&at, &connector_name, &connector, &progress).await,
    );
    let again = format!(
        "cargo xtask connector snapshot {name} --tables {}",
        args.tables.join(",")
    );
    let report = steps::run(global, plan).await;
    report.map_err(|error| restart::again(error, &again))?;
    stdout::answer(
        global.output,
        json!({ "connector": name, "tables": tables }),
        || {
            format!(
                "{name} has read {} again, and the target has it\n",
                text::list(&listed)
            )
        },
    )
}

/// The tables that are meant, by their own names or their flows'.
fn tables(profile: &Profile, connector: &str, given: &[String]) -> Result<BTreeSet<String>> {
    let flows = profile.flows.iter();
    let flows: Vec<_> = flows
        .filter(|(_, flow)| flow.connector == connector)
        .collect();
    let known: Vec<&str> = flows.iter().map(|(_, flow)| flow.table.as_str()).collect();
    given
        .iter()
        .map(|given| {
            let mut meant = flows
                .iter()
                .filter(|(name, flow)| flow.table == *given || *name == given);
            let found = meant.next().map(|(_, flow)| flow.table.clone());
            found.ok_or_else(|| {
                let what = format!("{connector} captures no table `{given}`");
                let all = format!("it captures {}", known.join(", "));
                Error::new(Code::Usage, what).meant(given, known.iter().copied(), all)
            })
        })
        .collect()
}

fn ink(state: &str) -> Ink {
    match state {
        "RUNNING" => Ink::Green,
        "FAILED" => Ink::Red,
        _ => Ink::Yellow,
    }
}

async fn list(output: Output, env: &Environment) -> Result<ExitCode> {
    let rows = view::list(env).await?;
    stdout::answer(output, json!({ "connectors": rows }), || {
        listed(&rows, palette())
    })
}

fn listed(rows: &[Row], palette: Palette) -> String {
    if rows.is_empty() {
        return "Connect has no connector\n".into();
    }
    let mut table = Table::titled("CONNECTOR  TYPE  STATE  >TASKS  WORKER  CAUSE");
    for row in rows {
        let running = row.tasks.iter().filter(|task| task.state == "RUNNING");
        let tasks = format!("{}/{}", running.count(), row.tasks.len());
        let cause = row.cause.as_deref().map(one_line).unwrap_or_default();
        table.inked([
            (row.name.clone(), None),
            (row.kind.clone(), None),
            (row.state.clone(), Some(ink(&row.state))),
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
    stdout::answer(output, json!({ "connectors": details }), || {
        let texts = details.iter().map(|detail| described(detail, palette()));
        texts.collect()
    })?;
    // One that a user paused or stopped is as it should be.
    let is_well = |detail: &Detail| {
        let row = &detail.row;
        (row.is_running() || row.is_resting()) && detail.unknown.is_none()
    };
    Ok(stdout::ended(details.iter().all(is_well), Exit::Failed))
}

fn described(detail: &Detail, palette: Palette) -> String {
    let row = &detail.row;
    let paint = |state: &str| palette.ink(ink(state), state.to_owned());
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
            let next = printed::ours("cargo xtask diagnose connect");
            text += &format!("  position  not known: {why}\n  next: {next}\n");
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
        text += &format!("  next: {}\n", printed::ours(&next));
    }
    text
}

async fn config(output: Output, env: &Environment, names: &[String]) -> Result<ExitCode> {
    let mut all = IndexMap::new();
    for name in named(env, names).await? {
        let client = env.connect_client();
        let found = settled(&Progress::silent(), || client.config(&name)).await?;
        let config = connect::shown(found.unwrap_or_default());
        all.insert(name, config);
    }
    stdout::answer(output, json!({ "connectors": all }), || {
        let mut text = String::new();
        for (name, config) in &all {
            text += &format!("{name}\n");
            for (key, value) in config {
                text += &format!("  {key}={value}\n");
            }
        }
        text
    })
}

async fn validate(output: Output, env: &Environment, names: &[String]) -> Result<ExitCode> {
    let profile = &env.profile.connectors;
    // What is not registered yet can be validated too: the profile counts.
    let names: Vec<String> = match names {
        [] => profile.keys().cloned().collect(),
        given => given.to_vec(),
    };
    let mut wrong = Vec::new();
    let mut refused = Vec::new();
    let mut fine = Vec::new();
    for given in &names {
        let name = match profile.contains_key(given) {
            true => given.clone(),
            false => one(env, given).await?,
        };
        let Some(connector) = profile.get(&name) else {
            let what = format!("the profile has no connector `{name}`");
            return Err(Error::new(Code::Usage, what));
        };
        let (class, config) = connect::wanted(env, &name, connector)?;
        let found = env.connect_client().validate(&class, &config).await;
        let found = found.map_err(service)?;
        let before = wrong.len();
        for (key, error) in found.errors() {
            wrong.push(json!({ "connector": name, "key": key, "error": error }));
            refused.push(format!("{name}: {key}: {}\n", one_line(error)));
        }
        if wrong.len() == before {
            fine.push(name);
        }
    }
    stdout::answer(output, json!({ "errors": wrong, "valid": fine }), || {
        let valid = fine.iter().map(|name| format!("{name}: valid\n"));
        valid.chain(refused).collect()
    })?;
    Ok(stdout::ended(wrong.is_empty(), Exit::Failed))
}

async fn plugins(output: Output, env: &Environment) -> Result<ExitCode> {
    let client = env.connect_client();
    let plugins = settled(&Progress::silent(), || client.plugins()).await?;
    let rows = plugins.iter();
    let rows = rows.map(|it| json!({ "class": it.class, "version": it.version }));
    let object = json!({ "plugins": rows.collect::<Vec<_>>() });
    stdout::answer(output, object, || {
        let mut table = Table::titled("CLASS  VERSION");
        for plugin in &plugins {
            table.row([&plugin.class, plugin.version.as_deref().unwrap_or_default()]);
        }
        table.text(palette())
    })
}

async fn offsets(output: Output, env: &Environment, names: &[String]) -> Result<ExitCode> {
    let names = named(env, names).await?;
    let details = view::details(env, &names).await?;
    let all = details.iter();
    let all: IndexMap<_, _> = all.map(|it| (&it.row.name, &it.offsets.offsets)).collect();
    stdout::answer(output, json!({ "connectors": all }), || {
        let mut text = String::new();
        for (name, offsets) in &all {
            text += &format!("{name}\n");
            if offsets.is_empty() {
                text += "  none committed\n";
            }
            for offset in *offsets {
                text += &format!("  {} -> {}\n", offset.partition, offset.offset);
            }
        }
        text
    })
}
