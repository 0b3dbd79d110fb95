//! What a machine has of several profiles, without anything running.

use crate::support::Xtask;

/// What `up` remembers of an environment.
fn made_by(profile: &str) -> String {
    serde_json::json!({ "profile": profile, "set": [], "platform": "host" }).to_string()
}

/// Two profiles of one file name, of which the first has an environment.
fn two() -> Xtask {
    let xtask = Xtask::new()
        .file("a/shop.yaml", "extends: clickhouse\n")
        .file("b/shop.yaml", "extends: clickhouse\n");
    let first = made_by(&xtask.shown("a/shop.yaml"));
    xtask
        .file("state/cdc-xtask/shop/selection.json", &first)
        .file(
            "state/cdc-xtask/shop/config/kafka/x",
            "kafka-1-0123456789ab/libs",
        )
}

#[test]
fn two_profiles_of_one_file_name_share_no_environment() {
    let first = two().args("down --dry-run").profile("a/shop.yaml").run();
    assert_eq!(
        first.stdout,
        "shop: would stop nothing and remove all data\n"
    );

    let xtask = two().args("down --yes").profile("b/shop.yaml");
    let second = xtask.run();
    assert_eq!(second.code, 0, "{}", second.stderr);
    assert!(second.stdout.starts_with("shop-"), "{}", second.stdout);
    assert!(second.stdout.ends_with(": nothing is up\n"));
    let kept = xtask.path("state/cdc-xtask/shop/selection.json");
    assert!(kept.is_file(), "another profile's environment was removed");

    let xtask = two().args("status").profile("b/shop.yaml");
    let ran = xtask.run();
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let other = format!("belongs to {}", xtask.shown("a/shop.yaml"));
    assert!(ran.stderr.contains(&other), "{}", ran.stderr);
}

#[test]
fn environments_are_listed_with_what_they_cost() {
    let none = Xtask::new().args("env list").prints();
    assert_eq!(none, "no environment on this machine\n");
    let xtask = two();
    let profile = xtask.shown("a/shop.yaml");
    let listed = xtask.args("env list --output json").prints();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let shop = &listed["environments"][0];
    assert_eq!(shop["name"], "shop");
    assert_eq!(shop["profile"], profile);
    assert_eq!(shop["running"], false);
    assert!(shop["disk"].as_u64() > Some(0), "{shop}");
    let text = two().args("env list").prints();
    assert!(
        text.contains("ENVIRONMENT") && text.contains("shop"),
        "{text}"
    );
}

#[test]
fn the_cache_loses_what_no_environment_uses() {
    let cached = || {
        two()
            .file("cache/cdc-xtask/kafka-1-0123456789ab/libs/a.jar", "a")
            .file("cache/cdc-xtask/kafka-2-ba9876543210/libs/a.jar", "a")
            .file("cache/cdc-xtask/notes", "kept")
    };
    let dry = cached().args("cache clean --dry-run").prints();
    assert!(
        dry.contains("would remove") && dry.contains("kafka-2"),
        "{dry}"
    );

    let xtask = cached().args("cache clean");
    let asked = xtask.run();
    assert_eq!(asked.code, 3);
    assert!(asked.stderr.contains("next: cargo xtask cache clean --yes"));
    assert!(asked.stderr.contains("kafka-2") && !asked.stderr.contains("kafka-1"));
    assert!(xtask.path("cache/cdc-xtask/kafka-2-ba9876543210").exists());

    let xtask = cached().args("cache clean --yes");
    let did = xtask.prints();
    assert!(did.starts_with("removed "), "{did}");
    let left = |name: &str| xtask.path("cache/cdc-xtask").join(name).exists();
    assert!(left("kafka-1-0123456789ab") && left("notes"));
    assert!(!left("kafka-2-ba9876543210"));
}
