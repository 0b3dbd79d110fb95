//! A PostgreSQL that somebody else runs: what its administrator made is used as it is, what is missing is named
//! with the statement that adds it, nobody waits for the tool, and whom the tool waits for is named.

use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::clients::postgres::Postgres;
use xtask::endpoint::Tls;
use xtask::platform::{Endpoint, Secret};

use crate::ports;
use crate::sandbox::Sandbox;

const PORT: &str = "components.theirs.port";
/// Nothing here is about speed: a machine may be busy.
const SOON: Duration = Duration::from_secs(90);

/// Somebody's server.
struct Theirs(Sandbox);

impl Theirs {
    fn up(name: &str) -> Self {
        let mut sandbox = Sandbox::new(name);
        let profile = "clickhouse: ~\n\
                       components:\n  theirs: {type: postgres, schema: [], config: {max_prepared_transactions: 4}}\n";
        sandbox.profile = Some(write(&sandbox, "theirs", profile));
        sandbox.ports.retain(|key, _| key.starts_with("kafka."));
        sandbox.ports.insert(PORT, ports::free(21_000));
        sandbox.ok(&["up"]);
        Theirs(sandbox)
    }

    fn port(&self) -> u16 {
        self.0.ports[PORT]
    }

    async fn session(&self, database: &str) -> Postgres {
        let password = Secret::new(self.0.password("theirs"));
        let mut at = Endpoint::loopback(self.port()).login("postgres", password);
        at.tls = Tls::Prefer;
        Postgres::connect(&at, database).await.expect("a session")
    }
}

pub fn write(sandbox: &Sandbox, name: &str, profile: &str) -> std::path::PathBuf {
    let dir = sandbox.state().join("profiles");
    std::fs::create_dir_all(&dir).expect("a directory");
    let path = dir.join(format!("{name}.yaml"));
    std::fs::write(&path, profile).expect("written");
    path
}

/// A pipeline that reads it.
fn pipeline(name: &str, profile: &str) -> Sandbox {
    let mut sandbox = Sandbox::new(name);
    sandbox.profile = Some(write(&sandbox, "shop", profile));
    sandbox
        .ports
        .retain(|key, _| !["postgres.port", "mongodb.port"].contains(key));
    sandbox
}

/// The statements that errors print, each after who runs it.
fn printed(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| {
        let hint = line.trim().strip_prefix("next: ")?;
        let words = ["CREATE ", "ALTER ", "GRANT ", "BEGIN; "];
        let at = words
            .iter()
            .filter_map(|word| hint.find(&format!(": {word}")));
        Some(hint[at.min()? + 2..].to_owned())
    });
    let mut all: Vec<String> = Vec::new();
    // An error is printed when it is known, and at the end.
    for statement in lines {
        if !all.contains(&statement) {
            all.push(statement);
        }
    }
    all
}

/// Diagnoses until there is a finding of this code.
async fn finding(sandbox: &Sandbox, code: &str) -> Value {
    let begin = Instant::now();
    loop {
        let diagnosis = sandbox.json(&["diagnose"]);
        let found = diagnosis["findings"].as_array().into_iter().flatten();
        if let Some(found) = found.into_iter().find(|it| it["code"] == code) {
            return found.clone();
        }
        assert!(begin.elapsed() < SOON, "no {code}: {diagnosis:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn arrives(sandbox: &Sandbox, sql: &str, expected: &str) {
    let begin = Instant::now();
    loop {
        let found = sandbox.clickhouse().text(sql).await.unwrap_or_default();
        if found.trim() == expected {
            return;
        }
        assert!(begin.elapsed() < SOON, "{sql}: {found}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const TABLES: &str = "CREATE TABLE \"Orders\" (id int PRIMARY KEY, note text); \
    CREATE TABLE parts (id int, at int, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); \
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); \
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20); \
    INSERT INTO \"Orders\" VALUES (1, 'one'); INSERT INTO parts VALUES (1, 1, 'one'), (2, 11, 'two')";

fn shop(port: u16) -> String {
    format!(
        "postgres: {{external: '127.0.0.1:{port}', user: cdc, password: cdc, database: shop, schema: []}}\n\
         connectors:\n  shop: {{source: postgres, prefix: shop, slot: shop, publication: theirs, config: {{}}}}\n\
         flows:\n  orders: {{connector: shop, table: public.Orders, keep: latest, key: [id], group: orders}}\n  \
           parts: {{connector: shop, table: public.parts, keep: latest, key: [id, at], group: parts}}\n"
    )
}

const ROWS: &str = "SELECT concat(toString((SELECT count() FROM orders_silver FINAL WHERE is_deleted = 0)), ' ', \
     toString((SELECT count() FROM parts_silver FINAL WHERE is_deleted = 0)))";

#[tokio::test]
async fn what_an_administrator_made_is_used_and_what_is_missing_is_named_with_its_statement() {
    let theirs = Theirs::up("theirs");
    let postgres = theirs.session("postgres").await;
    postgres.execute("CREATE DATABASE shop").await.unwrap();
    let admin = theirs.session("shop").await;
    admin.execute(TABLES).await.unwrap();
    admin
        .execute("CREATE ROLE cdc LOGIN PASSWORD 'cdc'")
        .await
        .unwrap();
    let sandbox = pipeline("shop", &shop(theirs.port()));

    // All that is missing at once, in quotes, and nothing is made.
    let text = sandbox.fails(&["up"], 1);
    let statements = printed(&text);
    assert_eq!(
        statements,
        [
            "ALTER ROLE \"cdc\" REPLICATION",
            "GRANT SELECT ON \"public\".\"Orders\" TO \"cdc\"",
            "GRANT SELECT ON \"public\".\"parts\" TO \"cdc\"",
            "CREATE PUBLICATION \"theirs\" FOR TABLE \"public\".\"Orders\", \"public\".\"parts\" \
             WITH (publish_via_partition_root = true)",
        ],
        "{text}"
    );
    let made = "SELECT count(*)::text FROM pg_replication_slots";
    assert_eq!(admin.value(made).await.unwrap().as_deref(), Some("0"));
    for sql in &statements[..3] {
        admin.execute(sql).await.unwrap();
    }

    // What would drop changes is refused, all of it.
    admin
        .execute(
            "CREATE PUBLICATION theirs FOR TABLE parts, \"Orders\" (id) WHERE (id > 0) WITH (publish = 'insert')",
        )
        .await
        .unwrap();
    let text = sandbox.fails(&["up"], 1);
    for says in [
        "does not publish update, delete, truncate",
        "under its partitions' names",
        "only rows with (id > 0)",
        "sends no note of public.Orders",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert_eq!(admin.value(made).await.unwrap().as_deref(), Some("0"));
    for sql in printed(&text) {
        // The table is taken out and put in once, whatever names it.
        admin.execute(&sql).await.unwrap();
    }
    sandbox.ok(&["up"]);
    arrives(&sandbox, ROWS, "1 2").await;
    admin
        .execute("INSERT INTO \"Orders\" VALUES (2, 'two'); UPDATE parts SET at = 12 WHERE id = 1")
        .await
        .unwrap();
    arrives(&sandbox, ROWS, "2 2").await;
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);

    // Changed under a pipeline that runs: reported with the statement, which helps.
    admin
        .execute("ALTER PUBLICATION theirs SET (publish = 'insert, update')")
        .await
        .unwrap();
    let found = finding(&sandbox, "PUBLICATION_UNFIT").await;
    let next = found["next"].as_str().unwrap();
    assert!(
        next.contains(
            "ALTER PUBLICATION \"theirs\" SET (publish = 'insert, update, delete, truncate')"
        ) && next.contains("cargo xtask reset-connector ")
            && next.ends_with(" shop --yes"),
        "{next}"
    );
    // One for all tables, which somebody else owns.
    admin
        .execute(
            "BEGIN; DROP PUBLICATION theirs; \
             CREATE PUBLICATION theirs FOR ALL TABLES WITH (publish_via_partition_root = true); COMMIT",
        )
        .await
        .unwrap();
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);

    held_back(&theirs, &sandbox, &admin).await;
    idle(&sandbox, &admin, &postgres).await;
}

/// A new slot waits for a prepared transaction, and for a session: each is named, and goes on when it ends.
async fn held_back(theirs: &Theirs, sandbox: &Sandbox, admin: &Postgres) {
    admin
        .execute("BEGIN; INSERT INTO \"Orders\" VALUES (3, 'three'); PREPARE TRANSACTION 'left'")
        .await
        .unwrap();
    let log = sandbox.state().join("reset");
    let out = std::fs::File::create(&log).unwrap();
    let mut reset = sandbox
        .command(&["reset-connector", "shop", "--yes"])
        .stdout(std::process::Stdio::null())
        .stderr(out)
        .spawn()
        .unwrap();
    let found = finding(sandbox, "SLOT_HELD_BACK").await;
    let cause = found["cause"].as_str().unwrap();
    assert!(cause.contains("the prepared transaction 'left'"), "{cause}");
    assert_eq!(found["next"], "as a superuser: ROLLBACK PREPARED 'left'");
    let begin = Instant::now();
    while !std::fs::read_to_string(&log).unwrap().contains("'left'") {
        assert!(begin.elapsed() < SOON, "reset-connector does not say so");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    admin.execute("ROLLBACK PREPARED 'left'").await.unwrap();
    assert!(reset.wait().unwrap().success());

    let open = theirs.session("shop").await;
    open.execute("BEGIN; INSERT INTO \"Orders\" VALUES (4, 'a secret')")
        .await
        .unwrap();
    let pid = open
        .value("SELECT pg_backend_pid()")
        .await
        .unwrap()
        .unwrap();
    let mut reset = sandbox.spawn(&["reset-connector", "shop", "--yes"]);
    let found = finding(sandbox, "SLOT_HELD_BACK").await;
    let cause = found["cause"].as_str().unwrap();
    assert!(cause.contains(&format!("process {pid} ")), "{cause}");
    assert!(!cause.contains("a secret"), "{cause}");
    open.execute("COMMIT").await.unwrap();
    assert!(reset.wait().unwrap().success());
    arrives(sandbox, ROWS, "3 2").await;
}

/// Another database writes: the position follows, and its log is not kept.
async fn idle(sandbox: &Sandbox, admin: &Postgres, postgres: &Postgres) {
    let slot =
        |what: &str| format!("SELECT {what} FROM pg_replication_slots WHERE slot_name = 'shop'");
    let before = slot("confirmed_flush_lsn");
    let before = admin.value(&before).await.unwrap().unwrap();
    for _ in 0..12 {
        // 16 MB each.
        postgres
            .execute("CREATE TABLE busy (); DROP TABLE busy; SELECT pg_switch_wal()")
            .await
            .unwrap();
    }
    let begin = Instant::now();
    let kept = slot(&format!(
        "(confirmed_flush_lsn > '{before}' AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) < 100e6)::text"
    ));
    loop {
        // What running transactions are is logged now and then; a slot moves on behind that.
        postgres.execute("CHECKPOINT").await.unwrap();
        if admin.value(&kept).await.unwrap().as_deref() == Some("true") {
            break;
        }
        assert!(
            begin.elapsed() < SOON,
            "{:?}",
            admin.value(&slot("confirmed_flush_lsn")).await
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);
    let topics = sandbox.ok(&["topic", "list"]);
    assert!(!topics.contains("shop.message"), "{topics}");
}

/// What passwords may have in them.
pub const PASSWORD: &str = r#"p@:/%$ "'x${y}ä€"#;

/// An authority.
pub struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "shop authority");
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        Authority { pem, issuer }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate of it for these names, with its key.
    pub fn certificate(&self, names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Has the server take encrypted connections only.
async fn encrypt(admin: &Postgres, certificate: &str, key: &str) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let hba = admin.value("SHOW hba_file").await.unwrap().unwrap();
    let data = std::path::Path::new(&hba).parent().unwrap().to_owned();
    let owner = std::fs::metadata(&hba).unwrap();
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    std::fs::write(&hba, "hostssl all all all scram-sha-256\n").unwrap();
    for sql in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
        admin.execute(sql).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_takes_encrypted_connections_only_is_read() {
    let theirs = Theirs::up("theirs-tls");
    let admin = theirs.session("postgres").await;
    admin.execute("CREATE DATABASE shop").await.unwrap();
    let admin = theirs.session("shop").await;
    admin.execute(TABLES).await.unwrap();
    let quoted = PASSWORD.replace('\'', "''");
    admin
        .execute(&format!(
            "CREATE ROLE cdc LOGIN REPLICATION PASSWORD '{quoted}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO cdc; \
             CREATE PUBLICATION theirs FOR ALL TABLES WITH (publish_via_partition_root = true)"
        ))
        .await
        .unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(&["localhost"]);
    encrypt(&admin, &certificate, &key).await;
    let profile = shop(theirs.port()).replace("password: cdc", &format!("password: '{quoted}'"));
    let mut sandbox = pipeline("shop-tls", &profile.replace("127.0.0.1:", "localhost:"));
    let files = [("ca", authority), ("other", Authority::new())].map(|(name, of)| {
        let path = sandbox.state().join(format!("{name} 1.pem"));
        std::fs::write(&path, of.pem()).unwrap();
        path.display().to_string()
    });
    let [ca, other] = files;
    let verify = |ca: &str| {
        vec![
            "postgres.sslmode=verify-full".to_owned(),
            format!("postgres.sslrootcert={ca}"),
        ]
    };

    // Another authority, and another name: each is named at once, with the key to correct.
    sandbox.extra = verify(&other);
    let text = sandbox.fails(&["up"], 1);
    assert!(
        text.contains("its certificate is not signed by an authority of"),
        "{text}"
    );
    assert!(
        text.contains("correct postgres.sslrootcert in the profile"),
        "{text}"
    );
    sandbox.extra = verify(&ca);
    let at = format!("postgres.external=127.0.0.1:{}", theirs.port());
    sandbox.extra.push(at);
    let text = sandbox.fails(&["up"], 1);
    assert!(
        text.contains("its certificate is not for 127.0.0.1"),
        "{text}"
    );
    assert!(
        text.contains("correct postgres.external in the profile"),
        "{text}"
    );

    sandbox.extra = verify(&ca);
    sandbox.ok(&["up"]);
    arrives(&sandbox, ROWS, "1 2").await;
    let plain = "SELECT count(*)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE usename = 'cdc' AND NOT ssl";
    assert_eq!(admin.value(plain).await.unwrap().as_deref(), Some("0"));
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);

    // By default it is encrypted where the server wants it so.
    sandbox.extra.clear();
    sandbox.ok(&["up"]);
    admin
        .execute("INSERT INTO \"Orders\" VALUES (2, 'two')")
        .await
        .unwrap();
    arrives(&sandbox, ROWS, "2 2").await;
}
