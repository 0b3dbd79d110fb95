//! What is wrong, why, and what to do: facts are gathered once, rules judge them, and what is only
//! a consequence stands below its cause.
//!
//! `facts` asks, `rules` and `rank` are pure. A fact that could not be had is unknown, never fine.

pub mod facts;
mod rank;
pub mod rules;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::environment::Environment;
use crate::platform::Platform;
use crate::printed;
use facts::Facts;

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The machine, or the cluster's nodes.
    Machine,
    /// A component.
    Component(String),
    /// A connector.
    Connector(String),
    /// A flow.
    Flow(String),
}

impl Subject {
    /// A component.
    pub fn component(name: impl Into<String>) -> Self {
        Subject::Component(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Subject::Machine => "machine",
            Subject::Component(name) | Subject::Connector(name) | Subject::Flow(name) => name,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Machine => f.write_str("machine"),
            Subject::Component(name) => f.write_str(name),
            Subject::Connector(name) => write!(f, "connector {name}"),
            Subject::Flow(name) => write!(f, "flow {name}"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Changes do not arrive.
    Broken,
    /// Changes arrive, and will not for ever or not all of them.
    Degraded,
}

/// Who can fix a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// A restart of what it is about can.
    Restart,
    /// It passes by itself.
    Wait,
    /// A person must: a restart would fail the same way, or lose rows.
    Person,
}

/// What `--fix` does: nothing that loses rows, and nothing that somebody may have wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// Brings up what is not as the profile wants it.
    Up,
    /// Restarts a connector's tasks.
    RestartConnector(String),
    /// Restarts a component.
    RestartComponent(String),
    /// Restarts the operator of Kafka and Connect.
    RestartOperator,
    /// Lets a suspended process go on.
    Continue(u32),
}

impl Fix {
    /// The command that does the same.
    pub fn command(&self) -> String {
        match self {
            Fix::Up => "cargo xtask up".into(),
            Fix::RestartConnector(name) => format!("cargo xtask connector restart {name}"),
            Fix::RestartComponent(name) => format!("cargo xtask restart {name}"),
            Fix::RestartOperator => "cargo xtask restart operator".into(),
            Fix::Continue(pid) => format!("kill -CONT {pid}"),
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's stable code.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// The cause in one sentence.
    pub cause: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// The next command, or what to do where there is none.
    pub next: String,
    /// Who can fix it.
    pub remedy: Remedy,
    /// What `--fix` does about it, where that is safe.
    pub fix: Option<Fix>,
    /// What follows from it and fixes itself with it.
    pub consequences: Vec<Consequence>,
}

/// A finding that another one explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consequence {
    /// Its rule's code.
    pub code: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// What it looks like.
    pub cause: String,
}

/// Something that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// What.
    pub fact: String,
    /// Why not.
    pub why: String,
}

/// What the rules make of the facts.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Profile.
    pub profile: String,
    /// Platform.
    pub platform: Platform,
    /// How long the facts took, in milliseconds.
    pub took_ms: u64,
    /// Causes, the gravest first.
    pub findings: Vec<Finding>,
    /// What is not known.
    pub unknown: Vec<Unseen>,
}

impl Diagnosis {
    /// Whether nothing speaks against the pipeline, and everything was seen.
    pub fn is_sound(&self) -> bool {
        self.unknown.is_empty() && !self.is_broken()
    }

    /// Keeps what concerns a component, connector or flow: findings about it, about what it needs, and
    /// those that it is a consequence of.
    pub fn narrow(&mut self, facts: &Facts, name: &str) {
        self.findings.retain(|finding| {
            let follows = finding.consequences.iter();
            rank::concerns(facts, name, &finding.subject)
                || follows.map(|it| &it.subject).any(|it| it.name() == name)
        });
    }

    /// Whether changes do not arrive.
    pub fn is_broken(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.severity == Severity::Broken)
    }
}

/// Gathers the facts, none of which is waited for for longer than `wait`, and judges them.
pub async fn run(env: &Arc<Environment>, wait: Duration) -> (Facts, Diagnosis) {
    let facts = facts::gather(env, wait).await;
    let diagnosis = judge_as_printed(&facts);
    (facts, diagnosis)
}

/// Judges facts, with the next commands as they can be typed here.
pub fn judge_as_printed(facts: &Facts) -> Diagnosis {
    let mut diagnosis = judge(facts);
    for finding in &mut diagnosis.findings {
        finding.next = printed::ours(&finding.next);
    }
    diagnosis
}

/// Judges facts.
pub fn judge(facts: &Facts) -> Diagnosis {
    let found = rules::all().flat_map(|rule| rule.judge(facts)).collect();
    Diagnosis {
        profile: facts.profile.clone(),
        platform: facts.platform,
        took_ms: facts.took_ms,
        findings: rank::rank(facts, found),
        unknown: facts.unknown(),
    }
}

#[cfg(test)]
mod tests;
