//! The evaluators against tables, against what a real operator was seen to say, and against anything.

mod altinity;
mod operators;
mod pods;
mod properties;
mod reasons;
mod recorded;
mod replay;
mod replay_1_2;
mod replay_restarts;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{Ages, Seen, Verdict, evaluate};
use crate::readiness::State;

/// An object from JSON.
fn object(value: Value) -> Arc<DynamicObject> {
    Arc::new(serde_json::from_value(value).expect("an object"))
}

/// A pod of this name with this status, in namespace `db`.
fn pod(name: &str, status: Value) -> Arc<DynamicObject> {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "db", "uid": format!("uid-{name}")},
        "spec": {
            "containers": [{
                "name": "main", "image": "img:1",
                "resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
            }],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
        "status": status,
    }))
}

/// A pod's status with one container that waits.
fn waiting(reason: &str, message: &str) -> Value {
    json!({
        "phase": "Pending",
        "containerStatuses": [{
            "name": "main", "image": "img:1", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }],
    })
}

fn ready() -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "main", "ready": true, "state": {"running": {}}}],
    })
}

/// An event about a pod or claim of this name.
fn event(about: &str, reason: &str, message: &str) -> Arc<DynamicObject> {
    object(json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{about}.{reason}"), "namespace": "db"},
        "involvedObject": {"name": about, "uid": format!("uid-{about}")},
        "reason": reason, "message": message, "lastTimestamp": "2026-11-21T03:00:00Z",
    }))
}

/// How the verdict is after the same has been seen for so many seconds.
fn after(seconds: u64, seen: &Seen) -> Verdict {
    let mut ages = Ages::default();
    evaluate(seen, &mut ages);
    ages.now = Duration::from_secs(seconds);
    evaluate(seen, &mut ages)
}

fn of(object: Arc<DynamicObject>) -> Seen {
    Seen {
        object: Some(object),
        ..Seen::default()
    }
}

fn state(seen: &Seen) -> State {
    evaluate(seen, &mut Ages::default()).status.state
}
