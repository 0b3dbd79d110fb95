//! `reconcile`: whether source and target have the same rows.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::stdout;
use super::{context, reconcile_text};
use crate::cli::{Global, Reconcile};
use crate::clock;
use crate::components::able;
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::reconcile::pairs::{Pair, Place, Wish};
use crate::reconcile::report::{Report, Status};
use crate::reconcile::{self, Bar, Options};
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
        wish: Wish {
            columns: args.columns.clone(),
            condition: args.condition.clone(),
        },
    };
    let report = compared(&env, &pairs, &options, end).await;
    let text = || reconcile_text::console(&report, stdout::palette());
    stdout::answer(global.output, report.to_json(), text)?;
    Ok(match (report.interrupted, report.status()) {
        (true, _) => Exit::Interrupted.into(),
        (false, Status::Fail) => Exit::Differences.into(),
        (false, Status::Pass | Status::NoData) if !has_failed(&report) => ExitCode::SUCCESS,
        (false, _) => Exit::Failed.into(),
    })
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
