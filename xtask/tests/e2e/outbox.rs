//! An outbox and what its events add up to: exact over kills, events that come twice, and events that do not fit.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::own_tables::run;
use crate::sandbox::Sandbox;

const TABLE: &str = "public.outbox_events (aggregatetype, aggregateid, type, payload)";

/// Events that nothing can be made of, one that another type has, and one whose digits a float would lose.
const ODD: &str = "VALUES ('order', 'x', 'OrderPlaced', '{\"customer_id\": \"no number\", \"total\": 1}'::jsonb), \
    ('order', 'x', 'OrderPlaced', '{\"total\": 1}'), ('order', 'x', 'OrderShipped', '{}')";
const EXACT: &str = "12345678901234567.89";

/// A runner, which does not outlive the test.
struct Runner(Child);

impl Runner {
    fn begin(sandbox: &Sandbox) -> Self {
        Runner(sandbox.spawn(&["projection", "run"]))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(sandbox: &Sandbox) -> Value {
    sandbox.json(&["projection", "status"])
}

async fn until(sandbox: &Sandbox, what: &str, is: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    loop {
        let found = status(sandbox);
        if is(&found) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{what}: {found}"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_exact_whatever_happens() {
    let mut sandbox = Sandbox::new("outbox");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    sandbox.profile = Some(root.join("profiles/outbox.yaml"));
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    sandbox.ok(&["up"]);
    let session = sandbox.postgres().await;

    // Killed again and again while orders are placed.
    let mut orders = sandbox.spawn(&["workload", "orders", "--rate", "100", "--duration", "10s"]);
    for pause in [700, 1_900, 1_300, 2_600] {
        let runner = Runner::begin(&sandbox);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        drop(runner);
    }
    assert!(orders.wait().unwrap().success());
    let runner = Runner::begin(&sandbox);
    let mut found = sandbox.json(&["projection", "verify", "--settle", "2m"]);
    assert_eq!(found["differences"], serde_json::json!([]), "{found:#}");
    assert!(found["keys"].as_u64() > Some(50), "{found:#}");

    // One runs it, and no other.
    until(&sandbox, "it runs", |it| it["running"] == true).await;
    let refused = sandbox.fails(&["projection", "run", "--once"], 4);
    assert!(
        refused.contains("cargo xtask projection status"),
        "{refused}"
    );

    // What cannot be added up is kept, and what comes after it is not held up.
    run(&session, &format!("INSERT INTO {TABLE} {ODD}")).await;
    let exact = format!(
        "WITH placed AS (INSERT INTO public.orders (customer_id, total) VALUES (7000, 0.01) RETURNING order_id) \
         INSERT INTO {TABLE} SELECT 'order', order_id::text, 'OrderPlaced', '{{\"customer_id\": 7000, \"total\": 0.01}}' FROM placed; \
         INSERT INTO {TABLE} VALUES ('order', 'y', 'OrderPlaced', '{{\"customer_id\": 7001, \"total\": {EXACT}}}')"
    );
    run(&session, &exact).await;
    until(&sandbox, "two are kept", |it| {
        it["queued"] == 2 && it["unread"] == 0
    })
    .await;
    let total = "SELECT total::text FROM public.order_totals WHERE customer_id = 7001";
    assert_eq!(session.value(total).await.unwrap().as_deref(), Some(EXACT));
    // Of the event without an order the orders do not know.
    found = sandbox.json(&["projection", "verify", "--settle", "1s"]);
    assert_eq!(found["differences"][0]["key"], "7001", "{found:#}");
    assert_eq!(
        found["differences"].as_array().map(Vec::len),
        Some(1),
        "{found:#}"
    );
    run(&session, "DELETE FROM public.order_totals WHERE customer_id = 7001; DELETE FROM public.outbox_events WHERE aggregateid IN ('x', 'y')").await;

    // A new snapshot sends all events again: they count once.
    sandbox.ok(&["reset-connector", "orders-outbox-connector", "--yes"]);
    until(&sandbox, "all is read", |it| it["unread"] == 0).await;
    sandbox.ok(&["projection", "verify"]);
    drop(runner);

    // Rows that are wrong are found, and made again from the events.
    run(
        &session,
        "UPDATE public.order_totals SET total = total + 0.01 WHERE customer_id = 7000",
    )
    .await;
    let said = sandbox.fails(&["projection", "verify", "--settle", "1s"], 2);
    assert!(
        said.contains("customer_id 7000: should be orders 1, total 0.01, is orders 1, total 0.02"),
        "{said}"
    );
    assert!(said.contains("cargo xtask projection replay"), "{said}");
    sandbox.ok(&["projection", "replay", "--yes"]);
    found = sandbox.json(&["projection", "verify", "--settle", "1s"]);
    assert_eq!(found["differences"][0]["key"], "7001", "{found:#}");
    assert_eq!(
        found["differences"].as_array().map(Vec::len),
        Some(1),
        "{found:#}"
    );

    // The tables are flows as others are.
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    let found = sandbox.json(&["diagnose"]);
    assert_eq!(found["sound"], true, "{found:#}");
}
