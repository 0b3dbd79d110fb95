//! Facts of a healthy pipeline, and their parts, so that they can be broken.

use serde_json::json;

use crate::components::postgres::slots::Slot;
use crate::diagnose::facts::clickhouse::Clickhouse;
use crate::diagnose::facts::mongodb::Mongodb;
use crate::diagnose::facts::mysql::Mysql;
use crate::diagnose::facts::postgres::{Postgres, Publication, Role, Server, Table};
use crate::diagnose::facts::sqlserver::{Database, Sqlserver, Table as Captured};
use crate::diagnose::facts::{
    Component, Connect, Connector, Disk, Facts, Flow, Instances, Kafka, Known, Node, Place,
    Process, ServerFacts, Task, Wanted,
};
use crate::platform::Platform;
use crate::readiness::{Cause, Status};

pub(super) const NOW: u64 = 1_800_000_000_000;
const PG: &str = "pg-connector";

pub(super) fn component(name: &'static str, pid: u32) -> Component {
    Component {
        name: name.into(),
        kind: name,
        path: name.into(),
        external: false,
        is_being_made: false,
        status: Status::current("works"),
        process: Process::Running(pid),
        port_taken: None,
        log: Vec::new(),
    }
}

pub(super) fn connector(name: &str, source: &'static str) -> Connector {
    let postgres = source == "postgres";
    let offset = match source {
        "postgres" => json!({ "lsn": 1_000 }),
        "mysql" => json!({ "file": "binlog.000004", "pos": 4, "ts_sec": NOW / 1000 }),
        "sqlserver" => {
            json!({ "commit_lsn": "00000025:00000d98:00a2", "change_lsn": "00000025:00000d98:0003" })
        }
        _ => json!({ "sec": NOW / 1000, "ord": 1 }),
    };
    Connector {
        name: name.into(),
        wanted: Some(Wanted {
            component: source.into(),
            kind: source,
            writes: false,
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
            own_user: false,
            password_key: None,
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
            position: crate::components::position::position(&offset),
            offset,
        })),
        heartbeat_age_ms: Some(100),
        dead_letters: None,
        login_works: None,
        complaints: Vec::new(),
        reset: None,
    }
}

pub(super) fn flow(name: &str, connector: &str) -> Flow {
    Flow {
        name: name.into(),
        connector: connector.into(),
        sink: None,
        target: Some("clickhouse".into()),
        topic: format!("t.{name}"),
        group: format!("g_{name}"),
        topic_exists: Some(true),
        messages: Some(10),
        group_state: Some("Stable".into()),
        members: Some(1),
        unread: Some(2),
        reads: Some(true),
        errors: Some(0),
        waiting: 0,
        drift: None,
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
        transactions: Some(7),
        untouched: Some(0),
        unread_s: None,
    }
}

/// A server that a connector reads the table of.
pub(super) fn postgres() -> Postgres {
    let table = Table {
        name: "public.users".into(),
        exists: true,
        identity: Some("d".into()),
        key: true,
        unreadable: Vec::new(),
    };
    Postgres {
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
        unfit: Vec::new(),
        lacks: Vec::new(),
        holders: Vec::new(),
        slots: vec![slot()],
    }
}

fn servers() -> Instances {
    let mut servers = Instances::default();
    servers.insert("postgres", Known::Seen(postgres()));
    let mongodb = Mongodb {
        primary: true,
        replicated: true,
        set: "rs0".into(),
        wanted_set: "rs0".into(),
        oplog: Some((NOW / 1000 - 864_000, NOW / 1000)),
    };
    servers.insert("mongodb", Known::Seen(mongodb));
    let clickhouse = Clickhouse {
        clock_ms: NOW,
        room: Some((1 << 40, 1 << 40)),
        ..Clickhouse::default()
    };
    servers.insert("clickhouse", Known::Seen(clickhouse));
    servers
}

pub(super) fn healthy() -> Facts {
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
            connector(PG, "postgres"),
            connector("mongo-connector", "mongodb"),
        ],
        flows: vec![flow("users", PG), flow("events", "mongo-connector")],
        servers: servers(),
        connect: Known::Seen(Connect {
            plugins: vec!["C".into()],
            needed: vec!["C".into()],
            rebalancing: false,
        }),
        kafka: Known::Seen(Kafka::default()),
        operator: None,
        nodes: None,
        passed_over: None,
        rows: Vec::new(),
        resources: None,
        image: Some(Known::Seen(Status::current("1 of 1 pod run sha256:1"))),
        disk: Some(Known::Seen(Disk {
            rooms: vec![("/state".into(), 1 << 40, 1 << 40)],
        })),
    }
}

impl Facts {
    /// A node is in trouble.
    pub(super) fn node(&mut self, condition: &str, message: &str) {
        let node = Node {
            name: "node-1".into(),
            condition: condition.into(),
            message: message.into(),
        };
        self.nodes = Some(Known::Seen(vec![node]));
    }

    pub(super) fn of(&mut self, name: &str) -> &mut Component {
        let mut components = self.components.iter_mut();
        components.find(|it| it.name == name).expect("a component")
    }

    pub(super) fn server(&mut self) -> &mut Server {
        &mut self.source().server
    }

    fn server_of<T: ServerFacts>(&mut self, name: &str) -> &mut T {
        self.servers.get_mut(name).expect("known")
    }

    /// MySQL in MongoDB's place, which its connector reads.
    pub(super) fn rows_of_mysql(&mut self) -> &mut Mysql {
        let name = "mysql";
        *self.of("mongodb") = component(name, 9);
        self.connectors[1] = connector("mongo-connector", name);
        let healthy = Mysql {
            clock_ms: Some(NOW),
            logs: true,
            format: "ROW".into(),
            image: "FULL".into(),
            read_only: false,
            files: vec!["binlog.000003".into(), "binlog.000004".into()],
        };
        self.servers.insert(name, Known::Seen(healthy));
        self.server_of(name)
    }

    /// SQL Server in MongoDB's place, likewise.
    pub(super) fn rows_of_sqlserver(&mut self) -> &mut Sqlserver {
        let name = "sqlserver";
        *self.of("mongodb") = component(name, 9);
        self.connectors[1] = connector("mongo-connector", name);
        let wanted = self.connectors[1].wanted.as_mut();
        wanted.expect("the profile's").tables = vec!["shop.dbo.customers".into()];
        let healthy = Sqlserver {
            clock_ms: Some(NOW),
            agent: Some(true),
            databases: vec![Database {
                name: "shop".into(),
                enabled: true,
                capturing: Some(true),
                retention_min: Some(4_320),
                oldest: Some("0x00000024000000010001".into()),
            }],
            tables: vec![Captured {
                name: "shop.dbo.customers".into(),
                enabled: true,
                readable: Some(true),
            }],
        };
        self.servers.insert(name, Known::Seen(healthy));
        self.server_of(name)
    }

    pub(super) fn source(&mut self) -> &mut Postgres {
        self.server_of("postgres")
    }

    pub(super) fn documents(&mut self) -> &mut Mongodb {
        self.server_of("mongodb")
    }

    /// Nothing is known of a server.
    pub(super) fn unheard(&mut self, name: &str, why: &str) {
        let why = Known::Unknown::<Postgres>(why.into());
        self.servers.insert(name, why);
    }

    pub(super) fn worker(&mut self) -> &mut Connect {
        match &mut self.connect {
            Known::Seen(connect) => connect,
            Known::Unknown(_) => panic!("known"),
        }
    }

    pub(super) fn broker(&mut self) -> &mut Kafka {
        match &mut self.kafka {
            Known::Seen(kafka) => kafka,
            Known::Unknown(_) => panic!("known"),
        }
    }

    pub(super) fn target(&mut self) -> &mut Clickhouse {
        self.server_of("clickhouse")
    }

    pub(super) fn table(&mut self) -> &mut Table {
        &mut self.server().tables[0]
    }

    pub(super) fn idle(&mut self) -> &mut Flow {
        let flow = &mut self.flows[0];
        (flow.reads, flow.unread) = (Some(false), Some(1_000));
        flow
    }

    pub(super) fn fails(&mut self, trace: &str) {
        let task = &mut self.connectors[0].tasks[0];
        task.state = "FAILED".into();
        task.trace = Some(format!("a.B: x\n\tat y\nCaused by: {trace}"));
    }

    pub(super) fn down(&mut self, component: &str, said: &str) {
        self.of(component).status = Status::failed(said);
    }

    /// Down over what readiness knows, by the code that it is reported as.
    pub(super) fn down_as(&mut self, code: &str, component: &str, said: &str) {
        let cause = match code {
            "OUT_OF_MEMORY" => Some(Cause::OutOfMemory),
            "PROGRAM_MISSING" => Some(Cause::ProgramMissing),
            "IMAGE_UNAVAILABLE" => Some(Cause::ImageUnavailable),
            "UNSCHEDULABLE" => Some(Cause::Unschedulable),
            "VOLUME_PENDING" => Some(Cause::VolumePending),
            "MOUNT_FAILED" => Some(Cause::MountFailed),
            _ => None,
        };
        self.down(component, said);
        self.of(component).status.cause = cause.map(|cause| (cause, said.to_owned()));
    }
}

impl Connector {
    pub(super) fn fails_over(&mut self, trace: &str) {
        self.tasks[0].state = "FAILED".into();
        self.tasks[0].trace = Some(trace.to_owned());
    }
}
