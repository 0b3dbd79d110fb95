//! Reading and counting a topic of a million messages beside Kafka's own tools, on the same broker:
//! `cargo bench --profile dev --bench topics`.
//!
//! Kafka's tools are those of the version that runs, started as their scripts start them, with the
//! jars that this tool has fetched; the one that is missing comes from Maven. Everything is timed as
//! a whole process. Nothing here passes or fails. `CDC_BENCH_MESSAGES` sets the number.

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

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sandbox::Sandbox;
use xtask::clients::kafka::Record;

const RUNS: usize = 3;

#[tokio::main]
async fn main() {
    if !machine::is_wanted() {
        return;
    }
    let messages: i64 =
        std::env::var("CDC_BENCH_MESSAGES").map_or(1_000_000, |text| text.parse().unwrap());
    machine::print();
    let sandbox = Sandbox::up("bench-topics");
    sandbox.ok(&["topic", "create", "bench", "--partitions", "1"]);
    let bytes = fill(&sandbox, messages).await;
    println!(
        "{messages} messages of {} bytes on average\n",
        bytes / messages
    );
    let address = format!("127.0.0.1:{}", sandbox.ports["kafka.port"]);
    let tools = Tools::of(&sandbox);
    let number = messages.to_string();

    let from = ["topic", "tail", "bench", "--from", "beginning"];
    let tail = |more: &[&str]| sandbox.command(&[&from[..], more].concat());
    let consumer = [
        "--bootstrap-server",
        &address,
        "--topic",
        "bench",
        "--from-beginning",
        "--max-messages",
        &number,
        "--timeout-ms",
        "120000",
    ];
    let offsets = ["--bootstrap-server", &address, "--topic", "bench"];
    // In turns: what else the machine does meets all of them alike.
    let reading = in_turns(&[
        ("topic tail", Box::new(|| tail(&[]))),
        (
            "kafka-console-consumer",
            Box::new(|| tools.command("consumer.ConsoleConsumer", &consumer)),
        ),
    ]);
    for (what, times) in reading {
        rates(what, messages, &times);
    }
    let asking = in_turns(&[
        (
            "topic tail, the last 10",
            Box::new(|| sandbox.command(&["topic", "tail", "bench"])),
        ),
        (
            "topic count",
            Box::new(|| sandbox.command(&["topic", "count", "bench"])),
        ),
        (
            "kafka-get-offsets",
            Box::new(|| tools.command("GetOffsetShell", &offsets)),
        ),
    ]);
    for (what, times) in asking {
        seconds(what, &times);
    }
    // A tenth: what is printed of them has to be made, which Kafka's tools do not do.
    let tenth = (messages / 10).max(1);
    let max = tenth.to_string();
    let making = in_turns(&[
        (
            "topic tail --output json",
            Box::new(|| tail(&["--max", &max, "--output", "json"])),
        ),
        (
            "topic tail --cdc",
            Box::new(|| tail(&["--max", &max, "--cdc"])),
        ),
    ]);
    for (what, times) in making {
        rates(what, tenth, &times);
    }
}

/// Changes as Debezium writes them, without their schema.
async fn fill(sandbox: &Sandbox, messages: i64) -> i64 {
    let kafka = sandbox.kafka().await;
    let mut bytes = 0;
    let now = i64::try_from(xtask::clock::now_ms()).unwrap();
    for first in (0..messages).step_by(10_000) {
        let records: Vec<Record> = (first..(first + 10_000).min(messages))
            .map(|id| {
                let row = |email: &str| {
                    format!(
                        "{{\"user_id\":{id},\"full_name\":\"Row {id}\",\"email\":\"{id}@{email}\",\
                         \"created_at\":{now}000,\"updated_at\":{now}000}}"
                    )
                };
                let value = format!(
                    "{{\"before\":{},\"after\":{},\"source\":{{\"version\":\"3.4.0.Final\",\
                     \"connector\":\"postgresql\",\"name\":\"postgres\",\"ts_ms\":{now},\
                     \"snapshot\":\"false\",\"db\":\"postgres\",\"schema\":\"public\",\
                     \"table\":\"users\",\"txId\":{id},\"lsn\":{},\"xmin\":null}},\
                     \"transaction\":null,\"op\":\"u\",\"ts_ms\":{now}}}",
                    row("before"),
                    row("after"),
                    22_052_512 + id * 100
                );
                let key = format!("{{\"user_id\":{id}}}");
                Record::new(Some(Bytes::from(key)), Some(Bytes::from(value)))
            })
            .collect();
        let sizes = records.iter().filter_map(|record| record.value.as_ref());
        bytes += sizes
            .map(|value| i64::try_from(value.len()).unwrap())
            .sum::<i64>();
        kafka.produce("bench", 0, &records).await.unwrap();
    }
    bytes
}

fn timed(command: &mut Command) -> Duration {
    let begin = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{command:?}: {status}");
    begin.elapsed()
}

type Made<'a> = (&'static str, Box<dyn Fn() -> Command + 'a>);

/// The times of each command, sorted.
fn in_turns(commands: &[Made<'_>]) -> Vec<(&'static str, Vec<Duration>)> {
    let mut all: Vec<(&'static str, Vec<Duration>)> = commands
        .iter()
        .map(|(what, _)| (*what, Vec::new()))
        .collect();
    for _ in 0..RUNS {
        for ((_, command), (_, times)) in commands.iter().zip(&mut all) {
            times.push(timed(&mut command()));
        }
    }
    for (_, times) in &mut all {
        times.sort();
    }
    all
}

#[allow(clippy::cast_precision_loss)]
fn rates(what: &str, messages: i64, times: &[Duration]) {
    let rate = |time: &Duration| messages as f64 / time.as_secs_f64();
    println!(
        "{what:<28} {:>9.0} messages/s ({:.0} to {:.0})",
        rate(&times[RUNS / 2]),
        rate(&times[RUNS - 1]),
        rate(&times[0]),
    );
}

fn seconds(what: &str, times: &[Duration]) {
    let seconds = |at: usize| times[at].as_secs_f64();
    println!(
        "{what:<28} {:>9.2} s ({:.2} to {:.2})",
        seconds(RUNS / 2),
        seconds(0),
        seconds(RUNS - 1)
    );
}

/// Kafka's command-line tools.
struct Tools {
    libs: PathBuf,
    tools: PathBuf,
}

impl Tools {
    fn of(sandbox: &Sandbox) -> Self {
        // Where the running broker has its jars from.
        let record = sandbox.dir().join("run");
        let libs = libraries(&sandbox.processes())
            .unwrap_or_else(|| panic!("no jars of a broker: {}", record.display()));
        let kafka = libs.join("..").canonicalize().unwrap();
        let name = libs.file_name().unwrap().to_string_lossy().into_owned();
        let version = name.split('-').nth(1).unwrap().to_owned();
        let tools = kafka.join(format!("bench-kafka-tools-{version}"));
        if !tools.join(format!("kafka-tools-{version}.jar")).exists() {
            let status = Command::new("mvn")
                .args(["--quiet", "--batch-mode"])
                .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy")
                .arg(format!("-Dartifact=org.apache.kafka:kafka-tools:{version}"))
                .arg(format!("-DoutputDirectory={}", tools.display()))
                .status();
            assert!(status.unwrap().success(), "Maven has no kafka-tools");
        }
        Tools { libs, tools }
    }

    fn command(&self, class: &str, args: &[&str]) -> Command {
        let mut command = Command::new("java");
        let path = |dir: &Path| dir.join("*").display().to_string();
        // What `kafka-run-class.sh` gives to tools.
        command.args([
            "-Xmx256M",
            "-server",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
        ]);
        command
            .arg("-cp")
            .arg(format!("{}:{}", path(&self.libs), path(&self.tools)));
        command
            .arg(format!("org.apache.kafka.tools.{class}"))
            .args(args);
        command
    }
}

/// The directory of jars in a JVM's command line.
fn libraries(processes: &[String]) -> Option<PathBuf> {
    let words = processes.iter().flat_map(|line| line.split([' ', ':']));
    let jars = words.filter_map(|word| word.strip_suffix("/*"));
    jars.map(PathBuf::from).find(|dir| {
        dir.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("kafka-"))
    })
}
