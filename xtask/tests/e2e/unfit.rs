//! Values that a column's type cannot hold, where a flow says what becomes of them: in the environment of
//! [`crate::own_tables`].

use xtask::clients::answer::Row;
use xtask::clients::postgres::Postgres;

use crate::own_tables::{texts, until};
use crate::sandbox::Sandbox;

const COLUMNS: &str = "(id bigint PRIMARY KEY, n numeric(18, 2), m numeric, tz timestamptz, ts timestamp, ts3 timestamp(3), d date, \
     f double precision)";

/// The case `special-values`, and what is at a bound or just beyond it.
const ROWS: &str = "(1, 'NaN', 'NaN', 'infinity', 'infinity', 'infinity', 'infinity', 'NaN'), \
    (2, 0.01, 1234567890123456789012345.67, '-infinity', '-infinity', '-infinity', '-infinity', '-Infinity'), \
    (3, -0.01, 1e-12, '9999-12-31 23:59:59+00', '9999-12-31 23:59:59', '9999-12-31 23:59:59', '9999-12-31', 5e-324), \
    (4, 0, 0, '0001-01-01 00:00:00+00', '0001-01-01', '0001-01-01', '0001-01-01', 1e308), \
    (5, 1, 1, '1850-06-01 00:00:00+00', '1850-06-01', '1850-06-01', '1850-06-01', 0), \
    (6, NULL, 'Infinity', 'infinity', 'infinity', '-infinity', '0044-03-15 BC', NULL), \
    (7, NULL, '-Infinity', '-infinity', '-infinity', 'infinity', '15000-03-15', NULL), \
    (8, NULL, 9999999999999999.99991, '0044-03-15 12:00:00+00 BC', '0044-03-15 12:00:00 BC', NULL, '1899-12-31', NULL), \
    (9, NULL, -99999999999999999.9999, '15000-03-15 12:00:00+00', '15000-03-15 12:00:00', NULL, '2300-01-01', NULL), \
    (10, NULL, -1e40, '1899-12-31 23:59:59.999999+00', '1899-12-31 23:59:59.999999', '1899-12-31 23:59:59.999', NULL, NULL), \
    (11, NULL, 1e16, '2300-01-01 00:00:00+00', '2300-01-01', '2300-01-01', '1900-01-01', NULL), \
    (12, NULL, 9999999999999999.9999, '1900-01-01 00:00:00+00', '1900-01-01', '1900-01-01', '2299-12-31', NULL), \
    (13, NULL, -1, '2299-12-31 23:59:59.999999+00', '2299-12-31 23:59:59.999999', '2299-12-31 23:59:59.999', NULL, NULL)";

/// What makes the tables.
pub(crate) fn before() -> String {
    let table =
        |name: &str| format!("CREATE TABLE {name} {COLUMNS}; INSERT INTO {name} VALUES {ROWS};\n");
    format!("{}{}", table("nulled"), table("clamped"))
}

/// The same in its row's error, where neither bound is nearer.
const NO_BOUND: &str = "n = 'NaN' OR m = 'NaN' OR isfinite(d) = false OR (abs(m) <= 9999999999999999.9999 AND scale(trim_scale(m)) > 4)";

/// Values between a type's bounds, and the bounds.
const HELD: [(&str, &str, &str); 5] = [
    ("m", "-9999999999999999.9999", "9999999999999999.9999"),
    (
        "tz",
        "'1900-01-01 00:00:00+00'",
        "'2299-12-31 23:59:59.999999+00'",
    ),
    ("ts", "'1900-01-01'", "'2299-12-31 23:59:59.999999'"),
    ("ts3", "'1900-01-01'", "'2299-12-31 23:59:59.999'"),
    ("d", "'1900-01-01'", "'2299-12-31'"),
];

/// A column as the target writes it.
fn written(column: &str, value: &str) -> String {
    match column {
        "m" | "n" => format!("trim_scale({value})::text"),
        "tz" => format!("to_char({value} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
        "ts" => format!("to_char({value}, 'YYYY-MM-DD HH24:MI:SS.US')"),
        "ts3" => format!("to_char({value}, 'YYYY-MM-DD HH24:MI:SS.MS')"),
        _ => format!("({value})::text"),
    }
}

/// The rows of both tables are as their flows say, by snapshot and by stream.
pub(crate) async fn is_right(sandbox: &Sandbox, session: &Postgres) {
    rows_are_right(sandbox, session).await;
    for table in ["nulled", "clamped"] {
        let again =
            format!("INSERT INTO {table} SELECT id + 100, n, m, tz, ts, ts3, d, f FROM {table}");
        session.execute(&again).await.unwrap();
    }
    rows_are_right(sandbox, session).await;
    documents_are_judged(sandbox).await;
}

async fn rows_are_right(sandbox: &Sandbox, session: &Postgres) {
    let asked = async |sql: String| -> Vec<String> {
        let rows: Vec<Row> = session
            .query(&sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        texts(rows)
    };
    for (column, least, greatest) in HELD {
        let nulled = match column {
            "m" => format!("m BETWEEN {least} AND {greatest} AND scale(trim_scale(m)) <= 4"),
            _ => format!("{column} BETWEEN {least} AND {greatest}"),
        };
        let nulled = format!("CASE WHEN {nulled} THEN {} END", written(column, column));
        let rows = format!("SELECT id, {nulled} FROM nulled ORDER BY id");
        let found = |table: &str| {
            format!(
                "SELECT concat(toString(id), '|', ifNull(toString({column}), 'NULL')) \
                 FROM {table}_silver FINAL ORDER BY id FORMAT TSVRaw"
            )
        };
        until(sandbox, &found("nulled"), &asked(rows).await).await;
        let clamped = format!(
            "CASE WHEN {column} IS NOT NULL THEN least(greatest({column}, {least}), {greatest}) END"
        );
        let rows = format!(
            "SELECT id, {} FROM clamped WHERE ({NO_BOUND}) IS NOT TRUE ORDER BY id",
            written(column, &clamped)
        );
        until(sandbox, &found("clamped"), &asked(rows).await).await;
    }
    let rows =
        "SELECT id, CASE WHEN n <> 'NaN' THEN trim_scale(n)::text END FROM nulled ORDER BY id";
    let found = "SELECT concat(toString(id), '|', ifNull(toString(n), 'NULL')) FROM nulled_silver FINAL ORDER BY id FORMAT TSVRaw";
    until(sandbox, found, &asked(rows.to_owned()).await).await;
    // A float holds all of its own.
    let floats = "SELECT count() FROM nulled_silver FINAL WHERE isNaN(f) OR f = -inf FORMAT TSVRaw";
    let count =
        asked("SELECT count(*) FROM nulled WHERE f IN ('NaN', '-Infinity')".to_owned()).await;
    until(sandbox, floats, &count).await;
    until(
        sandbox,
        "SELECT reason FROM nulled_errors FORMAT TSVRaw",
        &[],
    )
    .await;
    let lost = format!("SELECT id FROM clamped WHERE {NO_BOUND} ORDER BY id");
    let found = "SELECT JSONExtractInt(raw, 'after', 'id') AS id FROM clamped_errors FINAL ORDER BY id FORMAT TSVRaw";
    until(sandbox, found, &asked(lost).await).await;
}

/// A field's type and value in a document, and what it becomes with `null` and with `clamp`: a text, or none for an error.
const FIELDS: &[(&str, &str, &str, Option<&str>)] = &[
    ("Int8", "300", "NULL", Some("127")),
    ("Int8", "1.5", "NULL", None),
    (
        "Int8",
        r#"{"$numberDouble": "-Infinity"}"#,
        "NULL",
        Some("-128"),
    ),
    ("UInt16", "-0.5", "NULL", Some("0")),
    (
        "Int64",
        r#"{"$numberDecimal": "9223372036854775808"}"#,
        "NULL",
        Some("9223372036854775807"),
    ),
    (
        "Int64",
        r#"{"$numberDecimal": "9223372036854775806.5"}"#,
        "NULL",
        None,
    ),
    ("Decimal(5, 2)", "-999.991", "NULL", Some("-999.99")),
    ("Decimal(5, 2)", "0.001", "NULL", None),
    (
        "Date",
        r#"{"$date": 253402300799999}"#,
        "NULL",
        Some("2149-06-06"),
    ),
    (
        "DateTime64(3)",
        r#""9999-06-01T00:00:00+02:00""#,
        "NULL",
        Some("2299-12-31 23:59:59.999"),
    ),
    // 1900 in UTC.
    (
        "DateTime64(3)",
        r#""1899-12-31T23:30:00-01:00""#,
        "NULL",
        None,
    ),
    (
        "DateTime64(6)",
        r#"{"$date": {"$numberLong": "9223372036854775807"}}"#,
        "NULL",
        Some("2299-12-31 23:59:59.999999"),
    ),
];

/// What the statements of a flow of documents make of each, as the engine runs them: no server of documents is there.
async fn documents_are_judged(sandbox: &Sandbox) {
    // A few at a time: the engine reads a long statement slowly.
    let parts = FIELDS.chunks(4);
    let modes = ["null", "clamp"].into_iter();
    for (unfit, fields) in modes.flat_map(|unfit| parts.clone().map(move |it| (unfit, it))) {
        let names = fields.iter().enumerate();
        let columns: Vec<String> = names
            .clone()
            .map(|(at, (kind, ..))| format!("c{at}: 'Nullable({kind})'"))
            .collect();
        let profile = sandbox.dir().join("documents.yaml");
        let text = format!(
            "connectors: {{docs: {{source: mongodb, prefix: docs, config: {{}}}}}}\nflows:\n  judged: {{connector: docs, \
             table: shop.judged, keep: every, key: [_id], group: g, unfit: {unfit}, columns: {{_id: String, {}}}}}\n",
            columns.join(", ")
        );
        std::fs::write(&profile, text).unwrap();
        let dir = sandbox.dir().join("rendered");
        let profile = profile.to_str().unwrap();
        let args = [
            "render",
            "--profile",
            profile,
            "--platform",
            "kind",
            "--dir",
        ];
        let done = xtask_alone(&args, dir.to_str().unwrap());
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let statements = std::fs::read_to_string(dir.join("clickhouse/judged.sql")).unwrap();
        let select = statements
            .rsplit_once(" AS\n")
            .map(|(_, it)| it.trim_end().trim_end_matches(';'));
        let select = select.unwrap();
        let (_, topic) = select.split_once("WHERE _topic = ").unwrap();
        let (topic, _) = topic.split_once(' ').unwrap();
        let messages: Vec<String> = names
            .map(|(at, (_, value, ..))| {
                let after = format!(r#"{{"_id": "{at}", "c{at}": {value}}}"#);
                let raw = serde_json::json!({"op": "c", "after": after, "source": {"ts_ms": 1, "ord": 1}});
                let raw = raw.to_string().replace('\\', "\\\\").replace('\'', "\\'");
                format!("('{raw}', {at})")
            })
            .collect();
        let values: Vec<String> = (1..=fields.len())
            .map(|at| format!("toString(_v{at})"))
            .collect();
        let sql = format!(
            "SELECT if(reason = '', ifNull([{}][_offset + 1], 'NULL'), reason) FROM ({}) ORDER BY _offset FORMAT TSVRaw",
            values.join(", "),
            select.replace(
                "`judged_queue`",
                &format!(
                    "(SELECT raw, '' AS _key, '' AS _error, {topic} AS _topic, 0 AS _partition, toUInt64(at) AS _offset \
                     FROM values('raw String, at UInt64', {}))",
                    messages.join(", ")
                )
            )
        );
        let found = sandbox
            .clickhouse()
            .text(&sql)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sql}"));
        let wanted: Vec<String> = fields
            .iter()
            .enumerate()
            .map(|(at, (kind, _, null, clamped))| {
                let error = format!("column c{at}: no value of {kind}");
                match (unfit, *null, clamped) {
                    ("null", null, _) => null.to_owned(),
                    ("clamp", _, Some(clamped)) => (*clamped).to_owned(),
                    _ => error,
                }
            })
            .collect();
        let found: Vec<&str> = found.lines().collect();
        for (field, (found, wanted)) in fields.iter().zip(found.iter().zip(&wanted)) {
            assert_eq!(found, wanted, "unfit: {unfit}, {field:?}");
        }
        assert_eq!(found.len(), wanted.len());
    }
}

/// The tool without an environment.
fn xtask_alone(args: &[&str], last: &str) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(args)
        .arg(last)
        .output()
        .expect("the tool starts")
}
