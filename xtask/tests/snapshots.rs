//! What is rendered and planned, as a whole: a change here is a change of what runs.
//!
//! `INSTA_UPDATE=always cargo test --test snapshots` writes the files anew; read the difference.
//! Without it nothing is written where `CI` is set, and a missing or changed file fails everywhere.

mod support;

use support::Xtask;

/// A profile with a flow of every kind of type.
const TYPES: &str = "\
extends: clickhouse
flows:
  measures:
    connector: postgres-connector
    table: plant.measures
    keep: every
    key: [sensor, at]
    group: ch_measures
    columns:
      sensor: UInt64
      at: DateTime64(3)
      day: Date
      value: Float64
      price: Decimal(18, 4)
      valid: Bool
      unit: LowCardinality(String)
      note: Nullable(String)
      seen: Nullable(DateTime64(6))
      source: LowCardinality(Nullable(String))
      id: UUID
";

#[track_caller]
fn pretty(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
    format!("{value:#}")
}

fn json_of(xtask: &Xtask) -> String {
    xtask.normal(&pretty(&xtask.prints()))
}

#[test]
fn render() {
    let xtask = Xtask::new().args("render");
    insta::assert_snapshot!("render", xtask.normal(&xtask.prints()));
}

#[test]
fn render_with_an_external_mongodb() {
    let xtask = Xtask::new().args(
        "render --set mongodb.external=db.example:27018 --set kafka.external=kafka.example:9094",
    );
    insta::assert_snapshot!("render_external", xtask.normal(&xtask.prints()));
}

#[test]
fn render_with_a_kafka_that_wants_a_login() {
    let xtask = Xtask::new()
        .args("render --set kafka.external=kafka.example:9093 --set kafka.sslmode=verify-full")
        .args("--set kafka.sslrootcert=xtask/tests/support/authority.pem --set kafka.sasl=scram-sha-512")
        .args("--set kafka.user=etl --set kafka.password=geheim");
    let text = xtask.prints();
    assert!(!text.contains("geheim"), "{text}");
    let (text, _) = text
        .split_once("# ---- clickhouse/")
        .expect("the processes come first");
    insta::assert_snapshot!("render_kafka_login", xtask.normal(text));
}

#[test]
fn render_with_mongod_and_other_sizes() {
    let xtask = Xtask::new()
        .program("mongod")
        .args("render --set kafka.heap=1g --set mongodb.cache=1g --set postgres.shared_buffers=1GB")
        .args("--set kafka.config.num.partitions=3 --set connect.config.task.shutdown.graceful.timeout.ms=1000")
        .args("--set postgres.config.max_connections=20");
    insta::assert_snapshot!("render_mongod", xtask.normal(&xtask.prints()));
}

#[test]
fn render_with_every_kind_of_type() {
    let xtask = Xtask::new()
        .file("own.yaml", TYPES)
        .args("render")
        .profile("own.yaml");
    let text = xtask.prints();
    let (_, sql) = text
        .split_once("# ---- clickhouse/measures.sql")
        .expect("the flow's statements");
    insta::assert_snapshot!("render_types", xtask.normal(sql));
}

#[test]
fn plan_as_a_tree() {
    let xtask = Xtask::new().args("plan");
    insta::assert_snapshot!("plan_tree", xtask.prints());
    let xtask = Xtask::new().program("mongod").args("plan");
    insta::assert_snapshot!("plan_tree_mongod", xtask.prints());
}

#[test]
fn plan_for_programs_and_documents() {
    let xtask = Xtask::new().args("plan --output json");
    insta::assert_snapshot!("plan_json", json_of(&xtask));
    let xtask = Xtask::new().args("plan --format mermaid");
    insta::assert_snapshot!("plan_mermaid", xtask.prints());
}

#[test]
fn profile_show() {
    let xtask = Xtask::new().args("profile show --output json");
    insta::assert_snapshot!("profile_show", json_of(&xtask));
}
