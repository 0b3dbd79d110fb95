//! Judged on objects that genuine operators had written to (`captures/managed-fields`).

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Proof, holds, proof};
use crate::kubernetes::desired::Desired;
use crate::kubernetes::object::Partial;
use crate::kubernetes::{APPLIED, ObjectRef};

/// The recorded objects: `CDC_TEST_CAPTURES`, or beside the repository.
fn recorded(stage: &str) -> Vec<Value> {
    let data = std::env::var_os("CDC_TEST_CAPTURES").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../../shared/data"
            ))
        },
        PathBuf::from,
    );
    let path = data.join(format!("captures/managed-fields/strimzi-{stage}.yaml"));
    let text = std::fs::read_to_string(path).expect("read");
    let list: Value = serde_yaml::from_str(&text).expect("YAML");
    list["items"].as_array().expect("a list").clone()
}

fn metadata(live: &Value) -> Partial {
    serde_json::from_value(live.clone()).expect("an object")
}

/// The part of a value that a set of fields names: what an apply set.
fn part(node: &Value, value: &Value) -> Value {
    let fields = node.as_object().expect("a set");
    if fields.is_empty() {
        return value.clone();
    }
    let mut part = Map::new();
    for (name, node) in fields {
        if let Some(key) = name.strip_prefix("f:") {
            part.insert(key.to_owned(), self::part(node, &value[key]));
        }
    }
    Value::Object(part)
}

/// What this tool applied to an object of which it owns every field.
fn applied(live: &Value) -> Desired {
    let metadata = metadata(live).metadata;
    let entry = metadata.applied().expect("applied");
    let mut body = part(&entry.fields_v1, live);
    for key in ["apiVersion", "kind"] {
        body[key] = live[key].clone();
    }
    body["metadata"]["name"] = live["metadata"]["name"].clone();
    let text = |key: &str| live[key].as_str().expect("a text").to_owned();
    Desired {
        object: ObjectRef {
            api_version: text("apiVersion"),
            kind: text("kind"),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        },
        body,
        digest: metadata.annotations[APPLIED].clone(),
    }
}

#[test]
#[ignore = "needs the captures: CDC_TEST_CAPTURES, or ../shared/data"]
fn fields_that_an_operator_s_older_version_took_away_are_no_change() {
    let whole: Vec<Desired> = recorded("0.50.1-after-second-up")
        .iter()
        .map(applied)
        .collect();
    let mut lost = Vec::new();
    for live in recorded("0.50.1-after-up") {
        let name = &live["metadata"]["name"];
        let wanted = whole.iter().find(|it| *name == it.object.name.as_str());
        let wanted = wanted.expect("there later");
        match proof(wanted, &metadata(&live).metadata) {
            Proof::Unchanged => {}
            Proof::FieldsLost => lost.push(wanted.object.kind.clone()),
            Proof::Changed => panic!("{}: another digest", wanted.object),
        }
        assert!(holds(wanted, &live), "{}", wanted.object);
    }
    assert_eq!(lost, ["Kafka", "KafkaConnect"]);
}

#[test]
#[ignore = "needs the captures: CDC_TEST_CAPTURES, or ../shared/data"]
fn what_somebody_changed_among_the_lost_fields_is_a_change() {
    let whole: Vec<Desired> = recorded("0.50.1-after-second-up")
        .iter()
        .map(applied)
        .collect();
    let live = recorded("0.50.1-after-up");
    let cases = [
        (0, "/spec/kafka/listeners/0/port", Value::from(9192)),
        (
            0,
            "/spec/kafka/listeners/1/configuration/brokers/0/nodePort",
            Value::from(30011),
        ),
        (
            0,
            "/spec/kafka/readinessProbe/timeoutSeconds",
            Value::from(6),
        ),
        (1, "/spec/livenessProbe/timeoutSeconds", Value::from(6)),
    ];
    for (index, path, value) in cases {
        let mut changed = live[index].clone();
        *changed.pointer_mut(path).expect("there") = value;
        assert!(holds(&whole[index], &live[index]), "{path}");
        assert!(!holds(&whole[index], &changed), "{path}");
    }
    // A listener that somebody added, and a record of another apply.
    let mut changed = live[0].clone();
    let listeners = changed
        .pointer_mut("/spec/kafka/listeners")
        .and_then(Value::as_array_mut);
    let listeners = listeners.expect("there");
    listeners.push(listeners[0].clone());
    assert!(!holds(&whole[0], &changed));
    let mut other = live[0].clone();
    other["metadata"]["annotations"][APPLIED] = Value::from("000000000000");
    assert!(!holds(&whole[0], &other));
}

#[test]
#[ignore = "needs the captures: CDC_TEST_CAPTURES, or ../shared/data"]
fn an_operator_that_writes_the_same_version_takes_nothing() {
    for stage in ["1.2.0-after-up", "1.2.0-after-restart-connect-and-up"] {
        for live in recorded(stage) {
            let wanted = applied(&live);
            let seen = metadata(&live).metadata;
            assert_eq!(
                proof(&wanted, &seen),
                Proof::Unchanged,
                "{stage}: {}",
                wanted.object
            );
        }
    }
}
