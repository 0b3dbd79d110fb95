//! The connection to the cluster that an environment runs on: its API server, watches of what runs
//! there, and a loopback port that leads to each service.
//!
//! A broker that is alone is reached through the bootstrap service only.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use tokio::sync::Mutex;

use super::Addresses;
use super::operator_log::Waits;
use crate::clients::kafka::{Broker, Route};
use crate::error::{Code, Error, Result};
use crate::platform::Endpoint;
use crate::platform::kubernetes::Cluster;
use crate::platform::kubernetes::forward::{Forward, To};
use crate::platform::kubernetes::restart::{LOOK, now};
use crate::platform::kubernetes::watch::{Gate, Target, Watches};
use crate::profile::Profile;
use crate::profile::backbone::{CONNECT_CLUSTER, KAFKA_CLUSTER, KAFKA_POOL, STRIMZI};
use crate::profile::component::{ObjectName, Spec};
use crate::readiness::connect::ConnectorStatus;
use crate::readiness::kubernetes as readiness;
use crate::readiness::{State, Status};

/// Before the name of a component: what of it serves clients, without what the operator runs beside.
const SERVING: &str = "serving/";
/// Before a connector's name.
pub(super) const CONNECTOR: &str = "connector/";
/// The operator of Kafka and Connect.
const OPERATOR: &str = "operator";
/// The Deployment of its installation.
pub const STRIMZI_DEPLOYMENT: &str = "strimzi-cluster-operator";

/// A connection. Its forwards end when it is dropped.
pub struct Link {
    /// The API server.
    pub cluster: Cluster,
    pub(super) reach: Addresses,
    /// Loopback ports by the broker that they lead to.
    brokers: Arc<BTreeMap<i32, String>>,
    /// Loopback ports of a component's servers with their shards, where there are several.
    servers: BTreeMap<String, Vec<(u16, Endpoint)>>,
    /// What runs there. Watches begin when something asks for their kind.
    pub watches: Watches,
    /// Why operators wait.
    waits: Waits,
    /// The gates that were looked at, by component.
    gates: Mutex<BTreeMap<String, Vec<Gate>>>,
    _forwards: Vec<Forward>,
}

impl Link {
    /// Opens a loopback port for each service. What is behind them is asked with the first
    /// connection, so nothing need run yet.
    ///
    /// # Errors
    /// There are no free ports.
    pub(super) async fn open(
        cluster: Cluster,
        profile: &Profile,
        inside: &Addresses,
    ) -> Result<Self> {
        let mut forwards = Vec::new();
        let mut open = async |namespace: &str, to: To, port: u16| -> Result<Endpoint> {
            let forward = Forward::open(cluster.client.clone(), namespace, to, port)
                .await
                .map_err(|error| Error::new(Code::Platform, error.to_string()))?;
            let port = forward.address().port();
            forwards.push(forward);
            Ok(Endpoint::loopback(port))
        };
        let mut reach = inside.clone();
        let mut brokers = BTreeMap::new();
        let mut servers = BTreeMap::new();
        for instance in profile.components.values().filter(|it| !it.is_external()) {
            let spec = &instance.spec;
            let (service, space, port) = spec.service(profile);
            let namespace = profile.namespace(space);
            let to = spec.first_pod().map_or(To::Service(service), To::Pod);
            reach.insert(instance.name.clone(), open(namespace, to, port).await?);
            let mut own = Vec::new();
            for (shard, pod) in spec.servers() {
                own.push((shard, open(namespace, To::Pod(pod), port).await?));
            }
            servers.insert(instance.name.clone(), own);
        }
        // One that is alone is reached through the service, over connections that are there already.
        if profile.kafka.external.is_none() && profile.kafka.replicas > 1 {
            let (_, space, port) = profile.kafka.service(profile);
            let namespace = profile.namespace(space);
            for id in 0..profile.kafka.replicas {
                let pod = To::Pod(format!("{KAFKA_CLUSTER}-{KAFKA_POOL}-{id}"));
                let endpoint = open(namespace, pod, port).await?;
                brokers.insert(i32::from(id), endpoint.address());
            }
        }
        Ok(Link {
            servers,
            watches: Watches::new(cluster.client.clone()),
            cluster,
            reach,
            brokers: Arc::new(brokers),
            waits: Waits::default(),
            gates: Mutex::default(),
            _forwards: forwards,
        })
    }

    /// The first of a component's objects that is not current, as the cluster sees it.
    pub(super) async fn blocked_by(&self, profile: &Profile, component: &str) -> Option<Status> {
        let mut gates = self.gates.lock().await;
        for gate in self.of(&mut gates, profile, component) {
            let status = gate.look().await;
            if status.state == State::InProgress
                && let Some(operator) = gate.awaits_operator()
                && let Some(space) = gate.target().namespace.as_deref()
                && let Some(why) = self.waits.why(&self.cluster, space, operator).await
            {
                let message = format!("{}; {why}", status.message);
                return Some(Status { message, ..status });
            }
            if status.state != State::Current {
                return Some(status);
            }
        }
        None
    }

    /// Ends waits of others for a component that are in vain by now: an operator's that may be of an
    /// old opinion, or has not seen that what it made is `changed`, is asked to look again; a kubelet's
    /// pause ends with its pod. Says what it did.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn nudge_operator(
        &self,
        profile: &Profile,
        component: &str,
        changed: bool,
    ) -> Result<Option<String>> {
        let mut gates = self.gates.lock().await;
        let mut said = None;
        for gate in self.of(&mut gates, profile, component) {
            if gate.is_overtaken(changed) {
                self.cluster.annotate(gate.target(), LOOK, &now()).await?;
                said = Some("asked the operator to look again".to_owned());
            }
            if component == profile.connect.name {
                said = self.unpause(profile, &gate.paused()).await?.or(said);
            }
        }
        Ok(said)
    }

    /// Replaces workers that found no broker when they began, and that the kubelet lets pause for up
    /// to five minutes, now that there is one. Who would make new ones must be there.
    async fn unpause(
        &self,
        profile: &Profile,
        paused: &[Arc<DynamicObject>],
    ) -> Result<Option<String>> {
        if paused.is_empty() {
            return Ok(None);
        }
        let Some((workers, brokers)) = self.workers_and_brokers(profile).await else {
            return Ok(None);
        };
        let some_ready = brokers.iter().any(|pod| ready_since(pod).is_some());
        if !some_ready || !ended_before_ready(&workers, &brokers) {
            return Ok(None);
        }
        let operator = self.cluster.object(&strimzi(profile)).await?;
        let runs = operator.and_then(|it| it.data["status"]["availableReplicas"].as_u64());
        if runs.unwrap_or_default() == 0 {
            return Ok(None);
        }
        let mut replaced = Vec::new();
        for pod in paused {
            if self.cluster.replace_paused(pod).await? {
                replaced.extend(pod.metadata.name.as_deref());
            }
        }
        Ok((!replaced.is_empty()).then(|| {
            format!(
                "replaced {}, which had found no broker",
                replaced.join(", ")
            )
        }))
    }

    /// What keeps a component from serving, which may be less than what [`Link::blocked_by`] waits for:
    /// brokers answer some ten seconds before the operator has what else belongs to a Kafka, and may
    /// answer while the rest of it fails.
    pub(super) async fn unserved_by(&self, profile: &Profile, component: &str) -> Option<Status> {
        let whole = self.blocked_by(profile, component).await?;
        let found = profile.component(component);
        if found.is_none_or(|it| it.spec.serving(profile).is_none()) {
            return Some(whole);
        }
        let brokers = self
            .blocked_by(profile, &format!("{SERVING}{component}"))
            .await?;
        Some(match whole.state {
            // Why there are no brokers.
            State::Failed => whole,
            _ => brokers,
        })
    }

    /// As [`Link::blocked_by`], but only until the component's pods have begun: what they need of other
    /// components comes later.
    pub(super) async fn not_started(&self, profile: &Profile, component: &str) -> Option<Status> {
        let mut gates = self.gates.lock().await;
        for gate in self.of(&mut gates, profile, component) {
            let status = gate.begun().await;
            if status.state != State::Current {
                return Some(status);
            }
        }
        None
    }

    /// What the operator has against a connector's resource, or what of it Connect does not do yet.
    pub(super) async fn connector_blocked_by(
        &self,
        profile: &Profile,
        name: &str,
        status: Option<&ConnectorStatus>,
    ) -> Option<Status> {
        let resource = format!("{CONNECTOR}{name}");
        let blocked = self.blocked_by(profile, &resource).await;
        let mut gates = self.gates.lock().await;
        let Some(object) = self.of(&mut gates, profile, &resource).first()?.object() else {
            return blocked;
        };
        match blocked {
            // What it has not looked at yet, and what it has refused.
            Some(blocked) if blocked.state == State::Failed || !readiness::observed(&object) => {
                Some(blocked)
            }
            blocked => readiness::not_as_wanted(&object, status).or(blocked),
        }
    }

    /// Whether Strimzi's operator is at work: one of its pods leads, and none of those `before`.
    pub(super) async fn operator_leads(
        &self,
        profile: &Profile,
        before: &BTreeMap<String, String>,
    ) -> Status {
        let mut gates = self.gates.lock().await;
        let Some(gate) = self.of(&mut gates, profile, OPERATOR).first_mut() else {
            return Status::current("there is none");
        };
        let status = gate.look().await;
        let (Some(operator), State::InProgress | State::Current) = (gate.object(), status.state)
        else {
            return status;
        };
        let mut pods = gate.pods();
        // Others look while the server answers.
        drop(gates);
        pods.retain(|pod| {
            let uid = pod.metadata.uid.as_ref();
            !before.values().any(|old| Some(old) == uid)
        });
        let target = strimzi(profile);
        let space = target.namespace.unwrap_or_default();
        let lease = Target::of("coordination.k8s.io/v1", "Lease", &space, target.name);
        match self.cluster.object(&lease).await {
            Ok(lease) => readiness::leads(&operator, lease.as_ref(), &pods),
            // Who may not look at leases sees pods.
            Err(error) if error.code == Code::Platform => readiness::leads(&operator, None, &pods),
            Err(error) => Status::unknown(error.message),
        }
    }

    /// Whether the operator that is installed has looked at Kafka: one of another version replaces pods.
    pub(super) async fn unseen_by_operator(&self, profile: &Profile) -> Option<Status> {
        let mut gates = self.gates.lock().await;
        let operator = self.of(&mut gates, profile, OPERATOR).first()?.object()?;
        let kafka = self
            .of(&mut gates, profile, &profile.kafka.name)
            .first()?
            .object()?;
        readiness::seen_by_another(&kafka, &operator)
    }

    /// The gates on the objects of this name, which are made when they are first looked at.
    fn of<'a>(
        &self,
        gates: &'a mut BTreeMap<String, Vec<Gate>>,
        profile: &Profile,
        name: &str,
    ) -> &'a mut Vec<Gate> {
        gates.entry(name.to_owned()).or_insert_with(|| {
            let targets = targets(profile, name).into_iter();
            targets.map(|target| self.watches.gate(target)).collect()
        })
    }

    /// Their pods; none if the cluster does not tell.
    async fn workers_and_brokers(&self, profile: &Profile) -> Option<(Vec<Pod>, Vec<Pod>)> {
        let namespace = &profile.kubernetes.kafka_namespace;
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
        let list = async |name: &str| {
            let labels = ListParams::default().labels(&format!("strimzi.io/name={name}"));
            api.list(&labels).await.map(|pods| pods.items).ok()
        };
        let workers = list(&format!("{CONNECT_CLUSTER}-connect")).await?;
        Some((workers, list(&format!("{KAFKA_CLUSTER}-kafka")).await?))
    }

    /// A component's servers with their shards, where there are several.
    pub(super) fn servers(&self, component: &str) -> &[(u16, Endpoint)] {
        self.servers.get(component).map_or(&[], Vec::as_slice)
    }

    /// Where each broker is dialled: they advertise names that only pods can resolve.
    pub(super) fn route(&self) -> Route {
        let brokers = self.brokers.clone();
        Arc::new(move |broker: &Broker| brokers.get(&broker.id).cloned())
    }
}

/// Whether the last end of every worker's container lies before the moment since which a broker is
/// ready, or no broker is ready at all.
fn ended_before_ready(workers: &[Pod], brokers: &[Pod]) -> bool {
    let ends: Vec<&Time> = workers
        .iter()
        .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref())
        .flatten()
        .filter_map(|container| {
            let state = container.last_state.as_ref()?;
            state.terminated.as_ref()?.finished_at.as_ref()
        })
        .collect();
    let ready = brokers.iter().filter_map(ready_since).min();
    !brokers.is_empty()
        && !ends.is_empty()
        && ready.is_none_or(|ready| ends.iter().all(|end| *end < ready))
}

/// Since when a pod is ready, if it is.
fn ready_since(pod: &Pod) -> Option<&Time> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|it| it.type_ == "Ready" && it.status == "True")?;
    ready.last_transition_time.as_ref()
}

/// A connector's resource.
pub fn connector(profile: &Profile, name: &str) -> Target {
    let namespace = &profile.kubernetes.kafka_namespace;
    Target::of(STRIMZI, "KafkaConnector", namespace, name)
}

/// Strimzi's own Deployment.
pub fn strimzi(profile: &Profile) -> Target {
    let namespace = &profile.kubernetes.kafka_namespace;
    Target::of("apps/v1", "Deployment", namespace, STRIMZI_DEPLOYMENT)
}

/// The objects that a component, a connector (`connector/NAME`) or the operator is made of.
pub fn targets(profile: &Profile, name: &str) -> Vec<Target> {
    if name == OPERATOR {
        return vec![strimzi(profile)];
    }
    if let Some(name) = name.strip_prefix(CONNECTOR) {
        return vec![connector(profile, name)];
    }
    let serving = name.strip_prefix(SERVING);
    let Some(instance) = profile.component(serving.unwrap_or(name)) else {
        return Vec::new();
    };
    let objects = match serving {
        Some(_) => instance.spec.serving(profile).unwrap_or_default(),
        None => instance.spec.objects(profile),
    };
    objects
        .into_iter()
        .map(|(space, ObjectName { api, kind, name })| {
            Target::of(api, kind, profile.namespace(space), name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({ "metadata": {}, "status": status }))
            .expect("a pod")
    }

    #[test]
    fn a_worker_that_ended_without_a_broker_is_excused() {
        let ended = |at: &str| {
            let end = serde_json::json!({ "exitCode": 2, "finishedAt": at });
            pod(serde_json::json!({ "containerStatuses": [{
                "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
                "lastState": { "terminated": end },
            }] }))
        };
        let broker = |status: &str| {
            pod(serde_json::json!({ "conditions": [{
                "type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:01:00Z",
            }] }))
        };
        let early = [ended("2026-01-01T00:00:30Z")];
        let late = [ended("2026-01-01T00:01:30Z")];
        assert!(ended_before_ready(&early, &[broker("True")]));
        assert!(ended_before_ready(&late, &[broker("False")]));
        assert!(!ended_before_ready(&late, &[broker("True")]));
        assert!(!ended_before_ready(&early, &[]));
        // Another trouble than an end: an image that is nowhere.
        assert!(!ended_before_ready(
            &[pod(serde_json::json!({}))],
            &[broker("False")]
        ));
    }
}
