//! What a profile says of a PostgreSQL server, and what follows from that alone.

use serde::{Deserialize, Serialize};

use crate::endpoint::Tls;
use crate::error::Result;
use crate::profile::component::{
    Accounts, ConnectorAccount, Named, ObjectName, Port, Sink, Source, Space, Spec, Type, decode,
};
use crate::profile::parts::{self, Bad, Part, Update, Versions as Span};
use crate::profile::rules::{LOGIN, NAME, Owned, QUANTITY, Rule, Rules, is_size};
use crate::profile::schema::{Password, PlatformChoice, Profile, Resources, Settings, Versions};
use crate::profile::ssl::{Ssl, SslMode};

/// The type.
pub static TYPE: Type = Type {
    name: "postgres",
    title: "PostgreSQL",
    short: "postgres",
    source: Some(Source {
        table: "schema.table",
        keys: &["slot", "publication"],
        has_positions: true,
        has_columns: true,
        has_outbox: true,
        rereads: true,
        numbers_canaries: true,
        plugin: &PLUGIN,
        class: "PostgresConnector",
        history: None,
        user: "database.user",
        password: "database.password",
    }),
    sink: Some(Sink {
        plugin: &parts::JDBC,
    }),
    reads_topics: None,
    parts: &[&PLUGIN, &SERVER, &OPERATOR],
    has_node_port: true,
    decode: decode::<PostgresSettings>,
};

// The ranges of servers are those of Debezium's release pages, series 2.7 and 3.4 to 3.7 (debezium.github.io,
// `_data/releases/<series>/series.yml`, and 3.4's overview for PostgreSQL 18).
static PLUGIN: Part = Part::plugin(
    "plugins.postgres",
    "Debezium's `postgres` plugin",
    &[
        Bad {
            versions: Span::series("2.7", "3.0"),
            with: (&SERVER, Span::from("17")),
            why: "this connector is tested with PostgreSQL 10 to 16",
            instead: (&SERVER, "16.10.0"),
        },
        Bad {
            versions: Span::series("3.4", "3.8"),
            with: (&SERVER, Span::below("14")),
            why: "this connector is tested with PostgreSQL 14 to 18",
            instead: (&SERVER, "17.11.0"),
        },
        Bad {
            versions: Span::series("3.4", "3.8"),
            with: (&SERVER, Span::from("19")),
            why: "this connector is tested with PostgreSQL 14 to 18",
            instead: (&SERVER, "17.11.0"),
        },
    ],
);

/// The server.
pub static SERVER: Part = Part::new(
    "postgres",
    "PostgreSQL",
    Update {
        host: "postgres restarts; another major version refuses the data that is there: dump and load it, or `down` first",
        clusters: "the pods of StatefulSet or Cluster `postgres` roll; another major version refuses the volume that is there",
    },
);

/// Its operator.
pub static OPERATOR: Part = Part::new(
    "cloudnative_pg",
    "CloudNativePG",
    Update {
        host: "",
        clusters: "the operator's definitions, roles and Deployment are applied; then PostgreSQL's pods roll, as they carry its manager",
    },
);

const SIZE: Rule = Rule {
    fits: |text| is_size(text, &["kb", "mb", "gb"]),
    says: "is a size such as `32MB`",
};

const OWNED: [Owned; 6] = [
    ("port", Some("port")),
    ("shared_buffers", Some("shared_buffers")),
    ("listen_addresses", None),
    ("unix_socket_directories", None),
    ("data_directory", None),
    ("wal_level", None),
];

/// PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// The component's name.
    #[serde(skip)]
    pub name: String,
    /// Address of a server that the tool does not run.
    pub external: Option<String>,
    /// How connections to it are encrypted.
    pub sslmode: SslMode,
    /// File of the certificates that sign its own, in PEM.
    pub sslrootcert: Option<String>,
    /// Client port.
    pub port: u16,
    /// Database that holds the tables.
    pub database: String,
    /// The user whom the tool logs in as: the owner of the tables, and on a server that it runs the
    /// superuser.
    pub user: String,
    /// Password; none generates one.
    pub password: Option<Password>,
    /// The user whom connectors log in as (see `profile::logins`).
    pub connector_user: Option<String>,
    /// Their password; none generates one.
    pub connector_password: Option<Password>,
    /// `shared_buffers`.
    pub shared_buffers: String,
    /// SQL files that create the tables.
    pub schema: Vec<String>,
    /// More server settings.
    pub config: Settings,
    /// What runs it (Kubernetes).
    pub managed_by: Manager,
    /// Members (Kubernetes).
    pub replicas: u16,
    /// What a member asks for (Kubernetes).
    pub resources: Resources,
    /// A member's volume (Kubernetes).
    pub storage: String,
}

/// What runs PostgreSQL on Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// A StatefulSet of the tool's own.
    Statefulset,
    /// The CloudNativePG operator.
    #[serde(rename = "cloudnative-pg")]
    CloudNativePg,
}

impl Named for PostgresSettings {
    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

impl PostgresSettings {
    /// Its port of Kind's node; those that have names of their own are reached through the API server.
    pub fn node_port(&self, profile: &Profile) -> Option<u16> {
        let own = self.name == TYPE.name;
        own.then(|| profile.kind.node_port(&self.name)).flatten()
    }

    fn ssl(&self) -> Ssl<'_> {
        Ssl {
            external: self.external.is_some(),
            mode: self.sslmode,
            root: self.sslrootcert.as_deref(),
            default: SslMode::Prefer,
            unfit: &[],
        }
    }

    /// Whether CloudNativePG runs it on clusters.
    pub fn is_operated(&self) -> bool {
        self.managed_by == Manager::CloudNativePg
    }
}

impl Spec for PostgresSettings {
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

    fn host_ports(&self, profile: &Profile) -> Vec<Port> {
        let port = |node| Port {
            key: "port",
            host: self.port,
            node,
        };
        self.node_port(profile).map(port).into_iter().collect()
    }

    fn check(&self, rules: &Rules<'_>) -> Result<()> {
        rules.obeys("database", &self.database, &NAME)?;
        rules.obeys("user", &self.user, &LOGIN)?;
        rules.obeys("shared_buffers", &self.shared_buffers, &SIZE)?;
        if let Some(user) = &self.connector_user {
            rules.obeys("connector_user", user, &LOGIN)?;
        }
        rules.settings(&self.config, &OWNED)?;
        self.ssl().check(rules)?;
        rules.obeys("storage", &self.storage, &QUANTITY)?;
        rules.resources("resources", &self.resources)?;
        rules.count("replicas", self.replicas, &[])?;
        rules.files("schema", "sql", &self.schema)?;
        match self.managed_by {
            Manager::Statefulset if self.replicas > 1 => Err(rules
                .invalid(
                    "replicas",
                    format!("a StatefulSet runs one server, not {}", self.replicas),
                )
                .hint(format!(
                    "set `{}: cloudnative-pg`, which replicates",
                    rules.key("managed_by")
                ))),
            Manager::CloudNativePg if self.user == "postgres" => Err(rules
                .invalid("user", "CloudNativePG keeps `postgres` for itself")
                .hint("name a user of your own: it owns the database and may replicate")),
            Manager::CloudNativePg if self.database == "postgres" => Err(rules
                .invalid("database", "CloudNativePG keeps `postgres` for itself")
                .hint("name a database of your own, such as `app`")),
            Manager::Statefulset | Manager::CloudNativePg => Ok(()),
        }
    }

    fn service(&self, _: &Profile) -> (String, Space, u16) {
        (format!("{}-postgresql", self.name), Space::Database, 5432)
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
        let (api, kind) = match self.managed_by {
            Manager::Statefulset => ("apps/v1", "StatefulSet"),
            Manager::CloudNativePg => ("postgresql.cnpg.io/v1", "Cluster"),
        };
        let name = self.name.clone();
        vec![(Space::Database, ObjectName { api, kind, name })]
    }

    fn versions(&self, platform: PlatformChoice) -> Vec<&'static Part> {
        let clusters = platform.is_cluster();
        let mut used = vec![&SERVER];
        used.extend((clusters && self.is_operated()).then_some(&OPERATOR));
        used
    }
}

/// The tag of PostgreSQL's image: the binaries' version without its last part, which is not the
/// server's.
pub fn image_tag(versions: &Versions) -> &str {
    let version = versions.of(&SERVER);
    match version.match_indices('.').nth(1) {
        Some((at, _)) => &version[..at],
        None => version,
    }
}

/// PostgreSQL's major version.
pub fn major(versions: &Versions) -> Option<u32> {
    versions.of(&SERVER).split('.').next()?.parse().ok()
}

/// Where PostgreSQL's image wants its volume. 18 moved it, and refuses to make its first data while
/// something is mounted at the old place.
pub fn volume(versions: &Versions) -> &'static str {
    match major(versions) {
        Some(..18) => "/var/lib/postgresql/data",
        Some(_) | None => "/var/lib/postgresql",
    }
}
