//! `reconcile` against tables whose differences are known: random ones, made by SQL at the target, while nothing
//! happens, while a writer works at full speed, and while the connector is restarted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use xtask::clients::postgres::Postgres;
use xtask::platform::{Endpoint, Secret};

use crate::own_tables::{flow, run, texts};
use crate::ports;
use crate::sandbox::Sandbox;

/// Rows of each table.
const ROWS: u32 = 3_000;
/// The writer's rows are above this: they are no one's truth.
const WRITTEN: u32 = 1_000_000;

/// A row of random values, many of them NULL, nasty or equal.
const VALUES: &str = "CASE WHEN random() < 0.1 THEN NULL ELSE (ARRAY['', ' ', 'a', 'a ', '~', '|', '1:|', E'\\t\\n\\\\', 'ä🦀', 'NULL'])[1 + (random() * 9)::int] END AS t, \
    CASE WHEN random() < 0.1 THEN NULL ELSE ((random() - 0.5) * 10 ^ (random() * 12))::numeric(18, 4) END AS n, \
    CASE WHEN random() < 0.1 THEN NULL ELSE (random() - 0.5) * 10 ^ (random() * 40 - 20) END AS f, \
    CASE WHEN random() < 0.1 THEN NULL ELSE '1950-01-01'::timestamptz + random() * interval '100 years' END AS at, \
    CASE WHEN random() < 0.1 THEN NULL ELSE '1950-01-01'::date + (random() * 40000)::int END AS d, \
    CASE WHEN random() < 0.1 THEN NULL ELSE random() < 0.5 END AS b, \
    CASE WHEN random() < 0.1 THEN NULL ELSE jsonb_build_object('b', random(), 'a', ARRAY[1, NULL]) END AS j, \
    CASE WHEN random() < 0.1 THEN NULL ELSE decode(md5(random()::text), 'hex') END AS bin";

/// The tables: what their keys are made of, and their columns.
const TABLES: [(&str, &str, &str); 3] = [
    // With gaps, one far away, and some below zero.
    ("by_number", "(i * i - 50)::bigint AS id", "id"),
    ("by_uuid", "md5(i::text)::uuid AS id", "id"),
    // Nearly all rows have the same first column, and texts order otherwise in most collations.
    (
        "by_two",
        "(CASE WHEN i % 50 = 0 THEN i ELSE 7 END)::int AS one, (ARRAY['a', 'B', 'ä', '_', ''])[1 + i % 5] || i AS two",
        "one, two",
    ),
];

fn truth(found: &Value) -> BTreeMap<String, String> {
    let differences = found["differences"].as_array().expect("differences");
    let key = |it: &Value| {
        let parts = it["key"].as_array().expect("a key").iter();
        parts
            .map(|it| it.as_str().unwrap())
            .collect::<Vec<_>>()
            .join("/")
    };
    let pairs = differences.iter();
    pairs
        .map(|it| (key(it), it["kind"].as_str().unwrap().to_owned()))
        .collect()
}

fn table<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut tables = report["tables"].as_array().expect("tables").iter();
    tables.find(|it| it["table"] == name).expect("the table")
}

/// Has silver differ from the source, and says in which rows.
async fn spoil(sandbox: &Sandbox, name: &str, key: &str) -> BTreeMap<String, String> {
    let silver = format!("{name}_silver");
    let client = sandbox.clickhouse();
    let keys: Vec<String> = key
        .split(", ")
        .map(|it| format!("toString({it})"))
        .collect();
    let shown = keys.join(" || '/' || ");
    let first = key.split(", ").next().unwrap();
    let pick = |salt: &str, rows: usize| {
        format!(
            "SELECT {shown} FROM {silver} FINAL WHERE is_deleted = 0 AND {own} \
             ORDER BY cityHash64('{salt}', {shown}) LIMIT {rows} FORMAT TSVRaw",
            own = own(first)
        )
    };
    let lines = async |sql: String| -> Vec<String> {
        let text = client.text(&sql).await.unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let list = |keys: &[String]| {
        let keys: Vec<String> = keys.iter().map(|it| format!("'{it}'")).collect();
        keys.join(", ")
    };
    let mut truth = BTreeMap::new();
    let gone = lines(pick("gone", 7)).await;
    let delete = format!("DELETE FROM {silver} WHERE {shown} IN ({})", list(&gone));
    client.text(&delete).await.unwrap();
    truth.extend(gone.into_iter().map(|it| (it, "missing".to_owned())));
    // Each in one column, and by as little as can be.
    for (at, change) in [
        "if(isNull(t), '', concat(t, ' ')) AS t",
        "if(isNull(n), 0, NULL) AS n",
        "if(isNull(f), 0, f * 1.0000000000000004) AS f",
        "if(isNull(at), toDateTime64(0, 6, 'UTC'), addMicroseconds(at, 1)) AS at",
        "if(isNull(b), false, NOT b) AS b",
        "if(isNull(d), toDate32(0), addDays(d, 1)) AS d",
        "if(isNull(j), 'null', concat(j, ' ')) AS j",
    ]
    .into_iter()
    .enumerate()
    {
        let keys = lines(pick(&format!("changed {at}"), 1)).await;
        let insert = format!(
            "INSERT INTO {silver} SELECT * REPLACE({change}) FROM (SELECT * FROM {silver} FINAL WHERE {shown} IN ({}))",
            list(&keys).replace("()", "('')")
        );
        client.text(&insert).await.unwrap();
        truth.extend(keys.into_iter().map(|it| (it, "changed".to_owned())));
    }
    let extra = match key {
        "id" if name == "by_uuid" => "generateUUIDv4(_offset) AS id",
        "id" => "id * 2 + 13 - id AS id",
        _ => "concat(two, ' ') AS two",
    };
    let insert = format!(
        "INSERT INTO {silver} SELECT * REPLACE({extra}) FROM (SELECT * FROM {silver} FINAL WHERE is_deleted = 0 AND {} \
         ORDER BY cityHash64('extra', {shown}) LIMIT 5)",
        own(first)
    );
    let before = lines(format!("SELECT {shown} FROM {silver} FINAL FORMAT TSVRaw")).await;
    client.text(&insert).await.unwrap();
    let after = lines(format!("SELECT {shown} FROM {silver} FINAL FORMAT TSVRaw")).await;
    let extra = after.into_iter().filter(|it| !before.contains(it));
    truth.extend(extra.map(|it| (it, "extra".to_owned())));
    truth
}

/// That a row is not the writer's.
fn own(first: &str) -> String {
    match first {
        "one" => format!("two NOT LIKE 'w%' AND one < {WRITTEN}"),
        _ => format!("ifNull(t, '') != 'written' AND toString({first}) != ''"),
    }
}

/// Changes rows as fast as it can, until it is stopped; none of those that are spoilt.
async fn write(session: Postgres, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let mut at = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let sql = format!(
            "INSERT INTO by_number (id, t) VALUES (-{id}, 'written'), (-{other}, 'written'); \
             UPDATE by_number SET f = random() WHERE id = -{id}; DELETE FROM by_number WHERE id = -{other}; \
             UPDATE by_number SET n = coalesce(n, 0) + 1 WHERE id IN (-{WRITTEN}, -{WRITTEN} - 1); \
             INSERT INTO by_two (one, two, t) VALUES (7, 'w{at}', 'written')",
            id = WRITTEN + 10 + at,
            other = 2 * WRITTEN + at,
        );
        run(&session, &sql).await;
        at += 1;
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_those_that_there_are() {
    let mut sandbox = Sandbox::new("reconcile");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let profile = sandbox.state().join("compared.yaml");
    let head = "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: own, slot: own, publication: own, config: {}}\nflows:\n";
    let flows = TABLES.map(|(name, _, key)| flow(name, &format!("public.{name}"), key, ""));
    std::fs::write(&profile, format!("{head}{}", flows.concat())).unwrap();
    sandbox.profile = Some(profile);
    // The server is there before its tables are.
    sandbox.fails(&["up"], 1);
    let session = sandbox.postgres().await;
    let seed = f64::from(std::process::id() % 10_000) / 10_000.0;
    eprintln!("random values of the seed {seed}");
    run(&session, &format!("SELECT setseed({seed})")).await;
    for (name, key_sql, key) in TABLES {
        let rows = format!("SELECT {key_sql}, {VALUES} FROM generate_series(1, {ROWS}) i");
        run(
            &session,
            &format!("CREATE TABLE {name} AS {rows}; ALTER TABLE {name} ADD PRIMARY KEY ({key})"),
        )
        .await;
    }
    run(&session, &format!("INSERT INTO by_number (id, t) VALUES (9000000000000000000, 'far'), (-{WRITTEN}, 'written'), (-{WRITTEN} - 1, 'written')")).await;
    sandbox.ok(&["up"]);

    // Nothing differs, by snapshot.
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    for (name, ..) in TABLES {
        let table = table(&report, name);
        assert_eq!(table["not_compared"], serde_json::json!([]), "{table:#}");
        assert_eq!(table["source_count"], table["target_count"], "{table:#}");
        assert!(
            table["source_count"].as_u64().unwrap() >= u64::from(ROWS),
            "{table:#}"
        );
    }
    // Nor by stream.
    run(&session, "UPDATE by_number SET b = NOT b WHERE id % 3 = 0; UPDATE by_uuid SET f = f * 2; DELETE FROM by_two WHERE one > 2900").await;
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "PASS", "{report:#}");

    // What differs is named, and nothing else: at rest, and beside a writer at full speed.
    let mut truths = Vec::new();
    for (name, _, key) in TABLES {
        truths.push((name, spoil(&sandbox, name, key).await));
    }
    let check = |report: &Value| {
        assert_eq!(report["status"], "FAIL", "{report:#}");
        for (name, truth) in &truths {
            assert_eq!(
                self::truth(table(report, name)),
                *truth,
                "{name}: {:#}",
                table(report, name)
            );
        }
    };
    check(&sandbox.json(&["reconcile"]));
    let said = sandbox.fails(&["reconcile", "by_two", "--rows", "50"], 2);
    assert!(
        said.contains(" * t ") && said.contains("one=7, two="),
        "{said}"
    );
    told_by_others(&sandbox, check);

    let (stop, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writer = tokio::spawn(write(
        sandbox.postgres().await,
        stop.clone(),
        written.clone(),
    ));
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..3 {
        let before = written.load(Ordering::Relaxed);
        check(&sandbox.json(&["reconcile", "--settle", "20"]));
        assert!(
            written.load(Ordering::Relaxed) > before,
            "the writer stood still"
        );
    }
    // While the connector restarts, the fence only takes longer.
    let mut restart = sandbox.spawn(&["connector", "restart", "pg"]);
    check(&sandbox.json(&["reconcile", "--settle", "90"]));
    assert!(restart.wait().unwrap().success());
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();

    // What repairs it is said first, then done, and then nothing differs any more.
    let said = sandbox.fails(&["reconcile", "--repair"], 2);
    assert!(said.contains("would have pg send"), "{said}");
    let report = sandbox.json(&["reconcile", "--repair", "--yes"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    sandbox.ok(&["verify", "--data"]);
    let found = sandbox.json(&["diagnose", "--data"]);
    assert_eq!(found["sound"], true, "{found:#}");

    formats(&sandbox);
    errors(&sandbox, &session).await;
}

/// `verify` and `diagnose` tell the same differences, where they are asked for them.
fn told_by_others(sandbox: &Sandbox, check: impl Fn(&Value)) {
    let plain = sandbox.json(&["verify"]);
    assert!(plain["data"].is_null(), "{plain:#}");
    check(&sandbox.json(&["verify", "--data"])["data"]);
    let said = sandbox.fails(&["verify", "--data"], 2);
    assert!(said.contains("3 of 3 tables differ"), "{said}");

    let plain = sandbox.json(&["diagnose"]);
    assert_eq!(plain["sound"], true, "{plain:#}");
    let all = sandbox.json(&["diagnose", "--data"]);
    let findings = all["findings"].as_array().unwrap();
    let rows = findings.iter().filter(|it| it["code"] == "ROWS_DIFFER");
    assert_eq!(rows.count(), 3, "{all:#}");
    let said = sandbox.fails(&["diagnose", "by_two", "--data"], 1);
    assert!(
        said.contains("ROWS_DIFFER flow by_two") && !said.contains("by_uuid"),
        "{said}"
    );
    assert!(said.contains(" by_two --repair"), "{said}");
}

fn formats(sandbox: &Sandbox) {
    let dir = sandbox.state().join("reports");
    for (format, ending, begins) in [
        ("json", "json", "{"),
        ("csv", "csv", "table,status"),
        ("html", "html", "<!doctype html>"),
        ("junit", "xml", "<?xml"),
    ] {
        let dir = dir.join(format);
        sandbox.ok(&[
            "reconcile",
            "by_uuid",
            "--format",
            format,
            "--output-dir",
            dir.to_str().unwrap(),
        ]);
        let file = std::fs::read_dir(&dir)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        assert_eq!(file.extension().unwrap(), ending);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with(begins) && text.contains("by_uuid"),
            "{text}"
        );
    }
}

/// What is wrong with one table is its own error, and the others are compared.
async fn errors(sandbox: &Sandbox, session: &Postgres) {
    let said = sandbox.fails(&["reconcile", "by_numbr"], 3);
    assert!(said.contains("did you mean `by_number`?"), "{said}");
    let said = sandbox.fails(&["reconcile", "by_number", "--columns", "tt"], 1);
    assert!(said.contains("has no column `tt`"), "{said}");
    sandbox
        .clickhouse()
        .text("RENAME TABLE by_uuid_silver TO aside")
        .await
        .unwrap();
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "ERROR", "{report:#}");
    assert_eq!(
        table(&report, "by_uuid")["error"]["message"],
        "clickhouse has no table by_uuid_silver"
    );
    assert_eq!(table(&report, "by_two")["status"], "PASS");
    sandbox.fails(&["reconcile"], 1);
    sandbox
        .clickhouse()
        .text("RENAME TABLE aside TO by_uuid_silver")
        .await
        .unwrap();
    run(session, "ALTER TABLE by_uuid ADD COLUMN later int; CREATE TABLE other AS SELECT * FROM by_two; CREATE TABLE lacks AS SELECT one, two, t FROM other").await;
    let report = sandbox.json(&["reconcile", "by_uuid"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    assert_eq!(
        table(&report, "by_uuid")["not_compared"][0]["column"],
        "later"
    );

    // Two tables that no flow joins, and no index serves.
    let pair = [
        "reconcile",
        "--source",
        "postgres:public.other",
        "--target",
        "postgres:lacks",
        "--key",
        "one,two",
    ];
    let report = sandbox.json(&pair);
    assert_eq!(report["status"], "PASS", "{report:#}");
    assert_eq!(
        report["tables"][0]["not_compared"]
            .as_array()
            .unwrap()
            .len(),
        7,
        "{report:#}"
    );
    run(
        session,
        "UPDATE lacks SET t = 'x' WHERE two IN (SELECT two FROM lacks ORDER BY two LIMIT 3)",
    )
    .await;
    let report = sandbox.json(&pair);
    assert_eq!(report["tables"][0]["changed_rows"], 3, "{report:#}");
    let counted = sandbox.json(&[&pair[..], &["--counts"]].concat());
    assert_eq!(counted["status"], "PASS", "{counted:#}");
}

#[tokio::test]
async fn a_sinks_tables_are_compared_and_repaired() {
    let mut sandbox = Sandbox::new("reconcile-warehouse");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    sandbox.profile = Some(root.join("profiles/warehouse.yaml"));
    let (source, target) = ("components.source.port", "components.warehouse.port");
    sandbox
        .ports
        .retain(|key, _| !["postgres.port", "mongodb.port", "clickhouse.port"].contains(key));
    sandbox.ports.insert(source, ports::free(21_000));
    sandbox.ports.insert(target, ports::free(21_000));
    sandbox.ok(&["up"]);
    let session = async |port: &'static str, component: &str, name: &str| {
        let password = Secret::new(sandbox.password(component));
        let at = Endpoint::loopback(sandbox.ports[port]).login("postgres", password);
        Postgres::connect(&at, name).await.expect("a session")
    };
    let source = session(source, "source", "warehouse_source").await;
    let target = session(target, "warehouse", "warehouse_target").await;
    run(&source, "INSERT INTO public.customers (customer_id, name, email, created_at) SELECT 1000 + i, 'it''s ' || i, i || '@example.com', '1969-12-31 23:59:59.999999' FROM generate_series(1, 500) i").await;
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    assert_eq!(report["tables_matched"], 3, "{report:#}");
    for table in report["tables"].as_array().unwrap() {
        assert_eq!(table["not_compared"], serde_json::json!([]), "{table:#}");
    }
    run(&target, "DELETE FROM customers WHERE customer_id IN (1001, 1499); UPDATE customers SET name = name || ' ' WHERE customer_id = 1200; \
                  INSERT INTO line_items SELECT 999999, line_no, product, quantity, price FROM line_items LIMIT 1").await;
    let report = sandbox.json(&["reconcile"]);
    let found = truth(table(&report, "customers"));
    let wanted = [
        ("1001", "missing"),
        ("1200", "changed"),
        ("1499", "missing"),
    ];
    assert_eq!(
        found,
        wanted
            .map(|(key, kind)| (key.to_owned(), kind.to_owned()))
            .into(),
        "{report:#}"
    );
    assert_eq!(table(&report, "line_items")["extra_rows"], 1, "{report:#}");
    assert_eq!(table(&report, "orders")["status"], "PASS", "{report:#}");
    let report = sandbox.json(&["reconcile", "--repair", "--yes"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    let names = texts(
        target
            .query("SELECT name FROM customers WHERE customer_id = 1200")
            .await
            .unwrap(),
    );
    assert_eq!(names, ["it's 200"]);
}
