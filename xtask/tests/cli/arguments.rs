//! What stands on the command line, and what the machine lacks for it.

use crate::support::Xtask;
use crate::support::refusal::refused_set;

#[test]
fn what_is_next_means_the_same_environment_and_says_no_password() {
    let xtask = Xtask::new().file("my shop/orders.yaml", "extends: clickhouse\n");
    let path = xtask.shown("my shop/orders.yaml");
    let ran = xtask
        .args("status --platform host --set kafka.port=9192")
        .arg("--set")
        .arg("postgres.password=hunter2")
        .arg("--set")
        .arg("connectors.postgres-connector.config={database.password: hunter2}")
        .profile("my shop/orders.yaml")
        .refuses(4, &[]);
    let next = format!(
        "next: cargo xtask up --profile '{path}' --platform host --set kafka.port=9192 \
         --set postgres.password=@-\n"
    );
    assert!(ran.stderr.ends_with(&next), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter2"));
}

#[test]
fn numbers_name_their_range() {
    for (args, says) in [
        ("logs kafka --tail x", "a number from 0 to"),
        ("verify --latency -1", "a number from 1 to 4294967295"),
        ("topic tail a --max 0", "a number from 1 to"),
        (
            "topic tail a --partition -1",
            "a number from 0 to 2147483647",
        ),
        (
            "topic create a --partitions x",
            "a number from 1 to 2147483647",
        ),
        (
            "topic create a --replicas 99999",
            "a number from 1 to 32767",
        ),
        ("heal --max-restarts -1", "a number from 0 to 4294967295"),
        (
            "connector restart a --task x",
            "a number from 0 to 4294967295",
        ),
        ("dlq show --max 0", "a number from 1 to 4294967295"),
        ("dlq redrive --rounds 1.5", "a number from 1 to 4294967295"),
    ] {
        let given = args.rsplit(' ').next().expect("a number");
        let given = format!("invalid value '{given}' for");
        Xtask::new().args(args).refuses(3, &[says, &given]);
    }
}

#[test]
fn overrides() {
    for (set, parts) in [
        (
            "kafka.port",
            &[
                "`--set kafka.port` has no `=` [USAGE]",
                "--set kafka.port=9192",
            ][..],
        ),
        (
            "=1",
            &["\"\" is not a path of keys", "--set kafka.port=9192"],
        ),
        ("kafka..port=1", &["\"kafka..port\" is not a path of keys"]),
        ("kafka.=1", &["is not a path of keys"]),
        (
            "kafka.prot=1",
            &[
                "--set kafka.prot: unknown key `prot` in `kafka`",
                "did you mean `port`?",
            ],
        ),
        (
            "kafak.port=1",
            &[
                "--set kafak.port: unknown key `kafak`",
                "did you mean `kafka`?",
            ],
        ),
        (
            "kafka.port=many",
            &["--set kafka.port: `kafka.port`: expected a number from 1 to 65535, found `many`"],
        ),
        (
            "kafka.port=70000",
            &["a number from 1 to 65535, found 70000"],
        ),
        ("kafka.port=", &["a number from 1 to 65535, found nothing"]),
        ("kafka.port=1.5", &["a number from 1 to 65535, found 1.5"]),
        ("kafka.port=0", &["a number from 1 to 65535, found 0"]),
        ("kind.web_port=0", &["a number from 1 to 65535, found 0"]),
        (
            "kafka.replicas=two",
            &["a number from 1 to 100, found `two`"],
        ),
        (
            "clickhouse.keepers=x",
            &["expected 0, 1, 3 or 5, found `x`"],
        ),
        (
            "kind.node_ports.kafka=x",
            &["from 30000 to 32767, found `x`"],
        ),
        (
            "kafka=5",
            &["--set kafka: `kafka`: expected a map, found an integer"],
        ),
        (
            "kafka.port.x=5",
            &["--set kafka.port.x: `kafka.port`: ", "map"],
        ),
        ("kafka=[1", &["--set kafka: this is not YAML"]),
        (
            "kafka.heap=lots",
            &[
                "--set kafka.heap: `kafka.heap`: \"lots\" does not fit",
                "256m",
            ],
        ),
        (
            "flows.orders.kepe=every",
            &[
                "unknown key `kepe` in `flows.orders`",
                "did you mean `keep`?",
            ],
        ),
        (
            "extends=clickhouse",
            &["--set extends: unknown key `extends`"],
        ),
    ] {
        refused_set(set, parts);
    }
}

#[test]
fn a_secret_is_in_no_error() {
    for set in [
        "postgres..password=geheim",
        "postgres.password:geheim",
        "postgres.passwrd=geheim",
        "postgres.password.x=geheim",
        "postgres.password=[geheim",
        "postgres.password=[geheim]",
        "postgres.password=geheim\u{7}",
        "mongodb.password=geheim\u{7}",
        "mongodb.connector_password=geheim\u{7}",
        "kafka.config.ssl.key.password=geheim\u{7}",
    ] {
        for output in ["text", "json"] {
            let xtask = Xtask::new()
                .args("plan --output")
                .arg(output)
                .arg("--set")
                .arg(set);
            let ran = xtask.run();
            assert_eq!(ran.code, 3, "{set}: {}{}", ran.stdout, ran.stderr);
            assert!(
                !ran.stdout.contains("geheim") && !ran.stderr.contains("geheim"),
                "{set}"
            );
        }
    }
}

#[test]
fn usage_is_exit_code_3_and_help_is_0() {
    for args in [
        "nope",
        "up --nope",
        "up --ports nope",
        "logs",
        "",
        "--output yaml plan",
        "plan --format x",
    ] {
        Xtask::new().args(args).refuses(3, &["--help"]);
    }
    for args in [
        "--help",
        "--version",
        "help up",
        "up --help",
        "profile show --help",
    ] {
        assert!(!Xtask::new().args(args).prints().is_empty(), "{args}");
    }
}

#[test]
fn components_and_platforms_that_are_not_there() {
    for dry in ["", " --dry-run"] {
        Xtask::new()
            .args(&format!("up --require clickhose{dry}"))
            .refuses(
                3,
                &[
                    "there is no component `clickhose` [USAGE]",
                    "did you mean `clickhouse`?",
                ],
            );
        Xtask::new()
            .args(&format!("up --require zookeeper{dry}"))
            .refuses(
                3,
                &["components: kafka, connect, postgres, mongodb, mysql, sqlserver, clickhouse"],
            );
        Xtask::new()
            .args(&format!("up --require mongodb{dry}"))
            .refuses(
                4,
                &["mongodb is required", "`mongod`", "[PREREQUISITE_MISSING]"],
            );
    }
    Xtask::new()
        .args("up --platform kind")
        .refuses(4, &["[PREREQUISITE_MISSING]", "no Docker engine answers"]);
    Xtask::new()
        .args("up --platform kubernetes --set connect.registry=localhost/x")
        .refuses(4, &["[PLATFORM]", "--context NAME"]);
    for command in ["plan", "up --context x"] {
        Xtask::new()
            .args(&format!("{command} --platform kubernetes"))
            .refuses(
                3,
                &["[PROFILE_INVALID]", "set `connect.registry: registry/path`"],
            );
    }
}

#[test]
fn java_that_is_not_there_stops_up_before_it_begins() {
    let xtask = Xtask::new();
    std::fs::remove_file(xtask.path("bin/java")).expect("removed");
    xtask
        .args("up")
        .refuses(4, &["java", "[PREREQUISITE_MISSING]"]);
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let ran = Xtask::new()
        .file("own.yaml", "kafka: {prot: 1}\n")
        .args("up --output json")
        .profile("own.yaml")
        .run();
    assert_eq!(ran.code, 3);
    assert_eq!(ran.stderr, "");
    let error: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(error["error"]["code"], "PROFILE_INVALID");
    assert_eq!(error["error"]["hint"], "did you mean `port`?");
    assert!(
        error["error"]["at"]
            .as_str()
            .expect("a place")
            .ends_with("own.yaml:1:9")
    );
}
