//! Flows and connectors that leave the profile: named, removed when asked, through kills, and nothing else is touched.

use std::path::Path;
use std::time::Duration;

use crate::own_tables::{flow, run, until};
use crate::sandbox::{Sandbox, kill};

const BEFORE: &str = "
CREATE TABLE stays (id bigint PRIMARY KEY, v text); INSERT INTO stays SELECT n, 'x' FROM generate_series(1, 100) n;
CREATE TABLE goes (id bigint PRIMARY KEY, v text); INSERT INTO goes SELECT n, 'x' FROM generate_series(1, 1000) n;
CREATE TABLE goes_too (id bigint PRIMARY KEY, v text); INSERT INTO goes_too VALUES (1, 'x');
CREATE TABLE elsewhere (id bigint PRIMARY KEY, v text); INSERT INTO elsewhere VALUES (1, 'x');
";

const HEAD: &str = "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: own, slot: own, publication: own, config: {}}\n";
const SECOND: &str =
    "  second: {source: postgres, prefix: second, slot: second, publication: second, config: {}}\n";

fn write(profile: &Path, connectors: &str, flows: &[String]) {
    let text = format!("{HEAD}{connectors}flows:\n{}", flows.concat());
    std::fs::write(profile, text).unwrap();
}

/// Tables and views of these flows, consumer groups and topics that are there.
async fn there(sandbox: &Sandbox, word: &str) -> Vec<String> {
    let sql = format!(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%{word}%' ORDER BY name FORMAT TSVRaw"
    );
    let tables = sandbox.clickhouse().text(&sql).await.unwrap();
    let mut all: Vec<String> = tables.lines().map(str::to_owned).collect();
    let kafka = sandbox.kafka().await;
    let groups = kafka.groups().await.unwrap();
    all.extend(groups.into_iter().map(|it| format!("group {}", it.id)));
    let topics = kafka.topics(None).await.unwrap();
    all.extend(topics.into_iter().map(|it| format!("topic {}", it.name)));
    all.retain(|it| it.contains(word));
    all
}

#[tokio::test]
async fn what_removed_flows_leave_is_named_and_removed_when_asked() {
    let mut sandbox = Sandbox::new("removed");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let state = sandbox.dir();
    let profile = state.parent().unwrap().parent().unwrap().join("own.yaml");
    let stays = flow("stays", "public.stays", "id", "");
    let goes = flow("goes", "public.goes", "id", "");
    let every = flow("goes_too", "public.goes_too", "id", ", keep: every");
    let elsewhere = flow("elsewhere", "public.elsewhere", "id", "")
        .replace("connector: pg", "connector: second");
    write(
        &profile,
        SECOND,
        &[stays.clone(), goes.clone(), every, elsewhere],
    );
    sandbox.profile = Some(profile.clone());
    sandbox.fails(&["up"], 1);
    let session = sandbox.postgres().await;
    run(&session, BEFORE).await;
    sandbox.ok(&["up"]);
    let count = |flow: &str| {
        format!("SELECT count() FROM {flow}_silver FINAL WHERE is_deleted = 0 FORMAT TSVRaw")
    };
    until(&sandbox, &count("goes"), &["1000".into()]).await;
    assert!(
        sandbox.json(&["up"])["pruned"]["left"]["flows"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    // Named, and not touched.
    write(&profile, "", std::slice::from_ref(&stays));
    let said = sandbox.run(&["up"]);
    let said = String::from_utf8(said.stdout).unwrap();
    for part in [
        "flow goes: 1000 rows in ",
        "flow goes_too: ",
        "goes_silver",
        "mv_goes_truncates",
        "consumer group g_goes_too",
        "topic own.public.goes\n",
        "topic second.public.elsewhere",
        "topic __debezium-heartbeat.second",
        "connector second",
        "up --profile",
        " --prune --yes",
    ] {
        assert!(said.contains(part), "no {part}: {said}");
    }
    assert!(
        !said.contains("stays") && !said.contains("debezium-heartbeat.own"),
        "{said}"
    );
    until(&sandbox, &count("goes"), &["1000".into()]).await;
    // Nobody is there to ask.
    sandbox.fails(&["up", "--prune"], 3);
    let dry = sandbox.ok(&["up", "--dry-run", "--prune"]);
    assert!(
        dry.contains("consumer group g_goes ") && dry.contains("would be removed"),
        "{dry}"
    );
    assert!(!there(&sandbox, "goes").await.is_empty());

    // Killed on the way, wherever that is.
    for after in [900, 1300, 1700, 2100] {
        let mut up = sandbox.spawn(&["up", "--prune", "--yes"]);
        tokio::time::sleep(Duration::from_millis(after)).await;
        kill(up.id());
        up.wait().unwrap();
    }
    sandbox.ok(&["up", "--prune", "--yes"]);
    for word in ["goes", "elsewhere", "second"] {
        let mut left = there(&sandbox, word).await;
        // Kafka Connect's own note of what it ran is no table's.
        left.retain(|it| it != "topic goes");
        assert_eq!(left, Vec::<String>::new());
    }
    let again = sandbox.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    let nothing = &again["pruned"]["left"];
    assert_eq!(nothing["topics"].as_array().unwrap().len(), 0, "{nothing}");
    until(&sandbox, &count("stays"), &["100".into()]).await;
    run(&session, "INSERT INTO stays VALUES (101, 'new')").await;
    until(&sandbox, &count("stays"), &["101".into()]).await;
    // The slot that a connector left is told by `up`, and dropped by what it prints.
    sandbox.ok(&["slot", "drop", "second", "--yes"]);
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);

    // It may come back, with what was changed meanwhile.
    run(&session, "INSERT INTO goes VALUES (1001, 'new'); DELETE FROM goes WHERE id = 1; UPDATE goes SET v = 'away' WHERE id = 2").await;
    write(&profile, "", &[stays, goes]);
    sandbox.ok(&["up"]);
    until(&sandbox, &count("goes"), &["1000".into()]).await;
    let away = "SELECT v FROM goes_silver FINAL WHERE id = 2 AND is_deleted = 0 FORMAT TSVRaw";
    until(&sandbox, away, &["away".into()]).await;
    run(&session, "UPDATE goes SET v = 'streamed' WHERE id = 3").await;
    let streamed = "SELECT v FROM goes_silver FINAL WHERE id = 3 AND is_deleted = 0 FORMAT TSVRaw";
    until(&sandbox, streamed, &["streamed".into()]).await;
}
