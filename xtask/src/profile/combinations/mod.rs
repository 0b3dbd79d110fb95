//! Versions that do not work together, refused before anything starts.
//!
//! One row for each combination that is known to be bad. A row that names a part which the profile
//! does not run says nothing; neither does a version that no row knows. What a version runs with is
//! the same table, read the other way round.

mod table;
#[cfg(test)]
mod tests;

use indexmap::IndexMap;

use self::table::ROWS;
use super::rules::invalid;
use super::schema::{ExtraPlugin, PlatformChoice, Profile, Versions as Pins};
use super::version::{bare, numbers, within};
use super::{Node, Value};
use crate::error::{Error, Result};

/// A part with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Broker and Connect.
    Kafka,
    /// What both log with.
    Log4j,
    /// Kafka's operator.
    Strimzi,
    /// A Debezium plugin, by its name in `images/connect/plugins.yaml`.
    Plugin(&'static str),
    /// PostgreSQL server.
    Postgres,
    /// PostgreSQL's operator.
    CloudnativePg,
    /// MongoDB server.
    Mongodb,
    /// ClickHouse server.
    Clickhouse,
    /// ClickHouse's operator.
    AltinityOperator,
    /// ClickHouse's embedded engine.
    Chdb,
    /// The program that makes Kind clusters.
    Kind,
    /// Kubernetes in Kind's nodes.
    KindNode,
    /// Control groups of this machine: 1 or 2.
    Cgroup,
}

/// A set of versions.
#[derive(Clone, Copy, Debug)]
enum Versions {
    /// From the first, until (and without) the second.
    Span(Option<&'static str>, Option<&'static str>),
    /// All but these.
    Not(&'static [&'static str]),
}

/// A combination that does not work.
#[derive(Debug)]
struct Row {
    first: (Subject, Versions),
    second: (Subject, Versions),
    /// Completes "X and Y: ...".
    why: &'static str,
    /// What to set to which value instead.
    instead: (Subject, &'static str),
}

/// Everything with a version that a run uses.
#[derive(Clone, Debug, Default)]
pub struct InUse(Vec<(Subject, String)>);

impl InUse {
    /// What a profile uses on a platform. `cgroup` is the version of this machine's control groups,
    /// if somebody looked. On `auto`, which may turn out to be no cluster, only what every platform
    /// uses is taken.
    pub fn of(profile: &Profile, platform: PlatformChoice, cgroup: Option<u8>) -> Self {
        let versions = &profile.versions;
        let mut used = InUse::default();
        for plugin in profile.plugins() {
            used = used.with(Subject::Plugin(plugin), versions.plugin(plugin));
        }
        if profile.connect.plugins.contains(&ExtraPlugin::Jdbc) {
            used = used.with(Subject::Plugin("jdbc"), versions.plugin("jdbc"));
        }
        for instance in profile.components.values().filter(|it| !it.is_external()) {
            for subject in instance.spec.versions(platform) {
                if used.version(subject).is_none() {
                    used = used.with(subject, subject.pinned(versions));
                }
            }
        }
        if platform == PlatformChoice::Kind {
            used = used
                .with(Subject::Kind, &versions.kind)
                .with(Subject::KindNode, &versions.kind_node);
            if let Some(cgroup) = cgroup {
                used = used.with(Subject::Cgroup, &cgroup.to_string());
            }
        }
        used
    }

    /// What a profile uses on any platform.
    pub fn anywhere(profile: &Profile) -> Self {
        let mut all = InUse::default();
        for platform in [
            PlatformChoice::Host,
            PlatformChoice::Kind,
            PlatformChoice::Kubernetes,
        ] {
            for part in InUse::of(profile, platform, None).0 {
                if !all.0.contains(&part) {
                    all.0.push(part);
                }
            }
        }
        all
    }

    /// The same with one more part.
    #[must_use]
    pub fn with(mut self, subject: Subject, version: &str) -> Self {
        self.0.push((subject, version.to_owned()));
        self
    }

    /// The parts with their versions.
    pub fn parts(&self) -> impl Iterator<Item = (Subject, &str)> {
        let parts = self.0.iter();
        parts.map(|(subject, version)| (*subject, version.as_str()))
    }

    fn version(&self, subject: Subject) -> Option<&str> {
        self.parts()
            .find(|(used, _)| *used == subject)
            .map(|(_, version)| version)
    }
}

/// Refuses what is known not to work together, at the place of a value that makes it so.
///
/// # Errors
/// The first combination that is bad, with the reason and what to use instead.
pub fn refuse(tree: &Node, used: &InUse) -> Result<()> {
    let bad = ROWS.iter().find_map(|row| {
        let first = used.version(row.first.0)?;
        let second = used.version(row.second.0)?;
        (row.first.1.has(first) && row.second.1.has(second)).then_some((row, first, second))
    });
    match bad {
        Some((row, first, second)) => Err(refusal(tree, row, first, second)),
        None => Ok(()),
    }
}

fn refusal(tree: &Node, row: &Row, first: &str, second: &str) -> Error {
    let (subject, value) = row.instead;
    let message = format!(
        "{} and {} do not work together: {}",
        row.first.0.named(first),
        row.second.0.named(second),
        row.why
    );
    // The place to mend is the one that somebody wrote; between two of them, the one to be changed.
    let own = subject.path(tree);
    let paths = [own.clone(), row.first.0.path(tree), row.second.0.path(tree)];
    let written = |path: &&Vec<&'static str>| {
        tree.at(path.iter().copied())
            .is_some_and(|node| node.origin.file != "profiles/versions.yaml")
    };
    let at = paths.iter().flatten().find(written).or(own.as_ref());
    let at = at.cloned().unwrap_or_default();
    let key = own.unwrap_or_default().join(".");
    invalid(tree, &at, message).hint(format!("set `{key}: {value}`"))
}

/// What a version of a part runs with, as far as the table knows: of each other part, which versions.
pub fn runs_with(subject: Subject, version: &str) -> Vec<String> {
    let mut known: IndexMap<Subject, Vec<String>> = IndexMap::new();
    for row in ROWS {
        for (one, other) in [(&row.first, &row.second), (&row.second, &row.first)] {
            if one.0 != subject {
                continue;
            }
            let text = match one.1 {
                // Every version of it is meant: that says something of the other part alone.
                Versions::Span(None, None) => continue,
                // A whole list of what goes: the part that has it goes with what is on it.
                Versions::Not(list) if list.iter().any(|it| numbers(it) == numbers(version)) => {
                    other.1.is()
                }
                Versions::Not(_) => continue,
                Versions::Span(..) if one.1.has(version) => other.1.is_not(),
                Versions::Span(..) => continue,
            };
            let texts = known.entry(other.0).or_default();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    let known = known.into_iter();
    known
        .map(|(other, texts)| format!("{} {}", other.name(), texts.join(", ")))
        .collect()
}

impl Subject {
    /// Its key below `versions`; the machine has none.
    pub fn key(self) -> Option<String> {
        match self {
            Subject::Plugin(name) => Some(format!("plugins.{name}")),
            other => other.pin().map(str::to_owned),
        }
    }

    /// The pin that counts for it; a plugin's is Debezium's.
    fn pin(self) -> Option<&'static str> {
        Some(match self {
            Subject::Kafka => "kafka",
            Subject::Log4j => "log4j",
            Subject::Strimzi => "strimzi",
            Subject::Plugin(_) => "debezium",
            Subject::Postgres => "postgres",
            Subject::CloudnativePg => "cloudnative_pg",
            Subject::Mongodb => "mongodb",
            Subject::Clickhouse => "clickhouse",
            Subject::AltinityOperator => "altinity_operator",
            Subject::Chdb => "chdb",
            Subject::Kind => "kind",
            Subject::KindNode => "kind_node",
            Subject::Cgroup => return None,
        })
    }

    /// The version that a profile pins; empty for what no profile pins.
    fn pinned(self, versions: &Pins) -> &str {
        match self {
            Subject::Kafka => &versions.kafka,
            Subject::Log4j => &versions.log4j,
            Subject::Strimzi => &versions.strimzi,
            Subject::Plugin(name) => versions.plugin(name),
            Subject::Postgres => &versions.postgres,
            Subject::CloudnativePg => &versions.cloudnative_pg,
            Subject::Mongodb => &versions.mongodb,
            Subject::Clickhouse => &versions.clickhouse,
            Subject::AltinityOperator => &versions.altinity_operator,
            Subject::Chdb => &versions.chdb,
            Subject::Kind => &versions.kind,
            Subject::KindNode => &versions.kind_node,
            Subject::Cgroup => "",
        }
    }

    /// Where its version stands: at the plugin, if it has one of its own.
    fn path(self, tree: &Node) -> Option<Vec<&'static str>> {
        if let Subject::Plugin(name) = self {
            let own = vec!["versions", "plugins", name];
            let node = tree.at(own.iter().copied());
            if node.is_some_and(|node| node.value != Value::Null) {
                return Some(own);
            }
        }
        Some(vec!["versions", self.pin()?])
    }

    /// Its name for people.
    pub fn name(self) -> String {
        match self {
            Subject::Kafka => "Kafka".into(),
            Subject::Log4j => "Log4j".into(),
            Subject::Strimzi => "Strimzi".into(),
            Subject::Plugin(plugin) => format!("Debezium's `{plugin}` plugin"),
            Subject::Postgres => "PostgreSQL".into(),
            Subject::CloudnativePg => "CloudNativePG".into(),
            Subject::Mongodb => "MongoDB".into(),
            Subject::Clickhouse => "ClickHouse".into(),
            Subject::AltinityOperator => "Altinity's operator".into(),
            Subject::Chdb => "chdb".into(),
            Subject::Kind => "kind".into(),
            Subject::KindNode => "Kind's node image".into(),
            Subject::Cgroup => "cgroup".into(),
        }
    }

    fn named(self, version: &str) -> String {
        let version = bare(version);
        match self {
            Subject::Cgroup => format!("cgroup v{version}"),
            _ => format!("{} {version}", self.name()),
        }
    }
}

impl Versions {
    fn has(self, version: &str) -> bool {
        match self {
            Versions::Span(from, until) => within(version, from, until),
            Versions::Not(others) => {
                // Of a name such as `latest` nobody knows.
                let this = numbers(version);
                !this.is_empty() && !others.iter().any(|other| numbers(other) == this)
            }
        }
    }

    /// The set for people.
    fn is(self) -> String {
        match self {
            Versions::Span(Some(from), Some(until)) => format!("from {from} to before {until}"),
            Versions::Span(Some(from), None) => format!("{from} or newer"),
            Versions::Span(None, Some(until)) => format!("before {until}"),
            Versions::Span(None, None) => "of any version".into(),
            Versions::Not(others) => format!("none of {}", others.join(", ")),
        }
    }

    /// What is not in the set, for people.
    fn is_not(self) -> String {
        match self {
            Versions::Span(Some(_), Some(_)) => format!("not {}", self.is()),
            Versions::Span(Some(from), None) => Versions::Span(None, Some(from)).is(),
            Versions::Span(None, Some(until)) => Versions::Span(Some(until), None).is(),
            Versions::Span(None, None) => "of no version".into(),
            Versions::Not(others) => others.join(", "),
        }
    }
}
