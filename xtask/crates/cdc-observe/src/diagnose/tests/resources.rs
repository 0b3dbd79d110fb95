//! What the operator says of a connector's resource, as it was recorded.

use std::path::PathBuf;

use kube::core::DynamicObject;
use serde_json::Value;

use super::healthy::healthy;
use super::judge;
use crate::diagnose::facts::resources::one;
use crate::diagnose::facts::{Facts, Known, Resource};
use crate::diagnose::{Finding, Severity, Subject};
use crate::readiness::Status;

fn recorded(file: &str) -> DynamicObject {
    let data = std::env::var_os("CDC_TEST_CAPTURES").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../../shared/data"
            ))
        },
        PathBuf::from,
    );
    let path = data.join("captures").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let list: Value = serde_yaml::from_str(&text).expect("YAML");
    let items = list["items"].as_array().expect("a list").iter();
    let wanted = |it: &&Value| {
        it["kind"] == "KafkaConnector" && it["metadata"]["name"] == "postgres-connector"
    };
    let found = items.clone().find(wanted).expect("the connector");
    serde_json::from_value(found.clone()).expect("an object")
}

fn with(resource: Resource) -> Facts {
    let mut facts = healthy();
    facts.connectors[0].refused = resource.refused.clone();
    facts.resources = Some(Known::Seen(vec![resource]));
    facts
}

fn only(facts: &Facts) -> Finding {
    let mut findings = judge(facts).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

fn subject() -> Subject {
    Subject::Connector("pg-connector".into())
}

#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn a_configuration_that_is_refused_is_told_although_the_one_before_goes_on() {
    for (file, code, says) in [
        (
            "strimzi-1.2.0/05-connector-config-refused-plugin.yaml",
            "CONFIG_REFUSED",
            "Value must be one of decoderbufs, pgoutput",
        ),
        (
            "strimzi-1.2.0/05-connector-config-refused-login.yaml",
            "LOGIN_REFUSED",
            "password authentication failed",
        ),
        (
            "strimzi-0.50.1/12-connector-wrong-password-update.yaml",
            "LOGIN_REFUSED",
            "password authentication failed",
        ),
    ] {
        let resource = one(subject(), "KafkaConnector", recorded(file), 0);
        let finding = only(&with(resource));
        assert_eq!(
            (finding.code, &finding.subject),
            (code, &subject()),
            "{file}"
        );
        assert_eq!(finding.severity, Severity::Degraded, "{file}");
        let told = format!("{} {}", finding.cause, finding.evidence.join(" "));
        assert!(told.contains(says), "{file}: {told}");
    }
}

#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn a_change_that_stays_untaken_is_told_and_one_of_this_moment_is_not() {
    let file = "strimzi-1.2.0/04-connector-change-not-yet-seen.yaml";
    let object = recorded(file);
    let made = object.metadata.creation_timestamp.clone().expect("a time");
    let made = made.0.as_second();
    let at = |now| with(one(subject(), "KafkaConnector", object.clone(), now));
    assert_eq!(judge(&at(made + 10)).findings, []);
    let finding = only(&at(made + 120));
    assert_eq!(finding.code, "CHANGE_UNTAKEN");
    assert!(finding.cause.contains("120 s ago"), "{}", finding.cause);
    // What is taken up is no trouble, however long ago it was.
    let calm = one(
        subject(),
        "KafkaConnector",
        recorded("strimzi-1.2.0/01-ready.yaml"),
        made + 9_000,
    );
    assert_eq!(judge(&with(calm)).findings, []);
}

#[test]
fn what_nothing_runs_over_any_more_is_broken() {
    let mut facts = with(Resource {
        subject: subject(),
        object: "KafkaConnector pg-connector".into(),
        refused: Some(Status::failed(
            "Connect rejects its configuration: The 'plugin.name' value is invalid",
        )),
        untaken_s: None,
    });
    facts.connectors[0].refused = Some(Status::failed("PUT x returned 400 (400): it is wrong"));
    facts.connectors[0].state = None;
    facts.connectors[0].tasks.clear();
    let finding = only(&facts);
    assert_eq!(finding.code, "CONFIG_REFUSED");
    assert_eq!(finding.severity, Severity::Broken);
}
