//! `reconcile --schedule`: runs at the ticks of a schedule, until interrupted.
//!
//! A lock of its own keeps a second schedule away. The environment's main lock is not held: other commands work
//! between runs and beside them. Whatever a run fails with is reported, and the next one reads everything again;
//! only `down` ends the schedule, as it ends `heal --watch`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::reconcile_notify::Channels;
use super::{context, reconcile, reconcile_text};
use crate::cli::{Global, Reconcile};
use crate::clock;
use crate::error::{Code, Error, Result};
use crate::platform::host::Dirs;
use crate::platform::host::lock::{self, Lock};
use crate::printed;
use crate::reconcile::report::Report;
use crate::reconcile::schedule::{Schedule, Zone};
use crate::report::Output;
use crate::units::Span;
use crate::wait;

/// Runs at each tick.
///
/// # Errors
/// What was given does not fit, nothing is up, another schedule has the environment, or a run was interrupted before
/// it had compared anything.
pub(super) async fn run(
    global: &Global,
    args: &Reconcile,
    schedule: &Schedule,
    mut channels: Channels,
    end: &mut watch::Receiver<bool>,
) -> Result<ExitCode> {
    // What cannot become right by waiting is refused at once.
    let mut tables = reconcile::tables(global, args)?;
    let name = context::profile_name(global)?;
    let dirs = Dirs::of(&name)?;
    if !dirs.exists() {
        context::existing(global).await?;
    }
    let _lock = claim(&dirs)?;
    let time = Time {
        schedule,
        begun: Instant::now(),
    };
    let mut due = schedule.first(time.now());
    if let (Schedule::Cron(..), Some(at)) = (schedule, due) {
        eprintln!("the first run is at {}", time.shown(at));
    }
    while let Some(at) = due {
        tokio::select! {
            biased;
            _ = end.wait_for(|it| *it) => return Ok(ExitCode::SUCCESS),
            () = wait::until_due(|| time.left(at)) => {}
        }
        if !dirs.exists() {
            eprintln!("the environment is gone");
            return Ok(ExitCode::SUCCESS);
        }
        // A flow may have come or gone since.
        if let Ok(now) = reconcile::tables(global, args) {
            tables = now;
        }
        let begun = clock::now_ms();
        let report = match reconcile::report(global, args, end).await {
            Err(error) if error.code == Code::Interrupted => return Err(error),
            Ok(report) => {
                // A report that cannot be written is no reason to miss the next one.
                if let Err(mut error) = reconcile_text::print(global.output, args, &report) {
                    context::print_error(Output::Text, &mut error, &[]);
                }
                report
            }
            Err(error) => failed(global, args, (&name, begun, &tables), error),
        };
        for mut error in channels.tell(&report, end).await {
            if error.code == Code::Interrupted {
                return Err(error);
            }
            context::print_error(Output::Text, &mut error, &[]);
        }
        if report.interrupted {
            return Ok(reconcile::code(&report));
        }
        let next = schedule.next(at, time.now());
        if let Some(next) = next {
            if next.skipped > 0 {
                let runs = match next.skipped {
                    1 => "1 run is skipped".to_owned(),
                    count => format!("{count} runs are skipped"),
                };
                eprintln!("this run took longer than until the next one: {runs}");
            }
            eprintln!("the next run is at {}", time.shown(next.at));
        }
        due = next.map(|it| it.at);
    }
    eprintln!("there is no later run");
    Ok(ExitCode::SUCCESS)
}

/// Reports a run that failed before it could compare, in the forms of one that did.
fn failed(
    global: &Global,
    args: &Reconcile,
    (name, begun, tables): (&str, u64, &[String]),
    mut error: Error,
) -> Report {
    error.hint = error.hint.as_deref().map(printed::ours);
    let report = Report::failed(name, begun, tables, &error.to_json());
    if global.output == Output::Json {
        // One line for each run, whatever came of it. A reader that is gone misses nothing.
        let _ = super::stdout::print(&format!("{}\n", report.to_json()));
    }
    context::print_error(Output::Text, &mut error, &[]);
    if reconcile_text::is_written(args) {
        match reconcile_text::written(args, &report) {
            Ok(file) => eprintln!("wrote {}", file.display()),
            Err(mut error) => context::print_error(Output::Text, &mut error, &[]),
        }
    }
    report
}

/// Takes the schedule of an environment.
///
/// # Errors
/// Another one has it.
fn claim(dirs: &Dirs) -> Result<Lock> {
    let path = dirs.state.join("reconcile.lock");
    lock::take(&path, "cargo xtask reconcile --schedule").map_err(|error| {
        if error.code != Code::Locked {
            return error;
        }
        let holder = std::fs::read_to_string(&path).unwrap_or_default();
        let what = format!(
            "another schedule compares this environment: {}",
            holder.trim()
        );
        Error::new(Code::Locked, what).hint("end that one, or let it go on")
    })
}

/// The time axis of a schedule.
struct Time<'a> {
    schedule: &'a Schedule,
    begun: Instant,
}

impl Time<'_> {
    /// Of an interval since the start, by a clock that is never set; of a cron expression since the epoch.
    fn now(&self) -> u64 {
        match self.schedule {
            Schedule::Every(_) => Span(self.begun.elapsed()).ms(),
            Schedule::Cron(..) => clock::now_ms(),
        }
    }

    fn left(&self, at: u64) -> Duration {
        match self.schedule {
            Schedule::Every(_) => Duration::from_millis(at).saturating_sub(self.begun.elapsed()),
            Schedule::Cron(..) => Duration::from_millis(at.saturating_sub(clock::now_ms())),
        }
    }

    /// A tick for people.
    fn shown(&self, at: u64) -> String {
        match self.schedule {
            Schedule::Every(_) => Zone::utc().shown(clock::now_ms() + Span(self.left(at)).ms()),
            Schedule::Cron(_, zone) => zone.shown(at),
        }
    }
}
