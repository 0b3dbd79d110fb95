//! Pod troubles: which end the wait at once, which after a grace, which never.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::readiness::Cause;

/// A pod that the scheduler does not place.
fn unschedulable(message: &str) -> Value {
    json!({
        "phase": "Pending",
        "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": format!("0/1 nodes are available: {message}. preemption: 0/1 nodes are available"),
        }],
    })
}

fn ended(container: &str, terminated: Value, waiting: bool) -> Value {
    let last = json!({"terminated": terminated});
    let (state, last) = match waiting {
        true => (
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
            last,
        ),
        false => (last, json!({})),
    };
    json!({
        "phase": "Running",
        "containerStatuses": [{
            "name": container, "image": "img:1", "ready": false, "restartCount": 1,
            "state": state, "lastState": last,
        }],
    })
}

/// Status of the pod at once and after the time within which such troubles pass.
fn both(status: Value, events: Vec<Arc<DynamicObject>>) -> (Verdict, Verdict) {
    let seen = Seen {
        events,
        ..of(pod("p", status))
    };
    (after(0, &seen), after(119, &seen))
}

#[test]
fn what_waiting_does_not_mend_ends_the_wait_at_once() {
    let exit = |code: i64, reason: &str| json!({"exitCode": code, "reason": reason});
    for (status, says) in [
        (
            waiting("ImagePullBackOff", "Back-off"),
            "ImagePullBackOff img:1",
        ),
        (
            waiting("InvalidImageName", "couldn't parse"),
            "InvalidImageName img:1",
        ),
        (
            waiting("ErrImageNeverPull", "not present"),
            "ErrImageNeverPull img:1",
        ),
        (
            waiting(
                "RunContainerError",
                "exec: \"/x\": executable file not found in $PATH",
            ),
            "RunContainerError in container main",
        ),
        (
            ended("main", exit(1, "Error"), true),
            "keeps ending: exit code 1",
        ),
        (
            ended("main", exit(137, "OOMKilled"), true),
            "memory limit of 1Gi",
        ),
        (
            ended("main", exit(137, "OOMKilled"), false),
            "memory limit of 1Gi",
        ),
        (
            ended("main", exit(127, "Error"), false),
            "its command was not found",
        ),
        (
            ended("main", exit(126, "Error"), false),
            "cannot be executed",
        ),
    ] {
        let (now, _) = both(status.clone(), Vec::new());
        assert_eq!(now.status.state, State::Failed, "{status}");
        assert!(now.status.message.contains(says), "{}", now.status.message);
    }
}

#[test]
fn a_crash_names_the_container_whose_log_explains_it() {
    let (now, _) = both(
        ended("main", json!({"exitCode": 1, "reason": "Error"}), true),
        Vec::new(),
    );
    let log = now.log.expect("a log");
    assert_eq!((log.namespace.as_str(), log.pod.as_str()), ("db", "p"));
    assert_eq!(log.container, "main");
}

#[test]
fn an_init_container_counts() {
    let status = json!({
        "phase": "Pending",
        "initContainerStatuses": [{
            "name": "copy-key", "image": "init:1", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
        }],
        "containerStatuses": [{
            "name": "main", "ready": false, "state": {"waiting": {"reason": "PodInitializing"}},
        }],
    });
    let (now, _) = both(status, Vec::new());
    assert_eq!(
        now.status.message,
        "pod p: container copy-key keeps ending: exit code 3"
    );
}

#[test]
fn what_often_passes_ends_the_wait_only_if_it_lasts() {
    let mount = |message| vec![event("p", "FailedMount", message)];
    for (status, events, says) in [
        (
            waiting("ErrImagePull", "connection reset"),
            Vec::new(),
            "ErrImagePull img:1",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"s\" not found"),
            Vec::new(),
            "secret \"s\" not found",
        ),
        (
            unschedulable("1 Insufficient cpu"),
            Vec::new(),
            "no node has enough cpu for main: cpu 2, memory 1Gi (1 Insufficient cpu)",
        ),
        (
            unschedulable("1 Insufficient memory, 1 Insufficient cpu"),
            Vec::new(),
            "enough cpu and memory for",
        ),
        (
            unschedulable("1 node(s) had untolerated taint {dedicated: gpu}"),
            Vec::new(),
            "{dedicated: gpu}",
        ),
        (
            unschedulable("1 node(s) had untolerated taint(s)"),
            Vec::new(),
            "untolerated taint(s)",
        ),
        (
            unschedulable("1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }"),
            Vec::new(),
            "not-ready",
        ),
        (
            waiting("ContainerCreating", ""),
            mount("MountVolume.SetUp failed for volume \"v\" : secret \"creds\" not found"),
            "Secret `creds` is missing",
        ),
        (
            waiting("ContainerCreating", ""),
            mount("MountVolume.SetUp failed for volume \"v\" : configmap \"conf\" not found"),
            "ConfigMap `conf` is missing",
        ),
        (
            waiting("ContainerCreating", ""),
            mount("MountVolume.MountDevice failed: rpc error"),
            "a volume cannot be mounted",
        ),
    ] {
        let (now, later) = both(status.clone(), events);
        assert_eq!(now.status.state, State::InProgress, "{status}");
        assert!(now.status.message.contains(says), "{}", now.status.message);
        assert_eq!(later.status.state, State::Failed, "{status}");
        assert!(
            later.status.message.contains(says),
            "{}",
            later.status.message
        );
    }
}

#[test]
fn a_missing_object_is_named_so_that_it_can_be_looked_for() {
    for (status, events) in [
        (
            waiting("CreateContainerConfigError", "secret \"s\" not found"),
            Vec::new(),
        ),
        (
            waiting("ContainerCreating", ""),
            vec![event(
                "p",
                "FailedMount",
                "failed: references non-existent secret key; secret \"db/s\" not found",
            )],
        ),
    ] {
        let (_, later) = both(status, events);
        let missing = later.missing.expect("it is named");
        assert_eq!((missing.kind, missing.name.as_str()), ("Secret", "s"));
        assert_eq!(missing.namespace, "db");
    }
}

#[test]
fn what_may_pass_at_any_time_never_ends_the_wait() {
    let leaving = object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "old", "deletionTimestamp": "2026-11-21T03:00:00Z"},
    }));
    let full = unschedulable("1 Insufficient cpu");
    let volume = unschedulable("pod has unbound immediate PersistentVolumeClaims");
    let nobody_makes_it =
        unschedulable("1 node(s) didn't find available persistent volumes to bind");
    let scale_up = event("p", "TriggeredScaleUp", "pod triggered scale-up");
    for (status, pods, events) in [
        (waiting("ContainerCreating", ""), vec![], vec![]),
        (waiting("PodInitializing", ""), vec![], vec![]),
        // The pod that leaves makes room.
        (full.clone(), vec![leaving], vec![]),
        (full, vec![], vec![scale_up]),
        (volume, vec![], vec![]),
        (nobody_makes_it, vec![], vec![]),
        // It ended once, and is started again at once.
        (
            ended("main", json!({"exitCode": 1, "reason": "Error"}), false),
            vec![],
            vec![],
        ),
        (json!({"phase": "Running"}), vec![], vec![]),
    ] {
        let seen = Seen {
            pods,
            events,
            ..of(pod("p", status.clone()))
        };
        let later = after(3600, &seen).status;
        assert_eq!(later.state, State::InProgress, "{status}");
        let volume = status.to_string().contains("olume");
        let told = later.message.contains("waits for its volume");
        assert_eq!(volume, told, "{}", later.message);
    }
}

#[test]
fn a_mount_that_failed_is_forgotten_when_the_container_runs() {
    let mut status = ready();
    status["conditions"] = json!([]);
    let seen = Seen {
        events: vec![event("p", "FailedMount", "secret \"creds\" not found")],
        ..of(pod("p", status))
    };
    let later = after(3600, &seen).status;
    assert_eq!(later.state, State::InProgress, "{}", later.message);
}

#[test]
fn a_pending_claim_is_normal_until_somebody_says_otherwise() {
    let claim = |class: Value| {
        object(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "uid": "uid-data"},
            "spec": {"storageClassName": class}, "status": {"phase": "Pending"},
        }))
    };
    let waits = unschedulable("pod has unbound immediate PersistentVolumeClaims");
    for (class, reason, message, want) in [
        (
            "std",
            "WaitForFirstConsumer",
            "waiting for first consumer",
            None,
        ),
        (
            "std",
            "ExternalProvisioning",
            "waiting for a volume to be created",
            None,
        ),
        (
            "nope",
            "ProvisioningFailed",
            "storageclass.storage.k8s.io \"nope\" not found",
            Some("there is no storage class `nope`"),
        ),
        (
            "std",
            "ProvisioningFailed",
            "quota exceeded",
            Some("cannot be provisioned: quota exceeded"),
        ),
        (
            "",
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
            Some("the cluster has no default"),
        ),
    ] {
        let claim = claim(json!(class));
        let seen = Seen {
            claims: vec![Arc::clone(&claim)],
            events: vec![event("data", reason, message)],
            ..of(pod("p", waits.clone()))
        };
        let alone = Seen {
            object: Some(claim),
            ..seen.clone()
        };
        for status in [after(120, &seen).status, after(120, &alone).status] {
            match want {
                Some(says) => {
                    assert_eq!(status.state, State::Failed, "{reason}");
                    assert!(status.message.contains(says), "{}", status.message);
                    let cause = status.cause.map(|(cause, _)| cause);
                    assert_eq!(cause, Some(Cause::VolumePending), "{reason}");
                }
                None => assert_ne!(status.state, State::Failed, "{}", status.message),
            }
        }
    }
}

#[test]
fn a_known_cause_goes_with_the_status_and_with_the_clause_that_says_so() {
    let exit = |code: i64, reason: &str| json!({"exitCode": code, "reason": reason});
    let secret = event("p", "FailedMount", "secret \"a\" not found");
    for (status, events, cause, says) in [
        (
            ended("c", exit(137, "OOMKilled"), true),
            vec![],
            Some(Cause::OutOfMemory),
            "pod p: container c keeps ending: OOMKilled, it needs more than its memory limit",
        ),
        (
            ended("c", exit(127, "Error"), false),
            vec![],
            Some(Cause::ProgramMissing),
            "pod p: container c ended: exit code 127, its command was not found",
        ),
        (ended("c", exit(1, "Error"), true), vec![], None, ""),
        (
            waiting("ImagePullBackOff", "Back-off"),
            vec![],
            Some(Cause::ImageUnavailable),
            "pod p: ImagePullBackOff img:1",
        ),
        (
            waiting("ErrImagePull", "no"),
            vec![],
            Some(Cause::ImageUnavailable),
            "pod p: ErrImagePull img:1",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"a\" not found"),
            vec![],
            Some(Cause::MountFailed),
            "pod p: CreateContainerConfigError: secret \"a\" not found",
        ),
        (
            json!({"phase": "Pending"}),
            vec![secret],
            Some(Cause::MountFailed),
            "pod p: Secret `a` is missing",
        ),
        (
            unschedulable("1 Insufficient cpu"),
            vec![],
            Some(Cause::Unschedulable),
            "pod p: no node has enough cpu for main: cpu 2, memory 1Gi (1 Insufficient cpu)",
        ),
        (
            unschedulable("1 node(s) had untolerated taint {a: b}"),
            vec![],
            Some(Cause::Unschedulable),
            "pod p: no node takes it (1 node(s) had untolerated taint {a: b})",
        ),
    ] {
        let (now, later) = both(status, events);
        for verdict in [now, later] {
            let status = verdict.status;
            assert!(status.message.contains(says), "{}", status.message);
            let want = cause.map(|cause| (cause, says.to_owned()));
            assert_eq!(status.cause, want, "{}", status.message);
        }
    }
}

#[test]
fn ready_failed_and_leaving_pods() {
    assert_eq!(state(&of(pod("p", ready()))), State::Current);
    let failed = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
    let verdict = after(0, &of(pod("p", failed)));
    assert_eq!(
        (verdict.status.state, verdict.status.message.as_str()),
        (State::Failed, "low on memory")
    );
    assert_eq!(
        state(&of(pod("p", json!({"phase": "Succeeded"})))),
        State::Current
    );
    let mut leaving = (*pod("p", ready())).clone();
    leaving.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-11-21T03:00:00Z")).expect("a time"));
    assert_eq!(state(&of(Arc::new(leaving))), State::InProgress);
}
