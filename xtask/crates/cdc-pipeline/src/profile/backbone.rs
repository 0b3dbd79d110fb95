//! Kafka and Connect, which every pipeline is made of: the two types whose settings all others may ask for.

use super::component::{Accounts, Key, Named, ObjectName, Port, Space, Spec, Type, decode};
use super::kubernetes::BrokerPort;
use super::parts::{self, Part};
use super::rules::{IMAGE, JVM_SIZE, NAME, Owned, QUANTITY, Rule, Rules};
use super::schema::{Connect, Kafka, KafkaSecurity, PlatformChoice, Profile, Sasl};
use super::ssl::{Ssl, SslMode};
use crate::endpoint::Tls;
use crate::error::Result;

/// Kafka's type.
pub static KAFKA: Type = Type {
    name: "kafka",
    title: "Kafka",
    short: "kafka",
    source: None,
    sink: None,
    reads_topics: None,
    parts: &[],
    has_node_port: true,
    decode: decode::<Kafka>,
};

/// Connect's type.
pub static CONNECT: Type = Type {
    name: "connect",
    title: "Connect",
    short: "connect",
    source: None,
    sink: None,
    reads_topics: None,
    parts: &[],
    has_node_port: true,
    decode: decode::<Connect>,
};

/// What Strimzi's objects are called.
pub const KAFKA_CLUSTER: &str = "my-cluster";
/// Strimzi's pool of brokers.
pub const KAFKA_POOL: &str = "my-pool";
/// Strimzi's cluster of workers.
pub const CONNECT_CLUSTER: &str = "my-connect-cluster";
/// The API of Strimzi's resources.
pub const STRIMZI: &str = "kafka.strimzi.io/v1";

const KAFKA_OWNED: [Owned; 9] = [
    ("listeners", Some("port")),
    ("advertised.listeners", Some("port")),
    ("controller.quorum.voters", Some("controller_port")),
    ("controller.listener.names", None),
    ("listener.security.protocol.map", None),
    ("inter.broker.listener.name", None),
    ("log.dirs", None),
    ("node.id", None),
    ("process.roles", None),
];

const CONNECT_OWNED: [Owned; 8] = [
    ("bootstrap.servers", Some("kafka.port")),
    ("group.id", Some("group")),
    ("config.storage.topic", Some("group")),
    ("offset.storage.topic", Some("group")),
    ("status.storage.topic", Some("group")),
    ("listeners", Some("port")),
    ("rest.advertised.port", Some("port")),
    ("plugin.path", None),
];

/// A user of Kafka's. Some services call theirs `$ConnectionString`.
const USER: Rule = Rule {
    fits: |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()),
    says: "has printable ASCII characters without blanks only",
};

fn object(kind: &'static str, name: &str) -> (Space, ObjectName) {
    let object = ObjectName {
        api: STRIMZI,
        kind,
        name: name.to_owned(),
    };
    (Space::Kafka, object)
}

impl Named for Kafka {
    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

impl Kafka {
    /// Each broker's ports on Kind, of which the first leads to `first_node_port`.
    pub(super) fn broker_ports(&self, first_node_port: u16) -> Vec<BrokerPort> {
        (0..self.replicas)
            .map(|broker| BrokerPort {
                broker,
                host: self.port.saturating_add(broker),
                node: first_node_port.saturating_add(broker),
            })
            .collect()
    }

    fn ssl(&self) -> Ssl<'_> {
        Ssl {
            external: self.external.is_some(),
            mode: self.sslmode,
            root: self.sslrootcert.as_deref(),
            default: SslMode::Disable,
            unfit: &[
                (
                    SslMode::Prefer,
                    "a broker's port takes encrypted connections or unencrypted ones, never both",
                ),
                (
                    SslMode::Require,
                    "Kafka's Java clients always check the broker's certificate",
                ),
            ],
        }
    }

    fn check_login(&self, rules: &Rules<'_>) -> Result<()> {
        let given = [
            ("sasl", self.sasl.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
        ];
        for (key, is_given) in given {
            if is_given && self.external.is_none() {
                return Err(rules.for_external(key));
            }
            if is_given && self.sasl.is_none() {
                let hint = format!(
                    "say how it does: {}=scram-sha-512, scram-sha-256 or plain",
                    rules.key("sasl")
                );
                return Err(rules
                    .invalid(key, "without `sasl` nobody logs in")
                    .hint(hint));
            }
        }
        if let Some(user) = &self.user {
            rules.obeys("user", user, &USER)?;
        }
        match self.sasl {
            Some(_) if self.user.is_none() => Err(rules
                .invalid("sasl", "a login wants a user")
                .hint(format!("name it: {}", rules.key("user")))),
            Some(Sasl::Plain) if self.sslmode == SslMode::Disable => Err(rules
                .invalid(
                    "sasl",
                    "`plain` sends the password as it is, which wants TLS",
                )
                .hint(format!("set {}=verify-full", rules.key("sslmode")))),
            _ => Ok(()),
        }
    }

    /// Whether clients log in over TLS on clusters.
    pub fn is_secured(&self) -> bool {
        self.security == KafkaSecurity::Scram
    }
}

impl Spec for Kafka {
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
        vec![
            ("port", self.port),
            ("controller_port", self.controller_port),
        ]
    }

    fn host_ports(&self, profile: &Profile) -> Vec<Port> {
        let ports = profile.broker_ports().into_iter();
        ports
            .map(|port| Port {
                key: "port",
                host: port.host,
                node: port.node,
            })
            .collect()
    }

    fn check(&self, rules: &Rules<'_>) -> Result<()> {
        rules.obeys("heap", &self.heap, &JVM_SIZE)?;
        rules.settings(&self.config, &KAFKA_OWNED)?;
        rules.obeys("storage", &self.storage, &QUANTITY)?;
        rules.resources("resources", &self.resources)?;
        rules.count("replicas", self.replicas, &[])?;
        if self.is_secured() && self.external.is_some() {
            return Err(rules
                .invalid(
                    "security",
                    "the tool makes users only on brokers that it runs",
                )
                .hint("leave it out: `kafka.sslmode` and `kafka.sasl` say how a broker of your own is reached"));
        }
        self.ssl().check(rules)?;
        self.check_login(rules)
    }

    fn accounts(&self) -> Option<Accounts<'_>> {
        let user = self.user.as_deref().filter(|_| self.sasl.is_some())?;
        Some(Accounts {
            user,
            password: self.password.as_ref(),
            connector: None,
        })
    }

    fn service(&self, _: &Profile) -> (String, Space, u16) {
        let port = match self.security {
            KafkaSecurity::Plain => 9092,
            KafkaSecurity::Scram => 9093,
        };
        (
            format!("{KAFKA_CLUSTER}-kafka-bootstrap"),
            Space::Kafka,
            port,
        )
    }

    fn keys(&self, profile: &Profile) -> Vec<Key> {
        // Users of a broker that asks who connects. The tool's own has a password of the operator's.
        let user = |name: &str| Key {
            suffix: name.to_owned(),
            on_clusters: false,
        };
        match self.security {
            KafkaSecurity::Plain => Vec::new(),
            KafkaSecurity::Scram => users(profile).map(user).collect(),
        }
    }

    fn objects(&self, profile: &Profile) -> Vec<(Space, ObjectName)> {
        let mut objects = vec![object("Kafka", KAFKA_CLUSTER)];
        // A broker that asks who connects serves nobody before it knows its users.
        if self.is_secured() {
            objects.extend(user_objects(profile));
        }
        objects
    }

    fn serving(&self, profile: &Profile) -> Option<Vec<(Space, ObjectName)>> {
        let mut objects = vec![object("KafkaNodePool", KAFKA_POOL)];
        if self.is_secured() {
            objects.extend(user_objects(profile));
        }
        Some(objects)
    }

    fn versions(&self, _: PlatformChoice) -> Vec<&'static Part> {
        // Its libraries are Connect's too, which has them also where the brokers are somebody else's.
        Vec::new()
    }
}

/// The users of a broker that asks who connects, beside the tool's: the workers, and what reads topics itself.
fn users(profile: &Profile) -> impl Iterator<Item = &str> {
    let readers = profile.components.values();
    let readers = readers.filter(|it| it.kind.reads_topics.is_some());
    std::iter::once(CONNECT.name).chain(readers.map(|it| it.name.as_str()))
}

fn user_objects(profile: &Profile) -> impl Iterator<Item = (Space, ObjectName)> {
    let users = std::iter::once(super::TOOL_USER).chain(users(profile));
    users.map(|user| object("KafkaUser", user))
}

impl Named for Connect {
    fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }
}

impl Spec for Connect {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_http(&self) -> bool {
        true
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
        let node = profile.kind.node_port(CONNECT.name);
        node.map(port).into_iter().collect()
    }

    fn check(&self, rules: &Rules<'_>) -> Result<()> {
        rules.obeys("heap", &self.heap, &JVM_SIZE)?;
        rules.obeys("group", &self.group, &NAME)?;
        rules.settings(&self.config, &CONNECT_OWNED)?;
        for (key, text) in [("image", &self.image), ("registry", &self.registry)] {
            if let Some(text) = text {
                rules.obeys(key, text, &IMAGE)?;
            }
        }
        rules.resources("resources", &self.resources)?;
        rules.count("replicas", self.replicas, &[])
    }

    fn service(&self, _: &Profile) -> (String, Space, u16) {
        (format!("{CONNECT_CLUSTER}-connect-api"), Space::Kafka, 8083)
    }

    fn objects(&self, _: &Profile) -> Vec<(Space, ObjectName)> {
        vec![object("KafkaConnect", CONNECT_CLUSTER)]
    }

    fn versions(&self, platform: PlatformChoice) -> Vec<&'static Part> {
        match platform {
            PlatformChoice::Host => vec![&parts::KAFKA, &parts::LOG4J],
            PlatformChoice::Kind | PlatformChoice::Kubernetes => {
                vec![&parts::KAFKA, &parts::STRIMZI]
            }
            PlatformChoice::Auto => vec![&parts::KAFKA],
        }
    }
}
