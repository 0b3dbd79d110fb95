//! A connector that is said to run, beats on, and reads nothing: only positions tell.

use serde_json::json;

use crate::heal::{CONNECTOR, connect};
use crate::healer::{Watch, about, event, events};
use crate::proxy::{Load, behind_proxy};

#[tokio::test(flavor = "multi_thread")]
async fn one_that_beats_and_reads_nothing_is_found_by_positions_and_healed() {
    let (sandbox, proxy) = behind_proxy("healstuck");
    let before = sandbox.converged().await.len();
    let watch = Watch::begin(&sandbox, &[]);
    event(&sandbox, "began", |_| true).await;
    assert_eq!(proxy.silence(), 1, "one reads the log");
    let load = Load::begin(&sandbox);

    let subject = format!("connector {CONNECTOR}");
    let found = event(&sandbox, "found", about("CONNECTOR_STUCK", &subject)).await;
    // Not by what it says of itself, and not by its heartbeats.
    let cause = found["cause"].as_str().expect("a cause");
    assert!(cause.contains("its source has moved on"), "{found}");
    event(&sandbox, "attempt", |it| it["subject"] == subject).await;
    let status = connect(&sandbox, "GET", &format!("/connectors/{CONNECTOR}/status"));
    assert!(!status.contains("FAILED"), "{status}");
    event(&sandbox, "healed", about("CONNECTOR_STUCK", &subject)).await;

    let inserted = load.end().await;
    assert!(inserted > 0);
    assert_eq!(
        sandbox.converged().await.len(),
        before + inserted,
        "every row arrived"
    );
    // Nothing else was restarted.
    let attempts = events(&sandbox, "attempt");
    let others = attempts.iter().filter(|it| it["subject"] != subject);
    assert_eq!(others.count(), 0, "{attempts:?}");
    assert_eq!(watch.end(), Some(130));
    assert_eq!(sandbox.json(&["diagnose"])["findings"], json!([]));
}
