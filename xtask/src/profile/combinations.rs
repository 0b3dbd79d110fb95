//! Versions that do not work together, refused before anything starts.
//!
//! One row for each combination that is known to be bad. A row that names a part which the profile
//! does not run says nothing; neither does a version that no row knows.

use super::Node;
use super::schema::{ExtraPlugin, PlatformChoice, Profile, Source};
use super::values::invalid;
use crate::error::{Error, Result};

/// A part with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Broker and Connect.
    Kafka,
    /// Kafka's operator.
    Strimzi,
    /// A Debezium plugin, by its name in `images/connect/plugins.yaml`; the version is Debezium's.
    Plugin(&'static str),
    /// PostgreSQL server.
    Postgres,
    /// MongoDB server.
    Mongodb,
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
    instead: (&'static str, &'static str),
}

const ANY: Versions = Versions::Span(None, None);

const fn below(version: &'static str) -> Versions {
    Versions::Span(None, Some(version))
}

const fn from(version: &'static str) -> Versions {
    Versions::Span(Some(version), None)
}

const fn series(first: &'static str, next: &'static str) -> Versions {
    Versions::Span(Some(first), Some(next))
}

// What an operator runs is the list of images in its own Deployment (`install/cluster-operator`). The
// ranges of database versions are those of Debezium's release pages, series 2.7 and 3.4 to 3.7
// (debezium.github.io, `_data/releases/<series>/series.yml`, and 3.4's overview for PostgreSQL 18).
const ROWS: &[Row] = &[
    Row {
        first: (Subject::Plugin("jdbc"), below("3.0")),
        second: (Subject::Kafka, from("4.0")),
        why: "the sink calls `InternalSinkRecord.originalRecord()`, which Kafka 4 has no more: it writes rows and then dies",
        instead: ("versions.debezium", "3.5.0.Final"),
    },
    Row {
        first: (Subject::Plugin("sqlserver"), below("3.0")),
        second: (Subject::Kafka, from("4.0")),
        why: "the recovery of its schema history calls `KafkaConsumer.poll(long)`, which Kafka 4 has no more",
        instead: ("versions.debezium", "3.5.0.Final"),
    },
    Row {
        first: (Subject::Strimzi, series("1.2", "1.3")),
        second: (
            Subject::Kafka,
            Versions::Not(&["4.2.0", "4.2.1", "4.3.0", "4.3.1"]),
        ),
        why: "this operator runs 4.2.0, 4.2.1, 4.3.0 and 4.3.1 only",
        instead: ("versions.kafka", "4.3.1"),
    },
    Row {
        first: (Subject::Strimzi, series("0.50", "0.51")),
        second: (
            Subject::Kafka,
            Versions::Not(&["4.0.0", "4.0.1", "4.1.0", "4.1.1"]),
        ),
        why: "this operator runs 4.0.0, 4.0.1, 4.1.0 and 4.1.1 only",
        instead: ("versions.strimzi", "1.2.0"),
    },
    Row {
        first: (Subject::Strimzi, from("0.51")),
        second: (Subject::Kafka, below("4.1")),
        why: "this operator no longer runs Kafka 4.0",
        instead: ("versions.strimzi", "0.50.1"),
    },
    Row {
        first: (Subject::Strimzi, below("0.49")),
        second: (Subject::Kafka, ANY),
        why: "the objects are written for the API `kafka.strimzi.io/v1`, which this operator has not",
        instead: ("versions.strimzi", "1.2.0"),
    },
    Row {
        first: (Subject::Plugin("postgres"), series("2.7", "3.0")),
        second: (Subject::Postgres, from("17")),
        why: "this connector is tested with PostgreSQL 10 to 16",
        instead: ("versions.postgres", "16.10.0"),
    },
    Row {
        first: (Subject::Plugin("postgres"), series("3.4", "3.8")),
        second: (Subject::Postgres, from("19")),
        why: "this connector is tested with PostgreSQL 14 to 18",
        instead: ("versions.postgres", "17.11.0"),
    },
    Row {
        first: (Subject::Plugin("postgres"), series("3.4", "3.8")),
        second: (Subject::Postgres, below("14")),
        why: "this connector is tested with PostgreSQL 14 to 18",
        instead: ("versions.postgres", "17.11.0"),
    },
    Row {
        first: (Subject::Plugin("mongodb"), series("2.7", "3.0")),
        second: (Subject::Mongodb, from("8.0")),
        why: "this connector is tested with MongoDB 5.0 to 7.0",
        instead: ("versions.mongodb", "7.0.41"),
    },
    Row {
        first: (Subject::Plugin("mongodb"), series("3.4", "3.8")),
        second: (Subject::Mongodb, below("6.0")),
        why: "this connector is tested with MongoDB 6.0 to 8.0",
        instead: ("versions.mongodb", "8.0.30"),
    },
    Row {
        first: (Subject::KindNode, from("1.35")),
        second: (Subject::Cgroup, below("2")),
        why: "its kubelet does not start on this machine's control groups",
        instead: (
            "versions.kind_node",
            "1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d",
        ),
    },
];

/// Everything with a version that a run uses.
#[derive(Clone, Debug, Default)]
pub struct InUse(Vec<(Subject, String)>);

impl InUse {
    /// What a profile uses on a platform. `cgroup` is the version of this machine's control groups,
    /// if somebody looked. On `auto`, which may turn out to be no cluster, only what every platform
    /// uses is taken.
    pub fn of(profile: &Profile, platform: PlatformChoice, cgroup: Option<u8>) -> Self {
        let versions = &profile.versions;
        let cluster = matches!(platform, PlatformChoice::Kind | PlatformChoice::Kubernetes);
        let mut used = InUse::default();
        for (source, plugin) in [(Source::Postgres, "postgres"), (Source::Mongodb, "mongodb")] {
            if profile.uses(source) {
                used = used.with(Subject::Plugin(plugin), &versions.debezium);
            }
        }
        if profile.connect.plugins.contains(&ExtraPlugin::Jdbc) {
            used = used.with(Subject::Plugin("jdbc"), &versions.debezium);
        }
        if profile.postgres.external.is_none() {
            used = used.with(Subject::Postgres, &versions.postgres);
        }
        // Connect has the brokers' version also where the brokers are somebody else's.
        used = used.with(Subject::Kafka, &versions.kafka);
        if cluster {
            used = used.with(Subject::Strimzi, &versions.strimzi);
            // On `host`, MongoDB is whatever is installed.
            if profile.mongodb.external.is_none() {
                used = used.with(Subject::Mongodb, &versions.mongodb);
            }
        }
        if platform == PlatformChoice::Kind {
            used = used.with(Subject::KindNode, &versions.kind_node);
            if let Some(cgroup) = cgroup {
                used = used.with(Subject::Cgroup, &cgroup.to_string());
            }
        }
        used
    }

    /// The same with one more part.
    #[must_use]
    pub fn with(mut self, subject: Subject, version: &str) -> Self {
        self.0.push((subject, version.to_owned()));
        self
    }

    fn version(&self, subject: Subject) -> Option<&str> {
        self.0
            .iter()
            .find(|(used, _)| *used == subject)
            .map(|(_, version)| version.as_str())
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
    let (key, value) = row.instead;
    let message = format!(
        "{} and {} do not work together: {}",
        row.first.0.named(first),
        row.second.0.named(second),
        row.why
    );
    // The place to mend is the one that somebody wrote; between two of them, the one to be changed.
    let own = key.split('.').nth(1).unwrap_or_default();
    let keys = [Some(own), row.first.0.key(), row.second.0.key()];
    let written = |key: &&str| {
        tree.at(["versions", *key])
            .is_some_and(|node| node.origin.file != "profiles/versions.yaml")
    };
    let at = keys.into_iter().flatten().find(written).unwrap_or(own);
    invalid(tree, &["versions", at], message).hint(format!("set `{key}: {value}`"))
}

impl Subject {
    /// Its key under `versions`; the machine has none.
    fn key(self) -> Option<&'static str> {
        Some(match self {
            Subject::Kafka => "kafka",
            Subject::Strimzi => "strimzi",
            Subject::Plugin(_) => "debezium",
            Subject::Postgres => "postgres",
            Subject::Mongodb => "mongodb",
            Subject::KindNode => "kind_node",
            Subject::Cgroup => return None,
        })
    }

    fn named(self, version: &str) -> String {
        let version = version.split('@').next().unwrap_or(version);
        match self {
            Subject::Kafka => format!("Kafka {version}"),
            Subject::Strimzi => format!("Strimzi {version}"),
            Subject::Plugin(plugin) => format!("Debezium's `{plugin}` plugin {version}"),
            Subject::Postgres => format!("PostgreSQL {version}"),
            Subject::Mongodb => format!("MongoDB {version}"),
            Subject::KindNode => format!("Kind's node image {version}"),
            Subject::Cgroup => format!("cgroup v{version}"),
        }
    }
}

impl Versions {
    fn has(self, version: &str) -> bool {
        let this = numbers(version);
        if this.is_empty() {
            // A name such as `latest`: nobody knows.
            return false;
        }
        match self {
            Versions::Span(from, until) => {
                from.is_none_or(|from| this >= numbers(from))
                    && until.is_none_or(|until| this < numbers(until))
            }
            Versions::Not(others) => !others.iter().any(|other| numbers(other) == this),
        }
    }
}

/// The numbers that a version begins with: of `3.4.0.Final` they are 3, 4 and 0.
fn numbers(version: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = version
        .split('@')
        .next()
        .unwrap_or_default()
        .trim_start_matches('v')
        .split(['.', '-'])
        .map_while(|part| part.parse().ok())
        .collect();
    // 4.0 and 4.0.0 are one version.
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "versions: {kafka: 4.0.0, strimzi: 0.50.1, debezium: 3.4.0.Final, \
                        postgres: 17.6.0, mongodb: 8.0, kind_node: 1.34.11}";

    fn tree() -> Node {
        crate::profile::parse::parse("own.yaml", GOOD).expect("YAML")
    }

    fn refused(used: &[(Subject, &str)]) -> Option<String> {
        let used = used
            .iter()
            .fold(InUse::default(), |used, (subject, version)| {
                used.with(*subject, version)
            });
        refuse(&tree(), &used).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_known_to_be_bad_is_refused_with_what_is_good() {
        use Subject::{Cgroup, Kafka, KindNode, Mongodb, Plugin, Postgres, Strimzi};
        for (used, place, says, instead) in [
            (
                [(Plugin("jdbc"), "2.7.0.Final"), (Kafka, "4.0.0")],
                "own.yaml:1:43: ",
                "Debezium's `jdbc` plugin 2.7.0.Final and Kafka 4.0.0 do not work together",
                "set `versions.debezium: 3.5.0.Final`",
            ),
            (
                [(Plugin("sqlserver"), "2.7.4.Final"), (Kafka, "4.1.1")],
                "own.yaml:1:43: ",
                "poll(long)",
                "versions.debezium: 3.5",
            ),
            (
                [(Strimzi, "0.50.0"), (Kafka, "4.2.0")],
                "own.yaml:1:26: ",
                "runs 4.0.0, 4.0.1, 4.1.0 and 4.1.1 only",
                "versions.strimzi: 1.2.0",
            ),
            (
                [(Strimzi, "1.2.0"), (Kafka, "4.1.1")],
                "own.yaml:1:12: ",
                "runs 4.2.0, 4.2.1, 4.3.0 and 4.3.1 only",
                "versions.kafka: 4.3.1",
            ),
            (
                [(Strimzi, "0.51.0"), (Kafka, "4.0.0")],
                "own.yaml:1:26: ",
                "no longer runs",
                "versions.strimzi: 0.50.1",
            ),
            (
                [(Strimzi, "0.45.0"), (Kafka, "4.0.0")],
                "own.yaml:1:26: ",
                "kafka.strimzi.io/v1",
                "versions.strimzi: 1.2.0",
            ),
            (
                [(Plugin("postgres"), "2.7.0.Final"), (Postgres, "17.6.0")],
                "own.yaml:1:66: ",
                "10 to 16",
                "versions.postgres: 16.10.0",
            ),
            (
                [(Plugin("postgres"), "3.4.0.Final"), (Postgres, "19.0.0")],
                "own.yaml:1:66: ",
                "14 to 18",
                "versions.postgres: 17.11.0",
            ),
            (
                [(Plugin("postgres"), "3.7.0.Final"), (Postgres, "13.2")],
                "own.yaml:1:66: ",
                "14 to 18",
                "versions.postgres: 17.11.0",
            ),
            (
                [(Plugin("mongodb"), "2.7.0.Final"), (Mongodb, "8.0")],
                "own.yaml:1:84: ",
                "5.0 to 7.0",
                "versions.mongodb: 7.0.41",
            ),
            (
                [(Plugin("mongodb"), "3.4.1.Final"), (Mongodb, "5.0.9")],
                "own.yaml:1:84: ",
                "6.0 to 8.0",
                "versions.mongodb: 8.0.30",
            ),
            (
                [(KindNode, "1.35.0@sha256:00"), (Cgroup, "1")],
                "own.yaml:1:98: ",
                "Kind's node image 1.35.0 and cgroup v1",
                "versions.kind_node: 1.34.11@sha256:",
            ),
        ] {
            let said = refused(&used).unwrap_or_else(|| panic!("{used:?}"));
            for part in [place, says, instead] {
                assert!(said.contains(part), "{used:?}: no {part:?} in {said}");
            }
        }
    }

    #[test]
    fn everything_else_passes() {
        use Subject::{Cgroup, Kafka, KindNode, Mongodb, Plugin, Postgres, Strimzi};
        for used in [
            [(Plugin("jdbc"), "2.7.0.Final"), (Kafka, "3.9.1")],
            [(Plugin("jdbc"), "3.1.2.Final"), (Kafka, "4.0.0")],
            [(Plugin("postgres"), "2.7.0.Final"), (Kafka, "4.0.0")],
            [(Plugin("postgres"), "2.7.0.Final"), (Postgres, "16.10.0")],
            [(Plugin("postgres"), "3.4.0.Final"), (Postgres, "18.1.0")],
            [(Plugin("mongodb"), "3.4.0.Final"), (Mongodb, "8.0")],
            [(Strimzi, "0.50.1"), (Kafka, "4.1.1")],
            [(Strimzi, "1.2.0"), (Kafka, "4.2.1")],
            [(Plugin("postgres"), "3.7.0.Final"), (Postgres, "18.4.0")],
            [(Strimzi, "0.51.0"), (Kafka, "4.1.0")],
            [(KindNode, "1.34.11@sha256:44e2"), (Cgroup, "1")],
            [(KindNode, "1.35.0"), (Cgroup, "2")],
            [(Plugin("mongodb"), "3.4.0.Final"), (Mongodb, "latest")],
        ] {
            assert_eq!(refused(&used), None, "{used:?}");
        }
    }

    /// Following the hint must not lead to the next refusal of the same part.
    #[test]
    fn what_is_said_to_be_good_is_good() {
        for row in ROWS {
            let (key, value) = row.instead;
            let sides = [&row.first, &row.second];
            let mended = sides
                .iter()
                .filter(|side| side.0.key().is_some_and(|own| key.ends_with(own)))
                .count();
            assert_eq!(mended, 1, "{row:?}");
            for side in sides {
                if side.0.key().is_some_and(|own| key.ends_with(own)) {
                    assert!(!side.1.has(value), "{row:?}");
                }
            }
        }
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert!(numbers("3.10.0.Final") > numbers("3.9"));
        assert_eq!(numbers("4.0"), numbers("4.0.0"));
        assert_eq!(numbers("v1.34.11@sha256:9"), [1, 34, 11]);
        assert!(numbers("latest").is_empty());
    }
}
