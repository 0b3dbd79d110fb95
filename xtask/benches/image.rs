//! Loads beside `kind load docker-image`: `cargo bench --bench image`.
//!
//! `KIND_NODE_IMAGE` names the image of the nodes and `CDC_BENCH_REGISTRY=host:port` a registry that
//! anybody may push to; without the latter the rows of an image on a known base are left out. The
//! image is made here, of noise. `CDC_BENCH_MB` sets its size (1000), `CDC_BENCH_NODES` the number of
//! nodes (1). Nothing here passes or fails.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic
)]

#[path = "../tests/docker/lab.rs"]
mod lab;
#[path = "support/machine.rs"]
mod machine;

use std::time::{Duration, Instant};

use bollard::Docker;
use futures_util::StreamExt;
use lab::{Lab, config, kind, noise, spec};
use xtask::image::{load, push};
use xtask::plan::Progress;
use xtask::platform::docker::exec::{exec, exec_with_input};
use xtask::platform::{docker, kind as cluster};
use xtask::process::{Job, capture};

const NAME: &str = "cdc-test-bench";
const IMAGE: &str = "cdc-test-bench:image";

#[tokio::main]
async fn main() {
    if !machine::is_wanted() {
        return;
    }
    if std::env::var_os("KIND_NODE_IMAGE").is_none() {
        println!("skipped: KIND_NODE_IMAGE is not set");
        return;
    }
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let (megabytes, count) = (number("CDC_BENCH_MB", 1000), number("CDC_BENCH_NODES", 1));
    let engine = docker::connect().await.unwrap();
    let mut lab = Lab::new().await;
    let lab_dir = lab.dir.path().to_owned();
    let program = kind(&lab_dir).await;
    let cluster = spec(NAME, u16::try_from(count).unwrap(), 28_084);
    let config = config(&cluster);
    let quiet = Progress::silent();
    cluster::ensure(&program, &engine, &cluster, &config, &quiet)
        .await
        .unwrap();
    let nodes = cluster::nodes(&engine, NAME).await.unwrap();
    machine::print();
    println!("{megabytes} MB in three layers and 5 MB on top, {count} node(s)");

    let part = megabytes * 1_000_000 / 3;
    // Other seeds, other layers: what one side has brought to a node is of no use to the other.
    let base = |seed: u64| -> Vec<(&str, Vec<u8>)> {
        let seeds = (1..).map(|number| seed * 100 + number);
        ["/a", "/b", "/c"]
            .into_iter()
            .zip(seeds)
            .map(|(path, seed)| (path, noise(part, seed)))
            .collect()
    };
    let with = |base: &[(&'static str, Vec<u8>)], seed: u64| {
        let mut files = base.to_vec();
        files.push(("/top", noise(5_000_000, seed)));
        files
    };
    let mut rows: Vec<(&str, Duration, Duration)> = Vec::new();
    let kind = which::which("kind").unwrap();
    let peer = || peer(&kind, lab_dir.as_path());

    let theirs = base(1);
    lab.image(IMAGE, &with(&theirs, 10)).await;
    let first_peer = peer().await;
    let unchanged_peer = peer().await;
    lab.image(IMAGE, &with(&base(3), 16)).await;
    let (packing, importing) = bound(&engine, &nodes[0]).await;
    let own_base = base(2);
    lab.image(IMAGE, &with(&own_base, 11)).await;
    rows.push(("first", first_peer, ours(&engine, &nodes).await));
    rows.push(("unchanged", unchanged_peer, ours(&engine, &nodes).await));

    lab.image(IMAGE, &with(&own_base, 12)).await;
    let own = ours(&engine, &nodes).await;
    lab.image(IMAGE, &with(&own_base, 13)).await;
    rows.push((
        "one changed layer, base never in a registry",
        peer().await,
        own,
    ));

    if let Ok(registry) = std::env::var("CDC_BENCH_REGISTRY") {
        // An engine that has pulled a base can ask for its layers by name; so can one that pushed it.
        let pushed = format!("{registry}/cdc-test-bench-base:1");
        lab.image(&pushed, &own_base).await;
        push::push(&engine, &pushed, &Progress::silent())
            .await
            .unwrap();
        lab.image(IMAGE, &with(&own_base, 14)).await;
        let own = ours(&engine, &nodes).await;
        lab.image(IMAGE, &with(&own_base, 15)).await;
        rows.push(("one changed layer, base from a registry", peer().await, own));
    }
    println!(
        "\n{:<46} {:>10} {:>10} {:>8}",
        "", "kind load", "this tool", "factor"
    );
    for (what, peer, own) in rows {
        let (peer, own) = (peer.as_secs_f64(), own.as_secs_f64());
        println!("{what:<46} {peer:>8.2} s {own:>8.2} s {:>7.1}x", peer / own);
    }
    println!(
        "{:<46} {:>10} {:>8.2} s          packing {:.2} s, then an import from the node's own disk {:.2} s",
        "bound of the first",
        "",
        (packing + importing).as_secs_f64(),
        packing.as_secs_f64(),
        importing.as_secs_f64()
    );
    cluster::delete(&program, &engine, NAME).await.unwrap();
    lab.end().await;
}

async fn peer(program: &std::path::Path, dir: &std::path::Path) -> Duration {
    let mut job = Job::new(program, ["load", "docker-image", IMAGE, "--name", NAME]);
    job.env.insert(
        "KUBECONFIG".into(),
        dir.join("kubeconfig").display().to_string(),
    );
    let begin = Instant::now();
    capture(&job, |_| {}).await.unwrap();
    let took = begin.elapsed();
    println!("  kind load in {took:.2?}");
    took
}

/// What a load of a whole archive cannot do without: the engine's packing to its first byte, and the
/// import of an archive that lies on the node already.
async fn bound(engine: &Docker, node: &str) -> (Duration, Duration) {
    const FILE: &str = "/var/bench.tar";
    let begin = Instant::now();
    let mut archive = engine.export_image(IMAGE).boxed();
    let mut piece = archive.next().await;
    let packing = begin.elapsed();
    let (send, receive) = tokio::sync::mpsc::channel(64);
    let feed = async {
        let send = send;
        while let Some(bytes) = piece {
            send.send(bytes.unwrap()).await.unwrap();
            piece = archive.next().await;
        }
    };
    let file = format!("of={FILE}");
    let store = ["dd", "bs=1M", file.as_str()];
    let ((), stored) = tokio::join!(feed, exec_with_input(engine, node, &store, receive));
    stored.unwrap().ok(node, "dd").unwrap();
    let import = ["ctr", "--namespace=k8s.io", "images", "import", FILE];
    let begin = Instant::now();
    let said = exec(engine, node, &import).await.unwrap();
    let importing = begin.elapsed();
    said.ok(node, "ctr images import").unwrap();
    exec(engine, node, &["rm", FILE]).await.unwrap();
    (packing, importing)
}

async fn ours(engine: &Docker, nodes: &[String]) -> Duration {
    let begin = Instant::now();
    let loaded = load::load(engine, IMAGE, nodes, &Progress::silent())
        .await
        .unwrap();
    let took = begin.elapsed();
    println!("  {loaded:?} in {took:.2?}");
    took
}
