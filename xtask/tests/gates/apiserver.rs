//! Watches against a real API server. The tests write the statuses that controllers would.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use xtask::error::Code;
use xtask::plan::Progress;
use xtask::platform::kubernetes::Cluster;
use xtask::platform::kubernetes::preflight::{self, Options};
use xtask::platform::kubernetes::watch::{Target, Watches};
use xtask::readiness::State;

use crate::operator::{a_connector_is_as_its_resource_wants_it, it_is_back_when_it_leads};
use crate::replaced::{a_pause_ends_with_its_pod_only, a_set_is_restarted, strimzi_is_asked};
use crate::server::Server;
use crate::support::{Waits, api, client, create, namespace, object, set, stateful_set};

const LONG: Duration = Duration::from_secs(30);

async fn status(client: &Client, space: &str, kind: (&str, &str), name: &str, status: Value) {
    api(client, kind.0, kind.1, Some(space))
        .patch_status(
            name,
            &PatchParams::default(),
            &Patch::Merge(json!({"status": status})),
        )
        .await
        .unwrap();
}

const SET: (&str, &str) = ("apps/v1", "StatefulSet");

fn ready(generation: i64) -> Value {
    json!({"observedGeneration": generation, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1})
}

/// Opens a gate and waits until it has seen the server once.
async fn settled(watches: &Watches, target: Target) -> xtask::platform::kubernetes::watch::Gate {
    let mut gate = watches.gate(target);
    let begin = Instant::now();
    while gate.look().await.state == State::Unknown {
        assert!(begin.elapsed() < LONG, "{:?}", gate.look().await);
        let mut changes = gate.changes();
        let _ = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
    }
    gate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn apiserver_gates() {
    let (mut server, client) = Server::start().await;
    reacts_within_100_ms(&client).await;
    shares_its_watches(&client).await;
    a_kind_that_comes_later(&client).await;
    a_permission_that_is_missing(&server, &client).await;
    a_missing_secret_is_looked_for(&client).await;
    a_crash_is_a_failure(&client).await;
    preflight_names_everything(&client).await;
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig("admin")).unwrap();
    let cluster = Cluster::of(kubeconfig, "c").await.unwrap();
    a_set_is_restarted(&cluster).await;
    a_pause_ends_with_its_pod_only(&cluster).await;
    strimzi_is_asked(&cluster).await;
    it_is_back_when_it_leads(&cluster).await;
    a_connector_is_as_its_resource_wants_it(&cluster).await;
    survives_the_servers_restart(&mut server, &client).await;
}

async fn reacts_within_100_ms(client: &Client) {
    namespace(client, "react").await;
    create(
        client,
        Some("react"),
        set("s", json!({"name": "c", "image": "i:1"})),
    )
    .await;
    let watches = Watches::new(client.clone());
    let mut took = Vec::new();
    for _ in 0..40 {
        status(
            client,
            "react",
            SET,
            "s",
            json!({"observedGeneration": 1, "readyReplicas": 0, "availableReplicas": 0, "replicas": 1}),
        )
        .await;
        let mut gate = settled(&watches, stateful_set("react", "s")).await;
        while gate.look().await.state == State::Current {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let waits = tokio::spawn(async move {
            let result = gate.current("s", LONG, &Progress::silent()).await;
            (result, Instant::now())
        });
        tokio::time::sleep(Duration::from_millis(37)).await;
        let begin = Instant::now();
        status(client, "react", SET, "s", ready(1)).await;
        let (result, end) = waits.await.unwrap();
        assert_eq!(result.unwrap(), "1 of 1 pod ready");
        took.push(end.duration_since(begin));
    }
    took.sort();
    println!(
        "a gate reacts after the patch was sent: p50 {:?}, p95 {:?}, max {:?}",
        took[took.len() / 2],
        took[took.len() * 95 / 100],
        took[took.len() - 1]
    );
    assert!(
        took[took.len() * 95 / 100] < Duration::from_millis(100),
        "{took:?}"
    );
}

/// Watches of a resource that the server holds open now.
async fn open_watches(client: &Client, resource: &str) -> u64 {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let text = client.request_text(request).await.unwrap();
    text.lines()
        .filter(|line| {
            line.starts_with("apiserver_longrunning_requests{")
                && line.contains(&format!("resource=\"{resource}\""))
                && line.contains("scope=\"namespace\"")
                && line.contains("verb=\"WATCH\"")
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>() as u64
}

async fn shares_its_watches(client: &Client) {
    namespace(client, "share").await;
    let watches = Watches::new(client.clone());
    let mut gates = Vec::new();
    for n in 0..20 {
        let name = format!("s{n}");
        create(
            client,
            Some("share"),
            set(&name, json!({"name": "c", "image": "i:1"})),
        )
        .await;
        gates.push(settled(&watches, stateful_set("share", &name)).await);
    }
    // A watch is counted when the server has begun it, which is after it has listed.
    let begin = Instant::now();
    loop {
        let mut open = Vec::new();
        for resource in ["statefulsets", "pods", "events", "persistentvolumeclaims"] {
            open.push(open_watches(client, resource).await);
        }
        if open == [1, 1, 1, 1] {
            break;
        }
        assert!(begin.elapsed() < LONG, "watches of 20 gates: {open:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(gates);
    // All of many, as one wait.
    let silent = Progress::silent();
    let wait = futures_util::future::try_join_all((0..3).map(|n| {
        let gate = watches.gate(stateful_set("share", format!("s{n}").as_str()));
        gate.current("all", LONG, &silent)
    }));
    let patches = async {
        for n in 0..3 {
            status(client, "share", SET, &format!("s{n}"), ready(1)).await;
        }
    };
    assert_eq!(tokio::join!(wait, patches).0.unwrap().len(), 3);
    drop(watches);
    let begin = Instant::now();
    while open_watches(client, "pods").await > 0 {
        assert!(begin.elapsed() < LONG, "watches outlive their owner");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_kind_that_comes_later(client: &Client) {
    namespace(client, "later").await;
    let watches = Watches::new(client.clone());
    let target = Target::of("x.io/v1", "Thing", "later", "t");
    let mut gate = settled(&watches, target).await;
    let seen = gate.look().await;
    assert_eq!(
        (seen.state, seen.message.as_str()),
        (State::NotFound, "its kind is not served by the cluster yet")
    );
    let waits = tokio::spawn(async move { gate.current("t", LONG, &Progress::silent()).await });
    create(client, None, json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.x.io"},
        "spec": {
            "group": "x.io", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    }))
    .await;
    let things = api(client, "x.io/v1", "Thing", Some("later"));
    let thing =
        object(json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "t"}}));
    let begin = Instant::now();
    while things.create(&Default::default(), &thing).await.is_err() {
        assert!(begin.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(waits.await.unwrap().unwrap(), "there");
}

async fn a_permission_that_is_missing(server: &Server, _: &Client) {
    let nobody = client(&server.kubeconfig("nobody")).await;
    let watches = Watches::new(nobody);
    let begin = Instant::now();
    let error = watches
        .gate(stateful_set("react", "s"))
        .current("s", LONG, &Progress::silent())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::GateFailed);
    assert!(begin.elapsed() < Duration::from_secs(5));
    let says = error.to_string();
    assert!(
        says.contains("cannot list resource \"statefulsets\""),
        "{says}"
    );
}

/// A pod that no kubelet sees, with this status.
async fn pod(client: &Client, space: &str, name: &str, status_: Value) -> String {
    let made = create(
        client,
        Some(space),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        }),
    )
    .await;
    status(client, space, ("v1", "Pod"), name, status_).await;
    made.metadata.uid.unwrap()
}

async fn a_missing_secret_is_looked_for(client: &Client) {
    namespace(client, "mounts").await;
    let uid = pod(client, "mounts", "p", json!({"phase": "Pending"})).await;
    create(client, Some("mounts"), json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "mounts", "uid": uid},
        "reason": "FailedMount", "message": "MountVolume.SetUp failed for volume \"v\" : secret \"creds\" not found",
        "type": "Warning", "lastTimestamp": "2026-11-21T03:00:00Z",
    }))
    .await;
    let watches = Watches::new(client.clone());
    let target = || Target::of("v1", "Pod", "mounts", "p");
    let begin = Instant::now();
    let error = watches
        .gate(target())
        .current("p", LONG, &Progress::silent())
        .await
        .unwrap_err();
    assert!(
        error.message.contains("Secret `creds` is missing"),
        "{error}"
    );
    println!("a missing Secret fails after {:.1?}", begin.elapsed());
    // The event stays, the Secret comes: waiting may mend it now.
    create(
        client,
        Some("mounts"),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds"}}),
    )
    .await;
    let error = watches
        .gate(target())
        .current("p", Duration::from_secs(13), &Progress::silent())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::GateTimeout);
    assert!(error.message.contains("the Secret is there now"), "{error}");
}

async fn a_crash_is_a_failure(client: &Client) {
    let waits = json!({
        "phase": "Running",
        "containerStatuses": [{
            "name": "c", "image": "i:1", "imageID": "", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }],
    });
    pod(client, "mounts", "crashes", waits).await;
    let watches = Watches::new(client.clone());
    let begin = Instant::now();
    let error = watches
        .gate(Target::of("v1", "Pod", "mounts", "crashes"))
        .current("p", LONG, &Progress::silent())
        .await
        .unwrap_err();
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(
        error.message,
        "p: pod crashes: container c keeps ending: exit code 1"
    );
    // There is no kubelet to ask: that the log is missing is said, and the failure stays.
    assert!(
        error
            .details
            .iter()
            .any(|line| line.starts_with("no log of container c")),
        "{error}"
    );
}

async fn preflight_names_everything(client: &Client) {
    namespace(client, "pre").await;
    create(
        client,
        None,
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}),
    )
    .await;
    api(client, "v1", "Node", None)
        .patch_status(
            "n1",
            &PatchParams::default(),
            &Patch::Merge(json!({"status": {
                "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
                "images": [{"names": ["docker.io/library/there:1"], "sizeBytes": 1}],
            }})),
        )
        .await
        .unwrap();
    create(
        client,
        Some("pre"),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there"}}),
    )
    .await;
    let container = |cpu: &str, secret: &str| {
        json!({
            "name": "c", "image": "cdc-connect:1", "resources": {"requests": {"cpu": cpu}},
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}],
        })
    };
    let in_pre = |mut value: Value| {
        value["metadata"]["namespace"] = json!("pre");
        object(value)
    };
    let mut claims = set("claims", container("100m", "there"));
    claims["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "d"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}]);
    let objects = [
        in_pre(set("big", container("64", "there"))),
        in_pre(set("ref", container("1", "absent"))),
        in_pre(claims),
    ];
    let options = Options {
        local_images: vec!["cdc-connect:1".into()],
        grows: false,
    };
    let error = preflight::run(client, &objects, &options)
        .await
        .unwrap_err();
    let says = error.to_string();
    for expected in [
        "StatefulSet ref refers to Secret `absent`, which is not in namespace pre",
        "StatefulSet claims names no storage class, and the cluster has no default",
        "image docker.io/library/cdc-connect:1 of StatefulSet big is not on node n1",
        "a pod of StatefulSet big requests cpu 64",
    ] {
        assert!(says.contains(expected), "{expected} is not in {says}");
    }
    assert_eq!(error.others.len(), 3, "{says}");
    let fine = [in_pre(set(
        "fine",
        json!({"name": "c", "image": "there:1", "resources": {"requests": {"cpu": "1"}}}),
    ))];
    let notes = preflight::run(client, &fine, &Options::default())
        .await
        .unwrap();
    assert_eq!(notes, Vec::<String>::new());
}

async fn survives_the_servers_restart(server: &mut Server, client: &Client) {
    namespace(client, "restart").await;
    create(
        client,
        Some("restart"),
        set("s", json!({"name": "c", "image": "i:1"})),
    )
    .await;
    let watches = Watches::new(client.clone());
    let gate = settled(&watches, stateful_set("restart", "s")).await;
    let waits = tokio::spawn(async move { gate.current("s", LONG * 3, &Progress::silent()).await });
    server.kill();
    let mut blind = watches.gate(stateful_set("restart", "s"));
    let begin = Instant::now();
    while blind.look().await.state != State::Unknown {
        assert!(
            begin.elapsed() < LONG,
            "nobody notices that the server is gone"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("without a server: {}", blind.look().await.message);
    server.up();
    server.ready(client).await;
    status(client, "restart", SET, "s", ready(1)).await;
    let begin = Instant::now();
    assert_eq!(waits.await.unwrap().unwrap(), "1 of 1 pod ready");
    println!(
        "after the server's restart a gate reacts within {:.1?}",
        begin.elapsed()
    );
    assert!(begin.elapsed() < Duration::from_secs(4));
}
