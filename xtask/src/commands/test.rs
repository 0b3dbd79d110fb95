//! `test`: the product's own checks, in the order in which they are cheapest.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::context;
use super::doctor;
use crate::cli::{DEFAULT_PROFILE, Doctor, Global, Test};
use crate::components::{self, kafka};
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::Platform;
use crate::platform::host::artifacts::pypi;
use crate::platform::host::dirs;
use crate::process::{self, Job, this_program};
use crate::profile::Selection;
use crate::report::text::duration;
use crate::wait;

/// What end-to-end tests want of this machine, by the variable that tells where it is, and the part of
/// their names.
const WANTED: &str = "xtask/tests/e2e/wanted.yaml";

/// What needs nothing but the sources.
const ALWAYS: [(&str, &str); 4] = [
    ("format", "cargo fmt --all --check"),
    (
        "lint",
        "cargo clippy --workspace --all-targets --quiet -- -D warnings",
    ),
    // Cargo counts a suite that is left out by default among no targets: without this, one that
    // does not even compile is found only where it can run.
    (
        "lint of the suites that need servers",
        "cargo clippy --package xtask --test e2e --test apiserver --test docker --test gates --test kind --quiet -- -D warnings",
    ),
    // All but the end-to-end tests, which are left out by default.
    (
        "unit, snapshot and command-line tests",
        "cargo test --workspace",
    ),
];

pub(super) async fn run(global: &Global, args: &Test) -> Result<ExitCode> {
    if !args.quick {
        prerequisites(global).await?;
    }
    let broker = match args.quick {
        true => None,
        false => Some(broker().await?),
    };
    let always = ALWAYS.map(|(name, command)| (name, words(command)));
    let mut steps: Vec<(&str, Vec<String>)> = always.into();
    if is_set("CDC_TEST_CRDS") {
        let tests = words(
            "cargo test --package xtask --test objects --test bundles --test image_contents -- --ignored",
        );
        steps.push(("objects against the operators' definitions", tests));
    }
    if !args.quick {
        // Each environment wants a machine's worth of memory and processor: one after the other.
        let e2e = words("cargo test --package xtask --test e2e -- --test-threads=1");
        // What a test wants that is not there leaves it ignored, and counted.
        let there = wanted()?.into_iter().filter(|(name, _)| is_set(name));
        let more: Vec<String> = there.map(|(_, tests)| tests).collect();
        steps.push(("end-to-end tests", e2e.clone()));
        if !more.is_empty() {
            let tests = [e2e, words("--ignored"), more].concat();
            steps.push(("end-to-end tests on what is there", tests));
        }
        let recorded = recorded().map(|tests| ("readiness against recorded statuses", tests));
        steps.extend(recorded);
    }
    let mut checks: Vec<(&str, Check)> = steps
        .into_iter()
        .map(|(name, command)| (name, Check::Command(command)))
        .collect();
    let with_broker_name = "the Kafka client and the embedded engine's server, with a real broker";
    checks.extend(broker.map(|check| (with_broker_name, check)));
    if !args.quick {
        let servers: [(&str, OnServers); 4] = [
            ("the Kubernetes API server", apiserver),
            ("gates against real servers", gates),
            ("images and clusters on a Docker engine", |there| {
                on_docker("docker", there)
            }),
            ("the pipeline on a Kind cluster", |there| {
                on_docker("kind", there)
            }),
        ];
        checks.extend(servers.map(|(name, command)| (name, Check::OnServers(command))));
    }
    let mut failed = Vec::new();
    for (name, check) in &checks {
        let begin = Instant::now();
        eprintln!("== {name}");
        let result = match check {
            Check::Command(command) => run_command(command),
            Check::OnServers(command) => run_command(&command(servers().await)),
            Check::WithBroker(libraries, server) => with_broker(libraries, server.as_ref()),
        };
        eprintln!(
            "== {name}: {} in {}\n",
            word(result.is_ok()),
            duration(begin.elapsed())
        );
        if let Err(error) = result {
            eprintln!("{error}");
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let what = format!("failed: {}", failed.join(", "));
    Err(Error::new(Code::Check, what))
}

fn wanted() -> Result<IndexMap<String, String>> {
    let path = context::root().join(WANTED);
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error))?;
    serde_yaml::from_str(&text)
        .map_err(|error| Error::new(Code::Check, format!("{WANTED} is malformed: {error}")))
}

/// Servers that variables name may still be made while the first suites run: they are there once this variable's file is. What
/// stands in the file says why they are not.
const READY: &str = "CDC_TEST_READY";

/// How often it is looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until the servers that variables name are there, or are known not to be.
async fn servers() -> bool {
    let Some(path) = std::env::var_os(READY) else {
        return true;
    };
    loop {
        match std::fs::read_to_string(&path) {
            Ok(why) if why.trim().is_empty() => return true,
            Ok(why) => {
                eprintln!("{}", why.trim());
                return false;
            }
            Err(_) => wait::pause(PAUSE).await,
        }
    }
}

/// What of the units wants recorded data. Where there is none, the units' own run counts it as ignored.
fn recorded() -> Option<Vec<String>> {
    let data = std::env::var_os("CDC_TEST_CAPTURES")
        .map_or_else(|| context::root().join("../shared/data"), Into::into);
    // Those of the Kafka client want a broker instead.
    let tests = "cargo test --workspace --exclude cdc-kafka --lib -- --ignored";
    data.is_dir().then(|| words(tests))
}

/// Without an API server's programs they are skipped, and counted as such.
fn apiserver(there: bool) -> Vec<String> {
    let tests = "cargo test --package xtask --test apiserver -- --test-threads=1";
    included(tests, there && is_set("KUBEBUILDER_ASSETS"))
}

/// Tests that are ignored unless what they need is there.
fn included(tests: &str, there: bool) -> Vec<String> {
    let mut tests = words(tests);
    if there {
        tests.push("--include-ignored".into());
    }
    tests
}

/// Whether a variable tells of something that is there.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

/// Without a node image, for which there must be an engine, they are skipped, and counted as such. All
/// of them take over an hour: `CDC_TEST_CLUSTERS` may hold the parts of names that are to run.
fn on_docker(name: &str, there: bool) -> Vec<String> {
    let tests = format!("cargo test --package xtask --test {name} -- --test-threads=1");
    if !there || !is_set("KIND_NODE_IMAGE") {
        return words(&tests);
    }
    let parts = std::env::var("CDC_TEST_CLUSTERS").unwrap_or_default();
    let mut tests = included(&format!("{tests} {parts}"), true);
    if !is_set("CDC_TEST_REGISTRY") {
        tests.extend(words("--skip registry::"));
    }
    tests
}

/// What needs an API server's programs or a cluster that are not there is skipped, and counted.
fn gates(there: bool) -> Vec<String> {
    let mut tests = words("cargo test --package xtask --test gates -- --test-threads=1");
    let server = there && is_set("KUBEBUILDER_ASSETS");
    let cluster = is_set("CDC_TEST_KUBECONFIG");
    tests.extend(words(match (server, cluster) {
        (true, true) => "--include-ignored",
        (true, false) => "--include-ignored apiserver",
        (false, true) => "--include-ignored cluster",
        (false, false) => "",
    }));
    tests
}

/// One of the checks.
enum Check {
    /// A program with its arguments.
    Command(Vec<String>),
    /// One that depends on whether the servers that variables name are there.
    OnServers(OnServers),
    /// See [`with_broker`]: Kafka's jars, and the test of the embedded engine's server if there is one.
    WithBroker(PathBuf, Option<Script>),
}

/// A program with its arguments, by whether the servers are there.
type OnServers = fn(bool) -> Vec<String>;

/// A program with its arguments.
type Script = (String, Vec<String>);

fn run_command(command: &[String]) -> Result<()> {
    let Some((program, args)) = command.split_first() else {
        return Ok(());
    };
    let dir = Some(context::root());
    process::run(&Job {
        dir,
        ..Job::new(program, args)
    })
}

/// Runs the tests that need a broker against the one of an environment made for them.
fn with_broker(libraries: &Path, server: Option<&Script>) -> Result<()> {
    // PostgreSQL may have to run as another user, who must be able to enter.
    let state = std::env::temp_dir().join(format!("cdc-test-{}", std::process::id()));
    dirs::make(&state, 0o755)?;
    let tool = this_program().unwrap_or_else(|_| "xtask".into());
    let tool = tool.display().to_string();
    let job_of = |env: &BTreeMap<String, String>, program: &str, args: &[String]| Job {
        dir: Some(context::root()),
        env: env.clone(),
        ..Job::new(program, args)
    };
    let job = |env: &_, program: &str, args: &str| job_of(env, program, &words(args));
    let mut env = BTreeMap::from([("XDG_STATE_HOME".into(), state.display().to_string())]);
    let up = "up --platform host --ports auto --output json \
              --set kafka.config.auto.create.topics.enable=true";
    let up = process::read(&job(&env, &tool, up))?;
    let report: serde_json::Value = serde_json::from_str(&up).unwrap_or_default();
    let address = report["endpoints"]["kafka"].as_str().unwrap_or_default();
    env.insert("CDC_TEST_KAFKA".into(), address.into());
    env.insert("KAFKA_BOOTSTRAP".into(), address.into());
    let libraries = libraries.display().to_string();
    env.insert("CDC_TEST_KAFKA_LIBS".into(), libraries);
    let tests = "test --package cdc-kafka --lib broker_tests -- --ignored --skip measure";
    let tests = process::run(&job(&env, "cargo", tests));
    // It starts brokers of its own, from the libraries that `up` has just had.
    let logins = "test --package cdc-kafka --lib security_tests::broker -- --ignored";
    let logins = process::run(&job(&env, "cargo", logins));
    let server = server.map_or(Ok(()), |(python, args)| {
        process::run(&job_of(&env, python, args))
    });
    process::run(&job(&env, &tool, "down --yes"))?;
    std::fs::remove_dir_all(&state).map_err(|error| Error::io("remove", &state, &error))?;
    tests.and(logins).and(server)
}

/// Has what the real components need: asks on a terminal, installs it unasked in CI. A port that is
/// taken does not matter, as the tests choose their own.
async fn prerequisites(global: &Global) -> Result<()> {
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    let args = Doctor {
        fix: ci || std::io::stdin().is_terminal(),
        yes: ci,
    };
    // What the tests start runs on this machine, wherever the profile's own environment is.
    let loaded = context::load(&context::selection(global))?;
    match doctor::check(&loaded, Platform::Host, &args, global.output).await {
        Err(error) if error.code != Code::PortTaken => Err(error),
        _ => Ok(()),
    }
}

fn word(good: bool) -> &'static str {
    if good { "fine" } else { "FAILED" }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// What the tests with a broker take from the cache: Kafka's jars, and the embedded engine's Python,
/// fetched if need be; none on a machine that has a server.
async fn broker() -> Result<Check> {
    let root = context::root();
    let selection = Selection {
        profile: DEFAULT_PROFILE.into(),
        set: Vec::new(),
    };
    let env = Environment::new(
        &root,
        components::load(&root, &selection)?,
        Platform::Host,
        Secrets::Existing,
    )?;
    let cache = &env.dirs.cache;
    let libraries = kafka::libraries(&env)?.dir(cache);
    let Some(engine) = env.running().find_map(|it| components::of(it).engine(&env)) else {
        return Ok(Check::WithBroker(libraries, None));
    };
    crate::platform::host::dirs::make(cache, 0o755)?;
    eprintln!("== fetching {}", engine.name);
    pypi::fetch(&engine, cache, &Progress::silent()).await?;
    let python = engine.python(cache)?.display().to_string();
    // It stands beside what the engine is made of.
    let script = engine.requirements.with_file_name("test_server.py");
    let args = vec!["-B".to_owned(), script.display().to_string()];
    Ok(Check::WithBroker(libraries, Some((python, args))))
}
