//! A table that joins a running pipeline, beside the same table in a first snapshot: `cargo bench --profile dev
//! --bench backfill`.
//!
//! All in one run: the rate of a bare snapshot, that of the table joining while another flow has a row ten times a
//! second, what that row's way takes before and meanwhile, and what is at the target after ten kills. Nothing
//! here passes or fails but the last. `CDC_BENCH_ROWS` sets the table's rows (1,000,000).

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

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sandbox::Sandbox;
use tokio::sync::watch;

const HEAD: &str = "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: own, slot: own, publication: own, config: {}}\nflows:\n";
const BESIDE: &str =
    "  beside: {connector: pg, table: public.beside, key: [id], group: g_beside, keep: latest}\n";
const BIG: &str =
    "  big: {connector: pg, table: public.big, key: [id], group: g_big, keep: latest}\n";
const KILLS: u32 = 10;

struct Bench {
    sandbox: Sandbox,
    profile: PathBuf,
    rows: u64,
}

#[tokio::main]
async fn main() {
    if !machine::is_wanted() {
        return;
    }
    machine::print();
    let rows = std::env::var("CDC_BENCH_ROWS").map_or(1_000_000, |text| text.parse().unwrap());
    let mut sandbox = Sandbox::new("backfill");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let profile = sandbox.state().join("own.yaml");
    sandbox.profile = Some(profile.clone());
    let bench = Bench {
        sandbox,
        profile,
        rows,
    };
    bench.flows(&[BESIDE, BIG]);
    // The tables are not there yet.
    bench.sandbox.fails(&["up"], 1);
    let session = bench.sandbox.postgres().await;
    let make = format!(
        "CREATE TABLE beside (id bigserial PRIMARY KEY, sent timestamptz(3) NOT NULL); \
         CREATE TABLE big (id bigint PRIMARY KEY, name text, amount numeric(12,2), at timestamptz); \
         INSERT INTO big SELECT n, 'row ' || n, n / 100.0, now() FROM generate_series(1, {rows}) n"
    );
    session.execute(&make).await.unwrap();
    bench.sandbox.ok(&["up"]);
    bench.whole(Duration::from_secs(1800)).await;
    let bare = bench.rate().await;
    println!("{rows} rows, a bare snapshot              {bare:.0} rows/s");
    bench.leave();

    let alone = bench
        .beside(async { tokio::time::sleep(Duration::from_secs(20)).await })
        .await;
    println!("the other flow alone, source to silver     {alone}");
    let meanwhile = bench
        .beside(async {
            bench.flows(&[BESIDE, BIG]);
            let up = bench.sandbox.spawn(&["up"]);
            bench.whole(Duration::from_secs(3600)).await;
            ended(up);
        })
        .await;
    let joined = bench.rate().await;
    println!(
        "{rows} rows, joining                       {joined:.0} rows/s, {:.2} x of the bare snapshot",
        joined / bare
    );
    println!("the other flow meanwhile                   {meanwhile}");
    bench.leave();

    // Kills are spread over the time that it took.
    #[allow(clippy::cast_precision_loss)]
    let pause = Duration::from_secs_f64(rows as f64 / joined / f64::from(KILLS + 2));
    bench.flows(&[BESIDE, BIG]);
    let begin = Instant::now();
    for kill in 0..KILLS {
        let mut up = bench.sandbox.spawn(&["up"]);
        tokio::time::sleep(pause.max(Duration::from_secs(2))).await;
        match kill % 2 {
            0 => bench.sandbox.kill("connect"),
            _ => sandbox::kill(up.id()),
        }
        let _ended = up.wait().unwrap();
    }
    bench.sandbox.ok(&["up"]);
    bench.whole(Duration::from_secs(3600)).await;
    let (source, target) = bench.hashes().await;
    assert_eq!(source, target);
    println!(
        "{rows} rows, joining, {KILLS} kills             all equal after {:.0} s",
        begin.elapsed().as_secs_f64()
    );
}

fn ended(mut up: std::process::Child) {
    assert!(up.wait().unwrap().success());
}

impl Bench {
    fn flows(&self, flows: &[&str]) {
        std::fs::write(&self.profile, format!("{HEAD}{}", flows.concat())).unwrap();
    }

    /// The big table is no part of the pipeline any more.
    fn leave(&self) {
        self.flows(&[BESIDE]);
        self.sandbox.ok(&["up", "--prune", "--yes"]);
    }

    async fn text(&self, sql: &str) -> String {
        let text = self.sandbox.clickhouse().text(sql).await;
        text.unwrap_or_default().trim().to_owned()
    }

    /// Waits until silver has all rows of the big table.
    async fn whole(&self, patience: Duration) {
        let begin = Instant::now();
        while self.text("SELECT uniqExact(id) FROM big_silver").await != self.rows.to_string() {
            assert!(begin.elapsed() < patience, "it never arrived");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Rows each second, from the first to the last that came.
    async fn rate(&self) -> f64 {
        let took = "SELECT dateDiff('ms', min(_ingested_at), max(_ingested_at)) FROM big_silver";
        let took: f64 = self.text(took).await.parse().unwrap();
        #[allow(clippy::cast_precision_loss)]
        let rows = self.rows as f64;
        rows * 1000.0 / took
    }

    /// What the way of a row takes that is inserted ten times a second while something goes on.
    async fn beside(&self, goes_on: impl Future<Output = ()>) -> String {
        let session = self.sandbox.postgres().await;
        let first = session
            .query("SELECT coalesce(max(id), 0)::text FROM beside")
            .await
            .unwrap();
        let first = first[0][0].clone().unwrap();
        let (stop, stopped) = watch::channel(false);
        let inserts = tokio::spawn(async move {
            while !*stopped.borrow() {
                let insert = "INSERT INTO beside (sent) VALUES (clock_timestamp())";
                session.execute(insert).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        goes_on.await;
        stop.send(true).unwrap();
        inserts.await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let sql = format!(
            "SELECT concat(toString(count()), ' rows, p50 ', toString(round(quantileExact(0.5)(took))), ', p99 ', \
             toString(round(quantileExact(0.99)(took))), ' ms') \
             FROM (SELECT dateDiff('ms', sent, _ingested_at) AS took FROM beside_silver WHERE id > {first})"
        );
        self.text(&sql).await
    }

    /// Of all rows, as the source and the target have them.
    async fn hashes(&self) -> (String, String) {
        let session = self.sandbox.postgres().await;
        let source =
            "SELECT md5(string_agg(id || '|' || name || '|' || amount, ',' ORDER BY id)) FROM big";
        let source = session.query(source).await.unwrap();
        let target = "SELECT lower(hex(MD5(arrayStringConcat(groupArray(concat(toString(id), '|', name, '|', \
                      toDecimalString(amount, 2))), ',')))) \
                      FROM (SELECT id, name, amount FROM big_silver FINAL WHERE is_deleted = 0 ORDER BY id)";
        (source[0][0].clone().unwrap(), self.text(target).await)
    }
}
