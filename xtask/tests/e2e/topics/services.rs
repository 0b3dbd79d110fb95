//! Statements at the databases, and the ways to the services.

use serde_json::json;

use crate::sandbox::Sandbox;

pub(super) fn queries(sandbox: &Sandbox) {
    let text = sandbox.ok(&[
        "query",
        "postgres",
        "SELECT 1 AS n, NULL AS nothing; SELECT 'x' AS t",
    ]);
    assert_eq!(text, "n  nothing\n1  NULL\n(1 row)\n\nt\nx\n(1 row)\n");
    let found = sandbox.json(&[
        "query",
        "postgres",
        "SELECT count(*) FROM users WHERE user_id < 5",
    ]);
    assert_eq!(found["results"][0]["rows"], json!([["4"]]));
    let text = sandbox.fails(&["query", "postgres", "SELECT\n  fom users"], 1);
    assert!(
        text.contains("statement:2:3: ") && text.contains("42703"),
        "{text}"
    );
    let sql = "SELECT 7 AS n, 'x' AS t, NULL AS nothing;";
    let text = sandbox.ok(&["query", "clickhouse", sql]);
    assert_eq!(text, "n  t  nothing\n7  x  NULL\n(1 row)\n");
    let found = sandbox.json(&["query", "clickhouse", sql]);
    assert_eq!(found["results"][0]["rows"], json!([[7, "x", null]]));
    // No digit is lost.
    let text = sandbox.ok(&[
        "query",
        "clickhouse",
        "SELECT toInt256('406797045046408742210338816')",
    ]);
    assert!(text.contains("406797045046408742210338816"), "{text}");
    assert_eq!(
        sandbox.ok(&["query", "clickhouse", "SELECT 1, 2 FORMAT CSV"]),
        "1,2\n"
    );
    let text = sandbox.fails(&["query", "clickhouse", "SELECT nope"], 1);
    assert!(text.contains("ClickHouse refused"), "{text}");
    for secret in [sandbox.password("postgres"), sandbox.password("clickhouse")] {
        assert!(!text.contains(&secret));
    }
    assert!(
        sandbox
            .fails(&["query", "postgres", " "], 3)
            .contains("there is no statement")
    );
}

pub(super) fn ways(sandbox: &Sandbox) {
    let found = sandbox.json(&["forward"]);
    let services = found["services"].as_array().unwrap();
    let postgres = services
        .iter()
        .find(|one| one["service"] == "postgres")
        .unwrap();
    assert_eq!(
        postgres["address"],
        format!("127.0.0.1:{}", sandbox.ports["postgres.port"])
    );
    assert_eq!(postgres["forwarded"], false);
    assert!(!found.to_string().contains(&sandbox.password("postgres")));
    let url = sandbox.ok(&["open", "connect", "--print"]);
    assert!(
        url.starts_with(&format!(
            "http://127.0.0.1:{}/",
            sandbox.ports["connect.port"]
        )),
        "{url}"
    );
    assert!(
        sandbox
            .fails(&["open", "postgres"], 3)
            .contains("has no page")
    );
    assert!(
        sandbox
            .fails(&["forward", "kafak"], 3)
            .contains("did you mean `kafka`?")
    );
}
