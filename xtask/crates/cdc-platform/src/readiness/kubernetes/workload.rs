//! Kubernetes' own kinds.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;

use super::fields::{condition, label, list, name, number, observed, short, text};
use super::pods::{self, Trouble};
use super::{Ages, Seen, Verdict, judge};
use crate::readiness::Status;

/// The status of an object of one of Kubernetes' kinds. A kind without a status is current once it
/// is there.
pub(super) fn evaluate(
    object: &DynamicObject,
    kind: &str,
    seen: &Seen,
    ages: &mut Ages,
) -> Verdict {
    if matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet") && !observed(object) {
        return Status::in_progress(NOT_OBSERVED).into();
    }
    match kind {
        "Deployment" => deployment(object, seen, ages),
        "StatefulSet" => stateful_set(object, seen, ages),
        "DaemonSet" => daemon_set(object, seen, ages),
        "Job" => job(object, seen, ages),
        "Pod" => pod(object, seen, ages),
        "PersistentVolumeClaim" => claim(object, seen, ages),
        "CustomResourceDefinition" => definition(object).into(),
        "Namespace" => namespace(object).into(),
        "Service" => service(object).into(),
        _ => other(object).into(),
    }
}

const NOT_OBSERVED: &str = "its controller has not seen the newest specification";

fn deployment(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    let wanted = wanted(object);
    let status = |key: &str| number(&object.data, &["status", key]).unwrap_or_default();
    let newest = newest_pods(&seen.pods);
    if let Some(progressing) = condition(object, "Progressing")
        && progressing.reason == "ProgressDeadlineExceeded"
    {
        return Status::failed(short(progressing.message)).into();
    }
    let mut troubles: Vec<Trouble> = newest
        .iter()
        .flat_map(|pod| pods::troubles(pod, seen))
        .collect();
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|failure| failure.is) {
        troubles.push(refused(object, failure.message));
    }
    let (updated, ready, all) = (
        status("updatedReplicas"),
        status("readyReplicas"),
        status("replicas"),
    );
    let progress = if updated < wanted {
        Status::in_progress(format!("{updated} of {wanted} pods updated"))
    } else if all > updated {
        Status::in_progress(format!(
            "{} pods of the old template are left",
            all - updated
        ))
    } else if ready < wanted || status("availableReplicas") < wanted {
        waiting_for(
            ready.min(status("availableReplicas")),
            wanted,
            &newest,
            seen,
        )
    } else {
        Status::current(counted(ready, wanted))
    };
    judge(progress, troubles, ages)
}

/// The pods of the template that the youngest pod comes from: what is wrong with those of an older
/// one is being fixed by the roll.
pub(super) fn newest_pods(pods: &[Arc<DynamicObject>]) -> Vec<&DynamicObject> {
    const HASH: &str = "pod-template-hash";
    let hash = youngest(pods).and_then(|pod| label(pod, HASH));
    pods.iter()
        .map(AsRef::as_ref)
        .filter(|pod| hash.is_none() || label(pod, HASH) == hash)
        .collect()
}

fn youngest(pods: &[Arc<DynamicObject>]) -> Option<&Arc<DynamicObject>> {
    pods.iter()
        .max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn stateful_set(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    let wanted = wanted(object);
    let status = |key: &str| number(&object.data, &["status", key]).unwrap_or_default();
    let newest = text(&object.data, &["status", "updateRevision"]).unwrap_or_default();
    let all: Vec<&DynamicObject> = seen.pods.iter().map(AsRef::as_ref).collect();
    let mut troubles = Vec::new();
    for pod in &all {
        let old = label(pod, "controller-revision-hash").is_some_and(|hash| hash != newest);
        troubles.extend(pods::troubles(pod, seen).into_iter().map(|mut trouble| {
            // The controller waits for a broken pod of the old template to become ready before it
            // replaces it, which it then never does.
            if old && trouble.grace.is_some() {
                trouble.message +=
                    "; it is of the old template and is not replaced before it is deleted";
            }
            trouble
        }));
    }
    if let Some(event) = pods::newest_event(object, seen, &["FailedCreate"])
        && (all.len() as i64) < wanted
    {
        troubles.push(refused(
            object,
            text(&event.data, &["message"]).unwrap_or_default(),
        ));
    }
    let partition = number(
        &object.data,
        &["spec", "updateStrategy", "rollingUpdate", "partition"],
    )
    .unwrap_or_default();
    let on_delete = text(&object.data, &["spec", "updateStrategy", "type"]) == Some("OnDelete");
    // Ready for as long as `minReadySeconds` wants.
    let available = number(&object.data, &["status", "availableReplicas"]);
    let ready = status("readyReplicas").min(available.unwrap_or(i64::MAX));
    // Before Kubernetes 1.34 a finished roll removes the count of updated pods; then both revisions
    // are the same.
    let same = text(&object.data, &["status", "currentRevision"]) == Some(newest);
    let rolled = on_delete || same || status("updatedReplicas") >= wanted - partition;
    let progress = if status("replicas") > wanted {
        Status::in_progress(format!("{} pods are to go", status("replicas") - wanted))
    } else if ready < wanted {
        waiting_for(ready, wanted, &all, seen)
    } else if !rolled {
        Status::in_progress(format!(
            "{} of {wanted} pods updated",
            status("updatedReplicas")
        ))
    } else {
        Status::current(counted(ready, wanted))
    };
    judge(progress, troubles, ages)
}

fn daemon_set(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    let status = |key: &str| number(&object.data, &["status", key]).unwrap_or_default();
    let (wanted, updated, ready) = (
        status("desiredNumberScheduled"),
        status("updatedNumberScheduled"),
        status("numberReady"),
    );
    let all: Vec<&DynamicObject> = seen.pods.iter().map(AsRef::as_ref).collect();
    let progress = if updated < wanted {
        Status::in_progress(format!("{updated} of {wanted} pods updated"))
    } else if ready < wanted {
        waiting_for(ready, wanted, &all, seen)
    } else {
        Status::current(counted(ready, wanted))
    };
    judge(progress, pods::all_troubles(seen), ages)
}

fn job(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    if let Some(failed) = condition(object, "Failed").filter(|failed| failed.is) {
        let why = format!("{}: {}", failed.reason, short(failed.message));
        // The newest of its pods says why.
        let log = youngest(&seen.pods).and_then(|pod| {
            let container = list(&pod.data, &["spec", "containers"]).first()?;
            Some(pods::LogOf::new(pod, text(container, &["name"])?))
        });
        return Verdict {
            log,
            ..Status::failed(why).into()
        };
    }
    let done = |kind| condition(object, kind).is_some_and(|it| it.is);
    if done("Complete") || done("SuccessCriteriaMet") {
        return Status::current("complete").into();
    }
    let failed = number(&object.data, &["status", "failed"]).unwrap_or_default();
    let progress = match failed {
        0 => Status::in_progress("runs"),
        tries => Status::in_progress(format!("runs after {tries} failed tries")),
    };
    judge(progress, pods::all_troubles(seen), ages)
}

fn pod(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    let phase = text(&object.data, &["status", "phase"]).unwrap_or("not seen by the kubelet");
    if phase == "Succeeded" {
        return Status::current("has succeeded").into();
    }
    if phase == "Failed" {
        let message = text(&object.data, &["status", "message"])
            .or_else(|| text(&object.data, &["status", "reason"]))
            .unwrap_or("a container ended with an error");
        return Status::failed(short(message)).into();
    }
    if pods::ready(object) {
        return Status::current("ready").into();
    }
    let progress = pods::unready(&[object], seen).unwrap_or_else(|| phase.to_owned());
    judge(
        Status::in_progress(progress),
        pods::troubles(object, seen),
        ages,
    )
}

fn claim(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Verdict {
    match text(&object.data, &["status", "phase"]) {
        Some("Bound") => Status::current("bound").into(),
        Some("Lost") => Status::failed("its volume is lost").into(),
        _ => {
            let trouble = pods::claim_trouble(object, seen, |message| {
                Trouble::of(format!("claim/{}", name(object)), message)
            });
            // Before a pod asks for it, a claim of a class that waits for its first consumer is as
            // it should be: nobody must wait for it alone.
            let waits = pods::newest_event(object, seen, &["WaitForFirstConsumer"]).is_some();
            match (trouble, waits) {
                (None, true) => Status::current("bound when its first pod comes").into(),
                (trouble, _) => judge(
                    Status::in_progress("not bound yet"),
                    trouble.into_iter().collect(),
                    ages,
                ),
            }
        }
    }
}

fn definition(object: &DynamicObject) -> Status {
    if let Some(names) = condition(object, "NamesAccepted")
        && !names.is
        && !names.reason.is_empty()
    {
        return Status::failed(format!("its names are taken: {}", short(names.message)));
    }
    match condition(object, "Established") {
        Some(established) if established.is => Status::current("established"),
        _ => Status::in_progress("not established yet"),
    }
}

fn namespace(object: &DynamicObject) -> Status {
    match text(&object.data, &["status", "phase"]) {
        Some("Active") => Status::current("active"),
        phase => Status::in_progress(phase.unwrap_or("not active yet")),
    }
}

fn service(object: &DynamicObject) -> Status {
    let balanced = text(&object.data, &["spec", "type"]) == Some("LoadBalancer");
    if balanced && list(&object.data, &["status", "loadBalancer", "ingress"]).is_empty() {
        return Status::in_progress("its load balancer has no address yet");
    }
    Status::current("there")
}

/// kstatus' reading of kinds that it does not know.
fn other(object: &DynamicObject) -> Status {
    let generation = number(&object.data, &["status", "observedGeneration"]);
    if generation.is_some() && !observed(object) {
        return Status::in_progress(NOT_OBSERVED);
    }
    match condition(object, "Ready") {
        Some(ready) if !ready.is => Status::in_progress(short(match ready.message {
            "" => "not ready",
            message => message,
        })),
        _ => Status::current("there"),
    }
}

/// Something (a quota, a policy) refuses the pods. It may be lifted in the same moment, by a pod
/// that goes or a namespace's labels that are being applied.
fn refused(object: &DynamicObject, message: &str) -> Trouble {
    Trouble::of(
        format!("{}/refused", name(object)),
        format!("its pods are refused: {}", short(message)),
    )
    .within(Duration::from_secs(10))
}

fn wanted(object: &DynamicObject) -> i64 {
    number(&object.data, &["spec", "replicas"]).unwrap_or(1)
}

fn counted(ready: i64, wanted: i64) -> String {
    let as_count = |n: i64| usize::try_from(n).unwrap_or_default();
    pods::count(as_count(ready), as_count(wanted))
}

fn waiting_for(ready: i64, wanted: i64, pods: &[&DynamicObject], seen: &Seen) -> Status {
    Status::in_progress(pods::told(counted(ready, wanted), pods, seen))
}
