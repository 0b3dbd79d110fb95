//! One round: look, write down what changed, decide, and do at most one thing.
//!
//! What another command works on (the environment's lock), and what was taken down as a whole, is
//! left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::decide::{Act, Decision, answers, changes, decide};
use super::history::{Event, History, Key, Record, Trouble};
use super::lease::Lease;
use super::stuck::{Rhythm, frozen, samples, unexplained};
use super::{Left, Options, act, alert, guard};
use crate::clock;
use crate::diagnose::facts::{Facts, WAIT};
use crate::diagnose::{self, Finding, Severity, Subject, Unseen};
use crate::environment::Environment;
use crate::error::{Code, Result};
use crate::operate::bundle::Redactor;
use crate::platform::host::lock;
use crate::printed;
use crate::units::Span;

/// How long everything has to move at every look before a healer that need not go on believes it:
/// three times as long as a connector rests by default before it tries a source again.
const STEADY_MS: u64 = 30_000;
/// Lines of a trace that are passed on: its causes are within them.
const TRACE: usize = 60;
/// The pause before an alert that was not delivered is sent again, at first and at most.
const ALERT_AGAIN_MS: (u64, u64) = (30_000, 600_000);

/// What to do after a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something was restarted: look at once.
    Again,
    /// Another command has the environment.
    Locked(String),
    /// Something was restarted, and is not seen to work yet.
    Unproven,
    /// Nothing before this moment.
    At(u64),
    /// What was healed is watched.
    Watching,
    /// There is nothing to do.
    Settled,
}

/// What was seen at one look.
pub(super) struct Seen {
    facts: Facts,
    findings: Vec<Finding>,
    unknown: Vec<Unseen>,
}

/// Heals one environment.
pub(super) struct Healer<'a> {
    pub(super) env: Arc<Environment>,
    pub(super) options: Options,
    history: History,
    tell: &'a mut dyn FnMut(&Record),
    rhythms: BTreeMap<String, Rhythm>,
    /// Connectors that gave a sign of life since the look before.
    moved: BTreeSet<String>,
    /// Since when everything moved at every look.
    steady: Option<u64>,
    standing_by: Option<String>,
    /// Why the environment cannot be read again.
    unreadable: Option<String>,
    seen: Option<Seen>,
    /// Alerts that are on their way.
    alerts: JoinSet<(Key, Result<(), String>)>,
    sending: BTreeSet<Key>,
}

impl<'a> Healer<'a> {
    pub(super) fn new(
        env: Arc<Environment>,
        options: Options,
        tell: &'a mut dyn FnMut(&Record),
    ) -> Result<Self> {
        Ok(Healer {
            history: History::open(&env.dirs.state)?,
            env,
            options,
            tell,
            rhythms: BTreeMap::new(),
            moved: BTreeSet::new(),
            steady: None,
            standing_by: None,
            unreadable: None,
            seen: None,
            alerts: JoinSet::new(),
            sending: BTreeSet::new(),
        })
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        let pid = std::process::id();
        self.add(Event::Began { pid })
    }

    /// Writes down what happened, and tells it. An environment that was removed meanwhile has no
    /// place for it.
    fn add(&mut self, event: Event) -> Result<()> {
        let at = clock::now_ms();
        let record = Record { at, event };
        let kept = self.history.add(&record);
        (self.tell)(&record);
        match self.env.dirs.exists() {
            true => kept,
            false => Ok(()),
        }
    }

    /// Something is in the way; told once.
    pub(super) fn stand_by(&mut self, why: &str) -> Result<()> {
        let why = self.clean(why);
        if self.standing_by.as_ref() == Some(&why) {
            return Ok(());
        }
        self.standing_by = Some(why.clone());
        self.steady = None;
        self.add(Event::Standby { why })
    }

    /// The environment as it is now.
    pub(super) fn renew(&mut self, env: Arc<Environment>) {
        self.env = env;
        self.unreadable = None;
    }

    /// The environment cannot be read again; told once.
    pub(super) fn goes_on_with_what_it_knew(&mut self, why: &str) -> Result<()> {
        let why = self.clean(why);
        if self.unreadable.as_ref() == Some(&why) {
            return Ok(());
        }
        self.unreadable = Some(why.clone());
        let why = format!("continues with what was known before: {why}");
        self.add(Event::Standby { why })
    }

    fn clean(&self, text: &str) -> String {
        Redactor::of(&self.env).redact(text)
    }

    /// Looks at everything.
    pub(super) async fn look(&mut self) -> Seen {
        let (facts, diagnosis) = diagnose::run(&self.env, WAIT).await;
        let mut findings = guard::findings(&facts, &diagnosis.findings);
        findings.extend(diagnosis.findings);
        let mut moved = BTreeSet::new();
        let samples = samples(&facts);
        self.rhythms.retain(|name, _| samples.contains_key(name));
        for (name, sample) in samples {
            let rhythm = self.rhythms.entry(name.clone()).or_default();
            if rhythm.add(sample) {
                moved.insert(name.clone());
            }
            if let Some(stuck) = rhythm.stuck()
                && unexplained(&findings, &name)
            {
                findings.push(frozen(&name, stuck));
            }
        }
        for finding in &mut findings {
            finding.next = printed::ours(&finding.next);
        }
        self.moved = moved;
        Seen {
            facts,
            findings,
            unknown: diagnosis.unknown,
        }
    }

    /// Whether something could not be seen.
    pub(super) fn is_blind(&self) -> bool {
        self.seen
            .as_ref()
            .is_none_or(|seen| !seen.unknown.is_empty())
    }

    /// Whether everything has moved for so long that it can be believed.
    pub(super) fn is_steady(&self) -> bool {
        let now = clock::now_ms();
        self.steady.is_some_and(|since| now >= since + STEADY_MS)
    }

    /// One round.
    pub(super) async fn round(&mut self, lease: &Lease) -> Result<Next> {
        let seen = self.look().await;
        // Somebody may have begun to work meanwhile: what was seen is not what will be.
        if let Some(owner) = lock::owner(&self.env.dirs.lock())? {
            return Ok(Next::Locked(owner));
        }
        if self.standing_by.take().is_some() {
            self.add(Event::Resumed)?;
        }
        self.note(&seen)?;
        let decisions = self.decide(&seen);
        self.escalate(&seen, &decisions)?;
        self.send_alerts()?;
        let next = match first_act(&decisions) {
            Some(_) => return self.do_first(lease).await,
            None => self.next(&seen, &decisions),
        };
        self.keep(seen);
        Ok(next)
    }

    pub(super) fn keep(&mut self, seen: Seen) {
        let moves = |name: &String| self.moved.contains(name);
        let steady =
            seen.unknown.is_empty() && !is_broken(&seen.findings) && self.rhythms.keys().all(moves);
        let since = self.steady.unwrap_or_else(clock::now_ms);
        self.steady = steady.then_some(since);
        self.seen = Some(seen);
    }

    fn decide(&self, seen: &Seen) -> Vec<(usize, Decision)> {
        let (now, limits) = (clock::now_ms(), &self.options.limits);
        decide(
            &seen.facts,
            &seen.findings,
            self.history.past(),
            now,
            limits,
        )
    }

    /// Writes down what changed.
    fn note(&mut self, seen: &Seen) -> Result<()> {
        let redactor = Redactor::of(&self.env);
        let moves = |subject: &str| {
            let mut connectors = seen.facts.connectors.iter();
            let connector =
                connectors.find(|it| Subject::Connector(it.name.clone()).to_string() == subject);
            // One without heartbeats may be idle.
            connector.is_none_or(|it| {
                let beats = it.heartbeat_age_ms.is_some();
                it.is_resting() || !beats || self.moved.contains(&it.name)
            })
        };
        let whole = seen.unknown.is_empty();
        let past = self.history.past();
        let clean = |text: &str| redactor.redact(text);
        let sees = |key: &Key| whole || answers(&seen.facts, key);
        let events = changes(&seen.findings, sees, moves, past, clock::now_ms(), clean);
        events.into_iter().try_for_each(|event| self.add(event))
    }

    fn escalate(&mut self, seen: &Seen, decisions: &[(usize, Decision)]) -> Result<()> {
        for (finding, decision) in decisions {
            if let Decision::Escalate {
                reason,
                why,
                new: true,
            } = decision
            {
                let clean = Redactor::of(&self.env);
                let finding = &seen.findings[*finding];
                let mut trouble = Trouble::of(finding, |text| clean.redact(text));
                trouble.trace = trace(&seen.facts, finding).map(|text| clean.redact(&text));
                let (reason, why) = (*reason, clean.redact(why));
                self.add(Event::Escalated {
                    trouble,
                    reason,
                    why,
                })?;
            }
        }
        Ok(())
    }

    /// Does what is to be done first, if it still is once nobody else may change anything.
    async fn do_first(&mut self, lease: &Lease) -> Result<Next> {
        let command = "cargo xtask heal";
        let _lock = match lock::take(&self.env.dirs.lock(), command) {
            Ok(lock) => lock,
            Err(error) if error.code == Code::Locked => return Ok(Next::Locked(error.message)),
            Err(error) => return Err(error),
        };
        let seen = self.look().await;
        let decisions = self.decide(&seen);
        let first = first_act(&decisions);
        let Some((finding, act, number)) = first.filter(|_| lease.holds()) else {
            self.keep(seen);
            return Ok(Next::Unproven);
        };
        let finding = &seen.findings[finding];
        let (key, command) = (Key::of(finding), act.command());
        self.add(Event::Attempt {
            key: key.clone(),
            act: command.clone(),
            number,
        })?;
        let begin = Instant::now();
        let result = act::run(&self.env, act).await;
        // Its pause was no rhythm of its own.
        self.rhythms.clear();
        let (ok, said) = match result {
            Ok(said) => (true, said),
            Err(error) => (false, error.message),
        };
        let said = self.clean(&said);
        self.add(Event::Ended {
            key,
            act: command,
            ok,
            said,
            took_ms: Span(begin.elapsed()).ms(),
        })?;
        Ok(Next::Again)
    }

    fn next(&self, seen: &Seen, decisions: &[(usize, Decision)]) -> Next {
        let past = self.history.past();
        let keys: Vec<Key> = seen.findings.iter().map(Key::of).collect();
        let unproven = past
            .troubles()
            .any(|(key, known)| known.since.is_some() && !keys.contains(key));
        if unproven {
            return Next::Unproven;
        }
        let broken = |index: &usize| seen.findings[*index].severity == Severity::Broken;
        let waits = decisions.iter();
        let waits = waits.filter(|(finding, _)| self.options.watch || broken(finding));
        let waits = waits.filter_map(|(_, decision)| match decision {
            Decision::Wait { until, .. } => Some(*until),
            _ => None,
        });
        let healed = past.troubles().any(|(_, known)| known.healed.is_some());
        match waits.min() {
            Some(until) => Next::At(until),
            None if healed => Next::Watching,
            None => Next::Settled,
        }
    }

    /// Sends what is due, without waiting for it, and writes down what came of what was sent.
    fn send_alerts(&mut self) -> Result<()> {
        while let Some(sent) = self.alerts.try_join_next() {
            self.sent(sent.ok())?;
        }
        let Some(webhook) = &self.options.webhook else {
            return Ok(());
        };
        let now = clock::now_ms();
        for (key, known) in self.history.past().troubles() {
            let due = known
                .untold
                .is_some_and(|(last, tries)| now >= last + pause(tries));
            let Some((trouble, reason, why)) = known.last.as_ref().filter(|_| due) else {
                continue;
            };
            if self.sending.insert(key.clone()) {
                let body = alert::body(&self.env, trouble, *reason, why, now);
                let (webhook, key) = (webhook.clone(), key.clone());
                self.alerts
                    .spawn(async move { (key, webhook.send(&body).await) });
            }
        }
        Ok(())
    }

    fn sent(&mut self, sent: Option<(Key, Result<(), String>)>) -> Result<()> {
        // A task that did not come to its end has told nobody: it is due again.
        let Some((key, result)) = sent else {
            self.sending.clear();
            return Ok(());
        };
        self.sending.remove(&key);
        let said = result.err().map(|why| self.clean(&why));
        self.add(Event::Alerted {
            key,
            delivered: said.is_none(),
            said,
        })
    }

    /// Waits for the alerts that are on their way.
    pub(super) async fn told(&mut self) -> Result<()> {
        while let Some(sent) = self.alerts.join_next().await {
            self.sent(sent.ok())?;
        }
        Ok(())
    }

    /// How it is left.
    pub(super) fn left(&mut self) -> Left {
        let Some(seen) = self.seen.take() else {
            return Left {
                findings: Vec::new(),
                unknown: Vec::new(),
                sound: false,
            };
        };
        let mut troubles = self.history.past().troubles();
        let unproven = troubles.any(|(key, known)| {
            let mut here = seen.findings.iter().map(Key::of);
            known.since.is_some() && !here.any(|it| it == *key)
        });
        Left {
            sound: seen.unknown.is_empty() && !is_broken(&seen.findings) && !unproven,
            findings: seen.findings,
            unknown: seen.unknown,
        }
    }

    /// What would be done about each finding, a line each.
    pub(super) fn plans(&self, seen: &Seen) -> Vec<String> {
        let decisions = self.decide(seen);
        let lines = decisions.iter().map(|(finding, decision)| {
            let finding = &seen.findings[*finding];
            let what = match decision {
                Decision::Act { act, number } => {
                    let command = printed::ours(&act.command());
                    format!("would run: {command} (restart {number} within an hour)")
                }
                Decision::Wait { until, why } => {
                    format!("would wait until {}: {why}", clock::utc(*until))
                }
                Decision::Escalate { why, .. } => {
                    format!("would ask a person: {why}; next: {}", finding.next)
                }
                Decision::Leave { why } => format!("would leave it: {why}"),
            };
            let (code, subject, cause) = (finding.code, &finding.subject, &finding.cause);
            self.clean(&format!("{code} {subject}: {cause}; {what}"))
        });
        lines.collect()
    }
}

fn pause(tries: u32) -> u64 {
    let (first, most) = ALERT_AGAIN_MS;
    match tries {
        0 => 0,
        tries => first
            .saturating_mul(2_u64.saturating_pow(tries - 1))
            .min(most),
    }
}

fn first_act(decisions: &[(usize, Decision)]) -> Option<(usize, &Act, u32)> {
    decisions
        .iter()
        .find_map(|(finding, decision)| match decision {
            Decision::Act { act, number } => Some((*finding, act, *number)),
            _ => None,
        })
}

/// The beginning of the trace of what failed.
fn trace(facts: &Facts, finding: &Finding) -> Option<String> {
    let Subject::Connector(name) = &finding.subject else {
        return None;
    };
    let connector = facts.connector(name)?;
    let lines = connector.traces().next()?.lines().take(TRACE);
    let text = lines.collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then_some(text)
}

fn is_broken(findings: &[Finding]) -> bool {
    findings.iter().any(|it| it.severity == Severity::Broken)
}
