//! Against a real broker with TLS and SCRAM, which the test starts:
//! `CDC_TEST_KAFKA_LIBS=<directory of Kafka's jars> cargo test security_tests::broker -- --ignored`.
//! `cargo xtask test` names the jars that it has in its cache.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
};

use super::*;

const BOOTSTRAP: &str = "my-cluster-kafka-bootstrap.kafka.svc";
const ADVERTISED: &str = "my-cluster-my-pool-0.my-cluster-kafka-brokers.kafka.svc";

/// Listeners: their names, protocols and advertised hosts.
const LISTENERS: [(&str, &str, &str); 6] = [
    ("PLAIN", "PLAINTEXT", "localhost"),
    ("SECURE", "SASL_SSL", ADVERTISED),
    ("STRANGER", "SASL_SSL", "stranger.svc"),
    ("OTHER", "SASL_PLAINTEXT", "other.svc"),
    ("ENCRYPTED", "SSL", "encrypted.svc"),
    ("PASSWORD", "SASL_SSL", ADVERTISED),
];

/// A broker of its own. It is killed and waited for, and its files removed, even when the test
/// panics: that is why it is not started through `process::capture`, which cannot wait then.
struct Broker {
    process: Child,
    authority: Authority,
    ports: [u16; 6],
    _files: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn libraries() -> PathBuf {
    let given = std::env::var_os("CDC_TEST_KAFKA_LIBS");
    given
        .expect("CDC_TEST_KAFKA_LIBS names a directory of Kafka's jars")
        .into()
}

/// Free ports below those that systems hand out to outgoing connections.
fn free_ports<const N: usize>() -> [u16; N] {
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    let free =
        (start..32_768).filter_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok());
    // All are held until all are found.
    let held: Vec<_> = free.take(N).collect();
    let ports: Vec<u16> = held
        .iter()
        .map(|port| port.local_addr().unwrap().port())
        .collect();
    ports.try_into().unwrap()
}

fn properties(files: &Path, ports: [u16; 6], controller: u16) -> String {
    let each = |item: &dyn Fn(usize) -> String| (0..6).map(item).collect::<Vec<_>>().join(",");
    let listeners = each(&|i| format!("{}://127.0.0.1:{}", LISTENERS[i].0, ports[i]));
    let advertised = each(&|i| format!("{}://{}:{}", LISTENERS[i].0, LISTENERS[i].2, ports[i]));
    let protocols = each(&|i| format!("{}:{}", LISTENERS[i].0, LISTENERS[i].1));
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    // A backslash would escape what follows it.
    let files = files.display().to_string().replace('\\', "/");
    format!(
        "process.roles=broker,controller
node.id=0
controller.quorum.voters=0@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config={scram}
listener.name.stranger.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.stranger.scram-sha-512.sasl.jaas.config={scram}
listener.name.other.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.other.scram-sha-256.sasl.jaas.config={scram}
listener.name.password.sasl.enabled.mechanisms=PLAIN
listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"{PASSWORD}\";
ssl.keystore.type=PEM
ssl.keystore.location={files}/broker.pem
log.dirs={files}/data
offsets.topic.replication.factor=1
num.network.threads=1
log.cleaner.dedupe.buffer.size=16777216
"
    )
}

fn java(log: &str, libraries: &Path, arguments: &[&str]) -> Command {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let program = home.map_or("java".into(), |home| Path::new(&home).join("bin/java"));
    let mut command = Command::new(program);
    command
        .args([
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
        ])
        .arg(format!("-Dlog4j2.configurationFile={log}"))
        .arg("-cp")
        .arg(libraries.join("*"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn start() -> Broker {
    let files = tempfile::tempdir().unwrap();
    let libraries = libraries();
    let log = format!(
        "{}/../../../manifests/kafka/host/log4j2.properties",
        env!("CARGO_MANIFEST_DIR")
    );
    let authority = Authority::new();
    let (certificate, key) = authority.sign(&[BOOTSTRAP, ADVERTISED]);
    fs::write(files.path().join("broker.pem"), key + &certificate).unwrap();
    let [controller, ports @ ..] = free_ports::<7>();
    let server = files.path().join("server.properties");
    fs::write(&server, properties(files.path(), ports, controller)).unwrap();
    let server = server.to_str().unwrap();

    let user = |hash: &str| format!("{hash}=[name=alice,password=\"{PASSWORD}\"]");
    let (weaker, stronger) = (user("SCRAM-SHA-256"), user("SCRAM-SHA-512"));
    let format = [
        "kafka.tools.StorageTool",
        "format",
        "--cluster-id",
        "Y2RjLXh0YXNrLXRlc3QtMQ",
        "--config",
        server,
        "--add-scram",
        &weaker,
        "--add-scram",
        &stronger,
    ];
    let formatted = java(&log, &libraries, &format).output().unwrap();
    let said = String::from_utf8_lossy(&formatted.stdout);
    assert!(formatted.status.success(), "{said}");

    let mut process = java(&log, &libraries, &["kafka.Kafka", server])
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let broker = Broker {
        process,
        authority,
        ports,
        _files: files,
    };
    let (started, waiting) = mpsc::channel();
    // The pipe is read to its end, or the broker would stop at a full one.
    std::thread::spawn(move || {
        let mut tail = VecDeque::new();
        for line in lines.map_while(Result::ok) {
            if line.contains("Kafka Server started") {
                let _ = started.send(Ok(()));
            }
            if tail.len() == 50 {
                tail.pop_front();
            }
            tail.push_back(line);
        }
        let _ = started.send(Err(tail));
    });
    let outcome = waiting.recv_timeout(Duration::from_secs(120)).unwrap();
    outcome.expect("the broker starts");
    broker
}

impl Broker {
    fn address(&self, listener: &str) -> String {
        let index = LISTENERS.iter().position(|(name, _, _)| *name == listener);
        format!("127.0.0.1:{}", self.ports[index.unwrap()])
    }

    /// The right configuration for the listener that Strimzi would call `tls` with SCRAM.
    fn secure(&self) -> Config {
        self.config("SECURE", Some(BOOTSTRAP), Some(PASSWORD))
    }

    fn config(&self, listener: &str, name: Option<&str>, password: Option<&str>) -> Config {
        Config {
            tls: name.map(|name| self.authority.tls(name)),
            sasl: password.map(sasl),
            ..config(&self.address(listener))
        }
    }

    /// Like [`Broker::config`], with a port-forward for each broker.
    fn routed(&self, listener: &str) -> Config {
        let address = self.address(listener);
        Config {
            route: Some(Arc::new(move |_| Some(address.clone()))),
            ..self.config(listener, Some(BOOTSTRAP), Some(PASSWORD))
        }
    }
}

/// Creates a topic, writes a record, reads it and deletes the topic.
async fn round_trip(config: Config) -> Result<(), KafkaError> {
    let client = KafkaClient::with_config(config).await?;
    let name = "round-trip";
    let spec = TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: 1,
        configs: Default::default(),
    };
    client.create_topics(&[spec]).await?;
    let record = Record::new(None, Some(vec![b'x'; 100_000].into()));
    // A new topic takes a moment to have a leader.
    let written = async {
        loop {
            match client.produce(name, 0, std::slice::from_ref(&record)).await {
                Err(error) if error.is_retriable() => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(20), written).await;
    assert_eq!(written.expect("the topic gets a leader")?, Some(0));
    let read = client.fetch(name, 0, 0, &FetchOptions::default()).await?;
    assert_eq!(read.records[0].value, record.value);
    client.delete_topics(&[name]).await?;
    Ok(())
}

/// One broker for all of it: starting one takes longer than everything that is asked of it.
#[tokio::test]
#[ignore = "needs Java and CDC_TEST_KAFKA_LIBS"]
async fn a_broker_with_tls_and_scram() {
    let broker = start();
    reached_over_tls_with_a_login(&broker).await;
    wrong_logins(&broker).await;
    wrong_tls(&broker).await;
    other_mechanisms(&broker).await;
}

async fn reached_over_tls_with_a_login(broker: &Broker) {
    round_trip(broker.secure()).await.unwrap();
    round_trip(broker.routed("SECURE")).await.unwrap();
    let encrypted = broker.config("ENCRYPTED", Some(BOOTSTRAP), None);
    round_trip(encrypted).await.unwrap();
    round_trip(broker.config("PLAIN", None, None))
        .await
        .unwrap();
}

async fn wrong_logins(broker: &Broker) {
    let wrong = [("alice", "incorrect horse"), ("bob", PASSWORD)];
    for (user, password) in wrong {
        let mut config = broker.secure();
        config.sasl = Some(Sasl::scram_sha_512(user, Secret::new(password)));
        let error = failure(config).await;
        let KafkaError::Login {
            user: shown,
            problem: LoginProblem::Refused(_),
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(shown, user);
        assert!(!error.is_retriable());
        assert!(!format!("{error:?} {error}").contains(password), "{error}");
    }
    let error = failure(broker.config("SECURE", Some(BOOTSTRAP), None)).await;
    assert_eq!(
        error.to_string(),
        format!(
            "Kafka at {} wants a login (SCRAM-SHA-512), and the client was configured without",
            broker.address("SECURE")
        )
    );
    for (listener, name) in [("ENCRYPTED", Some(BOOTSTRAP)), ("PLAIN", None)] {
        let error = failure(broker.config(listener, name, Some(PASSWORD))).await;
        let KafkaError::Login { problem, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(problem, LoginProblem::NotAsked), "{error}");
    }
}

async fn wrong_tls(broker: &Broker) {
    let problem = async |config| match failure(config).await {
        KafkaError::Tls { problem, .. } => problem,
        other => panic!("{other:?}"),
    };
    let mut config = broker.secure();
    config.tls = Some(Authority::new().tls(BOOTSTRAP));
    assert_eq!(problem(config).await, TlsProblem::UnknownAuthority);
    let wrong_name = |problem: TlsProblem| match problem {
        TlsProblem::WrongName { expected, .. } => expected,
        other => panic!("{other:?}"),
    };
    let config = broker.config("SECURE", Some("postgres.svc"), Some(PASSWORD));
    assert_eq!(wrong_name(problem(config).await), "postgres.svc");

    // A plaintext listener, and plaintext to the others. Often: the broker may close first.
    for _ in 0..10 {
        let config = broker.config("PLAIN", Some(BOOTSTRAP), None);
        assert_eq!(problem(config).await, TlsProblem::Closed);
        for listener in ["SECURE", "ENCRYPTED"] {
            let error = failure(broker.config(listener, None, Some(PASSWORD))).await;
            assert!(matches!(error, KafkaError::TlsWanted { .. }), "{error:?}");
        }
    }

    // The bootstrap name is right there, the advertised one is not in the certificate.
    let error = round_trip(broker.routed("STRANGER")).await.unwrap_err();
    let KafkaError::Tls { problem, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(wrong_name(problem), "stranger.svc");
}

async fn other_mechanisms(broker: &Broker) {
    let config = || broker.config("OTHER", None, Some(PASSWORD));
    let error = failure(config()).await;
    let address = broker.address("OTHER");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot log in to Kafka at {address} as alice: the listener does not offer SCRAM-SHA-512 but SCRAM-SHA-256"
        )
    );
    let mut right = config();
    right.sasl = Some(Sasl {
        mechanism: Mechanism::ScramSha256,
        ..sasl(PASSWORD)
    });
    round_trip(right).await.unwrap();

    // A password that is sent as it is.
    let plain = |password: &str| {
        let mut config = broker.routed("PASSWORD");
        config.sasl = Some(Sasl {
            mechanism: Mechanism::Plain,
            ..sasl(password)
        });
        config
    };
    round_trip(plain(PASSWORD)).await.unwrap();
    let error = failure(plain("wrong")).await.to_string();
    assert!(error.contains("wrong user or password"), "{error}");
}
