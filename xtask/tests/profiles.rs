//! Profiles of one's own: layers, overrides, origins, and the masking of secrets.

#![allow(clippy::panic, reason = "a test fails by a panic")]

mod support;

use support::Xtask;

fn chain() -> Xtask {
    Xtask::new()
        .file(
            "top.yaml",
            "extends: sub/middle.yaml\nkafka: {port: 9300}\npostgres: {schema: []}\n",
        )
        .file(
            "sub/middle.yaml",
            "extends: bottom.yaml\nkafka:\n  port: 9200\n  heap: 300m\n",
        )
        .file(
            "sub/bottom.yaml",
            "extends: clickhouse\nkafka: {port: 9100, heap: 200m, controller_port: 9101}\n",
        )
}

/// `profile show` as lines of value and origin.
#[track_caller]
fn line<'a>(shown: &'a str, key: &str) -> &'a str {
    shown
        .lines()
        .find(|line| line.starts_with(&format!("{key}: ")))
        .unwrap_or_else(|| panic!("no {key} in\n{shown}"))
}

#[track_caller]
fn assert_line(shown: &str, key: &str, value: &str, origin: &str) {
    let line = line(shown, key);
    let (left, right) = line.split_once("  # ").expect("an origin");
    assert_eq!(left.trim_end(), format!("{key}: {value}"));
    assert!(right.ends_with(origin), "{line}");
}

#[test]
fn a_chain_of_profiles_merges_from_its_end() {
    let shown = chain()
        .args("profile show")
        .profile("top.yaml")
        .args("--set kafka.config.num.partitions=3 --set clickhouse.port=8200")
        .prints();
    assert_line(&shown, "kafka.port", "9300", "top.yaml:2:9");
    assert_line(&shown, "kafka.heap", "300m", "sub/middle.yaml:4:3");
    assert_line(
        &shown,
        "kafka.controller_port",
        "9101",
        "sub/bottom.yaml:2:33",
    );
    assert_line(
        &shown,
        "connect.port",
        "8083",
        "profiles/defaults.yaml:42:3",
    );
    assert_line(
        &shown,
        "versions.kafka",
        "4.3.1",
        "profiles/versions.yaml:4:1",
    );
    assert_line(
        &shown,
        "flows.users.keep",
        "latest",
        "profiles/clickhouse.yaml:20:5",
    );
    assert_line(
        &shown,
        "kafka.config.num.partitions",
        "3",
        "--set kafka.config.num.partitions",
    );
    assert_line(&shown, "clickhouse.port", "8200", "--set clickhouse.port");
    // Lists replace, also with nothing.
    assert_line(&shown, "postgres.schema", "[]", "top.yaml:3:12");
    assert!(!shown.contains("extends"), "{shown}");
}

#[test]
fn later_overrides_win() {
    let shown = Xtask::new()
        .args("profile show --set kafka.port=1 --set kafka.port=9500 --platform host")
        .prints();
    assert_line(&shown, "kafka.port", "9500", "--set kafka.port");
    assert_line(&shown, "platform", "host", "--set platform");
}

#[test]
fn texts_stay_as_they_were_written() {
    let shown = Xtask::new()
        .file(
            "own.yaml",
            "kafka: {config: {a: 3.10, b: 0x10, c: True, d: 1e3}}\n",
        )
        .args("profile show")
        .profile("own.yaml")
        .prints();
    for (key, value) in [("a", "3.10"), ("b", "0x10"), ("c", "True"), ("d", "1e3")] {
        assert_line(&shown, &format!("kafka.config.{key}"), value, "");
    }
}

#[test]
fn profiles_are_listed() {
    let text = Xtask::new().args("profile list").prints();
    assert!(text.lines().any(|line| line == "clickhouse"));
    assert!(!text.contains("defaults") && !text.contains("versions"));
    let json = Xtask::new().args("profile list --output json").prints();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let names = json["profiles"].as_array().expect("a list");
    assert_eq!(names.len(), text.lines().count());
}

const SECRET: &str = "
extends: clickhouse
postgres: {password: 'geheim#1'}
mongodb: {password: 1234567, external: 'db.example:27017'}
clickhouse: {password: geheim3}
kafka: {config: {ssl.keystore.password: geheim4, num.io.threads: 5}}
connect: {config: {sasl.jaas.config: 'x password=\"geheim5\";', a.token: '${strimzidir:/x:y}'}}
connectors:
  postgres-connector: {config: {signal.kafka.secret: geheim6, snapshot.mode: never}}
";

#[test]
fn secrets_are_masked_in_everything_that_is_printed() {
    for args in [
        "profile show",
        "profile show --output json",
        "render",
        "render --output json",
        "render --platform kind",
        "render --platform kubernetes --set connect.registry=registry.example/cdc",
        "plan --output json",
        "up --dry-run",
    ] {
        let xtask = Xtask::new()
            .file("own.yaml", SECRET)
            .args(args)
            .profile("own.yaml")
            .arg("--set")
            .arg("connect.config.b.password=geheim7");
        let text = xtask.prints();
        assert!(
            !text.contains("geheim") && !text.contains("1234567"),
            "{args}:\n{text}"
        );
        assert!(!xtask.path("state").exists(), "{args}");
        if args == "profile show" {
            assert_line(&text, "postgres.password", "********", "own.yaml:3:12");
            assert_line(&text, "kafka.config.num.io.threads", "5", "own.yaml:6:50");
            assert_line(&text, "connect.config.a.token", "${strimzidir:/x:y}", "");
        }
        if args == "render" {
            for line in [
                "ssl.keystore.password=********",
                "num.io.threads=5",
                "sasl.jaas.config=********",
                "a.token=${strimzidir:/x:y}",
                "b.password=********",
                "\"signal.kafka.secret\": \"********\"",
                "\"snapshot.mode\": \"never\"",
                "\"database.password\": \"${strimzidir:",
            ] {
                assert!(text.contains(line), "no {line} in\n{text}");
            }
        }
    }
}

#[test]
fn settings_reach_their_files_as_they_are_meant() {
    let text = Xtask::new()
        .file(
            "own.yaml",
            r##"
extends: clickhouse
kafka: {config: {log.message.format: ' a\b=c #d', num.io.threads: 007}}
postgres: {config: {log_line_prefix: '%m [%p]: "#"'}}
"##,
        )
        .args("render")
        .profile("own.yaml")
        .prints();
    assert!(
        text.contains("log.message.format=\\ a\\\\b=c #d\n"),
        "{text}"
    );
    assert!(text.contains("num.io.threads=007\n"), "{text}");
    assert!(
        text.contains("-c log_line_prefix=%m [%p]: \"#\"\n"),
        "{text}"
    );
}

#[test]
fn rendered_files_are_written_where_they_are_wanted() {
    let xtask = Xtask::new().args("render --dir out");
    assert!(xtask.prints().contains("files in out"));
    let sql = std::fs::read_to_string(xtask.path("out/clickhouse/users.sql")).expect("there");
    assert!(sql.contains("CREATE TABLE"), "{sql}");
    assert!(xtask.path("out/kafka/server.properties").is_file());
    assert!(
        xtask
            .path("out/connectors/postgres-connector.json")
            .is_file()
    );
}

#[test]
fn on_clusters_the_objects_are_rendered() {
    let xtask = Xtask::new().args("render --platform kind --dir out");
    assert!(xtask.prints().contains("files in out"));
    for (file, line) in [
        ("kind/cluster.yaml", "kind: Cluster"),
        ("kafka/kafka.yaml", "kind: KafkaNodePool"),
        ("connect/connect.yaml", "kind: KafkaConnector"),
        ("postgres/postgres.yaml", "kind: StatefulSet"),
        ("clickhouse/users.sql", "CREATE TABLE"),
    ] {
        let text = std::fs::read_to_string(xtask.path(&format!("out/{file}"))).expect(file);
        assert!(text.contains(line), "{file}:\n{text}");
    }
    assert!(!xtask.path("out/kafka/server.properties").exists());
    assert!(!xtask.path("state").exists());
    // On a cluster of the user's own, there is none to create.
    let xtask = Xtask::new()
        .args("render --dir out")
        .args("--platform kubernetes --set connect.registry=registry.example/cdc");
    assert!(xtask.prints().contains("files in out"));
    assert!(xtask.path("out/kafka/kafka.yaml").is_file());
    assert!(!xtask.path("out/kind").exists());
}

#[test]
fn a_server_under_terms_runs_only_for_who_accepts_them() {
    let render = |set: &str| {
        let world = Xtask::new().args("render --profile sqlserver --platform kind");
        world.args(set)
    };
    render("").refuses(
        3,
        &[
            "defaults.yaml:",
            "`sqlserver.accept_eula` is not set",
            "Microsoft's terms",
            "set `sqlserver.accept_eula: true`",
        ],
    );
    let shown = render("--set sqlserver.accept_eula=true").prints();
    assert!(shown.contains("name: ACCEPT_EULA"), "{shown}");
    assert!(
        shown.contains("/opt/mssql-tools18/bin/sqlcmd -C"),
        "{shown}"
    );
    // One of the user's own is under terms that he has accepted already.
    let shown = render("--set sqlserver.external=ms.example:1433").prints();
    assert!(!shown.contains("ACCEPT_EULA"), "{shown}");
    assert!(shown.contains("io.debezium.connector.sqlserver.SqlServerConnector"));
}

#[test]
fn a_server_without_a_package_is_refused_on_host_with_what_can_be_done() {
    let world = Xtask::new().args("render --profile sqlserver --platform host");
    world.refuses(
        4,
        &[
            "sqlserver cannot run on this machine",
            "--set sqlserver.external=host:port",
            "--platform kind",
        ],
    );
}

#[test]
fn a_relative_path_is_a_profile_too() {
    for args in ["plan", "render", "profile show"] {
        let xtask = chain().args(args).args("--profile ./top.yaml");
        assert!(!xtask.prints().is_empty());
        assert!(!xtask.path("state").exists());
    }
}
