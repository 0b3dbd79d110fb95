//! An image comes to all nodes, sparing what they have, and a pod runs from it.

use bollard::Docker;
use xtask::error::Code;
use xtask::image::load::{self, Way};
use xtask::plan::Progress;
use xtask::platform::docker::{self, exec::exec};
use xtask::platform::kind;

use crate::lab::{Lab, config, kind, noise, spec};

const NAME: &str = "cdc-test-load";
const IMAGE: &str = "cdc-test-load:app";

/// A static program that answers `cat`, from the lab or the system.
fn busybox() -> Vec<u8> {
    let home = std::env::home_dir().unwrap();
    let candidates = [
        home.join(".cache/kind-lab/bin/busybox"),
        "/usr/bin/busybox".into(),
        "/bin/busybox".into(),
    ];
    let found = candidates.iter().find(|path| path.is_file());
    std::fs::read(found.expect("a static busybox")).unwrap()
}

#[tokio::test]
#[ignore = "needs KIND_NODE_IMAGE and a Docker engine"]
async fn nodes_are_sent_only_what_they_lack_and_pods_run_from_it() {
    let mut lab = Lab::new().await;
    let engine = docker::connect().await.unwrap();
    let quiet = Progress::silent();
    let kind = kind(lab.dir.path()).await;
    let cluster = spec(NAME, 2, 28_083);
    kind::ensure(&kind, &engine, &cluster, &config(&cluster), &quiet)
        .await
        .unwrap();
    kind::answers(&engine, NAME, &quiet).await.unwrap();
    let nodes = kind::nodes(&engine, NAME).await.unwrap();
    assert_eq!(nodes.len(), 2);
    let base = [("/busybox", busybox()), ("/middle", noise(20 << 20, 1))];
    let with = |text: &str| {
        let mut files = base.to_vec();
        files.push(("/text", text.as_bytes().to_vec()));
        files
    };

    let error = load::load(&engine, "cdc-test-load:none", &nodes, &quiet)
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::NotUp);

    lab.image(IMAGE, &with("one\n")).await;
    let first = load::load(&engine, IMAGE, &nodes, &quiet).await.unwrap();
    assert!(
        first
            .iter()
            .all(|node| node.way == Way::Archive && node.kept == 0),
        "{first:?}"
    );
    assert_eq!(says(&engine, &nodes, "first").await, ["one", "one"]);

    let same = load::load(&engine, IMAGE, &nodes, &quiet).await.unwrap();
    assert!(same.iter().all(|node| node.sent.is_none()), "{same:?}");

    // The same name, one layer of three changed.
    lab.image(IMAGE, &with("two\n")).await;
    let stale = load::prove(&engine, IMAGE, &nodes).await.unwrap_err();
    assert_eq!(stale.code, Code::GateFailed);
    let changed = load::load(&engine, IMAGE, &nodes, &quiet).await.unwrap();
    assert!(
        changed
            .iter()
            .all(|node| node.way == Way::Layers && node.kept == 2),
        "{changed:?}"
    );
    load::prove(&engine, IMAGE, &nodes).await.unwrap();
    assert_eq!(says(&engine, &nodes, "changed").await, ["two", "two"]);

    // The engine has pushed those layers before now: it need not pack them again.
    lab.image(IMAGE, &with("three\n")).await;
    let again = load::load(&engine, IMAGE, &nodes, &quiet).await.unwrap();
    assert!(
        again.iter().all(|node| node.sent.unwrap() < 100_000),
        "{again:?}"
    );
    assert_eq!(says(&engine, &nodes, "again").await, ["three", "three"]);

    // A node that lost it gets it back; the other one is not bothered.
    let lost = exec(&engine, &nodes[1], &["crictl", "rmi", IMAGE])
        .await
        .unwrap();
    assert_eq!(lost.code, 0, "{lost:?}");
    let back = load::load(&engine, IMAGE, &nodes, &quiet).await.unwrap();
    assert!(back[0].sent.is_none() && back[1].sent.is_some(), "{back:?}");
    load::prove(&engine, IMAGE, &nodes).await.unwrap();

    assert!(kind::delete(&kind, &engine, NAME).await.unwrap());
    let names = engine.list_images(None::<bollard::query_parameters::ListImagesOptions>);
    let names: Vec<String> = names
        .await
        .unwrap()
        .into_iter()
        .flat_map(|image| image.repo_tags)
        .collect();
    assert!(
        !names.iter().any(|name| name.contains("cdc-xtask-load")),
        "{names:?}"
    );
    lab.end().await;
}

/// What a pod of the image prints on each node.
async fn says(engine: &Docker, nodes: &[String], pod: &str) -> Vec<String> {
    let kubectl = async |args: &[&str]| {
        let mut command = vec!["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"];
        command.extend(args);
        exec(engine, &nodes[0], &command).await.unwrap()
    };
    let mut said = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let name = format!("{pod}-{index}");
        let overrides = format!(
            r#"{{"spec":{{"nodeName":"{node}","tolerations":[{{"operator":"Exists"}}],"automountServiceAccountToken":false}}}}"#
        );
        // The default service account may come a moment after the API server answers.
        let mut run = kubectl(&["get", "serviceaccount", "default"]).await;
        while run.code != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            run = kubectl(&["get", "serviceaccount", "default"]).await;
        }
        let run = kubectl(&[
            "run",
            &name,
            "--restart=Never",
            "--image-pull-policy=Never",
            &format!("--image={IMAGE}"),
            &format!("--overrides={overrides}"),
            "--command",
            "--",
            "/busybox",
            "cat",
            "/text",
        ])
        .await;
        assert_eq!(run.code, 0, "{run:?}");
        let wait = kubectl(&[
            "wait",
            "--timeout=60s",
            "--for=jsonpath={.status.phase}=Succeeded",
            &format!("pod/{name}"),
        ])
        .await;
        if wait.code != 0 {
            let described = kubectl(&["describe", "pod", &name]).await;
            panic!("{wait:?}\n{}", described.stdout);
        }
        said.push(kubectl(&["logs", &name]).await.stdout.trim().to_owned());
    }
    said
}
