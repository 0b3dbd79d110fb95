//! What Altinity's operator was seen to say, beside its pods.

use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::super::clickhouse::refused_login;
use super::super::{Ages, Seen, awaits_operator, evaluate};
use super::recorded::{data, ms};
use super::{object, ready};
use crate::readiness::State;

fn lines(file: &str) -> Vec<(u64, Value)> {
    let path = data().join("captures/altinity-0.25.6").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let line = |line: &str| -> (u64, Value) {
        let value: Value = serde_json::from_str(line).expect("a line");
        (ms(value["t"].as_str().expect("a time")), value)
    };
    text.lines().map(line).collect()
}

/// The last of these events before a time, unless it is a deletion.
fn at(events: &[(u64, Value)], name: &str, time: u64) -> Option<Value> {
    let of_it = events.iter().filter(|(_, it)| it["name"] == name);
    let last = of_it.take_while(|(at, _)| *at <= time).last()?;
    (last.1["type"] != "DELETED").then(|| last.1.clone())
}

fn made(kind: &str, version: &str, seen: &Value, status: &Value) -> Arc<DynamicObject> {
    object(json!({
        "apiVersion": version, "kind": kind,
        "metadata": {
            "name": seen["name"], "uid": seen["uid"], "generation": seen["generation"],
            "labels": seen["labels"], "deletionTimestamp": seen["deletionTimestamp"],
        },
        "spec": {}, "status": status,
    }))
}

#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn an_installation_waits_for_its_operator_s_login_and_lies_over_a_deleted_pod() {
    let (installations, pods) = (lines("watch-chi.jsonl"), lines("watch-dbpods.jsonl"));
    let seen = |time: &str| {
        let time = ms(time);
        let installation = at(&installations, "clickhouse", time).expect("it is there");
        let pod = at(&pods, "chi-clickhouse-my-cluster-0-0-0", time);
        let version = "clickhouse.altinity.com/v1";
        let status = &installation["status"];
        Seen {
            object: Some(made(
                "ClickHouseInstallation",
                version,
                &installation,
                status,
            )),
            pods: pod
                .iter()
                .map(|it| made("Pod", "v1", it, &it["full"]))
                .collect(),
            ..Seen::default()
        }
    };
    let told = |time: &str| evaluate(&seen(time), &mut Ages::default()).status;
    // Its pod is ready, and the operator is not let in: for five minutes.
    for time in ["11:54:30.000Z", "11:58:30.000Z"] {
        let status = told(time);
        assert_eq!(status.state, State::InProgress, "{time}: {status:?}");
        assert_eq!(status.message, "InProgress; 1 of 1 pod ready", "{time}");
        assert!(awaits_operator(&seen(time)).is_some(), "{time}");
    }
    // That a pod is not there is reason enough.
    assert!(awaits_operator(&seen("11:53:41.000Z")).is_none());
    let done = told("11:58:54.000Z");
    assert_eq!(done.state, State::Current, "{done:?}");
    // Deleted: the installation stays Completed.
    for time in [
        "11:59:07.300Z",
        "11:59:08.335Z",
        "11:59:08.360Z",
        "12:00:00.300Z",
    ] {
        let status = told(time);
        assert_eq!(status.state, State::InProgress, "{time}: {status:?}");
        assert!(
            status
                .message
                .starts_with("Completed, but 0 of 1 pod ready"),
            "{time}: {status:?}"
        );
    }
    assert_eq!(told("11:59:10.000Z").state, State::Current);
}

#[test]
fn only_a_trouble_of_its_own_is_told_of_an_operator() {
    let errors = |errors: Value| Seen {
        object: Some(object(json!({
            "apiVersion": "clickhouse.altinity.com/v1", "kind": "ClickHouseInstallation",
            "metadata": {"name": "clickhouse", "generation": 1},
            "status": {"status": "InProgress", "hosts": 1, "errors": errors},
        }))),
        pods: vec![super::pod("p", ready())],
        ..Seen::default()
    };
    let harmless = "2026-11-29T11:53:37.688813233Z Update Service: database/x failed with error: just recreate \
                    the service in case of service type change ''=>'ClusterIP'";
    let grave = "2026-11-29T11:52:00.1Z FAILED to reconcile StatefulSet database/x: quota";
    let told = |it| evaluate(&errors(it), &mut Ages::default()).status.message;
    assert_eq!(told(json!([harmless])), "InProgress; 1 of 1 pod ready");
    assert!(awaits_operator(&errors(json!([harmless]))).is_some());
    let said = told(json!([harmless, grave]));
    assert_eq!(
        said,
        "InProgress; 1 of 1 pod ready; FAILED to reconcile StatefulSet database/x: quota"
    );
    assert!(awaits_operator(&errors(json!([harmless, grave]))).is_none());
}

/// As Altinity's operator 0.25.6 writes it.
const LINE: &str = "E1129 11:53:51.226646       1 connection.go:197] QueryContext():FAILED connect(\
    http://clickhouse_operator:***@chi-clickhouse-my-cluster-0-0.database.svc.cluster.local:8123) \
    for SQL: SELECT version()";

#[test]
fn a_login_that_failed_is_told_until_the_host_was_had() {
    let said = refused_login(LINE).expect("told");
    assert!(
        said.contains("as clickhouse_operator")
            && said.contains("chi-clickhouse-my-cluster-0-0.database")
            && !said.contains("***"),
        "{said}"
    );
    let done = "I1129 11:58:48.132826 1 x.go:918] f():Host:0-0:Reconcile Host completed. Host: 0-0";
    assert_eq!(refused_login(&format!("{LINE}\n{done}")), None);
    assert_eq!(
        refused_login("W1129 f():Setting option SetWaitUntilReady"),
        None
    );
}

#[test]
#[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
fn the_recorded_log_tells_of_the_login_while_the_host_is_in_progress() {
    let log = std::fs::read_to_string(data().join("captures/altinity-0.25.6/operator.log"))
        .expect("the recorded log");
    assert_eq!(refused_login(&log), None, "in the end it was had");
    let waiting: Vec<&str> = log
        .lines()
        .take_while(|it| !it.contains("11:58:48"))
        .collect();
    let said = refused_login(&waiting.join("\n")).expect("told");
    assert!(said.contains("as clickhouse_operator"), "{said}");
}
