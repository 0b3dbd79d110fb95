//! What traces, logs and resources say: each text belongs to the first rule that knows it.
//!
//! Only what does not work is listened to: a log may tell of troubles that have passed.

mod process;
mod record;
mod source;

use super::{Find, Follows, Hit, Next, Rule, TYPES, USUAL, once_each, reset, run, words};
use crate::diagnose::facts::{Facts, Process};
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::readiness::Cause;
use crate::readiness::connect::root_cause;

/// One thing that was said.
struct Saying<'a> {
    subject: Subject,
    /// What a connector reads.
    source: Option<&'static str>,
    /// Whether it has ended since: of its troubles, few are why.
    ended: bool,
    /// How much it matters, where it is not as the rule says.
    severity: Option<Severity>,
    /// What readiness knows of its cause, and the clause that says so.
    cause: Option<&'a (Cause, String)>,
    /// The line that sums it up.
    head: String,
    lines: Vec<&'a str>,
}

impl<'a> Saying<'a> {
    fn new(
        subject: Subject,
        source: Option<&'static str>,
        head: &str,
        lines: impl Iterator<Item = &'a str>,
    ) -> Self {
        Saying {
            subject,
            source,
            ended: false,
            severity: None,
            cause: None,
            head: head.to_owned(),
            lines: lines.collect(),
        }
    }
}

/// The rules, in the order in which they are asked: what the connectors of one type say before what means the
/// same of any.
pub(super) fn rules() -> impl Iterator<Item = &'static Rule> {
    let own = || TYPES.into_iter().flat_map(|kind| kind.matchers);
    let of_one = |rule: &&Rule| matches!(rule.find, Find::TraceOf(..));
    let general = [source::RULES, process::RULES, record::RULES];
    source::LOGIN
        .iter()
        .chain(own().filter(of_one))
        .chain(own().filter(move |rule| !of_one(rule)))
        .chain(general.into_iter().flatten())
}

/// What nobody knew, in what does not work.
pub(super) const REST: &[Rule] = &[
    Rule {
        code: "TASK_FAILED",
        title: "a connector or task has failed",
        about: "The trace's root cause is shown. A restart helps where it was passing: a source that was away, a broker that \
                was full.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Trace(&[&[]], restart),
        ..USUAL
    },
    Rule {
        code: "COMPONENT_DOWN",
        title: "a component does not work",
        about: "It does not answer by its protocol, and nothing more is known about why. Its log may show it.",
        remedy: Remedy::Restart,
        follows: Follows::Needs,
        find: Find::Text(&[&[]], |facts, subject| {
            let name = subject.name();
            let found = facts.component(name);
            if let Some(next) = found.and_then(|it| it.status.next.as_deref()) {
                return run(next.to_owned());
            }
            match found {
                Some(it) if it.external => run(format!(
                    "have {name} answer, or correct {}.external in the profile; then: cargo xtask up",
                    it.path
                )),
                _ => run(format!("cargo xtask logs {name}")),
            }
        }),
        ..USUAL
    },
];

/// What ends a process.
const ENDINGS: [&str; 3] = ["OUT_OF_MEMORY", "NO_SPACE", "ADDRESS_IN_USE"];

/// What a rule recognises.
pub(super) fn hits(facts: &Facts, rule: &'static Rule) -> Vec<Hit> {
    let (Find::Text(_, then)
    | Find::Pod(_, _, then)
    | Find::Trace(_, then)
    | Find::Reach(_, then)
    | Find::TraceOf(_, _, then)) = &rule.find
    else {
        return Vec::new();
    };
    let mut hits: Vec<Hit> = sayings(facts)
        .into_iter()
        .filter_map(|saying| {
            let known = rules().find_map(|rule| Some((rule, line(&saying, rule)?)));
            let (owner, line) = match known {
                Some((owner, line)) => (owner.code, Some(line)),
                // A complaint that nobody knows need not be why.
                None if saying.head.is_empty() => return None,
                None => (fallback(&saying.subject), None),
            };
            (owner == rule.code).then(|| {
                let next = then(facts, &saying.subject);
                let line = line.map(str::trim).unwrap_or_default();
                let (cause, more) = match saying.head.as_str() {
                    "" => (line, None),
                    // A status may say several things: what is known of them is the cause.
                    head if !line.is_empty() && clauses(head).any(|it| it == line) => {
                        (line, (head != line).then(|| shortened(head)))
                    }
                    head => (head, (!head.contains(line)).then(|| shortened(line))),
                };
                let mut cause = shortened(cause);
                if let (Find::Reach(..), Some(target)) =
                    (&rule.find, written(facts, &saying.subject))
                {
                    cause = format!("it cannot reach its target {target}: {cause}");
                }
                let mut hit = Hit::new(saying.subject.clone(), cause, next).evidence(more);
                hit.severity = saying.severity;
                hit
            })
        })
        .collect();
    // A trace and a resource may say the same: the first is the graver one.
    once_each(&mut hits);
    hits
}

/// The component that a sink of the profile writes to.
fn written<'a>(facts: &'a Facts, subject: &Subject) -> Option<&'a str> {
    let wanted = facts.connector(subject.name())?.wanted.as_ref()?;
    wanted.writes.then_some(&wanted.component)
}

/// A text whose middle is left out where it is long: exceptions name their class first and their
/// reason last.
fn shortened(text: &str) -> String {
    const BEGIN: usize = 120;
    const END: usize = 160;
    let text = text.strip_prefix("Caused by: ").unwrap_or(text);
    let count = text.chars().count();
    if count <= BEGIN + END {
        return text.to_owned();
    }
    let begin: String = text.chars().take(BEGIN).collect();
    let end: String = text.chars().skip(count - END).collect();
    format!("{begin} ... {end}")
}

fn fallback(subject: &Subject) -> &'static str {
    match subject {
        Subject::Component(_) | Subject::Machine => "COMPONENT_DOWN",
        Subject::Connector(_) | Subject::Flow(_) => "TASK_FAILED",
    }
}

/// The line of a saying that a rule knows.
fn line<'a>(saying: &Saying<'a>, rule: &Rule) -> Option<&'a str> {
    if saying.ended && !ENDINGS.contains(&rule.code) {
        return None;
    }
    let texts = match (&rule.find, &saying.subject) {
        (Find::Pod(cause, texts, _), _) => match saying.cause {
            Some((known, clause)) if known == cause => return Some(clause),
            _ => texts,
        },
        (Find::Text(texts, _), _)
        | (Find::Trace(texts, _) | Find::Reach(texts, _), Subject::Connector(_)) => texts,
        (Find::TraceOf(source, texts, _), _) if saying.source == Some(*source) => texts,
        _ => return None,
    };
    let knows = |line: &str| {
        texts
            .iter()
            .chain(words(rule.code))
            .any(|parts| parts.iter().all(|part| line.contains(part)))
    };
    saying.lines.iter().copied().rev().find(|line| knows(line))
}

/// What was said about what does not work.
fn sayings(facts: &Facts) -> Vec<Saying<'_>> {
    let components = facts.components.iter().filter(|it| it.is_silent());
    let mut all: Vec<Saying> = components
        .map(|component| {
            let message = &component.status.message;
            let log = component.log.iter().map(String::as_str);
            let lines = clauses(message).chain(log);
            Saying {
                ended: matches!(component.process, Process::Ended(_)),
                cause: component.status.cause.as_ref(),
                ..Saying::new(Subject::component(&component.name), None, message, lines)
            }
        })
        .collect();
    for connector in &facts.connectors {
        let subject = Subject::Connector(connector.name.clone());
        let source = connector.source();
        if let Some(trace) = connector.traces().next() {
            let (head, subject) = (root_cause(trace), subject.clone());
            all.push(Saying::new(subject, source, head, trace.lines()));
        }
        if !connector.complaints.is_empty() {
            let lines = connector.complaints.iter().map(String::as_str);
            all.push(Saying::new(subject.clone(), source, "", lines));
        }
        if let Some(refused) = &connector.refused {
            // Its changes arrive as long as the configuration before goes on.
            let runs_on = connector.is_running() && connector.complaints.is_empty();
            let message = refused.message.as_str();
            let evidence = refused.evidence.iter().map(String::as_str);
            let lines = std::iter::once(message).chain(evidence);
            all.push(Saying {
                severity: runs_on.then_some(Severity::Degraded),
                ..Saying::new(subject, source, message, lines)
            });
        }
    }
    all
}

/// What a status says, one thing after the other.
fn clauses(message: &str) -> impl Iterator<Item = &str> {
    message.split("; ")
}

fn component_of(subject: &Subject) -> &str {
    match subject {
        Subject::Connector(_) => "connect",
        Subject::Machine | Subject::Component(_) | Subject::Flow(_) => subject.name(),
    }
}

fn restart(_: &Facts, subject: &Subject) -> Next {
    match subject {
        Subject::Connector(name) => Next::Fix(Fix::RestartConnector(name.clone())),
        _ => Next::Fix(Fix::Up),
    }
}

pub(super) fn again(facts: &Facts, subject: &Subject) -> Next {
    match facts.connector(subject.name()) {
        Some(connector) => reset(&connector.name),
        None => run(format!("cargo xtask logs {}", subject.name())),
    }
}

/// A person does what the message says, and what had failed is restarted.
fn after_fix(_: &Facts, subject: &Subject) -> Next {
    let command = match subject {
        Subject::Connector(name) => format!("cargo xtask connector restart {name}"),
        _ => "cargo xtask up".into(),
    };
    run(format!("fix what the message names, then: {command}"))
}
