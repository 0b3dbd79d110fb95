//! The faults: how each is provoked, and its code.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xtask::clients::kafka::Record;
use xtask::platform::host::Dirs;

use crate::sandbox::Sandbox;

/// The password that the server is given meanwhile.
pub const PASSWORD: &str = "changed-at-the-server";

/// What a person does besides the printed command; nothing, mostly.
pub type Undo = Box<dyn FnOnce(&Sandbox)>;
pub type Provoke = for<'a> fn(&'a mut Sandbox) -> Pin<Box<dyn Future<Output = Undo> + 'a>>;

pub struct Fault {
    pub name: &'static str,
    pub code: &'static str,
    pub subject: &'static str,
    pub provoke: Provoke,
}

const CONNECTOR: &str = "connector postgres-connector";

pub fn nothing() -> Undo {
    Box::new(|_| {})
}

fn signal(sandbox: &Sandbox, component: &str, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(sandbox.pid(component)).expect("a pid"));
    kill_process(pid.expect("a pid"), signal).expect("signalled");
}

async fn sql(sandbox: &Sandbox, text: &str) {
    sandbox.postgres().await.execute(text).await.expect("done");
}

/// A request to Connect's REST interface; its answer's body.
pub fn rest(sandbox: &Sandbox, method: &str, path: &str, body: &str) -> String {
    let address = (Ipv4Addr::LOCALHOST, sandbox.ports["connect.port"]);
    let mut stream = TcpStream::connect(address).expect("Connect answers");
    let request = format!(
        "{method} /connectors/postgres-connector{path} HTTP/1.1\r\nHost: connect\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    body.to_owned()
}

/// The configuration that Connect has, as a map.
fn config(sandbox: &Sandbox) -> serde_json::Value {
    serde_json::from_str(&rest(sandbox, "GET", "/config", "")).expect("JSON")
}

/// Ends the session that reads the slot, so that the connector has to log in again.
pub async fn end_reader(sandbox: &Sandbox) {
    sql(
        sandbox,
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active",
    )
    .await;
}

/// An environment whose connector logs in as a user of its own, with no more rights than it needs.
pub async fn with_own_user(name: &str) -> Sandbox {
    let mut sandbox = Sandbox::up(name);
    sql(
        &sandbox,
        "CREATE ROLE cdc LOGIN REPLICATION PASSWORD 'cdc'; GRANT SELECT ON users TO cdc; \
         GRANT CREATE ON DATABASE postgres TO cdc; ALTER TABLE users OWNER TO cdc; \
         ALTER PUBLICATION dbz_publication OWNER TO cdc",
    )
    .await;
    for (key, value) in [("user", "cdc"), ("password", "cdc")] {
        let key = format!("connectors.postgres-connector.config.database.{key}={value}");
        sandbox.extra.push(key);
    }
    sandbox.ok(&["up"]);
    sandbox
}

/// An environment with a cache of its own, whose files may be removed.
pub fn with_own_cache(name: &str) -> Sandbox {
    let mut sandbox = Sandbox::new(name);
    let cache = sandbox.dir().parent().expect("a state").join("cache");
    std::fs::create_dir_all(&cache).expect("made");
    let shared = Dirs::of("clickhouse").expect("a home").cache;
    // Links: what is removed here stays there.
    let status = std::process::Command::new("cp")
        .arg("-al")
        .arg(&shared)
        .arg(&cache)
        .status();
    assert!(status.expect("cp starts").success());
    sandbox.cache = Some(cache);
    sandbox.ok(&["up"]);
    sandbox
}

/// Where the PostgreSQL connector's plugin is.
fn plugin(sandbox: &Sandbox) -> PathBuf {
    let mut folders = vec![sandbox.cache.clone().expect("a cache of its own")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("debezium-connector-postgres-") && entry.path().is_dir() {
                return entry.path();
            }
            if entry.path().is_dir() && !entry.path().is_symlink() {
                folders.push(entry.path());
            }
        }
    }
    panic!("the plugin is nowhere");
}

macro_rules! fault {
    ($name:literal, $code:literal, $subject:expr, |$sandbox:ident| $body:block) => {
        Fault {
            name: $name,
            code: $code,
            subject: $subject,
            provoke: |$sandbox| {
                Box::pin(async move {
                    let undo: Undo = $body;
                    undo
                })
            },
        }
    };
}

pub const PROCESSES: &[Fault] = &[
    fault!("connect killed", "PROCESS_ENDED", "connect", |it| {
        it.kill("connect");
        nothing()
    }),
    fault!("kafka killed", "PROCESS_ENDED", "kafka", |it| {
        it.kill("kafka");
        nothing()
    }),
    fault!("postgres killed", "PROCESS_ENDED", "postgres", |it| {
        it.kill("postgres");
        nothing()
    }),
    fault!("clickhouse killed", "PROCESS_ENDED", "clickhouse", |it| {
        it.kill("clickhouse");
        nothing()
    }),
    fault!(
        "postgres suspended",
        "PROCESS_SUSPENDED",
        "postgres",
        |it| {
            signal(it, "postgres", Signal::STOP);
            nothing()
        }
    ),
    fault!("kafka suspended", "PROCESS_SUSPENDED", "kafka", |it| {
        signal(it, "kafka", Signal::STOP);
        nothing()
    }),
    fault!(
        "clickhouse suspended",
        "PROCESS_SUSPENDED",
        "clickhouse",
        |it| {
            signal(it, "clickhouse", Signal::STOP);
            nothing()
        }
    ),
    fault!("quota of kafka full", "NO_SPACE", "kafka", |it| {
        // As a disk's quota, but for one process: larger files are refused.
        let pid = it.pid("kafka").to_string();
        let mut limit = std::process::Command::new("prlimit");
        let status = limit.args(["--pid", &pid, "--fsize=4000000"]).status();
        assert!(status.expect("prlimit starts").success());
        sql(
            it,
            "INSERT INTO users (full_name, email) \
             SELECT repeat('x', 90), 'quota-' || n || '@example.com' FROM generate_series(1, 20000) AS n",
        )
        .await;
        nothing()
    }),
    fault!("connect's port taken", "PORT_TAKEN", "connect", |it| {
        it.kill("connect");
        let port = it.ports["connect.port"];
        let begin = Instant::now();
        let held = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(held) => break held,
                Err(error) => assert!(begin.elapsed() < Duration::from_secs(30), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        // The person ends the other process, as they are told to.
        Box::new(move |_: &Sandbox| drop(held))
    }),
];

pub const SOURCE: &[Fault] = &[
    fault!(
        "replication right revoked",
        "PRIVILEGE_MISSING",
        CONNECTOR,
        |it| {
            sql(it, "ALTER ROLE cdc NOREPLICATION").await;
            end_reader(it).await;
            // While it runs on what it had, the lack is told as something that will break.
            let begin = Instant::now();
            while it.json(&["diagnose"])["findings"][0]["severity"] != "broken" {
                assert!(begin.elapsed() < Duration::from_secs(90), "never broken");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            nothing()
        }
    ),
    fault!(
        "wrong password of the connector",
        "LOGIN_REFUSED",
        CONNECTOR,
        |it| {
            sql(it, &format!("ALTER ROLE cdc PASSWORD '{PASSWORD}'")).await;
            end_reader(it).await;
            // The person sets it back; the connector must be restarted nevertheless.
            Box::new(|it: &Sandbox| {
                it.ok(&["query", "postgres", "ALTER ROLE cdc PASSWORD 'cdc'"]);
            })
        }
    ),
    fault!("slot dropped", "SLOT_MISSING", CONNECTOR, |it| {
        rest(it, "PUT", "/stop", "");
        let begin = Instant::now();
        let session = it.postgres().await;
        while session
            .execute("SELECT pg_drop_replication_slot('debezium')")
            .await
            .is_err()
        {
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "the slot stays active"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        rest(it, "PUT", "/resume", "");
        // A row that would be lost if the slot were made again in silence.
        sql(
            it,
            "INSERT INTO users (full_name, email) VALUES ('Slot', 'slot@example.com')",
        )
        .await;
        nothing()
    }),
    fault!(
        "publication dropped",
        "PUBLICATION_MISSING",
        CONNECTOR,
        |it| {
            sql(it, "DROP PUBLICATION dbz_publication").await;
            sql(
                it,
                "INSERT INTO users (full_name, email) VALUES ('Pub', 'pub@example.com')",
            )
            .await;
            nothing()
        }
    ),
    fault!(
        "table not published",
        "TABLE_UNPUBLISHED",
        CONNECTOR,
        |it| {
            sql(it, "ALTER PUBLICATION dbz_publication DROP TABLE users").await;
            sql(
                it,
                "INSERT INTO users (full_name, email) VALUES ('Un', 'un@example.com')",
            )
            .await;
            nothing()
        }
    ),
    fault!(
        "replica identity removed",
        "REPLICA_IDENTITY",
        CONNECTOR,
        |it| {
            sql(it, "ALTER TABLE users REPLICA IDENTITY NOTHING").await;
            nothing()
        }
    ),
    fault!("offset corrupted", "OFFSET_AHEAD", CONNECTOR, |it| {
        rest(it, "PUT", "/stop", "");
        let begin = Instant::now();
        while it.json(&["connector", "list"])["connectors"][0]["state"] != "STOPPED" {
            assert!(begin.elapsed() < Duration::from_secs(60), "never stopped");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let offsets = rest(it, "GET", "/offsets", "");
        let mut offsets: serde_json::Value = serde_json::from_str(&offsets).expect("JSON");
        for key in ["lsn", "lsn_proc", "lsn_commit"] {
            offsets["offsets"][0]["offset"][key] = 99_999_999_999_u64.into();
        }
        rest(it, "PATCH", "/offsets", &offsets.to_string());
        rest(it, "PUT", "/resume", "");
        // A row that the connector would skip.
        sql(
            it,
            "INSERT INTO users (full_name, email) VALUES ('Off', 'off@example.com')",
        )
        .await;
        nothing()
    }),
    fault!(
        "wrong password of the server",
        "LOGIN_REFUSED",
        "postgres",
        |it| {
            sql(it, &format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'")).await;
            nothing()
        }
    ),
];

pub const CONNECTORS: &[Fault] = &[
    fault!("connector paused", "CONNECTOR_RESTING", CONNECTOR, |it| {
        rest(it, "PUT", "/pause", "");
        nothing()
    }),
    fault!("connector deleted", "CONNECTOR_MISSING", CONNECTOR, |it| {
        rest(it, "DELETE", "", "");
        nothing()
    }),
    fault!("configuration broken", "CONFIG_DRIFT", CONNECTOR, |it| {
        let mut broken = config(it);
        broken["publication.name"] = "no_such_publication".into();
        broken["publication.autocreate.mode"] = "disabled".into();
        rest(it, "PUT", "/config", &broken.to_string());
        nothing()
    }),
    fault!("view dropped", "TARGET_TABLE_MISSING", "clickhouse", |it| {
        it.clickhouse()
            .text("DROP TABLE mv_users_queue")
            .await
            .expect("dropped");
        nothing()
    }),
    fault!("poison bytes", "POISON_MESSAGE", "flow users", |it| {
        let bytes: &[u8] = &[0xff, 0x00, b'{', b'x'];
        let record = Record::new(Some(bytes.into()), Some(bytes.into()));
        let client = it.kafka().await;
        let sent = client.produce("postgres.public.users", 0, &[record]).await;
        sent.expect("produced");
        nothing()
    }),
    fault!("plugin removed", "PLUGIN_MISSING", "connect", |it| {
        std::fs::remove_dir_all(plugin(it)).expect("removed");
        it.kill("connect");
        // Somebody starts the worker by hand: the tool would have brought the plugin back.
        let spec = it.dir().join("run/connect.launch.json");
        let mut worker = it.spawn(&["launch", spec.to_str().expect("text")]);
        std::thread::spawn(move || worker.wait());
        nothing()
    }),
];
