//! Tables whose columns change while the pipeline runs: added ones follow, the others are the user's to decide, and no
//! row loses what it had.

use serde_json::Value;

use crate::own_tables::{flow, run, until};
use crate::sandbox::Sandbox;

const BEFORE: &str = "
CREATE TABLE changing (id bigint PRIMARY KEY, a text, b int); INSERT INTO changing VALUES (1, 'one', 1);
CREATE TABLE history (id bigint PRIMARY KEY, v text); INSERT INTO history VALUES (1, 'one');
CREATE TABLE strict (id bigint PRIMARY KEY, v text); INSERT INTO strict VALUES (1, 'one');
CREATE TABLE watched (id bigint PRIMARY KEY, v text); INSERT INTO watched VALUES (1, 'one');
";

fn finding<'a>(diagnosis: &'a Value, code: &str, flow: &str) -> &'a Value {
    let findings = diagnosis["findings"].as_array().unwrap();
    let is_it = |it: &&Value| it["code"] == code && it["subject"] == format!("flow {flow}");
    findings
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {code} of {flow}: {diagnosis:#}"))
}

/// What a flow's rows show, one after the other.
async fn shows(sandbox: &Sandbox, flow: &str, row: &str, wanted: &[&str]) {
    let sql = format!(
        "SELECT {row} FROM {flow}_silver FINAL WHERE is_deleted = 0 ORDER BY id, _position FORMAT TSVRaw"
    );
    let wanted: Vec<String> = wanted.iter().map(|it| (*it).to_owned()).collect();
    until(sandbox, &sql, &wanted).await;
}

async fn errors(sandbox: &Sandbox, flow: &str, wanted: &[&str]) {
    let sql = format!("SELECT reason FROM {flow}_errors FINAL ORDER BY _offset FORMAT TSVRaw");
    let wanted: Vec<String> = wanted.iter().map(|it| (*it).to_owned()).collect();
    until(sandbox, &sql, &wanted).await;
}

/// Runs the printed `query` command that has this in it.
fn typed(sandbox: &Sandbox, said: &str, part: &str) {
    let commands = said.split("cargo xtask ").skip(1);
    let mut commands = commands.filter(|it| it.starts_with("query ") && it.contains(part));
    let command = commands
        .next()
        .unwrap_or_else(|| panic!("no {part}: {said}"));
    let sql = command.split('\'').nth(1).unwrap();
    sandbox.ok(&["query", "clickhouse", sql]);
}

#[tokio::test]
async fn columns_that_are_added_follow_and_others_are_the_users_to_decide() {
    let mut sandbox = Sandbox::new("schema");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let head = "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: own, slot: own, publication: own, config: {}}\nflows:\n";
    let (strict, watched) = (
        flow("strict", "public.strict", "id", ", schema: refuse"),
        flow("watched", "public.watched", "id", ", schema: report"),
    );
    let first = flow("changing", "public.changing", "id", "")
        + &flow("history", "public.history", "id", ", keep: every");
    let state = sandbox.dir();
    let profile = state.parent().unwrap().parent().unwrap().join("own.yaml");
    std::fs::write(&profile, format!("{head}{first}{strict}{watched}")).unwrap();
    sandbox.profile = Some(profile.clone());
    sandbox.fails(&["up"], 1);
    let session = sandbox.postgres().await;
    run(&session, BEFORE).await;
    sandbox.ok(&["up"]);
    shows(&sandbox, "changing", "a", &["one"]).await;

    // Rows come at once, and what they came without is kept.
    run(
        &session,
        "ALTER TABLE changing ADD COLUMN c text; INSERT INTO changing VALUES (2, 'two', 2, 'c2'); \
         ALTER TABLE history ADD COLUMN c text; INSERT INTO history VALUES (2, 'two', 'c2'); UPDATE history SET c = 'c3' WHERE id = 2",
    )
    .await;
    shows(&sandbox, "changing", "a", &["one", "two"]).await;
    errors(&sandbox, "changing", &["column c: not at the target yet"]).await;
    let diagnosis = sandbox.json(&["diagnose"]);
    let next = &finding(&diagnosis, "COLUMN_ADDED", "changing")["next"];
    assert!(
        next.as_str().unwrap().starts_with("cargo xtask up"),
        "{next}"
    );
    // As it stands: with the ports that the environment was made with.
    assert!(
        next.as_str().unwrap().contains("--set kafka.port="),
        "{next}"
    );
    let codes = diagnosis["findings"].as_array().unwrap().iter();
    assert_eq!(codes.filter(|it| it["code"] == "POISON_MESSAGE").count(), 0);
    let status = sandbox.json(&["status"]);
    assert_eq!(status["flows"][0]["drift"]["added"][0], "c", "{status}");
    sandbox.ok(&["up"]);
    shows(
        &sandbox,
        "changing",
        "concat(a, '|', ifNull(c, 'NULL'))",
        &["one|NULL", "two|c2"],
    )
    .await;
    shows(
        &sandbox,
        "history",
        "concat(v, '|', ifNull(c, 'NULL'))",
        &["one|NULL", "two|c2", "two|c3"],
    )
    .await;
    errors(&sandbox, "changing", &[]).await;
    errors(&sandbox, "history", &[]).await;
    let again = sandbox.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);

    // What the topic has from before lacks the column, and is right so. What the source filled is read again.
    sandbox.kill("clickhouse");
    run(
        &session,
        "INSERT INTO changing VALUES (3, 'three', 3, 'c3'); ALTER TABLE changing ADD COLUMN d int NOT NULL DEFAULT 7; \
         INSERT INTO changing VALUES (4, 'four', 4, 'c4', 8)",
    )
    .await;
    let output = sandbox.run(&["up"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let read = "pg --tables public.changing";
    assert!(said.contains("added d") && said.contains(read), "{said}");
    shows(
        &sandbox,
        "changing",
        "concat(a, '|', toString(d))",
        &["NULL", "NULL", "NULL", "four|8"].map(|it| if it == "NULL" { "\\N" } else { it }),
    )
    .await;
    sandbox.ok(&["connector", "snapshot", "pg", "--tables", "public.changing"]);
    shows(
        &sandbox,
        "changing",
        "concat(a, '|', toString(d))",
        &["one|7", "two|7", "three|7", "four|8"],
    )
    .await;
    errors(&sandbox, "changing", &[]).await;

    // A column that is renamed holds rows back until silver's is, and then they come.
    run(
        &session,
        "ALTER TABLE changing RENAME COLUMN a TO name; INSERT INTO changing VALUES (5, 'five', 5, 'c5', 9); \
         UPDATE changing SET b = 10 WHERE id = 1",
    )
    .await;
    errors(
        &sandbox,
        "changing",
        &["column a: not in the change", "column a: not in the change"],
    )
    .await;
    shows(
        &sandbox,
        "changing",
        "concat(a, '|', toString(b))",
        &["one|1", "two|2", "three|3", "four|4"],
    )
    .await;
    let diagnosis = sandbox.json(&["diagnose"]);
    let found = finding(&diagnosis, "SCHEMA_CHANGED", "changing");
    let next = found["next"].as_str().unwrap();
    assert!(next.contains("RENAME COLUMN \"a\" TO \"name\""), "{next}");
    let said = sandbox.fails(&["up"], 1);
    assert!(
        said.contains("it was renamed or dropped at the source"),
        "{said}"
    );
    typed(&sandbox, next, "RENAME COLUMN");
    sandbox.ok(&["up"]);
    shows(
        &sandbox,
        "changing",
        "concat(name, '|', toString(b))",
        &["one|10", "two|2", "three|3", "four|4", "five|5"],
    )
    .await;
    errors(&sandbox, "changing", &[]).await;

    // All that changed is said at once; a value that did not fit comes when its type does.
    run(
        &session,
        "ALTER TABLE changing DROP COLUMN c, ALTER COLUMN d TYPE bigint; \
         INSERT INTO changing VALUES (6, 'six', 6, 5000000000)",
    )
    .await;
    errors(&sandbox, "changing", &["column c: not in the change"]).await;
    let said = sandbox.fails(&["up"], 1);
    assert!(said.contains("has a column `c`"), "{said}");
    typed(&sandbox, &said, "DROP COLUMN");
    typed(&sandbox, &said, "MODIFY COLUMN \"d\"");
    sandbox.ok(&["up"]);
    shows(
        &sandbox,
        "changing",
        "toString(d)",
        &["7", "7", "7", "8", "9", "5000000000"],
    )
    .await;
    errors(&sandbox, "changing", &[]).await;

    // As the profile says.
    run(
        &session,
        "ALTER TABLE strict ADD COLUMN c text; INSERT INTO strict VALUES (2, 'two', 'c2'); \
         ALTER TABLE watched ADD COLUMN c text; INSERT INTO watched VALUES (2, 'two', 'c2')",
    )
    .await;
    errors(&sandbox, "strict", &["column c: the flow does not know it"]).await;
    shows(&sandbox, "strict", "v", &["one"]).await;
    shows(&sandbox, "watched", "v", &["one", "two"]).await;
    let diagnosis = sandbox.json(&["diagnose"]);
    let next = &finding(&diagnosis, "COLUMN_ADDED", "watched")["next"];
    assert!(
        next.as_str()
            .unwrap()
            .contains("flows.watched.schema=follow"),
        "{next}"
    );
    finding(&diagnosis, "SCHEMA_CHANGED", "strict");
    let said = sandbox.fails(&["up"], 1);
    assert!(said.contains("the flow refuses it"), "{said}");
    let strict = flow("strict", "public.strict", "id", "");
    std::fs::write(&profile, format!("{head}{first}{strict}{watched}")).unwrap();
    sandbox.ok(&["up"]);
    shows(
        &sandbox,
        "strict",
        "concat(v, '|', ifNull(c, 'NULL'))",
        &["one|NULL", "two|c2"],
    )
    .await;
    sandbox.ok(&["up", "--set", "flows.watched.schema=follow"]);
    shows(
        &sandbox,
        "watched",
        "concat(v, '|', ifNull(c, 'NULL'))",
        &["one|NULL", "two|c2"],
    )
    .await;
    errors(&sandbox, "watched", &[]).await;
}
