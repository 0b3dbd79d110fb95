//! A cluster's life: made, found again, never changed by surprise, removed only by its maker.

use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptions,
};
use xtask::error::Code;
use xtask::plan::Progress;
use xtask::platform::docker;
use xtask::platform::kind::{self, Ensured, Spec, found};

use crate::lab::{config, kind, spec};

#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE and a Docker engine"]
async fn a_cluster_is_made_found_protected_and_removed() {
    let docker = docker::connect().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kind = kind(dir.path()).await;
    let quiet = Progress::silent();
    let wanted = spec("cdc-test-life", 1, 28_080);
    let ensure = |spec: Spec| {
        let (kind, docker, quiet) = (&kind, &docker, &quiet);
        async move { kind::ensure(kind, docker, &spec, &config(&spec), quiet).await }
    };

    // A port that somebody has is told before anything is made.
    let held = std::net::TcpListener::bind("127.0.0.1:28080").unwrap();
    let error = ensure(wanted.clone()).await.unwrap_err();
    assert_eq!(error.code, Code::PortTaken);
    assert!(
        error.details[0].contains(&format!("pid {}", std::process::id())),
        "{error}"
    );
    assert_eq!(found::find(&docker, "cdc-test-life").await.unwrap(), None);
    drop(held);

    // A run that is killed at any time leaves what the next run mends: here, as soon as a node is
    // there, before Kind has configured it.
    let seen = |name: &'static str| {
        let docker = &docker;
        async move { found::find(docker, name).await.unwrap() }
    };
    tokio::select! {
        result = ensure(wanted.clone()) => panic!("nothing cut it off: {result:?}"),
        () = async { while seen("cdc-test-life").await.is_none() { tokio::time::sleep(Duration::from_millis(50)).await } } => {}
    }
    assert!(seen("cdc-test-life").await.unwrap().is_half_made());
    assert_eq!(ensure(wanted.clone()).await.unwrap(), Ensured::Created);
    let made = seen("cdc-test-life").await.unwrap();
    assert_eq!(made.origin, kind::Origin::Ours);
    assert!(!made.is_half_made());
    let config = kind.kubeconfig("cdc-test-life").await.unwrap();
    assert!(config.contains(&kind::context("cdc-test-life")), "{config}");

    assert_eq!(ensure(wanted.clone()).await.unwrap(), Ensured::Reused);

    // Another configuration is told, field by field, and nothing is changed.
    let mut other = spec("cdc-test-life", 2, 28_081);
    other.node_image = "kindest/node:other".into();
    let error = ensure(other).await.unwrap_err();
    assert_eq!(error.code, Code::Drift);
    assert_eq!(error.details.len(), 3, "{error}");
    assert_eq!(seen("cdc-test-life").await.unwrap(), made);

    // A node that a reboot has stopped runs again, and its API server answers.
    let node = made.nodes[0].name.as_str();
    docker
        .stop_container(node, None::<StopContainerOptions>)
        .await
        .unwrap();
    assert!(!seen("cdc-test-life").await.unwrap().nodes[0].running);
    assert_eq!(ensure(wanted.clone()).await.unwrap(), Ensured::Started);
    kind::answers(&docker, "cdc-test-life", &quiet)
        .await
        .unwrap();

    assert!(kind::delete(&kind, &docker, "cdc-test-life").await.unwrap());
    assert!(!kind::delete(&kind, &docker, "cdc-test-life").await.unwrap());
    let error = kind::nodes(&docker, "cdc-test-life").await.unwrap_err();
    assert_eq!(error.code, Code::NotUp);
}

#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE and a Docker engine"]
async fn what_others_made_is_left_alone() {
    let docker = docker::connect().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kind = kind(dir.path()).await;
    let wanted = spec("cdc-test-foreign", 1, 28_082);
    let name = "cdc-test-foreign-control-plane";
    // A node as Kind begins with it. It need not run.
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let body = ContainerCreateBody {
        image: Some(wanted.node_image.clone()),
        labels: Some(
            [
                ("io.x-k8s.kind.cluster", "cdc-test-foreign"),
                ("io.x-k8s.kind.role", "control-plane"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ),
        ..ContainerCreateBody::default()
    };
    let made = docker.create_container(Some(options), body).await.unwrap();
    let config = config(&wanted);
    let ensured = kind::ensure(&kind, &docker, &wanted, &config, &Progress::silent()).await;
    let deleted = kind::delete(&kind, &docker, "cdc-test-foreign").await;
    let still = found::find(&docker, "cdc-test-foreign").await.unwrap();
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true);
    docker
        .remove_container(&made.id, Some(options.build()))
        .await
        .unwrap();
    assert_eq!(ensured.unwrap_err().code, Code::Drift);
    let error = deleted.unwrap_err();
    assert_eq!(error.code, Code::Drift);
    assert!(error.message.contains("not made by this tool"), "{error}");
    assert!(still.is_some());
}
