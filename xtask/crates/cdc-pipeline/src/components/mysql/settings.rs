//! What a profile says of a MySQL server, and what follows from that alone.

use serde::Deserialize;

use super::source::HISTORY;
use crate::error::Result;
use crate::profile::component::{
    Accounts, ConnectorAccount, Named, ObjectName, Program, Source, Space, Spec, Type, decode,
};
use crate::profile::parts::{Bad, Part, Update, Versions};
use crate::profile::rules::{LOGIN, Owned, QUANTITY, Rule, Rules, WITH_DIGEST, is_size};
use crate::profile::schema::{Password, PlatformChoice, Profile, Resources, Settings};

/// The type.
pub static TYPE: Type = Type {
    name: "mysql",
    title: "MySQL",
    short: "mysql",
    source: Some(Source {
        table: "database.table",
        keys: &[],
        has_positions: true,
        has_columns: true,
        has_outbox: false,
        rereads: false,
        numbers_canaries: true,
        plugin: &PLUGIN,
        class: "MySqlConnector",
        history: Some(HISTORY),
        user: "database.user",
        password: "database.password",
    }),
    sink: None,
    reads_topics: None,
    parts: &[&PLUGIN, &SERVER],
    has_node_port: false,
    decode: decode::<MysqlSettings>,
};

static PLUGIN: Part = Part::plugin(
    "plugins.mysql",
    "Debezium's `mysql` plugin",
    &[Bad {
        versions: Versions::below("3.0"),
        with: (&SERVER, Versions::from("8.4")),
        why: "this connector asks `SHOW MASTER STATUS`, which MySQL 8.4 has no more",
        instead: (&PLUGIN, "3.5.0.Final"),
    }],
);

/// The server.
pub static SERVER: Part = Part {
    form: Some(&WITH_DIGEST),
    ..Part::new(
        "mysql",
        "MySQL",
        Update {
            host: "",
            clusters: "the pod of StatefulSet `mysql` rolls; an older version refuses the volume that is there",
        },
    )
};

/// The server's program.
pub const MYSQLD: &str = "mysqld";

/// The administrator that the server's first data has.
const ROOT: &str = "root";

const SIZE: Rule = Rule {
    fits: |text| is_size(text, &["m", "g"]),
    says: "is a size such as `128M`",
};

const OWNED: [Owned; 9] = [
    ("port", Some("port")),
    ("innodb_buffer_pool_size", Some("buffer_pool")),
    ("bind_address", None),
    ("binlog_format", None),
    ("binlog_row_image", None),
    ("datadir", None),
    ("log_bin", None),
    ("server_id", None),
    ("socket", None),
];

/// MySQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MysqlSettings {
    /// The component's name.
    #[serde(skip)]
    pub name: String,
    /// Address of a server that the tool does not run.
    pub external: Option<String>,
    /// Client port.
    pub port: u16,
    /// The user whom the tool logs in as: on a server that it runs `root`.
    pub user: String,
    /// Password; none generates one.
    pub password: Option<Password>,
    /// The user whom connectors log in as (see `profile::logins`).
    pub connector_user: Option<String>,
    /// Their password; none generates one.
    pub connector_password: Option<Password>,
    /// `innodb_buffer_pool_size`.
    pub buffer_pool: String,
    /// SQL files that create the databases and tables.
    pub schema: Vec<String>,
    /// More server settings.
    pub config: Settings,
    /// What the server asks for (Kubernetes).
    pub resources: Resources,
    /// Its volume (Kubernetes).
    pub storage: String,
}

impl Named for MysqlSettings {
    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

impl Spec for MysqlSettings {
    fn name(&self) -> &str {
        &self.name
    }

    fn external(&self) -> Option<&str> {
        self.external.as_deref()
    }

    fn program(&self) -> Option<Program> {
        Some(Program {
            name: MYSQLD,
            without: Some(
                "no `mysqld` in PATH: its connectors and flows are left out \
                 (install MySQL, or set {path}.external=host:port)",
            ),
        })
    }

    fn ports(&self) -> Vec<(&'static str, u16)> {
        vec![("port", self.port)]
    }

    fn check(&self, rules: &Rules<'_>) -> Result<()> {
        rules.obeys("user", &self.user, &LOGIN)?;
        if self.external.is_none() && self.user != ROOT {
            return Err(rules
                .invalid(
                    "user",
                    format!("the tool logs in as `{ROOT}` at a server that it runs"),
                )
                .hint("leave it out; connectors have a user of their own: `connector_user`"));
        }
        rules.obeys("buffer_pool", &self.buffer_pool, &SIZE)?;
        if let Some(user) = &self.connector_user {
            rules.obeys("connector_user", user, &LOGIN)?;
        }
        rules.settings(&self.config, &OWNED)?;
        rules.obeys("storage", &self.storage, &QUANTITY)?;
        rules.resources("resources", &self.resources)?;
        rules.files("schema", "sql", &self.schema)
    }

    fn service(&self, _: &Profile) -> (String, Space, u16) {
        (format!("{}-mysql", self.name), Space::Database, 3306)
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
        // On `host` it is whatever is installed.
        Vec::from_iter(platform.is_cluster().then_some(&SERVER))
    }
}
