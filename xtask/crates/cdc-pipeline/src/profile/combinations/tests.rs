//! What is refused, and what is said to go together.

use super::*;
use crate::components::TYPES;
use crate::components::sqlserver::settings::PLUGIN as SQLSERVER;
use crate::profile::parts::{KAFKA, STRIMZI};

/// The part of a key below `versions`.
fn part(key: &str) -> &'static Part {
    parts(TYPES).find(|part| part.key == key).expect(key)
}

const GOOD: &str = "versions: {kafka: 4.0.0, strimzi: 0.50.1, debezium: 3.4.0.Final, \
                    postgres: 17.6.0, mongodb: 8.0, kind_node: 1.34.11}";

fn tree() -> Node {
    crate::profile::parse::parse("own.yaml", GOOD).expect("YAML")
}

fn refused(used: &[(&'static Part, &str)]) -> Option<String> {
    let used = used
        .iter()
        .fold(InUse::default(), |used, (subject, version)| {
            used.with(subject, version)
        });
    refuse(&tree(), &used).err().map(|error| error.to_string())
}

#[test]
fn what_is_known_to_be_bad_is_refused_with_what_is_good() {
    for (used, place, says, instead) in [
        (
            [(&JDBC, "2.7.0.Final"), (&KAFKA, "4.0.0")],
            "own.yaml:1:43: ",
            "Debezium's `jdbc` plugin 2.7.0.Final and Kafka 4.0.0 do not work together",
            "set `versions.debezium: 3.5.0.Final`",
        ),
        (
            [(&SQLSERVER, "2.7.4.Final"), (&KAFKA, "4.1.1")],
            "own.yaml:1:43: ",
            "poll(long)",
            "versions.debezium: 3.5",
        ),
        (
            [(&STRIMZI, "0.50.0"), (&KAFKA, "4.2.0")],
            "own.yaml:1:26: ",
            "runs 4.0.0, 4.0.1, 4.1.0 and 4.1.1 only",
            "versions.strimzi: 1.2.0",
        ),
        (
            [(&STRIMZI, "1.2.0"), (&KAFKA, "4.1.1")],
            "own.yaml:1:12: ",
            "runs 4.2.0, 4.2.1, 4.3.0 and 4.3.1 only",
            "versions.kafka: 4.3.1",
        ),
        (
            [(&STRIMZI, "0.51.0"), (&KAFKA, "4.0.0")],
            "own.yaml:1:26: ",
            "no longer runs",
            "versions.strimzi: 0.50.1",
        ),
        (
            [(&STRIMZI, "0.45.0"), (&KAFKA, "4.0.0")],
            "own.yaml:1:26: ",
            "kafka.strimzi.io/v1",
            "versions.strimzi: 1.2.0",
        ),
        (
            [
                (part("plugins.postgres"), "2.7.0.Final"),
                (part("postgres"), "17.6.0"),
            ],
            "own.yaml:1:66: ",
            "10 to 16",
            "versions.postgres: 16.10.0",
        ),
        (
            [
                (part("plugins.postgres"), "3.4.0.Final"),
                (part("postgres"), "19.0.0"),
            ],
            "own.yaml:1:66: ",
            "14 to 18",
            "versions.postgres: 17.11.0",
        ),
        (
            [
                (part("plugins.postgres"), "3.7.0.Final"),
                (part("postgres"), "13.2"),
            ],
            "own.yaml:1:66: ",
            "14 to 18",
            "versions.postgres: 17.11.0",
        ),
        (
            [
                (part("plugins.mongodb"), "2.7.0.Final"),
                (part("mongodb"), "8.0"),
            ],
            "own.yaml:1:84: ",
            "5.0 to 7.0",
            "versions.mongodb: 7.0.41",
        ),
        (
            [
                (part("plugins.mongodb"), "3.4.1.Final"),
                (part("mongodb"), "5.0.9"),
            ],
            "own.yaml:1:84: ",
            "6.0 to 8.0",
            "versions.mongodb: 8.0.30",
        ),
        (
            [(&KIND_NODE, "1.35.0@sha256:00"), (&CGROUP, "1")],
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
    for used in [
        [(&JDBC, "2.7.0.Final"), (&KAFKA, "3.9.1")],
        [(&JDBC, "3.1.2.Final"), (&KAFKA, "4.0.0")],
        [(part("plugins.postgres"), "2.7.0.Final"), (&KAFKA, "4.0.0")],
        [
            (part("plugins.postgres"), "2.7.0.Final"),
            (part("postgres"), "16.10.0"),
        ],
        [
            (part("plugins.postgres"), "3.4.0.Final"),
            (part("postgres"), "18.1.0"),
        ],
        [
            (part("plugins.mongodb"), "3.4.0.Final"),
            (part("mongodb"), "8.0"),
        ],
        [(&STRIMZI, "0.50.1"), (&KAFKA, "4.1.1")],
        [(&STRIMZI, "1.2.0"), (&KAFKA, "4.2.1")],
        [
            (part("plugins.postgres"), "3.7.0.Final"),
            (part("postgres"), "18.4.0"),
        ],
        [(&STRIMZI, "0.51.0"), (&KAFKA, "4.1.0")],
        [(&KIND_NODE, "1.34.11@sha256:44e2"), (&CGROUP, "1")],
        [(&KIND_NODE, "1.35.0"), (&CGROUP, "2")],
        [
            (part("plugins.mongodb"), "3.4.0.Final"),
            (part("mongodb"), "latest"),
        ],
    ] {
        assert_eq!(refused(&used), None, "{used:?}");
    }
}

/// Following the hint must not lead to the next refusal of the same part.
#[test]
fn what_is_said_to_be_good_is_good() {
    for owner in parts(TYPES) {
        for bad in owner.bad {
            let (part, value) = bad.instead;
            let sides = [(owner, bad.versions), bad.with];
            let changed: Vec<_> = sides.iter().filter(|side| side.0 == part).collect();
            assert_eq!(changed.len(), 1, "{owner:?}: {}", bad.why);
            assert!(!changed[0].1.has(value), "{owner:?}: {}", bad.why);
        }
    }
}

#[test]
fn a_plugin_with_a_version_of_its_own_is_the_one_to_mend() {
    let text = "versions: {kafka: 4.3.1, debezium: 3.5.0.Final, plugins: {jdbc: 2.7.0.Final, postgres: ~}}";
    let tree = crate::profile::parse::parse("own.yaml", text).expect("YAML");
    let used = InUse::default()
        .with(&KAFKA, "4.3.1")
        .with(part("plugins.jdbc"), "2.7.0.Final");
    let error = refuse(&tree, &used).expect_err("too old").to_string();
    assert!(error.starts_with("own.yaml:1:59: "), "{error}");
    assert!(
        error.contains("set `versions.plugins.jdbc: 3.5.0.Final`"),
        "{error}"
    );
    let used = InUse::default()
        .with(part("postgres"), "13.0")
        .with(part("plugins.postgres"), "3.5.0.Final");
    let error = refuse(&tree, &used).expect_err("too old").to_string();
    assert!(error.contains("set `versions.postgres: "), "{error}");
}

#[test]
fn what_a_version_runs_with_is_the_table_read_the_other_way_round() {
    for (subject, version, with) in [
        (&STRIMZI, "1.2.0", &["Kafka 4.2.0, 4.2.1, 4.3.0, 4.3.1"][..]),
        (&STRIMZI, "0.50.0", &["Kafka 4.0.0, 4.0.1, 4.1.0, 4.1.1"]),
        (
            &KAFKA,
            "4.3.1",
            &[
                "Debezium's `jdbc` plugin 3.0 or newer",
                "Strimzi from 1.2 to before 1.3",
                "Debezium's `sqlserver` plugin 3.0 or newer",
            ],
        ),
        (
            part("plugins.postgres"),
            "3.7.0.Final",
            &["PostgreSQL 14 or newer, before 19"],
        ),
        (
            part("plugins.mongodb"),
            "2.7.0.Final",
            &["MongoDB before 8.0"],
        ),
        (
            part("postgres"),
            "17.11.0",
            &["Debezium's `postgres` plugin not from 2.7 to before 3.0"],
        ),
        (&KIND_NODE, "1.35.0", &["cgroup 2 or newer"]),
        (&KIND_NODE, "1.34.11@sha256:44", &[]),
        (part("chdb"), "4.0.0", &[]),
    ] {
        assert_eq!(
            runs_with(TYPES, subject, version),
            with,
            "{subject:?} {version}"
        );
    }
}

/// The operators' own lists of what they run.
#[test]
#[ignore = "needs the recorded data: CDC_TEST_CAPTURES or ../shared/data"]
fn what_an_operator_runs_is_what_its_bundle_says() {
    let data = std::env::var_os("CDC_TEST_CAPTURES").map_or_else(
        || crate::repository().join("../shared/data"),
        std::path::PathBuf::from,
    );
    for strimzi in ["0.50.0", "0.50.1", "1.2.0"] {
        let deployment = format!(
            "strimzi-{strimzi}/install/cluster-operator/060-Deployment-strimzi-cluster-operator.yaml"
        );
        let text = std::fs::read_to_string(data.join(&deployment)).expect("the bundle");
        let image = format!("quay.io/strimzi/kafka:{strimzi}-kafka-");
        let mut runs: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(&image).map(|(_, kafka)| kafka.trim()))
            .collect();
        runs.sort_unstable();
        runs.dedup();
        assert!(runs.len() > 2, "{deployment}");
        assert_eq!(
            runs_with(TYPES, &STRIMZI, strimzi),
            [format!("Kafka {}", runs.join(", "))]
        );
    }
}
