//! Strimzi's kinds, as the real operator was seen to report them.
//!
//! `Ready` is true only of the generation that the status observed, and even then of the time of
//! the operator's last look: pods leave, roll and break without it. `NotReady` may be of a cause
//! that is fixed; the operator looks again every 120 s, and not at all while it waits up to 300 s
//! for a pod. So: the generation, the conditions, the sets of pods, the pods, in this order.
//!
//! What the operator reports counts once it leads, has observed the newest generation, and has
//! reported it again after it was asked to look: five seconds after the first report, four times at
//! most. A reason that is not known to pass fails its gate after 45 s.

use std::time::Duration;

use kube::core::DynamicObject;

use super::fields::{
    annotation, condition, kind, label, last_written, leaving, list, name, number, observed, short,
    text,
};
use super::pods::{self, Trouble};
use super::{Ages, Seen, Verdict, judge};
use crate::readiness::{State, Status};

/// How long after a change of the specification the operator may take to change the set of pods.
/// Seen: 0.3 s between the pool's `observedGeneration` and the set's new generation.
const FOLLOWS: Duration = Duration::from_secs(5);

mod reasons;

use reasons::refusal;

const REVISION: &str = "strimzi.io/revision";

/// The status of an object of the group `kafka.strimzi.io`.
pub(super) fn evaluate(
    object: &DynamicObject,
    kind: &str,
    seen: &Seen,
    ages: &mut Ages,
) -> Verdict {
    let report = report(object, seen);
    match kind {
        "Kafka" | "KafkaConnect" => with_pods(object, report, seen, ages),
        // It has no condition of its own, ever.
        "KafkaNodePool" => {
            let report = match report {
                Report::Silent => Report::Ready,
                other => other,
            };
            with_pods(object, report, seen, ages)
        }
        _ => match report {
            Report::Ready => Status::current(accepted(object, kind)).into(),
            report => {
                let (status, trouble) = report.progress();
                judge(status, trouble.into_iter().collect(), ages)
            }
        },
    }
}

/// Whether what the operator has against an object may have passed since: a refusal that waiting
/// fixes, or a change that it missed, while no pod gives it anything to wait for.
pub(super) fn overtaken(object: &DynamicObject, seen: &Seen) -> bool {
    let quiet = is_quiet(seen);
    match report(object, seen) {
        Report::NotReady(_) => quiet,
        // What Connect answered it may have passed, as a login that was wrong.
        Report::Refused(_) => kind(object) == "KafkaConnector",
        Report::Older(_) => quiet && !seen.pods.is_empty(),
        _ => false,
    }
}

/// Whether no pod gives the operator anything to wait for.
fn is_quiet(seen: &Seen) -> bool {
    let mut pods = seen.pods.iter();
    pods.all(|pod| pods::ready(pod) && !of_older_revision(pod, seen))
}

/// What current means for a kind without pods.
fn accepted(object: &DynamicObject, kind: &str) -> String {
    match kind {
        // Whether it works is only known over Connect's REST interface: `Ready` is also said of a
        // connector whose task fails or is restarted without end.
        "KafkaConnector" => "accepted by Connect".into(),
        "KafkaTopic" => match number(&object.data, &["spec", "partitions"]) {
            None => "ready".into(),
            Some(1) => "ready, 1 partition".into(),
            Some(count) => format!("ready, {count} partitions"),
        },
        _ => "ready".into(),
    }
}

/// What the operator says about the newest specification.
enum Report {
    /// Nothing yet.
    Unseen(String),
    /// Only about an older specification.
    Older(String),
    /// It has seen it and has no condition.
    Silent,
    /// It is as wanted.
    Ready,
    /// It is not, and why.
    NotReady(Trouble),
    /// It is not, and waiting does not fix it.
    Refused(Status),
}

impl Report {
    fn progress(self) -> (Status, Option<Trouble>) {
        match self {
            Report::Unseen(message) | Report::Older(message) => {
                (Status::in_progress(message), None)
            }
            Report::Silent => (
                Status::in_progress("the operator reports no condition"),
                None,
            ),
            Report::Ready => (Status::current("ready"), None),
            Report::NotReady(trouble) => (
                Status::in_progress("the operator says NotReady"),
                Some(trouble),
            ),
            Report::Refused(status) => (status, None),
        }
    }
}

fn report(object: &DynamicObject, seen: &Seen) -> Report {
    let generation = object.metadata.generation.unwrap_or_default();
    let Some(status) = object.data.get("status").filter(|status| !status.is_null()) else {
        // Up to 300 s in a first reconcile.
        return Report::Unseen("the operator has not reported yet".into());
    };
    // Kinds differ: a topic says `Ready: False`, the others `NotReady: True`.
    let refused = condition(object, "NotReady")
        .filter(|it| it.is)
        .or_else(|| condition(object, "Ready").filter(|it| !it.is));
    if !observed(object) {
        let seen = number(status, &["observedGeneration"]).unwrap_or_default();
        return match refused {
            Some(it) if seen == 0 && it.reason == "Creating" => Report::Unseen(short(it.message)),
            _ => Report::Older(format!(
                "the operator has not taken up generation {generation} yet (it reports {seen})"
            )),
        };
    }
    match (refused, condition(object, "Ready")) {
        (Some(it), _) => refusal(object, it.reason, it.message, seen),
        (None, Some(ready)) if ready.is => Report::Ready,
        _ => Report::Silent,
    }
}

fn with_pods(object: &DynamicObject, report: Report, seen: &Seen, ages: &mut Ages) -> Verdict {
    let (mut status, trouble) = report.progress();
    let mut troubles: Vec<Trouble> = trouble.into_iter().collect();
    let outdated = outdated(object, seen);
    for pod in &seen.pods {
        troubles.extend(pods::troubles(pod, seen).into_iter().map(|mut trouble| {
            if of_older_revision(pod, seen) {
                trouble.grace = None;
                trouble.message += "; it is about to be replaced";
            } else if outdated {
                // The operator looks at the new specification only when it has given up on this pod.
                trouble.grace = None;
                trouble.message += "; its specification was changed since, which the operator \
                    takes up within 300 s, or at once if its own pod is deleted";
            }
            trouble
        }));
    }
    troubles.sort_by_key(|trouble| trouble.grace.unwrap_or(Duration::MAX));
    if status.state == State::Current {
        status = settled(object, seen, ages).unwrap_or_else(|| pods_status(object, seen));
    } else if status.state == State::InProgress && !seen.pods.is_empty() {
        let ready = seen.pods.iter().filter(|pod| pods::ready(pod)).count();
        let all = pods::count(ready, seen.pods.len());
        status.message = format!("{}; {all}", status.message);
    }
    judge(status, troubles, ages)
}

/// Whether the pods' specification is older than the object's.
fn outdated(object: &DynamicObject, seen: &Seen) -> bool {
    let sets = seen.sets.iter().filter_map(|set| last_written(set)).max();
    owners(object, seen)
        .filter_map(last_written)
        .max()
        .is_some_and(|owner| sets.is_some_and(|sets| owner > sets))
}

/// The objects that decide over the pods: it, and for a Kafka its pools.
fn owners<'a>(
    object: &'a DynamicObject,
    seen: &'a Seen,
) -> impl Iterator<Item = &'a DynamicObject> {
    std::iter::once(object).chain(seen.pools.iter().map(AsRef::as_ref))
}

/// Why the pods that are there may not be those of the newest specification. A pool and its Kafka
/// reach `observedGeneration = generation` before the set of pods is changed.
fn settled(object: &DynamicObject, seen: &Seen, ages: &mut Ages) -> Option<Status> {
    for owner in owners(object, seen) {
        if leaving(owner) {
            continue;
        }
        if !observed(owner) {
            return Some(Status::in_progress(format!(
                "the operator has not taken up the newest specification of {}",
                name(owner)
            )));
        }
        let written = last_written(owner).unwrap_or_default();
        // Connect's status is written when its pods have rolled.
        if kind(owner) == "KafkaConnect" {
            continue;
        }
        let followed = seen
            .sets
            .iter()
            .any(|set| belongs(set, owner) && last_written(set).is_some_and(|set| set > written));
        // By the cluster's clock, and no longer than that by our own.
        let recent = seen.now.saturating_sub(written) < FOLLOWS.as_secs() as i64;
        let generation = owner.metadata.generation.unwrap_or_default();
        let key = format!("follows/{}/{generation}/{written}", name(owner));
        if !followed && recent && ages.lasted(&key) < FOLLOWS {
            return Some(Status::in_progress(
                "ready; its pods may have to follow the last change",
            ));
        }
    }
    None
}

/// Whether the set of pods is of this object. A pool has a set of its own, a Kafka those of its
/// pools.
fn belongs(set: &DynamicObject, owner: &DynamicObject) -> bool {
    let pool = label(set, "strimzi.io/pool-name");
    kind(owner) != "KafkaNodePool" || pool == owner.metadata.name.as_deref()
}

/// Whether the pod's set wants it to be of another revision than it is.
fn of_older_revision(pod: &DynamicObject, seen: &Seen) -> bool {
    let wanted = seen.sets.iter().find_map(|set| {
        list(&set.data, &["spec", "pods"])
            .iter()
            .find(|wanted| text(wanted, &["metadata", "name"]) == pod.metadata.name.as_deref())
            .and_then(|wanted| text(wanted, &["metadata", "annotations", REVISION]))
    });
    wanted.is_some_and(|wanted| annotation(pod, REVISION) != Some(wanted))
}

/// Whether the sets' pods are there, of the newest revision and ready.
fn pods_status(object: &DynamicObject, seen: &Seen) -> Status {
    if seen.sets.is_empty() {
        return Status::in_progress("ready; its set of pods is not there");
    }
    let mut wanted = 0;
    for set in &seen.sets {
        if leaving(set) || !observed(set) {
            return Status::in_progress(format!("the pods of {} are being changed", name(set)));
        }
        let count = |key: &str| number(&set.data, &["status", key]).unwrap_or_default();
        if count("currentPods") < count("pods") {
            return Status::in_progress(format!(
                "{} of {} pods of the newest revision",
                count("currentPods"),
                count("pods")
            ));
        }
        let listed = list(&set.data, &["spec", "pods"]).len();
        wanted += listed.max(usize::try_from(count("pods")).unwrap_or_default());
        let replicas = number(&object.data, &["spec", "replicas"]);
        if seen.sets.len() == 1 && replicas.is_some_and(|replicas| replicas != count("pods")) {
            return Status::in_progress(format!(
                "{} pods instead of {}",
                count("pods"),
                replicas.unwrap_or_default()
            ));
        }
    }
    if let Some(old) = seen.pods.iter().find(|pod| of_older_revision(pod, seen)) {
        return Status::in_progress(format!("pod {} is of an older revision", name(old)));
    }
    let all: Vec<&DynamicObject> = seen.pods.iter().map(AsRef::as_ref).collect();
    let ready = all.iter().filter(|pod| pods::ready(pod)).count();
    // The entity operator's pod is Kafka's too, and in no set.
    let wanted = wanted.max(all.iter().filter(|pod| !leaving(pod)).count());
    let counted = pods::count(ready, wanted);
    if ready < wanted || all.len() > ready {
        return Status::in_progress(pods::told(counted, &all, seen));
    }
    Status::current(format!("ready, {counted}"))
}
