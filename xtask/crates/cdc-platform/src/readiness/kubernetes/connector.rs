//! What a connector's resource wants and Connect does not do yet.

use kube::core::DynamicObject;

use super::fields::text;
use crate::readiness::Status;
use crate::readiness::connect::ConnectorStatus;

/// The state that the resource wants and Connect does not report. The operator tells that it has seen a
/// change before it acts on it; one that was made at Connect itself it undoes when it looks next.
pub fn not_as_wanted(object: &DynamicObject, status: Option<&ConnectorStatus>) -> Option<Status> {
    let has = status?.connector.state.as_str();
    let wants = text(&object.data, &["spec", "state"]).unwrap_or("running");
    let rests = match has {
        "PAUSED" => "paused",
        "STOPPED" => "stopped",
        // Whether it works is another question.
        _ => "running",
    };
    (wants != rests).then(|| {
        Status::in_progress(format!(
            "its resource wants it {wants}, and Connect reports {has}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_that_is_wanted_is_waited_for() {
        let told = |wants: Option<&str>, has: Option<&str>| {
            let spec = wants.map_or(json!({}), |state| json!({ "state": state }));
            let object = json!({
                "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnector",
                "metadata": { "name": "c" }, "spec": spec,
            });
            let object: DynamicObject = serde_json::from_value(object).expect("an object");
            let status = has.map(|state| {
                let status = json!({
                    "name": "c", "connector": { "state": state, "worker_id": "w" }, "tasks": [],
                });
                serde_json::from_value(status).expect("a status")
            });
            not_as_wanted(&object, status.as_ref()).map(|it| it.message)
        };
        for (wants, has) in [
            (None, "RUNNING"),
            (Some("running"), "RUNNING"),
            (Some("running"), "UNASSIGNED"),
            (Some("running"), "FAILED"),
            (Some("paused"), "PAUSED"),
            (Some("stopped"), "STOPPED"),
        ] {
            assert_eq!(told(wants, Some(has)), None, "{wants:?} {has}");
        }
        // As recorded at 11:35:24.179: the pause was seen, and Connect still reported RUNNING.
        assert_eq!(
            told(Some("paused"), Some("RUNNING")).as_deref(),
            Some("its resource wants it paused, and Connect reports RUNNING")
        );
        assert!(told(Some("stopped"), Some("PAUSED")).is_some());
        assert!(told(None, Some("PAUSED")).is_some());
        assert_eq!(told(Some("paused"), None), None);
    }
}
