//! `up` beside applying everything at once without any order, each on a Kind cluster of its own:
//! `KIND_NODE_IMAGE=... CDC_TEST_BUNDLES=... cargo bench --profile dev --bench order`.
//!
//! At once, all objects are applied in one call, and what is no object (tables, topics, the replica
//! set) is tried in loops of its own from the start. Cluster and images are there before the clock
//! starts; the same observer looks at both. Nothing here passes or fails. `CDC_BENCH_ROUNDS` sets
//! how often (1). Operators and some images are stand-ins: see `tests/kind/README.md`.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic
)]

#[path = "../tests/kind/cluster.rs"]
mod cluster;
#[path = "../tests/kind/images.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;
#[path = "../tests/support/ports.rs"]
mod ports;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Kind;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};
use xtask::clients::kafka::OffsetAt;
use xtask::components::clickhouse::settings::ClickhouseSettings;
use xtask::components::mongodb::settings::MongodbSettings;
use xtask::components::postgres::settings::PostgresSettings;
use xtask::components::{connect, kafka, mongodb, postgres, reading_targets};
use xtask::environment::{Environment, Secrets};
use xtask::error::Result;
use xtask::plan::Progress;
use xtask::platform::kubernetes::Options;
use xtask::platform::kubernetes::watch::Target;
use xtask::platform::{Platform, kind, kubernetes};
use xtask::profile::Selection;
use xtask::up::cluster::{Show, kind_config, kind_source, kind_spec, objects};
use xtask::up::{image, operators};

const ORDERED: &str = "up";
const AT_ONCE: &str = "at-once";
const TOPIC: &str = "postgres.public.users";
/// Afterwards a way counts as never arriving.
const LIMIT: Duration = Duration::from_secs(420);
/// Between two looks, and between two tries of what did not work yet.
const PAUSE: Duration = Duration::from_millis(250);
/// How often a pipeline that is up is told to be.
const AGAIN: usize = 3;
/// How many nodes of a plan are printed.
const SLOWEST: usize = 14;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(way @ (ORDERED | AT_ONCE)) = args.get(1).map(String::as_str) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        println!("{}", runtime.block_on(one(way, args[2..].to_vec())));
        return;
    }
    if !machine::is_wanted() {
        return;
    }
    for name in ["KIND_NODE_IMAGE", "CDC_TEST_BUNDLES"] {
        if std::env::var_os(name).is_none() {
            println!("skipped: {name} is not set");
            return;
        }
    }
    let rounds: usize = std::env::var("CDC_BENCH_ROUNDS").map_or(1, |text| text.parse().unwrap());
    machine::print();
    for round in 0..rounds {
        // What the first way leaves in the machine's caches is of use to the second one.
        let ways = match round % 2 {
            0 => [ORDERED, AT_ONCE],
            _ => [AT_ONCE, ORDERED],
        };
        for way in ways {
            run(way);
        }
    }
}

/// One way as a process of its own, whose environment names its state and its kubeconfig.
fn run(way: &str) {
    let kind = Kind::new(&format!("order-{way}"));
    let before = machine::load();
    let output = Command::new(std::env::current_exe().unwrap())
        .arg(way)
        .args(kind.sets())
        .env("XDG_STATE_HOME", &kind.state)
        .env("KUBECONFIG", kind.kubeconfig())
        .env("KIND_NODE_IMAGE", images::node())
        .env("DOCKER_BUILDKIT", "0")
        .env("CI", "true")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{way} ended with {}",
        output.status
    );
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{way}, load {before} before and {} after", machine::load());
    for (what, key) in [
        ("first row of users in the topic", "topic"),
        ("first row of users in silver", "silver"),
        ("all resources ready, tasks run", "ready"),
    ] {
        match seen[key].as_f64() {
            Some(seconds) => println!("  {what:<34} {seconds:>6.1} s"),
            None => println!(
                "  {what:<34}  never ({} s); last seen: {}",
                LIMIT.as_secs(),
                seen[key].as_str().unwrap_or_default()
            ),
        }
    }
    let busy = seen["busy"].as_f64().unwrap();
    println!("  processor of way and observer      {busy:>6.1} s");
    println!(
        "  restarts of containers             {:>6}",
        seen["restarts"]
    );
    for line in seen["lines"].as_array().unwrap() {
        println!("  {}", line.as_str().unwrap());
    }
    println!();
}

fn bundles() -> PathBuf {
    std::env::var_os("CDC_TEST_BUNDLES").unwrap().into()
}

async fn one(way: &str, set: Vec<String>) -> Value {
    let env = prepared(&set).await;
    let busy = || {
        let (own, children) = machine::processor();
        own + children
    };
    let (begin, idle) = (Instant::now(), busy());
    let mut up = None;
    let mut tries = Vec::new();
    let seen = async {
        tokio::join!(
            seen(begin, || topic(&env)),
            seen(begin, || in_silver(&env)),
            seen(begin, || ready(&env)),
        )
    };
    let (topic, silver, ready) = match way {
        ORDERED => {
            let of = set.clone();
            let command = tokio::task::spawn_blocking(move || tool(&of));
            let (seen, done) = tokio::join!(seen, command);
            up = Some(done.unwrap());
            seen
        }
        _ => {
            // What the loops still try when everything was seen is of no interest.
            let mut loops = std::pin::pin!(at_once(&env, begin));
            let mut seen = std::pin::pin!(seen);
            tokio::select! {
                seen = &mut seen => seen,
                lines = &mut loops => {
                    tries = lines;
                    seen.await
                }
            }
        }
    };
    let busy = busy() - idle;
    let mut lines = tries;
    if let Some(up) = up {
        lines.push(format!("up itself: {}", up.text()));
        for _ in 0..AGAIN {
            let of = set.clone();
            let again = tokio::task::spawn_blocking(move || tool(&of));
            lines.push(format!("again:     {}", again.await.unwrap().text()));
        }
    }
    let told = |seen: std::result::Result<Duration, String>| match seen {
        Ok(after) => json!(after.as_secs_f64()),
        Err(last) => json!(last),
    };
    json!({
        "topic": told(topic),
        "silver": told(silver),
        "ready": told(ready),
        "busy": busy.as_secs_f64(),
        "restarts": restarts(&env).await,
        "lines": lines,
    })
}

/// The environment with its cluster, which has the workers' image too.
async fn prepared(set: &[String]) -> Arc<Environment> {
    let mut set = set.to_vec();
    set.push("platform=kind".into());
    let selection = Selection {
        profile: "clickhouse".into(),
        set,
    };
    let root = images::root();
    let loaded = xtask::components::load(&root, &selection).unwrap();
    let env = Environment::new(&root, loaded, Platform::Kind, Secrets::Create).unwrap();
    let silent = Progress::silent();
    let program = kind::Kind::find(&kind_source(&env), &silent).await.unwrap();
    let spec = kind_spec(&env);
    let docker = env.docker().await.unwrap();
    let config = kind_config(&env.templates, &spec).unwrap();
    kind::ensure(&program, docker, &spec, &config, &silent)
        .await
        .unwrap();
    image::build_step(&env, &silent).await.unwrap();
    image::load_step(&env, &silent).await.unwrap();
    let cluster = kubernetes::Cluster::connect(&kind::context(&spec.name)).await;
    env.attach(cluster.unwrap()).await.unwrap();
    settled(&env).await;
    Arc::new(env)
}

/// The cluster's own pods start after Kind is done; neither way shall pay for that.
async fn settled(env: &Environment) {
    let system = seen(Instant::now(), || async {
        pods_ready(env, "kube-system").await?;
        pods_ready(env, "local-path-storage").await
    });
    system.await.expect("the cluster's own pods are ready");
}

/// What `up` took as a process.
struct Up {
    wall: Duration,
    /// The plan's part of it, without what comes before and after.
    plan: Duration,
    /// Its processor time, which those that it waits for cannot have meanwhile.
    busy: Duration,
    nodes: Vec<Node>,
}

/// A node of the plan. The first one begins at zero.
struct Node {
    name: String,
    began: Duration,
    took: Duration,
}

impl Up {
    /// The slowest nodes, as `name began+took`.
    fn text(&self) -> String {
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.took));
        nodes.truncate(SLOWEST);
        nodes.sort_by_key(|node| node.began);
        let nodes: Vec<String> = nodes
            .iter()
            .map(|node| {
                let (began, took) = (node.began.as_secs_f64(), node.took.as_secs_f64());
                format!("\n      {:<28} {began:>6.2} + {took:.2}", node.name)
            })
            .collect();
        let (wall, plan) = (self.wall.as_secs_f64(), self.plan.as_secs_f64());
        let busy = self.busy.as_secs_f64();
        format!(
            "{wall:.1} s, its plan {plan:.1} s, processor {busy:.2} s{}",
            nodes.concat()
        )
    }
}

fn tool(set: &[String]) -> Up {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["up", "--output", "json", "--platform", "kind"])
        .arg("--bundle-dir")
        .arg(bundles())
        .stdin(Stdio::null());
    for set in set {
        command.arg("--set").arg(set);
    }
    let (begin, (_, before)) = (Instant::now(), machine::processor());
    let output = command.output().unwrap();
    let (wall, (_, after)) = (begin.elapsed(), machine::processor());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ms = |value: &Value| Duration::from_millis(value.as_u64().unwrap());
    let events: Vec<Value> = errors
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let first = events.iter().find(|event| event["event"] == "started");
    let first = ms(&first.unwrap()["at_ms"]);
    let nodes = events
        .iter()
        .filter(|event| event["event"] == "finished")
        .map(|event| {
            let took = ms(&event["took_ms"]);
            Node {
                name: event["node"].as_str().unwrap().to_owned(),
                began: ms(&event["at_ms"]).saturating_sub(first + took),
                took,
            }
        })
        .collect();
    Up {
        wall,
        plan: ms(&summary["wall_ms"]),
        busy: after - before,
        nodes,
    }
}

/// Everything at once; each loop says when it was through.
async fn at_once(env: &Arc<Environment>, begin: Instant) -> Vec<String> {
    let at = || (env.clone(), Progress::silent());
    let rows: &PostgresSettings = env.profile.first().expect("PostgreSQL");
    let documents: &MongodbSettings = env.profile.first().expect("MongoDB");
    let tried = tokio::join!(
        tried(begin, "apply", || async {
            let (env, silent) = at();
            let dir = bundles();
            let (mut all, _) = operators::objects(&env, Some(Path::new(&dir)), &silent).await?;
            let own = objects(&env, Show::Secrets)?;
            all.extend(own.into_iter().map(|object| object.object));
            let cluster = &env.link()?.cluster;
            cluster
                .apply(&all, &Options::new(&env.name), &silent)
                .await
                .map(drop)
        }),
        tried(begin, "postgres tables", || async {
            let (env, silent) = at();
            postgres::create_tables(rows, &env, &silent).await.map(drop)
        }),
        tried(begin, "postgres access", || async {
            let (env, silent) = at();
            postgres::access::grant(rows, &env, &silent).await.map(drop)
        }),
        tried(begin, "mongodb initiate", || async {
            let (env, silent) = at();
            let done = mongodb::initiate_in_cluster(documents, &env, &silent);
            done.await.map(drop)
        }),
        tried(begin, "mongodb access", || async {
            mongodb::access::grant(documents, env).await.map(drop)
        }),
        tried(begin, "mongodb seed", || async {
            mongodb::seed(documents, env).await.map(drop)
        }),
        tried(begin, "topics", || async {
            let (env, silent) = at();
            kafka::create_topics(env, silent).await.map(drop)
        }),
        tried(begin, "clickhouse tables", || async {
            let (env, silent) = at();
            for target in reading_targets(&env) {
                target.create_tables(&env, &silent).await?;
            }
            Ok(())
        }),
    );
    let (apply, tables, access, initiate, roles, seed, topics, target) = tried;
    vec![apply, tables, access, initiate, roles, seed, topics, target]
}

/// Tries until it works.
async fn tried<F>(begin: Instant, what: &str, attempt: impl Fn() -> F) -> String
where
    F: Future<Output = Result<()>>,
{
    let mut tries = 1;
    let mut refused = String::new();
    while let Err(error) = attempt().await {
        if error.message != refused {
            refused.clone_from(&error.message);
            let after = begin.elapsed().as_secs_f64();
            eprintln!("{after:>6.1} s  {what}: {refused}");
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
    let after = begin.elapsed().as_secs_f64();
    let line = format!("{what:<18} after {after:.1} s, {tries} tries");
    eprintln!("{line}");
    line
}

/// Looks until there is nothing to object; the last objection if there always is one.
async fn seen<F>(begin: Instant, look: impl Fn() -> F) -> std::result::Result<Duration, String>
where
    F: Future<Output = std::result::Result<(), String>>,
{
    loop {
        let objection = match look().await {
            Ok(()) => return Ok(begin.elapsed()),
            Err(objection) => objection,
        };
        if begin.elapsed() > LIMIT {
            return Err(objection);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

type Look = std::result::Result<(), String>;

async fn topic(env: &Environment) -> Look {
    let client = kafka::client(env).await.map_err(|error| error.message)?;
    let ends = client.offsets(TOPIC, OffsetAt::Latest).await;
    let ends = ends.map_err(|error| error.to_string())?;
    match ends.values().sum::<i64>() {
        0 => Err("the topic is empty".into()),
        _ => Ok(()),
    }
}

async fn in_silver(env: &Environment) -> Look {
    let target: &ClickhouseSettings = env.profile.first().expect("ClickHouse");
    let count = target
        .client(env)
        .text("SELECT count() FROM users_silver")
        .await
        .map_err(|error| error.to_string())?;
    match count.trim() {
        "0" => Err("silver is empty".into()),
        _ => Ok(()),
    }
}

/// Every resource and every pod says that it is ready, and the connectors' tasks run: a connector's
/// resource alone says so before its task fails.
async fn ready(env: &Environment) -> Look {
    let spaces = &env.profile.kubernetes;
    let namespace = &spaces.kafka_namespace;
    for kind in ["Kafka", "KafkaConnect", "KafkaConnector"] {
        for object in listed(env, "kafka.strimzi.io/v1", kind, namespace).await? {
            let conditions = object.data["status"]["conditions"].as_array();
            let ready = conditions.is_some_and(|all| {
                let mut all = all.iter();
                all.any(|one| one["type"] == "Ready" && one["status"] == "True")
            });
            let observed = object.data["status"]["observedGeneration"].as_i64();
            if !ready || observed != object.metadata.generation {
                return Err(format!("{kind} {}", object.metadata.name.unwrap()));
            }
        }
    }
    let namespace = &spaces.database_namespace;
    let (api, kind) = ("clickhouse.altinity.com/v1", "ClickHouseInstallation");
    for object in listed(env, api, kind, namespace).await? {
        if object.data["status"]["status"] != "Completed" {
            return Err(kind.into());
        }
    }
    pods_ready(env, &spaces.kafka_namespace).await?;
    pods_ready(env, &spaces.database_namespace).await?;
    for (name, connector) in &env.profile.connectors {
        let seen = connect::probe_connector(env, name, connector).await;
        if seen.state != xtask::readiness::State::Current {
            return Err(format!("{name}: {}", seen.message));
        }
    }
    Ok(())
}

/// The objects of a kind; none at all is an objection.
async fn listed(
    env: &Environment,
    version: &str,
    kind: &str,
    namespace: &str,
) -> std::result::Result<Vec<DynamicObject>, String> {
    let client = env.link().unwrap().cluster.client.clone();
    let resource = Target::of(version, kind, namespace, "").resource;
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let list = api.list(&ListParams::default()).await;
    let items = list.map_err(|error| error.to_string())?.items;
    match items.is_empty() {
        true => Err(format!("no {kind}")),
        false => Ok(items),
    }
}

async fn pods(env: &Environment, namespace: &str) -> std::result::Result<Vec<Pod>, String> {
    let client = env.link().unwrap().cluster.client.clone();
    let api: Api<Pod> = Api::namespaced(client, namespace);
    let list = api.list(&ListParams::default()).await;
    Ok(list.map_err(|error| error.to_string())?.items)
}

async fn pods_ready(env: &Environment, namespace: &str) -> Look {
    let pods = pods(env, namespace).await?;
    let ready = |pod: &Pod| {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| {
            let mut all = all.iter();
            all.any(|one| one.type_ == "Ready" && one.status == "True")
        })
    };
    match pods.iter().find(|pod| !ready(pod)) {
        Some(pod) => Err(format!("pod {}", pod.metadata.name.as_deref().unwrap())),
        None if pods.is_empty() => Err(format!("no pods in {namespace}")),
        None => Ok(()),
    }
}

async fn restarts(env: &Environment) -> i32 {
    let spaces = &env.profile.kubernetes;
    let mut count = 0;
    for namespace in [&spaces.kafka_namespace, &spaces.database_namespace] {
        let pods = pods(env, namespace).await.unwrap_or_default();
        let statuses = pods.into_iter().filter_map(|pod| pod.status);
        let containers = statuses.filter_map(|status| status.container_statuses);
        let restarts = containers.flatten().map(|one| one.restart_count);
        count += restarts.sum::<i32>();
    }
    count
}
