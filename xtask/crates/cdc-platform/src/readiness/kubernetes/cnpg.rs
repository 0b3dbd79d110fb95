//! A PostgreSQL cluster of CloudNativePG.
//!
//! It reports no `observedGeneration`. Its phase is healthy only when no restart is pending, while
//! its count of ready instances is right before the last restart of a new cluster too: both count.

use kube::core::DynamicObject;

use super::fields::{number, short, text};
use super::pods;
use super::{Ages, Seen, Verdict, judge};
use crate::readiness::Status;

const HEALTHY: &str = "Cluster in healthy state";

pub(super) fn evaluate(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    judge(progress(object, seen), pods::all_troubles(seen), ages)
}

fn progress(object: &DynamicObject, seen: &Seen) -> Status {
    let wanted = number(&object.data, &["spec", "instances"]).unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or_default();
    let instances: Vec<&DynamicObject> = seen.pods.iter().map(AsRef::as_ref).collect();
    let ready = instances.iter().filter(|pod| pods::ready(pod)).count();
    let counted = pods::count(ready, wanted);
    let Some(phase) = text(&object.data, &["status", "phase"]).filter(|it| !it.is_empty()) else {
        return Status::in_progress("the operator has not reported yet");
    };
    let reason = text(&object.data, &["status", "phaseReason"])
        .filter(|reason| !reason.is_empty())
        .map_or_else(String::new, |reason| format!(": {}", short(reason)));
    if phase.contains("unrecoverable") || phase.contains("Waiting for user action") {
        return Status::failed(format!("{phase}{reason}"));
    }
    if phase != HEALTHY {
        return Status::in_progress(format!("{phase}{reason}; {counted}"));
    }
    let reported = number(&object.data, &["status", "readyInstances"]).unwrap_or_default();
    let reported = usize::try_from(reported).unwrap_or_default();
    if ready != wanted || reported != wanted || instances.len() != wanted {
        return Status::in_progress(format!("healthy, but {counted}"));
    }
    Status::current(format!("healthy, {counted}"))
}
