//! A round: a fault, what `diagnose` says of it, what fixes it, how soon changes arrive, and whether every row is as it
//! should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::sync::watch;

use super::faults::{Cure, Deed, Round};
use super::load::{Load, Paused, Probe};
use super::proxy::Proxy;
use super::report::{Difference, Named, Played, span};
use super::sql;
use super::typed::{self, Typed};
use super::workload::differences;
use crate::clients::connect::TargetState;
use crate::components::source::{CanaryKey, Undo};
use crate::components::{source, target};
use crate::diagnose::facts::WAIT;
use crate::diagnose::{self, Diagnosis, Finding, Severity};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::files;
use crate::operate::fix;
use crate::operate::heal::decide::Limits;
use crate::operate::heal::{self, history};
use crate::plan::{self, Progress};
use crate::platform::host::daemon::{self, Found};
use crate::reconcile::report::Status as Compared;
use crate::reconcile::{self, Options};
use crate::status::Status;
use crate::units::Span;
use crate::up::control;
use crate::wait::{self, Patience};

/// How long `diagnose` may take to name a fault. A connector that has gone silent is found after half a minute.
const NAMED: Duration = Duration::from_secs(120);
/// How long a row may take to arrive after a fault.
const ARRIVES: Duration = Duration::from_secs(360);
/// How long nothing may be found again after it.
const SOUND: Duration = Duration::from_secs(180);
/// How large a file of the broker may be whose quota is full: those of topics are larger, or soon will be. What it says
/// itself is smaller: with a quota of 32 kB it could not write why it ended, and was found as a process that had ended.
const QUOTA: u64 = 2_000_000;
/// In so many looks, one after the other, something is broken that does not pass.
const LEFT: u32 = 10;
/// So many restarts of one subject within an hour: every round is a trouble of its own.
const RESTARTS: u32 = 1_000;

/// Where rounds are played.
pub(super) struct Ring<'a> {
    pub(super) env: &'a Arc<Environment>,
    pub(super) load: &'a Load,
    pub(super) proxy: &'a Proxy,
    pub(super) typed: &'a Typed,
}

/// What is found out while a fault is there.
#[derive(Default)]
struct Seen {
    named: Option<Named>,
    after: Option<Duration>,
    fixed_by: String,
    problems: Vec<String>,
}

impl Ring<'_> {
    /// Plays a round.
    ///
    /// # Errors
    /// What is there cannot be known, or the fault could not be made.
    pub(super) async fn play(&self, round: &Round) -> Result<Played> {
        let after = Duration::from_millis(round.after_ms);
        let is_reset = round.what.fault.deed == Deed::Reset;
        if !is_reset {
            wait::pause(after).await;
        }
        // What a healer did in the rounds before would lengthen its pauses.
        files::remove(&history::path(&self.env.dirs.state))?;
        let begin = Instant::now();
        self.break_it(round, after).await?;
        let has_arrived = AtomicBool::new(false);
        let arrival = async {
            let arrived = self.arrives().await;
            has_arrived.store(true, Ordering::SeqCst);
            arrived.map(|()| begin.elapsed())
        };
        let (arrived, mut seen) =
            tokio::join!(arrival, self.named_and_fixed(round, begin, &has_arrived));
        self.proxy.restore();
        let arrived = match arrived {
            Ok(after) => Some(after),
            Err(error) => {
                seen.problems.push(error.message);
                None
            }
        };
        if let Err(error) = self.is_sound().await {
            seen.problems.push(error.message);
        }
        let paused = self.load.pause().await?;
        let (rows, differences, problems) = self.compare(&paused).await?;
        seen.problems.extend(problems);
        Ok(Played {
            round: round.number,
            fault: round.what.name(),
            group: round.what.fault.group,
            named: seen.named.unwrap_or(Named::NotSeen),
            named_after_ms: seen.after.map(|it| Span(it).ms()),
            fixed_by: seen.fixed_by,
            arrived_after_ms: arrived.map(|it| Span(it).ms()),
            acknowledged: paused.acknowledged(),
            rows,
            differences,
            problems: seen.problems,
        })
    }

    /// Does what the fault is.
    async fn break_it(&self, round: &Round, after: Duration) -> Result<()> {
        let on = round.what.on.as_str();
        let silent = Progress::silent();
        match round.what.fault.deed {
            Deed::Kill => self.signal(on, Signal::KILL),
            Deed::Suspend => self.signal(on, Signal::STOP),
            Deed::Restart => self.typed.run(&["restart", on]).await.map(drop),
            Deed::Pause | Deed::Delete => {
                let connect = self.env.connect_client();
                let done = match round.what.fault.deed {
                    Deed::Pause => connect.set_state(on, TargetState::Paused).await,
                    _ => connect.delete(on).await,
                };
                done.map_err(|error| Error::new(Code::Service, error.to_string()))
            }
            Deed::DropSlot => {
                let connector = self.env.profile.connectors.get(on);
                let connector = connector.ok_or_else(|| unknown(on))?;
                let at = source(self.env, connector);
                control::set_state(self.env, on, TargetState::Stopped, &silent).await?;
                for undo in [Undo::Release, Undo::Forget] {
                    at.undo(self.env, connector, undo, &silent).await?;
                }
                let connect = self.env.connect_client();
                let resumed = connect.set_state(on, TargetState::Running).await;
                resumed.map_err(|error| Error::new(Code::Service, error.to_string()))
            }
            Deed::Flap => {
                self.proxy.drop_all();
                Ok(())
            }
            Deed::Cut => {
                self.proxy.cut();
                Ok(())
            }
            Deed::Silence => {
                self.proxy.silence();
                Ok(())
            }
            Deed::Quota => {
                let limit = Rlimit {
                    current: Some(QUOTA),
                    maximum: None,
                };
                let set = prlimit(Some(self.pid(on)?), Resource::Fsize, limit);
                set.map(drop).map_err(|error| {
                    Error::new(Code::Process, format!("{on} gets no quota: {error}"))
                })
            }
            Deed::Reset => {
                let words = ["reset-connector", on, "--yes"];
                let reset = self.typed.run(&words);
                match tokio::time::timeout(after, reset).await {
                    // It was killed, with all that it started.
                    Err(_) => Ok(()),
                    Ok(ended) => ended.map(drop),
                }
            }
        }
    }

    fn pid(&self, component: &str) -> Result<Pid> {
        match daemon::find(&self.env.dirs, component)? {
            Found::Running(record, _) => {
                let pid = i32::try_from(record.pid).ok().and_then(Pid::from_raw);
                pid.ok_or_else(|| unknown(component))
            }
            Found::Gone(_) | Found::Never => Err(Error::new(
                Code::Process,
                format!("{component} does not run before its fault"),
            )),
        }
    }

    fn signal(&self, component: &str, signal: Signal) -> Result<()> {
        kill_process(self.pid(component)?, signal).map_err(|error| {
            Error::new(
                Code::Process,
                format!("{component} cannot be signalled: {error}"),
            )
        })
    }

    /// Waits until a row of each table that is written from now on is at its target.
    async fn arrives(&self) -> Result<()> {
        let probes = tokio::time::timeout(ARRIVES, self.load.probe()).await;
        let away = |_| {
            let what = format!("the source takes no row within {} s", ARRIVES.as_secs());
            Error::new(Code::GateTimeout, what)
        };
        for probe in probes.map_err(away)? {
            self.arrived(&probe).await?;
        }
        Ok(())
    }

    async fn arrived(&self, probe: &Probe) -> Result<()> {
        let table = self.load.place().tables.get(probe.table);
        let name = table.map_or("", |it| it.flow.as_str());
        let flow = self.env.profile.flows.get(name);
        let flow = flow.ok_or_else(|| unknown(name))?;
        let key = CanaryKey::Number(probe.id);
        let what = format!("a row of {name} that was written after the fault arrives");
        let patience = Patience {
            slowest: Duration::from_millis(300),
            ..Patience::local(ARRIVES)
        };
        let table = target(self.env, flow)?.table(self.env, name, flow);
        wait::until(&what, patience, &Progress::silent(), || async {
            match table.shown(&key, "label").await {
                Ok(Some(label)) if label == probe.label => Status::current("there"),
                Ok(_) => Status::in_progress("not there yet"),
                // Who does not answer now may soon.
                Err(status) => Status::in_progress(status.message),
            }
        })
        .await
        .map(drop)
    }

    /// Waits until `diagnose` names the fault, and has it fixed.
    async fn named_and_fixed(
        &self,
        round: &Round,
        begin: Instant,
        has_arrived: &AtomicBool,
    ) -> Seen {
        let mut seen = Seen::default();
        let fault = round.what.fault;
        if fault.codes.is_empty() {
            seen.fixed_by = "itself".into();
            if let Some(finding) = self.left_behind(has_arrived).await {
                let what = format!("{} is left: {}", finding.code, finding.cause);
                seen.problems.push(what);
                seen.fixed_by = "heal".into();
                if let Err(error) = self.heal(has_arrived).await {
                    seen.problems.push(error.message);
                }
            }
            return seen;
        }
        let finding = self.named(round, begin, has_arrived, &mut seen).await;
        // Whoever is told so has the network back first.
        self.proxy.restore();
        let cure = match (&finding, fault.cure) {
            (None, Cure::Printed) => Cure::Heal,
            (_, cure) => cure,
        };
        let fixed = match (cure, finding) {
            (Cure::Printed, Some(finding)) => self.follow(&finding, &mut seen).await,
            (Cure::Heal, _) if seen.named == Some(Named::NotSeen) => {
                seen.fixed_by = "itself".into();
                Ok(())
            }
            (Cure::Heal | Cure::Printed, _) => {
                seen.fixed_by = "heal".into();
                self.heal(has_arrived).await
            }
            (Cure::None, _) => Ok(()),
        };
        if let Err(error) = fixed {
            let said = error.details.last().map_or("", String::as_str);
            let by = &seen.fixed_by;
            let problem = format!("{by} does not fix it: {}: {said}", error.message);
            seen.problems.push(problem);
        }
        seen
    }

    /// What is still broken after something that ends well by itself; none once changes arrive.
    async fn left_behind(&self, has_arrived: &AtomicBool) -> Option<Finding> {
        let mut looks = 0;
        while !has_arrived.load(Ordering::SeqCst) {
            let diagnosis = self.look().await;
            let broken = diagnosis.findings.into_iter();
            let mut broken = broken.filter(|it| it.severity == Severity::Broken);
            match broken.next() {
                Some(finding) if looks == LEFT => return Some(finding),
                Some(_) => looks += 1,
                None => looks = 0,
            }
            wait::pause(Duration::from_secs(1)).await;
        }
        None
    }

    /// The finding that names the fault; none where it was over before.
    async fn named(
        &self,
        round: &Round,
        begin: Instant,
        has_arrived: &AtomicBool,
        seen: &mut Seen,
    ) -> Option<Finding> {
        let fault = round.what.fault;
        let fits = |finding: &&Finding| {
            fault.codes.contains(&finding.code) && finding.subject.name() == round.what.on
        };
        loop {
            let is_over = has_arrived.load(Ordering::SeqCst);
            let diagnosis = self.look().await;
            if let Some(finding) = diagnosis.findings.iter().find(fits) {
                seen.named = Some(Named::As(finding.code.to_owned()));
                seen.after = Some(begin.elapsed());
                return Some(finding.clone());
            }
            let other = diagnosis.findings.first();
            if is_over && other.is_none() && diagnosis.is_sound() {
                seen.named = Some(Named::NotSeen);
                if !fault.may_pass {
                    seen.problems.push("it passed, and was not named".into());
                }
                return None;
            }
            if begin.elapsed() > NAMED {
                let code = other.map(|it| it.code.to_owned());
                let said = code.as_deref().unwrap_or("nothing");
                let codes = fault.codes.join(" or ");
                seen.problems
                    .push(format!("diagnose says {said} and not {codes}"));
                seen.named = Some(Named::Wrongly(code));
                return None;
            }
            wait::pause(Duration::from_millis(200)).await;
        }
    }

    async fn look(&self) -> Diagnosis {
        diagnose::run(self.env, WAIT).await.1
    }

    /// Does what a finding prints.
    async fn follow(&self, finding: &Finding, seen: &mut Seen) -> Result<()> {
        if let Some(fix) = finding
            .fix
            .as_ref()
            .filter(|_| typed::commands(&finding.next).is_empty())
        {
            // One that is no command of this tool: `kill -CONT`.
            seen.fixed_by.clone_from(&fix.command());
            let (graph, actions) = fix::plan(self.env, fix)?.build()?;
            let report = plan::run(graph, actions, |_, _| {}).await;
            return Error::together(report.errors).map_or(Ok(()), Err);
        }
        seen.fixed_by.clone_from(&finding.next);
        let refused = self.typed.follow(&finding.next).await?;
        let printed = refused
            .into_iter()
            .map(|it| format!("printed, and then refused: {it}"));
        seen.problems.extend(printed);
        Ok(())
    }

    /// Heals until a row that was written after the fault has arrived, and nothing is found any more.
    async fn heal(&self, has_arrived: &AtomicBool) -> Result<()> {
        let options = heal::Options {
            watch: false,
            interval: Duration::from_secs(5),
            limits: Limits {
                max_restarts: RESTARTS,
            },
            webhook: None,
        };
        let place = heal::Place::default();
        let mut silent = |_: &history::Record| {};
        let again = async || Ok(self.env.clone());
        let heals = heal::run(self.env.clone(), again, options, &place, &mut silent);
        let over = async {
            loop {
                wait::pause(Duration::from_millis(500)).await;
                if has_arrived.load(Ordering::SeqCst) {
                    let diagnosis = self.look().await;
                    if diagnosis.is_sound() && diagnosis.findings.is_empty() {
                        return;
                    }
                }
            }
        };
        let end = tokio::select! {
            left = heals => left.map(drop),
            () = over => Ok(()),
        };
        place.leave().await;
        end
    }

    /// Waits until nothing is found.
    async fn is_sound(&self) -> Result<()> {
        let patience = Patience {
            deadline: SOUND,
            first: Duration::from_millis(200),
            slowest: Duration::from_secs(1),
        };
        let what = "nothing is found any more";
        wait::until(what, patience, &Progress::silent(), || async {
            let diagnosis = self.look().await;
            let finding = diagnosis.findings.first();
            match (finding, diagnosis.unknown.first()) {
                (None, None) => Status::current("sound"),
                (Some(finding), _) => {
                    Status::in_progress(format!("{}: {}", finding.code, finding.cause))
                }
                (None, Some(unseen)) => Status::in_progress(format!("not known: {}", unseen.fact)),
            }
        })
        .await
        .map(drop)
    }

    /// Compares what was acknowledged with the source, and the source with the targets, while the sessions pause: how many rows
    /// there are, which differ, and what could not be compared.
    async fn compare(&self, paused: &Paused) -> Result<(u64, Vec<Difference>, Vec<String>)> {
        let place = self.load.place();
        let mut session = sql::session(self.env, &place.component).await?;
        let found = sql::all(&mut *session, &place.tables).await?;
        let truth = paused.truth();
        let differing = differences(&place.tables, &truth, &found);
        let mut all: Vec<Difference> = differing
            .into_iter()
            .map(|(flow, key, how)| Difference {
                flow,
                key,
                how: how.text().into(),
                at: "source",
            })
            .collect();
        let mut problems = Vec::new();
        let (_ends, mut end) = watch::channel(false);
        for table in &place.tables {
            let pair = reconcile::flow_pair(self.env, &table.flow)?;
            let bar = reconcile::bar(&pair);
            let report =
                reconcile::table(self.env, &pair, &Options::default(), &bar, &mut end).await;
            if matches!(report.status, Compared::Error | Compared::Interrupted) {
                let why = report.error.as_ref().and_then(|it| it["message"].as_str());
                problems.push(format!(
                    "{} could not be compared: {}",
                    table.flow,
                    why.unwrap_or("its rows do not settle")
                ));
            }
            for column in &report.not_compared {
                problems.push(format!("{}: not compared: {column:?}", table.flow));
            }
            let named = report.differences.iter().map(|it| Difference {
                flow: table.flow.clone(),
                key: it.key.clone(),
                how: format!("{:?}", it.kind).to_lowercase(),
                at: "target",
            });
            all.extend(named);
        }
        Ok((
            u64::try_from(truth.len()).unwrap_or_default(),
            all,
            problems,
        ))
    }
}

fn unknown(name: &str) -> Error {
    Error::new(Code::Usage, format!("there is no {name} here"))
}

/// A round in a line.
pub(super) fn line(played: &Played, wanted: usize) -> String {
    let (round, fault) = (played.round, &played.fault);
    let named = match (&played.named, played.named_after_ms) {
        (Named::As(code), Some(after)) => format!("{code} after {}", span(after)),
        (Named::As(code), None) => code.clone(),
        (Named::NotSeen, _) => "not seen".into(),
        (Named::Wrongly(code), _) => {
            format!("not named, but {}", code.as_deref().unwrap_or("nothing"))
        }
    };
    let arrived = match played.arrived_after_ms {
        Some(after) => format!("changes arrive after {}", span(after)),
        None => "changes do not arrive".into(),
    };
    let end = match (played.differences.len(), played.problems.first()) {
        (0, None) => format!("{} rows are right", played.rows),
        (0, Some(problem)) => format!("no row differs, but {problem}"),
        (differing, _) => format!("{differing} of {} rows differ", played.rows),
    };
    format!("round {round} of {wanted}: {fault}: {named}; {arrived}; {end}")
}
