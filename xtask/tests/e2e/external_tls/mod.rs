//! A Kafka that takes encrypted connections with a login only, and a ClickHouse behind `https`, both of somebody
//! else's: what the profile says of them holds for the tool, for Connect's workers and for whatever reads topics
//! itself, and each mistake is named at once with the key to correct.

mod broker;
mod front;

use std::time::{Duration, Instant};

use crate::external::{Authority, write};
use crate::sandbox::{Sandbox, is_private};
use crate::{mysql, ports, warehouse};
use broker::{Broker, USER};

/// What passwords of these two may have in them.
const PASSWORD: &str = r#"p@:/%$ "'x${y}"#;

/// Nothing here is about speed: a machine may be busy.
const SOON: Duration = Duration::from_secs(90);

/// What `--set` gives as a text, whatever it looks like.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An authority, and a certificate of it for `localhost` with its key, in PEM.
fn authority() -> (String, String, String) {
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(&["localhost"]);
    (authority.pem().to_owned(), certificate, key)
}

/// Files with the authority among those of this system, and with another one, both with a blank in their names.
fn authorities(sandbox: &Sandbox, ca: &str) -> [String; 2] {
    let bundle = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt");
    let all = bundle.unwrap_or_default() + ca;
    [("ca", all.as_str()), ("other", &authority().0)].map(|(name, pem)| {
        let path = sandbox.state().join(format!("{name} 1.pem"));
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    })
}

/// The settings that reach a broker.
fn kafka(port: u16, ca: &str, sasl: &str) -> Vec<String> {
    vec![
        format!("kafka.external=localhost:{port}"),
        "kafka.sslmode=verify-full".to_owned(),
        format!("kafka.sslrootcert={}", text(ca)),
        format!("kafka.sasl={sasl}"),
        format!("kafka.user={USER}"),
        format!("kafka.password={}", text(PASSWORD)),
    ]
}

/// Has `up` fail with these settings at the end, and say all of this.
fn refused(sandbox: &mut Sandbox, right: &[String], wrong: &[&str], says: &[&str]) {
    sandbox.extra = right.to_vec();
    // The last one counts.
    sandbox
        .extra
        .extend(wrong.iter().map(|it| (*it).to_owned()));
    // A wait that has to time out ends with another code.
    let said = sandbox.fails(&["up"], 1);
    for part in says {
        assert!(said.contains(part), "{wrong:?}: no {part:?}: {said}");
    }
    assert!(!said.contains(PASSWORD), "{said}");
}

async fn arrives(sandbox: &Sandbox, name: &str) {
    let insert =
        format!("INSERT INTO users (full_name, email) VALUES ('{name}', '{name}@example.com')");
    sandbox.postgres().await.execute(&insert).await.unwrap();
    let select = format!("SELECT email FROM users_silver FINAL WHERE full_name = '{name}'");
    let begin = Instant::now();
    loop {
        let found = sandbox.ok(&["query", "clickhouse", &select]);
        if found.contains(&format!("{name}@example.com")) {
            return;
        }
        assert!(begin.elapsed() < SOON, "{name} does not arrive");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Nothing that others of the machine may read has the password in it.
fn keeps_the_secret(sandbox: &Sandbox) {
    let arguments = sandbox.processes().join("\n");
    assert!(!arguments.contains(PASSWORD), "{arguments}");
    let (mut folders, mut holders) = (vec![sandbox.dir()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // As it is, and as JAAS and JSON have it.
            let has = [PASSWORD.to_owned(), PASSWORD.replace('"', "\\\"")];
            if has.iter().any(|it| text.contains(it)) {
                assert!(is_private(&path), "{}", path.display());
                holders += 1;
            }
        }
    }
    assert!(holders >= 3, "{holders}");
    for args in [
        &["render"][..],
        &["profile", "show"],
        &["connector", "config", "postgres"],
    ] {
        let said = sandbox.ok(args);
        assert!(!said.contains(PASSWORD), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn a_kafka_with_tls_and_logins_carries_a_pipeline() {
    let mut sandbox = Sandbox::new("kafka-tls");
    let signed = authority();
    let mut broker = Broker::start(&signed);
    let [ca, other] = authorities(&sandbox, &signed.0);
    let right = kafka(broker.port, &ca, "scram-sha-512");

    let at = |key: &str, value: &str| format!("kafka.{key}={value}");
    let unknown = at("sslrootcert", &text(&other));
    for (wrong, says) in [
        (
            vec![at("password", "wrong")],
            ["wrong user or password", "--set kafka.password=@-"],
        ),
        (
            vec![unknown],
            [
                "is not signed by the given CA",
                "correct kafka.sslrootcert in the profile",
            ],
        ),
        (
            vec![at("external", &format!("127.0.0.1:{}", broker.port))],
            [
                "its certificate is not for 127.0.0.1",
                "correct kafka.external in the profile",
            ],
        ),
        (
            vec![at("sslmode", "disable"), at("sslrootcert", "~")],
            ["speaks TLS here", "correct kafka.sslmode in the profile"],
        ),
        (
            vec![at("sasl", "~"), at("user", "~"), at("password", "~")],
            ["wants a login (", "correct kafka.sasl in the profile"],
        ),
    ] {
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        refused(&mut sandbox, &right, &wrong, &says);
    }

    for (mechanism, name) in [
        ("scram-sha-512", "Ada"),
        ("scram-sha-256", "Bea"),
        ("plain", "Cleo"),
    ] {
        sandbox.extra = kafka(broker.port, &ca, mechanism);
        sandbox.ok(&["up"]);
        arrives(&sandbox, name).await;
        keeps_the_secret(&sandbox);
    }
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    assert_eq!(
        sandbox.json(&["diagnose"])["sound"],
        true,
        "{:#}",
        sandbox.json(&["diagnose"])
    );
    let status = sandbox.ok(&["status"]);
    assert!(
        status.contains(&format!("localhost:{}", broker.port)),
        "{status}"
    );
    assert!(
        sandbox
            .ok(&["topic", "list"])
            .contains("postgres.public.users")
    );
    assert!(sandbox.ok(&["group", "list"]).contains("ch_users_consumer"));
    sandbox.ok(&["lag"]);
    sandbox.ok(&["verify"]);
    let left = format!("topics, groups and positions at localhost:{}", broker.port);
    let said = sandbox.ok(&["down", "--yes"]);
    assert!(said.contains(&left), "{said}");
    // The positions are those of a database that is gone.
    let said = sandbox.fails(&["up"], 1);
    assert!(said.contains("cargo xtask reset-connector "), "{said}");
    sandbox.ok(&["reset-connector", "postgres-connector", "--yes"]);
    sandbox.ok(&["up"]);
    arrives(&sandbox, "Dora").await;
    sandbox.ok(&["down", "--yes"]);
    drop(sandbox);

    // A sink's consumer, and the queue that it makes.
    let mut sink = Sandbox::new("kafka-tls-sink");
    sink.profile = Some(write(&sink, "sink", "extends: warehouse\n"));
    sink.ports.retain(|key, _| *key == "connect.port");
    sink.ports.insert(warehouse::SOURCE, ports::free(21_000));
    sink.ports.insert(warehouse::TARGET, ports::free(21_000));
    let [ca, _] = authorities(&sink, &signed.0);
    sink.extra = kafka(broker.port, &ca, "scram-sha-512");
    sink.ok(&["up"]);
    assert_eq!(warehouse::same(&sink).await.len(), 5);
    assert!(sink.ok(&["dlq", "list"]).contains("dlq-postgresql-sink"));
    sink.ok(&["down", "--yes"]);
    assert!(broker.runs(), "{}", broker.log());
}

#[tokio::test]
#[ignore = "needs CDC_TEST_MYSQLD=DIR with a `mysqld`"]
async fn rows_of_mysql_pass_a_kafka_with_logins() {
    let mut sandbox = Sandbox::new("kafka-tls-mysql");
    let signed = authority();
    let broker = Broker::start(&signed);
    let [ca, _] = authorities(&sandbox, &signed.0);
    sandbox.profile = Some(write(&sandbox, "mysql", "extends: mysql\n"));
    sandbox.programs = std::env::var_os("CDC_TEST_MYSQLD").map(Into::into);
    sandbox
        .ports
        .retain(|key, _| ["connect.port", "clickhouse.port"].contains(key));
    sandbox.ports.insert(mysql::PORT, ports::free(21_000));
    sandbox.extra = kafka(broker.port, &ca, "scram-sha-512");
    sandbox.ok(&["up"]);
    assert_eq!(mysql::same(&sandbox).await.len(), 3);
    // Its connector reads the definitions again.
    sandbox.ok(&["restart", "connect"]);
    let insert = "INSERT INTO shop.customers (full_name, email) VALUES ('Ole', 'ole@example.com')";
    let source = mysql::source(&sandbox).await;
    source.execute(insert).await.unwrap();
    assert_eq!(mysql::same(&sandbox).await.len(), 4);
}

// The front answers while the test waits for a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clickhouse_behind_https_is_the_target() {
    let mut theirs = Sandbox::new("clickhouse-theirs");
    let signed = authority();
    let mut broker = Broker::start(&signed);
    let [ca, other] = authorities(&theirs, &signed.0);
    let kafka = kafka(broker.port, &ca, "scram-sha-512");
    // Somebody's server, whose configuration says how it reaches their Kafka.
    let profile = "clickhouse: {user: etl}\n";
    theirs.profile = Some(write(&theirs, "theirs", profile));
    theirs.ports.retain(|key, _| *key == "clickhouse.port");
    theirs.extra = kafka.clone();
    theirs
        .extra
        .push(format!("clickhouse.password={}", text(PASSWORD)));
    theirs.ok(&["up"]);
    let plain = theirs.ports["clickhouse.port"];
    let port = front::start(plain, &signed.1, &signed.2).await;

    let mut sandbox = Sandbox::new("clickhouse-https");
    sandbox
        .ports
        .retain(|key, _| !["clickhouse.port", "kafka.port", "kafka.controller_port"].contains(key));
    let at = |key: &str, value: &str| format!("clickhouse.{key}={value}");
    let mut right = kafka;
    right.extend([
        at("external", &format!("localhost:{port}")),
        at("sslmode", "verify-full"),
        at("sslrootcert", &text(&ca)),
        at("user", "etl"),
        at("password", &text(PASSWORD)),
    ]);
    for (wrong, says) in [
        (
            vec![at("password", "wrong")],
            ["Authentication failed", "--set clickhouse.password=@-"],
        ),
        (
            vec![at("sslrootcert", &text(&other))],
            [
                "is not signed by an authority of",
                "correct clickhouse.sslrootcert in the profile",
            ],
        ),
        (
            vec![at("external", &format!("127.0.0.1:{port}"))],
            [
                "its certificate is not for 127.0.0.1",
                "correct clickhouse.external in the profile",
            ],
        ),
        (
            vec![at("sslmode", "disable"), at("sslrootcert", "~")],
            [
                "the server wants TLS (`sslmode`)",
                "correct clickhouse.sslmode in the profile",
            ],
        ),
        (
            vec![at("external", &format!("localhost:{plain}"))],
            [
                "the server does not support TLS",
                "correct clickhouse.sslmode in the profile",
            ],
        ),
    ] {
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        refused(&mut sandbox, &right, &wrong, &says);
    }

    sandbox.extra = right.clone();
    sandbox.ok(&["up"]);
    arrives(&sandbox, "Ada").await;
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    assert_eq!(
        sandbox.json(&["diagnose"])["sound"],
        true,
        "{:#}",
        sandbox.json(&["diagnose"])
    );
    let status = sandbox.ok(&["status"]);
    assert!(
        status.contains(&format!("https://localhost:{port}")),
        "{status}"
    );
    sandbox.ok(&["lag"]);
    sandbox.ok(&["verify"]);

    // Encrypted, whoever the server is.
    sandbox
        .extra
        .extend([at("sslmode", "require"), at("sslrootcert", "~")]);
    sandbox.ok(&["up"]);
    arrives(&sandbox, "Bea").await;
    sandbox.ok(&["down", "--yes"]);
    assert!(broker.runs(), "{}", broker.log());
    theirs.ok(&["query", "clickhouse", "SELECT count() FROM users_silver"]);
}
