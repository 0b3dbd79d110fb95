//! `versions`: what is pinned, and what is known about it.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::Xtask;

fn listed(args: &str) -> Value {
    let ran = Xtask::new().args("versions --output json").args(args).run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).expect("one document")
}

fn pin<'a>(listed: &'a Value, key: &str) -> &'a Value {
    let pins = listed["pins"].as_array().expect("a list");
    let found = pins.iter().find(|pin| pin["pin"] == key);
    found.expect(key)
}

#[test]
fn the_list_for_people() {
    let ran = Xtask::new().args("versions").run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!("versions", ran.stdout);
}

#[test]
fn every_pin_of_the_file_is_there_once() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles/versions.yaml");
    let text = std::fs::read_to_string(path).expect("the pins");
    let file: serde_yaml::Mapping = serde_yaml::from_str(&text).expect("YAML");
    let listed = listed("");
    for (key, value) in file {
        let key = key.as_str().expect("a name");
        if key != "plugins" {
            assert_eq!(
                pin(&listed, key)["version"].as_str(),
                value.as_str(),
                "{key}"
            );
        }
    }
    let origin = pin(&listed, "kafka")["origin"].as_str().expect("a place");
    assert!(origin.starts_with("profiles/versions.yaml:"), "{origin}");
}

/// What this repository offers by itself is not known to be vulnerable, on any platform.
#[test]
fn the_defaults_are_clean() {
    let ran = Xtask::new().args("versions --check").run();
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("no pin in use has a known advisory"),
        "{}",
        ran.stdout
    );
    // A profile's own old pins are named, and are no fault of the defaults.
    assert!(
        ran.stdout
            .contains("kept by its own profile: clickhouse-manual: kafka 4.0.0")
    );
    for profile in ["clickhouse", "clickhouse-production"] {
        let listed = listed(&format!("--profile {profile}"));
        assert_eq!(listed["vulnerable"], Value::Array(Vec::new()), "{profile}");
    }
}

#[test]
fn a_vulnerable_profile_ends_the_check_with_2() {
    let ran = Xtask::new()
        .args("versions --check --profile clickhouse-manual")
        .run();
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    for part in [
        "vulnerable: kafka 4.0.0 (profiles/clickhouse-manual.yaml:",
        "CVE-2026-35554",
        "vulnerable: strimzi 0.50.0 (",
        "CVE-2026-27133, CVE-2026-27134, CVE-2026-55225, CVE-2026-55226",
        "vulnerable: plugins.postgres 2.7.0.Final (",
        "vulnerable: postgres 16.10.0 (",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.stdout);
    }
    // Without `--check` it is a list, not a verdict.
    let ran = Xtask::new()
        .args("versions --profile clickhouse-manual")
        .run();
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.contains("  VULNERABLE  CVE-2026-35554: "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("fixed in 4.0.2"), "{}", ran.stdout);
}

#[test]
fn what_is_not_used_is_no_finding() {
    let jdbc = "--set connect.plugins=[jdbc]";
    let ran = Xtask::new().args("versions --check").args(jdbc).run();
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("plugins.jdbc 3.5.0.Final"),
        "{}",
        ran.stdout
    );
    let listed = listed("");
    let jdbc = pin(&listed, "plugins.jdbc");
    assert_eq!(jdbc["used"], false);
    assert!(!jdbc["advisories"].as_array().expect("a list").is_empty());
}

#[test]
fn a_plugin_may_have_a_version_of_its_own() {
    let listed = listed("--set versions.plugins.mongodb=3.6.1.Final");
    assert_eq!(pin(&listed, "plugins.mongodb")["version"], "3.6.1.Final");
    assert_eq!(pin(&listed, "plugins.postgres")["version"], "3.7.0.Final");
    // Debezium's version is that of every plugin that is not set after it.
    let all = self::listed("--set versions.debezium=3.4.0.Final");
    for key in [
        "debezium",
        "plugins.postgres",
        "plugins.mongodb",
        "plugins.jdbc",
    ] {
        assert_eq!(pin(&all, key)["version"], "3.4.0.Final", "{key}");
        assert_eq!(pin(&all, key)["origin"], "--set versions.debezium", "{key}");
    }
    let own = "extends: clickhouse\nversions:\n  plugins: {postgres: a b}\n";
    Xtask::new()
        .file("own.yaml", own)
        .args("versions")
        .profile("own.yaml")
        .refuses(3, &["own.yaml:3:13: ", "`versions.plugins.postgres`"]);
    let own = "extends: clickhouse\nversions:\n  plugins: {postgers: 3.7.0.Final}\n";
    Xtask::new()
        .file("own.yaml", own)
        .args("versions")
        .profile("own.yaml")
        .refuses(
            3,
            &[
                "own.yaml:3:13: ",
                "unknown key `postgers`",
                "did you mean `postgres`?",
            ],
        );
}

/// Before anything is made, in one line.
#[test]
fn up_says_what_is_known_to_be_vulnerable() {
    let up = |set: &str| {
        let args = "up --platform host --dry-run";
        let ran = Xtask::new().args(args).args(set).run();
        let said = ran
            .stderr
            .lines()
            .filter(|line| line.contains("vulnerable"));
        said.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(up(""), Vec::<String>::new());
    assert_eq!(
        up("--set versions.kafka=4.0.0 --set versions.debezium=3.5.0.Final"),
        [
            "known to be vulnerable: Debezium's `postgres` plugin 3.5.0.Final (CVE-2026-42198, \
             CVE-2026-54291), Kafka 4.0.0 (CVE-2026-35554); next: cargo xtask versions \
             --platform host --set versions.kafka=4.0.0 --set versions.debezium=3.5.0.Final"
        ]
    );
}

#[test]
fn the_advisories_are_no_profile() {
    let ran = Xtask::new().args("versions --profile advisories").run();
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(
        ran.stderr.contains("no profile `advisories`"),
        "{}",
        ran.stderr
    );
}
