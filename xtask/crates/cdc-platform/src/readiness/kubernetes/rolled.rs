//! Whether pods were replaced, whatever their object says: its status may be older than the roll.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::DynamicObject;

use super::pods;
use crate::readiness::Status;

/// Whether none of the pods that were there before, by name and uid, is left, and as many new ones
/// are ready.
pub fn rolled(before: &BTreeMap<String, String>, now: &[Arc<DynamicObject>]) -> Status {
    let is_old = |pod: &DynamicObject| {
        let uid = pod.metadata.uid.as_ref();
        uid.is_some_and(|uid| before.values().any(|old| old == uid))
    };
    let wanted = before.len();
    let left = now.iter().filter(|pod| is_old(pod)).count();
    if left > 0 {
        return Status::in_progress(format!("{left} of {wanted} to be replaced"));
    }
    let ready = now.iter().filter(|pod| pods::ready(pod)).count();
    match ready < wanted {
        true => Status::in_progress(format!("replaced; {}", pods::count(ready, wanted))),
        false => Status::current(format!("replaced; {}", pods::count(ready, ready))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::readiness::State;

    fn pod(uid: &str, ready: bool, leaving: bool) -> Arc<DynamicObject> {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "uid": uid },
            "status": { "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
        });
        if leaving {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-21T06:54:15Z");
        }
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn before(uids: &[&str]) -> BTreeMap<String, String> {
        let named = uids.iter().map(|uid| (format!("pod-{uid}"), (*uid).into()));
        named.collect()
    }

    #[test]
    fn every_old_pod_goes_and_as_many_new_ones_are_ready() {
        let two = before(&["a", "b"]);
        for (pods, want) in [
            (
                vec![pod("a", true, false), pod("b", true, false)],
                "2 of 2 to be replaced",
            ),
            (
                vec![pod("c", true, false), pod("b", true, true)],
                "1 of 2 to be replaced",
            ),
            (vec![pod("c", true, false)], "replaced; 1 of 2 pods ready"),
            (vec![], "replaced; 0 of 2 pods ready"),
            (
                vec![pod("c", true, false), pod("d", false, false)],
                "replaced; 1 of 2 pods ready",
            ),
            (
                vec![pod("c", true, false), pod("d", true, true)],
                "replaced; 1 of 2 pods ready",
            ),
        ] {
            let seen = rolled(&two, &pods);
            assert_eq!(
                (seen.state, seen.message.as_str()),
                (State::InProgress, want)
            );
        }
        let seen = rolled(&two, &[pod("c", true, false), pod("d", true, false)]);
        assert_eq!(seen.state, State::Current);
    }

    proptest! {
        #[test]
        fn it_is_current_only_without_an_old_pod(
            old in proptest::collection::btree_set("[a-d]", 0..4),
            now in proptest::collection::vec(("[a-h]", any::<bool>(), any::<bool>()), 0..6),
        ) {
            let uids: Vec<&str> = old.iter().map(String::as_str).collect();
            let pods: Vec<_> = now.iter().map(|(uid, ready, leaving)| pod(uid, *ready, *leaving)).collect();
            let ready = now.iter().filter(|(_, ready, leaving)| *ready && !leaving).count();
            let want = !now.iter().any(|(uid, ..)| old.contains(uid)) && ready >= old.len();
            prop_assert_eq!(rolled(&before(&uids), &pods).state == State::Current, want);
        }
    }
}
