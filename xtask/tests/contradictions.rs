//! Profiles that contradict themselves, or hold texts that would break out of where they go.

mod support;

use support::Xtask;
use support::refusal::{GOOD, SINK, refused, refused_line, refused_line_of, refused_set};

#[test]
fn contradictions_in_connectors_and_flows() {
    refused_line(
        "    connector: docs",
        "    connector: dosc",
        5,
        &[
            "flow `visits`: there is no connector \"dosc\"",
            "did you mean `docs`?",
        ],
    );
    refused_line(
        "    connector: docs",
        "    connector: elsewhere",
        5,
        &["define it under `connectors`"],
    );
    refused_line(
        "    key: [order_id]",
        "    key: [orderid]",
        5,
        &[
            "key column \"orderid\" is not among its columns",
            "did you mean `order_id`?",
        ],
    );
    refused_line(
        "    key: [order_id]",
        "    key: []",
        5,
        &["needs at least one key column"],
    );
    refused_line(
        "    key: [order_id]",
        "    key: [order_id, order_id]",
        5,
        &["stands there twice"],
    );
    refused_line(
        "    keep: every",
        "    keep: latest",
        5,
        &["needs a log position", "use `keep: every`"],
    );
    refused(
        "extends: clickhouse\nflows:\n  docs: {connector: mongo-connector, table: commerce.docs, keep: every, key: [_id], group: g}\n",
        &[
            "own.yaml:3:3: flow `docs`: MongoDB has documents, whose fields need columns",
            "such as `_id: String`",
        ],
    );
    refused(
        "extends: clickhouse\nflows:\n  more: {connector: postgres-connector, table: public.more, keep: latest, key: [id, id], group: g}\n",
        &["flow `more`: key column `id` stands there twice"],
    );
    refused(
        &GOOD.replace("    slot: app_slot\n", ""),
        &["own.yaml:2:3: connector `pg` reads PostgreSQL and needs `slot`"],
    );
    refused(
        &GOOD.replace("    publication: app_pub\n", ""),
        &["needs `publication`"],
    );
    refused(
        &GOOD.replace("    prefix: docs\n", "    prefix: docs\n    slot: s\n"),
        &[
            "own.yaml:11:5: connector `docs` reads MongoDB, which has no `slot`",
            "remove `slot`",
        ],
    );
    refused_line(
        "    prefix: docs",
        "    prefix: app",
        5,
        &["connectors `pg` and `docs` share the prefix `app`"],
    );
    let second = "  pg2:\n    source: postgres\n    prefix: b\n    slot: SLOT\n    publication: PUB\n    config: {}\nflows:";
    for (slot, publication, key) in [("app_slot", "p", "slot"), ("s", "app_pub", "publication")] {
        let second = second.replace("SLOT", slot).replace("PUB", publication);
        refused(
            &GOOD.replace("flows:", &second),
            &[&format!("`pg` and `pg2` share the {key}")],
        );
    }
    refused_line(
        "    table: shop.visits",
        "    table: visits",
        5,
        &["\"visits\" is not database.collection"],
    );
    refused_line(
        "    table: public.orders",
        "    table: orders",
        5,
        &["\"orders\" is not schema.table"],
    );
    let twice = "flows:\n  again: {connector: pg, table: public.orders, keep: every, key: [a], group: g, columns: {a: Int64}}";
    refused(
        &GOOD.replace("flows:", twice),
        &["flows `again` and `orders` carry the same table"],
    );
    refused_line(
        "    group: ch_visits",
        "    group: ch_orders",
        5,
        &["its consumer group `ch_orders` is that of flow `orders`"],
    );
    refused_line(
        "    group: ch_visits",
        "    group: connect-cluster",
        5,
        &["that of the Connect worker"],
    );
    refused_line(
        "  visits:",
        "  orders_queue:",
        3,
        &["names are those of flow `orders`"],
    );
    refused_line(
        "  visits:",
        "  mv_orders:",
        3,
        &["names are those of another flow's views"],
    );
    refused_line(
        "      note: String",
        "      _offset: UInt64",
        7,
        &["silver has a column of its own"],
    );
    let long = format!("    table: shop.{}", "v".repeat(250));
    refused_line(
        "    table: shop.visits",
        &long,
        5,
        &["longer than Kafka's 249 characters"],
    );
}

#[test]
fn columns_that_contradict_the_flow() {
    let flow = |more: &str| {
        format!(
            "extends: clickhouse\nflows:\n  more:\n    connector: postgres-connector\n    table: public.more\n    \
             keep: latest\n    key: [id]\n    group: g\n{more}"
        )
    };
    for (more, parts) in [
        (
            "    columns: {id: Int64}\n    omit: [a]\n",
            &[
                "own.yaml:10:5: ",
                "`columns` names all that arrive, and `omit` what differs",
                "leave one of them out",
            ][..],
        ),
        (
            "    columns: {id: Int64}\n    override: {a: String}\n",
            &["own.yaml:10:5: ", "and `override` what differs"],
        ),
        (
            "    omit: [a, id]\n",
            &["own.yaml:9:15: flow `more`: `id` is of the key, which cannot be left out"],
        ),
        (
            "    override: {b: {from: a}}\n    omit: [a]\n",
            &["own.yaml:10:12: flow `more`: `a` is left out, and `override` has it as `b`"],
        ),
        (
            "    override:\n      b: {from: a}\n      c: {from: a}\n",
            &["own.yaml:11:7: flow `more`: columns `b` and `c` are both the source's `a`"],
        ),
        (
            "    override: {b: {form: a}}\n",
            &["own.yaml:9:20: unknown key `form`", "did you mean `from`?"],
        ),
        (
            "    override: {b: {type: Strng}}\n",
            &["own.yaml:9:20: column `b`", "did you mean `String`?"],
        ),
        (
            "    override: {b: [String]}\n",
            &["own.yaml:9:16: ", "expected a type, or a map"],
        ),
        (
            "    override: {'b c': {from: a}}\n",
            &["own.yaml:9:16: ", "does not fit"],
        ),
        (
            "    override: {_op: {from: a}}\n",
            &["own.yaml:9:16: ", "silver has a column of its own"],
        ),
        (
            "    override: {b: {from: ''}}\n",
            &["own.yaml:9:20: ", "no column of a source"],
        ),
        (
            "    override: {a: {unfit: nul}}\n",
            &["own.yaml:9:20: ", "did you mean `null`?"],
        ),
        (
            "    override: {a: {type: Int64, unfit: null}}\n",
            &[
                "own.yaml:9:33: column `a`: `unfit: null`, and Int64 is not Nullable",
                "declare it as Nullable(Int64)",
            ],
        ),
        (
            "    override: {a: {type: String, unfit: clamp}}\n",
            &["own.yaml:9:34: column `a`: `unfit: clamp`, and String has no bounds"],
        ),
        (
            "    override: {id: {unfit: clamp}}\n",
            &["own.yaml:9:21: column `id`: it is of the key"],
        ),
        (
            "    unfit: 1\n",
            &["own.yaml:9:5: ", "expected `error`, `null` or `clamp`"],
        ),
        (
            "    override: {n: {from: id, type: Nullable(Int64)}}\n",
            &["own.yaml:7:5: flow `more`: key column `id` is Nullable(Int64)"],
        ),
        (
            "    columns: {id: Int64, b: {from: a}}\n    canary: {b: x}\n",
            &[
                "own.yaml:10:14: flow `more`: its canary's first column `b` is not among its columns",
            ],
        ),
        (
            "    omit: [a]\n    canary: {a: x}\n",
            &["own.yaml:10:14: flow `more`: its canary's first column `a` is left out"],
        ),
        (
            "    schema: sometimes\n",
            &[
                "own.yaml:9:5: ",
                "next: one of `follow`, `report`, `refuse`",
            ],
        ),
        (
            "    columns: {id: Int64}\n    schema: report\n",
            &["`columns` names all that arrive, and `schema` what differs"],
        ),
        (
            "    canary: {id: x}\n",
            &["its canary's key `id` is given by the tool"],
        ),
        (
            "    override: {n: {from: id, type: UInt64}}\n    canary: {b: x}\n",
            &["a canary's key is a negative number, a text or a UUID, and `id` is UInt64"],
        ),
    ] {
        refused(&flow(more), parts);
    }
    refused_line(
        "      _id: String",
        "      _id: {from: id}",
        7,
        &["column `_id` has no type", "such as `type: String`"],
    );
    refused_line_of(
        SINK,
        "    key: [order_id]",
        "    omit: [a]\n    key: [order_id]",
        5,
        &["`omit` says nothing to a sink"],
    );
}

#[test]
fn canaries_that_cannot_fly() {
    refused_line(
        "      note: canary {id}",
        "      nota: x",
        7,
        &[
            "first column `nota` is not among its columns",
            "did you mean `note`?",
        ],
    );
    refused_line(
        "      note: canary {id}",
        "      order_id: 1",
        7,
        &["is given by the tool"],
    );
    refused(
        &GOOD.replace("    canary:\n      note: canary {id}\n", "    canary: {}\n"),
        &["own.yaml:22:5: flow `orders`: a canary needs at least one text column"],
    );
    refused(
        &GOOD.replace("order_id: Int64", "order_id: UInt64"),
        &["a canary's key is a negative number, a text or a UUID, and `order_id` is UInt64"],
    );
    refused(
        &GOOD.replace("note: String", "note: Int64"),
        &["is Int64, and a text is needed"],
    );
}

#[test]
fn types_that_are_none() {
    for (kind, parts) in [
        ("Strng", &["did you mean `String`?"][..]),
        ("Int64 DEFAULT 1", &["is not a ClickHouse type"]),
        ("Int64, evil String", &["is not a ClickHouse type"]),
        ("'String) ENGINE = Null --'", &["is not a ClickHouse type"]),
        (
            "\"String\\n;\\nDROP TABLE x\"",
            &["is not a ClickHouse type"],
        ),
        ("Array(String)", &["scalar columns only", "use `String`"]),
        ("DateTime64", &["write it as `DateTime64(3)`"]),
        ("Nullable(Nullable(String))", &["is not a ClickHouse type"]),
        ("LowCardinality(Int64)", &["use `Int64`"]),
        ("''", &["is not a ClickHouse type"]),
    ] {
        let with = format!("      note: {kind}");
        refused_line("      note: String", &with, 7, parts);
    }
    refused(
        &GOOD.replace("order_id: Int64", "order_id: Nullable(Int64)"),
        &[
            "own.yaml:17:5: flow `orders`: key column `order_id` is Nullable(Int64)",
            "without `Nullable`",
        ],
    );
}

/// Every free text that ends up in SQL, properties, YAML, a URL, an argument or a file's name, with
/// what would break out of each.
#[test]
fn evil_texts() {
    const EVIL: [&str; 6] = [
        "x\n;\nDROP TABLE users\n;\n",
        "x' OR 1=1 --",
        "x\"\n  - evil: true",
        "../../etc/passwd",
        "x\\",
        "x y",
    ];
    for path in [
        "connectors.pg.prefix",
        "connectors.pg.slot",
        "connectors.pg.publication",
        "flows.orders.connector",
        "flows.orders.table",
        "flows.orders.group",
        "connect.group",
        "connect.heap",
        "kafka.heap",
        "kafka.external",
        "postgres.external",
        "postgres.database",
        "postgres.user",
        "postgres.shared_buffers",
        "mongodb.external",
        "mongodb.replica_set",
        "mongodb.user",
        "mongodb.connector_user",
        "postgres.connector_user",
        "mongodb.cache",
        "clickhouse.external",
        "clickhouse.database",
        "clickhouse.user",
        "clickhouse.memory",
        "versions.kafka",
        "versions.log4j",
        "versions.debezium",
        "versions.postgres",
        "versions.chdb",
        "versions.maven_dependency_plugin",
        "versions.strimzi",
        "versions.altinity_operator",
        "versions.cloudnative_pg",
        "versions.clickhouse",
        "versions.mongodb",
        "versions.kind",
        "versions.kind_node",
        "kubernetes.kafka_namespace",
        "kubernetes.database_namespace",
        "kubernetes.storage_class",
        "kind.name",
        "kafka.resources.cpu",
        "kafka.resources.memory",
        "kafka.storage",
        "connect.image",
        "connect.registry",
        "connect.resources.cpu",
        "connect.resources.memory",
        "postgres.resources.cpu",
        "postgres.resources.memory",
        "postgres.storage",
        "mongodb.resources.cpu",
        "mongodb.resources.memory",
        "mongodb.storage",
        "clickhouse.resources.cpu",
        "clickhouse.resources.memory",
        "clickhouse.keeper_resources.cpu",
        "clickhouse.keeper_resources.memory",
        "clickhouse.storage",
        "clickhouse.keeper_storage",
    ] {
        for evil in EVIL {
            let value = serde_json::json!(evil);
            refused_set(&format!("{path}={value}"), &[&format!("--set {path}: ")]);
        }
    }
    for evil in EVIL {
        let evil = serde_json::json!(evil);
        for (line, with) in [
            ("  pg:", format!("  {evil}:")),
            ("  visits:", format!("  {evil}:")),
            ("      note: String", format!("      {evil}: String")),
            ("      note: canary {id}", format!("      {evil}: x")),
        ] {
            let column = 1 + with.len() - with.trim_start().len();
            refused_line(line, &with, column, &[]);
        }
        refused(
            &format!("{GOOD}postgres: {{schema: [{evil}]}}\n"),
            &["`postgres.schema`: "],
        );
        refused(
            &format!("{GOOD}mongodb: {{seed: [{evil}]}}\n"),
            &["`mongodb.seed`: "],
        );
        for component in ["kafka", "connect", "postgres"] {
            let text = format!("{component}:\n  config:\n    {evil}: x\n");
            refused(&text, &["own.yaml:3:5: ", "does not fit"]);
        }
        let text = GOOD.replacen("    config: {}", &format!("    config: {{{evil}: x}}"), 1);
        refused(&text, &["own.yaml:7:14: ", "does not fit"]);
    }
    for component in ["kafka", "connect", "postgres"] {
        let text = format!("{component}:\n  config:\n    a.b: \"x\\nlisteners=evil\"\n");
        refused(
            &text,
            &["own.yaml:3:5: ", "is one line without control characters"],
        );
    }
    refused_line(
        "      note: canary {id}",
        "      note: \"a\\0\"",
        7,
        &["control characters"],
    );
    for password in ["a\\nb", "\\0", "ä"] {
        let text = format!("clickhouse: {{password: \"{password}\"}}\n");
        refused(&text, &["own.yaml:1:14: ", "printable ASCII"]);
    }
    for text in [
        "postgres: {password: ''}\n",
        "mongodb: {password: ''}\n",
        "postgres: {connector_password: ''}\n",
        "mongodb: {external: 'mongo.example:27017', connector_password: ''}\n",
    ] {
        refused(text, &["takes no empty password"]);
    }
    for component in ["postgres", "mongodb"] {
        let text = format!("{component}: {{external: 'db.example:1', connector_password: x}}\n");
        refused(&text, &["no user of their own", "connector_user"]);
    }
    refused("mongodb: {user: ''}\n", &["own.yaml:1:11: `mongodb.user`"]);
}

#[test]
fn addresses_that_are_none() {
    for address in [
        "localhost",
        "localhost:",
        ":9092",
        "h:0",
        "h:70000",
        "a:1,b:2",
        "http://h:1",
        "h:1/x",
    ] {
        refused_set(
            &format!("kafka.external={address}"),
            &[
                "--set kafka.external: `kafka.external`: ",
                "is not host:port",
            ],
        );
    }
}

/// Settings of servers of one's own are refused where they fit neither the server nor each other.
#[test]
fn ways_to_servers_of_ones_own() {
    for (text, parts) in [
        (
            "kafka: {sslmode: verify-full}",
            [
                "own.yaml:1:9: `kafka.sslmode`: it is for a server that you run yourself",
                "kafka.external",
            ],
        ),
        (
            "kafka: {user: etl}",
            [
                "`kafka.user`: it is for a server that you run yourself",
                "kafka.external",
            ],
        ),
        (
            "kafka: {external: 'k:9093', sslmode: prefer}",
            ["never both", "set kafka.sslmode=verify-full"],
        ),
        (
            "kafka: {external: 'k:9093', sslmode: require}",
            [
                "always check the broker's certificate",
                "set kafka.sslmode=verify-full",
            ],
        ),
        (
            "kafka: {external: 'k:9093', sslmode: verify-full}",
            ["wants the certificates to verify with", "kafka.sslrootcert"],
        ),
        (
            "kafka: {external: 'k:9093', sslrootcert: ca.pem}",
            [
                "only `verify-full` checks certificates",
                "set kafka.sslmode=verify-full",
            ],
        ),
        (
            "kafka: {external: 'k:9093', sslmode: verify-full, sslrootcert: nowhere.pem}",
            ["`kafka.sslrootcert`: cannot read nowhere.pem", ""],
        ),
        (
            "kafka: {external: 'k:9093', sasl: scram-sha-512}",
            ["`kafka.sasl`: a login wants a user", "name it: kafka.user"],
        ),
        (
            "kafka: {external: 'k:9093', user: etl}",
            [
                "`kafka.user`: without `sasl` nobody logs in",
                "kafka.sasl=scram-sha-512",
            ],
        ),
        (
            "kafka: {external: 'k:9093', sasl: plain, user: etl}",
            [
                "sends the password as it is",
                "set kafka.sslmode=verify-full",
            ],
        ),
        (
            "kafka: {external: 'k:9093', sasl: scram-sha-256, user: 'e t l'}",
            ["`kafka.user`: \"e t l\" does not fit", ""],
        ),
        (
            "clickhouse: {sslmode: require}",
            [
                "`clickhouse.sslmode`: it is for a server that you run yourself",
                "clickhouse.external",
            ],
        ),
        (
            "clickhouse: {external: 'ch:8443', sslmode: prefer}",
            ["never both", "set clickhouse.sslmode=verify-full"],
        ),
        (
            "clickhouse: {external: 'https://ch:8443/'}",
            ["is not host:port", "write `ch:8443`"],
        ),
    ] {
        refused(&format!("{text}\n"), &parts);
    }
}

#[test]
fn a_set_that_cannot_be_reached_as_it_is_named() {
    for (set, says) in [
        (&["external=db"][..], "db has no port"),
        (
            &["external=https://db:1"],
            "no address of MongoDB begins so",
        ),
        (
            &["external=mongodb://db:1/?replicaSet=shop"],
            "set mongodb.replica_set",
        ),
        (&["external=db:1", "sslmode=prefer"], "sslmode"),
        (
            &["external=mongodb+srv://shop.example"],
            "name a file with them, in PEM: mongodb.sslrootcert",
        ),
        (
            &["external=db:1", "sslrootcert=x.pem"],
            "set mongodb.sslmode=verify-full",
        ),
        (
            &["external=db:1", "sslmode=verify-full", "sslrootcert=x.pem"],
            "cannot read x.pem",
        ),
        (&["sslmode=verify-full"], "a server that you run yourself"),
    ] {
        let mut up = Xtask::new()
            .file("own.yaml", GOOD)
            .args("up")
            .profile("own.yaml");
        for set in set {
            up = up.arg("--set").arg(format!("mongodb.{set}"));
        }
        up.refuses(3, &[says]);
    }
    let ran = Xtask::new()
        .file("own.yaml", GOOD)
        .args("up")
        .profile("own.yaml")
        .args("--set mongodb.external=mongodb+srv://cdc:geheim@shop.example")
        .refuses(3, &["a user and a password", "--set mongodb.password=@-"]);
    assert!(!ran.stderr.contains("geheim"), "{}", ran.stderr);
}

#[test]
fn files_that_are_not_there() {
    refused(
        "postgres: {schema: [user.sql]}\n",
        &[
            "own.yaml:1:12: `postgres.schema`: there is no file user.sql beside the profile, nor in manifests/postgres/sql",
            "did you mean `users.sql`?",
        ],
    );
    refused(
        "mongodb: {seed: [nothing-alike.json]}\n",
        &["files in manifests: "],
    );
}

#[test]
fn settings_that_have_an_owner() {
    refused(
        "postgres: {config: {port: 1}}\n",
        &["own.yaml:1:21: ", "set `postgres.port`"],
    );
    refused_set(
        "kafka.config.log.dirs=/x",
        &["--set kafka.config.log.dirs: ", "depends on"],
    );
    refused_set("connect.config.group.id=x", &["set `connect.group`"]);
}

#[test]
fn clusters_that_cannot_be() {
    for (set, parts) in [
        (
            "kafka.replicas=0",
            &["--set kafka.replicas: ", "not between 1 and 100"][..],
        ),
        ("mongodb.replicas=2", &["none of 1, 3, 5, 7", "majority"]),
        ("clickhouse.keepers=2", &["none of 0, 1, 3, 5"]),
        (
            "clickhouse.replicas=2",
            &["there is none", "set `clickhouse.keepers: 3`"],
        ),
        (
            "postgres.replicas=3",
            &["runs one server, not 3", "cloudnative-pg"],
        ),
        (
            "postgres.managed_by=cloudnative-pg",
            &["`postgres.user`", "keeps `postgres` for itself"],
        ),
        (
            "postgres.managed_by=cloudnativepg",
            &["did you mean `cloudnative-pg`?"],
        ),
        (
            "kubernetes.database_namespace=kafka",
            &[
                "--set kubernetes.database_namespace: ",
                "a namespace of its own",
            ],
        ),
        (
            "kind.node_ports.web=30001",
            &["port 30001 of the node is wanted twice: by `web` and `postgres`"],
        ),
        (
            "kind.node_ports.kafka=8123",
            &["8123 is not between 30000 and 32767"],
        ),
        (
            "clickhouse.networks=[10.0.0.0/33]",
            &["--set clickhouse.networks", "is a network such as"],
        ),
        (
            "kubernetes.context=\"a\\nb\"",
            &["--set kubernetes.context: ", "one line"],
        ),
        (
            "platform=kubernetes",
            &["--set platform: ", "set `connect.registry: registry/path`"],
        ),
        (
            "versions.debezium=2.7.0.Final",
            &[
                "--set versions.debezium: ",
                "plugin 2.7.0.Final and PostgreSQL 17.11.0 do not work together",
                "set `versions.postgres: 16.10.0`",
            ],
        ),
    ] {
        refused_set(set, parts);
    }
    Xtask::new()
        .file("own.yaml", GOOD)
        .args("up --set platform=kind --set kind.web_port=5432")
        .profile("own.yaml")
        .refuses(
            3,
            &["port 5432 of this machine is wanted twice: by `kind.web_port` and `postgres.port`"],
        );
    Xtask::new()
        .file("own.yaml", GOOD)
        .args("up --set platform=kind --set versions.kafka=4.1.1")
        .profile("own.yaml")
        .refuses(
            3,
            &[
                "--set versions.kafka: Strimzi 1.2.0 and Kafka 4.1.1 do not work together",
                "set `versions.kafka: 4.3.1`",
            ],
        );
    Xtask::new()
        .file("own.yaml", GOOD)
        .args("up --set kafka.security=scram --set kafka.external=k.example:9092")
        .profile("own.yaml")
        .refuses(
            3,
            &["makes users only on brokers that it runs", "`kafka.sasl`"],
        );
}

#[test]
fn contradictions_in_named_components_and_sinks() {
    let shown = Xtask::new()
        .file("own.yaml", SINK)
        .args("profile show")
        .profile("own.yaml")
        .run();
    assert_eq!(shown.code, 0, "{}{}", shown.stdout, shown.stderr);
    for (line, with, column, parts) in [
        (
            "    type: postgres",
            "    type: postgresql",
            5,
            &["postgresql", "postgres"][..],
        ),
        (
            "    source: left",
            "    source: lefft",
            5,
            &["lefft", "did you mean `left`?"],
        ),
        (
            "    sink: right",
            "    sink: rihgt",
            5,
            &["there is no component \"rihgt\"", "did you mean `right`?"],
        ),
        (
            "    sink: right",
            "    sink: kafka",
            5,
            &["no connector writes to Kafka"],
        ),
        (
            "    tasks: 1",
            "    tasks: 0",
            5,
            &["0 is not between 1 and 100"],
        ),
        ("    tasks: 1", "    slots: 1\n    tasks: 1", 5, &["slots"]),
        (
            "    to: sink",
            "    to: snik",
            5,
            &[
                "flow `orders`: there is no sink \"snik\"",
                "did you mean `sink`?",
            ],
        ),
        (
            "    to: sink",
            "    to: elsewhere",
            5,
            &["define it under `connectors`"],
        ),
        (
            "    port: 5443",
            "    port: 5442",
            5,
            &["5442", "components.left.port"],
        ),
    ] {
        refused_line_of(SINK, line, with, column, parts);
    }
    for (name, parts) in [
        ("Left", &["the key \"Left\" does not fit"][..]),
        ("kafka", &["a postgres cannot be called `kafka`"]),
    ] {
        refused(&SINK.replace("left", name), parts);
    }
    refused(
        &SINK.replace(
            "clickhouse: ~\ncomponents:\n",
            "components:\n  bi: {type: clickhouse}\n",
        ),
        &["`components.bi`: a profile has one component that reads topics itself"],
    );
    refused(
        &SINK.replace("components:\n", "components:\n  third: ~\n"),
        &["`components.third` has no settings", "`third: {}`"],
    );
    refused(
        &format!(
            "{SINK}  others:\n    connector: pg\n    to: sink\n    table: other.orders\n    key: [order_id]\n"
        ),
        &["flows `orders` and `others` are written to the same table `orders` of `right`"],
    );
    refused(
        &SINK.replace(
            "flows:\n",
            "  other:\n    sink: right\n    tasks: 1\nflows:\n",
        ),
        &["sink `other` writes no flow", "`to: other`"],
    );
    // One connector writes messages in one form.
    refused(
        &format!(
            "{}  others:\n    connector: pg\n    table: public.others\n    key: [id]\n    keep: latest\n    group: ch\n",
            SINK.replace("clickhouse: ~\n", "")
        ),
        &[
            "connector `pg` cannot write flow `orders` for sink `sink` and flow `others` without one",
            "a copy of `connectors.pg` with another prefix, slot and publication",
        ],
    );
    refused(
        "extends: mysql\nkafka: {security: scram}\nplatform: kind\n",
        &[
            "own.yaml:2:9: connector `mysql-connector`",
            "use `kafka.security: plain`",
        ],
    );
    // Nothing reads the topics where there is no ClickHouse.
    let rest = "    keep: latest\n    group: ch\n    columns: {order_id: Int64}\n";
    refused(
        &SINK.replace("    to: sink\n", rest),
        &["flow `orders`: nothing here reads its topic", "`to: sink`"],
    );
}
