//! Two PostgreSQL instances of one profile: rows go from the one into the other through a JDBC sink.

use std::path::Path;
use std::time::{Duration, Instant};

use xtask::clients::postgres::Postgres;
use xtask::platform::{Endpoint, Secret};

use crate::ports;
use crate::sandbox::{Sandbox, kill};

pub const SOURCE: &str = "components.source.port";
pub const TARGET: &str = "components.warehouse.port";

/// Every row as its column names and values, in the order of its key.
const TABLES: [(&str, &str); 3] = [
    ("customers", "customer_id"),
    ("orders", "order_id"),
    ("line_items", "order_id, line_no"),
];

async fn database(sandbox: &Sandbox, port: &str, component: &str, name: &str) -> Postgres {
    let password = Secret::new(sandbox.password(component));
    let at = Endpoint::loopback(sandbox.ports[port]).login("postgres", password);
    Postgres::connect(&at, name).await.expect("a session")
}

async fn source(sandbox: &Sandbox) -> Postgres {
    database(sandbox, SOURCE, "source", "warehouse_source").await
}

async fn rows(database: &Postgres) -> Vec<String> {
    let mut all = Vec::new();
    for (table, key) in TABLES {
        let rows = database
            .query(&format!(
                "SELECT '{table} ' || to_jsonb(it)::text FROM public.{table} it ORDER BY {key}"
            ))
            .await;
        // The sink makes a table with its first row.
        let rows = rows.unwrap_or_default();
        all.extend(rows.into_iter().filter_map(|row| row.into_iter().next()?));
    }
    all
}

/// Waits until the target has the source's rows and no others, and returns them.
pub async fn same(sandbox: &Sandbox) -> Vec<String> {
    let source = source(sandbox).await;
    let target = database(sandbox, TARGET, "warehouse", "warehouse_target").await;
    let begin = Instant::now();
    loop {
        let (there, here) = (rows(&source).await, rows(&target).await);
        if there == here {
            return there;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(90),
            "source {there:#?}\ntarget {here:#?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn rows_go_from_one_postgresql_to_another() {
    let mut sandbox = Sandbox::new("warehouse");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    sandbox.profile = Some(root.join("profiles/warehouse.yaml"));
    sandbox
        .ports
        .retain(|key, _| !["postgres.port", "mongodb.port", "clickhouse.port"].contains(key));
    sandbox.ports.insert(SOURCE, ports::free(21_000));
    sandbox.ports.insert(TARGET, ports::free(21_000));
    sandbox.ok(&["up"]);
    assert_eq!(same(&sandbox).await.len(), 5);

    let again = sandbox.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    let verify = sandbox.json(&["verify"]);
    let changes: Vec<&str> = verify["proofs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|proof| proof["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["insert", "update", "delete"], "{verify}");

    for change in [
        "INSERT INTO public.customers (customer_id, name, email, created_at) \
         VALUES (900, 'Zoë ''x''', 'zoe@example.com', '1969-12-31 23:59:59.999999')",
        "INSERT INTO public.orders (order_id, customer_id, total) VALUES (900, 900, 9999999999.99)",
        "INSERT INTO public.line_items VALUES (900, 1, '', -1, 0.01), (900, 2, 'Cup', 2, 5.50)",
        "UPDATE public.line_items SET price = 19.95 WHERE order_id = 1 AND line_no = 1",
        "DELETE FROM public.line_items WHERE order_id = 1 AND line_no = 2",
    ] {
        source(&sandbox).await.execute(change).await.unwrap();
    }
    let after = same(&sandbox).await;
    assert!(
        after.iter().any(|row| row.contains("9999999999.99")),
        "{after:#?}"
    );

    // A table that was emptied is emptied, and takes what comes after.
    let emptied = "BEGIN; CREATE TEMPORARY TABLE kept AS SELECT * FROM public.line_items; TRUNCATE public.line_items; \
                   INSERT INTO public.line_items SELECT * FROM kept WHERE order_id <> 1; COMMIT";
    source(&sandbox).await.execute(emptied).await.unwrap();
    let without = same(&sandbox).await;
    assert!(without.len() < after.len(), "{without:#?}");
    let restored = "INSERT INTO public.line_items VALUES (1, 1, 'Back', 1, 19.95)";
    source(&sandbox).await.execute(restored).await.unwrap();
    let after = same(&sandbox).await;

    // Nothing is lost with a killed worker, nor is a delete from a time when nobody read.
    kill(sandbox.pid("connect"));
    source(&sandbox)
        .await
        .execute("DELETE FROM public.line_items WHERE order_id = 900 AND line_no = 1")
        .await
        .unwrap();
    sandbox.ok(&["up"]);
    assert_eq!(same(&sandbox).await.len(), after.len() - 1);

    sandbox.ok(&["reset-connector", "warehouse-source", "--yes"]);
    same(&sandbox).await;
    let status = sandbox.json(&["status"]);
    assert_eq!(status["current"], true, "{status}");
    let diagnosis = sandbox.json(&["diagnose"]);
    assert_eq!(diagnosis["findings"], serde_json::json!([]), "{diagnosis}");
    each_by_its_name(&sandbox).await;

    // That the target ended is why its sink has failed.
    sandbox.kill("warehouse");
    let insert = "INSERT INTO public.customers (customer_id, name, email) VALUES (901, 'Ole', 'o@example.com')";
    source(&sandbox).await.execute(insert).await.unwrap();
    let begin = Instant::now();
    let follows = loop {
        let diagnosis = sandbox.json(&["diagnose"]);
        let findings = diagnosis["findings"].as_array().unwrap();
        let told: Vec<(&str, &str)> = findings
            .iter()
            .map(|it| {
                (
                    it["code"].as_str().unwrap(),
                    it["subject"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(told, [("PROCESS_ENDED", "warehouse")], "{diagnosis:#}");
        let follows = &findings[0]["consequences"][0];
        if follows["subject"] == "connector postgresql-sink" {
            break follows.clone();
        }
        assert!(begin.elapsed() < Duration::from_secs(180), "{diagnosis:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let cause = follows["cause"].as_str().unwrap();
    assert!(cause.contains("its target warehouse"), "{follows:#}");
    sandbox.ok(&["up"]);
    same(&sandbox).await;
    joins(&mut sandbox).await;
}

/// A table joins the running connector and its sink, and is changed meanwhile; without its flow, `up` names the topic.
async fn joins(sandbox: &mut Sandbox) {
    let make = "CREATE TABLE public.returns (id bigint PRIMARY KEY, v text, at timestamptz); \
                INSERT INTO public.returns SELECT n, 'old', '2026-01-01' FROM generate_series(1, 20000) n";
    let session = source(sandbox).await;
    session.execute(make).await.unwrap();
    let flow = "flows.returns={connector: warehouse-source, to: postgresql-sink, table: public.returns, key: [id]}";
    sandbox.extra.push(flow.into());
    let mut up = sandbox.spawn(&["up"]);
    for n in 1..200 {
        let change = format!(
            "UPDATE public.returns SET v = 'new {n}' WHERE id % 200 = {n}; \
             DELETE FROM public.returns WHERE id % 1000 = {n} + 500; INSERT INTO public.returns VALUES (30000 + {n}, NULL, now())"
        );
        session.execute(&change).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(up.wait().unwrap().success());
    let target = database(sandbox, TARGET, "warehouse", "warehouse_target").await;
    let all = "SELECT count(*) || ' ' || md5(string_agg(to_jsonb(it)::text, ',' ORDER BY id)) FROM public.returns it";
    let begin = Instant::now();
    loop {
        let (there, here) = (session.query(all).await.unwrap(), target.query(all).await);
        if here.as_ref().is_ok_and(|it| *it == there) {
            break;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(90),
            "{there:?} {here:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let again = sandbox.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    sandbox.extra.pop();
    let left = sandbox.json(&["up"]);
    let topics = &left["pruned"]["left"]["topics"];
    assert_eq!(
        *topics,
        serde_json::json!(["warehouse.public.returns"]),
        "{left}"
    );
    sandbox.ok(&["up", "--prune", "--yes"]);
    let none = &sandbox.json(&["up"])["pruned"]["left"]["topics"];
    assert_eq!(*none, serde_json::json!([]));
    // The table at the target is the user's own.
    target.query(all).await.unwrap();
}

/// Statements and slots of the one server and of the other.
async fn each_by_its_name(sandbox: &Sandbox) {
    for (component, name) in [
        ("source", "warehouse_source"),
        ("warehouse", "warehouse_target"),
    ] {
        let found = sandbox.json(&["query", component, "SELECT current_database()"]);
        assert_eq!(found["results"][0]["rows"], serde_json::json!([[name]]));
    }
    let target = database(sandbox, TARGET, "warehouse", "warehouse_target").await;
    let make = "SELECT pg_create_physical_replication_slot(name) \
                FROM unnest(ARRAY['warehouse', 'spare']) name";
    target.query(make).await.expect("slots");
    let found = sandbox.json(&["slot", "list"]);
    let slots: Vec<_> = found["slots"].as_array().expect("slots").iter().collect();
    let shown: Vec<_> = slots
        .iter()
        .map(|slot| [&slot["component"], &slot["name"], &slot["connector"]])
        .collect();
    let connector = serde_json::json!("warehouse-source");
    let none = serde_json::Value::Null;
    assert_eq!(
        serde_json::json!(shown),
        serde_json::json!([
            ["source", "warehouse", connector],
            ["warehouse", "spare", none],
            ["warehouse", "warehouse", none],
        ])
    );
    assert!(sandbox.ok(&["slot", "list"]).starts_with("COMPONENT"));
    let found = sandbox.json(&["slot", "list", "--component", "source"]);
    assert_eq!(found["slots"].as_array().map(Vec::len), Some(1));
    let said = sandbox.fails(&["slot", "drop", "warehouse", "--yes"], 3);
    assert!(
        said.contains("is at source and at warehouse") && said.contains("--component=source"),
        "{said}"
    );
    let said = sandbox.ok(&["slot", "drop", "spare", "--yes"]);
    assert_eq!(said, "dropped slot spare of warehouse\n");
    sandbox.ok(&[
        "slot",
        "drop",
        "warehouse",
        "--component=warehouse",
        "--yes",
    ]);
    let said = sandbox.fails(&["slot", "list", "--component", "kafka"], 3);
    assert!(said.contains("these do: source, warehouse"), "{said}");
}
