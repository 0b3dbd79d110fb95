//! What a profile says of a MongoDB replica set, and what follows from that alone.

use serde::{Deserialize, Serialize};

use crate::clients::mongodb::servers::Servers;
use crate::endpoint::Tls;
use crate::error::Result;
use crate::profile::component::{
    Accounts, ConnectorAccount, Key, Named, ObjectName, Program, Source, Space, Spec, Type, decode,
};
use crate::profile::parts::{Bad, Part, Update, Versions};
use crate::profile::rules::{MEMORY, NAME, ONE_LINE, QUANTITY, Rule, Rules, WITH_DIGEST};
use crate::profile::schema::{Password, PlatformChoice, Profile, Resources};

/// The type.
pub static TYPE: Type = Type {
    name: "mongodb",
    title: "MongoDB",
    short: "mongo",
    source: Some(Source {
        table: "database.collection",
        keys: &[],
        has_positions: false,
        has_columns: false,
        has_outbox: false,
        rereads: false,
        numbers_canaries: false,
        plugin: &PLUGIN,
        class: "MongoDbConnector",
        history: None,
        user: "mongodb.user",
        password: "mongodb.password",
    }),
    sink: None,
    reads_topics: None,
    parts: &[&PLUGIN, &SERVER],
    has_node_port: false,
    decode: decode::<MongodbSettings>,
};

// The ranges of servers are those of Debezium's release pages, series 2.7 and 3.4 to 3.7 (debezium.github.io,
// `_data/releases/<series>/series.yml`).
static PLUGIN: Part = Part::plugin(
    "plugins.mongodb",
    "Debezium's `mongodb` plugin",
    &[
        Bad {
            versions: Versions::series("2.7", "3.0"),
            with: (&SERVER, Versions::from("8.0")),
            why: "this connector is tested with MongoDB 5.0 to 7.0",
            instead: (&SERVER, "7.0.41"),
        },
        Bad {
            versions: Versions::series("3.4", "3.8"),
            with: (&SERVER, Versions::below("6.0")),
            why: "this connector is tested with MongoDB 6.0 to 8.0",
            instead: (&SERVER, "8.0.30"),
        },
    ],
);

/// The server.
pub static SERVER: Part = Part {
    form: Some(&WITH_DIGEST),
    ..Part::new(
        "mongodb",
        "MongoDB",
        Update {
            host: "",
            clusters: "the pods of StatefulSet `mongo` roll, one after the other",
        },
    )
};

/// The server's program.
pub const MONGOD: &str = "mongod";

/// What users of a set may be called that somebody else runs.
const THEIR_NAME: Rule = Rule {
    fits: |text| !text.is_empty() && (ONE_LINE.fits)(text),
    says: ONE_LINE.says,
};

/// MongoDB.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongodbSettings {
    /// The component's name.
    #[serde(skip)]
    pub name: String,
    /// Where a replica set answers that the tool does not run, see [`Servers`].
    pub external: Option<String>,
    /// How connections to it are encrypted; none is as its address has it.
    pub sslmode: Option<SslMode>,
    /// File of the certificates that sign its own, in PEM.
    pub sslrootcert: Option<String>,
    /// Client port.
    pub port: u16,
    /// Replica set name.
    pub replica_set: String,
    /// The user whom the tool logs in as; empty connects without credentials.
    pub user: String,
    /// Password; none generates one.
    pub password: Option<Password>,
    /// The user whom connectors log in as (see `profile::logins`).
    pub connector_user: Option<String>,
    /// Their password; none generates one.
    pub connector_password: Option<Password>,
    /// WiredTiger cache size.
    pub cache: String,
    /// Seed files.
    pub seed: Vec<String>,
    /// Members of the replica set (Kubernetes).
    pub replicas: u16,
    /// What a member asks for (Kubernetes).
    pub resources: Resources,
    /// A member's volume (Kubernetes).
    pub storage: String,
}

/// How connections to a set that the user runs are encrypted, in libpq's words. Its connector's driver knows no
/// encryption without verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// They are not.
    Disable,
    /// They are, and the server's certificate is checked.
    VerifyFull,
}

impl Named for MongodbSettings {
    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

impl MongodbSettings {
    /// Where the set answers that the user runs.
    pub fn servers(&self) -> Option<Servers> {
        Servers::parse(self.external.as_deref()?).ok()
    }

    /// The set's name; none where the name service has it.
    pub fn set(&self) -> Option<&str> {
        let srv = self.servers().is_some_and(|it| it.srv);
        (!srv).then_some(self.replica_set.as_str())
    }

    /// A set that the name service knows is encrypted, unless the profile says otherwise.
    fn mode(&self) -> SslMode {
        let srv = self.servers().is_some_and(|it| it.srv);
        self.sslmode.unwrap_or(match srv {
            true => SslMode::VerifyFull,
            false => SslMode::Disable,
        })
    }

    fn check_external(&self, rules: &Rules<'_>) -> Result<()> {
        let Some(external) = &self.external else {
            let given = [
                ("sslmode", self.sslmode.is_some()),
                ("sslrootcert", self.sslrootcert.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(rules
                    .invalid(key, "it is for a server that you run yourself")
                    .hint(format!(
                        "leave it out, or name the server: {}",
                        rules.key("external")
                    ))),
                None => Ok(()),
            };
        };
        if let Err(unusable) = Servers::parse(external) {
            let hint = unusable.hint.replace("{path}", rules.path());
            return Err(rules.invalid("external", unusable.what).hint(hint));
        }
        match (self.mode(), &self.sslrootcert) {
            (SslMode::VerifyFull, None) => Err(rules
                .invalid(
                    if self.sslmode.is_some() { "sslmode" } else { "external" },
                    "it is encrypted, which wants the certificates to verify with",
                )
                .hint(format!(
                    "name a file with them, in PEM: {}; public authorities are in /etc/ssl/certs/ca-certificates.crt on many systems",
                    rules.key("sslrootcert")
                ))),
            (SslMode::Disable, Some(_)) => Err(rules
                .invalid("sslrootcert", "only `verify-full` checks certificates")
                .hint(format!("set {}=verify-full", rules.key("sslmode")))),
            (SslMode::VerifyFull, Some(path)) => rules.pem("sslrootcert", path),
            (SslMode::Disable, None) => Ok(()),
        }
    }

    /// What its objects on a cluster are called.
    pub fn resource(&self) -> &str {
        match self.name.as_str() {
            "mongodb" => "mongo",
            other => other,
        }
    }

    /// The members of the replica set on a cluster, as they find each other.
    pub fn members(&self, profile: &Profile) -> Vec<String> {
        let namespace = profile.namespace(Space::Database);
        let name = self.resource();
        let service = format!("{name}-mongodb.{namespace}.svc.cluster.local:27017");
        match self.replicas {
            1 => vec![service],
            several => (0..several)
                .map(|member| format!("{name}-{member}.{service}"))
                .collect(),
        }
    }
}

impl Spec for MongodbSettings {
    fn name(&self) -> &str {
        &self.name
    }

    fn external(&self) -> Option<&str> {
        self.external.as_deref()
    }

    fn has_own_addresses(&self) -> bool {
        true
    }

    fn tls(&self) -> Tls {
        match (self.mode(), &self.sslrootcert) {
            (SslMode::VerifyFull, Some(ca)) => Tls::VerifyFull { ca: ca.into() },
            _ => Tls::Disable,
        }
    }

    fn program(&self) -> Option<Program> {
        Some(Program {
            name: MONGOD,
            without: Some(
                "no `mongod` in PATH: its connector and flows are left out \
                 (install MongoDB, or set {path}.external=host:port)",
            ),
        })
    }

    fn ports(&self) -> Vec<(&'static str, u16)> {
        vec![("port", self.port)]
    }

    fn check(&self, rules: &Rules<'_>) -> Result<()> {
        rules.obeys("replica_set", &self.replica_set, &NAME)?;
        rules.obeys("cache", &self.cache, &MEMORY)?;
        self.check_external(rules)?;
        let name = match self.external {
            Some(_) => &THEIR_NAME,
            None => &NAME,
        };
        // A set without users.
        if !(self.user.is_empty() && self.external.is_some()) {
            rules.obeys("user", &self.user, name)?;
        }
        if let Some(user) = &self.connector_user {
            rules.obeys("connector_user", user, name)?;
        }
        rules.obeys("storage", &self.storage, &QUANTITY)?;
        rules.resources("resources", &self.resources)?;
        rules.count("replicas", self.replicas, &[1, 3, 5, 7])?;
        rules.files("seed", "seed", &self.seed)
    }

    fn service(&self, _: &Profile) -> (String, Space, u16) {
        (
            format!("{}-mongodb", self.resource()),
            Space::Database,
            27017,
        )
    }

    /// Of several members the first one is the primary whenever it can.
    fn first_pod(&self) -> Option<String> {
        (self.replicas > 1).then(|| format!("{}-0", self.resource()))
    }

    fn accounts(&self) -> Option<Accounts<'_>> {
        Some(Accounts {
            user: &self.user,
            password: self.password.as_ref(),
            connector: Some(ConnectorAccount {
                user: self.connector_user.as_deref(),
                password: self.connector_password.as_ref(),
                anybody: true,
            }),
        })
    }

    fn keys(&self, _: &Profile) -> Vec<Key> {
        // What the members prove themselves to each other with.
        vec![Key {
            suffix: "key".into(),
            on_clusters: false,
        }]
    }

    fn objects(&self, _: &Profile) -> Vec<(Space, ObjectName)> {
        vec![ObjectName::stateful_set(self.resource())]
    }

    fn versions(&self, platform: PlatformChoice) -> Vec<&'static Part> {
        // On `host` it is whatever is installed.
        Vec::from_iter(platform.is_cluster().then_some(&SERVER))
    }
}
