//! Tables that are not the demo's: every value arrives as it is or is held back with its reason, and what log
//! decoding does not carry is refused before anything is made. After the cases of users' own tables.

use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::clients::answer::Row;
use xtask::clients::postgres::Postgres;

use crate::sandbox::Sandbox;
use crate::unfit;

/// A type of PostgreSQL, nasty values of it as literals, and how both ends write one for a comparison.
struct Nasty {
    kind: &'static str,
    values: &'static [&'static str],
    source: &'static str,
    target: &'static str,
    /// Which values the target's type has, in PostgreSQL's SQL.
    held: &'static str,
}

const fn nasty(
    kind: &'static str,
    values: &'static [&'static str],
    source: &'static str,
    target: &'static str,
) -> Nasty {
    Nasty {
        kind,
        values,
        source,
        target,
        held: "true",
    }
}

/// `{}` stands for the column.
const ALL: [Nasty; 21] = [
    nasty("boolean", &["true", "false"], "{}::text", "toString({})"),
    nasty(
        "smallint",
        &["-32768", "32767", "0"],
        "{}::text",
        "toString({})",
    ),
    nasty(
        "integer",
        &["-2147483648", "2147483647"],
        "{}::text",
        "toString({})",
    ),
    nasty(
        "bigint",
        &[
            "-9223372036854775808",
            "9223372036854775807",
            "9007199254740993",
        ],
        "{}::text",
        "toString({})",
    ),
    nasty(
        "real",
        &["1.1", "-0.0", "3.4028235e38", "1e-45", "NaN", "-Infinity"],
        "('x' || encode(float4send({}), 'hex'))::bit(32)::int::text",
        "toString(reinterpretAsInt32({}))",
    ),
    nasty(
        "double precision",
        &[
            "0.1",
            "5e-324",
            "1.7976931348623157e308",
            "9007199254740993",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
        "('x' || encode(float8send({}), 'hex'))::bit(64)::bigint::text",
        "toString(reinterpretAsInt64({}))",
    ),
    Nasty {
        kind: "numeric(18, 4)",
        values: &[
            "-99999999999999.9999",
            "0.0001",
            "-0.0100",
            "12345678901234.5678",
            "NaN",
        ],
        source: "trim_scale({})::text",
        target: "toString({})",
        held: "{} <> 'NaN'",
    },
    nasty(
        "numeric",
        &[
            "1234567890123456789012345678901234567890.123456789012345678901234567890",
            "1e-30",
            "1e40",
            "-0.50",
        ],
        "{}::text",
        "{}",
    ),
    nasty(
        "text",
        &[
            "",
            "NULL",
            "tab\tquote\"\\ back",
            "\u{1F980} \u{1}",
            "{\"a\": 1}",
            "12",
            "true",
        ],
        "encode(convert_to({}, 'UTF8'), 'hex')",
        "lower(hex({}))",
    ),
    nasty(
        "char(4)",
        &["a", "abcd"],
        "encode(convert_to({}::bpchar::text, 'UTF8'), 'hex')",
        "lower(hex(trimRight({})))",
    ),
    nasty(
        "bytea",
        &["", "\\x00ff80", "\\x5c"],
        "translate(encode({}, 'base64'), E'\\n', '')",
        "{}",
    ),
    Nasty {
        kind: "date",
        values: &[
            "1900-01-01",
            "2299-12-31",
            "1969-12-31",
            "1850-06-01",
            "2300-01-01",
            "0001-01-01",
            "9999-12-31",
            "infinity",
            "-infinity",
        ],
        source: "{}::text",
        target: "toString({})",
        held: "{} BETWEEN '1900-01-01' AND '2299-12-31'",
    },
    Nasty {
        kind: "timestamp",
        values: &[
            "1969-12-31 23:59:59.999999",
            "1900-01-01",
            "2299-12-31 23:59:59.999999",
            "1899-12-31 23:59:59.999999",
            "9999-12-31",
            "infinity",
        ],
        source: "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US')",
        target: "toString({})",
        held: "{} BETWEEN '1900-01-01' AND '2299-12-31 23:59:59.999999'",
    },
    nasty(
        "timestamp(3)",
        &["1969-12-31 23:59:59.999", "2026-01-02 03:04:05"],
        "to_char({}, 'YYYY-MM-DD HH24:MI:SS.MS')",
        "toString({})",
    ),
    Nasty {
        kind: "timestamptz",
        values: &[
            "1969-12-31 23:59:58.000001+00",
            "1900-01-01 00:00:00+00",
            "2026-03-29 02:30:00.5+02",
            "0001-01-01 00:00:00+00",
            "9999-12-31 23:59:59+00",
            "infinity",
            "-infinity",
            "0044-03-15 12:00:00+00 BC",
        ],
        source: "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        target: "toString({})",
        held: "{} BETWEEN '1900-01-01 00:00:00+00' AND '2299-12-31 23:59:59.999999+00'",
    },
    nasty(
        "time",
        &["00:00:00", "23:59:59.999999"],
        "(extract(epoch FROM {}) * 1000000)::bigint::text",
        "toString({})",
    ),
    nasty(
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ],
        "{}::text",
        "toString({})",
    ),
    nasty(
        "jsonb",
        &["{\"a\": [1, null, \"x\"]}", "[]", "\"text\"", "null", "12"],
        "{}::text",
        "{}",
    ),
    nasty(
        "inet",
        &["10.0.0.1", "10.0.0.0/8", "::1"],
        "format('%s', {})",
        "{}",
    ),
    nasty(
        "int[]",
        &["{}", "{1,NULL,-3}"],
        "array_to_json({})::text",
        "{}",
    ),
    nasty("numrange", &["[1.5,2.5)", "empty", "(,)"], "{}::text", "{}"),
];

/// More values of some of these types, each time others: what makes one in PostgreSQL's SQL.
const RANDOM: [(&str, &str); 13] = [
    ("bigint", "((random() - 0.5) * 1.8e19)::bigint"),
    (
        "real",
        "((random() - 0.5) * 10 ^ (random() * 70 - 35))::real",
    ),
    (
        "double precision",
        "(random() - 0.5) * 10 ^ (random() * 600 - 300)",
    ),
    (
        "numeric(18, 4)",
        "((random() - 0.5) * 10 ^ (random() * 17 - 3))::numeric(18, 4)",
    ),
    (
        "numeric",
        "((random() - 0.5)::numeric * 10::numeric ^ (random() * 80 - 40)::int)",
    ),
    (
        "text",
        "(SELECT string_agg(chr((n + random() * 50000)::int % 55000 + 1), '') FROM generate_series(1, 20) n)",
    ),
    ("bytea", "decode(md5(random()::text), 'hex')"),
    ("date", "'0001-01-01'::date + (random() * 3600000)::int"),
    (
        "timestamp",
        "'1850-01-01'::timestamp + random() * interval '500 years'",
    ),
    (
        "timestamptz",
        "'1850-01-01'::timestamptz + random() * interval '500 years'",
    ),
    ("time", "'00:00'::time + random() * interval '1 day'"),
    ("uuid", "gen_random_uuid()"),
    (
        "jsonb",
        "jsonb_build_object(md5(random()::text), random(), 'n', ARRAY[random()])",
    ),
];

/// The last statements have the server write values otherwise, in every session that comes later.
const BEFORE: &str = "
CREATE TABLE toast_default (id bigint PRIMARY KEY, doc text, meta jsonb, n int);
INSERT INTO toast_default SELECT 1, string_agg(md5(random()::text), ''), jsonb_agg(md5(random()::text)), 0 FROM generate_series(1, 400);
CREATE TABLE toast_every (id bigint PRIMARY KEY, doc text, n int);
INSERT INTO toast_every SELECT id, doc, n FROM toast_default;
CREATE TABLE emptied (id bigint PRIMARY KEY, v text);
INSERT INTO emptied SELECT n, 'x' FROM generate_series(1, 9) n;
CREATE TABLE identity_always (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text NOT NULL, total numeric(10,2) NOT NULL);
CREATE TABLE no_key (id bigint, v text);
ALTER TABLE no_key REPLICA IDENTITY FULL;
INSERT INTO no_key VALUES (1, 'a'), (1, 'a'), (2, 'b');
CREATE SCHEMA \"Sales\";
CREATE TABLE \"Sales\".\"Orders\" (\"Id\" bigint PRIMARY KEY, \"Label\" text);
INSERT INTO \"Sales\".\"Orders\" VALUES (1, 'first');
CREATE TABLE measured (id bigint, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE measured_2026 PARTITION OF measured FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO measured VALUES (1, '2026-05-01', 'snapshot');
CREATE TABLE by_uuid (id uuid PRIMARY KEY, v text);
INSERT INTO by_uuid VALUES ('0b9c3c5e-58ea-4b9b-9c7e-6c1f6a4f3d21', 'one');
CREATE TABLE by_text (code text, part text, v text, PRIMARY KEY (code, part));
INSERT INTO by_text VALUES ('a-1', 'b-2', 'one');
CREATE TABLE shaped (code bigint PRIMARY KEY, e_mail text NOT NULL, secret text, n int, \"odd name\" numeric(9, 2));
INSERT INTO shaped VALUES (1, 'a@example.com', 'hidden', 7, 1.50);
CREATE TABLE listed (id bigint PRIMARY KEY, a text, b timestamptz);
INSERT INTO listed VALUES (1, 'not here', '2026-01-02 03:04:05+00');
CREATE TABLE unbounded (id bigint PRIMARY KEY, v text NOT NULL, w double precision, n numeric(9, 2));
CREATE TABLE misnamed (id bigint PRIMARY KEY, e_mail text, email text);
CREATE TABLE lossy (id bigint PRIMARY KEY, a bigint, b int, c bigint, d text, e text, f timestamp, g date, h numeric(18,4), i timestamptz, j text);
CREATE TABLE generated (id bigint PRIMARY KEY, net numeric(12,2), gross numeric(12,2) GENERATED ALWAYS AS (net * 1.2) STORED);
CREATE TABLE by_email (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, v text);
CREATE TABLE without_key (id bigint, v text);
CREATE TABLE identity_index (id bigint PRIMARY KEY, email text NOT NULL);
CREATE UNIQUE INDEX identity_index_email ON identity_index (email);
ALTER TABLE identity_index REPLICA IDENTITY USING INDEX identity_index_email;
CREATE UNLOGGED TABLE not_logged (id bigint PRIMARY KEY, v text);
CREATE VIEW a_view AS SELECT 1::bigint AS id;
CREATE TABLE partly (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE UNLOGGED TABLE partly_low PARTITION OF partly FOR VALUES FROM (0) TO (10);
CREATE TABLE partly_high PARTITION OF partly FOR VALUES FROM (10) TO (20);
CREATE TABLE ancestor (id bigint PRIMARY KEY, v text);
CREATE TABLE heir (w text) INHERITS (ancestor);
ALTER DATABASE postgres SET IntervalStyle = 'sql_standard';
ALTER DATABASE postgres SET bytea_output = 'escape';
ALTER DATABASE postgres SET DateStyle = 'German, DMY';
ALTER DATABASE postgres SET extra_float_digits = -5;
ALTER DATABASE postgres SET TimeZone = 'Asia/Kolkata'";

const FLOWS: [(&str, &str, &str, &str); 14] = [
    ("nasty", "public.nasty", "id", ""),
    ("toast_default", "public.toast_default", "id", ""),
    ("toast_every", "public.toast_every", "id", ", keep: every"),
    ("emptied", "public.emptied", "id", ""),
    (
        "identity_always",
        "public.identity_always",
        "id",
        ", canary: {v: 'Canary {id}', total: '0'}",
    ),
    ("no_key", "public.no_key", "id", ", keep: every"),
    ("orders", "Sales.Orders", "Id", ""),
    ("measured", "public.measured", "id, day", ""),
    // Names at the source and at the target differ, the key's too.
    (
        "shaped",
        "public.shaped",
        "code",
        ", omit: [secret], override: {number: {from: code}, email: {from: e_mail}, n: Nullable(Int64), odd: {from: odd name}}, \
         canary: {e_mail: 'canary {id}'}",
    ),
    (
        "by_uuid",
        "public.by_uuid",
        "id",
        ", canary: {v: 'Canary {id}'}",
    ),
    (
        "by_text",
        "public.by_text",
        "code, part",
        ", canary: {v: 'Canary {id}', part: x-1}",
    ),
    (
        "listed",
        "public.listed",
        "id",
        ", columns: {at: {from: b}, id: {}}",
    ),
    (
        "nulled",
        "public.nulled",
        "id",
        ", unfit: null, override: {m: 'Nullable(Decimal(20, 4))'}",
    ),
    (
        "clamped",
        "public.clamped",
        "id",
        ", unfit: clamp, override: {m: 'Nullable(Decimal(20, 4))', f: {unfit: null}}",
    ),
];

/// Flows that are refused, and what is said of each.
const REFUSED: [(&str, &str, &str, &str); 11] = [
    (
        "lossy",
        "id",
        "columns: {id: Int64, a: Int32, b: UInt8, c: UInt64, d: Int64, e: UUID, f: DateTime, g: DateTime64(3), \
        h: 'Decimal(9, 2)', i: DateTime, j: String}",
        "",
    ),
    (
        "generated",
        "id",
        "columns: {id: Int64, gross: 'Nullable(Decimal(12, 2))'}",
        "sends no generated columns",
    ),
    (
        "misnamed",
        "id",
        "omit: [e_male], override: {email: {from: e_mail}, mail: {from: emial}}",
        "public.misnamed has no column `emial`",
    ),
    (
        "unbounded",
        "id",
        "override: {v: {unfit: null}, w: {unfit: clamp}, n: {unfit: clamp}}",
        "`v`: `unfit: null`, and String is not Nullable",
    ),
    ("by_email", "email", "", "use `key: [id]`"),
    ("without_key", "id", "", "has no primary key"),
    ("identity_index", "id", "", "deletes would have no id"),
    (
        "not_logged",
        "id",
        "",
        "ALTER TABLE \"public\".\"not_logged\" SET LOGGED",
    ),
    ("a_view", "id", "", "is a view"),
    (
        "partly",
        "id",
        "",
        "ALTER TABLE \"public\".\"partly_low\" SET LOGGED",
    ),
    ("ancestor", "id", "", "tables inherit from public.ancestor"),
];

pub(crate) fn flow(name: &str, table: &str, key: &str, more: &str) -> String {
    let keep = if more.contains("keep:") {
        ""
    } else {
        ", keep: latest"
    };
    format!(
        "  {name}: {{connector: pg, table: {table}, key: [{key}], group: g_{name}{keep}{more}}}\n"
    )
}

pub(crate) async fn run(session: &Postgres, sql: &str) {
    session
        .execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The nasty table: each row has one value, the others are NULL.
async fn make_nasty(session: &Postgres) {
    let columns: Vec<String> = ALL
        .iter()
        .enumerate()
        .map(|(at, it)| format!("c{at} {}", it.kind))
        .collect();
    run(
        session,
        &format!(
            "CREATE TABLE nasty (id bigint PRIMARY KEY, {})",
            columns.join(", ")
        ),
    )
    .await;
    let mut id = 0;
    for (at, nasty) in ALL.iter().enumerate() {
        for value in nasty.values {
            id += 1;
            let value = value.replace('\'', "''");
            run(
                session,
                &format!("INSERT INTO nasty (id, c{at}) VALUES ({id}, '{value}')"),
            )
            .await;
        }
    }
    let seed = f64::from(std::process::id() % 10_000) / 10_000.0;
    eprintln!("random values of the seed {seed}");
    run(session, &format!("SELECT setseed({seed})")).await;
    for (kind, value) in RANDOM {
        let at = ALL.iter().position(|it| it.kind == kind).expect("a type");
        let first = id + 1;
        id += 20;
        let rows = format!(
            "INSERT INTO nasty (id, c{at}) SELECT n, {value} FROM generate_series({first}, {id}) n"
        );
        run(session, &rows).await;
    }
}

pub(crate) fn texts(rows: Vec<Row>) -> Vec<String> {
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".into());
    let rows = rows.into_iter();
    rows.map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join("|"))
        .collect()
}

/// Waits until a query of the target gives what is wanted.
pub(crate) async fn until(sandbox: &Sandbox, sql: &str, wanted: &[String]) {
    until_within(sandbox, Duration::from_secs(60), sql, wanted).await;
}

pub(crate) async fn until_within(
    sandbox: &Sandbox,
    patience: Duration,
    sql: &str,
    wanted: &[String],
) {
    let begin = Instant::now();
    loop {
        let found = sandbox.clickhouse().text(sql).await.unwrap();
        let found: Vec<&str> = found.lines().collect();
        if found == wanted {
            return;
        }
        assert!(
            begin.elapsed() < patience,
            "{sql}\nfound  {found:#?}\nwanted {wanted:#?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every value is there as it is at the source, or its row is in the errors with the column.
async fn nasty_is_right(sandbox: &Sandbox, session: &Postgres) {
    for (at, nasty) in ALL.iter().enumerate() {
        let column = format!("c{at}");
        let of = |text: &str| text.replace("{}", &column);
        let (source, held) = (of(nasty.source), of(nasty.held));
        let rows = format!(
            "SELECT id, {source} FROM nasty WHERE {column} IS NOT NULL AND {held} ORDER BY id"
        );
        let rows = texts(session.query(&rows).await.unwrap());
        let sql = format!(
            "SELECT concat(toString(id), '|', {}) FROM nasty_silver FINAL WHERE isNotNull({column}) ORDER BY id FORMAT TSVRaw",
            of(nasty.target)
        );
        until(sandbox, &sql, &rows).await;
        let lost =
            format!("SELECT id FROM nasty WHERE {column} IS NOT NULL AND NOT ({held}) ORDER BY id");
        let lost = texts(session.query(&lost).await.unwrap());
        let sql = format!(
            "SELECT JSONExtractInt(raw, 'after', 'id') AS id FROM nasty_errors FINAL \
             WHERE startsWith(reason, 'column {column}: no value of ') ORDER BY id FORMAT TSVRaw"
        );
        until(sandbox, &sql, &lost).await;
    }
    // Nothing else is held back.
    let wrong =
        "SELECT reason FROM nasty_errors WHERE NOT match(reason, '^column c[0-9]+: no value of ')";
    until(sandbox, wrong, &[]).await;
    reconciled(sandbox, session).await;
}

/// `reconcile` names the rows that are held back as missing, and no other: all types are compared, whatever the
/// server's settings say of how they are written.
async fn reconciled(sandbox: &Sandbox, session: &Postgres) {
    let held = ALL.iter().enumerate().map(|(at, it)| {
        let column = format!("c{at}");
        format!("({column} IS NULL OR {})", it.held.replace("{}", &column))
    });
    let held: Vec<String> = held.collect();
    let lost = format!(
        "SELECT id FROM nasty WHERE NOT ({}) ORDER BY id::text",
        held.join(" AND ")
    );
    let lost = texts(session.query(&lost).await.unwrap());
    let report = sandbox.json(&["reconcile", "nasty"]);
    let table = &report["tables"][0];
    assert_eq!(table["not_compared"], serde_json::json!([]), "{table:#}");
    assert_eq!(
        (&table["extra_rows"], &table["changed_rows"]),
        (&0.into(), &0.into()),
        "{table:#}"
    );
    let differences = table["differences"].as_array().unwrap().iter();
    let mut missing: Vec<&str> = differences
        .map(|it| it["key"][0].as_str().unwrap())
        .collect();
    missing.sort_unstable();
    assert_eq!(missing, lost, "{table:#}");
    assert_eq!(table["held_back"], lost.len(), "{table:#}");
}

#[tokio::test]
async fn values_arrive_or_are_held_back_and_tables_that_cannot_are_refused() {
    let mut sandbox = Sandbox::new("own");
    sandbox.ports.retain(|key, _| *key != "mongodb.port");
    let head = "postgres: {schema: []}\nconnectors:\n  pg: {source: postgres, prefix: own, slot: own, publication: own, config: {}}\nflows:\n";
    let flows: String = FLOWS
        .iter()
        .map(|(name, table, key, more)| flow(name, table, key, more))
        .collect();
    let profile = sandbox
        .dir()
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("own.yaml");
    let good = format!("{head}{flows}");
    std::fs::write(&profile, &good).unwrap();
    sandbox.profile = Some(profile.clone());
    let missing = sandbox.fails(&["up"], 1);
    assert!(
        missing.contains("there is no table Sales.Orders at the source"),
        "{missing}"
    );
    let session = sandbox.postgres().await;
    run(&session, BEFORE).await;
    run(&session, &unfit::before()).await;
    make_nasty(&session).await;

    // All that is wrong is said at once, and nothing is made.
    let refused: String = REFUSED
        .iter()
        .map(|(name, key, more, _)| {
            let more = if more.is_empty() {
                String::new()
            } else {
                format!(", {more}")
            };
            flow(name, &format!("public.{name}"), key, &more)
        })
        .collect();
    std::fs::write(&profile, format!("{good}{refused}")).unwrap();
    let said = sandbox.fails(&["up"], 1);
    for (name, _, _, why) in REFUSED {
        let of_flow = said
            .lines()
            .any(|line| line.contains("own.yaml:") && line.contains(&format!("flow `{name}`")));
        assert!(of_flow && said.contains(why), "{name}: {why}\n{said}");
    }
    for right in [
        "Nullable(Int64)",
        "Nullable(Int32)",
        "Nullable(String)",
        "Nullable(DateTime64(6))",
        "Nullable(Date32)",
        "Nullable(Decimal(18, 4))",
    ] {
        assert!(
            said.contains(&format!("declare it as {right}")),
            "{right}\n{said}"
        );
    }
    for of_columns in [
        "public.misnamed has no column `e_male`",
        "did you mean `e_mail`?",
        "did you mean `email`?",
        "declare it as Nullable(String)",
        "`w`: `unfit: clamp`, and Nullable(Float64) has no bounds",
        "the columns `e_mail` and `email` of public.misnamed would both be `email`",
    ] {
        assert!(said.contains(of_columns), "{of_columns}\n{said}");
    }
    let lossy = said
        .lines()
        .filter(|line| line.starts_with("error: ") && line.contains("flow `lossy`: `"));
    assert_eq!(lossy.count(), 10, "{said}");
    let made = sandbox
        .clickhouse()
        .text("SELECT count() FROM system.tables WHERE database = 'default'")
        .await;
    assert_eq!(made.unwrap().trim(), "0");
    let published = session
        .query("SELECT pubname FROM pg_publication")
        .await
        .unwrap();
    assert_eq!(published, Vec::<Row>::new());
    std::fs::write(&profile, &good).unwrap();

    sandbox.ok(&["up"]);
    let again = sandbox.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    let verify = sandbox.json(&["verify"]);
    assert_eq!(verify["proofs"][0]["flow"], "identity_always", "{verify}");
    // What has no canary is said, and is no failure.
    let not_proven = verify["not_proven"].as_array().unwrap();
    assert_eq!(verify["proofs"][3]["flow"], "shaped", "{verify}");
    assert_eq!(verify["proofs"][6]["flow"], "by_uuid", "{verify}");
    assert_eq!(verify["proofs"][9]["flow"], "by_text", "{verify}");
    assert_eq!(not_proven.len(), FLOWS.len() - 4, "{verify}");
    // The canaries are told from rows with such keys in the topic, too.
    sandbox.ok(&["verify", "--latency", "2"]);
    for flow in ["by_uuid", "by_text"] {
        let left =
            format!("SELECT count() FROM {flow}_silver WHERE v LIKE 'Canary%' FORMAT TSVRaw");
        until(&sandbox, &left, &["0".to_owned()]).await;
    }
    nasty_is_right(&sandbox, &session).await;
    // The stream writes what the snapshot wrote.
    run(&session, "CREATE TEMPORARY TABLE again AS SELECT * FROM nasty; UPDATE again SET id = id + 1000; INSERT INTO nasty SELECT * FROM again").await;
    nasty_is_right(&sandbox, &session).await;

    unfit::is_right(&sandbox, &session).await;

    // A long value that an update left alone is not in the log.
    run(&session, "UPDATE toast_default SET n = 1").await;
    let long = session
        .query("SELECT n, md5(doc), length(meta::text) FROM toast_default")
        .await
        .unwrap();
    let sql = "SELECT concat(toString(n), '|', lower(hex(MD5(doc))), '|', toString(length(meta))) FROM toast_default_silver FINAL FORMAT TSVRaw";
    until(&sandbox, sql, &texts(long)).await;
    run(&session, "UPDATE toast_every SET n = 1").await;
    until(
        &sandbox,
        "SELECT reason FROM toast_every_errors FORMAT TSVRaw",
        &["column doc: unchanged, and the source's log does not have it".into()],
    )
    .await;
    // An emptied table is empty, but for what came after, in the same transaction too.
    run(&session, "BEGIN; INSERT INTO emptied VALUES (50, 'gone'); TRUNCATE emptied; INSERT INTO emptied VALUES (100, 'after'), (3, 'again'); COMMIT").await;
    let live = "SELECT concat(toString(id), '|', v) FROM emptied_silver FINAL WHERE is_deleted = 0 ORDER BY id FORMAT TSVRaw";
    until(&sandbox, live, &["3|again".into(), "100|after".into()]).await;
    // Partitions' changes are their table's.
    run(&session, "INSERT INTO measured VALUES (2, '2026-06-01', 'streamed'); \
        CREATE TABLE measured_2027 PARTITION OF measured FOR VALUES FROM ('2027-01-01') TO ('2028-01-01'); \
        INSERT INTO measured VALUES (3, '2027-01-01', 'new')").await;
    until(
        &sandbox,
        "SELECT v FROM measured_silver FINAL ORDER BY id FORMAT TSVRaw",
        &["snapshot", "streamed", "new"].map(str::to_owned),
    )
    .await;
    run(
        &session,
        "INSERT INTO \"Sales\".\"Orders\" VALUES (2, 'second')",
    )
    .await;
    until(
        &sandbox,
        "SELECT Label FROM orders_silver FINAL ORDER BY Id FORMAT TSVRaw",
        &["first", "second"].map(str::to_owned),
    )
    .await;
    run(&session, "DELETE FROM no_key WHERE id = 2").await;
    until(
        &sandbox,
        "SELECT concat(toString(id), v, _op) FROM no_key_silver ORDER BY _offset FORMAT TSVRaw",
        &["1ar", "1ar", "2br", "2bd"].map(str::to_owned),
    )
    .await;

    run(
        &session,
        "INSERT INTO shaped VALUES (2, 'b@example.com', 'hidden', NULL, NULL); \
         UPDATE shaped SET n = 8 WHERE code = 1; \
         INSERT INTO listed VALUES (2, 'not here', NULL)",
    )
    .await;
    until(
        &sandbox,
        "SELECT concat(toString(number), email, '|', toString(n), '|', toString(odd)) AS row \
         FROM (SELECT * REPLACE (ifNull(n, 0) AS n, ifNull(odd, 0) AS odd) FROM shaped_silver FINAL WHERE is_deleted = 0) \
         ORDER BY row FORMAT TSVRaw",
        &["1a@example.com|8|1.5", "2b@example.com|0|0"].map(str::to_owned),
    )
    .await;
    until(
        &sandbox,
        "SELECT concat(toString(id), '|', ifNull(toString(at), 'NULL')) FROM listed_silver FINAL ORDER BY id FORMAT TSVRaw",
        &["1|2026-01-02 03:04:05.000000", "2|NULL"].map(str::to_owned),
    )
    .await;
    let columns = "SELECT table, name, type FROM system.columns WHERE table IN ('shaped_silver', 'listed_silver') \
         AND name NOT LIKE '\\_%' AND name != 'is_deleted' ORDER BY table, position FORMAT TSVRaw";
    until(
        &sandbox,
        columns,
        &[
            "listed_silver\tat\tNullable(DateTime64(6))",
            "listed_silver\tid\tInt64",
            "shaped_silver\tnumber\tInt64",
            "shaped_silver\temail\tString",
            "shaped_silver\tn\tNullable(Int64)",
            "shaped_silver\todd\tNullable(Decimal(9, 2))",
        ]
        .map(str::to_owned),
    )
    .await;
    let shown = sandbox.json(&["flow", "show", "shaped"]);
    let columns = &shown["flows"][0]["columns"];
    assert_eq!(columns[0]["called"], "number", "{shown}");
    assert_eq!(columns[2]["name"], "secret", "{shown}");
    assert_eq!(columns[2]["target"], Value::Null, "{shown}");
    let listed = sandbox.ok(&["flow", "show", "shaped"]);
    for line in ["email String", "none: left out"] {
        assert!(listed.contains(line), "{listed}");
    }

    joins_later(&sandbox, &session, &profile, &good).await;
}

/// What silver shows of `joins_later`, as one text.
const JOINED: &str = "SELECT lower(hex(MD5(arrayStringConcat(groupArray(concat(toString(id), v)), ',')))) \
    FROM (SELECT id, v FROM joins_later_silver FINAL WHERE is_deleted = 0 ORDER BY id) FORMAT TSVRaw";

async fn joined_is_equal(sandbox: &Sandbox, session: &Postgres) {
    let all = "SELECT md5(string_agg(id || v, ',' ORDER BY id)) FROM joins_later";
    let wanted = texts(session.query(all).await.unwrap());
    until(sandbox, JOINED, &wanted).await;
}

async fn read_rows(sandbox: &Sandbox) -> String {
    let rows = "SELECT count() FROM joins_later_silver WHERE _op = 'r' FORMAT TSVRaw";
    sandbox.clickhouse().text(rows).await.unwrap()
}

/// A table joins while the others stream and it is changed itself, through kills of `up` and of Connect; leaves and
/// comes back; and is read again.
async fn joins_later(
    sandbox: &Sandbox,
    session: &Postgres,
    profile: &std::path::Path,
    without: &str,
) {
    run(
        session,
        "CREATE TABLE joins_later (id bigint PRIMARY KEY, v text); \
        INSERT INTO joins_later SELECT n, 'old' FROM generate_series(1, 50000) n",
    )
    .await;
    let with = format!(
        "{without}{}",
        flow("joins_later", "public.joins_later", "id", "")
    );
    std::fs::write(profile, &with).unwrap();
    let load = sandbox.postgres().await;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(async move {
        let mut n = 0;
        while !*stopped.borrow_and_update() {
            n += 1;
            run(
                &load,
                &format!("UPDATE joins_later SET v = 'changed {n}' WHERE id % 5000 = {n}"),
            )
            .await;
            run(
                &load,
                &format!("DELETE FROM joins_later WHERE id % 5000 = {n} + 1000"),
            )
            .await;
            run(&load, &format!("INSERT INTO joins_later VALUES (60000 + {n}, 'new'); INSERT INTO emptied VALUES (1000 + {n}, 'other')")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        n
    });
    let mut up = sandbox.spawn(&["up"]);
    let begin = Instant::now();
    // Some rows have come, and most have not.
    while sandbox
        .clickhouse()
        .text("SELECT count() > 0 FROM joins_later_silver WHERE _op = 'r' FORMAT TSVRaw")
        .await
        .unwrap_or_default()
        .trim()
        != "1"
    {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "no row of the table comes"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    crate::sandbox::kill(up.id());
    up.wait().unwrap();
    let status = sandbox.json(&["status"]).to_string();
    assert!(status.contains("public.joins_later"), "{status}");
    sandbox.kill("connect");
    sandbox.ok(&["up"]);
    stop.send(true).unwrap();
    let changes = load.await.unwrap();
    joined_is_equal(sandbox, session).await;
    // The others went on.
    let others = format!(
        "SELECT count() FROM emptied_silver FINAL WHERE id > 1000 AND is_deleted = 0 HAVING count() = {changes} FORMAT TSVRaw"
    );
    until(sandbox, &others, &[changes.to_string()]).await;
    let read = read_rows(sandbox).await;
    let again = sandbox.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    assert_eq!(read_rows(sandbox).await, read, "it was read once more");

    // What happened while it was away is found out when it comes back.
    std::fs::write(profile, without).unwrap();
    sandbox.ok(&["up"]);
    run(session, "DELETE FROM joins_later WHERE id % 3 = 0; UPDATE joins_later SET v = 'away' WHERE id % 7 = 0").await;
    std::fs::write(profile, &with).unwrap();
    sandbox.ok(&["up"]);
    joined_is_equal(sandbox, session).await;

    // What the target has lost is read again.
    let lose = "DELETE FROM joins_later_silver WHERE id < 1000";
    sandbox.clickhouse().text(lose).await.unwrap();
    let args = [
        "connector",
        "snapshot",
        "pg",
        "--tables",
        "public.joins_later",
    ];
    let dry = sandbox.ok(&[&args[..], &["--dry-run"]].concat());
    assert!(
        dry.contains("would have pg read public.joins_later"),
        "{dry}"
    );
    let unknown = sandbox.fails(
        &[
            "connector",
            "snapshot",
            "pg",
            "--tables",
            "public.joins_latr",
        ],
        3,
    );
    assert!(
        unknown.contains("did you mean `public.joins_later`"),
        "{unknown}"
    );
    sandbox.ok(&args);
    joined_is_equal(sandbox, session).await;
}
