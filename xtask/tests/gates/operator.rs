//! An operator that is away, restarted, or has not looked yet, against a real API server. The tests do
//! what its pods and controllers would.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use xtask::operate::restart::{self, What};
use xtask::plan::{Outcome, Progress};
use xtask::platform::kubernetes::Cluster;
use xtask::readiness::State;

use crate::replaced::define;
use crate::support::{api, create, environment};

const LONG: Duration = Duration::from_secs(30);
const OPERATOR: &str = "strimzi-cluster-operator";
const LEASE: (&str, &str) = ("coordination.k8s.io/v1", "Lease");
const CONNECTOR: (&str, &str) = ("kafka.strimzi.io/v1", "KafkaConnector");

async fn patch(client: &Client, kind: (&str, &str), space: &str, name: &str, patch: Value) {
    let objects = api(client, kind.0, kind.1, Some(space));
    let status = patch.get("status").is_some();
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    match status {
        true => objects.patch_status(name, &params, &patch).await.unwrap(),
        false => objects.patch(name, &params, &patch).await.unwrap(),
    };
}

/// A pod of the operator that has begun and is not ready yet.
async fn pod(client: &Client, space: &str, name: &str) {
    let made = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"name": OPERATOR}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    create(client, Some(space), made).await;
    let running = json!({"running": {"startedAt": "2026-11-29T11:36:26Z"}});
    let containers = json!([{
        "name": "c", "image": "i:1", "imageID": "", "ready": false, "restartCount": 0, "state": running,
    }]);
    let status = json!({"status": {"containerStatuses": containers}});
    patch(client, ("v1", "Pod"), space, name, status).await;
}

/// `restart operator` deletes its pod, leaves its Deployment alone, and ends when the new one leads.
pub async fn it_is_back_when_it_leads(cluster: &Cluster) {
    let client = &cluster.client;
    let env = environment(cluster).await;
    let space = env.profile.kubernetes.kafka_namespace.as_str();
    let template = json!({
        "metadata": {"labels": {"name": OPERATOR}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": OPERATOR},
        "spec": {"selector": {"matchLabels": {"name": OPERATOR}}, "template": template},
    });
    create(client, Some(space), deployment).await;
    let status = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1});
    let status = json!({ "status": status });
    patch(client, ("apps/v1", "Deployment"), space, OPERATOR, status).await;
    pod(client, space, "old").await;
    let lease = |holder: &str| json!({"spec": {"holderIdentity": holder, "renewTime": "2026-11-29T11:37:02.000000Z"}});
    let mut made = lease("old");
    made["apiVersion"] = json!(LEASE.0);
    made["kind"] = json!(LEASE.1);
    made["metadata"] = json!({"name": OPERATOR});
    create(client, Some(space), made).await;

    let plan = restart::plan(&env, &What::Operator).unwrap();
    let (graph, actions) = plan.build().unwrap();
    assert_eq!(graph.nodes()[0].id, "strimzi/roll");
    let roll = actions.into_iter().next().unwrap();
    let replica_set = async {
        let pods = api(client, "v1", "Pod", Some(space));
        let begin = Instant::now();
        while pods.get_opt("old").await.unwrap().is_some() {
            assert!(begin.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pod(client, space, "new").await;
        // Not while the lease is the old one's.
        tokio::time::sleep(Duration::from_secs(1)).await;
        patch(client, LEASE, space, OPERATOR, lease("new")).await;
        Instant::now()
    };
    let roll = async { (roll(Progress::silent()).await, Instant::now()) };
    let ((rolled, ended), led) = tokio::join!(roll, replica_set);
    assert_eq!(rolled.unwrap(), Outcome::Changed("new leads".into()));
    assert!(ended > led);
    let deployments = api(client, "apps/v1", "Deployment", Some(space));
    let there = deployments.get(OPERATOR).await.unwrap();
    assert_eq!(there.metadata.generation, Some(1));
}

/// What a connector's resource wants is waited for, whether the operator has seen it or not.
pub async fn a_connector_is_as_its_resource_wants_it(cluster: &Cluster) {
    let client = &cluster.client;
    let env = environment(cluster).await;
    let space = env.profile.kubernetes.kafka_namespace.as_str();
    define(client, CONNECTOR).await;
    let name = "postgres-connector";
    let made = json!({
        "apiVersion": CONNECTOR.0, "kind": CONNECTOR.1, "metadata": {"name": name},
        "spec": {"state": "paused"},
    });
    create(client, Some(space), made).await;
    let ready = json!({"status": {
        "observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let reports = |state: &str| {
        let status = json!({"name": name, "connector": {"state": state}, "tasks": []});
        serde_json::from_value(status).unwrap()
    };
    let seen = async |state: &str, wanted: &str| {
        let begin = Instant::now();
        loop {
            let blocked = env.connector_blocked_by(name, Some(&reports(state))).await;
            let (is, said) =
                blocked.map_or((State::Current, String::new()), |it| (it.state, it.message));
            if said.contains(wanted) && (is == State::Current) == wanted.is_empty() {
                return;
            }
            // Never before the watch has seen it.
            assert!(
                is != State::Current && begin.elapsed() < LONG,
                "{wanted}: {said}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    seen("RUNNING", "the operator has not reported yet").await;
    patch(client, CONNECTOR, space, name, ready).await;
    seen(
        "RUNNING",
        "its resource wants it paused, and Connect reports RUNNING",
    )
    .await;
    seen("PAUSED", "").await;
    let state = json!({"spec": {"state": "running"}});
    patch(client, CONNECTOR, space, name, state).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    seen("RUNNING", "the operator has not taken up generation 2").await;
}
