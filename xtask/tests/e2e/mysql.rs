//! MySQL's rows, driven through Debezium's real connector into ClickHouse. `CDC_TEST_MYSQLD` names a directory
//! with a `mysqld`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xtask::clients::mysql::{Mysql, MysqlError};
use xtask::platform::{Endpoint, Secret};

use crate::ports;
use crate::sandbox::Sandbox;

const PORT: &str = "mysql.port";

async fn session(sandbox: &Sandbox, user: &str, component: &str) -> Mysql {
    let password = Secret::new(sandbox.password(component));
    let at = Endpoint::loopback(sandbox.ports[PORT]).login(user, password);
    Mysql::connect(&at).await.expect("a session")
}

async fn source(sandbox: &Sandbox) -> Mysql {
    session(sandbox, "root", "mysql").await
}

/// Waits until silver has the source's rows and no others, and returns them.
async fn same(sandbox: &Sandbox) -> Vec<String> {
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

#[tokio::test]
#[ignore = "needs CDC_TEST_MYSQLD=DIR with a `mysqld`"]
async fn rows_of_mysql_reach_silver() {
    let mut sandbox = Sandbox::new("mysql");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    sandbox.profile = Some(root.join("profiles/mysql.yaml"));
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
    assert_eq!(
        lost["next"], "cargo xtask reset-connector mysql-connector --yes",
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
