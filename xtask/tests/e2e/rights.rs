//! What connectors may do at their sources: log in as users of their own, read what they capture, and
//! nothing else. PostgreSQL is the real one. `CDC_TEST_MONGOD` names a directory with a `mongod`: a real
//! one, or the stand-in of `tests/kind/images/mongo`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use xtask::clients::mongodb::Mongodb;
use xtask::clients::postgres::Postgres;
use xtask::platform::{Endpoint, Secret};

use crate::sandbox::{Sandbox, is_private};

const USER: &str = "cdc_connector";

/// What the connectors' user is, owns, and may.
async fn role(session: &Postgres) -> String {
    let sql = format!(
        "SELECT format('super %s, createrole %s, createdb %s, replication %s, owns %s, publications %s, reads %s, writes %s', \
           rolsuper, rolcreaterole, rolcreatedb, rolreplication, \
           (SELECT count(*) FROM pg_shdepend WHERE refobjid = r.oid AND deptype = 'o'), \
           (SELECT count(*) FROM pg_publication WHERE pubowner = r.oid), \
           (SELECT string_agg(c.relname, '+' ORDER BY c.relname) FROM pg_class c \
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' \
              AND has_table_privilege(r.oid, c.oid, 'SELECT')), \
           (SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' \
              AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))) \
         FROM pg_roles r WHERE rolname = '{USER}'"
    );
    session
        .value(&sql)
        .await
        .unwrap()
        .expect("the user is there")
}

/// What [`role`] says of one with the least rights.
fn least(tables: &str) -> String {
    format!(
        "super f, createrole f, createdb f, replication t, owns 0, publications 0, reads {tables}, writes 0"
    )
}

async fn published(session: &Postgres) -> String {
    let sql = "SELECT string_agg(tablename, '+' ORDER BY tablename) FROM pg_publication_tables \
               WHERE pubname = 'dbz_publication'";
    session.value(sql).await.unwrap().unwrap_or_default()
}

/// How many rows the connector has read in snapshots.
fn snapshot_rows(sandbox: &Sandbox) -> usize {
    let tail = [
        "topic",
        "tail",
        "postgres.public.users",
        "--from",
        "beginning",
    ];
    let text = sandbox.ok(&tail);
    text.lines()
        .filter(|line| line.contains(r#""op":"r""#))
        .count()
}

/// Who reads the slot.
async fn reader(session: &Postgres) -> String {
    reader_of(session, "debezium").await
}

async fn reader_of(session: &Postgres, slot: &str) -> String {
    let sql = &format!(
        "SELECT usename FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid \
         WHERE s.slot_name = '{slot}'"
    );
    let begin = Instant::now();
    loop {
        if let Some(user) = session.value(sql).await.unwrap() {
            return user;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "nobody reads the slot"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_connector_of_tables_reads_what_it_captures_and_owns_nothing() {
    let mut sandbox = Sandbox::up("rights");
    let session = sandbox.postgres().await;
    session
        .execute("CREATE TABLE private (secret text)")
        .await
        .unwrap();
    assert_eq!(role(&session).await, least("users"));
    assert_eq!(reader(&session).await, USER);
    assert_eq!(published(&session).await, "users");
    let own = Endpoint::loopback(sandbox.ports["postgres.port"])
        .login(USER, Secret::new(sandbox.password("postgres-connector")));
    let connector = Postgres::connect(&own, "postgres").await.unwrap();
    connector.execute("SELECT * FROM users").await.unwrap();
    for refused in [
        "SELECT * FROM private",
        "DELETE FROM users",
        "ALTER PUBLICATION dbz_publication DROP TABLE users",
    ] {
        let error = connector.execute(refused).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("42501"), "{refused}: {error}");
    }
    let directory = sandbox.dir().join("secrets/postgres-connector-auth");
    assert!(is_private(&directory) && is_private(&directory.join("password")));
    assert_ne!(
        sandbox.password("postgres-connector"),
        sandbox.password("postgres")
    );
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);

    // A table that is added gets its grant and is published, and its rows arrive.
    session
        .execute("CREATE TABLE orders (id int PRIMARY KEY, note text); ALTER TABLE orders REPLICA IDENTITY FULL")
        .await
        .unwrap();
    let before = sandbox.extra.len();
    for set in [
        "flows.orders.connector=postgres-connector",
        "flows.orders.table=public.orders",
        "flows.orders.keep=latest",
        "flows.orders.key=[id]",
        "flows.orders.group=orders",
        "flows.orders.columns.id=Int32",
        "flows.orders.columns.note=Nullable(String)",
    ] {
        sandbox.extra.push(set.to_owned());
    }
    let said = sandbox.ok(&["up"]);
    assert_eq!(role(&session).await, least("orders+users"), "{said}");
    assert_eq!(published(&session).await, "orders+users");
    session
        .execute("INSERT INTO orders VALUES (1, 'first')")
        .await
        .unwrap();
    let begin = Instant::now();
    while sandbox
        .clickhouse()
        .text("SELECT note FROM orders_silver")
        .await
        .unwrap()
        .trim()
        != "first"
    {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "it does not arrive"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What somebody gave or took is put right; what left the profile is taken.
    session
        .execute(&format!(
            "ALTER ROLE {USER} CREATEDB NOREPLICATION PASSWORD 'another'; GRANT ALL ON private, users TO {USER}"
        ))
        .await
        .unwrap();
    sandbox.extra.truncate(before);
    sandbox.ok(&["up"]);
    assert_eq!(role(&session).await, least("users"));
    assert_eq!(published(&session).await, "users");
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    sandbox.ok(&["verify"]);

    // A reset makes slot and publication under these rights.
    sandbox.ok(&["reset-connector", "postgres", "--drop-publication", "--yes"]);
    assert_eq!(
        (
            published(&session).await.as_str(),
            reader(&session).await.as_str()
        ),
        ("users", USER)
    );
    assert_eq!(role(&session).await, least("users"));
    sandbox.ok(&["verify"]);
}

#[tokio::test]
async fn an_environment_whose_connector_was_the_superuser_goes_on_without_a_snapshot() {
    let mut sandbox = Sandbox::new("rights-before");
    // As the tool did before: the superuser, who makes and owns the publication.
    let password = sandbox.dir().join("secrets/postgres-auth");
    for (key, value) in [
        ("database.user", "postgres".to_owned()),
        (
            "database.password",
            format!("${{strimzidir:{}:password}}", password.display()),
        ),
        ("publication.autocreate.mode", "filtered".to_owned()),
    ] {
        let set = format!("connectors.postgres-connector.config.{key}={value}");
        sandbox.extra.push(set);
    }
    sandbox.ok(&["up"]);
    let session = sandbox.postgres().await;
    assert_eq!(reader(&session).await, "postgres");
    let made = "SELECT count(*)::text FROM pg_roles WHERE rolname = 'cdc_connector'";
    assert_eq!(session.value(made).await.unwrap().as_deref(), Some("0"));
    let before = snapshot_rows(&sandbox);
    assert!(before > 0);

    sandbox.extra.clear();
    let said = sandbox.ok(&["up"]);
    assert_eq!(reader(&session).await, USER, "{said}");
    assert_eq!(role(&session).await, least("users"));
    sandbox.ok(&["verify"]);
    assert_eq!(snapshot_rows(&sandbox), before, "it read the tables again");
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
}

#[tokio::test]
async fn a_server_of_the_user_s_own_gets_no_user_unless_the_profile_asks() {
    let theirs = Sandbox::up("rights-theirs");
    let admin = theirs.postgres().await;
    admin
        .execute("CREATE ROLE cdc LOGIN REPLICATION PASSWORD 'cdc'")
        .await
        .unwrap();
    admin
        .execute("CREATE DATABASE shop OWNER cdc")
        .await
        .unwrap();
    let mut sandbox = Sandbox::new("rights-external");
    sandbox.extra = [
        format!(
            "postgres.external=127.0.0.1:{}",
            theirs.ports["postgres.port"]
        ),
        "postgres.user=cdc".into(),
        "postgres.password=cdc".into(),
        "postgres.database=shop".into(),
        "connectors.postgres-connector.slot=theirs".into(),
    ]
    .into();
    let users =
        "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'";
    let before = admin.value(users).await.unwrap();
    sandbox.ok(&["up"]);
    let shop = theirs.postgres_database("shop").await;
    assert_eq!(reader_of(&shop, "theirs").await, "cdc");
    let owner = "SELECT pubowner::regrole FROM pg_publication WHERE pubname = 'dbz_publication'";
    assert_eq!(shop.value(owner).await.unwrap().as_deref(), Some("cdc"));
    assert_eq!(admin.value(users).await.unwrap(), before);

    // Nobody waits for an `up` that has nothing to change, and it waits for nobody.
    let reader = theirs.postgres_database("shop").await;
    let held = "BEGIN; SELECT count(*) FROM users";
    reader.execute(held).await.unwrap();
    let waits = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND locktype = 'relation'";
    let mut up = sandbox.spawn(&["up"]);
    while up.try_wait().unwrap().is_none() {
        assert_eq!(shop.value(waits).await.unwrap().as_deref(), Some("0"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(up.wait().unwrap().success());
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    // What has to be changed gives up soon, and names who is in the way.
    reader.execute("COMMIT").await.unwrap();
    let pid = reader.value("SELECT pg_backend_pid()").await.unwrap();
    shop.execute("ALTER TABLE users REPLICA IDENTITY DEFAULT")
        .await
        .unwrap();
    reader.execute(held).await.unwrap();
    admin
        .execute("GRANT pg_read_all_stats TO cdc")
        .await
        .unwrap();
    let said = sandbox.fails(&["up"], 1);
    let process = format!("held by process {} (postgres, cargo xtask", pid.unwrap());
    assert!(said.contains(&process), "{said}");
    assert!(said.contains("its transaction open since 2"), "{said}");
    assert!(said.contains("SELECT count(*) FROM users"), "{said}");
    reader.execute("COMMIT").await.unwrap();
    sandbox.ok(&["up"]);

    // Asked for one, the tool makes it, if it may.
    sandbox.extra.push("postgres.connector_user=reader".into());
    let said = sandbox.fails(&["up"], 1);
    assert!(said.contains("permission denied to create role"), "{said}");
    admin.execute("ALTER ROLE cdc CREATEROLE").await.unwrap();
    sandbox.ok(&["up"]);
    assert_eq!(reader_of(&shop, "theirs").await, "reader");
    // What others gave it there stays, and so does the password that they set.
    shop.execute("CREATE TABLE other (id int); GRANT ALL ON other TO reader")
        .await
        .unwrap();
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    let writes = "SELECT has_table_privilege('reader', 'other', 'INSERT')::text";
    assert_eq!(shop.value(writes).await.unwrap().as_deref(), Some("true"));
    shop.execute("ALTER ROLE reader PASSWORD 'another'")
        .await
        .unwrap();
    let said = sandbox.fails(&["up"], 1);
    assert!(said.contains("postgres.connector_password"), "{said}");
    sandbox
        .extra
        .push("postgres.connector_password=another".into());
    sandbox.ok(&["up"]);
    sandbox.ok(&["verify"]);
    // What was made there goes with the environment, and nothing else.
    shop.execute("CREATE PUBLICATION another FOR TABLE other")
        .await
        .unwrap();
    let down = sandbox.fails(&["down"], 3);
    assert!(down.contains("slot theirs at 127.0.0.1:"), "{down}");
    let down = sandbox.json(&["down", "--yes"]);
    assert_eq!(down["left"], serde_json::json!([]), "{down}");
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'theirs') || ' ' || \
                (SELECT string_agg(pubname, '+') FROM pg_publication)";
    assert_eq!(
        shop.value(left).await.unwrap().as_deref(),
        Some("0 another")
    );
}

#[tokio::test]
#[ignore = "needs CDC_TEST_MONGOD=DIR with a `mongod`"]
async fn the_connector_of_documents_reads_its_database_and_no_other() {
    let mut sandbox = Sandbox::new("rights-mongod");
    sandbox.programs = Some(PathBuf::from(std::env::var_os("CDC_TEST_MONGOD").unwrap()));
    sandbox.ok(&["up", "--require", "mongodb"]);
    sandbox.ok(&["verify"]);
    let at = || Endpoint::loopback(sandbox.ports["mongodb.port"]);
    let login =
        |user: &str, of: &str| Mongodb::new(&at().login(user, Secret::new(sandbox.password(of))));
    let (root, own) = (login("root", "mongodb"), login(USER, "mongodb-connector"));
    root.insert("other.things", vec![doc! { "a": 1 }])
        .await
        .unwrap();
    assert!(own.count("commerce.events").await.unwrap() > 0);
    assert_eq!(own.count("other.things").await.unwrap_err().code, 13);
    let written = own.insert("commerce.events", vec![doc! { "a": 1 }]).await;
    assert_eq!(written.unwrap_err().code, 13);
    assert_eq!(
        own.admin(doc! { "usersInfo": USER })
            .await
            .unwrap_err()
            .code,
        13
    );
    let passwords = ["mongodb", "mongodb-connector", "mongodb-key"].map(|it| sandbox.password(it));
    assert!(
        passwords[0] != passwords[1]
            && passwords[0] != passwords[2]
            && passwords[1] != passwords[2]
    );
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);

    // Another password, other roles: put right.
    let change =
        doc! { "updateUser": USER, "pwd": "another", "roles": [{ "role": "root", "db": "admin" }] };
    root.admin(change).await.unwrap();
    sandbox.ok(&["up"]);
    let own = login(USER, "mongodb-connector");
    assert_eq!(own.count("other.things").await.unwrap_err().code, 13);
    sandbox.ok(&["verify"]);
    sandbox.ok(&["reset-connector", "mongo", "--yes"]);
}
