//! What a production profile waits for besides readiness: an authority's certificate, and the
//! digest that pods run. The tests write what operators and kubelets would.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use xtask::error::Code;
use xtask::plan::Progress;
use xtask::platform::kubernetes::watch::{Watches, one};
use xtask::readiness::kubernetes::{WantedImage, certificate, pulled};

use crate::server::Server;
use crate::support::{api, client, create, namespace, set, stateful_set};

const LONG: Duration = Duration::from_secs(30);
const PROMPT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn apiserver_proofs() {
    let (server, client) = Server::start().await;
    a_certificate_is_waited_for(&client).await;
    a_secret_that_may_not_be_read(&server).await;
    the_running_digest_is_proven(&client).await;
}

async fn a_certificate_is_waited_for(client: &Client) {
    namespace(client, "authority").await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "authority");
    let waits = tokio::spawn({
        let secrets = secrets.clone();
        async move {
            let silent = Progress::silent();
            let found = one(secrets, "ca-cert", LONG, &silent, |secret| {
                certificate(secret, "ca.crt")
            });
            (found.await, Instant::now())
        }
    });
    let secret = |name: &str, text: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"ca.crt": text},
        })
    };
    // Another Secret, and one that is not complete yet, end nothing.
    create(
        client,
        Some("authority"),
        secret("other", "-----BEGIN CERTIFICATE-----"),
    )
    .await;
    let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca-cert"}});
    create(client, Some("authority"), empty).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waits.is_finished());
    let begin = Instant::now();
    let patch = json!({"stringData": {"ca.crt": "-----BEGIN CERTIFICATE-----\nMII"}});
    secrets
        .patch("ca-cert", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    let (found, end) = waits.await.unwrap();
    assert_eq!(found.unwrap().name_any(), "ca-cert");
    assert!(end.duration_since(begin) < PROMPT, "{:?}", end - begin);
}

async fn a_secret_that_may_not_be_read(server: &Server) {
    let nobody = client(&server.kubeconfig("nobody")).await;
    let secrets: Api<Secret> = Api::namespaced(nobody, "authority");
    let begin = Instant::now();
    let error = one(secrets, "ca-cert", LONG, &Progress::silent(), |secret| {
        certificate(secret, "ca.crt")
    })
    .await
    .unwrap_err();
    assert_eq!(error.code, Code::GateFailed);
    assert!(error.message.contains("may not watch"), "{error}");
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
}

const DIGEST: &str = "sha256:aa11";

async fn running(client: &Client, pod: &str, image_id: &str) {
    let status: Value = json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{
            "name": "c", "image": "registry.example/cdc:1", "imageID": image_id, "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    });
    api(client, "v1", "Pod", Some("digest"))
        .patch_status(
            pod,
            &PatchParams::default(),
            &Patch::Merge(json!({"status": status})),
        )
        .await
        .unwrap();
}

async fn the_running_digest_is_proven(client: &Client) {
    namespace(client, "digest").await;
    let container = json!({"name": "c", "image": "registry.example/cdc:1"});
    create(client, Some("digest"), set("s", container.clone())).await;
    create(
        client,
        Some("digest"),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s-0", "labels": {"app": "s"}},
            "spec": {"containers": [container]},
        }),
    )
    .await;
    let ready = json!({"status": {
        "observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "updatedReplicas": 1,
    }});
    api(client, "apps/v1", "StatefulSet", Some("digest"))
        .patch_status("s", &PatchParams::default(), &Patch::Merge(ready))
        .await
        .unwrap();
    let proof = || {
        let watches = Watches::new(client.clone());
        let wanted = WantedImage {
            container: "c".into(),
            reference: "registry.example/cdc:1".into(),
            digests: [DIGEST.to_owned()].into(),
            pods: 1,
        };
        tokio::spawn(async move {
            let silent = Progress::silent();
            let (set, judge) = (stateful_set("digest", "s"), |pods: &[_]| {
                pulled(pods, &wanted)
            });
            watches
                .replaced("the image", set, judge, LONG, &silent)
                .await
        })
    };
    running(client, "s-0", "").await;
    let waits = proof();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waits.is_finished());
    let begin = Instant::now();
    running(client, "s-0", &format!("registry.example/cdc@{DIGEST}")).await;
    assert_eq!(waits.await.unwrap().unwrap(), "1 of 1 pod run sha256:aa11");
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
    // The tag is the same, what runs is not.
    running(client, "s-0", "registry.example/cdc@sha256:bb22").await;
    let begin = Instant::now();
    let error = proof().await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::GateFailed);
    assert!(
        error.message.contains("pod s-0 runs sha256:bb22"),
        "{error}"
    );
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
}
