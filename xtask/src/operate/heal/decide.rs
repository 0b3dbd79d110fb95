//! What to do about findings. No IO: a function of what was found, of what was done before, and of
//! the time.
//!
//! Only what a restart can fix is restarted: the task, then the connector, then the worker, each
//! after a longer pause than the one before. Everything else is a person's.
//!
//! An attempt is written down before it is made, so that a kill in the middle counts it. A watch
//! that nobody asked to go on ends after half a minute in which everything moved at every look:
//! three times as long as Debezium waits before it tries a source again. On clusters the kubelet
//! restarts a worker that ended: it has a minute before a healer helps.

use super::guard::{self, Hold};
use super::history::{Event, Key, Reason};
use super::past::{Past, mark};
use crate::diagnose::facts::{Facts, Process};
use crate::diagnose::{Finding, Fix, Remedy, Severity, Subject, rules};
use crate::readiness::State;

/// How long something healed is watched.
pub const WATCHED_MS: u64 = 600_000;
/// The time in which restarts of one subject are counted.
const WINDOW_MS: u64 = 3_600_000;
/// The pause after the first restart. The next ones are longer.
const FIRST_PAUSE_MS: u64 = 10_000;
/// How many times longer each pause is than the one before.
const GROWS: u64 = 4;
/// The longest pause.
const LONGEST_PAUSE_MS: u64 = 900_000;
/// What passes by itself has passed by then.
const LASTS_MS: u64 = 300_000;

/// How long a connector may take to restart after something that it needs did.
const BEGINS_MS: u64 = 30_000;

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Restarts of one subject within an hour.
    pub max_restarts: u32,
}

/// Something that is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A connector's tasks: those that failed, or all where none did.
    Tasks(String),
    /// A connector with its tasks.
    Connector(String),
    /// A component, and nothing beyond it.
    Start(String),
    /// What `diagnose --fix` does.
    Fix(Fix),
}

impl Act {
    /// The command that does the same.
    pub fn command(&self) -> String {
        match self {
            Act::Tasks(name) => format!("cargo xtask connector restart {name} --only-failed"),
            Act::Connector(name) => format!("cargo xtask connector restart {name}"),
            Act::Start(name) => format!("cargo xtask restart {name}"),
            Act::Fix(fix) => fix.command(),
        }
    }
}

/// What is to be done about one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Restart something. Whatever else was decided waits until that was looked at.
    Act {
        /// What.
        act: Act,
        /// The how manieth restart within the hour.
        number: u32,
    },
    /// Nothing before this moment.
    Wait {
        /// Until when.
        until: u64,
        /// For what.
        why: String,
    },
    /// Ask a person; whoever was asked the same is not asked again.
    Escalate {
        /// Why.
        reason: Reason,
        /// The same in words.
        why: String,
        /// Whether this was not asked before.
        new: bool,
    },
    /// Somebody wanted it so.
    Leave {
        /// What speaks for that.
        why: String,
    },
}

/// What became of findings since the last look. `seen` tells whether all that a finding is about was
/// seen: one that only cannot be seen is not gone. `moves` tells whether a subject's changes move.
pub fn changes(
    found: &[Finding],
    seen: impl Fn(&Key) -> bool,
    moves: impl Fn(&str) -> bool,
    past: &Past,
    now: u64,
    clean: impl Fn(&str) -> String,
) -> Vec<Event> {
    let keys: Vec<Key> = found.iter().map(Key::of).collect();
    let mut events = Vec::new();
    let gone = past
        .troubles()
        .filter(|(key, _)| !keys.contains(key) && seen(key));
    for (key, known) in gone {
        match (known.since, known.healed) {
            (Some(since), _) => {
                let tried = !past.attempts(&key.subject, since).is_empty();
                if !tried {
                    events.push(Event::Gone(key.clone()));
                } else if moves(&key.subject) {
                    events.push(Event::Healed {
                        key: key.clone(),
                        after_ms: now.saturating_sub(since),
                    });
                }
            }
            (None, Some(healed)) if now.saturating_sub(healed) >= WATCHED_MS => {
                events.push(Event::Held(key.clone()));
            }
            _ => {}
        }
    }
    for (finding, key) in found.iter().zip(&keys) {
        let here = past.known(key).and_then(|known| known.since);
        if here.is_none() {
            let trouble = super::history::Trouble::of(finding, &clean);
            events.push(Event::Found(trouble));
        }
    }
    events
}

/// Whether a finding says only that a component does not answer, and the component does: it is gone,
/// whatever else of a busy machine cannot be seen at this look.
pub fn answers(facts: &Facts, key: &Key) -> bool {
    let silence = matches!(key.code.as_str(), "COMPONENT_DOWN" | "PROCESS_HUNG");
    let component = facts.component(&key.subject);
    silence && component.is_some_and(|it| it.status.state == State::Current)
}

/// What to do about each finding, by its place among them. The first act is the one to do: what is
/// nearer to the ground comes first, and may fix the rest.
pub fn decide(
    facts: &Facts,
    found: &[Finding],
    past: &Past,
    now: u64,
    limits: &Limits,
) -> Vec<(usize, Decision)> {
    let stopped = is_stopped(facts);
    let about = |finding: &Finding| match finding.remedy {
        _ if stopped && finding.code == "NOT_STARTED" => vec![Decision::Leave {
            why: "it was stopped; cargo xtask up starts it".into(),
        }],
        Remedy::Person => {
            let about = rules::named(finding.code).map(|rule| rule.about);
            let why = about.unwrap_or("a restart would fail the same way, or lose rows");
            vec![escalate(past, finding, Reason::Person, why.into())]
        }
        Remedy::Wait => vec![passing(past, finding, now)],
        Remedy::Restart if finding.severity == Severity::Degraded => {
            vec![passing(past, finding, now)]
        }
        Remedy::Restart => restart(facts, past, finding, now, limits),
    };
    let each = found.iter().enumerate();
    each.flat_map(|(index, finding)| about(finding).into_iter().map(move |it| (index, it)))
        .collect()
}

/// Whether somebody took the whole down.
fn is_stopped(facts: &Facts) -> bool {
    let mut own = facts.components.iter().filter(|it| !it.external).peekable();
    own.peek().is_some() && own.all(|it| it.process == Process::None)
}

fn escalate(past: &Past, finding: &Finding, reason: Reason, why: String) -> Decision {
    let same = (reason, mark(&finding.cause));
    let known = past.known(&Key::of(finding));
    Decision::Escalate {
        reason,
        why,
        new: !known.is_some_and(|known| known.asked.contains(&same)),
    }
}

fn since(past: &Past, finding: &Finding, now: u64) -> u64 {
    let known = past.known(&Key::of(finding));
    known.and_then(|known| known.since).unwrap_or(now)
}

/// What should pass by itself, and whoever is to know if it does not.
fn passing(past: &Past, finding: &Finding, now: u64) -> Decision {
    let until = since(past, finding, now) + LASTS_MS;
    match now < until {
        true => Decision::Wait {
            until,
            why: "it may pass by itself".into(),
        },
        false => {
            let why = format!("it has lasted for {} s", (now + LASTS_MS - until) / 1000);
            escalate(past, finding, Reason::Lasts, why)
        }
    }
}

fn restart(
    facts: &Facts,
    past: &Past,
    finding: &Finding,
    now: u64,
    limits: &Limits,
) -> Vec<Decision> {
    let subject = finding.subject.to_string();
    let mut decisions = Vec::new();
    let known = past.known(&Key::of(finding));
    if known.is_some_and(|known| known.returned) {
        let why = format!(
            "it came back within {} min of being healed",
            WATCHED_MS / 60_000
        );
        decisions.push(escalate(past, finding, Reason::Returned, why));
    }
    let window = now.saturating_sub(WINDOW_MS);
    let used = u32::try_from(past.attempts(&subject, window).len()).unwrap_or(u32::MAX);
    let Some(act) = ladder(facts, finding, past.rung(&subject)) else {
        let why = "there is nothing of this environment to restart".into();
        decisions.push(escalate(past, finding, Reason::Person, why));
        return decisions;
    };
    if used >= limits.max_restarts {
        let why = match used {
            0 => "restarts are not allowed (--max-restarts 0)".into(),
            1 => "a restart did not fix it".into(),
            _ => format!("{used} restarts within an hour did not fix it"),
        };
        decisions.push(escalate(past, finding, Reason::Exhausted, why));
        return decisions;
    }
    let mut begun = since(past, finding, now) + grace(finding.code);
    if finding.code == "CONNECTOR_STUCK" {
        // Its silence is that of what was away: it restarts by itself.
        let components = facts.components.iter();
        let ends = components.filter_map(|it| past.last_end(&it.name));
        begun = begun.max(ends.max().map_or(0, |end| end + BEGINS_MS));
    }
    let rested = past
        .last_end(&subject)
        .map_or(0, |end| end + pause(past.rung(&subject)));
    let next = begun.max(rested);
    if now < next {
        decisions.push(Decision::Wait {
            until: next,
            why: match begun >= rested {
                true => "it may be starting, or pass by itself".into(),
                false => format!("the pause before {}", act.command()),
            },
        });
        return decisions;
    }
    decisions.push(match guard::hold(facts, &act) {
        None => Decision::Act {
            act,
            number: used + 1,
        },
        Some(Hold::Rests) => Decision::Leave {
            why: "somebody paused or stopped it".into(),
        },
        Some(Hold::Loses(why)) => escalate(past, finding, Reason::Unsafe, why),
        Some(Hold::Blind(why)) if now >= begun + LASTS_MS => {
            escalate(past, finding, Reason::Unsafe, why)
        }
        Some(Hold::Blind(why)) => Decision::Wait {
            until: begun + LASTS_MS,
            why,
        },
    });
    decisions
}

/// What is restarted next, after so many restarts.
fn ladder(facts: &Facts, finding: &Finding, rung: u32) -> Option<Act> {
    let own = |name: &str| facts.component(name).is_some_and(|it| !it.external);
    match (&finding.subject, &finding.fix) {
        (Subject::Connector(name), None | Some(Fix::RestartConnector(_))) => Some(match rung {
            0 => Act::Tasks(name.clone()),
            1 => Act::Connector(name.clone()),
            _ => Act::Fix(Fix::RestartComponent("connect".into())),
        }),
        // Alone it is there sooner than with everything else, and what that could lose is seen
        // before the rest; if it does not help, all of it is made again.
        (Subject::Component(name), Some(Fix::Up))
            if matches!(finding.code, "PROCESS_ENDED" | "NOT_STARTED")
                && (rung == 0 || guard::hold(facts, &Act::Fix(Fix::Up)).is_some()) =>
        {
            Some(Act::Start(name.clone()))
        }
        // Somebody suspended it.
        (_, Some(Fix::Continue(_))) => None,
        (_, Some(Fix::RestartComponent(name))) | (Subject::Component(name), None) => {
            own(name).then(|| Act::Start(name.clone()))
        }
        (_, Some(fix)) => Some(Act::Fix(fix.clone())),
        (Subject::Machine | Subject::Flow(_), None) => None,
    }
}

/// The pause after so many restarts.
fn pause(rung: u32) -> u64 {
    match rung {
        0 => 0,
        rung => GROWS
            .saturating_pow(rung - 1)
            .saturating_mul(FIRST_PAUSE_MS)
            .min(LONGEST_PAUSE_MS),
    }
}

/// How long a finding may be what a start, or the end of something else, looks like for a while.
fn grace(code: &str) -> u64 {
    match code {
        "PROCESS_HUNG" | "COMPONENT_DOWN" | "TARGET_STALLED" => 60_000,
        "SLOT_BUSY" => 20_000,
        "CONNECTOR_MISSING" | "CONNECTOR_STUCK" => 5_000,
        _ => 0,
    }
}
