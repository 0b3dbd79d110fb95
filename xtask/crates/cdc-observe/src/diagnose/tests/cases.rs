//! What breaks a healthy pipeline's facts.

use serde_json::json;

use super::healthy::NOW;
use crate::components::postgres::holders::Holder;
use crate::components::postgres::lacks::{Lack, Of};
use crate::components::target::{Drift, Wrong};
use crate::diagnose::Subject;
use crate::diagnose::facts::clickhouse::Consumer;
use crate::diagnose::facts::postgres::{OldTransaction, Unfit};
use crate::diagnose::facts::{DeadLetters, Disk, Facts, Known, Place, Process, Reset, Resource};
use crate::readiness::Status;
use crate::reconcile::report::{self, TableReport};

/// What breaks, and the code of the cause that is reported.
pub(super) type Case = (&'static str, fn(&mut Facts));

pub(super) const CASES: &[Case] = &[
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
        it.unheard("postgres", "no answer within 2s");
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
        it.unheard("postgres", "refused");
    }),
    ("NOT_STARTED", |it| {
        it.of("connect").process = Process::None;
        it.down("connect", "its process was never started");
    }),
    ("PROCESS_HUNG", |it| {
        it.of("clickhouse").status = Status::in_progress("no answer within 2s");
        it.unheard("clickhouse", "no answer within 2s");
    }),
    ("CLOCK_SKEW", |it| it.target().clock_ms = NOW - 60_000),
    ("OPERATOR_DOWN", |it| {
        it.operator = Some(Known::Seen(Status::failed("there is no pod of it")));
    }),
    ("NODE_PRESSURE", |it| {
        it.node("DiskPressure", "kubelet has disk pressure");
        let said = "no node takes it (1 node(s) had untolerated taint(s))";
        it.of("connect").process = Process::Elsewhere;
        it.down("connect", said);
    }),
    ("NODE_NOT_READY", |it| {
        it.node("Ready", "Kubelet stopped posting node status.");
        it.of("kafka").process = Process::Elsewhere;
        it.down("kafka", "0 of 1 pod ready");
    }),
    ("OPERATOR_STUCK", |it| {
        let line = "#7(watch) KafkaConnect(kafka/c): Failed to acquire lock";
        let ignored = [("connect".to_owned(), vec![line.to_owned()])];
        it.passed_over = Some(Known::Seen(ignored.into()));
        it.of("connect").process = Process::Elsewhere;
        it.down("connect", "0 of 1 pod ready");
    }),
    ("CHANGE_UNTAKEN", |it| {
        let subject = Subject::Connector(it.connectors[0].name.clone());
        it.resources = Some(Known::Seen(vec![Resource {
            object: format!("KafkaConnector {}", subject.name()),
            subject,
            refused: None,
            untaken_s: Some(90),
        }]));
    }),
    ("POD_STARTING", |it| {
        it.of("connect").process = Process::Elsewhere;
        it.of("connect").is_being_made = true;
        it.of("connect").status = Status::in_progress("Ready, but 0 of 1 pod ready");
    }),
    ("IMAGE_STALE", |it| {
        let said = "pod c-0 runs sha256:2, and cdc-connect:1 is sha256:1";
        it.image = Some(Known::Seen(Status::failed(said)));
    }),
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
    ("SLOT_HELD_BACK", |it| {
        it.source().holders = vec![Holder {
            slot: Some("slot".into()),
            pid: Some(9),
            ..Holder::default()
        }];
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
    ("PUBLICATION_UNFIT", |it| {
        it.source().lacks = vec![Lack {
            connector: it.connectors[0].name.clone(),
            of: Of::Sent,
            cause: "publication pub does not publish delete".into(),
            by: "as the owner of publication pub".into(),
            sql: "ALTER PUBLICATION pub SET (publish = 'insert, update, delete, truncate')".into(),
        }];
    }),
    ("TABLE_MISSING", |it| it.table().exists = false),
    ("FLOW_UNFIT", |it| {
        it.source().unfit = vec![Unfit {
            cause: "flow `users`: `n` is bigint at the source, and Int32 does not hold all of its values".into(),
            at: Some("shop.yaml:9:14".into()),
            hint: Some("declare it as Int64".into()),
        }];
    }),
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
    ("BINLOG_UNFIT", |it| {
        it.rows_of_mysql().image = "MINIMAL".into()
    }),
    ("BINLOG_LOST", |it| {
        it.rows_of_mysql().files = vec!["binlog.000005".into()]
    }),
    ("AGENT_STOPPED", |it| {
        let server = it.rows_of_sqlserver();
        server.agent = Some(false);
        // Its jobs are stopped with it.
        server.databases[0].capturing = Some(false);
    }),
    ("CDC_OFF", |it| {
        it.rows_of_sqlserver().databases[0].enabled = false
    }),
    ("CDC_OFF", |it| {
        it.rows_of_sqlserver().tables[0].enabled = false
    }),
    ("CAPTURE_STOPPED", |it| {
        it.rows_of_sqlserver().databases[0].capturing = Some(false)
    }),
    ("CHANGES_LOST", |it| {
        it.rows_of_sqlserver().databases[0].oldest = Some("0x0000002500000D9800A3".into())
    }),
    ("CHANGES_UNREADABLE", |it| {
        it.rows_of_sqlserver().tables[0].readable = Some(false)
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
    ("CONNECT_REBALANCING", |it| {
        it.broker().workers_state = "PreparingRebalance".into();
    }),
    ("CONNECTOR_MISSING", |it| {
        (it.connectors[0].state, it.connectors[0].committed) = (None, None);
        it.connectors[0].tasks.clear();
    }),
    ("RESET_UNFINISHED", |it| {
        // Stopped by the reset: resuming it would be refused.
        it.connectors[0].state = Some("STOPPED".into());
        it.connectors[0].reset = Some(Reset::default());
    }),
    ("RESET_UNFINISHED", |it| {
        // Running again, while what was deleted meanwhile is not.
        it.connectors[0].reset = Some(Reset::default());
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
    ("CONNECTOR_STUCK", |it| {
        let slot = &mut it.source().slots[0];
        (slot.active, slot.unread_s) = (false, Some(60));
    }),
    ("CONNECTOR_IDLE", |it| {
        it.connectors[0].tasks[0].state = "UNASSIGNED".into()
    }),
    ("SLOT_BEHIND", |it| {
        it.source().slots[0].unconfirmed = Some(3 << 30)
    }),
    ("TARGET_BEHIND", |it| it.flows[0].unread = Some(5_000_000)),
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
    ("COLUMN_ADDED", |it| {
        (it.flows[0].errors, it.flows[0].waiting) = (Some(3), 3);
        it.flows[0].drift = Some(Drift {
            added: vec!["c".into()],
            ..Drift::default()
        });
    }),
    ("ROWS_DIFFER", |it| {
        it.rows = vec![TableReport {
            missing_rows: 1,
            ..TableReport::of(&it.flows[0].name, report::Status::Fail)
        }];
    }),
    ("SCHEMA_CHANGED", |it| {
        it.flows[0].drift = Some(Drift {
            wrong: vec![Wrong {
                cause: "users_silver has a column `a`".into(),
                next: "cargo xtask up".into(),
            }],
            ..Drift::default()
        });
    }),
];

/// What is said, by a task's trace or (of a component) by its status, and the code.
pub(super) const SAID: &[(&str, Option<&str>, &str)] = &[
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
        Some("mongo-connector"),
        "MongoCommandException: Command failed with error 286 (ChangeStreamHistoryLost)",
    ),
    (
        "RESUME_TOKEN_LOST",
        Some("mongo-connector"),
        "DebeziumException: The connector is trying to read change stream starting at SourceInfo [x], but this is \
         no longer available on the server. Reconfigure the connector to use a snapshot mode when needed.",
    ),
    (
        "OFFSET_UNUSABLE",
        None,
        "DebeziumException: The connector is trying to read change stream starting at PostgresOffsetContext [x], but \
         this is no longer available on the server. Reconfigure the connector to use a snapshot mode when needed.",
    ),
    (
        "RESUME_TOKEN_LOST",
        Some("mongo-connector"),
        "DataException: Invalid value: null used for required field: \"collection\", schema type: STRING\n\
         at io.debezium.pipeline.CommonOffsetContext.getSourceInfo(CommonOffsetContext.java:58)",
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
        Some("mongo-connector"),
        "ConnectException: Invalid connection string",
    ),
    (
        "SCHEMA_HISTORY_LOST",
        Some("mysql"),
        "DebeziumException: The db history topic or its content is fully or partially missing",
    ),
    (
        "OFFSET_UNUSABLE",
        Some("mysql"),
        "ServerException: Could not find first log file name in binary log index file",
    ),
    (
        "SOURCE_UNREACHABLE",
        Some("mysql"),
        "CommunicationsException: Communications link failure",
    ),
    (
        "CHANGE_DEFINITIONS_LOST",
        Some("sqlserver"),
        "DebeziumException: The db history topic or its content is fully or partially missing",
    ),
    (
        "OFFSET_UNUSABLE",
        Some("sqlserver"),
        "SQLServerException: An insufficient number of arguments were supplied for the procedure or function cdc.fn_cdc_get_all_changes_ ... .",
    ),
    (
        "PERMISSION_DENIED",
        Some("sqlserver"),
        "SQLServerException: The SELECT permission was denied on the object 'customers', database 'shop', schema 'dbo'.",
    ),
    (
        "SOURCE_UNREACHABLE",
        Some("sqlserver"),
        "SQLServerException: The TCP/IP connection to the host db, port 1433 has failed.",
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
        "DATA_VERSION",
        Some("postgres"),
        "FATAL:  database files are incompatible with server",
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
        "SOURCE_UNREACHABLE",
        None,
        "ConnectException: Exiting WorkerSinkTask due to unrecoverable exception. Caused by: PSQLException: FATAL: \
         terminating connection due to unexpected postmaster exit",
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
