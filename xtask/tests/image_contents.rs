//! What the product and the tests' stand-in name in Strimzi's images is what the genuine images hold.
//!
//! The lists of names lie in `image-contents`, beside the operators' bundles that `CDC_TEST_CRDS` names; without
//! them these tests are ignored, and counted so.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "support/crds.rs"]
mod crds;
#[path = "support/objects.rs"]
mod objects;

use std::collections::BTreeSet;
use std::path::Path;

use xtask::profile::parts;

/// The scripts directly in `/opt/kafka` of the genuine image.
fn genuine(strimzi: &str) -> BTreeSet<String> {
    let list = crds::bundles().join(format!("image-contents/strimzi-kafka-{strimzi}.txt"));
    let text = std::fs::read_to_string(&list)
        .unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn strimzi(profile: &str) -> String {
    objects::loaded(profile, &[])
        .profile
        .versions
        .of(&parts::STRIMZI)
        .to_owned()
}

fn is_script(name: &str) -> bool {
    name.ends_with(".sh") || name.ends_with(".gawk")
}

/// Names of scripts in Kafka's home, in a text: what follows `/opt/kafka/`, and names in the images' own style.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "._/-".contains(c)))
        .filter(|word| is_script(word))
        .filter_map(|word| match word.rsplit_once("/opt/kafka/") {
            // Kafka's own programs lie in directories below.
            Some((_, below)) => (!below.contains('/')).then_some(below),
            None => {
                let name = word.rsplit('/').next().unwrap_or(word);
                let styles = ["kafka_", "dynamic_", "tls_", "set_kafka_", "cruise_"];
                styles
                    .iter()
                    .any(|style| name.starts_with(style))
                    .then_some(name)
            }
        })
        .map(str::to_owned)
        .collect()
}

fn each_file(dir: &Path, see: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, see);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            see(&path, &text);
        }
    }
}

#[test]
fn names_are_found_as_they_are_written() {
    let text = r#"exec /opt/kafka/kafka_run.sh; "kafka_connect_run.sh" bin/kafka-topics.sh /opt/kafka/bin/kafka-run-class.sh x.sh"#;
    let found: Vec<String> = named(text).into_iter().collect();
    assert_eq!(found, ["kafka_connect_run.sh", "kafka_run.sh"]);
}

#[test]
#[ignore = "needs CDC_TEST_CRDS"]
fn the_product_names_only_what_each_genuine_image_holds() {
    let mut names = BTreeSet::new();
    for folder in ["xtask/src", "xtask/crates", "manifests", "images"] {
        each_file(&objects::repository().join(folder), &mut |_, text| {
            names.extend(named(text))
        });
    }
    assert!(names.contains("kafka_connect_run.sh"), "{names:?}");
    for profile in ["clickhouse", "clickhouse-production", "clickhouse-manual"] {
        let version = strimzi(profile);
        let held = genuine(&version);
        let others: Vec<_> = names.difference(&held).collect();
        assert!(
            others.is_empty(),
            "the image of {version} does not hold {others:?}"
        );
    }
}

#[test]
#[ignore = "needs CDC_TEST_CRDS"]
fn the_stand_in_image_holds_the_genuine_names_and_no_others() {
    let files = objects::repository().join("xtask/tests/kind/images/kafka/files");
    let there: BTreeSet<String> = std::fs::read_dir(files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| is_script(name))
        .collect();
    assert_eq!(there, genuine(&strimzi("clickhouse")));
}
