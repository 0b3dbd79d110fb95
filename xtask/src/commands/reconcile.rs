//! `reconcile`: whether source and target have the same rows.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::stdout;
use super::{context, reconcile_text};
use crate::cli::{Format, Global, Reconcile};
use crate::clock;
use crate::components::able;
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::files::write_atomic;
use crate::operate::reset::refuse_unfinished;
use crate::plan::Progress;
use crate::platform::host::lock;
use crate::reconcile::pairs::{Pair, Place, Wish};
use crate::reconcile::report::{Report, Status};
use crate::reconcile::{self, Bar, Options, formats};
use crate::report::Output;
use crate::report::text::Palette;
use crate::wait;

/// How often progress is looked at on a terminal, and elsewhere.
const SHOWN: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// Compares until it is done or interrupted, and then says what was found until then.
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
    tokio::select! {
        biased;
        code = signal => Ok(code),
        code = reconcile(global, args, &mut end) => code,
    }
}

async fn reconcile(
    global: &Global,
    args: &Reconcile,
    end: &mut watch::Receiver<bool>,
) -> Result<ExitCode> {
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
    print(global.output, args, &report)?;
    Ok(match (report.interrupted, report.status()) {
        (true, _) => Exit::Interrupted.into(),
        (false, Status::Fail) => Exit::Differences.into(),
        (false, Status::Pass | Status::NoData) if !has_failed(&report) => ExitCode::SUCCESS,
        (false, _) => Exit::Failed.into(),
    })
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

/// Prints the report, and writes it to where it was asked for.
fn print(output: Output, args: &Reconcile, report: &Report) -> Result<()> {
    let usual = match output {
        Output::Json => Format::Json,
        Output::Text => Format::Console,
    };
    let palette = stdout::palette();
    let text = |format: Format, palette: Palette| match format {
        Format::Console => reconcile_text::console(report, palette),
        Format::Json => format!("{}\n", report.to_json()),
        Format::Csv => formats::csv(report),
        Format::Html => formats::html(report),
        Format::Junit => formats::junit(report),
    };
    let file = args.output_file.clone().or_else(|| {
        let time = clock::utc(report.at)
            .replace([' ', ':'], "-")
            .replace("-UTC", "");
        let name = format!(
            "reconcile-{}-{time}.{}",
            report.profile,
            ending(args.format.unwrap_or(Format::Json))
        );
        args.output_dir.as_ref().map(|dir| dir.join(name))
    });
    let Some(file) = file else {
        return stdout::print(&text(args.format.unwrap_or(usual), palette));
    };
    if let Some(dir) = &args.output_dir {
        std::fs::create_dir_all(dir).map_err(|source| Error::io("create", dir, &source))?;
    }
    let plain = Palette { colour: false };
    let written = text(args.format.unwrap_or(Format::Json), plain);
    // Rows of a table are nobody else's business.
    write_atomic(&file, written.as_bytes(), 0o600)?;
    stdout::print(&text(usual, palette))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}

fn ending(format: Format) -> &'static str {
    match format {
        Format::Console => "txt",
        Format::Json => "json",
        Format::Csv => "csv",
        Format::Html => "html",
        Format::Junit => "xml",
    }
}

fn has_failed(report: &Report) -> bool {
    report.tables.iter().any(|it| it.status == Status::Error)
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
