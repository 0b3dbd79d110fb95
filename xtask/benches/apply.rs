//! Applying to an API server beside `kubectl apply --server-side`, on this machine:
//! `KUBEBUILDER_ASSETS=<directory> cargo bench --profile dev --bench apply`.
//!
//! Every figure is of a new connection that knows nothing of the server yet. kubectl's includes the
//! start of its process. The bound is what the server takes: the same objects and requests from the
//! same client, without any logic. Nothing here passes or fails.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic
)]

#[path = "support/machine.rs"]
mod machine;
#[path = "../tests/apiserver/server.rs"]
mod server;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use xtask::plan::Progress;
use xtask::platform::kubernetes::{Cluster, IN_FLIGHT, Options};

/// How often everything is done; the medians are printed.
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    if !machine::is_wanted() {
        return;
    }
    let Ok(assets) = std::env::var("KUBEBUILDER_ASSETS") else {
        println!("skipped: KUBEBUILDER_ASSETS is not set");
        return;
    };
    let kubectl = PathBuf::from(assets).join("kubectl");
    let cluster = server::admin().await;
    machine::print();
    println!("server: {}", cluster.version().await.unwrap());
    println!("medians of {ROUNDS} rounds in turns, {IN_FLIGHT} requests in flight; in brackets");
    println!("the processor time that the server itself spent (etcd and kube-apiserver)\n");
    println!(
        "{:<8} {:<6} {:>18} {:>18} {:>18}   kubectl / xtask",
        "objects", "apply", "xtask", "kubectl", "bound"
    );
    for count in [100, 1_000] {
        let mut times: [Vec<Took>; 5] = Default::default();
        for round in 0..ROUNDS {
            let [ours, theirs, bound] = ["xtask", "kubectl", "bound"].map(|who| {
                let namespace = format!("{who}-{count}-{round}");
                (namespace.clone(), objects(&namespace, count))
            });
            for pass in 0..2 {
                times[pass].push(took(xtask(&ours.0, &ours.1)).await);
                times[2 + pass].push(took(apply_with(&kubectl, &theirs.1)).await);
            }
            times[4].push(took(raw(&bound.0, &bound.1)).await);
        }
        let [first, again, their_first, their_again, bound] = times.map(median);
        row(count, "first", first, their_first, Some(bound), "goal 3 x");
        row(count, "no-op", again, their_again, None, "goal 10 x");
    }
}

/// How long something took, and how much of the processor it cost the server.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    server: Duration,
}

async fn took(work: impl Future<Output = Duration>) -> Took {
    let before = server::processor_time();
    let wall = work.await;
    let server = server::processor_time() - before;
    Took { wall, server }
}

fn row(count: usize, what: &str, ours: Took, theirs: Took, bound: Option<Took>, goal: &str) {
    let cell = |took: Took| {
        let (wall, server) = (took.wall.as_secs_f64(), took.server.as_secs_f64());
        format!("{wall:.3} s ({server:.2} s)")
    };
    println!(
        "{count:<8} {what:<6} {:>18} {:>18} {:>18}   {:.1} x ({goal})",
        cell(ours),
        cell(theirs),
        bound.map(cell).unwrap_or_default(),
        theirs.wall.as_secs_f64() / ours.wall.as_secs_f64(),
    );
}

fn median(mut times: Vec<Took>) -> Took {
    times.sort_by_key(|took| took.wall);
    times[times.len() / 2]
}

/// A namespace with settings and credentials.
fn objects(namespace: &str, count: usize) -> Vec<DynamicObject> {
    let mut objects = vec![server::namespace(namespace)];
    objects.extend((1..count).map(|number| {
        let name = format!("object-{number}");
        if number % 5 == 0 {
            return server::object(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": name, "namespace": namespace, "labels": { "app": "bench" } },
                "stringData": { "username": "user", "password": format!("secret-{number}") },
            }));
        }
        let data = json!({
            "config.properties": format!("number={number}\nname=object\n").repeat(8),
            "level": "info",
        });
        server::config_map(namespace, &name, &data)
    }));
    objects
}

async fn xtask(environment: &str, objects: &[DynamicObject]) -> Duration {
    let begin = Instant::now();
    let cluster = Cluster::of(server::kubeconfig(), "admin").await.unwrap();
    let options = Options::new(environment);
    cluster
        .apply(objects, &options, &Progress::silent())
        .await
        .unwrap();
    begin.elapsed()
}

async fn apply_with(kubectl: &PathBuf, objects: &[DynamicObject]) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let (file, config) = (dir.path().join("list.json"), dir.path().join("config"));
    std::fs::write(&file, list.to_string()).unwrap();
    std::fs::write(&config, server::kubeconfig_text()).unwrap();
    let begin = Instant::now();
    let output = Command::new(kubectl)
        .args(["--context", "admin", "apply", "--server-side", "-f"])
        .arg(&file)
        .env("KUBECONFIG", &config)
        .output()
        .unwrap();
    let took = begin.elapsed();
    assert!(output.status.success(), "{output:?}");
    took
}

async fn raw(namespace: &str, objects: &[DynamicObject]) -> Duration {
    let begin = Instant::now();
    let cluster = Cluster::of(server::kubeconfig(), "admin").await.unwrap();
    let params = PatchParams::apply("bound");
    let send = |object: DynamicObject| {
        let (cluster, params) = (&cluster, &params);
        async move {
            let kind = object.types.as_ref().unwrap().kind.clone();
            let inside = object.metadata.namespace.as_deref();
            let api: Api<DynamicObject> = server::api(cluster, "v1", &kind, inside);
            let name = object.metadata.name.clone().unwrap();
            api.patch(&name, params, &Patch::Apply(&object))
                .await
                .unwrap();
        }
    };
    assert_eq!(objects[0].metadata.name.as_deref(), Some(namespace));
    send(objects[0].clone()).await;
    stream::iter(objects[1..].to_vec())
        .map(send)
        .buffer_unordered(IN_FLIGHT)
        .collect::<Vec<()>>()
        .await;
    begin.elapsed()
}
