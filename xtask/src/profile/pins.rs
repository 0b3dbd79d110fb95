//! Every pin of a profile with what is known about it. Pure.

use super::advisories::{Advisories, Known};
use super::combinations::{InUse, Subject, runs_with};
use super::{Loaded, Node, Value};
use crate::error::Location;

/// What an update of a pin changes, by where the profile runs. Empty: nothing of it runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// On `host`.
    pub host: &'static str,
    /// On clusters.
    pub clusters: &'static str,
}

/// A pin.
#[derive(Clone, Debug)]
pub struct Pin<'a> {
    /// Its key below `versions`.
    pub key: String,
    /// The version that counts: a plugin without one of its own has Debezium's.
    pub version: String,
    /// Where that was written.
    pub origin: Location,
    /// Whether the profile has it anywhere.
    pub used: bool,
    /// What it runs with, as far as that is known.
    pub runs_with: Vec<String>,
    /// What is known of the version.
    pub known: Vec<Known<'a>>,
    /// What changes with it.
    pub update: Update,
}

const PLUGIN: Update = Update {
    host: "connect restarts with the plugin's new archive; positions and slots stay",
    clusters: "Connect's image is built again under a new tag; its workers roll",
};

/// By key below `versions`; a test holds it against `versions.yaml`.
const UPDATES: &[(&str, Update)] = &[
    (
        "kafka",
        Update {
            host: "kafka and connect restart with new jars; data and metadata version stay",
            clusters: "Kafka's brokers roll; Connect's image is built again under a new tag and its workers roll",
        },
    ),
    (
        "log4j",
        Update {
            host: "kafka and connect restart with new jars",
            clusters: "",
        },
    ),
    ("debezium", PLUGIN),
    ("plugins.postgres", PLUGIN),
    ("plugins.mongodb", PLUGIN),
    ("plugins.jdbc", PLUGIN),
    (
        "postgres",
        Update {
            host: "postgres restarts; another major version refuses the data that is there: dump and load it, or `down` first",
            clusters: "the pods of StatefulSet or Cluster `postgres` roll; another major version refuses the volume that is there",
        },
    ),
    (
        "chdb",
        Update {
            host: "clickhouse restarts on the data that is there; an older engine may refuse what a newer one wrote",
            clusters: "",
        },
    ),
    (
        "maven_dependency_plugin",
        Update {
            host: "nothing that runs: it only fetches",
            clusters: "nothing that runs: it only fetches",
        },
    ),
    (
        "strimzi",
        Update {
            host: "",
            clusters: "the operator's definitions, roles and Deployment are applied; then brokers and workers roll, as their images carry its version, and Connect's image is built again",
        },
    ),
    (
        "altinity_operator",
        Update {
            host: "",
            clusters: "the operator's definitions, roles and Deployment are applied; ClickHouse's pods stay unless it wants them otherwise",
        },
    ),
    (
        "cloudnative_pg",
        Update {
            host: "",
            clusters: "the operator's definitions, roles and Deployment are applied; then PostgreSQL's pods roll, as they carry its manager",
        },
    ),
    (
        "clickhouse",
        Update {
            host: "",
            clusters: "the pods of ClickHouseInstallation `clickhouse` roll, and its keepers",
        },
    ),
    (
        "mongodb",
        Update {
            host: "",
            clusters: "the pods of StatefulSet `mongo` roll, one after the other",
        },
    ),
    (
        "kind",
        Update {
            host: "",
            clusters: "nothing that runs: the next new cluster is made with it",
        },
    ),
    (
        "kind_node",
        Update {
            host: "",
            clusters: "nothing that runs: nodes get it with a new cluster, by `down` and `up`",
        },
    ),
];

/// The keys below `versions`, plugins by their dotted names.
pub fn keys(tree: &Node) -> Vec<String> {
    let versions = tree.get("versions");
    let leaves = versions.map(Node::leaves).unwrap_or_default();
    leaves.into_iter().map(|(key, _)| key).collect()
}

/// The profile's pins, in the order of `versions.yaml`.
pub fn pins<'a>(loaded: &Loaded, advisories: &'a Advisories) -> Vec<Pin<'a>> {
    let used = InUse::anywhere(&loaded.profile);
    let subject = |key: &str| -> Option<Subject> {
        let mut parts = used.parts().map(|(subject, _)| subject);
        parts.find(|subject| subject.key().as_deref() == Some(key))
    };
    let debezium = loaded.tree.at(["versions", "debezium"]);
    let leaves = loaded.tree.get("versions").map(Node::leaves);
    let leaves = leaves.unwrap_or_default().into_iter();
    leaves
        .map(|(key, node)| {
            let node = match (&node.value, debezium) {
                (Value::Null, Some(debezium)) => debezium,
                _ => node,
            };
            let version = node.scalar_text();
            let subject = subject(&key);
            let update = UPDATES.iter().find(|(pin, _)| *pin == key);
            Pin {
                // What only brings others is used by every profile.
                used: subject.is_some() || ["debezium", "maven_dependency_plugin"].contains(&&*key),
                runs_with: subject.map_or_else(Vec::new, |it| runs_with(it, &version)),
                known: advisories.of(&key, &version),
                update: update.map_or(
                    Update {
                        host: "",
                        clusters: "",
                    },
                    |(_, update)| *update,
                ),
                origin: node.origin.clone(),
                key,
                version,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Selection;
    use super::*;

    fn loaded(profile: &str, set: &[&str]) -> Loaded {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let selection = Selection {
            profile: profile.into(),
            set: set.iter().map(|it| (*it).to_owned()).collect(),
        };
        crate::components::load(root, &selection).expect("valid")
    }

    fn advisories(loaded: &Loaded) -> Advisories {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        Advisories::read(root, &keys(&loaded.tree)).expect("valid")
    }

    #[test]
    fn every_pin_says_what_its_update_changes() {
        let loaded = loaded("clickhouse", &[]);
        let keys = keys(&loaded.tree);
        let known: Vec<&str> = UPDATES.iter().map(|(key, _)| *key).collect();
        for key in &keys {
            assert!(known.contains(&key.as_str()), "{key}");
        }
        for key in known {
            assert!(keys.iter().any(|it| it == key), "{key} is pinned no more");
        }
        for (key, update) in UPDATES {
            assert!(
                !(update.host.is_empty() && update.clusters.is_empty()),
                "{key}"
            );
        }
    }

    #[test]
    fn a_plugin_has_its_own_version_or_debeziums() {
        let loaded = loaded("clickhouse", &["versions.plugins.mongodb=3.6.1.Final"]);
        let advisories = advisories(&loaded);
        let pins = pins(&loaded, &advisories);
        let pin = |key: &str| pins.iter().find(|pin| pin.key == key).expect(key);
        let (debezium, jdbc) = (pin("debezium"), pin("plugins.jdbc"));
        assert_eq!(debezium.version, jdbc.version);
        assert_eq!(debezium.origin, jdbc.origin);
        assert!(!jdbc.used);
        assert_eq!(pin("plugins.mongodb").version, "3.6.1.Final");
        assert!(pin("plugins.postgres").used);
        assert!(!pin("cloudnative_pg").used);
    }
}
