//! Rows of up to 16 MB, by stream and by snapshot, on the heaps that the tool gives.

use std::time::Duration;

use crate::own_tables::{flow, run, until, until_within};
use crate::sandbox::Sandbox;

/// For more than a gigabyte.
const PATIENCE: Duration = Duration::from_secs(400);

#[tokio::test]
async fn large_rows_arrive_on_default_heaps() {
    let mut sandbox = Sandbox::new("big");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let head = "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: own, slot: own, publication: own, config: {}}\nflows:\n";
    let big = flow("big", "public.big", "id", "");
    let state = sandbox.dir();
    let profile = state.parent().unwrap().parent().unwrap().join("own.yaml");
    std::fs::write(&profile, format!("{head}{big}")).unwrap();
    sandbox.profile = Some(profile);
    sandbox.fails(&["up"], 1);
    let session = sandbox.postgres().await;
    // What compresses well at the source is as large as any other on its way.
    run(
        &session,
        "CREATE TABLE big (id bigint PRIMARY KEY, v text, n int)",
    )
    .await;
    sandbox.ok(&["up"]);
    let rows =
        "INSERT INTO big SELECT n, repeat(md5(n::text), 12500), 0 FROM generate_series(1, 3000) n";
    run(&session, rows).await;
    for megabytes in [1, 8, 16] {
        let row = format!(
            "INSERT INTO big SELECT -{megabytes}, repeat(md5('{megabytes}'), {megabytes} * 31250), 0"
        );
        run(&session, &row).await;
    }
    run(
        &session,
        "UPDATE big SET n = 1 WHERE id < 0 OR id % 100 = 7",
    )
    .await;
    let all = "SELECT count(), sum(length(v)), sum(n) FROM big_silver FINAL WHERE is_deleted = 0 FORMAT CSV";
    let wanted = ["3003,1225000000,33".to_owned()];
    until_within(&sandbox, PATIENCE, all, &wanted).await;
    let right = "SELECT count() FROM big_silver FINAL WHERE v = repeat(lower(hex(MD5(toString(abs(id))))), intDiv(length(v), 32)) FORMAT TSVRaw";
    until(&sandbox, right, &["3003".to_owned()]).await;

    // The same rows by a snapshot.
    sandbox.ok(&["reset-connector", "pg", "--yes"]);
    until_within(&sandbox, PATIENCE, all, &wanted).await;
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);
}
