//! What a profile says of ClickHouse, and what follows from that alone.

use serde::Deserialize;

use super::types::COLUMNS;
use crate::endpoint::Tls;
use crate::error::Result;
use crate::profile::component::{
    Accounts, Key, Named, ObjectName, Port, Program, Space, Spec, Type, decode,
};
use crate::profile::parts::{Part, Update};
use crate::profile::rules::{LOGIN, MEMORY, NAME, QUANTITY, Rule, Rules};
use crate::profile::schema::{Password, PlatformChoice, Profile, Resources};
use crate::profile::ssl::{Ssl, SslMode};

/// The type.
pub static TYPE: Type = Type {
    name: "clickhouse",
    title: "ClickHouse",
    short: "clickhouse",
    source: None,
    sink: None,
    reads_topics: Some(&COLUMNS),
    parts: &[&ENGINE, &OPERATOR, &SERVER],
    has_node_port: false,
    decode: decode::<ClickhouseSettings>,
};

/// The embedded engine.
pub static ENGINE: Part = Part::new(
    "chdb",
    "chdb",
    Update {
        host: "clickhouse restarts on the data that is there; an older engine may refuse what a newer one wrote",
        clusters: "",
    },
);

/// The operator.
pub static OPERATOR: Part = Part::new(
    "altinity_operator",
    "Altinity's operator",
    Update {
        host: "",
        clusters: "the operator's definitions, roles and Deployment are applied; ClickHouse's pods stay unless it wants them otherwise",
    },
);

/// The server.
pub static SERVER: Part = Part::new(
    "clickhouse",
    "ClickHouse",
    Update {
        host: "",
        clusters: "the pods of ClickHouseInstallation `clickhouse` roll, and its keepers",
    },
);

/// A network in CIDR form.
const NETWORK: Rule = Rule {
    fits: |text| {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<std::net::IpAddr>() else {
            return false;
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
    },
    says: "is a network such as `10.0.0.0/8` or `::/0`",
};

/// The name of the operator's cluster of servers, by which they know each other.
pub const CLUSTER: &str = "my-cluster";

/// The port of its HTTP interface on clusters.
const HTTP: u16 = 8123;

/// The server's program.
pub const PROGRAM: &str = "clickhouse";

/// ClickHouse.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickhouseSettings {
    /// The component's name.
    #[serde(skip)]
    pub name: String,
    /// Address of an HTTP interface that the tool does not run.
    pub external: Option<String>,
    /// How connections to it are encrypted.
    pub sslmode: SslMode,
    /// File of the certificates that sign its own, in PEM.
    pub sslrootcert: Option<String>,
    /// HTTP port.
    pub port: u16,
    /// Database of the silver tables.
    pub database: String,
    /// User.
    pub user: String,
    /// Password; none generates one.
    pub password: Option<Password>,
    /// Memory limit of the engine.
    pub memory: String,
    /// Shards (Kubernetes).
    pub shards: u16,
    /// Servers of each shard (Kubernetes).
    pub replicas: u16,
    /// Members of ClickHouse Keeper (Kubernetes).
    pub keepers: u16,
    /// Networks that users may log in from (Kubernetes).
    pub networks: Vec<String>,
    /// What a server asks for (Kubernetes).
    pub resources: Resources,
    /// What a keeper asks for (Kubernetes).
    pub keeper_resources: Resources,
    /// A server's volume (Kubernetes).
    pub storage: String,
    /// A keeper's volume (Kubernetes).
    pub keeper_storage: String,
}

impl Named for ClickhouseSettings {
    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

impl ClickhouseSettings {
    fn ssl(&self) -> Ssl<'_> {
        Ssl {
            external: self.external.is_some(),
            mode: self.sslmode,
            root: self.sslrootcert.as_deref(),
            default: SslMode::Disable,
            unfit: &[(
                SslMode::Prefer,
                "a port of an HTTP interface takes encrypted connections or unencrypted ones, never both",
            )],
        }
    }

    /// Whether there is more than one server on clusters.
    pub fn is_several(&self) -> bool {
        self.shards > 1 || self.replicas > 1
    }

    /// Whether it has the port 8123 of Kind's node, which is outside the range of a NodePort and
    /// therefore the pod's own. That wants one server, on the node that has this machine's ports,
    /// which is the first; it runs pods only where it is alone.
    pub fn has_node_port(&self, profile: &Profile) -> bool {
        profile.kind.nodes == 1 && !self.is_several()
    }
}

impl Spec for ClickhouseSettings {
    fn name(&self) -> &str {
        &self.name
    }

    fn external(&self) -> Option<&str> {
        self.external.as_deref()
    }

    fn tls(&self) -> Tls {
        self.ssl().tls()
    }

    fn program(&self) -> Option<Program> {
        // Else the embedded engine runs.
        Some(Program {
            name: PROGRAM,
            without: None,
        })
    }

    fn is_http(&self) -> bool {
        true
    }

    fn ports(&self) -> Vec<(&'static str, u16)> {
        vec![("port", self.port)]
    }

    fn host_ports(&self, profile: &Profile) -> Vec<Port> {
        let port = Port {
            key: "port",
            host: self.port,
            node: HTTP,
        };
        self.has_node_port(profile)
            .then_some(port)
            .into_iter()
            .collect()
    }

    fn check(&self, rules: &Rules<'_>) -> Result<()> {
        rules.obeys("database", &self.database, &NAME)?;
        rules.obeys("user", &self.user, &LOGIN)?;
        self.ssl().check(rules)?;
        rules.obeys("memory", &self.memory, &MEMORY)?;
        rules.obeys("storage", &self.storage, &QUANTITY)?;
        rules.obeys("keeper_storage", &self.keeper_storage, &QUANTITY)?;
        rules.resources("resources", &self.resources)?;
        rules.resources("keeper_resources", &self.keeper_resources)?;
        for network in &self.networks {
            rules.obeys("networks", network, &NETWORK)?;
        }
        rules.count("shards", self.shards, &[])?;
        rules.count("replicas", self.replicas, &[])?;
        rules.count("keepers", self.keepers, &[0, 1, 3, 5])?;
        if self.replicas > 1 && self.keepers == 0 {
            return Err(rules
                .invalid(
                    "replicas",
                    "replicas agree through ClickHouse Keeper, and there is none",
                )
                .hint(format!("set `{}: 3`", rules.key("keepers"))));
        }
        Ok(())
    }

    fn service(&self, _: &Profile) -> (String, Space, u16) {
        (format!("{}-clickhouse", self.name), Space::Database, HTTP)
    }

    fn servers(&self) -> Vec<(u16, String)> {
        if !self.is_several() {
            return Vec::new();
        }
        (0..self.shards)
            .flat_map(|shard| (0..self.replicas).map(move |replica| (shard, replica)))
            .map(|(shard, replica)| {
                (
                    shard,
                    format!("chi-{}-{CLUSTER}-{shard}-{replica}-0", self.name),
                )
            })
            .collect()
    }

    fn accounts(&self) -> Option<Accounts<'_>> {
        Some(Accounts {
            user: &self.user,
            password: self.password.as_ref(),
            connector: None,
        })
    }

    fn keys(&self, _: &Profile) -> Vec<Key> {
        // The user that its operator makes for itself.
        vec![Key {
            suffix: "operator".into(),
            on_clusters: true,
        }]
    }

    fn objects(&self, _: &Profile) -> Vec<(Space, ObjectName)> {
        let object = |api, kind| {
            let name = self.name.clone();
            (Space::Database, ObjectName { api, kind, name })
        };
        let mut objects = Vec::new();
        if self.keepers > 0 {
            const KEEPERS: &str = "clickhouse-keeper.altinity.com/v1";
            objects.push(object(KEEPERS, "ClickHouseKeeperInstallation"));
        }
        objects.push(object(
            "clickhouse.altinity.com/v1",
            "ClickHouseInstallation",
        ));
        objects
    }

    fn versions(&self, platform: PlatformChoice) -> Vec<&'static Part> {
        match platform {
            PlatformChoice::Host => vec![&ENGINE],
            PlatformChoice::Kind | PlatformChoice::Kubernetes => {
                vec![&SERVER, &OPERATOR]
            }
            PlatformChoice::Auto => Vec::new(),
        }
    }
}
