//! `reconcile --schedule`: runs at its ticks, reports to a webhook and a Pushgateway, keeps a second one away, and ends
//! when it is told to. Beside it a real Pushgateway and systemd's own check of the printed unit, where they are there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::operate::pushgateway::{Others, Pushgateway};
use xtask::reconcile::metrics;
use xtask::reconcile::report::{Report, Status, TableReport};

use crate::ports;
use crate::sandbox::Sandbox;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// What stands in addresses and must not be printed.
const TOKEN: &str = "not-to-be-seen";

/// A request that was taken: method, path, body.
type Request = (String, String, String);

/// Takes every request, and remembers it.
struct Listener {
    address: String,
    taken: Arc<Mutex<Vec<Request>>>,
}

impl Listener {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let all = taken.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                all.lock().unwrap().extend(take(stream));
            }
        });
        Listener {
            address: format!("http://127.0.0.1:{port}"),
            taken,
        }
    }

    fn all(&self) -> Vec<Request> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits for a request that fits.
    fn waits(&self, what: &str, fits: impl Fn(&Request) -> bool) -> Request {
        until(what, || self.all().into_iter().find(&fits))
    }
}

fn take(mut stream: TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().expect("a length"))
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let mut words = head.split(' ').map(str::to_owned);
        return Some((words.next()?, words.next()?, body.to_owned()));
    }
}

#[track_caller]
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A schedule that runs, and what it prints.
struct Scheduled {
    child: Child,
    said: PathBuf,
}

impl Scheduled {
    fn begin(sandbox: &Sandbox, hook: &Listener, more: &[&str]) -> Self {
        let said = sandbox.state().join("said");
        let file = std::fs::File::create(&said).expect("a file");
        let args = [&["reconcile", "users", "--schedule"], more].concat();
        let child = sandbox
            .command(&args)
            .env(
                "CDC_ALERT_WEBHOOK",
                format!("{}/{TOKEN}?key={TOKEN}", hook.address),
            )
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("the tool starts");
        Scheduled { child, said }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).expect("what it said")
    }

    /// Waits for one more line of this kind.
    fn says(&self, part: &str) {
        let before = self.said().matches(part).count();
        until(part, || {
            (self.said().matches(part).count() > before).then_some(())
        });
    }

    fn terminated(mut self) -> (Option<i32>, String) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
        let code = self.child.wait().expect("it ends").code();
        (code, self.said())
    }
}

impl Drop for Scheduled {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reports(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|it| it.path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_compares_alerts_and_ends_when_it_is_told_to() {
    let sandbox = Sandbox::up("reconcile-schedule");
    let (hook, gateway) = (Listener::new(), Listener::new());
    let dir = sandbox.state().join("reports");
    let more = [
        "--interval",
        "2",
        "--output-dir",
        dir.to_str().expect("text"),
        "--pushgateway",
        &gateway.address,
    ];
    let schedule = Scheduled::begin(&sandbox, &hook, &more);

    // A report for each run, and each at its tick.
    let files = until("three reports", || {
        Some(reports(&dir)).filter(|it| it.len() >= 3)
    });
    for file in &files {
        let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(report["status"], "PASS", "{report:#}");
    }
    let pushed = gateway.all();
    let times: Vec<f64> = pushed.iter().map(|it| last_run(&it.2)).collect();
    assert!(times.len() >= 2, "{pushed:?}");
    for time in &times[1..] {
        let ticks = (time - times[0]) / 2.0;
        let off = (ticks - ticks.round()).abs();
        assert!(ticks > 0.5 && off < 0.25, "off its ticks: {times:?}");
    }
    for (method, path, body) in &pushed {
        assert_eq!(
            (method.as_str(), path.as_str()),
            ("PUT", "/metrics/job/cdc_reconcile/profile/clickhouse")
        );
        let status = "cdc_reconcile_status{profile=\"clickhouse\",table=\"users\"} 0\n";
        assert!(body.contains(status), "{body}");
        assert!(body.contains("last_success_timestamp"), "{body}");
    }
    assert_eq!(hook.all(), []);

    // A second one is refused, and other commands are not.
    let refused = sandbox.fails(&["reconcile", "--schedule", "--interval", "60"], 4);
    let holder = format!(
        "another schedule compares this environment: pid {}: cargo xtask reconcile --schedule",
        schedule.child.id()
    );
    assert!(refused.contains(&holder), "{refused}");

    // A difference.
    let row = "DELETE FROM users_silver WHERE user_id = (SELECT min(user_id) FROM users_silver)";
    sandbox.clickhouse().text(row).await.expect("deleted");
    let (method, path, body) = hook.waits("an alert", |_| true);
    assert_eq!(method, "POST");
    assert!(path.ends_with(TOKEN), "{path}");
    let alert: Value = serde_json::from_str(&body).expect("JSON");
    let text = alert["text"].as_str().expect("a text");
    assert!(
        text.starts_with("[clickhouse] reconcile FAIL: 1 of 1 table differ"),
        "{text}"
    );
    assert_eq!(alert["tables"][0]["missing_rows"], 1, "{alert:#}");
    let next = alert["recommendations"].to_string();
    assert!(
        next.contains("cargo xtask reconcile users --repair"),
        "{next}"
    );
    let (method, _, body) = gateway.waits("its metrics", |it| {
        it.2.contains("cdc_reconcile_missing_rows{profile=\"clickhouse\",table=\"users\"} 1\n")
    });
    // The time of the last success stays at the gateway.
    assert_eq!(method, "POST");
    assert!(!body.contains("last_success"), "{body}");

    // It is repaired beside the schedule, whose next run says so once.
    let repaired = sandbox.json(&["reconcile", "users", "--repair", "--yes"]);
    assert_eq!(repaired["status"], "PASS", "{repaired:#}");
    let fine = |it: &Request| it.2.contains("\"fine_again\":true");
    let (_, _, body) = hook.waits("the end of it", fine);
    assert!(body.contains("fine again: the table is the same"), "{body}");
    schedule.says("the next run is at");
    assert_eq!(hook.all().iter().filter(|it| fine(it)).count(), 1);

    let (code, said) = schedule.terminated();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("PASS: the table is the same"), "{said}");
    assert!(!said.contains(TOKEN), "{said}");

    // What cannot be delivered costs the exit code, and not the report.
    let output = sandbox.run(&["reconcile", "users", "--pushgateway", "http://127.0.0.1:1"]);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(out.contains("PASS: the table is the same"), "{out}");
    assert!(
        err.contains("did not take the metrics: http://127.0.0.1:1: "),
        "{err}"
    );

    // Told to end within a run, it says what it has until then.
    stop(&sandbox, "clickhouse", rustix::process::Signal::STOP);
    let schedule = Scheduled::begin(&sandbox, &hook, &["--interval", "60"]);
    std::thread::sleep(Duration::from_secs(1));
    let (code, said) = schedule.terminated();
    stop(&sandbox, "clickhouse", rustix::process::Signal::CONT);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("INTERRUPTED: "), "{said}");

    // A run that fails is reported, and the schedule goes on.
    sandbox.kill("clickhouse");
    let schedule = Scheduled::begin(&sandbox, &hook, &["--interval", "1s"]);
    let (_, _, body) = hook.waits("an error", |it| it.2.contains("\"status\":\"ERROR\""));
    assert!(body.contains("could not be compared"), "{body}");
    schedule.says("the next run is at");
    let (code, said) = schedule.terminated();
    assert_eq!(code, Some(0), "{said}");
}

fn stop(sandbox: &Sandbox, component: &str, signal: rustix::process::Signal) {
    let pid = i32::try_from(sandbox.pid(component)).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("signalled");
}

/// When the run of these metrics began.
fn last_run(metrics: &str) -> f64 {
    let mut lines = metrics.lines();
    let line = lines.find(|it| it.starts_with("cdc_reconcile_last_run_timestamp_seconds{"));
    let value = line.and_then(|it| it.rsplit(' ').next());
    value.expect("a time").parse().expect("a number")
}

fn report(profile: &str, at: u64, tables: &[(&str, Status)]) -> Report {
    let tables = tables.iter();
    Report {
        profile: profile.to_owned(),
        at,
        tables: tables
            .map(|(name, status)| TableReport::of(name, *status))
            .collect(),
        not_begun: Vec::new(),
        interrupted: false,
        took_ms: 1_500,
    }
}

/// A program that ends with its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs CDC_TEST_PUSHGATEWAY"]
async fn a_real_pushgateway_takes_the_metrics() {
    let program = std::env::var("CDC_TEST_PUSHGATEWAY").expect("CDC_TEST_PUSHGATEWAY");
    let port = ports::free(21_000);
    let child = Command::new(program)
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _program = Program(child.expect("it starts"));
    until("a Pushgateway", || get(port, "/-/ready"));
    let gateway = Pushgateway::new(&format!("http://127.0.0.1:{port}")).expect("an address");
    let has = |line: &str| {
        let all = get(port, "/metrics").expect("metrics");
        all.lines().any(|it| it == line)
    };
    // Names that a path and a label cannot hold as they are.
    for name in ["clickhouse", "a/b \"ü\""] {
        let path = metrics::path(name);
        let group = format!(
            "instance=\"\",job=\"cdc_reconcile\",profile=\"{}\"",
            name.replace('"', "\\\"")
        );
        let first = report(
            name,
            1_000_500,
            &[("users", Status::Pass), ("orders", Status::Pass)],
        );
        let text = metrics::text(&first);
        let pushed = gateway.push(&path, &text, Others::Replaced);
        pushed.await.expect("taken");
        assert!(has(&format!(
            "cdc_reconcile_status{{{group},table=\"orders\"}} 0"
        )));
        // A run that fails: one table is gone, the time of the last success is not.
        let second = report(name, 2_000_000, &[("users", Status::Fail)]);
        let text = metrics::text(&second);
        let pushed = gateway.push(&path, &text, Others::Kept);
        pushed.await.expect("taken");
        for line in [
            format!("cdc_reconcile_status{{{group},table=\"users\"}} 2"),
            format!("cdc_reconcile_run_status{{{group}}} 2"),
            format!("cdc_reconcile_run_duration_seconds{{{group}}} 1.5"),
            format!("cdc_reconcile_last_run_timestamp_seconds{{{group}}} 2000"),
            format!("cdc_reconcile_last_success_timestamp_seconds{{{group}}} 1000.5"),
        ] {
            assert!(has(&line), "{line}: {:?}", get(port, "/metrics"));
        }
        assert!(!has(&format!(
            "cdc_reconcile_status{{{group},table=\"orders\"}} 0"
        )));
    }
    let refused = gateway.push("/metrics/job/x", "no metric\n", Others::Replaced);
    let why = refused.await.expect_err("no metric");
    assert!(why.contains("400"), "{why}");
}

#[test]
#[ignore = "needs CDC_TEST_SYSTEMD"]
fn systemd_understands_the_printed_unit() {
    let dir = tempfile::tempdir().expect("a directory");
    let reports = dir.path().join("my \"reports\" 100%");
    std::fs::create_dir(&reports).expect("created");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["reconcile", "users", "--print-systemd-unit", "--schedule"])
        .args([
            "--cron",
            "*/5 * * * *",
            "--where",
            "a = '$b' AND c LIKE \"%d\\\" ",
        ])
        .arg("--output-dir")
        .arg(&reports)
        .env("XDG_STATE_HOME", dir.path())
        .env(
            "CDC_ALERT_WEBHOOK",
            format!("https://hooks.example.com/{TOKEN}"),
        )
        .env(
            "CDC_PUSHGATEWAY",
            format!("https://ops:{TOKEN}@metrics.example.com"),
        )
        .output()
        .expect("the tool starts");
    let unit = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{unit}");
    assert!(!unit.contains(TOKEN), "{unit}");
    assert!(unit.contains("\nEnvironmentFile=/etc/cdc-xtask/"), "{unit}");
    let verified = |text: &str| {
        let file = dir.path().join("cdc-reconcile-clickhouse.service");
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new("systemd-analyze");
        let output = command.arg("verify").arg(&file).output();
        let said = output
            .expect("CDC_TEST_SYSTEMD says that it is there")
            .stderr;
        let said = String::from_utf8_lossy(&said).into_owned();
        // It speaks of the machine's other units too.
        let own = said.lines().filter(|it| it.contains("cdc-reconcile"));
        own.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(verified(&unit), [""; 0], "{unit}");
    // It does look.
    let broken = unit.replace("Restart=on-failure", "Restart=sometimes");
    assert_eq!(verified(&broken).len(), 1);
}
