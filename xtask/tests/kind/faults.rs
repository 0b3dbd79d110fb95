//! Faults that only a cluster has: provoked, told by `diagnose`, and mended by what it prints.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Kind;
use crate::commands::bare;
use crate::life::{WORKER, assert_proven, told};

/// A fault of the workers' pod.
struct Fault {
    name: &'static str,
    code: &'static str,
    provoke: fn(&Kind),
    /// What the printed command is to say.
    next: &'static str,
    mend: fn(&Kind),
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "worker's memory limit too small",
        code: "OUT_OF_MEMORY",
        provoke: |kind| {
            let small = json!({ "cpu": "50m", "memory": "80Mi" });
            let limit = json!({ "memory": "80Mi" });
            change(
                kind,
                &json!({ "resources": { "requests": small, "limits": limit } }),
            );
        },
        next: "raise connect.resources.memory",
        mend: |kind| undo(kind, &["up", "--yes"]),
    },
    Fault {
        name: "worker asks for more than a node has",
        code: "UNSCHEDULABLE",
        provoke: |kind| {
            change(
                kind,
                &json!({ "resources": { "requests": { "cpu": "64" } } }),
            );
        },
        next: "lower connect.resources",
        mend: |kind| undo(kind, &["up", "--yes"]),
    },
    Fault {
        name: "program missing in the image (exit 127)",
        code: "PROGRAM_MISSING",
        provoke: |kind| {
            run(
                kind,
                "no-program",
                b"#!/bin/sh\nexec /opt/kafka/no-such-program\n",
            )
        },
        next: "cargo xtask image update",
        mend: |kind| undo(kind, &["image", "update"]),
    },
    Fault {
        name: "image for another processor",
        code: "IMAGE_ARCHITECTURE",
        provoke: |kind| run(kind, "other-processor", &foreign()),
        next: "cargo xtask image update",
        mend: |kind| undo(kind, &["image", "update"]),
    },
    Fault {
        name: "Secret of the worker deleted",
        code: "MOUNT_FAILED",
        provoke: |kind| {
            let secret = ["delete", "secret", "-n", "kafka", "postgres-connector"];
            kind.kubectl(&secret).unwrap();
            let pod = ["delete", "pod", "-n", "kafka", WORKER, "--wait=false"];
            kind.kubectl(&pod).unwrap();
        },
        next: "cargo xtask up",
        mend: |kind| drop(kind.ok(&["up", "--yes"])),
    },
    Fault {
        name: "image that is nowhere, and a correction that the operator ignores",
        code: "OPERATOR_STUCK",
        provoke: |kind| {
            let right = told(kind, WORKER, ".spec.containers[0].image");
            change(kind, &json!({ "image": "cdc-connect:is-nowhere" }));
            finding(kind, "connect", "IMAGE_UNAVAILABLE");
            change(kind, &json!({ "image": right.trim() }));
        },
        next: "cargo xtask restart operator",
        mend: |kind| drop(kind.ok(&["restart", "operator"])),
    },
    Fault {
        name: "image's tag used again",
        code: "IMAGE_STALE",
        provoke: |kind| {
            let image = told(kind, WORKER, ".spec.containers[0].image");
            build(
                kind,
                image.trim(),
                image.trim(),
                "ENV CDC_TEST_IMAGE=reused",
                b"",
            );
            load(kind, image.trim());
        },
        next: "cargo xtask image update",
        mend: |kind| drop(kind.ok(&["image", "update"])),
    },
];

/// Types a command that would undo what somebody else has changed: that stays theirs until it is taken
/// over, so the command says so and names the next one.
fn undo(kind: &Kind, command: &[&str]) {
    let (_, said) = kind.fails(command);
    assert!(bare(&said).contains("cargo xtask up --force"), "{said}");
    kind.ok(&["up", "--yes", "--force"]);
}

/// Changes the workers' resource as somebody else would.
fn change(kind: &Kind, spec: &Value) {
    let patch = json!({ "spec": spec }).to_string();
    let resource = "kafkaconnect/my-connect-cluster";
    kind.kubectl(&[
        "patch",
        "-n",
        "kafka",
        resource,
        "--type=merge",
        "-p",
        &patch,
    ])
    .unwrap();
}

/// Has the workers run an image whose start script is this.
fn run(kind: &Kind, tag: &str, script: &[u8]) {
    let image = told(kind, WORKER, ".spec.containers[0].image");
    let name = format!("cdc-connect:{tag}");
    let more = "USER 0\nCOPY --chown=1001:0 run /opt/kafka/kafka_connect_run.sh\nUSER 1001";
    build(kind, image.trim(), &name, more, script);
    load(kind, &name);
    kind.docker(&["image", "rm", &name]).unwrap();
    change(kind, &json!({ "image": name }));
}

/// Makes an image out of another one.
fn build(kind: &Kind, from: &str, name: &str, more: &str, script: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let dir = kind.state.join("image");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("Dockerfile"), format!("FROM {from}\n{more}\n")).unwrap();
    let run = dir.join("run");
    std::fs::write(&run, script).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).unwrap();
    let built = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--tag", name])
        .arg(&dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
}

/// Gives the node an image as it is, under its name.
fn load(kind: &Kind, name: &str) {
    let mut save = Command::new("docker")
        .args(["save", name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let import = Command::new("docker")
        .args(["exec", "-i", &kind.node()])
        .args(["ctr", "--namespace=k8s.io", "images", "import", "-"])
        .stdin(save.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(save.wait().unwrap().success());
    let said = String::from_utf8_lossy(&import.stderr);
    assert!(import.status.success(), "{said}");
}

/// The first bytes of a program for a processor that this machine does not have.
fn foreign() -> Vec<u8> {
    const ARM: u8 = 0xb7;
    const X86: u8 = 0x3e;
    let machine = if cfg!(target_arch = "x86_64") {
        ARM
    } else {
        X86
    };
    let mut program = vec![0_u8; 120];
    // 64 bits, little endian, an executable for this machine, one program header behind this one.
    program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    program[16] = 2;
    program[18] = machine;
    program[20] = 1;
    program[32] = 64;
    program[52] = 64;
    program[54] = 56;
    program[56] = 1;
    program
}

/// What `diagnose` says now.
fn diagnosed(kind: &Kind) -> Value {
    let told = kind.run(&["diagnose", "--output", "json"]);
    serde_json::from_slice(&told.stdout).unwrap_or_default()
}

/// The first finding about the component, once it is this one. On a machine that does too much at once
/// others may not answer in time, and are told as well.
fn finding(kind: &Kind, component: &str, code: &str) -> Value {
    let begin = Instant::now();
    loop {
        let told = diagnosed(kind);
        let all = told["findings"].as_array().cloned().unwrap_or_default();
        let first = all.into_iter().find(|it| it["subject"] == component);
        if let Some(first) = first.filter(|it| it["code"] == code) {
            return first;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(240),
            "{code} is not told: {told:#}\n{}",
            kind.kubectl(&["get", "pods", "-A"]).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until changes arrive, and the rules see no such fault any more.
fn mended(kind: &Kind, code: &str) {
    kind.ok(&["verify"]);
    untold(kind, code);
}

/// Waits until the rules see no such fault any more.
fn untold(kind: &Kind, code: &str) {
    let begin = Instant::now();
    loop {
        let told = diagnosed(kind);
        let all = told["findings"].as_array().cloned().unwrap_or_default();
        if told["findings"].is_array() && all.iter().all(|it| it["code"] != code) {
            eprintln!("left: {} findings, unknown: {}", all.len(), told["unknown"]);
            return;
        }
        let late = begin.elapsed() > Duration::from_secs(240);
        assert!(!late, "it is not mended: {told:#}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Seconds since then.
fn since(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64()
}

/// A line of the table, printed at once.
fn row(table: &mut String, name: &str, code: &str, told: f64, begin: Instant) {
    let mended = since(begin);
    let line = format!("| {name} | {code} | {told:.1} s | {mended:.1} s |");
    eprintln!("{line}");
    writeln!(table, "{line}").unwrap();
}

/// Claims of a class that makes no volumes. A class that is not there is named before anything is
/// applied.
fn volumes(kind: &mut Kind, table: &mut String) {
    let class = |provisioner: &str| {
        json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": { "name": "fast" },
            "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer",
        })
    };
    kind.extra.push("kubernetes.storage_class=fast".into());
    let (_, said) = kind.fails(&["up", "--yes"]);
    assert!(said.contains("wants storage class `fast`"), "{said}");

    kind.apply(&class("kubernetes.io/no-provisioner"));
    let log = kind.state.join("up.log");
    let begin = Instant::now();
    let mut up = kind
        .command(&["up", "--yes"])
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let found = finding(kind, "postgres", "VOLUME_PENDING");
    let after = since(begin);
    let next = found["next"].as_str().unwrap();
    assert!(
        next.contains("have the cluster provide that storage class"),
        "{next}"
    );
    kind.kubectl(&["delete", "storageclass", "fast"]).unwrap();
    kind.apply(&class("rancher.io/local-path"));
    let ended = up.wait().unwrap();
    assert!(ended.success(), "{}", read(&log));
    mended(kind, "VOLUME_PENDING");
    row(
        table,
        "storage class without a provisioner",
        "VOLUME_PENDING",
        after,
        begin,
    );
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn what_only_a_cluster_has_is_told_and_mended() {
    let mut kind = Kind::new("faults");
    let mut table =
        String::from("| fault | reported as | reported after | fixed after |\n|---|---|---|---|\n");
    volumes(&mut kind, &mut table);
    of_workers(&kind, &mut table);
    assert_proven(&kind);
    println!("{table}");
    kind.ok(&["down", "--yes"]);
}

/// Nobody acts on a resource: a connector that is made anew has no status at all.
#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn an_operator_that_does_not_run_is_told_and_mended() {
    let kind = Kind::new("operator");
    kind.ok(&["up", "--yes"]);
    let deployment = ["-n", "kafka", "deployment/strimzi-cluster-operator"];
    kind.kubectl(&[&["scale", "--replicas=0"], &deployment[..]].concat())
        .unwrap();
    let resource = ["-n", "kafka", "kafkaconnector/postgres-connector"];
    let gone = ["delete", "--wait=false"];
    kind.kubectl(&[&gone[..], &resource].concat()).unwrap();
    let begin = Instant::now();
    let found = finding(&kind, "operator", "OPERATOR_DOWN");
    let after = since(begin);
    let next = found["next"].as_str().unwrap();
    assert!(next.starts_with("cargo xtask up"), "{found:#}");
    kind.ok(&["up", "--yes"]);
    mended(&kind, "OPERATOR_DOWN");
    let name = "operator scaled to nothing";
    row(&mut String::new(), name, "OPERATOR_DOWN", after, begin);
    kind.ok(&["down", "--yes"]);
}

/// A node that finds its disk full ends its pods and takes none, and one whose kubelet is gone tells
/// nothing: neither its pods nor the operators are to blame.
#[test]
#[ignore = "needs KIND_NODE_IMAGE"]
fn a_node_in_trouble_is_told_and_mended() {
    let kind = Kind::new("node");
    kind.ok(&["up", "--yes"]);
    let mut table = String::new();

    // The kubelet is told to want more room than there is, and to believe soon that there is room
    // again: after five minutes by default.
    let file = "/var/lib/kubelet/config.yaml";
    let wants = |share: &str| {
        let change = format!(
            "sed -i 's/nodefs.available: .*/nodefs.available: \"{share}\"/' {file} && \
             grep -q '{share}' {file} && systemctl restart kubelet"
        );
        kind.on_node(&change).unwrap();
    };
    let key = "evictionPressureTransitionPeriod";
    let soon = format!("sed -i '/{key}/d' {file} && echo '{key}: 5s' >> {file}");
    kind.on_node(&soon).unwrap();
    wants("99%");
    let name = "node's disk full";
    of_node(&kind, name, "NODE_PRESSURE", &mut table, || wants("0%"));

    let kubelet = |verb: &str| drop(kind.on_node(&format!("systemctl {verb} kubelet")).unwrap());
    kubelet("stop");
    let name = "node's kubelet stopped";
    of_node(&kind, name, "NODE_NOT_READY", &mut table, || {
        kubelet("start")
    });
    assert_proven(&kind);
    println!("{table}");
    kind.ok(&["down", "--yes"]);
}

/// A fault of the node that has just been provoked, and what mends it.
fn of_node(kind: &Kind, name: &str, code: &str, table: &mut String, mend: impl FnOnce()) {
    let begin = Instant::now();
    let found = finding(kind, "machine", code);
    let after = since(begin);
    eprintln!("{found:#}");
    let next = found["next"].as_str().unwrap();
    assert!(next.contains("then: cargo xtask up"), "{next}");
    mend();
    // As a person is told to: until it is told no longer.
    untold(kind, code);
    kind.ok(&["up", "--yes"]);
    mended(kind, code);
    row(table, name, code, after, begin);
}

fn of_workers(kind: &Kind, table: &mut String) {
    let own = told(kind, WORKER, ".spec.containers[0].image");
    let inspect = ["image", "inspect", "--format", "{{.Id}}", own.trim()];
    let id = kind.docker(&inspect).unwrap();
    for fault in FAULTS {
        (fault.provoke)(kind);
        let begin = Instant::now();
        let first = finding(kind, "connect", fault.code);
        let after = since(begin);
        eprintln!("{}: {first:#}", fault.name);
        let next = first["next"].as_str().unwrap();
        assert!(bare(next).contains(fault.next), "{}: {next}", fault.name);
        (fault.mend)(kind);
        mended(kind, fault.code);
        row(table, fault.name, fault.code, after, begin);
    }
    // Other tests run it too, as it was built.
    kind.docker(&["tag", id.trim(), own.trim()]).unwrap();
}
