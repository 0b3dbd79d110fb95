//! The combinations that are known to be bad, one row each.

use super::{Row, Subject, Versions};

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
pub(super) const ROWS: &[Row] = &[
    Row {
        first: (Subject::Plugin("jdbc"), below("3.0")),
        second: (Subject::Kafka, from("4.0")),
        why: "the sink calls `InternalSinkRecord.originalRecord()`, which Kafka 4 has no more: it writes rows and then dies",
        instead: (Subject::Plugin("jdbc"), "3.5.0.Final"),
    },
    Row {
        first: (Subject::Plugin("sqlserver"), below("3.0")),
        second: (Subject::Kafka, from("4.0")),
        why: "the recovery of its schema history calls `KafkaConsumer.poll(long)`, which Kafka 4 has no more",
        instead: (Subject::Plugin("sqlserver"), "3.5.0.Final"),
    },
    Row {
        first: (Subject::Strimzi, series("1.2", "1.3")),
        second: (
            Subject::Kafka,
            Versions::Not(&["4.2.0", "4.2.1", "4.3.0", "4.3.1"]),
        ),
        why: "this operator runs 4.2.0, 4.2.1, 4.3.0 and 4.3.1 only",
        instead: (Subject::Kafka, "4.3.1"),
    },
    Row {
        first: (Subject::Strimzi, series("0.50", "0.51")),
        second: (
            Subject::Kafka,
            Versions::Not(&["4.0.0", "4.0.1", "4.1.0", "4.1.1"]),
        ),
        why: "this operator runs 4.0.0, 4.0.1, 4.1.0 and 4.1.1 only",
        instead: (Subject::Strimzi, "1.2.0"),
    },
    Row {
        first: (Subject::Strimzi, series("0.51", "1.2")),
        second: (Subject::Kafka, below("4.1")),
        why: "this operator no longer runs Kafka 4.0",
        instead: (Subject::Strimzi, "0.50.1"),
    },
    Row {
        first: (Subject::Strimzi, below("0.49")),
        second: (Subject::Kafka, ANY),
        why: "the objects are written for the API `kafka.strimzi.io/v1`, which this operator has not",
        instead: (Subject::Strimzi, "1.2.0"),
    },
    Row {
        first: (Subject::Plugin("postgres"), series("2.7", "3.0")),
        second: (Subject::Postgres, from("17")),
        why: "this connector is tested with PostgreSQL 10 to 16",
        instead: (Subject::Postgres, "16.10.0"),
    },
    Row {
        first: (Subject::Plugin("postgres"), series("3.4", "3.8")),
        second: (Subject::Postgres, below("14")),
        why: "this connector is tested with PostgreSQL 14 to 18",
        instead: (Subject::Postgres, "17.11.0"),
    },
    Row {
        first: (Subject::Plugin("postgres"), series("3.4", "3.8")),
        second: (Subject::Postgres, from("19")),
        why: "this connector is tested with PostgreSQL 14 to 18",
        instead: (Subject::Postgres, "17.11.0"),
    },
    Row {
        first: (Subject::Plugin("mongodb"), series("2.7", "3.0")),
        second: (Subject::Mongodb, from("8.0")),
        why: "this connector is tested with MongoDB 5.0 to 7.0",
        instead: (Subject::Mongodb, "7.0.41"),
    },
    Row {
        first: (Subject::Plugin("mongodb"), series("3.4", "3.8")),
        second: (Subject::Mongodb, below("6.0")),
        why: "this connector is tested with MongoDB 6.0 to 8.0",
        instead: (Subject::Mongodb, "8.0.30"),
    },
    Row {
        first: (Subject::KindNode, from("1.35")),
        second: (Subject::Cgroup, below("2")),
        why: "its kubelet does not start on this machine's control groups",
        instead: (
            Subject::KindNode,
            "1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d",
        ),
    },
];
