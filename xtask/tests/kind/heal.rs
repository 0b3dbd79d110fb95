//! Healing on a cluster, where a kubelet and an operator restart much by themselves: what is left for a
//! healer, what it leaves alone, and what it survives.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::Kind;
use crate::life::{arrives, insert};

const CONNECTOR: &str = "postgres-connector";
const SUBJECT: &str = "connector postgres-connector";
/// A Lease that is not given back is free after 15 s.
const HOLDS: Duration = Duration::from_secs(15);
/// For so long a worker that does not answer may be starting.
const BEGINS: Duration = Duration::from_secs(60);

/// A healer on some machine, which has a state of its own.
struct Watch {
    child: Child,
    state: PathBuf,
}

impl Watch {
    fn begin(kind: &Kind, state: &Path) -> Self {
        let child = kind
            .command(&["heal", "--watch", "--interval", "2s"])
            .env("XDG_STATE_HOME", state)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let state = state.to_owned();
        Watch { child, state }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with a signal; says with which exit code it did.
    fn end(mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.child.wait().unwrap().code()
    }

    fn began(&self) -> bool {
        let own = |it: &&Value| it["pid"] == self.pid();
        events(&self.state, "began").iter().any(|it| own(&it))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn history(state: &Path) -> Vec<Value> {
    let path = state.join("cdc-xtask/clickhouse/heal.jsonl");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn events(state: &Path, kind: &str) -> Vec<Value> {
    let mut all = history(state);
    all.retain(|event| event["event"] == kind);
    all
}

/// Whether an event is about the connector: which of its findings came first is a matter of moments.
fn of_connector(event: &Value) -> bool {
    event["subject"] == SUBJECT
}

async fn eventually(what: &str, within: Duration, is: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < within, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("{what} after {:.1} s", begin.elapsed().as_secs_f64());
    begin.elapsed()
}

/// An event that comes after what there is now.
struct Next<'a> {
    state: &'a Path,
    known: usize,
}

impl<'a> Next<'a> {
    fn after_now(state: &'a Path) -> Self {
        Next {
            state,
            known: history(state).len(),
        }
    }

    async fn event(&self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.one(kind, |event| event["event"] == kind && is(event))
            .await
    }

    async fn one(&self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let find = || {
            let all = history(self.state);
            let mut new = all.into_iter().skip(self.known);
            new.find(|event| is(event))
        };
        let begin = Instant::now();
        loop {
            if let Some(event) = find() {
                eprintln!("{kind} after {:.1} s", begin.elapsed().as_secs_f64());
                return event;
            }
            let new = || history(self.state).split_off(self.known);
            assert!(
                begin.elapsed() < Duration::from_secs(180),
                "there is no such `{kind}`: {:#?}",
                new()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn task(kind: &Kind) -> String {
    let status = kind.connect().status(CONNECTOR).await;
    let Ok(Some(status)) = status else {
        return "unknown".into();
    };
    let mut tasks = status.tasks.into_iter();
    tasks.next().map_or("none".into(), |task| task.state)
}

async fn becomes(kind: &Kind, state: &str) {
    let begin = Instant::now();
    loop {
        let now = task(kind).await;
        if now == state {
            return;
        }
        let late = begin.elapsed() > Duration::from_secs(120);
        assert!(!late, "the task is {now}, not {state}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The source's server ends; its pod is restarted, and the task fails over it.
async fn fail(kind: &Kind) {
    kind.on_node("pkill -KILL -o -x postgres").unwrap();
    becomes(kind, "FAILED").await;
}

/// A healer that has nothing to do comes and goes.
fn once(kind: &Kind) {
    let state = kind.state.as_path();
    heals(kind);
    assert_eq!(events(state, "attempt"), Vec::<Value>::new());
    assert_eq!(holder(kind), "", "the lease is given back");
}

/// A task that failed over an outage that has passed is restarted, alone; workers that are lost are
/// whose pods they are.
async fn restarts(kind: &Kind, watch: &Watch) {
    let state = watch.state.as_path();
    let next = Next::after_now(state);
    fail(kind).await;
    next.event("healed", of_connector).await;
    let attempts = events(state, "attempt");
    assert_eq!(attempts.len(), 1, "{attempts:#?}");
    let act = format!("cargo xtask connector restart {CONNECTOR} --only-failed");
    assert_eq!(attempts[0]["act"], act);
    assert!(of_connector(&attempts[0]), "{attempts:#?}");
    insert(kind, "task-healed").await;
    arrives(kind, "task-healed", Duration::from_secs(60)).await;

    let process = "pkill -KILL -f cli.ConnectDistribute[d]";
    let pod = format!(
        "kubectl --kubeconfig=/etc/kubernetes/admin.conf delete pod -n kafka {} --wait=false",
        crate::life::WORKER
    );
    for (number, lose) in [process, &pod].into_iter().enumerate() {
        let next = Next::after_now(state);
        let before = events(state, "attempt").len();
        let begin = Instant::now();
        kind.on_node(lose).unwrap();
        let of_worker = |it: &Value| it["subject"] == "connect";
        next.event("found", of_worker).await;
        let name = format!("worker-lost-{number}");
        insert(kind, &name).await;
        arrives(kind, &name, Duration::from_secs(180)).await;
        // One that takes longer than that may be stuck.
        let mine = events(state, "attempt").split_off(before);
        let none = !mine.iter().any(of_worker);
        assert!(none || begin.elapsed() > BEGINS, "{mine:#?}");
        // What is lost before that is told is the same trouble still.
        let over = |it: &Value| it["event"] == "gone" || it["event"] == "healed";
        next.one("end of it", |it| over(it) && of_worker(it)).await;
    }
}

/// Runs a healer that ends by itself, with nothing left to do. A machine that is busy may keep it from
/// seeing everything: then it says so, and is asked again.
fn heals(kind: &Kind) -> Duration {
    let begin = Instant::now();
    for _ in 0..10 {
        let output = kind.run(&["heal", "--output", "json"]);
        let said = String::from_utf8_lossy(&output.stderr);
        let left: Value = serde_json::from_slice(&output.stdout).expect(&said);
        if left["sound"] == true {
            eprintln!("healed in {:.1} s", begin.elapsed().as_secs_f64());
            return begin.elapsed();
        }
        let blind = left["unknown"] != serde_json::json!([]);
        assert!(
            blind && left["findings"] == serde_json::json!([]),
            "{left:#}"
        );
    }
    panic!("it never saw everything");
}

/// Nothing is restarted over a wrong password, and it is told once.
async fn wrong_password(kind: &Kind, watch: &Watch) {
    let state = watch.state.as_path();
    let session = kind.postgres().await;
    let before = events(state, "attempt").len();
    let next = Next::after_now(state);
    let change = "ALTER USER cdc_connector PASSWORD 'somebody-changed-it'";
    session.execute(change).await.unwrap();
    kind.connect().restart(CONNECTOR, false).await.unwrap();
    let told = next
        .event("escalated", |it| it["code"] == "LOGIN_REFUSED")
        .await;
    assert_eq!(told["reason"], "person");
    tokio::time::sleep(Duration::from_secs(15)).await;
    let attempts = events(state, "attempt");
    assert_eq!(attempts.len(), before, "{attempts:#?}");
    let mut subjects: Vec<String> = events(state, "escalated")
        .iter()
        .filter(|it| it["code"] == "LOGIN_REFUSED")
        .map(|it| format!("{} {} {}", it["subject"], it["reason"], it["cause"]))
        .collect();
    let count = subjects.len();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), count, "told twice");
    let back = format!(
        "ALTER USER cdc_connector PASSWORD '{}'",
        kind.connector_password()
    );
    session.execute(&back).await.unwrap();
    kind.connect().restart(CONNECTOR, false).await.unwrap();
    next.event("gone", |it| it["code"] == "LOGIN_REFUSED").await;
    becomes(kind, "RUNNING").await;
}

/// The API server hangs, then ends and is started again; meanwhile a task fails.
async fn no_server(kind: &Kind, watch: &mut Watch) {
    let state = watch.state.clone();
    let next = Next::after_now(&state);
    kind.on_node("pkill -STOP -x kube-apiserver").unwrap();
    kind.on_node("pkill -KILL -o -x postgres").unwrap();
    tokio::time::sleep(HOLDS * 2).await;
    assert!(watch.child.try_wait().unwrap().is_none(), "it ended");
    kind.on_node("pkill -KILL -x kube-apiserver").unwrap();
    next.event("healed", of_connector).await;
    let attempts = events(&state, "attempt");
    let tried = attempts.iter().filter(|it| of_connector(it)).count();
    eprintln!("attempts for the connector so far: {tried}");
    insert(kind, "server-back").await;
    arrives(kind, "server-back", Duration::from_secs(60)).await;
}

fn holder(kind: &Kind) -> String {
    let name = "lease/cdc-xtask-heal-clickhouse";
    let path = "jsonpath={.spec.holderIdentity}";
    kind.kubectl(&["get", "-n", "kafka", name, "-o", path])
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KIND_NODE_IMAGE"]
async fn a_healer_mends_what_it_may_and_survives_what_it_loses() {
    let mut kind = Kind::new("heal");
    // By default Debezium tries its source again and again, and no task fails over an outage.
    let retries = r#"connectors.postgres-connector.config={"errors.max.retries": "0"}"#;
    kind.extra.push(retries.into());
    kind.ok(&["up", "--yes"]);
    story(&kind).await;
    kind.ok(&["down", "--yes"]);
}

async fn story(kind: &Kind) {
    once(kind);
    let mut first = Watch::begin(kind, &kind.state);
    eventually("the first begins", HOLDS, || first.began()).await;
    restarts(kind, &first).await;
    wrong_password(kind, &first).await;
    no_server(kind, &mut first).await;

    // Its own end: the next one waits for the lease, and knows what was done.
    let lost = first.pid();
    first.end(Signal::KILL);
    assert!(holder(kind).contains(&format!("/{lost}/")));
    let second = Watch::begin(kind, &kind.state);
    eventually("the second takes over", HOLDS * 2, || second.began()).await;

    // Another machine's healer stands by, and one that does not watch says who has it.
    let elsewhere = kind.state.join("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let (from, to) = (kind.state.join("cdc-xtask"), elsewhere.join("cdc-xtask"));
    let mut copy = std::process::Command::new("cp");
    assert!(
        copy.arg("-a")
            .args([&from, &to])
            .status()
            .unwrap()
            .success()
    );
    std::fs::remove_file(to.join("clickhouse/heal.jsonl")).unwrap();
    let third = Watch::begin(kind, &elsewhere);
    let (code, said) = kind.fails(&["heal"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains(&format!("/{}/", second.pid())), "{said}");
    let next = Next::after_now(&kind.state);
    fail(kind).await;
    next.event("healed", of_connector).await;
    assert_eq!(history(&elsewhere), Vec::<Value>::new());

    // Interrupted, it gives the lease back: nobody waits until it would have ended.
    assert_eq!(second.end(Signal::INT), Some(130));
    let took = eventually("the third takes over", HOLDS, || third.began()).await;
    assert!(took < HOLDS / 2, "{took:?}");
    assert_eq!(third.end(Signal::TERM), Some(130));
    assert_eq!(holder(kind), "");

    let whole = history(&kind.state);
    assert!(
        whole
            .iter()
            .all(|it| it["at"].is_u64() && it["event"].is_string())
    );
    eprintln!("{} lines of history", whole.len());
}
