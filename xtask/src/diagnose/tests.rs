//! Facts of a healthy pipeline, and what each rule makes of what is broken in them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::facts::{
    Clickhouse, Component, Connect, Connector, Consumer, DeadLetters, Disk, Facts, Flow, Kafka,
    Known, Mongodb, OldTransaction, Place, Postgres, Process, Publication, Role, Server, Table,
    Task, Wanted,
};
use super::{Diagnosis, Remedy, Severity, Subject, judge, rules};
use crate::error::Code;
use crate::pipeline::connectors::view;
use crate::pipeline::slots::Slot;
use crate::platform::Platform;
use crate::profile::schema::Source;
use crate::readiness::Status;

const NOW: u64 = 1_800_000_000_000;
const PG: &str = "pg-connector";

fn component(name: &str, pid: u32) -> Component {
    Component {
        name: name.into(),
        external: false,
        status: Status::current("works"),
        process: Process::Running(pid),
        port_taken: None,
        log: Vec::new(),
    }
}

fn connector(name: &str, source: Source) -> Connector {
    let postgres = source == Source::Postgres;
    let offset = match postgres {
        true => json!({ "lsn": 1_000 }),
        false => json!({ "sec": NOW / 1000, "ord": 1 }),
    };
    Connector {
        name: name.into(),
        wanted: Some(Wanted {
            source,
            slot: postgres.then(|| "slot".into()),
            publication: postgres.then(|| "pub".into()),
            tables: vec![
                if postgres {
                    "public.users"
                } else {
                    "app.events"
                }
                .into(),
            ],
            user: "cdc".into(),
        }),
        kind: Some("source".into()),
        class: "C".into(),
        state: Some("RUNNING".into()),
        trace: None,
        tasks: vec![Task {
            id: 0,
            state: "RUNNING".into(),
            trace: None,
        }],
        drift: Vec::new(),
        refused: None,
        committed: Some(Known::Seen(Place {
            position: view::position(&offset),
            offset,
        })),
        heartbeat_age_ms: Some(100),
        dead_letters: None,
        complaints: Vec::new(),
    }
}

fn flow(name: &str, connector: &str) -> Flow {
    Flow {
        name: name.into(),
        connector: connector.into(),
        topic: format!("t.{name}"),
        group: format!("g_{name}"),
        topic_exists: Some(true),
        messages: Some(10),
        group_state: Some("Stable".into()),
        members: Some(1),
        unread: Some(2),
        reads: Some(true),
        errors: Some(0),
        newest_error: None,
        newest_ms: Some(60_000),
    }
}

fn slot() -> Slot {
    Slot {
        name: "slot".into(),
        connector: Some(PG.into()),
        plugin: Some("pgoutput".into()),
        database: Some("app".into()),
        active: true,
        reader: Some("process 7 Debezium Streaming from 127.0.0.1".into()),
        wal_status: Some("reserved".into()),
        restart_lsn: Some("0/100".into()),
        confirmed_flush_lsn: Some("0/3E8".into()),
        retained: Some(100),
        unconfirmed: Some(10),
    }
}

fn healthy() -> Facts {
    let table = Table {
        name: "public.users".into(),
        exists: true,
        identity: Some("d".into()),
        key: true,
        unreadable: Vec::new(),
    };
    let names = ["postgres", "mongodb", "connect", "kafka", "clickhouse"];
    Facts {
        profile: "p".into(),
        platform: Platform::Host,
        at: NOW,
        took_ms: 1,
        components: (1..)
            .zip(names)
            .map(|(pid, name)| component(name, pid))
            .collect(),
        connectors: vec![
            connector(PG, Source::Postgres),
            connector("mongo-connector", Source::Mongodb),
        ],
        flows: vec![flow("users", PG), flow("events", "mongo-connector")],
        postgres: Some(Known::Seen(Postgres {
            server: Server {
                wal_level: "logical".into(),
                position: Some(2_000),
                clock_ms: NOW,
                connections: (3, 100),
                slot_use: (1, 8),
                tables: vec![table],
                publications: vec![Publication {
                    name: "pub".into(),
                    tables: vec!["public.users".into()],
                }],
                roles: vec![Role {
                    name: "cdc".into(),
                    replication: true,
                    login: true,
                }],
                ..Server::default()
            },
            slots: vec![slot()],
        })),
        mongodb: Some(Known::Seen(Mongodb {
            primary: true,
            replicated: true,
            set: "rs0".into(),
            wanted_set: "rs0".into(),
            oplog: Some((NOW / 1000 - 864_000, NOW / 1000)),
        })),
        connect: Known::Seen(Connect {
            plugins: vec!["C".into()],
            needed: vec!["C".into()],
            rebalancing: false,
        }),
        kafka: Known::Seen(Kafka::default()),
        clickhouse: Known::Seen(Clickhouse {
            clock_ms: NOW,
            room: Some((1 << 40, 1 << 40)),
            ..Clickhouse::default()
        }),
        disk: Some(Known::Seen(Disk {
            rooms: vec![("/state".into(), 1 << 40, 1 << 40)],
        })),
    }
}

impl Facts {
    fn of(&mut self, name: &str) -> &mut Component {
        let mut components = self.components.iter_mut();
        components.find(|it| it.name == name).expect("a component")
    }

    fn server(&mut self) -> &mut Server {
        &mut self.source().server
    }

    fn source(&mut self) -> &mut Postgres {
        match &mut self.postgres {
            Some(Known::Seen(postgres)) => postgres,
            _ => panic!("known"),
        }
    }

    fn documents(&mut self) -> &mut Mongodb {
        match &mut self.mongodb {
            Some(Known::Seen(mongodb)) => mongodb,
            _ => panic!("known"),
        }
    }

    fn worker(&mut self) -> &mut Connect {
        match &mut self.connect {
            Known::Seen(connect) => connect,
            Known::Unknown(_) => panic!("known"),
        }
    }

    fn broker(&mut self) -> &mut Kafka {
        match &mut self.kafka {
            Known::Seen(kafka) => kafka,
            Known::Unknown(_) => panic!("known"),
        }
    }

    fn target(&mut self) -> &mut Clickhouse {
        match &mut self.clickhouse {
            Known::Seen(clickhouse) => clickhouse,
            Known::Unknown(_) => panic!("known"),
        }
    }

    fn table(&mut self) -> &mut Table {
        &mut self.server().tables[0]
    }

    fn idle(&mut self) -> &mut Flow {
        let flow = &mut self.flows[0];
        (flow.reads, flow.unread) = (Some(false), Some(1_000));
        flow
    }

    fn fails(&mut self, trace: &str) {
        let task = &mut self.connectors[0].tasks[0];
        task.state = "FAILED".into();
        task.trace = Some(format!("a.B: x\n\tat y\nCaused by: {trace}"));
    }

    fn down(&mut self, component: &str, said: &str) {
        self.of(component).status = Status::failed(said);
    }
}

/// What breaks, and the code of the cause that is told.
type Case = (&'static str, fn(&mut Facts));

const CASES: &[Case] = &[
    ("DISK_FULL", |it| {
        it.disk = Some(Known::Seen(Disk {
            rooms: vec![("/state".into(), 1 << 20, 1 << 40)],
        }));
        it.of("kafka").process = Process::Ended(4);
        it.down("kafka", "its process has ended");
    }),
    ("PROCESS_SUSPENDED", |it| {
        it.of("postgres").process = Process::Suspended(1);
        it.of("postgres").status = Status::unknown("no answer within 2s");
        it.postgres = Some(Known::Unknown("no answer within 2s".into()));
    }),
    ("PORT_TAKEN", |it| {
        it.of("kafka").process = Process::Ended(4);
        it.of("kafka").port_taken = Some("port 9092: nc (pid 9)".into());
        it.down("kafka", "its process has ended");
    }),
    ("PROCESS_ENDED", |it| {
        it.of("postgres").process = Process::Ended(1);
        it.down("postgres", "its process has ended");
        it.connectors[0].heartbeat_age_ms = Some(60_000);
        it.postgres = Some(Known::Unknown("refused".into()));
    }),
    ("NOT_STARTED", |it| {
        it.of("connect").process = Process::None;
        it.down("connect", "its process was never started");
    }),
    ("PROCESS_HUNG", |it| {
        it.of("clickhouse").status = Status::unknown("no answer within 2s");
        it.clickhouse = Known::Unknown("no answer within 2s".into());
    }),
    ("CLOCK_SKEW", |it| it.target().clock_ms = NOW - 60_000),
    ("WAL_LEVEL", |it| it.server().wal_level = "replica".into()),
    ("STANDBY", |it| it.server().recovery = true),
    ("SLOT_LOST", |it| {
        it.source().slots[0].wal_status = Some("lost".into());
        it.source().slots[0].active = false;
        it.fails("org.postgresql.util.PSQLException: ERROR: can no longer get changes from replication slot \"slot\"");
    }),
    ("SLOT_MISSING", |it| {
        it.source().slots.clear();
        it.fails(
            "io.debezium.DebeziumException: ... but this is no longer available on the server.",
        );
    }),
    ("SLOT_AHEAD", |it| {
        it.source().slots[0].restart_lsn = Some("0/FFFF".into())
    }),
    ("OFFSET_AHEAD", |it| it.server().position = Some(10)),
    ("SLOT_TAKEN", |it| {
        it.source().slots[0].reader = Some("process 9 pg_recvlogical from [local]".into());
        it.fails("PSQLException: ERROR: replication slot \"slot\" is active for PID 9");
    }),
    ("SLOTS_FULL", |it| {
        it.source().slots.clear();
        it.server().slot_use = (8, 8);
        it.connectors[0].committed = Some(Known::Seen(Place {
            offset: json!(null),
            position: None,
        }));
        it.fails("PSQLException: ERROR: all replication slots are in use");
    }),
    ("SLOT_UNREAD", |it| {
        let slot = &mut it.source().slots[0];
        (slot.active, slot.reader, slot.retained) = (false, None, Some(2 << 30));
    }),
    ("PUBLICATION_MISSING", |it| {
        it.server().publications.clear();
        it.connectors[0].heartbeat_age_ms = Some(30_000);
        it.connectors[0].complaints = vec!["ERROR: publication \"pub\" does not exist".into()];
    }),
    ("TABLE_UNPUBLISHED", |it| {
        it.server().publications[0].tables.clear()
    }),
    ("TABLE_MISSING", |it| it.table().exists = false),
    ("REPLICA_IDENTITY", |it| {
        it.table().identity = Some("n".into())
    }),
    ("PRIVILEGE_MISSING", |it| {
        it.server().roles[0].replication = false;
        it.fails("PSQLException: FATAL: permission denied to start WAL sender");
    }),
    ("LONG_TRANSACTION", |it| {
        it.server().old_transaction = Some(OldTransaction {
            pid: 9,
            seconds: 4_000,
            state: "idle in transaction".into(),
        });
    }),
    ("MONGODB_NO_SET", |it| it.documents().set = String::new()),
    ("MONGODB_WRONG_SET", |it| {
        it.documents().set = "other".into()
    }),
    ("MONGODB_NOT_PRIMARY", |it| it.documents().primary = false),
    ("OPLOG_SHORT", |it| {
        it.documents().oplog = Some((NOW / 1000 - 3_600, NOW / 1000 + 36_000));
    }),
    ("PARTITION_LEADERLESS", |it| {
        it.broker().leaderless = vec!["t-0".into()]
    }),
    ("REPLICA_BEHIND", |it| {
        it.broker().behind = vec!["t-0".into()]
    }),
    ("TOPIC_MISSING", |it| it.flows[0].topic_exists = Some(false)),
    ("STATE_TOPIC_FORGETS", |it| {
        it.broker().uncompacted = vec!["connect-offsets".into()]
    }),
    ("TOPIC_EMPTY", |it| {
        (it.flows[0].messages, it.flows[0].newest_ms) = (Some(0), None);
    }),
    ("PLUGIN_MISSING", |it| {
        it.worker().plugins.clear();
        it.fails("ConnectException: Failed to find any class that implements Connector");
    }),
    ("CONNECT_REBALANCING", |it| {
        it.worker().rebalancing = true;
        for connector in &mut it.connectors {
            connector.state = None;
            connector.tasks.clear();
        }
    }),
    ("CONNECTOR_MISSING", |it| {
        (it.connectors[0].state, it.connectors[0].committed) = (None, None);
        it.connectors[0].tasks.clear();
    }),
    ("CONNECTOR_RESTING", |it| {
        it.connectors[0].state = Some("PAUSED".into())
    }),
    ("CONFIG_DRIFT", |it| {
        it.connectors[0].drift = vec!["database.hostname".into()];
        it.fails("PSQLException: The connection attempt failed.");
    }),
    ("CONNECTOR_STUCK", |it| {
        it.connectors[0].heartbeat_age_ms = Some(60_000)
    }),
    ("CONNECTOR_IDLE", |it| {
        it.connectors[0].tasks[0].state = "UNASSIGNED".into()
    }),
    ("DEAD_LETTERS", |it| {
        it.connectors[0].dead_letters = Some(DeadLetters {
            topic: "dlq".into(),
            records: Some(3),
        });
    }),
    ("TARGET_TABLE_MISSING", |it| {
        it.target().missing = vec!["users_queue".into()]
    }),
    ("TARGET_FULL", |it| {
        it.target().room = Some((1 << 20, 1 << 40))
    }),
    ("CONSUMER_FAILS", |it| {
        it.target().consumers = vec![Consumer {
            table: "users_queue".into(),
            error: "Local: Broker transport failure".into(),
            age: 3,
        }];
        it.idle();
    }),
    ("GROUP_REBALANCING", |it| {
        it.idle().group_state = Some("PreparingRebalance".into());
    }),
    ("TARGET_STALLED", |it| it.idle().members = Some(0)),
    ("POISON_MESSAGE", |it| it.flows[0].errors = Some(3)),
];

/// What is said, by a task's trace or (of a component) by its status, and the code.
const SAID: &[(&str, Option<&str>, &str)] = &[
    (
        "LOGIN_REFUSED",
        None,
        "PSQLException: FATAL: password authentication failed for user \"cdc\"",
    ),
    (
        "LOGIN_REFUSED",
        Some("postgres"),
        "PostgreSQL refused: password authentication failed for user \"cdc\" (SQLSTATE 28P01)",
    ),
    (
        "RESUME_TOKEN_LOST",
        None,
        "MongoCommandException: Command failed with error 286 (ChangeStreamHistoryLost)",
    ),
    (
        "OFFSET_UNUSABLE",
        None,
        "PSQLException: ERROR: requested WAL segment 000000010000000000000001 has already been removed",
    ),
    (
        "PUBLICATION_UNKNOWN",
        None,
        "PSQLException: ERROR: publication \"pub\" does not exist",
    ),
    (
        "SLOT_BUSY",
        None,
        "PSQLException: ERROR: replication slot \"slot\" is active for PID 12",
    ),
    (
        "SLOT_EXISTS",
        None,
        "PSQLException: ERROR: replication slot \"slot\" already exists",
    ),
    (
        "DECODER_MISSING",
        None,
        "PSQLException: ERROR: could not access file \"decoderbufs\": No such file or directory",
    ),
    (
        "SLOTS_USED_UP",
        None,
        "PSQLException: FATAL: number of requested standby connections exceeds max_wal_senders (currently 10)",
    ),
    (
        "CONNECTIONS_FULL",
        Some("postgres"),
        "FATAL: sorry, too many clients already",
    ),
    (
        "WAL_LEVEL_SAID",
        None,
        "DebeziumException: Postgres server wal_level property must be 'logical' but is: 'replica'",
    ),
    (
        "PERMISSION_DENIED",
        None,
        "PSQLException: ERROR: permission denied for table users",
    ),
    (
        "CONNECTION_STRING",
        None,
        "ConnectException: Invalid connection string",
    ),
    (
        "PLUGIN_BROKEN",
        None,
        "java.lang.NoSuchMethodError: 'SinkRecord InternalSinkRecord.originalRecord()'",
    ),
    (
        "OUT_OF_MEMORY",
        Some("connect"),
        "container c keeps ending: OOMKilled, it needs more than its memory limit of 1Gi",
    ),
    (
        "NO_SPACE",
        Some("kafka"),
        "java.io.IOException: No space left on device",
    ),
    (
        "LOG_BACKENDS",
        Some("connect"),
        "log4j:ERROR Could not read configuration file from URL [file:/opt/kafka/custom-config/log4j.properties]",
    ),
    (
        "PROGRAM_MISSING",
        Some("connect"),
        "container c keeps ending: exit code 127, its command was not found",
    ),
    (
        "IMAGE_ARCHITECTURE",
        Some("connect"),
        "exec /opt/kafka/kafka_connect_run.sh: exec format error",
    ),
    (
        "IMAGE_UNAVAILABLE",
        Some("connect"),
        "pod my-connect-0: ImagePullBackOff cdc/connect:1",
    ),
    (
        "IMAGE_STALE",
        Some("connect"),
        "pod my-connect-0: runs sha256:1, which came from no registry",
    ),
    (
        "UNSCHEDULABLE",
        Some("kafka"),
        "pod k-0: no node has enough cpu for broker: cpu 4 (3 Insufficient cpu)",
    ),
    (
        "VOLUME_PENDING",
        Some("postgres"),
        "claim data-postgres-0: there is no storage class `fast`",
    ),
    (
        "MOUNT_FAILED",
        Some("connect"),
        "pod c-0: Secret `postgres-auth` is missing",
    ),
    (
        "OPERATOR_STUCK",
        Some("connect"),
        "Reconciliation #12 is in progress: Reconciliation is in progress",
    ),
    (
        "ADDRESS_IN_USE",
        Some("kafka"),
        "java.net.BindException: Address already in use",
    ),
    (
        "SINK_REFUSED_SCHEMA",
        None,
        "ConnectException: Cannot ALTER table 'users' because schema evolution is disabled",
    ),
    (
        "RECORD_UNREADABLE",
        None,
        "ConnectException: Tolerance exceeded in error handler",
    ),
    (
        "RECORD_TOO_LARGE",
        None,
        "org.apache.kafka.common.errors.RecordTooLargeException: The message is 2000000 bytes",
    ),
    (
        "CONFIG_REFUSED",
        None,
        "ConfigException: Invalid value x for configuration y",
    ),
    (
        "SOURCE_UNREACHABLE",
        None,
        "PSQLException: The connection attempt failed.",
    ),
    (
        "BROKER_UNREACHABLE",
        Some("clickhouse"),
        "Bootstrap broker kafka:9092 disconnected",
    ),
    (
        "TASK_KILLED",
        None,
        "ConnectException: Task is being killed and will not recover until manually restarted",
    ),
    (
        "TASK_FAILED",
        None,
        "java.lang.IllegalStateException: nobody knows this",
    ),
    (
        "COMPONENT_DOWN",
        Some("clickhouse"),
        "nobody knows this either",
    ),
];

fn first(facts: &Facts) -> Diagnosis {
    let diagnosis = judge(facts);
    assert!(!diagnosis.findings.is_empty(), "nothing was found");
    diagnosis
}

#[test]
fn nothing_is_wrong_with_a_healthy_pipeline() {
    let diagnosis = judge(&healthy());
    assert_eq!(diagnosis.findings, []);
    assert_eq!(diagnosis.unknown, []);
    assert!(diagnosis.is_sound());
}

#[test]
fn why_a_process_ended_comes_before_that_it_did() {
    let mut facts = healthy();
    facts.of("kafka").process = Process::Ended(4);
    facts.down("kafka", "its process (pid 4) has ended");
    let log = [
        "ERROR Connection refused",
        "ERROR Error while writing: No space left on device",
    ];
    facts.of("kafka").log = log.map(str::to_owned).into();
    let findings = judge(&facts).findings;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].code, "NO_SPACE");
    assert_eq!(findings[0].consequences[0].code, "PROCESS_ENDED");
    // A refused login before a kill is not why it ended.
    facts.of("kafka").log = vec!["WARN password authentication failed".into()];
    assert_eq!(judge(&facts).findings[0].code, "PROCESS_ENDED");
}

/// What is told of facts that are broken in one way, where it is not this code alone.
fn otherwise(code: &str, facts: &Facts) -> Option<String> {
    let findings = judge(facts).findings;
    let told: Vec<&str> = findings.iter().map(|it| it.code).collect();
    (told != [code]).then(|| format!("{code} is told as {told:?}"))
}

#[test]
fn each_fault_is_told_by_its_own_code_alone() {
    let wrong = CASES.iter().filter_map(|(code, breaks)| {
        let mut facts = healthy();
        breaks(&mut facts);
        otherwise(code, &facts)
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_is_said_belongs_to_one_rule() {
    let wrong = SAID.iter().filter_map(|(code, component, text)| {
        let mut facts = healthy();
        match component {
            None => facts.fails(text),
            Some(component) => facts.down(component, text),
        }
        otherwise(code, &facts)
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_rule_has_a_case_and_a_code_of_its_own() {
    let tried: BTreeSet<&str> = CASES
        .iter()
        .map(|(code, _)| *code)
        .chain(SAID.iter().map(|(code, _, _)| *code))
        .collect();
    let mut seen = BTreeSet::new();
    for rule in rules::all() {
        assert!(tried.contains(rule.code), "{} has no case", rule.code);
        assert!(seen.insert(rule.code), "{} is there twice", rule.code);
        assert!(rules::named(&rule.code.to_lowercase()).is_some());
        assert!(
            !Code::ALL.iter().any(|code| code.as_str() == rule.code) || rule.code == "PORT_TAKEN",
            "{}",
            rule.code
        );
        assert!(
            !rule.title.ends_with('.') && rule.about.ends_with(['.', ')']),
            "{}",
            rule.code
        );
    }
}

#[test]
fn one_dead_database_explains_what_follows_from_it() {
    let mut facts = healthy();
    facts.of("kafka").process = Process::Ended(4);
    facts.down("kafka", "its process has ended");
    facts.kafka = Known::Unknown("refused".into());
    facts.of("connect").status = Status::unknown("no answer within 2s");
    facts.connect = Known::Unknown("no answer within 2s".into());
    facts.connectors[0].fails_over("org.apache.kafka.common.errors.TimeoutException: x");
    facts.connectors[1].heartbeat_age_ms = Some(60_000);
    facts.idle();
    let diagnosis = first(&facts);
    assert_eq!(diagnosis.findings.len(), 1, "{:#?}", diagnosis.findings);
    let cause = &diagnosis.findings[0];
    assert_eq!(
        (cause.code, &cause.subject),
        ("PROCESS_ENDED", &Subject::component("kafka"))
    );
    let follow: Vec<&str> = cause.consequences.iter().map(|it| it.code).collect();
    assert!(follow.contains(&"PROCESS_HUNG"), "{follow:?}");
    assert!(follow.contains(&"BROKER_UNREACHABLE"), "{follow:?}");
    assert!(follow.contains(&"CONNECTOR_STUCK"), "{follow:?}");
    assert!(follow.contains(&"TARGET_STALLED"), "{follow:?}");
    assert_eq!(diagnosis.unknown.len(), 2);

    let mut about = diagnosis.clone();
    about.narrow(&facts, "users");
    assert_eq!(about.findings.len(), 1);
    about.narrow(&facts, "postgres");
    assert_eq!(about.findings.len(), 0);
}

#[test]
fn what_is_not_known_is_never_fine() {
    let mut facts = healthy();
    facts.postgres = Some(Known::Unknown("no answer within 2s".into()));
    let diagnosis = judge(&facts);
    assert!(!diagnosis.is_sound());
    assert_eq!(diagnosis.unknown[0].fact, "postgres");
}

#[test]
fn nothing_that_loses_rows_is_done_without_a_person() {
    for (code, breaks) in CASES {
        let mut facts = healthy();
        breaks(&mut facts);
        for finding in judge(&facts).findings {
            if finding.next.contains("reset-connector") || finding.next.contains("slot drop") {
                assert_eq!(
                    (finding.remedy, &finding.fix),
                    (Remedy::Person, &None),
                    "{code}"
                );
            }
        }
    }
}

impl Connector {
    fn fails_over(&mut self, trace: &str) {
        self.tasks[0].state = "FAILED".into();
        self.tasks[0].trace = Some(trace.to_owned());
    }
}

proptest! {
    /// However faults come together: causes are told once, the gravest first, and a person's finding
    /// never vanishes below another one.
    #[test]
    fn faults_that_come_together_are_all_told(
        picks in proptest::collection::vec(0..CASES.len(), 1..5),
    ) {
        let mut facts = healthy();
        for pick in &picks {
            // A case may want what another one has taken away.
            let mut tried = facts.clone();
            let breaks = CASES[*pick].1;
            let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| breaks(&mut tried)));
            if broken.is_ok() {
                facts = tried;
            }
        }
        let findings = judge(&facts).findings;
        let severities: Vec<Severity> = findings.iter().map(|it| it.severity).collect();
        prop_assert!(severities.is_sorted());
        for finding in &findings {
            for follows in &finding.consequences {
                let rule = rules::named(follows.code).expect("a rule");
                prop_assert!(rule.follows != rules::Follows::Nothing, "{}", rule.code);
            }
        }
        let mut keys: Vec<_> = findings.iter().map(|it| (it.code, &it.subject)).collect();
        let count = keys.len();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(count, keys.len());
    }
}
