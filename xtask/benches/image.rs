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

#[path = "../tests/docker/clusters.rs"]
mod clusters;
#[path = "../tests/docker/lab.rs"]
mod lab;

use std::time::{Duration, Instant};

use bollard::Docker;
use clusters::{kind, spec, templates};
use lab::{Lab, noise};
use xtask::image::{load, push};
use xtask::plan::Progress;
use xtask::platform::{docker, docker::exec::exec, kind as cluster};
use xtask::process::{Job, capture};

const NAME: &str = "cdc-test-bench";
const IMAGE: &str = "cdc-test-bench:image";

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().all(|argument| argument != "--bench") {
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
    let program = kind(lab.dir.path()).await;
    let cluster = spec(NAME, u16::try_from(count).unwrap(), 28_084);
    cluster::ensure(
        &program,
        &engine,
        &templates(),
        &cluster,
        &Progress::silent(),
    )
    .await
    .unwrap();
    let nodes = cluster::nodes(&engine, NAME).await.unwrap();
    println!(
        "{megabytes} MB in three layers and 5 MB on top, {count} node(s), {}",
        xtask::clock::utc(xtask::clock::now_ms())
    );

    let part = megabytes * 1_000_000 / 3;
    let base: Vec<(&str, Vec<u8>)> = ["/a", "/b", "/c"]
        .into_iter()
        .zip(1..)
        .map(|(path, seed)| (path, noise(part, seed)))
        .collect();
    let with = |seed: u64| {
        let mut files = base.clone();
        files.push(("/top", noise(5_000_000, seed)));
        files
    };
    let mut rows: Vec<(&str, Duration, Duration)> = Vec::new();

    lab.image(IMAGE, &with(10)).await;
    let peer = peer(&program_path(), lab.dir.path()).await;
    let unchanged_peer = self::peer(&program_path(), lab.dir.path()).await;
    forget(&engine, &nodes).await;
    let own = ours(&engine, &nodes).await;
    rows.push(("first", peer, own));
    rows.push(("unchanged", unchanged_peer, ours(&engine, &nodes).await));

    lab.image(IMAGE, &with(11)).await;
    let own = ours(&engine, &nodes).await;
    lab.image(IMAGE, &with(12)).await;
    let peer = self::peer(&program_path(), lab.dir.path()).await;
    rows.push(("one changed layer, base never in a registry", peer, own));

    if let Ok(registry) = std::env::var("CDC_BENCH_REGISTRY") {
        // An engine that has pulled a base can ask for its layers by name; so can one that pushed it.
        let pushed = format!("{registry}/cdc-test-bench-base:1");
        lab.image(&pushed, &base).await;
        push::push(&engine, &pushed, &Progress::silent())
            .await
            .unwrap();
        lab.image(IMAGE, &with(13)).await;
        let own = ours(&engine, &nodes).await;
        lab.image(IMAGE, &with(14)).await;
        let peer = self::peer(&program_path(), lab.dir.path()).await;
        rows.push(("one changed layer, base from a registry", peer, own));
    }
    println!(
        "\n{:<46} {:>10} {:>10} {:>8}",
        "", "kind load", "this tool", "factor"
    );
    for (what, peer, own) in rows {
        let (peer, own) = (peer.as_secs_f64(), own.as_secs_f64());
        println!("{what:<46} {peer:>8.2} s {own:>8.2} s {:>7.1}x", peer / own);
    }
    cluster::delete(&program, &engine, NAME).await.unwrap();
    lab.end().await;
}

fn program_path() -> std::path::PathBuf {
    which::which("kind").unwrap()
}

async fn peer(program: &std::path::Path, dir: &std::path::Path) -> Duration {
    let mut job = Job::new(program, ["load", "docker-image", IMAGE, "--name", NAME]);
    job.env.insert(
        "KUBECONFIG".into(),
        dir.join("kubeconfig").display().to_string(),
    );
    let begin = Instant::now();
    capture(&job, |_| {}).await.unwrap();
    begin.elapsed()
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

/// Leaves nothing of the image on the nodes: what nobody refers to goes with the last name.
async fn forget(engine: &Docker, nodes: &[String]) {
    for node in nodes {
        let list = exec(
            engine,
            node,
            &["ctr", "--namespace=k8s.io", "images", "ls", "-q"],
        )
        .await
        .unwrap();
        for name in list
            .stdout
            .lines()
            .filter(|name| name.contains("cdc-test-bench") || name.starts_with("import-"))
        {
            let said = exec(
                engine,
                node,
                &["ctr", "--namespace=k8s.io", "images", "rm", "--sync", name],
            )
            .await
            .unwrap();
            assert_eq!(said.code, 0, "{said:?}");
        }
    }
}
