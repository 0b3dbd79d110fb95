//! Objects of a Kubernetes cluster: from what was seen of one and of its pods to a [`Status`].
//!
//! Always in this order: does the controller know the newest specification
//! (`observedGeneration`), what do its conditions say, and are the pods that it stands for there,
//! of the right revision and ready. An object may lie about each of them.

mod clickhouse;
mod cnpg;
mod connector;
mod fields;
mod images;
mod leader;
mod pods;
mod recovery;
mod rolled;
mod secret;
mod started;
mod strimzi;
#[cfg(test)]
mod tests;
mod workload;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{DynamicObject, Selector, SelectorExt};

use super::{State, Status};
pub use clickhouse::ALTINITY_LOG;
pub use connector::not_as_wanted;
pub use fields::{kind, last_written as written, observed};
pub use images::{Wanted as WantedImage, pulled, stale};
pub use leader::{leads, seen_by_another};
pub use pods::{LogOf, Missing, Trouble};
pub use recovery::{comes_back, is_broker};
pub use rolled::rolled;
pub use secret::certificate;
pub use started::{paused, started};

/// What was seen of an object and of what stands below it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The object; none if it is not there.
    pub object: Option<Arc<DynamicObject>>,
    /// The pods that its selector finds.
    pub pods: Vec<Arc<DynamicObject>>,
    /// Sets of pods that an operator keeps for it (`StrimziPodSet`).
    pub sets: Vec<Arc<DynamicObject>>,
    /// The pools of a `Kafka`.
    pub pools: Vec<Arc<DynamicObject>>,
    /// Kafka's brokers in the namespace.
    pub brokers: Vec<Arc<DynamicObject>>,
    /// Volume claims of the namespace.
    pub claims: Vec<Arc<DynamicObject>>,
    /// Events of the namespace.
    pub events: Vec<Arc<DynamicObject>>,
    /// The cluster's time in seconds since 1970, as well as it is known here.
    pub now: i64,
}

impl Seen {
    /// As it is without pods that have ended: those of a node that ran out of room stay until somebody
    /// removes them, and others have taken their place.
    fn without_ended(&self) -> Seen {
        let pods = self.pods.iter().filter(|pod| !pods::ended(pod));
        Seen {
            pods: pods.cloned().collect(),
            ..self.clone()
        }
    }
}

/// A status, and what only the cluster can still tell about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: Status,
    /// Whose log explains a failure.
    pub log: Option<LogOf>,
    /// A failure that holds only if this object is missing indeed.
    pub missing: Option<Missing>,
}

impl From<Status> for Verdict {
    fn from(status: Status) -> Self {
        Verdict {
            status,
            log: None,
            missing: None,
        }
    }
}

/// How long each trouble has been seen, by the observer's own clock: clocks of clusters differ.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    /// Now, since the observation began.
    pub now: Duration,
    first: HashMap<String, Duration>,
}

impl Ages {
    /// How long the trouble of this key has been seen. The first question starts its clock, and
    /// nothing stops it: a trouble that comes and goes is the same trouble.
    pub fn lasted(&mut self, key: &str) -> Duration {
        let now = self.now;
        let first = match self.first.get(key) {
            Some(first) => *first,
            None => *self.first.entry(key.to_owned()).or_insert(now),
        };
        now.saturating_sub(first)
    }
}

/// The status of the object, by its kind.
pub fn evaluate(seen: &Seen, ages: &mut Ages) -> Verdict {
    let Some(object) = seen.object.as_deref() else {
        return Status::not_found("not there yet").into();
    };
    if fields::leaving(object) {
        return Status::in_progress("is being deleted").into();
    }
    let types = object.types.clone().unwrap_or_default();
    let group = types.api_version.split_once('/').map_or("", |it| it.0);
    let kind = types.kind.as_str();
    if kind == "Job" {
        return workload::evaluate(object, kind, seen, ages);
    }
    let seen = &seen.without_ended();
    match (group, kind) {
        ("kafka.strimzi.io", kind) => strimzi::evaluate(object, kind, seen, ages),
        (
            "clickhouse.altinity.com" | "clickhouse-keeper.altinity.com",
            "ClickHouseInstallation" | "ClickHouseKeeperInstallation",
        ) => clickhouse::evaluate(object, seen, ages),
        ("postgresql.cnpg.io", "Cluster") => cnpg::evaluate(object, seen, ages),
        (_, kind) => workload::evaluate(object, kind, seen, ages),
    }
}

/// Whether an operator that looks seldom may be of an old opinion about the object, and should be
/// asked to look again.
pub fn overtaken(seen: &Seen) -> bool {
    let Some(object) = seen.object.as_deref().filter(|it| !fields::leaving(it)) else {
        return false;
    };
    let types = object.types.as_ref();
    types.is_some_and(|types| types.api_version.starts_with("kafka.strimzi.io/"))
        && strimzi::overtaken(object, &seen.without_ended())
}

/// Since when, in seconds since 1970, an operator has not taken up an object's newest specification; none
/// if it has.
pub fn untaken(object: &DynamicObject) -> Option<i64> {
    let waits = !observed(object) && !fields::leaving(object);
    waits.then(|| written(object))?
}

/// An operator whose log tells why it waits, where the object that it runs does not.
pub struct OperatorLog {
    /// Its name: of its Deployment, of its pods' label `app`, and of its container. It is in the namespace
    /// of the object.
    pub name: &'static str,
    /// Why it waits, by its log; none if that does not tell.
    pub why: fn(&str) -> Option<String>,
}

/// The operator that alone keeps an object from being current, and does not say why: its pods are ready.
pub fn awaits_operator(seen: &Seen) -> Option<&'static OperatorLog> {
    let object = seen.object.as_deref()?;
    let waits = kind(object) == "ClickHouseInstallation"
        && clickhouse::awaits_operator(object, &seen.without_ended());
    waits.then_some(&ALTINITY_LOG)
}

/// What besides the object itself has to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Pods, their claims and the namespace's events.
    pub pods: bool,
    /// Strimzi's sets of pods.
    pub sets: bool,
    /// The pools of a Kafka.
    pub pools: bool,
}

/// What an object's kind needs.
pub fn needs(group: &str, kind: &str) -> Needs {
    let strimzi = group == "kafka.strimzi.io";
    let sets = strimzi && matches!(kind, "Kafka" | "KafkaNodePool" | "KafkaConnect");
    let pods = matches!(
        (group, kind),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet")
            | ("batch", "Job")
            | ("", "Pod" | "PersistentVolumeClaim")
            | ("clickhouse.altinity.com", "ClickHouseInstallation")
            | (
                "clickhouse-keeper.altinity.com",
                "ClickHouseKeeperInstallation"
            )
            | ("postgresql.cnpg.io", "Cluster")
            | ("kafka.strimzi.io", "KafkaTopic")
    );
    Needs {
        pods: pods || sets,
        sets,
        pools: strimzi && kind == "Kafka",
    }
}

/// Which pods belong to the object, by their labels; none if it has none.
pub fn pods_of(object: &DynamicObject) -> Option<Selector> {
    let kind = kind(object);
    let name = fields::name(object).to_owned();
    let cluster = || fields::label(object, "strimzi.io/cluster");
    let labelled = |labels: &[(&str, &str)]| {
        let labels = labels.iter();
        Some(
            labels
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        )
    };
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => {
            let selector = fields::at(&object.data, &["spec", "selector"])?;
            let selector: LabelSelector = serde_json::from_value(selector.clone()).ok()?;
            selector.try_into().ok()
        }
        "Kafka" | "KafkaConnect" => {
            labelled(&[("strimzi.io/cluster", &name), ("strimzi.io/kind", kind)])
        }
        // How many brokers there are decides whether a refused replication factor can ever do.
        "KafkaTopic" => labelled(&[
            ("strimzi.io/cluster", cluster()?),
            ("strimzi.io/broker-role", "true"),
        ]),
        "KafkaNodePool" => labelled(&[
            ("strimzi.io/cluster", cluster()?),
            ("strimzi.io/pool-name", &name),
        ]),
        "ClickHouseInstallation" => labelled(&[("clickhouse.altinity.com/chi", &name)]),
        "ClickHouseKeeperInstallation" => {
            labelled(&[("clickhouse-keeper.altinity.com/chk", &name)])
        }
        "Cluster" => labelled(&[("cnpg.io/cluster", &name)]),
        _ => None,
    }
}

/// Whether the selector finds the object.
pub fn selects(selector: &Selector, object: &DynamicObject) -> bool {
    match &object.metadata.labels {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&Default::default()),
    }
}

/// Whether a node pool is the Kafka's.
pub fn pool_of(pool: &DynamicObject, kafka: &str) -> bool {
    fields::label(pool, "strimzi.io/cluster") == Some(kafka)
}

/// What the pods' troubles make of a status. A current status needs no pod beyond those that made
/// it current.
fn judge(status: Status, troubles: Vec<Trouble>, ages: &mut Ages) -> Verdict {
    if matches!(status.state, State::Current | State::Failed) {
        return status.into();
    }
    // Every clock has to run, also of the troubles behind the first.
    let lasted: Vec<Duration> = troubles
        .iter()
        .map(|trouble| ages.lasted(&trouble.key))
        .collect();
    let over = troubles
        .iter()
        .zip(lasted)
        .find(|(trouble, lasted)| trouble.grace.is_some_and(|grace| *lasted >= grace));
    if let Some((trouble, _)) = over {
        return Verdict {
            status: Status {
                cause: trouble.cause(),
                ..Status::failed(&trouble.message).with_evidence(trouble.evidence.clone())
            },
            log: trouble.log.clone(),
            missing: trouble.missing.clone(),
        };
    }
    match troubles.into_iter().next() {
        Some(trouble) => Status {
            message: format!("{}; {}", status.message, trouble.message),
            cause: trouble.cause(),
            ..status
        }
        .with_evidence(trouble.evidence)
        .into(),
        None => status.into(),
    }
}
