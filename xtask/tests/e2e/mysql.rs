//! MySQL's rows, driven through Debezium's real connector into ClickHouse. `CDC_TEST_MYSQLD` names a directory
//! with a `mysqld`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xtask::clients::mysql::{Mysql, MysqlError};
use xtask::platform::{Endpoint, Secret};

use crate::own_tables::until;
use crate::ports;
use crate::sandbox::Sandbox;

pub const PORT: &str = "mysql.port";

async fn session(sandbox: &Sandbox, user: &str, component: &str) -> Mysql {
    let password = Secret::new(sandbox.password(component));
    let at = Endpoint::loopback(sandbox.ports[PORT]).login(user, password);
    Mysql::connect(&at).await.expect("a session")
}

pub async fn source(sandbox: &Sandbox) -> Mysql {
    session(sandbox, "root", "mysql").await
}

/// Waits until silver has the source's rows and no others, and returns them.
pub async fn same(sandbox: &Sandbox) -> Vec<String> {
    let source = source(sandbox).await;
    let begin = Instant::now();
    loop {
        let there = source
            .query(
                "SELECT concat_ws('|', customer_id, full_name, email, \
                 date_format(created_at, '%Y-%m-%d %H:%i:%s.%f')) \
                 FROM shop.customers ORDER BY customer_id",
            )
            .await
            .unwrap();
        let there: Vec<String> = there
            .into_iter()
            .map(|row| row[0].clone().unwrap())
            .collect();
        let here = sandbox
            .clickhouse()
            .text(
                "SELECT concat(toString(customer_id), '|', full_name, '|', email, '|', toString(created_at)) \
                 FROM customers_silver FINAL WHERE is_deleted = 0 ORDER BY customer_id FORMAT TSVRaw",
            )
            .await
            .unwrap();
        let here: Vec<String> = here.lines().map(str::to_owned).collect();
        if there == here {
            return there;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "source {there:#?}\nsilver {here:#?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Values of MySQL's types, some of them nasty.
const TYPES: &str = "CREATE TABLE shop.compared (id bigint unsigned, part varchar(20) CHARACTER SET latin1, b bit(1), i tinyint, u int unsigned, \
    y year, d decimal(18, 4), f float, g double, t text, c char(5), e enum('a', 'it''s'), day date, at datetime(6), ts timestamp(3) NULL, \
    span time(6), bin varbinary(200), PRIMARY KEY (id, part)); \
    INSERT INTO shop.compared VALUES \
    (1, 'ä', b'1', -128, 4294967295, 2024, -0.0100, 0.1, 0.1, 'tab\\t|~', 'a ', 'it''s', '2024-02-29', '1969-12-31 23:59:59.999999', '2024-01-01 00:00:00.123', '-01:00:00.5', x'00ff'), \
    (2, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
    (3, '~', b'0', 0, 0, 1901, 12345678901234.5678, 1677.5129, 1e300, '', '', 'a', '1900-01-01', '2299-12-31 23:59:59.999999', '2038-01-01 00:00:00', '838:59:59', repeat(x'5c0a', 90)), \
    (18446744073709551615, 'z', b'0', 1, 1, 2000, 1, -1.5, 5e-324, '🦀', 'b', 'a', '2299-12-31', '1900-01-01', NULL, '00:00:00', '')";

#[tokio::test]
#[ignore = "needs CDC_TEST_MYSQLD=DIR with a `mysqld`"]
async fn rows_of_mysql_are_compared() {
    let mut sandbox = Sandbox::new("mysql-reconcile");
    let profile = sandbox.state().join("mysql.yaml");
    std::fs::write(&profile, "extends: mysql\n").unwrap();
    sandbox.profile = Some(profile.clone());
    sandbox.programs = Some(PathBuf::from(std::env::var_os("CDC_TEST_MYSQLD").unwrap()));
    sandbox
        .ports
        .retain(|key, _| !["postgres.port", "mongodb.port"].contains(key));
    sandbox.ports.insert(PORT, ports::free(21_000));
    sandbox.ok(&["up"]);
    let session = source(&sandbox).await;
    session.execute(TYPES).await.unwrap();
    let more = "extends: mysql\nflows:\n  compared: {connector: mysql-connector, table: shop.compared, keep: latest, key: [id, part], group: ch_compared}\n";
    std::fs::write(&profile, more).unwrap();
    // A snapshot would round it.
    let refused = sandbox.fails(&["up"], 1);
    let next = "ALTER TABLE `shop`.`compared` MODIFY `f` double";
    assert!(refused.contains(next), "{refused}");
    session.execute(next).await.unwrap();
    sandbox.ok(&["up"]);
    sandbox.ok(&["reset-connector", "mysql-connector", "--yes"]);
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    assert_eq!(report["tables"][1]["source_count"], 4, "{report:#}");
    assert_eq!(
        report["tables"][1]["not_compared"],
        serde_json::json!([]),
        "{report:#}"
    );
    session
        .execute("UPDATE shop.compared SET t = concat(t, '!'), part = 'new' WHERE id = 3; DELETE FROM shop.compared WHERE id = 2")
        .await
        .unwrap();
    let report = sandbox.json(&["reconcile"]);
    assert_eq!(report["status"], "PASS", "{report:#}");
    let client = sandbox.clickhouse();
    for sql in [
        "DELETE FROM compared_silver WHERE id = 1",
        "INSERT INTO compared_silver SELECT * REPLACE(addMicroseconds(at, -1) AS at) FROM (SELECT * FROM compared_silver FINAL WHERE id = 3 AND is_deleted = 0)",
    ] {
        client.text(sql).await.unwrap();
    }
    let report = sandbox.json(&["reconcile", "compared"]);
    let table = &report["tables"][0];
    assert_eq!(
        (
            &table["missing_rows"],
            &table["changed_rows"],
            &table["extra_rows"]
        ),
        (&1.into(), &1.into(), &0.into()),
        "{table:#}"
    );
    assert_eq!(table["differences"][0]["key"][1], "ä", "{table:#}");
}

#[tokio::test]
#[ignore = "needs CDC_TEST_MYSQLD=DIR with a `mysqld`"]
async fn rows_of_mysql_reach_silver() {
    let mut sandbox = Sandbox::new("mysql");
    let profile = sandbox.dir().with_file_name("mysql.yaml");
    std::fs::create_dir_all(profile.parent().unwrap()).unwrap();
    std::fs::write(&profile, "extends: mysql\n").unwrap();
    sandbox.profile = Some(profile.clone());
    sandbox.programs = Some(PathBuf::from(std::env::var_os("CDC_TEST_MYSQLD").unwrap()));
    sandbox
        .ports
        .retain(|key, _| !["postgres.port", "mongodb.port"].contains(key));
    sandbox.ports.insert(PORT, ports::free(21_000));
    sandbox.ok(&["up"]);
    assert_eq!(same(&sandbox).await.len(), 3);
    let again = sandbox.json(&["up"]);
    assert_eq!(again["counts"]["changed"], 0, "{again}");
    let verify = sandbox.json(&["verify"]);
    let changes: Vec<&str> = verify["proofs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|proof| proof["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["insert", "update", "delete"], "{verify}");
    let valid = sandbox.ok(&["connector", "validate", "mysql-connector"]);
    assert_eq!(valid, "mysql-connector: valid\n");
    let lag = sandbox.json(&["lag"]);
    assert!(lag["flows"][0]["binlog"]["unread"].is_u64(), "{lag:#}");

    for change in [
        r"INSERT INTO shop.customers VALUES
          (900, 'Zoë \'x\' \\ 😀', 'zoe@example.com', '1969-12-31 23:59:59.999999'),
          (9007199254740993, '', 'big@example.com', '2038-01-19 03:14:08')",
        "UPDATE shop.customers SET full_name = 'Bob A. Jones' WHERE customer_id = 2",
        "UPDATE shop.customers SET full_name = 'Bob B. Jones' WHERE customer_id = 2",
        // Each key is deleted and made again within one event.
        "UPDATE shop.customers SET customer_id = customer_id + 1 WHERE customer_id < 900 ORDER BY customer_id DESC",
        "DELETE FROM shop.customers WHERE customer_id = 3",
    ] {
        source(&sandbox).await.execute(change).await.unwrap();
    }
    let after = same(&sandbox).await;
    assert!(after[0].starts_with("2|Alice Smith"), "{after:#?}");
    assert!(
        after.iter().any(|row| row.contains(r"Zoë 'x' \ 😀")),
        "{after:#?}"
    );

    rights(&sandbox).await;
    values(&sandbox, &profile).await;

    // Nothing is lost with a killed server.
    sandbox.kill("mysql");
    sandbox.ok(&["up"]);
    let insert = "INSERT INTO shop.customers (customer_id, full_name, email) VALUES (901, 'Ole', 'ole@example.com')";
    source(&sandbox).await.execute(insert).await.unwrap();
    same(&sandbox).await;
    let found = sandbox.json(&[
        "query",
        "mysql",
        "SELECT full_name FROM shop.customers WHERE customer_id = 901",
    ]);
    assert_eq!(found["results"][0]["rows"], serde_json::json!([["Ole"]]));

    // What no event will tell of any more is reported, and found by the reset.
    sandbox.ok(&["connector", "stop", "mysql-connector"]);
    let server = source(&sandbox).await;
    for change in [
        "DELETE FROM shop.customers WHERE customer_id = 901",
        "FLUSH BINARY LOGS",
        "FLUSH BINARY LOGS",
    ] {
        server.execute(change).await.unwrap();
    }
    let logs = server.query("SHOW BINARY LOGS").await.unwrap();
    let newest = logs.last().unwrap()[0].clone().unwrap();
    server
        .execute(&format!("PURGE BINARY LOGS TO '{newest}'"))
        .await
        .unwrap();
    let diagnosis = sandbox.json(&["diagnose"]);
    let findings = diagnosis["findings"].as_array().unwrap();
    let lost = findings.iter().find(|it| it["code"] == "BINLOG_LOST");
    let lost = lost.unwrap_or_else(|| panic!("{diagnosis:#}"));
    let next = lost["next"].as_str().unwrap();
    assert!(
        next.starts_with("cargo xtask reset-connector ")
            && next.ends_with(" mysql-connector --yes"),
        "{lost:#}"
    );
    sandbox.ok(&["reset-connector", "mysql-connector", "--yes"]);
    let rows = same(&sandbox).await;
    assert!(!rows.iter().any(|row| row.starts_with("901|")), "{rows:#?}");
    let diagnosis = sandbox.json(&["diagnose"]);
    assert_eq!(
        diagnosis["findings"],
        serde_json::json!([]),
        "{diagnosis:#}"
    );
    sandbox.ok(&["down", "--yes"]);
}

/// A type, values of it as literals, and how both ends write one for a comparison; `{}` stands for the column.
type Nasty = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
);

const TEXT: &str = "CAST({} AS char)";
const NASTY: [Nasty; 24] = [
    ("tinyint", &["-128", "127"], TEXT, "toString({})"),
    ("tinyint(1)", &["0", "1", "7"], TEXT, "toString({})"),
    ("tinyint unsigned", &["255"], TEXT, "toString({})"),
    ("smallint", &["-32768"], TEXT, "toString({})"),
    ("mediumint unsigned", &["16777215"], TEXT, "toString({})"),
    ("int", &["-2147483648"], TEXT, "toString({})"),
    ("int unsigned", &["4294967295"], TEXT, "toString({})"),
    (
        "bigint",
        &["-9223372036854775808", "9007199254740993"],
        TEXT,
        "toString({})",
    ),
    (
        "bigint unsigned",
        &["18446744073709551615"],
        TEXT,
        "toString({})",
    ),
    (
        "decimal(20, 4)",
        &["-9999999999999999.9999", "0.0001", "0"],
        TEXT,
        "toDecimalString({}, 4)",
    ),
    ("double", &["0.1", "-1.5"], TEXT, "toString({})"),
    (
        "bit(1)",
        &["b'1'", "b'0'"],
        "IF({}, 'true', 'false')",
        "toString({})",
    ),
    (
        "bit(9)",
        &["b'101010101'"],
        "to_base64(reverse(unhex(lpad(hex({}), 4, '0'))))",
        "{}",
    ),
    ("char(5)", &["'ab'", "''"], "rtrim({})", "{}"),
    (
        "varchar(50)",
        &["'Zoë \\'x\\' \\\\ 😀'", "' a '", "''"],
        TEXT,
        "{}",
    ),
    ("text", &["repeat('ä', 5000)"], TEXT, "{}"),
    ("varbinary(9)", &["x'00ff10'", "''"], "to_base64({})", "{}"),
    ("enum('a', 'b c')", &["'b c'"], TEXT, "{}"),
    ("set('a', 'b')", &["'a,b'", "''"], TEXT, "{}"),
    (
        "date",
        &["'1900-01-01'", "'2299-12-31'", "'1969-12-31'"],
        TEXT,
        "toString({})",
    ),
    (
        "datetime(6)",
        &[
            "'1969-12-31 23:59:59.999999'",
            "'2262-01-01 00:00:00.000001'",
        ],
        TEXT,
        "toString({})",
    ),
    (
        "datetime",
        &["'2026-03-29 02:30:00'"],
        TEXT,
        "formatDateTime({}, '%F %T')",
    ),
    (
        "timestamp(3)",
        &["'1970-01-02 00:00:00.001'", "'2026-10-25 02:30:00.5'"],
        TEXT,
        "toString(toTimeZone({}, 'UTC'))",
    ),
    (
        "time(6)",
        &["'-838:59:59.000000'", "'23:59:59.999999'"],
        "CAST(round(time_to_sec({}) * 1000000 + sign(time_to_sec({})) * microsecond({})) AS signed)",
        "toString({})",
    ),
];

/// Values of MySQL's types are the same by snapshot and by stream, and as the source has them, whatever zone the
/// server is set to and however it pads.
async fn values(sandbox: &Sandbox, profile: &Path) {
    let server = source(sandbox).await;
    let columns = NASTY.iter().enumerate();
    let columns: Vec<String> = columns
        .map(|(at, (kind, ..))| format!("c{at} {kind} NULL"))
        .collect();
    let make = format!(
        "CREATE TABLE shop.nasty (id bigint PRIMARY KEY, {})",
        columns.join(", ")
    );
    let mut id = 0;
    let mut all = vec![
        "SET GLOBAL time_zone = '+05:30'".to_owned(),
        "SET time_zone = '+00:00'".to_owned(),
        make,
    ];
    for (at, (_, values, ..)) in NASTY.iter().enumerate() {
        for value in *values {
            id += 1;
            all.push(format!(
                "INSERT INTO shop.nasty (id, c{at}) VALUES ({id}, {value})"
            ));
        }
    }
    for sql in all {
        let done = server.execute(&sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let flow = "extends: mysql\nflows:\n  nasty: {connector: mysql-connector, table: shop.nasty, keep: latest, key: [id], group: g_nasty}\n";
    std::fs::write(profile, flow).unwrap();
    sandbox.ok(&["up"]);
    sandbox.ok(&["reset-connector", "mysql-connector", "--yes"]);
    let (names, again): (Vec<String>, String) = (
        (0..NASTY.len()).map(|at| format!("c{at}")).collect(),
        "INSERT INTO shop.nasty SELECT id + 1000".to_owned(),
    );
    let stream = format!("{again}, {} FROM shop.nasty", names.join(", "));
    server.execute(&stream).await.unwrap();
    let mut wrong = Vec::new();
    for (at, (kind, values, there, here)) in NASTY.iter().enumerate() {
        let column = format!("c{at}");
        let there = there.replace("{}", &column);
        let there = format!(
            "SELECT concat(id, '|', {there}) FROM shop.nasty WHERE {column} IS NOT NULL ORDER BY id"
        );
        let here = here.replace("{}", &column);
        let here = format!(
            "SELECT concat(toString(id), '|', {here}) FROM nasty_silver FINAL WHERE isNotNull({column}) ORDER BY id FORMAT TSVRaw"
        );
        let begin = Instant::now();
        loop {
            let rows = server.query(&there).await.unwrap().into_iter();
            let rows: Vec<String> = rows.map(|row| row[0].clone().unwrap()).collect();
            assert_eq!(rows.len(), 2 * values.len(), "{kind}");
            let found = sandbox.clickhouse().text(&here).await.unwrap();
            let found: Vec<String> = found.lines().map(str::to_owned).collect();
            if rows == found {
                break;
            }
            if begin.elapsed() > Duration::from_secs(10) {
                wrong.push(format!("{kind}: source {rows:?} silver {found:?}"));
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // A column more follows, and what came before `up` knew it is completed.
    for change in [
        "ALTER TABLE shop.nasty ADD COLUMN added varchar(9)",
        "INSERT INTO shop.nasty (id, added) VALUES (-1, 'early')",
    ] {
        server.execute(change).await.unwrap();
    }
    let early = "SELECT count() FROM nasty_silver WHERE id = -1 FORMAT TSVRaw";
    until(sandbox, early, &["1".to_owned()]).await;
    sandbox.ok(&["up"]);
    let early = "SELECT ifNull(added, 'NULL') FROM nasty_silver FINAL WHERE id = -1 FORMAT TSVRaw";
    until(sandbox, early, &["early".to_owned()]).await;
}

/// The connectors' user reads the captured table, and can do nothing else.
async fn rights(sandbox: &Sandbox) {
    let server = source(sandbox).await;
    server
        .execute("CREATE TABLE shop.secrets (id int PRIMARY KEY)")
        .await
        .unwrap();
    let user = session(sandbox, "cdc_connector", "mysql-connector").await;
    user.query("SELECT * FROM shop.customers").await.unwrap();
    for refused in [
        "SELECT * FROM shop.secrets",
        "SELECT * FROM mysql.user",
        "DELETE FROM shop.customers",
        "CREATE TABLE shop.own (id int PRIMARY KEY)",
        "CREATE USER x",
        "SHUTDOWN",
    ] {
        let error = user.execute(refused).await.expect_err(refused);
        assert!(error.is_missing_right(), "{refused}: {error}");
        assert!(matches!(error, MysqlError::Server { .. }));
    }
    // A right too many is taken away again.
    server
        .execute("GRANT SELECT ON shop.secrets TO cdc_connector@'%'")
        .await
        .unwrap();
    sandbox.ok(&["up"]);
    let again = session(sandbox, "cdc_connector", "mysql-connector").await;
    let error = again.query("SELECT * FROM shop.secrets").await;
    assert!(error.expect_err("refused").is_missing_right());
}
