//! What stands on the command line, and what the machine lacks for it.

use crate::support::Xtask;
use crate::support::refusal::refused_set;

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
            &["--set kafka.port: `kafka.port`: ", "expected u16"],
        ),
        ("kafka.port=70000", &["--set kafka.port: ", "70000"]),
        ("kafka.port=", &["--set kafka.port: "]),
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
                &["components: kafka, connect, postgres, mongodb, mysql, clickhouse"],
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
        .refuses(4, &["Java", "[PREREQUISITE_MISSING]"]);
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
