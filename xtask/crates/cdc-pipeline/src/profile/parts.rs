//! Everything that has a version: its name, its form, what an update changes, what it does not run with.
//!
//! Types own the parts that are theirs; here are those of Kafka, Connect and the tool's own helpers. What
//! is known to be bad is one row each, at the part whose version decides it. A version that no row knows
//! passes. What a version runs with is the same table, read the other way round.

use super::component::Types;
use super::rules::{NAME, Rule, WITH_DIGEST};
use super::version::{numbers, within};

/// A part with a version.
pub struct Part {
    /// Its key below `versions`.
    pub key: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// How its version is written; none for what no profile pins.
    pub form: Option<&'static Rule>,
    /// What an update of it changes.
    pub update: Update,
    /// What it does not run with.
    pub bad: &'static [Bad],
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Part {}

impl std::hash::Hash for Part {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

impl Part {
    /// A part that is pinned by a version alone.
    pub const fn new(key: &'static str, title: &'static str, update: Update) -> Self {
        Part {
            key,
            title,
            form: Some(&NAME),
            update,
            bad: &[],
        }
    }

    /// A Debezium plugin, by its key below `versions`.
    pub const fn plugin(key: &'static str, title: &'static str, bad: &'static [Bad]) -> Self {
        Part {
            key,
            title,
            form: Some(&NAME),
            update: PLUGIN,
            bad,
        }
    }

    /// Its name in `images/connect/plugins.yaml`; none of what is no plugin.
    pub fn plugin_name(&self) -> Option<&'static str> {
        self.key.strip_prefix("plugins.")
    }
}

/// What an update of a part changes, by where the profile runs. Empty: nothing of it runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// On `host`.
    pub host: &'static str,
    /// On clusters.
    pub clusters: &'static str,
}

const PLUGIN: Update = Update {
    host: "connect restarts with the plugin's new archive; positions and slots stay",
    clusters: "Connect's image is built again under a new tag; its workers roll",
};

/// Versions of a part that do not work with versions of another.
pub struct Bad {
    /// Versions of the part itself.
    pub versions: Versions,
    /// The other part, with its versions.
    pub with: (&'static Part, Versions),
    /// Completes "X and Y: ...".
    pub why: &'static str,
    /// What to set to which value instead.
    pub instead: (&'static Part, &'static str),
}

/// A set of versions.
#[derive(Clone, Copy, Debug)]
pub enum Versions {
    /// From the first, until (and without) the second.
    Span(Option<&'static str>, Option<&'static str>),
    /// All but these.
    Not(&'static [&'static str]),
}

impl Versions {
    /// Every version.
    pub const ANY: Versions = Versions::Span(None, None);

    /// Those before one.
    pub const fn below(version: &'static str) -> Versions {
        Versions::Span(None, Some(version))
    }

    /// One and those after it.
    pub const fn from(version: &'static str) -> Versions {
        Versions::Span(Some(version), None)
    }

    /// Those from one on, until the other.
    pub const fn series(first: &'static str, next: &'static str) -> Versions {
        Versions::Span(Some(first), Some(next))
    }

    pub(super) fn has(self, version: &str) -> bool {
        match self {
            Versions::Span(from, until) => within(version, from, until),
            Versions::Not(others) => {
                // A name such as `latest` says no version.
                let this = numbers(version);
                !this.is_empty() && !others.iter().any(|other| numbers(other) == this)
            }
        }
    }

    /// The set for people.
    pub(super) fn is(self) -> String {
        match self {
            Versions::Span(Some(from), Some(until)) => format!("from {from} to before {until}"),
            Versions::Span(Some(from), None) => format!("{from} or newer"),
            Versions::Span(None, Some(until)) => format!("before {until}"),
            Versions::Span(None, None) => "of any version".into(),
            Versions::Not(others) => format!("none of {}", others.join(", ")),
        }
    }

    /// What is not in the set, for people.
    pub(super) fn is_not(self) -> String {
        match self {
            Versions::Span(Some(_), Some(_)) => format!("not {}", self.is()),
            Versions::Span(Some(from), None) => Versions::Span(None, Some(from)).is(),
            Versions::Span(None, Some(until)) => Versions::Span(Some(until), None).is(),
            Versions::Span(None, None) => "of no version".into(),
            Versions::Not(others) => others.join(", "),
        }
    }
}

/// All parts: the backbone's, then those of the types.
pub fn parts(types: Types) -> impl Iterator<Item = &'static Part> {
    let own = types.iter().flat_map(|kind| kind.parts.iter().copied());
    BACKBONE.iter().copied().chain(own)
}

static BACKBONE: [&Part; 9] = [
    &JDBC,
    &STRIMZI,
    &KAFKA,
    &LOG4J,
    &DEBEZIUM,
    &MAVEN_PLUGIN,
    &KIND,
    &KIND_NODE,
    &CGROUP,
];

/// Broker and Connect.
pub static KAFKA: Part = Part::new(
    "kafka",
    "Kafka",
    Update {
        host: "kafka and connect restart with new jars; data and metadata version stay",
        clusters: "Kafka's brokers roll; Connect's image is built again under a new tag and its workers roll",
    },
);

/// What both log with.
pub static LOG4J: Part = Part::new(
    "log4j",
    "Log4j",
    Update {
        host: "kafka and connect restart with new jars",
        clusters: "",
    },
);

/// Connectors that have no version of their own.
pub static DEBEZIUM: Part = Part::new("debezium", "Debezium", PLUGIN);

/// Debezium's JDBC sink.
pub static JDBC: Part = Part::plugin(
    "plugins.jdbc",
    "Debezium's `jdbc` plugin",
    &[Bad {
        versions: Versions::below("3.0"),
        with: (&KAFKA, Versions::from("4.0")),
        why: "the sink calls `InternalSinkRecord.originalRecord()`, which Kafka 4 has no more: it writes rows and then dies",
        instead: (&JDBC, "3.5.0.Final"),
    }],
);

/// The Maven plugin that resolves coordinates.
pub static MAVEN_PLUGIN: Part = Part::new(
    "maven_dependency_plugin",
    "Maven's dependency plugin",
    Update {
        host: "nothing that runs: it only fetches",
        clusters: "nothing that runs: it only fetches",
    },
);

/// Kafka's operator. What it runs is the list of images in its own Deployment (`install/cluster-operator`).
pub static STRIMZI: Part = Part {
    bad: &[
        Bad {
            versions: Versions::series("1.2", "1.3"),
            with: (&KAFKA, Versions::Not(&["4.2.0", "4.2.1", "4.3.0", "4.3.1"])),
            why: "this operator runs 4.2.0, 4.2.1, 4.3.0 and 4.3.1 only",
            instead: (&KAFKA, "4.3.1"),
        },
        Bad {
            versions: Versions::series("0.50", "0.51"),
            with: (&KAFKA, Versions::Not(&["4.0.0", "4.0.1", "4.1.0", "4.1.1"])),
            why: "this operator runs 4.0.0, 4.0.1, 4.1.0 and 4.1.1 only",
            instead: (&STRIMZI, "1.2.0"),
        },
        Bad {
            versions: Versions::series("0.51", "1.2"),
            with: (&KAFKA, Versions::below("4.1")),
            why: "this operator no longer runs Kafka 4.0",
            instead: (&STRIMZI, "0.50.1"),
        },
        Bad {
            versions: Versions::below("0.49"),
            with: (&KAFKA, Versions::ANY),
            why: "the objects are written for the API `kafka.strimzi.io/v1`, which this operator has not",
            instead: (&STRIMZI, "1.2.0"),
        },
    ],
    ..Part::new(
        "strimzi",
        "Strimzi",
        Update {
            host: "",
            clusters: "the operator's definitions, roles and Deployment are applied; then brokers and workers roll, as their images carry its version, and Connect's image is built again",
        },
    )
};

/// The program that makes Kind clusters.
pub static KIND: Part = Part::new(
    "kind",
    "kind",
    Update {
        host: "",
        clusters: "nothing that runs: the next new cluster is made with it",
    },
);

/// Kubernetes in Kind's nodes.
pub static KIND_NODE: Part = Part {
    form: Some(&WITH_DIGEST),
    bad: &[Bad {
        versions: Versions::from("1.35"),
        with: (&CGROUP, Versions::below("2")),
        why: "its kubelet does not start on this machine's control groups",
        instead: (
            &KIND_NODE,
            "1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d",
        ),
    }],
    ..Part::new(
        "kind_node",
        "Kind's node image",
        Update {
            host: "",
            clusters: "nothing that runs: nodes get it with a new cluster, by `down` and `up`",
        },
    )
};

/// Control groups of this machine, version 1 or 2.
pub static CGROUP: Part = Part {
    form: None,
    ..Part::new(
        "cgroup",
        "cgroup",
        Update {
            host: "",
            clusters: "",
        },
    )
};
