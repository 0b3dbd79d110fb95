//! `reconcile`: whether source and target have the same rows.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::reconcile_notify::Channels;
use super::{context, reconcile_schedule, reconcile_text, reconcile_unit};
use crate::cli::{Global, Reconcile};
use crate::clock;
use crate::components::able;
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::operate::reset::refuse_unfinished;
use crate::plan::Progress;
use crate::platform::host::lock;
use crate::printed;
use crate::reconcile::pairs::{Pair, Place, Wish};
use crate::reconcile::report::{Report, Status};
use crate::reconcile::{self, Bar, Options};
use crate::units::Span;
use crate::wait;

/// How often progress is looked at on a terminal, and elsewhere.
const SHOWN: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// Compares until it is done or interrupted, and then says what was found until then; or does so again and again.
pub(super) async fn run(
    global: &Global,
    args: &Reconcile,
    interrupted: impl Future<Output = Error>,
) -> Result<ExitCode> {
    let (ends, mut end) = watch::channel(false);
    let signal = async {
        interrupted.await;
        // Nobody compares any more: there is nobody to be told.
        let _ = ends.send(true);
        std::future::pending::<ExitCode>().await
    };
    let work = async {
        if args.repeat.print_systemd_unit {
            return reconcile_unit::systemd(global, args);
        }
        if args.repeat.print_cronjob {
            return reconcile_unit::cronjob(global, args);
        }
        let channels = Channels::of(&args.monitoring)?;
        match args.repeat.when() {
            Some(schedule) => {
                reconcile_schedule::run(global, args, &schedule, channels, &mut end).await
            }
            None => once(global, args, channels, &mut end).await,
        }
    };
    tokio::select! {
        biased;
        code = signal => Ok(code),
        code = work => code,
    }
}

async fn once(
    global: &Global,
    args: &Reconcile,
    mut channels: Channels,
    end: &mut watch::Receiver<bool>,
) -> Result<ExitCode> {
    let begun = clock::now_ms();
    let report = match report(global, args, end).await {
        Ok(report) => report,
        Err(mut error) => {
            error.hint = error.hint.as_deref().map(printed::ours);
            // What was typed wrong is for who typed it.
            if ![Exit::Interrupted, Exit::BadInput].contains(&error.code.exit()) {
                let tables = tables(global, args).unwrap_or_default();
                let name = context::profile_name(global)?;
                let failed = Report::failed(&name, begun, &tables, &error.to_json());
                error.others.extend(channels.tell(&failed, end).await);
            }
            return Err(error);
        }
    };
    reconcile_text::print(global.output, args, &report)?;
    match Error::together(channels.tell(&report, end).await) {
        Some(error) => Err(error),
        None => Ok(code(&report)),
    }
}

/// The exit code of a run.
pub(super) fn code(report: &Report) -> ExitCode {
    match (report.interrupted, report.status()) {
        (true, _) => Exit::Interrupted.into(),
        (false, Status::Fail) => Exit::Differences.into(),
        (false, Status::Pass | Status::NoData) => ExitCode::SUCCESS,
        (false, Status::Error | Status::Interrupted) => Exit::Failed.into(),
    }
}

/// One run, with the environment as it is now.
pub(super) async fn report(
    global: &Global,
    args: &Reconcile,
    end: &mut watch::Receiver<bool>,
) -> Result<Report> {
    let begun = Instant::now();
    let env = tokio::select! {
        biased;
        _ = end.wait_for(|it| *it) => return Err(Error::new(Code::Interrupted, "interrupted: nothing was compared yet")),
        env = context::existing(global) => env?,
    };
    let pairs = pairs(&env, args)?;
    let options = Options {
        values: !args.counts,
        rows: args.rows,
        sample: args.sample,
        settle: Duration::from_secs(args.settle),
        repair: args.repair,
        wish: Wish {
            columns: args.columns.clone(),
            condition: args.condition.clone(),
        },
    };
    let mut report = compared(&env, &pairs, &options, end).await;
    if args.yes && report.tables.iter().any(|it| it.repair.is_some()) {
        repair(&env, &report, end).await?;
        report = compared(&env, &pairs, &options, end).await;
    }
    report.took_ms = Span(begun.elapsed()).ms();
    Ok(report)
}

/// The names of the tables that a run is about, as reports have them.
///
/// # Errors
/// The profile cannot be read, or has no such flow.
pub(super) fn tables(global: &Global, args: &Reconcile) -> Result<Vec<String>> {
    if let Some(source) = &args.source {
        return Ok(vec![Place::parse(source)?.table]);
    }
    let profile = context::remembered_profile(global)?.profile;
    for name in &args.flows {
        reconcile::known_flow(&profile, name)?;
    }
    Ok(match args.flows.as_slice() {
        [] => profile.flows.keys().cloned().collect(),
        given => given.to_vec(),
    })
}

/// Compares the values of all rows of flows, for a command that does more than that.
pub(super) async fn flows(
    env: &Arc<Environment>,
    flows: impl IntoIterator<Item = &String>,
) -> Result<Report> {
    let pairs = flows.into_iter().map(|it| reconcile::flow_pair(env, it));
    let pairs: Vec<Pair> = pairs.collect::<Result<_>>()?;
    // An interruption ends the whole command.
    let (_going, mut end) = watch::channel(false);
    Ok(compared(env, &pairs, &Options::default(), &mut end).await)
}

async fn repair(env: &Environment, report: &Report, end: &mut watch::Receiver<bool>) -> Result<()> {
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask reconcile --repair")?;
    for table in &report.tables {
        if let Some(connector) = &table.connector {
            refuse_unfinished(env, connector)?;
        }
    }
    let progress = Progress::silent();
    tokio::select! {
        biased;
        _ = end.wait_for(|it| *it) => Err(Error::new(Code::Interrupted, "interrupted while rows were sent again")
            .hint("cargo xtask up finishes it")),
        done = reconcile::repair::perform(env, &report.tables, &progress) => done,
    }
}

/// The pairs that are meant.
fn pairs(env: &Environment, args: &Reconcile) -> Result<Vec<Pair>> {
    if let (Some(source), Some(target)) = (&args.source, &args.target) {
        let (source, target) = (Place::parse(source)?, Place::parse(target)?);
        for place in [&source, &target] {
            able(&env.profile, &place.component, |_| Ok(()))?;
        }
        return Ok(vec![Pair {
            name: source.table.clone(),
            flow: None,
            source,
            target,
            key: args.key.clone(),
        }]);
    }
    let names: Vec<&String> = match args.flows.as_slice() {
        [] => env.profile.flows.keys().collect(),
        given => given.iter().collect(),
    };
    names
        .into_iter()
        .map(|name| reconcile::flow_pair(env, name))
        .collect()
}

/// One table after the other: each comparison has both databases to itself.
async fn compared(
    env: &Arc<Environment>,
    pairs: &[Pair],
    options: &Options,
    end: &mut watch::Receiver<bool>,
) -> Report {
    let mut report = Report {
        profile: env.name.clone(),
        at: clock::now_ms(),
        tables: Vec::new(),
        not_begun: Vec::new(),
        interrupted: false,
        took_ms: 0,
    };
    for pair in pairs {
        if *end.borrow() {
            report.interrupted = true;
            report.not_begun.push(pair.name.clone());
            continue;
        }
        let bar = reconcile::bar(pair);
        let table = tokio::select! {
            table = reconcile::table(env, pair, options, &bar, end) => table,
            () = shown(&bar) => continue,
        };
        report.interrupted |= table.status == Status::Interrupted;
        report.tables.push(table);
    }
    report
}

/// Shows how far it is, for as long as anybody waits.
async fn shown(bar: &Bar) {
    let stderr = std::io::stderr();
    let rewrites = stderr.is_terminal();
    let _line = Line { rewrites };
    let mut last = String::new();
    loop {
        wait::pause(SHOWN[usize::from(!rewrites)]).await;
        let line = bar.line();
        if line == last {
            continue;
        }
        let text = match rewrites {
            true => format!("\r\x1b[K{line}"),
            false => format!("{line}\n"),
        };
        // Who does not read it misses nothing of the result.
        let _ = stderr.lock().write_all(text.as_bytes());
        last = line;
    }
}

/// The line on a terminal, which goes with it.
struct Line {
    rewrites: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.rewrites {
            let _ = std::io::stderr().lock().write_all(b"\r\x1b[K");
        }
    }
}
