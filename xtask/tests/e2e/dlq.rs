//! Dead letter queues of a real sink: Debezium's JDBC sink into the environment's own PostgreSQL.

mod shop;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use xtask::clients::kafka::{FetchOptions, KafkaClient, OffsetAt, Record};
use xtask::operate::dlq::headers::ORIGIN;

use crate::sandbox::{Sandbox, kill};
use crate::topics::offered;
use shop::{
    QUEUE, SINK, TOPIC, bad, connect, end, eventually, good, queue_of, register, repeated, rows,
    value, with_sink,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_could_not_process_is_seen_mended_and_sent_back() {
    let (sandbox, kafka) = with_sink("dlq").await;
    let records = [
        good(1, "a"),
        good(2, "b"),
        bad(3),
        bad(4),
        bad(5),
        good(5, "newer"),
        good(9, "last"),
    ];
    kafka.produce(TOPIC, 0, &records).await.unwrap();
    let kafka_at = &kafka;
    eventually("three records in the queue", || async {
        end(kafka_at, QUEUE).await == 3
    })
    .await;
    let at = &sandbox;
    eventually("four rows", || async { rows(at).await.len() == 4 }).await;

    lists(&sandbox);
    shows(&sandbox);
    plans(&sandbox);
    comes_back(&sandbox, &kafka).await;
    mends(&sandbox).await;
    stays(&sandbox, &kafka).await;
    sink_dies(&sandbox, &kafka).await;
    refuses(&sandbox).await;
    reads_clickhouse_s(&sandbox, &kafka).await;
    purges(&sandbox, &kafka).await;
    assert_eq!(sandbox.json(&["status"])["current"], true);
}

fn lists(sandbox: &Sandbox) {
    let list = sandbox.json(&["dlq", "list"]);
    let row = queue_of(&list);
    assert_eq!(row["connectors"], json!([SINK]));
    assert_eq!(row["summary"]["records"], 3, "{row}");
    let classes = row["summary"]["exceptions"].as_object().unwrap();
    let (class, count) = classes.iter().next().unwrap();
    assert!(class.contains("Exception"), "{row}");
    assert_eq!(count, 3);
    assert_eq!(list["notes"], json!([]));
    let text = sandbox.ok(&["dlq", "list"]);
    assert!(text.starts_with("QUEUE "), "{text}");
    assert!(text.contains("users_errors"), "{text}");
    let (names, _) = offered(sandbox, &["xtask", "dlq", "show", ""]);
    assert!(names.contains(QUEUE) && names.contains(SINK), "{names}");
}

fn shows(sandbox: &Sandbox) {
    let shown = sandbox.json(&["dlq", "show", SINK]);
    let records = shown["records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    let first = &records[0];
    assert_eq!(first["at"], "dlq.orders/0@0");
    assert_eq!(first["failure"]["origin"], "orders/0@2");
    assert_eq!(first["failure"]["connector"], SINK);
    assert_eq!(first["failure"]["stage"], "VALUE_CONVERTER");
    assert_eq!(first["key"]["payload"]["id"], 3);
    assert_eq!(first["value"]["base64"], "//57");
    assert_eq!(first["headers"], json!([{ "key": "shop", "value": 7 }]));
    let text = sandbox.ok(&["dlq", "show", QUEUE, "--stack", "--filter", "offset=3..3"]);
    assert!(text.contains("orders/0@3, in orders-sink"), "{text}");
    assert!(text.contains("\\xff\\xfe{"), "{text}");
    assert!(text.contains("at org.apache.kafka.connect"), "{text}");
    assert!(!text.contains("orders/0@2"), "{text}");
    let few = sandbox.json(&["dlq", "show", "--max", "2"]);
    assert_eq!(few["records"][0]["at"], "dlq.orders/0@1");
    let none = sandbox.ok(&["dlq", "show", "--filter", "topic=elsewhere"]);
    assert_eq!(none, "no records\n");
    let said = sandbox.fails(&["dlq", "show", "--filter", "exeption=x"], 3);
    assert!(said.contains("did you mean `exception=x`?"), "{said}");
    let said = sandbox.fails(&["dlq", "show", "dlq.order"], 3);
    assert!(said.contains("`dlq.orders`"), "{said}");
    let said = sandbox.fails(&["dlq", "show", "postgres-connector"], 3);
    assert!(said.contains("only sinks"), "{said}");
}

fn plans(sandbox: &Sandbox) {
    let plan = sandbox.json(&["dlq", "redrive", QUEUE, "--dry-run"]);
    let origins: Vec<&Value> = plan["send"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["origin"])
        .collect();
    assert_eq!(origins, ["orders/0@2", "orders/0@3"]);
    assert_eq!(plan["held"][0]["why"], "superseded", "{plan}");
    assert_eq!(plan["held"][0]["by"], 5);
    let args = ["dlq", "redrive", "--dry-run", "--include-superseded"];
    let all = sandbox.json(&args);
    assert_eq!(all["send"].as_array().unwrap().len(), 3);
    let text = sandbox.ok(&["dlq", "redrive", "--dry-run", "--filter", "offset=..3"]);
    assert!(text.contains("would send 2 records"), "{text}");
    let said = sandbox.fails(&["dlq", "redrive", QUEUE], 3);
    assert!(said.contains("--yes"), "{said}");
}

async fn comes_back(sandbox: &Sandbox, kafka: &KafkaClient) {
    let output = sandbox.run(&["dlq", "redrive", QUEUE, "--yes", "--output", "json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&summary["sent"], &summary["delivered"]),
        (&json!(2), &json!(0))
    );
    let back = &summary["came_back"];
    assert_eq!(back[0]["from"], "dlq.orders/0@0", "{summary}");
    assert_eq!(back[0]["at"], "dlq.orders/0@3");
    assert_eq!(back[1]["rounds"], 1);
    let repeats = repeated(kafka).await;
    assert_eq!(repeats.values().copied().collect::<Vec<_>>(), [1, 1]);
    let list = sandbox.json(&["dlq", "list"]);
    assert_eq!(queue_of(&list)["summary"]["redriven"], 2);
}

/// Replaces values in a file by the records that they belong to; drops the others.
fn mend(path: &Path, mended: &BTreeMap<i64, &str>) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let id = line["key"]["json"]["payload"]["id"].as_i64().unwrap();
            let new: Value = serde_json::from_slice(&value(id, mended.get(&id)?)).unwrap();
            line["value"] = json!({ "json": new });
            Some(line.to_string())
        })
        .collect();
    std::fs::write(path, lines.join("\n")).unwrap();
    lines.len()
}

async fn mends(sandbox: &Sandbox) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mend.jsonl");
    let file = path.display().to_string();
    let args = ["dlq", "redrive", QUEUE, "--edit-file", &file, "--yes"];
    let text = sandbox.ok(&args);
    assert!(text.contains("2 records"), "{text}");
    assert!(crate::sandbox::is_private(&path));
    // Only the one that was mended goes back.
    assert_eq!(mend(&path, &BTreeMap::from([(3, "mended")])), 1);
    let right = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{right}\n{{\"dlq\": 1}}")).unwrap();
    let said = sandbox.fails(&args, 3);
    assert!(said.contains("mend.jsonl:2:9"), "{said}");
    std::fs::write(&path, right.replace("@3\"", "@77\"")).unwrap();
    let said = sandbox.fails(&args, 3);
    assert!(
        said.contains("mend.jsonl:1:1") && said.contains("none of the chosen"),
        "{said}"
    );
    std::fs::write(&path, &right).unwrap();
    let plan = sandbox.json(&["dlq", "redrive", "--edit-file", &file, "--dry-run"]);
    assert_eq!(plan["send"][0]["edited"], true, "{plan}");
    assert_eq!(plan["send"][0]["round"], 2);
    let summary = sandbox.json(&args);
    assert_eq!(
        (&summary["sent"], &summary["delivered"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(summary["target"][SINK]["found"], 1, "{summary}");
    assert!(rows(sandbox).await.contains(&"3 mended".to_owned()));
    // The file is still there: nothing is sent twice.
    let again = sandbox.ok(&args);
    assert!(again.contains("nothing to send"), "{again}");
}

async fn stays(sandbox: &Sandbox, kafka: &KafkaClient) {
    // Record 4 goes back a second time, and stays after that.
    let said = sandbox.fails(&["dlq", "redrive", QUEUE, "--yes"], 1);
    assert!(said.contains("1 sent, 0 delivered, 1 came back"), "{said}");
    let before = end(kafka, TOPIC).await;
    let text = sandbox.ok(&["dlq", "redrive", QUEUE, "--yes"]);
    assert!(text.contains("nothing to send"), "{text}");
    assert!(text.contains("came back twice"), "{text}");
    assert!(text.contains("superseded"), "{text}");
    assert_eq!(end(kafka, TOPIC).await, before);
    let more = sandbox.json(&["dlq", "redrive", "--rounds", "3", "--dry-run"]);
    assert_eq!(more["send"][0]["round"], 3, "{more}");
    assert!(repeated(kafka).await.values().all(|times| *times == 1));
    let rows = rows(sandbox).await;
    assert_eq!(rows, ["1 a", "2 b", "3 mended", "5 newer", "9 last"]);
}

/// An exception inside the sink ends its task: no queue has the record, and the run that sent it says
/// why it is not delivered. The same command proves it once the cause is mended.
async fn sink_dies(sandbox: &Sandbox, kafka: &KafkaClient) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mend.jsonl");
    let file = path.display().to_string();
    let args = [
        "dlq",
        "redrive",
        SINK,
        "--rounds",
        "3",
        "--edit-file",
        &file,
        "--yes",
    ];
    sandbox.ok(&args);
    assert_eq!(mend(&path, &BTreeMap::from([(4, "late")])), 1);
    let session = sandbox.postgres().await;
    let alter = async |what: &str| {
        let sql = format!("ALTER TABLE copies.orders {what}");
        session.execute(&sql).await.unwrap();
    };
    alter("ADD CONSTRAINT early CHECK (name <> 'late')").await;
    let sent = end(kafka, TOPIC).await + 1;
    let said = sandbox.fails(&args, 1);
    assert!(
        said.contains("FAILED") && said.contains("1 records are in their topics"),
        "{said}"
    );
    assert_eq!(end(kafka, TOPIC).await, sent);
    let said = sandbox.fails(&args, 1);
    assert!(
        said.contains("does not take records") && said.contains("restart"),
        "{said}"
    );
    alter("DROP CONSTRAINT early").await;
    connect(sandbox).restart(SINK, false).await.unwrap();
    eventually("the sink runs again", || async {
        let rows = sandbox.json(&["connector", "list"]);
        let mut rows = rows["connectors"].as_array().unwrap().iter();
        rows.any(|row| row["name"] == SINK && row["tasks"][0]["state"] == "RUNNING")
    })
    .await;
    let text = sandbox.ok(&args);
    println!("{text}");
    assert_eq!(end(kafka, TOPIC).await, sent, "sent twice");
    eventually("the row", || async {
        rows(sandbox).await.contains(&"4 late".to_owned())
    })
    .await;
}

async fn refuses(sandbox: &Sandbox) {
    sandbox.ok(&["connector", "pause", SINK]);
    let args = ["dlq", "redrive", "--include-superseded", "--yes"];
    let said = sandbox.fails(&args, 1);
    assert!(
        said.contains("PAUSED") && said.contains("nothing was sent"),
        "{said}"
    );
    assert!(said.contains("connector resume orders-sink"), "{said}");
    sandbox.ok(&["connector", "resume", SINK]);
    register(
        sandbox,
        "silent-sink",
        &[("errors.deadletterqueue.topic.name", "")],
    )
    .await;
    let list = sandbox.ok(&["dlq", "list"]);
    assert!(
        list.contains("note: silent-sink loses records silently"),
        "{list}"
    );
    let said = sandbox.fails(&["dlq", "show", "silent-sink"], 3);
    assert!(said.contains("no dead letter queue"), "{said}");
    sandbox.ok(&["connector", "stop", "silent-sink"]);
    let mut source = connect(sandbox)
        .config("postgres-connector")
        .await
        .unwrap()
        .unwrap();
    source.insert("errors.deadletterqueue.topic.name".into(), "nowhere".into());
    connect(sandbox)
        .put_config("postgres-connector", &source)
        .await
        .unwrap();
    let list = sandbox.ok(&["dlq", "list"]);
    assert!(list.contains("postgres-connector is a source"), "{list}");
    // As the profile has it.
    sandbox.ok(&["up"]);
}

async fn reads_clickhouse_s(sandbox: &Sandbox, kafka: &KafkaClient) {
    let broken = Record::new(Some("k".into()), Some("no change".into()));
    kafka
        .produce("postgres.public.users", 0, &[broken])
        .await
        .unwrap();
    eventually("a row of users_errors", || async {
        let shown = sandbox.json(&["dlq", "show", "users"]);
        shown["records"]
            .as_array()
            .is_some_and(|records| records.len() == 1)
    })
    .await;
    let shown = sandbox.json(&["dlq", "show", "users"]);
    assert_eq!(shown["records"][0]["value"], "no change", "{shown}");
    let text = sandbox.ok(&[
        "dlq",
        "show",
        "users",
        "--filter",
        "topic=postgres.public.users",
    ]);
    assert!(text.contains("postgres.public.users/0@"), "{text}");
    let list = sandbox.json(&["dlq", "list"]);
    let reasons = list["flows"][0]["reasons"].as_object().unwrap();
    assert_eq!(reasons.values().next().unwrap(), 1, "{list}");
    for verb in ["redrive", "purge"] {
        let said = sandbox.fails(&["dlq", verb, "users"], 3);
        assert!(said.contains("users is a flow"), "{said}");
    }
}

async fn purges(sandbox: &Sandbox, kafka: &KafkaClient) {
    let begin = async || {
        let begins = kafka.offsets(QUEUE, OffsetAt::Earliest).await.unwrap();
        begins[&0]
    };
    let text = sandbox.ok(&["dlq", "purge", QUEUE, "--before", "2", "--dry-run"]);
    assert!(text.contains("would delete 2 records"), "{text}");
    let said = sandbox.fails(&["dlq", "purge", QUEUE, "--before", "2"], 3);
    assert!(said.contains("--yes"), "{said}");
    let said = sandbox.fails(&["dlq", "purge", TOPIC, "--yes"], 3);
    assert!(
        said.contains("`orders` is neither the topic of a dead letter queue nor a sink"),
        "{said}"
    );
    let said = sandbox.fails(&["dlq", "purge", QUEUE, "--before", "never"], 3);
    assert!(said.contains("neither a time nor an offset"), "{said}");
    assert_eq!(begin().await, 0);
    let old = sandbox.json(&["dlq", "purge", QUEUE, "--before", "1d", "--yes"]);
    assert_eq!(old["records"], 0);
    sandbox.ok(&["dlq", "purge", QUEUE, "--before", "2", "--yes"]);
    assert_eq!(begin().await, 2);
    let all = sandbox.json(&["dlq", "purge", SINK, "--yes"]);
    assert_eq!(all["partitions"][0]["begin"], 2, "{all}");
    assert_eq!(begin().await, end(kafka, QUEUE).await);
    let text = sandbox.ok(&["dlq", "purge", QUEUE, "--yes"]);
    assert_eq!(text, "nothing to delete\n");
}

/// How many records are sent back while the tool is killed.
const MANY: i64 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_killed_at_any_point_is_finished_and_sends_nothing_twice() {
    let (sandbox, kafka) = with_sink("dlqkill").await;
    let records: Vec<Record> = (0..MANY).map(bad).collect();
    kafka.produce(TOPIC, 0, &records).await.unwrap();
    let client = &kafka;
    eventually("all of them in the queue", || async {
        end(client, QUEUE).await == MANY
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mend.jsonl");
    let file = path.display().to_string();
    let args = ["dlq", "redrive", SINK, "--edit-file", &file, "--yes"];
    sandbox.ok(&args);
    let names = (0..MANY).map(|id| (id, "mended")).collect();
    assert_eq!(i64::try_from(mend(&path, &names)).unwrap(), MANY);

    // In the middle of the writing, once and again, and when all is written and nothing proven.
    for share in [1, MANY / 2, MANY] {
        let mut child = sandbox
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while end(&kafka, TOPIC).await < MANY + share {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before it had sent {share}"
            );
        }
        kill(child.id());
        child.wait().unwrap();
        println!("killed with {} written", end(&kafka, TOPIC).await - MANY);
    }
    let output = sandbox.run(&[&args[..], &["--output", "json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    println!("{text}");
    let repeats = repeated(&kafka).await;
    assert_eq!(i64::try_from(repeats.len()).unwrap(), MANY);
    assert!(
        repeats.values().all(|times| *times == 1),
        "something was sent twice"
    );
    assert_eq!(end(&kafka, TOPIC).await, 2 * MANY);
    let at = &sandbox;
    eventually("every row", || async { rows(at).await.len() == 10_000 }).await;
    let headers = kafka
        .fetch(TOPIC, 0, MANY, &FetchOptions::default())
        .await
        .unwrap();
    let keys: Vec<&str> = headers.records[0]
        .headers
        .iter()
        .map(|header| header.key.as_str())
        .collect();
    assert_eq!((keys[0], keys[keys.len() - 1]), ("shop", ORIGIN));
}
