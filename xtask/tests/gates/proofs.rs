//! What a production profile waits for besides readiness: an authority's certificate. The tests
//! write what operators would.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use xtask::error::Code;
use xtask::plan::Progress;
use xtask::platform::kubernetes::watch::one;
use xtask::readiness::kubernetes::certificate;

use crate::server::Server;
use crate::support::{client, create, namespace};

const LONG: Duration = Duration::from_secs(30);
const PROMPT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs KUBEBUILDER_ASSETS"]
async fn apiserver_proofs() {
    let (server, client) = Server::start().await;
    a_certificate_is_waited_for(&client).await;
    a_secret_that_may_not_be_read(&server).await;
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
