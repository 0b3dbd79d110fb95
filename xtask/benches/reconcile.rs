//! How long `reconcile` takes beside `reladiff` on the same two tables: `cargo bench --profile dev --bench reconcile`.
//!
//! `CDC_BENCH_RELADIFF` names reladiff's program (from PyPI, with psycopg2), `CDC_BENCH_ROWS` how many rows there are
//! (1,000,000 without it). Each run is a whole process; the bound is a bare MD5 over the whole table in the slower
//! database. reladiff speaks ClickHouse's native protocol alone, which the embedded engine does not have.

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

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::Sandbox;
use xtask::clients::postgres::Postgres;

const RUNS: usize = 3;

fn main() {
    if !machine::is_wanted() {
        return;
    }
    machine::print();
    let rows = std::env::var("CDC_BENCH_ROWS").ok();
    let rows: u64 = rows.and_then(|it| it.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(compare(rows));
}

async fn compare(rows: u64) {
    let mut sandbox = Sandbox::new("bench-reconcile");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let profile = sandbox.state().join("large.yaml");
    std::fs::write(
        &profile,
        "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: p, slot: s, publication: p, config: {}}\n\
         flows:\n  a: {connector: pg, table: public.a, key: [id], group: g, keep: latest}\n",
    )
    .unwrap();
    sandbox.profile = Some(profile);
    // The server is there before its tables are.
    sandbox.fails(&["up"], 1);
    let session = sandbox.postgres().await;
    let run = async |sql: &str| {
        session.execute(sql).await.unwrap();
    };
    run("CREATE TABLE a (id bigint PRIMARY KEY, name text, amount numeric(18, 4), qty int, at timestamp)").await;
    sandbox.ok(&["up"]);
    run(&format!(
        "INSERT INTO a SELECT i, 'customer ' || md5(i::text), (i * 7 % 1000000) / 100.0, i % 1000, \
         timestamp '2024-01-01' + i * interval '1.000123 second' FROM generate_series(1, {rows}) i; \
         CREATE TABLE b (LIKE a INCLUDING ALL); INSERT INTO b SELECT * FROM a"
    ))
    .await;
    let counted = ["reconcile", "a", "--counts"];
    while !sandbox.run(&counted).status.success() {
        std::thread::sleep(Duration::from_secs(1));
    }
    run("VACUUM ANALYZE").await;
    println!("{rows} rows, five columns; median of {RUNS} runs\n");
    let bare = bare(&sandbox, &session).await;
    println!(
        "bare md5 over the table in PostgreSQL {:.2} s, in ClickHouse {:.2} s\n",
        bare[0], bare[1]
    );
    println!(
        "{:<34} {:>10} {:>10} {:>8} {:>8}",
        "", "reconcile", "reladiff", "ratio", "RSS"
    );
    let pair = [
        "reconcile",
        "--source",
        "postgres:a",
        "--target",
        "postgres:b",
        "--key",
        "id",
        "--output",
        "json",
    ];
    let flow = ["reconcile", "a", "--output", "json"];
    for (what, condition) in [
        ("equal", "false"),
        ("100 scattered", "id % (SELECT count(*) / 100 FROM a) = 7"),
        ("1 %", "id % 100 = 7"),
        ("10 %", "id % 10 = 7"),
    ] {
        run(&format!(
            "UPDATE b SET name = name || ' ' WHERE {condition}"
        ))
        .await;
        run("VACUUM b").await;
        let reladiff = reladiff(&sandbox);
        row(
            &format!("PostgreSQL -> PostgreSQL, {what}"),
            &sandbox,
            &pair,
            reladiff,
        );
        run(&format!(
            "UPDATE b SET name = rtrim(name) WHERE {condition}"
        ))
        .await;
    }
    let client = sandbox.clickhouse();
    for (what, condition) in [
        ("equal", "0".to_owned()),
        ("100 scattered", format!("id % {} = 7", rows / 100)),
        ("1 %", "id % 100 = 7".to_owned()),
        ("10 %", "id % 10 = 7".to_owned()),
    ] {
        let change = format!(
            "INSERT INTO a_silver SELECT * REPLACE(concat(assumeNotNull(name), ' ') AS name) FROM (SELECT * FROM a_silver FINAL WHERE {condition})"
        );
        client.text(&change).await.unwrap();
        row(
            &format!("PostgreSQL -> ClickHouse, {what}"),
            &sandbox,
            &flow,
            None,
        );
        let back = change.replace(
            "concat(assumeNotNull(name), ' ')",
            "trimRight(assumeNotNull(name))",
        );
        client.text(&back).await.unwrap();
    }
    println!("\nload at the end: {}", machine::load());
}

/// Seconds of a bare hash over the whole table in each database.
async fn bare(sandbox: &Sandbox, session: &Postgres) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        let begin = Instant::now();
        session
            .query("SELECT sum(('x' || left(md5(a::text), 16))::bit(64)::bigint) FROM a")
            .await
            .unwrap();
        times[0].push(begin.elapsed());
        let begin = Instant::now();
        let hash = "SELECT sum(reinterpretAsUInt64(MD5(concat(toString(id), assumeNotNull(name), toString(amount), toString(qty), toString(at))))) \
                    FROM a_silver FINAL";
        sandbox.clickhouse().text(hash).await.unwrap();
        times[1].push(begin.elapsed());
    }
    times.map(|it| median(it).as_secs_f64())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, sandbox: &Sandbox, args: &[&str], reladiff: Option<Duration>) {
    let (mut times, mut most) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let begin = Instant::now();
        let mut child = sandbox
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok());
            most = most.max(peak.unwrap_or(0_u64));
            std::thread::sleep(Duration::from_millis(5));
        }
        times.push(begin.elapsed());
    }
    let took = median(times).as_secs_f64();
    let (other, ratio) = match reladiff {
        Some(other) => {
            let other = other.as_secs_f64();
            (format!("{other:.2} s"), format!("{:.1} x", other / took))
        }
        None => ("-".into(), "-".into()),
    };
    println!(
        "{what:<34} {took:>8.2} s {other:>10} {ratio:>8} {:>5} MB",
        most / 1024
    );
}

/// How long reladiff takes, once, where it is there.
fn reladiff(sandbox: &Sandbox) -> Option<Duration> {
    let program = std::env::var_os("CDC_BENCH_RELADIFF")?;
    let at = format!(
        "postgresql://postgres:{}@127.0.0.1:{}/postgres",
        sandbox.password("postgres"),
        sandbox.ports["postgres.port"]
    );
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        let output = Command::new(&program)
            .args([
                &at,
                "a",
                &at,
                "b",
                "-k",
                "id",
                "-c",
                "name",
                "-c",
                "amount",
                "-c",
                "qty",
                "-c",
                "at",
                "--threads",
                "4",
                "-s",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        times.push(begin.elapsed());
    }
    Some(median(times))
}
