//! `projection`: tables that events of an outbox add up in.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{confirm, context, stdout};
use crate::cli::{Global, ProjectionCommand, ProjectionReplay, ProjectionRun, ProjectionVerify};
use crate::environment::Environment;
use crate::error::{Exit, Result};
use crate::operate::projection::{self, Difference, Done, Runner, chosen};
use crate::printed;
use crate::profile::schema::Projection;
use crate::report::text::count;
use crate::wait;

/// For how long a fetch waits for events.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long before it is tried again after an error.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it says how far it is.
const SAID: Duration = Duration::from_secs(10);
/// How many rows that differ are printed.
const SHOWN: usize = 20;

pub(super) async fn run(global: &Global, command: &ProjectionCommand) -> Result<ExitCode> {
    let env = &*context::existing(global).await?;
    let of = match command {
        ProjectionCommand::Run(args) => &args.of,
        ProjectionCommand::Status(of) => of,
        ProjectionCommand::Replay(args) => &args.of,
        ProjectionCommand::Verify(args) => &args.of,
    };
    let (name, projection) = chosen(env, of.name.as_deref())?;
    match command {
        ProjectionCommand::Run(args) => add_up(global, args, env, name, projection).await,
        ProjectionCommand::Status(_) => status(global, env, name, projection).await,
        ProjectionCommand::Replay(args) => replay(global, args, env, name, projection).await,
        ProjectionCommand::Verify(args) => verify(global, args, env, name, projection).await,
    }
}

async fn add_up(
    global: &Global,
    args: &ProjectionRun,
    env: &Environment,
    name: &str,
    projection: &Projection,
) -> Result<ExitCode> {
    let mut runner = Runner::open(env, name, projection).await?;
    if args.once {
        let done = runner.to_the_end().await?;
        return said(global, name, done);
    }
    eprintln!("{name}: reads {}, ends with Ctrl-C", projection.topic);
    let (mut last, mut at) = (Done::default(), Instant::now());
    loop {
        match runner.step(PATIENCE).await {
            Ok(done) if done != last && at.elapsed() >= SAID => {
                eprintln!("{}", sentence(name, done));
                (last, at) = (done, Instant::now());
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("{error}");
                runner = again(env, name, projection).await;
            }
        }
    }
}

/// Goes on once broker and database answer.
async fn again<'a>(env: &Environment, name: &'a str, projection: &'a Projection) -> Runner<'a> {
    let mut last = String::new();
    loop {
        wait::before_retry(PAUSE).await;
        match Runner::open(env, name, projection).await {
            Ok(runner) => return runner,
            Err(error) if error.to_string() != last => {
                last = error.to_string();
                eprintln!("{last}");
            }
            Err(_) => {}
        }
    }
}

fn said(global: &Global, name: &str, done: Done) -> Result<ExitCode> {
    let object = json!({ "projection": name, "done": done });
    stdout::answer(global.output, object, || {
        format!("{}\n", sentence(name, done))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn sentence(name: &str, done: Done) -> String {
    let Done {
        read,
        added,
        repeated,
        queued,
    } = done;
    format!("{name}: read {read}, added up {added}, sent twice {repeated}, to its queue {queued}")
}

async fn status(
    global: &Global,
    env: &Environment,
    name: &str,
    projection: &Projection,
) -> Result<ExitCode> {
    let found = projection::status(env, name, projection).await?;
    stdout::answer(global.output, json!(found), || {
        let running = match found.running {
            true => "runs".to_owned(),
            false => {
                let next = format!("cargo xtask projection run {name}");
                format!("does not run; next: {}", printed::ours(&next))
            }
        };
        format!(
            "{name}: {running}\n  {} unread in {}\n  {} rows in {}\n  {} in {}\n",
            found.unread,
            projection.topic,
            found.rows,
            projection.table,
            found.queued,
            projection.queue
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn replay(
    global: &Global,
    args: &ProjectionReplay,
    env: &Environment,
    name: &str,
    projection: &Projection,
) -> Result<ExitCode> {
    if args.dry_run {
        let found = projection::status(env, name, projection).await?;
        let object = json!({ "projection": name, "dry_run": true, "rows": found.rows });
        stdout::answer(global.output, object, || {
            format!(
                "would add all events of {} up again, and replace {} rows of {}\n",
                projection.topic, found.rows, projection.table
            )
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes {
        let what = format!(
            "this replaces all rows of {} by what the events say",
            projection.table
        );
        let way = format!("cargo xtask projection replay {name} --yes");
        confirm::typed(name, &what, &printed::ours(&way))?;
    }
    let mut runner = Runner::replay(env, name, projection).await?;
    runner.to_the_end().await?;
    said(global, name, runner.take_over().await?)
}

async fn verify(
    global: &Global,
    args: &ProjectionVerify,
    env: &Environment,
    name: &str,
    projection: &Projection,
) -> Result<ExitCode> {
    let found = projection::verify(env, name, projection, args.settle).await?;
    let is_same = found.differences.is_empty();
    stdout::answer(global.output, json!(found), || {
        let mut text = match (is_same, found.unsettled) {
            (true, 0) => format!("✓ {name}: {} are right\n", count(found.keys, "row")),
            (true, rows) => format!("? {name}: {} kept changing\n", count(rows, "row")),
            (false, _) => {
                let rows = count(found.differences.len(), "row");
                format!("✗ {name}: {rows} of {} differ\n", found.keys)
            }
        };
        let shown = found.differences.iter().take(SHOWN);
        text.extend(shown.map(|it| differing(projection, it)));
        if !is_same && found.unread > 0 {
            let next = format!("cargo xtask projection status {name}");
            text += &format!(
                "  {} unread; next: {}\n",
                found.unread,
                printed::ours(&next)
            );
        } else if !is_same {
            let next = format!("cargo xtask projection replay {name}");
            text += &format!("  next: {}\n", printed::ours(&next));
        }
        text
    })?;
    Ok(stdout::ended(
        is_same && found.unsettled == 0,
        Exit::Differences,
    ))
}

fn differing(projection: &Projection, difference: &Difference) -> String {
    let row = |values: &Option<Vec<Option<String>>>| match values {
        None => "no row".to_owned(),
        Some(values) => {
            let columns = [&projection.count].into_iter().chain(projection.sum.keys());
            let cell = |(column, value): (&String, &Option<String>)| {
                format!("{column} {}", value.as_deref().unwrap_or("NULL"))
            };
            columns.zip(values).map(cell).collect::<Vec<_>>().join(", ")
        }
    };
    format!(
        "  {} {}: should be {}, is {}\n",
        projection.key,
        difference.key,
        row(&difference.truth),
        row(&difference.found)
    )
}
