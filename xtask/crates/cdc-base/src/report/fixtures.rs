//! Graphs and runs for the tests of this folder.

use std::time::Duration;

use crate::plan::run::{Ended, NodeRun, RunReport};
use crate::plan::{Graph, Kind, NodeSpec, Outcome};

/// A node of a finished run: id, kind, title, needs, start and duration in milliseconds, end.
pub(super) type Row<'a> = (&'a str, Kind, &'a str, &'a [&'a str], u64, u64, Ended);

/// A step and a gate that needs it.
pub(super) fn pair() -> Graph {
    run(vec![
        (
            "kafka/start",
            Kind::Step,
            "Start Kafka",
            &[],
            0,
            0,
            changed(""),
        ),
        (
            "kafka/ready",
            Kind::Gate,
            "Kafka answers",
            &["kafka/start"],
            0,
            0,
            passed(""),
        ),
    ])
    .graph
}

/// A finished run; its wall time is the last end.
pub(super) fn run(rows: Vec<Row<'_>>) -> RunReport {
    let mut specs = Vec::new();
    let mut nodes = Vec::new();
    for (id, kind, title, needs, started, took, ended) in rows {
        specs.push(NodeSpec {
            id: id.into(),
            kind,
            title: title.into(),
            needs: needs.iter().map(|&need| need.into()).collect(),
        });
        nodes.push(NodeRun {
            started: Duration::from_millis(started),
            took: Duration::from_millis(took),
            ended,
        });
    }
    RunReport {
        graph: Graph::new(specs).expect("a graph"),
        wall: nodes
            .iter()
            .map(|node| node.started + node.took)
            .max()
            .unwrap_or_default(),
        nodes,
        errors: Vec::new(),
    }
}

pub(super) fn changed(message: &str) -> Ended {
    Ended::Done(Outcome::Changed(message.into()))
}

pub(super) fn passed(message: &str) -> Ended {
    Ended::Done(Outcome::Unchanged(message.into()))
}

/// Two components, ready after 4 s; the longest path leads over Kafka and takes 3.9 s.
pub(super) fn good() -> RunReport {
    let mut report = run(vec![
        (
            "pg/start",
            Kind::Step,
            "Start PostgreSQL",
            &[],
            0,
            800,
            changed("pid 7"),
        ),
        (
            "pg/ready",
            Kind::Gate,
            "PostgreSQL answers",
            &["pg/start"],
            800,
            200,
            passed("17.5"),
        ),
        (
            "kafka/start",
            Kind::Step,
            "Start Kafka",
            &[],
            0,
            900,
            changed("pid 8"),
        ),
        (
            "kafka/ready",
            Kind::Gate,
            "Kafka answers",
            &["kafka/start"],
            900,
            2000,
            passed("1 broker"),
        ),
        (
            "connect/register",
            Kind::Step,
            "Register",
            &["kafka/ready", "pg/ready"],
            2950,
            1000,
            passed("as wanted"),
        ),
    ]);
    report.wall = Duration::from_secs(4);
    report
}

/// Kafka fails, so that the rest of its side does not run.
pub(super) fn bad() -> RunReport {
    run(vec![
        (
            "pg/start",
            Kind::Step,
            "Start PostgreSQL",
            &[],
            0,
            500,
            changed("pid 7"),
        ),
        (
            "kafka/start",
            Kind::Step,
            "Start Kafka",
            &[],
            0,
            900,
            Ended::Failed("port <9092> is \"taken\"".into()),
        ),
        (
            "kafka/ready",
            Kind::Gate,
            "Kafka answers",
            &["kafka/start"],
            0,
            0,
            Ended::Skipped(1),
        ),
        (
            "connect/register",
            Kind::Step,
            "Register",
            &["kafka/ready"],
            0,
            0,
            Ended::Skipped(1),
        ),
    ])
}
