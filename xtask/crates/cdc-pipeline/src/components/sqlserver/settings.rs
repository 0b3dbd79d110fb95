//! What a profile says of a SQL Server, and what follows from that alone.

use serde::Deserialize;

use super::source::HISTORY;
use crate::endpoint::Tls;
use crate::error::Result;
use crate::profile::component::{
    Accounts, ConnectorAccount, Named, ObjectName, Source, Space, Spec, Type, decode,
};
use crate::profile::parts::{Bad, KAFKA, Part, Update, Versions};
use crate::profile::rules::{LOGIN, Owned, QUANTITY, Rules, WITH_DIGEST, WORD};
use crate::profile::schema::{Password, PlatformChoice, Profile, Resources, Settings};
use crate::profile::ssl::{Ssl, SslMode};

/// The type.
pub static TYPE: Type = Type {
    name: "sqlserver",
    title: "SQL Server",
    short: "mssql",
    source: Some(Source {
        table: "database.schema.table",
        keys: &[],
        has_positions: true,
        has_columns: true,
        has_outbox: false,
        rereads: false,
        numbers_canaries: true,
        plugin: &PLUGIN,
        class: "SqlServerConnector",
        history: Some(HISTORY),
        user: "database.user",
        password: "database.password",
    }),
    sink: None,
    reads_topics: None,
    parts: &[&PLUGIN, &SERVER],
    has_node_port: false,
    decode: decode::<SqlserverSettings>,
};

/// Debezium's connector.
pub static PLUGIN: Part = Part::plugin(
    "plugins.sqlserver",
    "Debezium's `sqlserver` plugin",
    &[Bad {
        versions: Versions::below("3.0"),
        with: (&KAFKA, Versions::from("4.0")),
        why: "the recovery of its schema history calls `KafkaConsumer.poll(long)`, which Kafka 4 has no more",
        instead: (&PLUGIN, "3.5.0.Final"),
    }],
);

/// The server.
pub static SERVER: Part = Part {
    form: Some(&WITH_DIGEST),
    ..Part::new(
        "sqlserver",
        "SQL Server",
        Update {
            host: "",
            clusters: "the pod of StatefulSet `sqlserver` rolls; an older version refuses the volume that is there",
        },
    )
};

/// The administrator that a new server has.
const ADMINISTRATOR: &str = "sa";

/// Databases of the server's own, of which changes are not captured.
const SYSTEM: [&str; 4] = ["master", "model", "msdb", "tempdb"];

const OWNED: [Owned; 5] = [
    ("ACCEPT_EULA", Some("accept_eula")),
    ("MSSQL_SA_PASSWORD", Some("password")),
    ("MSSQL_AGENT_ENABLED", None),
    ("MSSQL_TCP_PORT", None),
    ("MSSQL_PID", None),
];

/// SQL Server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlserverSettings {
    /// The component's name.
    #[serde(skip)]
    pub name: String,
    /// Address of a server that the tool does not run.
    pub external: Option<String>,
    /// Whether the user accepts Microsoft's terms for the server's image.
    pub accept_eula: bool,
    /// How connections to an external one are encrypted.
    pub sslmode: SslMode,
    /// File of the certificates that sign its own, in PEM.
    pub sslrootcert: Option<String>,
    /// Client port.
    pub port: u16,
    /// The database that sessions of this tool use; on a server that it runs, it makes it.
    pub database: String,
    /// The login that this tool uses: on a server that it runs `sa`.
    pub user: String,
    /// Password; none generates one.
    pub password: Option<Password>,
    /// The login that connectors use (see `profile::logins`).
    pub connector_user: Option<String>,
    /// Their password; none generates one.
    pub connector_password: Option<Password>,
    /// SQL files that create the tables.
    pub schema: Vec<String>,
    /// More server settings, by the names of its environment variables.
    pub config: Settings,
    /// What the server asks for (Kubernetes).
    pub resources: Resources,
    /// Its volume (Kubernetes).
    pub storage: String,
}

impl Named for SqlserverSettings {
    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

impl SqlserverSettings {
    fn ssl(&self) -> Ssl<'_> {
        Ssl {
            external: self.external.is_some(),
            mode: self.sslmode,
            root: self.sslrootcert.as_deref(),
            default: SslMode::Disable,
            unfit: &[(
                SslMode::Prefer,
                "connections to SQL Server are encrypted or they are not: set `disable`, `require` or `verify-full`",
            )],
        }
    }
}

impl Spec for SqlserverSettings {
    fn name(&self) -> &str {
        &self.name
    }

    fn external(&self) -> Option<&str> {
        self.external.as_deref()
    }

    fn tls(&self) -> Tls {
        self.ssl().tls()
    }

    fn ports(&self) -> Vec<(&'static str, u16)> {
        vec![("port", self.port)]
    }

    fn check(&self, rules: &Rules<'_>) -> Result<()> {
        rules.obeys("database", &self.database, &WORD)?;
        if SYSTEM.contains(&self.database.to_lowercase().as_str()) {
            let what = format!("`{}` is a database of the server's own", self.database);
            let hint = "changes of it are not captured: name another one, such as `shop`";
            return Err(rules.invalid("database", what).hint(hint));
        }
        rules.obeys("user", &self.user, &LOGIN)?;
        if self.external.is_none() && self.user != ADMINISTRATOR {
            let what = format!("this tool logs in as `{ADMINISTRATOR}` at a server that it runs");
            return Err(rules
                .invalid("user", what)
                .hint("leave it out; connectors have a login of their own: `connector_user`"));
        }
        if let Some(user) = &self.connector_user {
            rules.obeys("connector_user", user, &LOGIN)?;
        }
        self.ssl().check(rules)?;
        rules.settings(&self.config, &OWNED)?;
        rules.obeys("storage", &self.storage, &QUANTITY)?;
        rules.resources("resources", &self.resources)?;
        rules.files("schema", "sql", &self.schema)
    }

    fn service(&self, _: &Profile) -> (String, Space, u16) {
        (format!("{}-mssql", self.name), Space::Database, 1433)
    }

    fn accounts(&self) -> Option<Accounts<'_>> {
        Some(Accounts {
            user: &self.user,
            password: self.password.as_ref(),
            connector: Some(ConnectorAccount {
                user: self.connector_user.as_deref(),
                password: self.connector_password.as_ref(),
                anybody: false,
            }),
        })
    }

    fn objects(&self, _: &Profile) -> Vec<(Space, ObjectName)> {
        vec![ObjectName::stateful_set(&self.name)]
    }

    fn versions(&self, platform: PlatformChoice) -> Vec<&'static Part> {
        // On `host` it does not run.
        Vec::from_iter(platform.is_cluster().then_some(&SERVER))
    }
}
