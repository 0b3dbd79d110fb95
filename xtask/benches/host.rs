//! What users wait for, on this machine: `cargo bench --profile dev --bench host`.
//!
//! Everything runs as users run it: the tool as `cargo xtask` builds it, real components, an
//! environment of its own on free ports, artifacts from the cache. Nothing here passes or fails.
//! `CDC_BENCH_ROWS` sets the rows of the sustained run (1,000,000).

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic
)]

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/support/commands.rs"]
mod commands;
#[path = "support/machine.rs"]
mod machine;
#[path = "../tests/support/ports.rs"]
mod ports;
#[path = "../tests/e2e/sandbox.rs"]
mod sandbox;

use std::time::{Duration, Instant};

use sandbox::Sandbox;
use xtask::clients::kafka::OffsetAt;

#[tokio::main]
async fn main() {
    if !machine::is_wanted() {
        return;
    }
    machine::print();
    let sandbox = Sandbox::new("bench");
    // The first run may fetch artifacts, and its stop makes the JVMs' class archives.
    sandbox.ok(&["up"]);
    sandbox.ok(&["down", "--yes"]);
    up(&sandbox);
    commands(&sandbox);
    memory(&sandbox);
    latency(&sandbox);
    sustained(&sandbox).await;
}

fn row(what: &str, value: &str, goal: &str) {
    println!("{what:<46} {value:<30} {goal}");
}

fn seconds(times: &mut [Duration]) -> String {
    times.sort();
    let at = |index: usize| times[index].as_secs_f64();
    format!(
        "{:.2} s ({:.2} to {:.2})",
        at(times.len() / 2),
        at(0),
        at(times.len() - 1)
    )
}

fn up(sandbox: &Sandbox) {
    let mut walls = Vec::new();
    let mut ratios = Vec::new();
    for run in 0..3 {
        if run > 0 {
            sandbox.ok(&["down", "--yes"]);
        }
        let report = sandbox.json(&["up"]);
        walls.push(Duration::from_millis(report["wall_ms"].as_u64().unwrap()));
        ratios.push(report["ratio"].as_f64().unwrap());
    }
    row(
        "up from nothing, cache warm, 3 runs",
        &seconds(&mut walls),
        "",
    );
    let worst = ratios.into_iter().fold(0.0, f64::max);
    row(
        "  over the longest path of its own timeline",
        &format!("{worst:.2} x at the most"),
        "goal 1.15 x",
    );
}

fn commands(sandbox: &Sandbox) {
    for (what, args, goal) in [
        ("up again, nothing to do, 5 runs", &["up"][..], "goal 3 s"),
        ("status, 5 runs", &["status"], "goal 0.5 s"),
        (
            "start of the tool alone (--version), 5 runs",
            &["--version"],
            "goal 0.05 s",
        ),
    ] {
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                let begin = Instant::now();
                sandbox.ok(args);
                begin.elapsed()
            })
            .collect();
        row(what, &seconds(&mut times), goal);
    }
}

fn memory(sandbox: &Sandbox) {
    let status = sandbox.json(&["status"]);
    let mut total = 0;
    let mut parts = Vec::new();
    for component in status["components"].as_array().unwrap() {
        let resident = component["process"]["resident"].as_u64().unwrap_or(0);
        total += resident;
        parts.push(format!(
            "{} {}",
            component["name"].as_str().unwrap(),
            resident >> 20
        ));
    }
    row(
        "resident, idle, all components",
        &format!("{} MiB ({})", total >> 20, parts.join(", ")),
        "goal 2560 MiB",
    );
}

fn latency(sandbox: &Sandbox) {
    let verify = sandbox.json(&["verify", "--latency", "200"]);
    let found = &verify["latency"][0];
    for (what, key, goal) in [
        (
            "200 rows one at a time: source -> topic",
            "source_to_topic",
            "",
        ),
        ("  topic -> silver", "topic_to_silver", ""),
        ("  source -> silver", "total", "goal p50 400, p99 1000 ms"),
    ] {
        let ms = |percentile: &str| found[key][percentile].as_f64().unwrap();
        row(
            what,
            &format!(
                "p50 {:.0}, p95 {:.0}, p99 {:.0} ms",
                ms("p50"),
                ms("p95"),
                ms("p99")
            ),
            goal,
        );
    }
}

/// Inserts many rows as fast as PostgreSQL takes them, and times when the topic and when silver has
/// them all. The topic's rate is Debezium's own: the bound of silver's.
async fn sustained(sandbox: &Sandbox) {
    let rows: i64 = std::env::var("CDC_BENCH_ROWS").map_or(1_000_000, |text| text.parse().unwrap());
    let kafka = sandbox.kafka().await;
    let end = || async {
        let ends = kafka
            .offsets("postgres.public.users", OffsetAt::Latest)
            .await
            .unwrap();
        ends.values().sum::<i64>()
    };
    let before = end().await;
    let begin = Instant::now();
    let session = sandbox.postgres().await;
    let inserts = tokio::spawn(async move {
        for first in (0..rows).step_by(10_000) {
            let last = (first + 9_999).min(rows - 1);
            session
                .execute(&format!(
                    "INSERT INTO users (full_name, email) SELECT 'Row ' || n, n || '@bench' \
                     FROM generate_series({first}, {last}) n"
                ))
                .await
                .unwrap();
        }
        Instant::now()
    });
    let (mut topic, mut silver) = (None, None);
    while silver.is_none() {
        if topic.is_none() && end().await - before >= rows {
            topic = Some(begin.elapsed());
        }
        let count = sandbox
            .clickhouse()
            .text("SELECT count() FROM users_silver WHERE email LIKE '%@bench'")
            .await
            .unwrap();
        if count.trim().parse::<i64>().unwrap() >= rows {
            silver = Some(begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(
            begin.elapsed() < Duration::from_secs(1200),
            "it never arrived"
        );
    }
    let inserted = inserts.await.unwrap() - begin;
    let silver = silver.unwrap();
    let topic = topic.unwrap_or(silver);
    #[allow(clippy::cast_precision_loss)]
    let rate = |time: Duration| {
        format!(
            "{:.0} rows/s ({:.1} s)",
            rows as f64 / time.as_secs_f64(),
            time.as_secs_f64()
        )
    };
    row(
        &format!("{rows} rows: PostgreSQL takes them"),
        &rate(inserted),
        "",
    );
    row(
        "  Debezium has them all in the topic",
        &rate(topic),
        "bound of the next",
    );
    row("  ClickHouse has them all in silver", &rate(silver), "");
}
