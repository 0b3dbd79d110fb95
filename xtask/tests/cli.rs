//! The command line's contract: bad input is refused with exit code 3, the place, the nearest name,
//! and nothing started.

mod support;

use support::Xtask;
use support::refusal::{GOOD, refused, refused_line, refused_set};

#[test]
fn the_good_profile_is_good() {
    let xtask = Xtask::new()
        .file("own.yaml", GOOD)
        .args("plan")
        .profile("own.yaml");
    assert!(xtask.prints().contains("orders/canary"));
    assert!(!xtask.path("state").exists());
}

#[test]
fn unknown_keys_name_the_nearest() {
    for (text, parts) in [
        (
            "zookeeper: {port: 2181}\n",
            &[
                "own.yaml:1:1: unknown key `zookeeper`",
                "known here: `platform`",
            ][..],
        ),
        (
            "# c\nkafak: {port: 1}\n",
            &["own.yaml:2:1: unknown key `kafak`", "did you mean `kafka`?"],
        ),
        (
            "kafka:\n  prot: 9192\n",
            &[
                "own.yaml:2:3: unknown key `prot` in `kafka` [PROFILE_INVALID]",
                "did you mean `port`?",
            ],
        ),
        (
            "postgres: {port: 1, databse: x}\n",
            &[
                "own.yaml:1:21: unknown key `databse`",
                "did you mean `database`?",
            ],
        ),
        (
            "versions: {kafak: 4.0.0}\n",
            &[
                "own.yaml:1:12: unknown key `kafak` in `versions`",
                "did you mean `kafka`?",
            ],
        ),
    ] {
        refused(text, parts);
    }
}

#[test]
fn unknown_keys_in_flows_and_connectors() {
    refused(
        &GOOD.replacen("    slot: app_slot", "    slto: app_slot", 1),
        &[
            "own.yaml:5:5: unknown key `slto` in `connectors.pg`",
            "did you mean `slot`?",
        ],
    );
    refused(
        &GOOD.replacen("    keep: latest", "    kepe: latest", 1),
        &[
            "own.yaml:16:5: unknown key `kepe` in `flows.orders`",
            "did you mean `keep`?",
        ],
    );
}

#[test]
fn wrong_types_are_placed() {
    for (text, parts) in [
        (
            "kafka: {port: many}\n",
            &["own.yaml:1:9: `kafka.port`: ", "expected u16"][..],
        ),
        (
            "kafka: {port: 70000}\n",
            &["own.yaml:1:9: `kafka.port`: ", "70000"],
        ),
        (
            "kafka: {port: -1}\n",
            &["own.yaml:1:9: `kafka.port`: ", "-1"],
        ),
        (
            "kafka: {port: 0x2391}\n",
            &["own.yaml:1:9: ", "write `0x2391` as `9105`"],
        ),
        (
            "kafka: {port: 0}\n",
            &["own.yaml:1:9: ", "port 0 is no port"],
        ),
        (
            "kafka: {port: {a: 1}}\n",
            &["own.yaml:1:9: `kafka.port`: ", "map"],
        ),
        (
            "kafka: {heap: {a: 1}}\n",
            &["own.yaml:1:9: `kafka.heap`: expected a string, found a map"],
        ),
        (
            "kafka: 5\n",
            &["own.yaml:1:1: `kafka`: expected a map, found an integer"],
        ),
        (
            "kafka:\n",
            &["own.yaml:1:1: `kafka`: expected a map, found nothing"],
        ),
        (
            "kafka: {config: [a]}\n",
            &["own.yaml:1:9: `kafka.config`: expected a map, found a list"],
        ),
        (
            "postgres: {schema: users.sql}\n",
            &["own.yaml:1:12: `postgres.schema`: expected a list, found a text"],
        ),
        (
            "flows: [a]\n",
            &["own.yaml:1:1: `flows`: expected a map, found a list"],
        ),
        (
            "platform: knid\n",
            &[
                "own.yaml:1:1: `platform`: `knid` is not a value",
                "did you mean `kind`?",
            ],
        ),
    ] {
        refused(text, parts);
    }
    refused_line(
        "    keep: every",
        "    keep: evry",
        5,
        &["did you mean `every`?"],
    );
    refused_line(
        "    source: mongodb",
        "    source: mongo",
        5,
        &["did you mean `mongodb`?"],
    );
    refused_line(
        "    key: [_id]",
        "    key: _id",
        5,
        &["expected a list, found a text"],
    );
}

#[test]
fn missing_keys_are_placed_at_their_map() {
    refused(
        &GOOD.replacen("    group: ch_orders\n", "", 1),
        &["own.yaml:13:3: `flows.orders`: missing field `group`"],
    );
}

#[test]
fn malformed_yaml_is_placed() {
    for (text, parts) in [
        ("kafka: [1, 2\n", &["own.yaml:2:1: this is not YAML"][..]),
        ("kafka:\n\tport: 1\n", &["own.yaml:2:", "this is not YAML"]),
        ("a: 'x\n", &["own.yaml:", "this is not YAML"]),
        (
            "kafka:\n  port: 1\n  port: 2\n",
            &[
                "own.yaml:3:3: `port` stands here twice, first at ",
                "own.yaml:2:3",
            ],
        ),
        (
            "kafka: &k {port: 1}\nconnect: *k\n",
            &["own.yaml:2:10: aliases are not supported"],
        ),
        (
            "kafka: !!map {port: 1}\n",
            &["own.yaml:1:", "tags are not supported"],
        ),
        (
            "kafka: {port: 1}\n---\nkafka: {}\n",
            &["one document per file"],
        ),
        (
            "- kafka\n",
            &["own.yaml:1:1: a profile is a map, not a list"],
        ),
        ("kafka\n", &["own.yaml:1:1: a profile is a map, not a text"]),
        ("[a]: 1\n", &["a key must be a text, not a list"]),
    ] {
        refused(text, parts);
    }
    let xtask = Xtask::new();
    std::fs::write(xtask.path("own.yaml"), [0x66, 0xff, 0xfe, 0x00]).expect("written");
    xtask
        .args("up")
        .profile("own.yaml")
        .refuses(3, &["own.yaml", "UTF-8"]);
}

#[test]
fn a_profile_that_is_not_there() {
    Xtask::new().args("up --profile clickhose").refuses(
        3,
        &[
            "no profile `clickhose` [PROFILE_NOT_FOUND]",
            "did you mean `clickhouse`?",
        ],
    );
    Xtask::new().args("up --profile nothing-like-it").refuses(
        3,
        &[
            "no profile `nothing-like-it`",
            "profiles here: ",
            "clickhouse",
        ],
    );
    Xtask::new().args("up --profile nowhere/own.yaml").refuses(
        3,
        &[
            "no profile `nowhere/own.yaml`",
            "there is no file nowhere/own.yaml",
        ],
    );
    Xtask::new()
        .file("a/own.yaml", "")
        .args("up --profile a/onw.yaml")
        .refuses(3, &["did you mean `a/own.yaml`?"]);
    // Layers are no profiles, and a directory is no file.
    Xtask::new()
        .args("up --profile defaults")
        .refuses(3, &["no profile `defaults`"]);
    Xtask::new()
        .file("a.yaml/x", "")
        .args("up --profile ./a.yaml")
        .refuses(3, &["no profile `./a.yaml`"]);
}

/// A profile's name names its environment's directory, which `down` removes.
#[test]
fn a_profile_that_names_another_directory() {
    for file in [
        "..yaml",
        "...yaml",
        "a b.yaml",
        ".x.yaml",
        "-x.yaml",
        "a\nb.yaml",
    ] {
        for command in ["up", "down", "status", "plan"] {
            let xtask = Xtask::new().file(&format!("p/{file}"), "").args(command);
            let path = xtask.shown(&format!("p/{file}"));
            xtask
                .arg(format!("--profile={path}"))
                .refuses(3, &["a profile cannot be called", "rename the file"]);
        }
    }
}

#[test]
fn extends_that_leads_nowhere() {
    refused(
        "# c\nextends: base.yaml\n",
        &[
            "own.yaml:2:1: no profile `",
            "base.yaml` [PROFILE_NOT_FOUND]",
            "there is no file",
        ],
    );
    refused(
        "extends: clickhose\n",
        &[
            "own.yaml:1:1: no profile `clickhose`",
            "did you mean `clickhouse`?",
        ],
    );
    refused(
        "extends: [a]\n",
        &["own.yaml:1:1: `extends` names a profile, found a list"],
    );
    refused(
        "extends: ~\n",
        &["own.yaml:1:1: `extends` names a profile, found nothing"],
    );
    refused(
        "extends: {a: b}\n",
        &["`extends` names a profile, found a map"],
    );
    Xtask::new()
        .file("own.yaml", "extends: sub/base.yaml\n")
        .file("sub/base.yaml", "\nkafka: {prot: 1}\n")
        .args("up")
        .profile("own.yaml")
        .refuses(3, &["sub/base.yaml:2:9: unknown key `prot` in `kafka`"]);
}

#[test]
fn extends_that_goes_round() {
    refused(
        "extends: own.yaml\n",
        &["own.yaml:1:1: `extends` goes round in a circle: own -> own"],
    );
    Xtask::new()
        .file("a.yaml", "extends: b.yaml\n")
        .file("b.yaml", "\n\nextends: ./a.yaml\n")
        .args("up")
        .profile("a.yaml")
        .refuses(
            3,
            &["b.yaml:3:1: `extends` goes round in a circle: a -> b -> a"],
        );
    Xtask::new()
        .file("a.yaml", "extends: x/b.yaml\n")
        .file("x/b.yaml", "extends: ../c.yaml\n")
        .file("c.yaml", "extends: a.yaml\n")
        .args("up")
        .profile("a.yaml")
        .refuses(
            3,
            &["c.yaml:1:1: `extends` goes round in a circle: a -> b -> c -> a"],
        );
}

#[test]
fn two_components_on_one_port() {
    // The place is that of the key that was written, whichever component comes first.
    refused(
        "postgres: {port: 9092}\n",
        &[
            "own.yaml:1:12: port 9092 is wanted twice: by `kafka.port` and `postgres.port`",
            "--set postgres.port=9094",
        ],
    );
    refused(
        "kafka: {port: 8083}\n",
        &["own.yaml:1:9: port 8083 is wanted twice: by `connect.port` and `kafka.port`"],
    );
    refused(
        "kafka:\n  port: 7000\nclickhouse:\n  port: 7000\n",
        &["own.yaml:4:3: port 7000 is wanted twice: by `kafka.port` and `clickhouse.port`"],
    );
    refused(
        "clickhouse:\n  port: 7000\nkafka:\n  port: 7000\n",
        &["own.yaml:4:3: port 7000 is wanted twice: by `clickhouse.port` and `kafka.port`"],
    );
    refused_set(
        "kafka.port=8123",
        &["--set kafka.port: port 8123 is wanted twice: by `clickhouse.port` and `kafka.port`"],
    );
    refused(
        "connect: {port: 65535}\npostgres: {port: 65535}\n",
        &["--set postgres.port=1024"],
    );
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
        "mongodb.password=geheim&x",
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
                &["components: kafka, connect, postgres, mongodb, clickhouse"],
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
