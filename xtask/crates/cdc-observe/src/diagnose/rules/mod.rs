//! The rules: data, each with a small predicate over the facts. No IO.
//!
//! A symptom has one owner, a rule; what a log, a trace or a resource says is recognised in `matchers`. What
//! is about one type of component is in a file of its own, which `TYPES` registers.

mod clickhouse;
mod connect;
mod flows;
mod kafka;
mod machine;
mod matchers;
mod mongodb;
mod mysql;
mod operated;
mod postgres;
mod sqlserver;

use super::facts::{Facts, ServerFacts};
use super::{Finding, Fix, Remedy, Severity, Subject};
use crate::readiness::Cause;

/// What a type of component adds.
struct Type {
    /// Its name.
    name: &'static str,
    /// Its rules over the facts.
    rules: &'static [&'static [Rule]],
    /// Its rules over what is said.
    matchers: &'static [Rule],
    /// What it says where a general rule knows the symptom.
    words: Words,
    /// The key of its settings that says how much memory it takes.
    memory: &'static str,
    /// Whether it reads the topics: what is wrong with Kafka or Connect is reported before.
    reads_topics: bool,
}

/// Texts, as [`Find::Text`], by the code of the rule that they are for.
type Words = &'static [(&'static str, &'static [&'static [&'static str]])];

/// Every type with rules of its own.
static TYPES: [&Type; 5] = [
    &postgres::TYPE,
    &mongodb::TYPE,
    &mysql::TYPE,
    &sqlserver::TYPE,
    &clickhouse::TYPE,
];

/// What the types say where a rule knows the symptom.
fn words(code: &str) -> impl Iterator<Item = &'static &'static [&'static str]> {
    let all = TYPES.into_iter().flat_map(|kind| kind.words);
    let own = all.filter(move |(rule, _)| *rule == code);
    own.flat_map(|(_, texts)| *texts)
}

/// The key that says how much memory a type takes.
fn memory_key(kind: &str) -> &'static str {
    let found = TYPES.into_iter().find(|it| it.name == kind);
    found.map_or("memory", |it| it.memory)
}

/// What a finding may be a mere consequence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Nothing: it is a cause wherever it is found.
    Nothing,
    /// Whatever breaks the machine or a node.
    Machine,
    /// Whatever else breaks the same subject, or the machine.
    Same,
    /// That, and whatever breaks something that the subject needs.
    Needs,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Stable, and never reused for another meaning.
    pub code: &'static str,
    /// What it means, in a line.
    pub title: &'static str,
    /// Why it happens, and what helps and what does not.
    pub about: &'static str,
    /// How much it matters, where a hit does not say otherwise.
    pub severity: Severity,
    /// Who can fix it.
    pub remedy: Remedy,
    /// What may explain it.
    pub follows: Follows,
    /// How it is found.
    find: Find,
}

/// What most rules say: changes do not arrive, a person must fix that, and nothing else explains it.
const USUAL: Rule = Rule {
    code: "",
    title: "",
    about: "",
    severity: Severity::Broken,
    remedy: Remedy::Person,
    follows: Follows::Nothing,
    find: Find::Facts(|_| Vec::new()),
};

/// Whether a group's members are being reassigned.
fn is_rebalancing(state: &str) -> bool {
    matches!(state, "PreparingRebalance" | "CompletingRebalance")
}

/// How a rule finds.
#[derive(Debug)]
enum Find {
    /// By a predicate over the facts.
    Facts(fn(&Facts) -> Vec<Hit>),
    /// By what something that does not work says: any of these, with all of its parts.
    Text(&'static [&'static [&'static str]], Then),
    /// By what keeps the pods of something that does not work from working, or as [`Find::Text`].
    Pod(Cause, &'static [&'static [&'static str]], Then),
    /// As [`Find::Text`], but by connectors only.
    Trace(&'static [&'static [&'static str]], Then),
    /// As [`Find::Trace`], where a connector does not reach the component that it reads or writes.
    Reach(&'static [&'static [&'static str]], Then),
    /// As [`Find::Trace`], but by connectors of this source only: the same words mean something else of
    /// another one.
    TraceOf(&'static str, &'static [&'static [&'static str]], Then),
}

/// What comes after something that was said.
type Then = fn(&Facts, &Subject) -> Next;

/// The next command, or what `--fix` does.
enum Next {
    Do(String),
    Fix(Fix),
}

/// A place where a rule applies.
struct Hit {
    subject: Subject,
    severity: Option<Severity>,
    cause: String,
    evidence: Vec<String>,
    next: Next,
}

impl Hit {
    fn new(subject: Subject, cause: impl Into<String>, next: Next) -> Self {
        Hit {
            subject,
            severity: None,
            cause: cause.into(),
            evidence: Vec::new(),
            next,
        }
    }

    fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }
}

/// What a rule makes of each server of a type, with its name.
fn servers<T: ServerFacts>(facts: &Facts, rule: impl Fn(&str, &T) -> Option<Hit>) -> Vec<Hit> {
    let all = facts.all::<T>();
    all.filter_map(|(name, server)| rule(name, server))
        .collect()
}

/// Leaves the first of several about one subject.
fn once_each(hits: &mut Vec<Hit>) {
    let mut seen = Vec::new();
    hits.retain(|hit| {
        let new = !seen.contains(&hit.subject);
        seen.push(hit.subject.clone());
        new
    });
}

fn run(command: impl Into<String>) -> Next {
    Next::Do(command.into())
}

fn reset(connector: &str) -> Next {
    run(format!("cargo xtask reset-connector {connector}"))
}

/// A statement at a server.
fn query(name: &str, sql: &str) -> Next {
    // Within a shell's double quotes: identifiers of SQL come in such quotes too.
    run(format!(
        "cargo xtask query {name} \"{}\"",
        sql.replace('"', "\\\"")
    ))
}

impl Rule {
    /// What it finds in these facts. A thing that was said belongs to the first rule that knows it.
    pub(super) fn judge(&'static self, facts: &Facts) -> Vec<Finding> {
        let hits = match &self.find {
            Find::Facts(find) => find(facts),
            Find::Text(..)
            | Find::Pod(..)
            | Find::Trace(..)
            | Find::Reach(..)
            | Find::TraceOf(..) => matchers::hits(facts, self),
        };
        hits.into_iter().map(|hit| self.finding(hit)).collect()
    }

    fn finding(&'static self, hit: Hit) -> Finding {
        let (next, fix) = match hit.next {
            Next::Do(next) => (next, None),
            Next::Fix(fix) => (fix.command(), Some(fix)),
        };
        Finding {
            code: self.code,
            severity: hit.severity.unwrap_or(self.severity),
            subject: hit.subject,
            cause: hit.cause,
            evidence: hit.evidence,
            next,
            remedy: self.remedy,
            fix,
            consequences: Vec::new(),
        }
    }
}

/// All rules. Among equals, those that come first are reported first.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let of_types = |reads_topics: bool| {
        let types = TYPES.into_iter();
        let types = types.filter(move |it| it.reads_topics == reads_topics);
        types.flat_map(|it| it.rules).copied()
    };
    let structured = [machine::RULES, operated::RULES]
        .into_iter()
        .chain(of_types(false))
        .chain([kafka::RULES, connect::RULES])
        .chain(of_types(true))
        .chain([flows::RULES])
        .flatten();
    let by_text = matchers::rules().chain(machine::ENDS);
    structured.chain(by_text).chain(matchers::REST)
}

/// Whether a code says no more than that something does not work.
pub(super) fn is_rest(code: &str) -> bool {
    matchers::REST.iter().any(|rule| rule.code == code)
}

/// The rule of this code.
pub fn named(code: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.code.eq_ignore_ascii_case(code))
}
