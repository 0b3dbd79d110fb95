//! Gates on broken pods, and preflight, on a real cluster.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use xtask::error::{Code, Error};
use xtask::plan::Progress;
use xtask::platform::kubernetes::preflight::{self, Options};
use xtask::platform::kubernetes::watch::Watches;

use crate::support::{Waits, api, client, create, namespace, object, set, stateful_set};

pub const LONG: Duration = Duration::from_secs(120);

/// A client of the cluster under test.
pub async fn real() -> Client {
    let path = std::env::var("CDC_TEST_KUBECONFIG").expect("CDC_TEST_KUBECONFIG");
    client(&std::fs::read_to_string(path).unwrap()).await
}

pub fn image() -> String {
    std::env::var("CDC_TEST_IMAGE").expect("CDC_TEST_IMAGE")
}

/// A namespace of the test's own. It stays, to be looked at, when the test fails.
pub async fn space(client: &Client, name: &str) -> String {
    let name = format!("gates-{name}-{}", std::process::id());
    namespace(client, &name).await;
    name
}

pub async fn remove(client: &Client, space: &str) {
    let namespaces = api(client, "v1", "Namespace", None);
    namespaces
        .delete(space, &DeleteParams::default())
        .await
        .unwrap();
}

/// A container that runs a script and is ready once that has made `/ready`. Without a probe it would
/// be ready from its start to its end, however soon that is.
pub fn shell(script: &str) -> Value {
    let probe =
        json!({"exec": {"command": ["/bin/busybox", "test", "-e", "/ready"]}, "periodSeconds": 1});
    json!({
        "name": "main", "image": image(), "command": ["/bin/busybox", "sh", "-c", script],
        "readinessProbe": probe,
    })
}

/// What the gate of a set with this container says, and how long it took to say it.
async fn fails(client: &Client, space: &str, name: &str, set: Value) -> (Error, Duration) {
    create(client, Some(space), set).await;
    let watches = Watches::new(client.clone());
    let begin = Instant::now();
    let error = watches
        .gate(stateful_set(space, name))
        .current(name, LONG, &Progress::silent())
        .await
        .unwrap_err();
    let took = begin.elapsed();
    println!("{name}: {:.1} s: {error}", took.as_secs_f32());
    assert_eq!(error.code, Code::GateFailed, "{error}");
    (error, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs CDC_TEST_KUBECONFIG and CDC_TEST_IMAGE"]
async fn cluster_broken_pods_end_the_wait_with_their_reason() {
    let client = real().await;
    let space = space(&client, "broken").await;
    let with = |mut container: Value, key: &str, value: Value| {
        container[key] = value;
        container
    };
    let pod_spec = |mut set: Value, key: &str, value: Value| {
        set["spec"]["template"]["spec"][key] = value;
        set
    };
    let secret = json!([{"name": "v", "secret": {"secretName": "absent"}}]);
    let cases = [
        (
            "pull",
            set(
                "pull",
                json!({"name": "main", "image": "registry.invalid/nothing:1"}),
            ),
            "registry.invalid/nothing:1",
            60,
        ),
        (
            "name",
            set("name", json!({"name": "main", "image": "Not A Name"})),
            "InvalidImageName",
            60,
        ),
        (
            "never",
            set(
                "never",
                json!({"name": "main", "image": "absent:1", "imagePullPolicy": "Never"}),
            ),
            "ErrImageNeverPull",
            60,
        ),
        (
            "crash",
            set("crash", shell("echo the reason is here; exit 3")),
            "exit code 3",
            60,
        ),
        (
            "command",
            set("command", shell("no-such-command")),
            "its command was not found",
            60,
        ),
        (
            "program",
            set(
                "program",
                json!({"name": "main", "image": image(), "command": ["/nowhere"]}),
            ),
            "container main",
            60,
        ),
        (
            "oom",
            set(
                "oom",
                with(
                    shell("tail /dev/zero"),
                    "resources",
                    json!({"limits": {"memory": "32Mi"}}),
                ),
            ),
            "memory limit of 32Mi",
            60,
        ),
        (
            "cpu",
            set(
                "cpu",
                with(
                    shell("sleep 999"),
                    "resources",
                    json!({"requests": {"cpu": "900"}}),
                ),
            ),
            "no node has enough cpu for main: cpu 900",
            60,
        ),
        (
            "node",
            pod_spec(
                set("node", shell("sleep 999")),
                "nodeSelector",
                json!({"no": "such"}),
            ),
            "no node takes it",
            60,
        ),
        (
            "mount",
            pod_spec(
                set(
                    "mount",
                    with(
                        shell("sleep 999"),
                        "volumeMounts",
                        json!([{"name": "v", "mountPath": "/v"}]),
                    ),
                ),
                "volumes",
                secret,
            ),
            "Secret `absent` is missing",
            60,
        ),
        (
            "env",
            set(
                "env",
                with(
                    shell("sleep 999"),
                    "env",
                    json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "k"}}}]),
                ),
            ),
            "configmap \"absent\" not found",
            60,
        ),
        (
            "init",
            pod_spec(
                set("init", shell("sleep 999")),
                "initContainers",
                json!([{"name": "first", "image": image(), "command": ["/bin/busybox", "sh", "-c", "echo in init; exit 4"]}]),
            ),
            "container first keeps ending: exit code 4",
            60,
        ),
        (
            "class",
            {
                let mut set = set("class", shell("sleep 999"));
                set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "d"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "nope", "resources": {"requests": {"storage": "1Mi"}}}}]);
                set
            },
            "there is no storage class `nope`",
            60,
        ),
    ];
    let all = cases.into_iter().map(|(name, set, says, within)| {
        let (client, space) = (client.clone(), space.clone());
        async move {
            let (error, took) = fails(&client, &space, name, set).await;
            assert!(error.message.contains(says), "{name}: {error}");
            assert!(took < Duration::from_secs(within), "{name} took {took:?}");
            error
        }
    });
    let errors = futures_util::future::join_all(all).await;
    for (container, line) in [("main", "the reason is here"), ("first", "in init")] {
        let found = errors
            .iter()
            .any(|error| error.details.iter().any(|it| it == line));
        assert!(found, "the last log lines of {container} are not evidence");
    }
    remove(&client, &space).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs CDC_TEST_KUBECONFIG and CDC_TEST_IMAGE"]
async fn cluster_what_comes_together_by_itself_is_waited_for() {
    let client = real().await;
    let space = space(&client, "good").await;
    let watches = Watches::new(client.clone());
    // A volume that is made when its pod comes, and a Secret that comes some seconds later.
    let mut good = set("good", shell("touch /ready; exec sleep 999"));
    good["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "v", "secret": {"secretName": "late"}}]);
    good["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "v", "mountPath": "/v"}, {"name": "d", "mountPath": "/d"}]);
    good["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "d"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]);
    create(&client, Some(&space), good).await;
    let gate = watches.gate(stateful_set(&space, "good"));
    let waits = tokio::spawn(async move { gate.current("good", LONG, &Progress::silent()).await });
    tokio::time::sleep(Duration::from_secs(6)).await;
    let late = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}});
    create(&client, Some(&space), late).await;
    let begin = Instant::now();
    assert_eq!(waits.await.unwrap().unwrap(), "1 of 1 pod ready");
    println!("ready {:.1?} after the Secret came", begin.elapsed());
    // A container that ends once, and then runs.
    let once = "test -e /s/x && touch /ready && exec sleep 999; touch /s/x; exit 1";
    let mut once = set("once", shell(once));
    once["spec"]["template"]["spec"]["volumes"] = json!([{"name": "s", "emptyDir": {}}]);
    once["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "s", "mountPath": "/s"}]);
    create(&client, Some(&space), once).await;
    let result = watches
        .gate(stateful_set(&space, "once"))
        .current("once", LONG, &Progress::silent())
        .await;
    assert_eq!(result.unwrap(), "1 of 1 pod ready");
    remove(&client, &space).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs CDC_TEST_KUBECONFIG and CDC_TEST_IMAGE"]
async fn cluster_preflight_reads_real_nodes() {
    let client = real().await;
    let mut big = set("big", shell("sleep 999"));
    big["metadata"]["namespace"] = json!("default");
    let container = &mut big["spec"]["template"]["spec"]["containers"][0];
    container["resources"] = json!({"requests": {"memory": "900Gi"}});
    let options = Options {
        local_images: vec![image()],
        grows: false,
    };
    let error = preflight::run(&client, &[object(big.clone())], &options)
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .contains("requests cpu 0 and memory 921600 MiB"),
        "{error}"
    );
    // The image is there: it is the only error.
    assert_eq!(error.others.len(), 0, "{error}");
    let container = &mut big["spec"]["template"]["spec"]["containers"][0];
    container["resources"] = json!({});
    let begin = Instant::now();
    let notes = preflight::run(&client, &[object(big.clone())], &options)
        .await
        .unwrap();
    println!("preflight took {:.1?}: {notes:?}", begin.elapsed());
    let absent = Options {
        local_images: vec!["cdc-absent:1".into()],
        grows: false,
    };
    let error = preflight::run(&client, &[object(big)], &absent)
        .await
        .unwrap_err();
    assert!(
        error.message.contains("docker.io/library/cdc-absent:1"),
        "{error}"
    );
}
