//! What keeps a pod from becoming ready, and whether waiting fixes it.
//!
//! The rule: a trouble whose next try can only end the same way ends the wait at once; one that is
//! regularly seen while things fall into place gets a grace; one whose end is not in sight but
//! possible (a volume that is being made, room that a leaving pod will make) never ends the wait by
//! itself. Each constructor below says which and why.
//!
//! Pods that have ended do not count: a node without room leaves them beside those that replaced
//! them.

use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::Value;

use super::Seen;
use super::fields::{at, condition, leaving, list, name, short, text};
use super::recovery::{ends_so_again, no_program};
use crate::readiness::Cause;
use crate::report::text::count as counted;
use crash::{crash, end, ended_by};

mod crash;

/// Somebody else's next step (a scheduler's, an operator's, a controller's) may fix it.
const SETTLES: Duration = Duration::from_secs(10);
/// The kubelet tries a pull again after 10 seconds, and calls it a back-off from then on.
const SECOND_PULL: Duration = Duration::from_secs(20);
/// A node that has just started carries the taint until its network is there.
const NODE_STARTS: Duration = Duration::from_secs(60);
/// What a volume takes that is attached or mounted only at the second try.
const VOLUME_SETTLES: Duration = Duration::from_secs(60);

/// A container whose log explains a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOf {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
}

impl LogOf {
    pub(super) fn new(pod: &DynamicObject, container: &str) -> Self {
        LogOf {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: name(pod).to_owned(),
            container: container.to_owned(),
        }
    }
}

/// An object that a pod needs and that is said to be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `Secret` or `ConfigMap`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Something that keeps a pod from becoming ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The same for the same trouble in every look.
    pub key: String,
    /// What it is, in one line.
    pub message: String,
    /// Which of the known causes it is.
    pub cause: Option<Cause>,
    /// For how long it may pass by itself; none if it may at any time.
    pub grace: Option<Duration>,
    /// Lines that prove it.
    pub evidence: Vec<String>,
    /// Whose log explains it.
    pub log: Option<LogOf>,
    /// It holds only while this is missing.
    pub missing: Option<Missing>,
}

impl Trouble {
    fn new(pod: &DynamicObject, what: &str, message: String) -> Self {
        let id = pod.metadata.uid.as_deref().unwrap_or(name(pod));
        Trouble::of(
            format!("{id}/{what}"),
            format!("pod {}: {message}", name(pod)),
        )
    }

    /// A trouble that may pass at any time.
    pub(super) fn of(key: String, message: String) -> Self {
        Trouble {
            key,
            message,
            cause: None,
            grace: None,
            evidence: Vec::new(),
            log: None,
            missing: None,
        }
    }

    /// Of this cause.
    pub(super) fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Its cause, and the clause of its message that says so.
    pub(super) fn cause(&self) -> Option<(Cause, String)> {
        let clause = self.message.split("; ").next().unwrap_or_default();
        Some((self.cause?, clause.to_owned()))
    }

    /// Waiting does not fix it.
    fn final_now(self) -> Self {
        self.within(Duration::ZERO)
    }

    /// It may pass by itself for so long.
    pub(super) fn within(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    fn evidence(mut self, line: &str) -> Self {
        if !line.trim().is_empty() {
            self.evidence.push(short(line));
        }
        self
    }

    fn log(mut self, pod: &DynamicObject, container: &str) -> Self {
        self.log = Some(LogOf::new(pod, container));
        self
    }
}

/// Whether the pod is ready, and will stay.
pub(super) fn ready(pod: &DynamicObject) -> bool {
    !leaving(pod) && condition(pod, "Ready").is_some_and(|ready| ready.is)
}

/// Whether the pod has ended for good: no container of it restarts.
pub(super) fn ended(pod: &DynamicObject) -> bool {
    let phase = text(&pod.data, &["status", "phase"]);
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// `1 of 2 pods ready`.
pub(super) fn count(ready: usize, wanted: usize) -> String {
    format!("{ready} of {} ready", counted(wanted, "pod"))
}

/// The troubles of all pods that were seen.
pub(super) fn all_troubles(seen: &Seen) -> Vec<Trouble> {
    let pods = seen.pods.iter();
    pods.flat_map(|pod| troubles(pod, seen)).collect()
}

/// The troubles of a pod, the gravest first. A pod that is ready, leaves or has ended has none: its
/// owner decides what follows.
pub(super) fn troubles(pod: &DynamicObject, seen: &Seen) -> Vec<Trouble> {
    if leaving(pod) || ready(pod) || ended(pod) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (statuses, specs) in [
        ("initContainerStatuses", "initContainers"),
        ("containerStatuses", "containers"),
    ] {
        for status in list(&pod.data, &["status", statuses]) {
            if status.get("ready").and_then(Value::as_bool) == Some(true) {
                continue;
            }
            let who = text(status, &["name"]).unwrap_or("?");
            let spec = list(&pod.data, &["spec", specs])
                .iter()
                .find(|spec| text(spec, &["name"]) == Some(who));
            found.extend(container(pod, who, status, spec, seen));
        }
    }
    found.extend(scheduling(pod, seen));
    found.extend(mounts(pod, seen));
    // The gravest first: what ends the wait soonest.
    found.sort_by_key(|trouble| trouble.grace.unwrap_or(Duration::MAX));
    found
}

/// What a container waits for or ended with.
fn container(
    pod: &DynamicObject,
    who: &str,
    status: &Value,
    spec: Option<&Value>,
    seen: &Seen,
) -> Option<Trouble> {
    let waiting = text(status, &["state", "waiting", "reason"]);
    let said = text(status, &["state", "waiting", "message"]).unwrap_or_default();
    let image = text(status, &["image"])
        .filter(|image| !image.is_empty())
        .or_else(|| text(spec?, &["image"]))
        .unwrap_or("?");
    let trouble = |what: &str, message: String| {
        Trouble::new(pod, &format!("{who}/{what}"), message).evidence(said)
    };
    match waiting {
        // It was tried and refused, and the pause before the next try grows.
        Some(reason @ ("ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull")) => {
            let trouble = trouble("image", format!("{reason} {image}"));
            Some(trouble.because(Cause::ImageUnavailable).final_now())
        }
        // The first try of several.
        Some(reason @ ("ErrImagePull" | "RegistryUnavailable" | "ImageInspectError")) => {
            let trouble = trouble("image", format!("{reason} {image}"));
            Some(trouble.because(Cause::ImageUnavailable).within(SECOND_PULL))
        }
        // It ended at least twice: the kubelet restarts a container at once after its first end.
        Some("CrashLoopBackOff") => Some(crash(pod, who, status, spec, seen)),
        // The object may come a moment later: operators write Secrets while pods start.
        Some(reason @ "CreateContainerConfigError") => {
            let mut trouble = trouble("config", format!("{reason}: {}", short(said)));
            trouble.evidence.clear();
            trouble.missing = missing(pod, said);
            Some(trouble.because(Cause::MountFailed).within(SETTLES))
        }
        Some(reason @ ("CreateContainerError" | "RunContainerError" | "StartError")) => {
            let trouble = trouble("start", format!("{reason} in container {who}"));
            Some(match no_program(said) {
                true => trouble.final_now(),
                false => trouble.within(SETTLES),
            })
        }
        _ => {
            let ended = at(status, &["state", "terminated"])?;
            // Other ends may have another reason next time, and come back as CrashLoopBackOff if they
            // haven't.
            ends_so_again(ended).then(|| {
                let message = format!("container {who} ended: {}", end(ended, spec));
                let mut trouble = trouble("crash", message)
                    .evidence(text(ended, &["message"]).unwrap_or_default())
                    .log(pod, who);
                trouble.cause = ended_by(ended);
                trouble.final_now()
            })
        }
    }
}

/// The Secret or ConfigMap that a message calls missing.
fn missing(pod: &DynamicObject, message: &str) -> Option<Missing> {
    let found = |kind, word: &str| {
        let (before, _) = message.split_once("\" not found")?;
        let (_, name) = before.rsplit_once(&format!("{word} \""))?;
        Some(Missing {
            kind,
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            // The kubelet says `secret "name"`; a projected volume says `secret "namespace/name"`.
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
        })
    };
    found("Secret", "secret").or_else(|| found("ConfigMap", "configmap"))
}

/// Why no node takes the pod.
fn scheduling(pod: &DynamicObject, seen: &Seen) -> Option<Trouble> {
    let scheduled = condition(pod, "PodScheduled")?;
    if scheduled.is || scheduled.reason != "Unschedulable" {
        return None;
    }
    let said = scheduled.message.split(" preemption:").next()?.trim();
    let reasons = said
        .split_once("available: ")
        .map_or(said, |(_, rest)| rest);
    let reasons = reasons.trim_end_matches('.');
    let trouble = |what: &str, message: String| Trouble::new(pod, what, message);
    // The last is said where a claim waits for its pod's node, and nobody makes its volume there.
    let volume = [
        "PersistentVolumeClaim",
        "persistentvolumeclaim",
        "persistent volumes to bind",
    ];
    if volume.iter().any(|word| said.contains(word)) {
        return Some(claims(pod, seen).unwrap_or_else(|| {
            // Binding is its provisioner's work; how long that takes is not known here.
            trouble("volume", format!("waits for its volume ({reasons})"))
                .because(Cause::VolumePending)
        }));
    }
    let short_of: Vec<&str> = ["cpu", "memory", "ephemeral-storage", "pods"]
        .into_iter()
        .filter(|resource| {
            said.contains(&format!("Insufficient {resource}"))
                || (*resource == "pods" && said.contains("Too many pods"))
        })
        .collect();
    if !short_of.is_empty() {
        let message = format!(
            "no node has enough {} for {} ({reasons})",
            short_of.join(" and "),
            requests(pod)
        );
        let trouble = trouble("room", message).because(Cause::Unschedulable);
        let leaving = seen.pods.iter().any(|other| leaving(other));
        let growing = text(&pod.data, &["status", "nominatedNodeName"]).is_some()
            || newest_event(pod, seen, &["TriggeredScaleUp"]).is_some();
        return Some(match leaving || growing {
            true => trouble,
            false => trouble.within(SETTLES),
        });
    }
    let node_starts = said.contains("node.kubernetes.io/not-ready")
        || said.contains("node.kubernetes.io/network-unavailable")
        || said.contains("node.cloudprovider.kubernetes.io/uninitialized")
        || said.contains("no nodes available")
        // Kubernetes 1.34 names no taint where there are several, as on a node that just starts.
        || said.contains("untolerated taint(s)");
    let grace = if node_starts { NODE_STARTS } else { SETTLES };
    let message = format!("no node takes it ({reasons})");
    let trouble = trouble("nodes", message).because(Cause::Unschedulable);
    Some(trouble.within(grace))
}

/// What the pod asks for, for people.
fn requests(pod: &DynamicObject) -> String {
    let all: Vec<String> = list(&pod.data, &["spec", "containers"])
        .iter()
        .filter_map(|container| {
            let requests = at(container, &["resources", "requests"])?;
            let parts: Vec<String> = ["cpu", "memory"]
                .into_iter()
                .filter_map(|key| Some(format!("{key} {}", text(requests, &[key])?)))
                .collect();
            (!parts.is_empty()).then(|| {
                format!(
                    "{}: {}",
                    text(container, &["name"]).unwrap_or("?"),
                    parts.join(", ")
                )
            })
        })
        .collect();
    match all.is_empty() {
        true => "it".into(),
        false => all.join("; "),
    }
}

/// What is wrong with a claim of the pod that is not bound.
fn claims(pod: &DynamicObject, seen: &Seen) -> Option<Trouble> {
    list(&pod.data, &["spec", "volumes"])
        .iter()
        .filter_map(|volume| text(volume, &["persistentVolumeClaim", "claimName"]))
        .find_map(|wanted| {
            let claim = seen.claims.iter().find(|claim| name(claim) == wanted)?;
            claim_trouble(claim, seen, |message| {
                Trouble::new(pod, &format!("claim/{wanted}"), message)
            })
        })
}

/// Why a pending claim is not going to be bound; none if it is on its way. `WaitForFirstConsumer`
/// is on its way: it waits for the pod's node to be chosen.
pub(super) fn claim_trouble(
    claim: &DynamicObject,
    seen: &Seen,
    trouble: impl FnOnce(String) -> Trouble,
) -> Option<Trouble> {
    if text(&claim.data, &["status", "phase"]) != Some("Pending") {
        return None;
    }
    let event = newest_event(
        claim,
        seen,
        &[
            "ProvisioningFailed",
            "FailedBinding",
            "WaitForFirstConsumer",
            "ExternalProvisioning",
            "Provisioning",
        ],
    )?;
    let said = text(&event.data, &["message"]).unwrap_or_default();
    let class = text(&claim.data, &["spec", "storageClassName"]).unwrap_or_default();
    let who = name(claim);
    let (message, grace) = match text(&event.data, &["reason"]) {
        // A class that is not there is not made by waiting, but may be applied a moment later.
        Some("ProvisioningFailed")
            if said.contains("storageclass") && said.contains("not found") =>
        {
            let absent = format!("claim {who}: there is no storage class `{class}`");
            (absent, SETTLES)
        }
        Some("ProvisioningFailed") => (
            format!("claim {who} cannot be provisioned: {}", short(said)),
            VOLUME_SETTLES,
        ),
        Some("FailedBinding") if class.is_empty() => (
            format!("claim {who} names no storage class, and the cluster has no default"),
            SETTLES,
        ),
        Some("FailedBinding") => (
            format!("claim {who} cannot be bound: {}", short(said)),
            SETTLES,
        ),
        _ => return None,
    };
    let trouble = trouble(message).because(Cause::VolumePending);
    Some(trouble.within(grace))
}

/// A volume that cannot be mounted. Only a pod none of whose containers runs waits for one.
fn mounts(pod: &DynamicObject, seen: &Seen) -> Option<Trouble> {
    let started = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|key| list(&pod.data, &["status", key]))
        .any(|status| {
            at(status, &["state", "running"]).is_some()
                || at(status, &["state", "terminated"]).is_some()
        });
    if started {
        return None;
    }
    let event = newest_event(
        pod,
        seen,
        &["FailedMount", "FailedAttachVolume", "FailedMapVolume"],
    )?;
    let said = text(&event.data, &["message"]).unwrap_or_default();
    let missing = missing(pod, said);
    let message = match &missing {
        Some(missing) => format!("{} `{}` is missing", missing.kind, missing.name),
        None => format!("a volume cannot be mounted: {}", short(said)),
    };
    // The kubelet tries again by itself, with growing pauses.
    let grace = match missing {
        Some(_) => SETTLES,
        None => VOLUME_SETTLES,
    };
    let trouble = Trouble::new(pod, "mount", message).because(Cause::MountFailed);
    let mut trouble = trouble.within(grace);
    if missing.is_some() {
        trouble = trouble.evidence(said);
    }
    trouble.missing = missing;
    Some(trouble)
}

/// The newest event about an object with one of the reasons.
pub(super) fn newest_event<'a>(
    object: &DynamicObject,
    seen: &'a Seen,
    reasons: &[&str],
) -> Option<&'a DynamicObject> {
    let uid = object.metadata.uid.as_deref();
    seen.events
        .iter()
        .map(AsRef::as_ref)
        .filter(|event: &&DynamicObject| {
            let about = text(&event.data, &["involvedObject", "uid"]);
            about.is_some()
                && about == uid
                && text(&event.data, &["reason"]).is_some_and(|it| reasons.contains(&it))
        })
        // RFC 3339 in UTC: the text's order is the time's. Newer recorders set eventTime only.
        .max_by_key(|event| {
            text(&event.data, &["lastTimestamp"])
                .or_else(|| text(&event.data, &["series", "lastObservedTime"]))
                .or_else(|| text(&event.data, &["eventTime"]))
                .unwrap_or_default()
                .to_owned()
        })
}

/// What a pod that runs but is not ready says about itself.
pub(super) fn unready(pods: &[&DynamicObject], seen: &Seen) -> Option<String> {
    let pod = pods.iter().find(|pod| !ready(pod) && !leaving(pod))?;
    let event = newest_event(pod, seen, &["Unhealthy"])?;
    let said = text(&event.data, &["message"])?;
    Some(format!("pod {}: {}", name(pod), short(said)))
}

/// A count of pods, and what one says that is not ready.
pub(super) fn told(counted: String, pods: &[&DynamicObject], seen: &Seen) -> String {
    match unready(pods, seen) {
        Some(said) => format!("{counted}; {said}"),
        None => counted,
    }
}
