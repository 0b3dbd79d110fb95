//! Configurations of PostgreSQL servers that somebody else runs, each with what `up` makes of it: rows arrive, or it is
//! refused with these words. All rows share one Kafka, Connect and ClickHouse, and one server of each version.

mod server;

use std::time::{Duration, Instant};

use xtask::clients::postgres::{Postgres, literal};

use crate::external::{Authority, PASSWORD, write};
use crate::sandbox::Sandbox;
use server::{Certificate, Server};

/// A configuration. `{row}` stands for its name, which its database, role, slot and publication have too, and `{ca}`,
/// `{other}` for files of authorities.
struct Row {
    what: &'static str,
    /// Of [`VERSIONS`], or [`WITHOUT_TLS`] or [`REPLICA`].
    server: &'static str,
    /// More keys of the component.
    keys: &'static str,
    /// What the administrator does in the database beside [`TABLES`].
    sql: &'static [&'static str],
    expected: Expected,
}

enum Expected {
    /// The rows that are there and those that follow.
    Arrives,
    /// An exit code, and words of the error.
    Refused(i32, &'static [&'static str]),
}
use Expected::{Arrives, Refused};

const VERSIONS: [&str; 6] = [
    "13.23.0", "14.24.0", "15.19.0", "16.15.0", "17.11.0", "18.6.0",
];
const V17: &str = VERSIONS[4];
const WITHOUT_TLS: &str = "17.11.0 without TLS";
const REPLICA: &str = "18.6.0 with wal_level=replica";

const TABLES: &str = "CREATE TABLE goods (id int PRIMARY KEY, note text); \
    CREATE TABLE more (id int PRIMARY KEY, note text); \
    INSERT INTO goods VALUES (1, 'one'), (2, 'two')";

const LEAST: &str =
    "CREATE ROLE {row} LOGIN REPLICATION PASSWORD 'geheim'; GRANT SELECT ON goods TO {row}";
const PUBLISHED: &str = "CREATE PUBLICATION {row} FOR TABLE goods";

/// The role owns the tables and may make publications.
const OWNER: &str = "CREATE ROLE {row} LOGIN REPLICATION PASSWORD 'geheim'; \
    ALTER TABLE goods OWNER TO {row}; \
    ALTER TABLE more OWNER TO {row}; \
    GRANT CREATE ON DATABASE {row} TO {row}";
const ENCRYPTED: &str = "GRANT encrypted TO {row}";
const PLAIN: &str = "GRANT plain TO {row}";
const HASHED: &str = "GRANT hashed TO {row}";

const ROWS: &[Row] = &[
    // TLS.
    Row {
        what: "encrypted only, by default",
        server: V17,
        keys: "",
        sql: &[LEAST, PUBLISHED, ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, require",
        server: V17,
        keys: "sslmode: require",
        sql: &[LEAST, PUBLISHED, ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, disable",
        server: V17,
        keys: "sslmode: disable",
        sql: &[LEAST, PUBLISHED, ENCRYPTED],
        expected: Refused(
            1,
            &["no encryption", "correct postgres.sslmode in the profile"],
        ),
    },
    Row {
        what: "encrypted only, verify-full",
        server: V17,
        keys: "sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, PUBLISHED, ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "verify-full, another authority",
        server: V17,
        keys: "sslmode: verify-full, sslrootcert: '{other}'",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(
            1,
            &[
                "its certificate is not signed by an authority of",
                "correct postgres.sslrootcert in the profile",
            ],
        ),
    },
    Row {
        what: "verify-full, another name",
        server: V17,
        keys: "external: '127.0.0.1:{port}', sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(
            1,
            &[
                "its certificate is not for 127.0.0.1 but for localhost",
                "correct postgres.external in the profile",
            ],
        ),
    },
    Row {
        what: "verify-full without an authority",
        server: V17,
        keys: "sslmode: verify-full",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(
            3,
            &[
                "wants the certificates to verify with",
                "postgres.sslrootcert",
            ],
        ),
    },
    Row {
        what: "a mode that there is not",
        server: V17,
        keys: "sslmode: verify-ca, sslrootcert: '{ca}'",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(3, &["verify-ca", "`verify-full`"]),
    },
    Row {
        what: "unencrypted only, by default",
        server: V17,
        keys: "",
        sql: &[LEAST, PUBLISHED, PLAIN],
        expected: Arrives,
    },
    Row {
        what: "unencrypted only, require",
        server: V17,
        keys: "sslmode: require",
        sql: &[LEAST, PUBLISHED, PLAIN],
        expected: Refused(1, &["SSL encryption", "as the server's administrator"]),
    },
    Row {
        what: "a server without TLS, by default",
        server: WITHOUT_TLS,
        keys: "",
        sql: &[LEAST, PUBLISHED],
        expected: Arrives,
    },
    Row {
        what: "a server without TLS, require",
        server: WITHOUT_TLS,
        keys: "sslmode: require",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(
            1,
            &[
                "the server does not support TLS",
                "correct postgres.sslmode in the profile",
            ],
        ),
    },
    Row {
        what: "a server without TLS, verify-full",
        server: WITHOUT_TLS,
        keys: "sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(1, &["the server does not support TLS"]),
    },
    Row {
        what: "a log that is not for logical decoding",
        server: REPLICA,
        keys: "",
        sql: &[LEAST],
        expected: Refused(
            1,
            &[
                "wal_level is `replica`",
                "as a superuser: ALTER SYSTEM SET wal_level = 'logical'",
            ],
        ),
    },
    // Roles.
    Row {
        what: "a superuser",
        server: V17,
        keys: "",
        sql: &["CREATE ROLE {row} SUPERUSER LOGIN PASSWORD 'geheim'"],
        expected: Arrives,
    },
    Row {
        what: "without REPLICATION",
        server: V17,
        keys: "",
        sql: &[
            "CREATE ROLE {row} LOGIN PASSWORD 'geheim'; GRANT SELECT ON goods TO {row}",
            PUBLISHED,
        ],
        expected: Refused(
            1,
            &["lacks REPLICATION", r#"as a superuser: ALTER ROLE "r"#],
        ),
    },
    Row {
        what: "without SELECT",
        server: V17,
        keys: "",
        sql: &[
            "CREATE ROLE {row} LOGIN REPLICATION PASSWORD 'geheim'",
            PUBLISHED,
        ],
        expected: Refused(
            1,
            &[
                "may not read public.goods",
                r#"as the owner of public.goods: GRANT SELECT ON "public"."goods" TO "r"#,
            ],
        ),
    },
    Row {
        what: "without LOGIN",
        server: V17,
        keys: "",
        sql: &[
            "CREATE ROLE {row} REPLICATION PASSWORD 'geheim'; GRANT SELECT ON goods TO {row}",
            PUBLISHED,
        ],
        expected: Refused(1, &["is not permitted to log in", r#"ALTER ROLE "r"#]),
    },
    Row {
        what: "a role that there is not",
        server: V17,
        keys: "user: nobody",
        sql: &[PUBLISHED],
        expected: Refused(
            1,
            &[
                "password authentication failed",
                "--set postgres.password=@-",
            ],
        ),
    },
    Row {
        what: "a wrong password",
        server: V17,
        keys: "password: falsch",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(
            1,
            &[
                "password authentication failed",
                "--set postgres.password=@-",
            ],
        ),
    },
    Row {
        what: "a database that there is not",
        server: V17,
        keys: "database: elsewhere",
        sql: &[LEAST, PUBLISHED],
        expected: Refused(
            1,
            &["does not exist", "correct postgres.database in the profile"],
        ),
    },
    Row {
        what: "a password of any characters",
        server: V17,
        keys: "password: {password}",
        sql: &[
            "CREATE ROLE {row} LOGIN REPLICATION PASSWORD {password}; GRANT SELECT ON goods TO {row}",
            PUBLISHED,
        ],
        expected: Arrives,
    },
    Row {
        what: "a password that is kept as MD5",
        server: V17,
        keys: "",
        sql: &["SET password_encryption = 'md5'", LEAST, PUBLISHED, HASHED],
        expected: Arrives,
    },
    Row {
        what: "through a role that it is a member of",
        server: V17,
        keys: "",
        sql: &[
            "CREATE ROLE {row}_readers; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {row}_readers; CREATE ROLE {row} LOGIN REPLICATION PASSWORD 'geheim' IN ROLE {row}_readers",
            PUBLISHED,
        ],
        expected: Arrives,
    },
    // Publications.
    Row {
        what: "that the tool makes",
        server: V17,
        keys: "",
        sql: &[OWNER],
        expected: Arrives,
    },
    Row {
        what: "that there is not, and the role may not make",
        server: V17,
        keys: "",
        sql: &[LEAST],
        expected: Refused(1, &["may not make it", r#"CREATE PUBLICATION "r"#]),
    },
    Row {
        what: "FOR ALL TABLES",
        server: V17,
        keys: "",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR ALL TABLES"],
        expected: Arrives,
    },
    Row {
        what: "FOR TABLES IN SCHEMA",
        server: V17,
        keys: "",
        sql: &[
            LEAST,
            "CREATE PUBLICATION {row} FOR TABLES IN SCHEMA public",
        ],
        expected: Arrives,
    },
    Row {
        what: "of another owner than the tables'",
        server: V17,
        keys: "",
        sql: &[OWNER, PUBLISHED],
        expected: Arrives,
    },
    Row {
        what: "without the table, of another owner",
        server: V17,
        keys: "",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR TABLE more"],
        expected: Refused(
            1,
            &["is without public.goods", r#"ADD TABLE "public"."goods""#],
        ),
    },
    Row {
        what: "without the table, of the role's own",
        server: V17,
        keys: "",
        sql: &[
            OWNER,
            "CREATE PUBLICATION {row} FOR TABLE more; ALTER PUBLICATION {row} OWNER TO {row}",
        ],
        expected: Arrives,
    },
    Row {
        what: "of inserts only",
        server: V17,
        keys: "",
        sql: &[
            LEAST,
            "CREATE PUBLICATION {row} FOR TABLE goods WITH (publish = 'insert')",
        ],
        expected: Refused(
            1,
            &[
                "does not publish update, delete, truncate",
                "SET (publish = 'insert, update, delete, truncate')",
            ],
        ),
    },
    Row {
        what: "of some columns",
        server: V17,
        keys: "",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR TABLE goods (id)"],
        expected: Refused(1, &["sends no note of public.goods"]),
    },
    Row {
        what: "of some rows",
        server: V17,
        keys: "",
        sql: &[
            LEAST,
            "CREATE PUBLICATION {row} FOR TABLE goods WHERE (id > 1)",
        ],
        expected: Refused(1, &["only rows with (id > 1)"]),
    },
    // Versions.
    Row {
        what: "encrypted only, a publication FOR ALL TABLES",
        server: VERSIONS[0],
        keys: "sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR ALL TABLES", ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "a publication that the tool makes",
        server: VERSIONS[0],
        keys: "",
        sql: &[OWNER],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, disable",
        server: VERSIONS[0],
        keys: "sslmode: disable",
        sql: &[LEAST, PUBLISHED, ENCRYPTED],
        expected: Refused(1, &["SSL off", "correct postgres.sslmode in the profile"]),
    },
    Row {
        what: "without the table, of the role's own",
        server: VERSIONS[0],
        keys: "",
        sql: &[
            OWNER,
            "CREATE PUBLICATION {row} FOR TABLE more; ALTER PUBLICATION {row} OWNER TO {row}",
        ],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, a publication FOR ALL TABLES",
        server: VERSIONS[1],
        keys: "sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR ALL TABLES", ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "a publication that the tool makes",
        server: VERSIONS[1],
        keys: "",
        sql: &[OWNER],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, a publication FOR ALL TABLES",
        server: VERSIONS[2],
        keys: "sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR ALL TABLES", ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "a publication that the tool makes",
        server: VERSIONS[2],
        keys: "",
        sql: &[OWNER],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, disable",
        server: VERSIONS[2],
        keys: "sslmode: disable",
        sql: &[LEAST, PUBLISHED, ENCRYPTED],
        expected: Refused(
            1,
            &["no encryption", "correct postgres.sslmode in the profile"],
        ),
    },
    Row {
        what: "without the table, of the role's own",
        server: VERSIONS[2],
        keys: "",
        sql: &[
            OWNER,
            "CREATE PUBLICATION {row} FOR TABLE more; ALTER PUBLICATION {row} OWNER TO {row}",
        ],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, a publication FOR ALL TABLES",
        server: VERSIONS[3],
        keys: "sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR ALL TABLES", ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "a publication that the tool makes",
        server: VERSIONS[3],
        keys: "",
        sql: &[OWNER],
        expected: Arrives,
    },
    Row {
        what: "encrypted only, a publication FOR ALL TABLES",
        server: VERSIONS[5],
        keys: "sslmode: verify-full, sslrootcert: '{ca}'",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR ALL TABLES", ENCRYPTED],
        expected: Arrives,
    },
    Row {
        what: "a publication that the tool makes",
        server: VERSIONS[5],
        keys: "",
        sql: &[OWNER],
        expected: Arrives,
    },
    Row {
        what: "of some columns",
        server: VERSIONS[2],
        keys: "",
        sql: &[LEAST, "CREATE PUBLICATION {row} FOR TABLE goods (id)"],
        expected: Refused(1, &["sends no note of public.goods"]),
    },
    Row {
        what: "a password that is kept as MD5",
        server: VERSIONS[0],
        keys: "",
        sql: &["SET password_encryption = 'md5'", LEAST, PUBLISHED, HASHED],
        expected: Arrives,
    },
    Row {
        what: "a password that is kept as MD5",
        server: VERSIONS[5],
        keys: "",
        sql: &["SET password_encryption = 'md5'", LEAST, PUBLISHED, HASHED],
        expected: Arrives,
    },
];

fn rows() -> impl Iterator<Item = (String, &'static Row)> {
    ROWS.iter()
        .enumerate()
        .map(|(at, row)| (format!("r{at:02}"), row))
}

struct Table {
    sandbox: Sandbox,
    servers: Vec<(&'static str, Server)>,
    ca: String,
    other: String,
}

impl Table {
    async fn new() -> Self {
        let mut sandbox = Sandbox::new("external-table");
        sandbox
            .ports
            .retain(|key, _| !["postgres.port", "mongodb.port"].contains(key));
        let authority = Authority::new();
        let (pem, key) = authority.certificate(&["localhost"]);
        let certificate = Certificate {
            pem: &pem,
            key: &key,
        };
        let binaries = server::binaries(&VERSIONS).await;
        let mut servers: Vec<(&str, Server)> = VERSIONS
            .into_iter()
            .zip(&binaries)
            .map(|(version, binaries)| {
                let dir = sandbox.state().join(version);
                (
                    version,
                    Server::start(binaries, &dir, Some(&certificate), "logical"),
                )
            })
            .collect();
        for (name, binaries, level) in [
            (WITHOUT_TLS, &binaries[4], "logical"),
            (REPLICA, &binaries[5], "replica"),
        ] {
            let dir = sandbox.state().join(name);
            servers.push((name, Server::start(binaries, &dir, None, level)));
        }
        for (_, server) in &servers {
            let groups = "CREATE ROLE encrypted; CREATE ROLE plain; CREATE ROLE hashed";
            server
                .session("postgres")
                .await
                .execute(groups)
                .await
                .unwrap();
        }
        let file = |name: &str, pem: &str| {
            let path = sandbox.state().join(name);
            std::fs::write(&path, pem).unwrap();
            path.display().to_string()
        };
        let (ca, other) = (
            file("ca.pem", authority.pem()),
            file("other.pem", Authority::new().pem()),
        );
        Table {
            sandbox,
            servers,
            ca,
            other,
        }
    }

    /// Makes a row's database and profile; returns the administrator's session.
    async fn prepare(&mut self, name: &str, row: &Row) -> Postgres {
        let server = self.servers.iter().find(|(of, _)| *of == row.server);
        let server = &server.expect("a server").1;
        let fill = |text: &str| {
            text.replace("{row}", name)
                .replace("{ca}", &self.ca)
                .replace("{other}", &self.other)
                .replace("{port}", &server.port.to_string())
                .replace("{password}", &literal(PASSWORD))
        };
        let postgres = server.session("postgres").await;
        postgres
            .execute(&fill("CREATE DATABASE {row}"))
            .await
            .unwrap();
        let admin = server.session(name).await;
        for sql in [TABLES].iter().chain(row.sql) {
            let done = admin.execute(&fill(sql)).await;
            done.unwrap_or_else(|error| panic!("{}: {sql}: {error}", row.what));
        }
        let keys = [
            ("external", "'localhost:{port}'"),
            ("database", "'{row}'"),
            ("user", "'{row}'"),
            ("password", "geheim"),
        ];
        let keys = keys
            .iter()
            .filter(|(key, _)| !row.keys.contains(&format!("{key}: ")));
        let keys: Vec<String> = keys.map(|(key, value)| format!("{key}: {value}")).collect();
        let profile = fill(&format!(
            "postgres: {{schema: [], {}, {}}}\n\
             connectors:\n  {{row}}: {{source: postgres, prefix: {{row}}, slot: {{row}}, publication: {{row}}, config: {{}}}}\n\
             flows:\n  {{row}}: {{connector: {{row}}, table: public.goods, keep: latest, key: [id], group: {{row}}}}\n",
            keys.join(", "),
            row.keys
        ));
        self.sandbox.profile = Some(write(&self.sandbox, "table", &profile));
        admin
    }

    /// Runs `up` and looks; says what is not as expected.
    async fn outcome(&self, name: &str, row: &Row, admin: &Postgres) -> Result<(), String> {
        let output = self.sandbox.run(&["up"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let slots =
            format!("SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = '{name}'");
        let slots = admin.value(&slots).await.unwrap();
        match (&row.expected, output.status.code()) {
            (Arrives, Some(0)) => {
                self.arrives(name, "2").await?;
                let insert = "INSERT INTO goods VALUES (3, 'three')";
                admin.execute(insert).await.unwrap();
                self.arrives(name, "3").await
            }
            (Refused(code, words), got) if got == Some(*code) => {
                match words.iter().find(|word| !text.contains(**word)) {
                    Some(word) => Err(format!("{word:?} is not in: {text}")),
                    None if slots.as_deref() != Some("0") => Err("it left a slot".into()),
                    None => Ok(()),
                }
            }
            (_, code) => Err(format!("ended with {code:?}: {text}")),
        }
    }

    async fn arrives(&self, name: &str, rows: &str) -> Result<(), String> {
        let sql = format!("SELECT count() FROM {name}_silver FINAL");
        let begin = Instant::now();
        loop {
            let found = self.sandbox.clickhouse().text(&sql).await;
            match found {
                Ok(found) if found.trim() == rows => return Ok(()),
                other if begin.elapsed() > Duration::from_secs(60) => {
                    return Err(format!("{rows} rows did not arrive: {other:?}"));
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Ends the row's connector: what it holds is not for the next rows.
    async fn end(&self, name: &str, admin: &Postgres) {
        let at = format!(
            "http://127.0.0.1:{}/connectors/{name}",
            self.sandbox.ports["connect.port"]
        );
        // Before the first `up` that came so far there is no worker, and no connector.
        let _ = reqwest::Client::new().delete(at).send().await;
        let drop = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}'"
        );
        let begin = Instant::now();
        while let Err(error) = admin.execute(&drop).await {
            assert!(begin.elapsed() < Duration::from_secs(30), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn each_configuration_arrives_or_is_refused_with_its_reason() {
    let mut table = Table::new().await;
    let mut wrong = Vec::new();
    for (name, row) in rows() {
        let begin = Instant::now();
        let admin = table.prepare(&name, row).await;
        let outcome = table.outcome(&name, row, &admin).await;
        table.end(&name, &admin).await;
        let (what, took) = (row.what, begin.elapsed().as_secs_f32());
        let word = if outcome.is_ok() {
            "as expected"
        } else {
            "NOT as expected"
        };
        println!("{name} {} {what}: {word}, {took:.1} s", row.server);
        if let Err(why) = outcome {
            wrong.push(format!("{name} {} {what}: {why}", row.server));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
