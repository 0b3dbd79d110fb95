//! What stands in a profile: keys, types, YAML itself, ports.

use crate::support::Xtask;
use crate::support::refusal::{GOOD, refused, refused_line, refused_set};

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
            &[
                "own.yaml:1:9: `kafka.port`: ",
                "expected a number from 1 to 65535, found `many`",
            ][..],
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
            &[
                "own.yaml:1:9: ",
                "expected a number from 1 to 65535, found 0",
            ],
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
